import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeTrustedRoot } from '#libs/trust';
import { openRegistry, parseReference } from '#libs/oci';
import { copyImage, legacyTag } from '#libs/image';
import { generateSigner } from '#libs/openssl';
import { encodePem } from '#libs/encoding';
import { MemoryStore, pushImage, smallSign } from '../../../libs/image/testing/small-registry.js';
import { ISSUER, SAN, SmallSigstore } from '../../../test/world/small-sigstore.js';
import { startTestRegistry, type TestRegistry } from '../../../test/world/registry.js';
import type { Terminal } from './config.js';
import { run } from './program.js';

const world = new SmallSigstore();
const managedKey = generateSigner();
let registry: TestRegistry;
let folder: string;
let out: string;
let err: string;
const at = (name: string) => join(folder, name);

async function chancery(args: readonly string[], more: Partial<Terminal> = {}): Promise<number> {
  out = '';
  err = '';
  return run(['image', ...args], {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: {},
    fetch: () => Promise.reject(new Error('no network')),
    now: () => world.now.getTime(),
    ...more,
  });
}

beforeAll(async () => {
  registry = await startTestRegistry({ auth: 'basic' });
  folder = await mkdtemp(join(tmpdir(), 'chancery-image-cli-'));
  await writeFile(at('root.json'), encodeTrustedRoot(world.trustedRoot()));
  await writeFile(at('key.pub'), encodePem('PUBLIC KEY', managedKey.publicKey.spki));
  const memory = new MemoryStore();
  const image = await pushImage(memory, 'hello', '1.0');
  await smallSign(world, memory, image, 'bundle', { annotations: { evil: 'red\u001b[31m' } });
  await smallSign(world, memory, image, 'legacy', { managedKey });
  await smallSign(world, memory, image, 'bundle', { predicateType: 'https://example.com/p', predicate: { n: 1 } });
  await pushImage(memory, 'unsigned', 'unsigned');
  const { credentials, host } = registry;
  const store = openRegistry({ repository: parseReference(`${host}/ns/app`), credentials });
  for (const tag of ['1.0', 'unsigned']) await copyImage(memory, store, tag, { tag });
  await store.close();
});
afterAll(async () => {
  await registry.close();
  await rm(folder, { recursive: true });
});

const name = (tag = '1.0') => `${registry.host}/ns/app:${tag}`;
const login = () => ['--registry-username', registry.username, '--registry-password', registry.password];
const identity = ['--certificate-identity', SAN, '--certificate-oidc-issuer', ISSUER];
const verify = (...more: string[]) =>
  chancery(['verify', name(), '--trusted-root', at('root.json'), ...login(), ...more]);

describe('chancery image', () => {
  it('explains every command with examples', async () => {
    for (const command of ['sign', 'verify', 'attest', 'verify-attestation', 'tree', 'copy', 'clean', 'save', 'load']) {
      expect(await chancery([command, '--help'])).toBe(0);
      expect(out, command).toContain('$ chancery image');
      expect(out, command).toContain('--registry-username');
    }
    expect(await chancery(['verify', '--help'])).toBe(0);
    expect(out).toContain('12  there are signatures, and none holds');
  });

  it.each([
    ['verify without a trusted root', ['verify', 'x'], 'trusted-root is missing'],
    [
      'verify without anybody named',
      ['verify', 'x', '--trusted-root', 'root.json'],
      'nothing says who must have signed',
    ],
    [
      'an identity without its issuer',
      ['verify', 'x', '--trusted-root', 'root.json', '--certificate-identity', 'a'],
      'issuer is missing',
    ],
    ['sign with no services', ['sign', 'x'], 'either --url or --signing-config'],
    ['attest with nothing', ['attest', 'x', '--url', 'http://x'], 'either --predicate'],
    ['a type that is none', ['verify-attestation', 'x', '--type', 'sbom'], 'Cannot use predicate type'],
    ['a layout that is none', ['verify', 'x', '--layout', 'oci'], 'bundle, legacy'],
    ['annotations without a value', ['verify', 'x', '-a', 'env'], '<name>=<value>'],
    ['a count that is none', ['verify', 'x', '--max-signatures', '0'], '1 to 999999'],
    ['kinds that are none', ['copy', 'x', 'y', '--only', 'all'], 'sig, att, sbom, referrer'],
    ['half a client certificate', ['tree', 'x', '--registry-client-cert', 'key.pub'], '--registry-client-key'],
    ['a user without a password', ['tree', 'x', '--registry-username', 'me'], '--registry-password'],
    ['a reference that is none', ['tree', 'UPPER/case'], 'Cannot parse image reference'],
    ['a timeout that is none', ['verify', 'x', '--timeout', '3 minutes'], 'as in 3m0s'],
    ['no time at all', ['tree', 'x', '--timeout', '0s'], 'as in 3m0s'],
    ['more time than a day', ['copy', 'x', 'y', '--timeout', '25h'], 'at most 24h'],
    ['not to check claims', ['verify', 'x', '--check-claims=false'], 'always true'],
    ['the keychain of a cluster', ['verify', 'x', '--k8s-keychain'], 'credHelpers'],
    ['the keychain of a cluster, spelled out', ['tree', 'x', '--k8s-keychain=true'], 'credHelpers'],
    [
      'a policy of no known kind',
      ['verify-attestation', 'x', '--policy', 'key.pub'],
      '.json (JSON Schema), .cel or .wasm',
    ],
  ])('refuses %s', async (_, args, message) => {
    const files = args.map((arg) => (arg === 'root.json' || arg === 'key.pub' ? at(arg) : arg));
    const exit = await chancery(files);
    expect(err).toContain(message);
    expect([2, 3]).toContain(exit);
  });

  it('verifies in both layouts, and prints what strangers wrote so that no terminal is driven by it', async () => {
    expect(await verify(...identity)).toBe(0);
    expect(out).toContain('✓ signature (bundle, ');
    expect(out).toContain(`✗ signer-kind: the bundle has no certificate, so no identity (legacy, `);
    expect(out).toContain('– an attestation of type https://example.com/p');
    expect(out).toContain('annotation  evil=red\ufffd[31m');
    expect(await verify('--key', at('key.pub'))).toBe(0);
    expect(out).toContain('✓ signature (legacy, ');
  });

  it('says with its exit code what is missing', async () => {
    expect(await verify(...identity, '--layout', 'legacy')).toBe(13);
    expect(await verify('--certificate-identity', 'mallory@example.com', '--certificate-oidc-issuer', ISSUER)).toBe(12);
    expect(await chancery(['verify', name('nope'), '--trusted-root', at('root.json'), ...login(), ...identity])).toBe(
      11,
    );
    expect(err).toContain('no such tag');
    expect(
      await chancery(['verify', name('unsigned'), '--trusted-root', at('root.json'), ...login(), ...identity]),
    ).toBe(10);
    expect(out).toContain('nothing of the kind is attached');
    expect(await chancery(['verify', name(), '--trusted-root', at('root.json'), ...identity])).toBe(5);
  });

  it('CVE-2025-25204: one image that is not signed among several fails all, in JSON too', async () => {
    const both = [
      'verify',
      name(),
      name('unsigned'),
      '--json',
      '--trusted-root',
      at('root.json'),
      ...login(),
      ...identity,
    ];
    expect(await chancery(both)).toBe(10);
    expect(JSON.parse(out)).toMatchObject({ ok: false, images: [{ ok: true }, { ok: false, failure: 'none-found' }] });
  });

  it('reports every candidate in JSON, with the check that objected', async () => {
    expect(await verify(...identity, '--json')).toBe(0);
    const { images } = JSON.parse(out) as { images: { candidates: { state: string; check?: string }[] }[] };
    expect(images[0]?.candidates.map(({ state, check }) => check ?? state)).toEqual([
      'accepted',
      'other',
      'signer-kind',
    ]);
  });

  it('asks before it removes anything', async () => {
    const clean = ['clean', name(), '--type', 'attestation', ...login()];
    expect(await chancery(clean)).toBe(2);
    expect(await chancery(clean, { ask: () => Promise.resolve('no') })).toBe(2);
    expect(await chancery(clean, { ask: () => Promise.resolve('y') })).toBe(0);
    expect(out).toMatch(/attestation +1/);
  });

  it('shows a tree', async () => {
    expect(await chancery(['tree', name(), ...login()])).toBe(0);
    expect(out).toMatch(/├─ signature sha256:\w+ 1 under the tag sha256-\w+\.sig/);
    expect(out).toMatch(/└─ signature sha256:\w+ https:\/\/sigstore.dev\/cosign\/sign\/v1/);
    expect(out).toContain(legacyTag(`sha256:${/@sha256:(\w+)/.exec(out)?.[1] ?? ''}`, 'signature'));
  });

  it.each(['registry.example.com/sigs:v1', `registry.example.com/sigs@sha256:${'0'.repeat(64)}`])(
    'refuses COSIGN_REPOSITORY=%s, of which a part would be ignored',
    async (COSIGN_REPOSITORY) => {
      expect(await chancery(['tree', name(), ...login()], { env: { COSIGN_REPOSITORY } })).toBe(2);
      expect(err).toContain('without tag and digest');
    },
  );

  it('takes the flags of cosign that ask for what is done anyway', async () => {
    expect(await verify(...identity, '--check-claims=true', '--k8s-keychain=false', '--timeout', '1m30s')).toBe(0);
  });

  it.each([
    ['verify', 'manifests'],
    ['verify', 'referrers'],
    ['tree', 'referrers'],
    ['save', 'manifests'],
  ])('%s ends in time when %s never come, whatever is tried again', async (command, path) => {
    const before = registry.options;
    registry.options = {
      ...before,
      intercept: ({ path: asked }, response) => {
        if (!asked.includes(path)) return false;
        response.writeHead(503, { 'retry-after': '30' }).end();
        return true;
      },
    };
    const more =
      { verify: ['--trusted-root', at('root.json'), ...identity], save: ['--dir', at('late')] }[command] ?? [];
    const started = Date.now();
    try {
      expect(await chancery([command, name(), ...login(), ...more, '--timeout', '1'])).toBe(4);
    } finally {
      registry.options = before;
    }
    expect(Date.now() - started).toBeLessThan(15_000);
    expect(err).toContain('the time that there was for all of it is over');
  });

  it('copies and saves what is attached where COSIGN_REPOSITORY says', async () => {
    const env = { COSIGN_REPOSITORY: `${registry.host}/ns/sigs` };
    const memory = new MemoryStore();
    const image = await pushImage(memory, 'elsewhere', '3.0');
    const { credentials, host } = registry;
    const store = openRegistry({ repository: parseReference(`${host}/ns/app`), credentials });
    await copyImage(memory, store, '3.0', { tag: '3.0' });
    await smallSign(world, memory, image, 'bundle');
    await copyImage(memory, store.sibling('ns/sigs'), '3.0');
    await store.close();
    const verified = async (tag: string): Promise<number> =>
      chancery(['verify', tag, '--trusted-root', at('root.json'), ...login(), ...identity]);
    expect(await verified(name('3.0'))).toBe(10);
    expect(await chancery(['copy', name('3.0'), `${host}/ns/mirror:3.0`, ...login()], { env })).toBe(0);
    expect(out).toMatch(/signatures +1/);
    expect(await verified(`${host}/ns/mirror:3.0`)).toBe(0);
    expect(await chancery(['save', name('3.0'), '--dir', at('saved'), ...login()], { env })).toBe(0);
    expect(
      await chancery(['verify', '--local-image', at('saved'), '--trusted-root', at('root.json'), ...identity]),
    ).toBe(0);

    // What is loaded is what was named, if a digest was.
    const wrong = `${host}/ns/loaded:4@sha256:${'0'.repeat(64)}`;
    expect(await chancery(['load', wrong, '--dir', at('saved'), ...login()])).toBe(3);
    expect(err).toContain(`it holds ${image.digest}, expected sha256:000`);
    expect(await chancery(['load', `${host}/ns/loaded:4@${image.digest}`, '--dir', at('saved'), ...login()])).toBe(0);
    expect(await verified(`${host}/ns/loaded:4`)).toBe(0);
  });

  it('sends a password to nobody but the registry it was given for', async () => {
    const other = await startTestRegistry();
    const copy = ['copy', name(), `${other.host}/ns/app:1.0`];
    expect(await chancery([...copy, ...login()])).toBe(2);
    expect(err).toContain('there are two registries');
    expect(await chancery(copy)).toBe(5);
    await chancery(['sign', name(), '--url', 'http://x', ...login()], {
      env: { COSIGN_REPOSITORY: `${other.host}/ns/sigs` },
    });
    await chancery(['verify', name(), '--trusted-root', at('root.json'), ...identity, ...login()], {
      env: { COSIGN_REPOSITORY: `${other.host}/ns/sigs` },
    });
    await other.close();
    expect(other.asked.length).toBeGreaterThan(0);
    expect(other.asked.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  });
});
