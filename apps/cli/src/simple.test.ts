import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command, CommanderError } from 'commander';
import * as openpgp from 'openpgp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { mediaTypes, openRegistry, parseReference } from '#libs/oci';
import { parsePodmanPolicy, parseRegistries, type Requirement } from '#libs/simple-signing';
import { createWorld } from '../../../libs/sign/testing/world.js';
import { startTestRegistry, type TestRegistry } from '../../../test/world/registry.js';
import type { Terminal } from './config.js';
import { reportFailure } from './failure.js';
import { run, type Action } from './program.js';
import { addPolicyPodman, addSimpleSigning } from './program-simple.js';

const nowMs = Date.UTC(2026, 2, 1);
let registry: TestRegistry;
let folder: string;
let out: string;
let err: string;
let terminal: Terminal;
let app: string;
const digests: Record<string, string> = {};
const at = (name: string) => join(folder, name);

/** The commands alone, as `chancery` has them. */
async function chancery(...argv: string[]): Promise<number> {
  out = err = '';
  let exit = 0;
  const act =
    <Arguments extends unknown[]>(load: () => Promise<Action<Arguments>>) =>
    async (...given: [...Arguments, Command]) => {
      const action = await load();
      // commander appends the command itself.
      exit = await action(terminal, ...(given.slice(0, -1) as unknown as Arguments));
    };
  const program = new Command('chancery').exitOverride().configureOutput({
    writeOut: (text) => terminal.out(text),
    writeErr: (text) => terminal.err(text),
  });
  addSimpleSigning(program, act);
  addPolicyPodman(program.command('policy').description('policies'), act);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exit;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    return reportFailure(error, terminal, argv.includes('--json'));
  }
}

beforeAll(async () => {
  registry = await startTestRegistry();
  folder = await mkdtemp(join(tmpdir(), 'chancery-simple-'));
  app = `${registry.host}/ns/app`;
  const store = openRegistry({ repository: parseReference(app) });
  const imageType = 'application/vnd.oci.image.manifest.v1+json';
  const manifests = [];
  for (const architecture of ['amd64', 'arm64']) {
    const config = await store.putBlob(encodeUtf8(JSON.stringify({ architecture, os: 'linux' })), {
      mediaType: 'application/vnd.oci.image.config.v1+json',
    });
    const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: imageType, config, layers: [] }));
    const { descriptor } = await store.putManifest(bytes, imageType, architecture);
    digests[architecture] = descriptor.digest;
    manifests.push({
      mediaType: imageType,
      digest: descriptor.digest,
      size: bytes.length,
      platform: { os: 'linux', architecture },
    });
    await writeFile(at(`${architecture}.json`), bytes);
  }
  const indexType = 'application/vnd.oci.image.index.v1+json';
  const index = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: indexType, manifests }));
  digests['index'] = (await store.putManifest(index, indexType, 'v1')).descriptor.digest;
  await store.close();
  const date = new Date(nowMs - 86_400_000);
  const userIDs = [{ email: 'a@example.com' }];
  for (const name of ['alice', 'mallory']) {
    const { privateKey } = await openpgp.generateKey({
      userIDs,
      date,
      format: 'object',
      passphrase: `${name}'s secret`,
    });
    await writeFile(at(`${name}.asc`), privateKey.armor());
    await writeFile(at(`${name}.gpg`), privateKey.toPublic().write());
    await writeFile(at(`${name}.pass`), `${name}'s secret\n`);
  }
});
afterAll(async () => {
  await registry.close();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  await rm(at('store'), { recursive: true, force: true });
  await mkdir(at('store'));
  await rm(at('registries.d'), { recursive: true, force: true });
  await mkdir(at('registries.d'));
  await writeFile(
    at('registries.d/a.yaml'),
    `docker:\n  ${registry.host}:\n    lookaside: ${pathToFileURL(at('store')).href}\n`,
  );
  const signedBy = { type: 'signedBy', keyType: 'GPGKeys', keyPath: at('alice.gpg') };
  await writeFile(
    at('policy.json'),
    JSON.stringify({ default: [{ type: 'reject' }], transports: { docker: { [registry.host]: [signedBy] } } }),
  );
  terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: { HOME: folder },
    fetch,
    now: () => nowMs,
  };
});
const sign = (image: string, ...more: string[]) =>
  chancery(
    'simple',
    'sign',
    image,
    '--key',
    at('alice.asc'),
    '--passphrase-file',
    at('alice.pass'),
    '--registries.d',
    at('registries.d'),
    ...more,
  );
const evaluate = (image: string, ...more: string[]) =>
  chancery('policy', 'evaluate', image, '--policy', at('policy.json'), '--registries.d', at('registries.d'), ...more);

describe('chancery simple sign, policy evaluate', () => {
  it('signs an image so that the policy accepts it, under its own name only', async () => {
    expect(await evaluate(`${app}:amd64`)).toBe(1);
    expect(out).toContain('there is no signature');
    expect(await sign(`docker://${app}:amd64`)).toBe(0);
    expect(out).toContain(`Signed: ${app}:amd64`);
    expect(await evaluate(`${app}:amd64`)).toBe(0);
    expect(out).toContain('Accepted');
    expect(await evaluate(`${app}@${digests['amd64']}`, '--json')).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      ok: true,
      decisions: [{ allowed: true, manifestDigest: digests['amd64'] }],
    });
    expect(await evaluate(`${app}:arm64`)).toBe(1);
  });

  it('knows that podman asks for the platform, and signs every one with --all', async () => {
    expect(await sign(`${app}:v1`, '--platform', 'linux/amd64')).toBe(0);
    expect(err).toContain('--all');
    expect(await evaluate(`${app}:v1`, '--platform', 'linux/amd64')).toBe(0);
    expect(await evaluate(`${app}:v1`, '--platform', 'linux/arm64')).toBe(1);
    expect(await evaluate(`${app}:v1`, '--all')).toBe(1);
    expect(await sign(`${app}:v1`, '--all', '--json')).toBe(0);
    const signed = (JSON.parse(out) as { signatures: { digest: string }[] }).signatures.map(({ digest }) => digest);
    expect(signed.sort()).toEqual(Object.values(digests).sort());
    expect(await evaluate(`${app}:v1`, '--all')).toBe(0);
    expect(await evaluate(`${app}@${digests['index']}`, '--platform', 'linux/arm64')).toBe(0);
  });

  it('says what is wrong with a policy, an image, a storage', async () => {
    await writeFile(at('bad.json'), '{"default":[{"type":"reject"}],"transport":{}}');
    expect(await chancery('policy', 'evaluate', app, '--policy', at('bad.json'))).toBe(3);
    expect(err).toContain('unknown member "transport"');
    expect(await chancery('policy', 'evaluate', app)).toBe(3);
    expect(await evaluate(`${app}:gone`)).toBe(3);
    expect(await evaluate(`${app}:v1@${digests['index']}`)).toBe(2);
    await writeFile(at('registries.d/b.yaml'), 'docker: {a.example: {lookasde: x}}\n');
    expect(await evaluate(`${app}:amd64`)).toBe(3);
  });
});

describe('chancery simple verify', () => {
  it('works on files alone', async () => {
    const files = ['--manifest', at('amd64.json')];
    expect(await sign('registry.example.com/app:v1', ...files, '--output', at('app.sig'))).toBe(0);
    const verify = (image: string, ...more: string[]) =>
      chancery('simple', 'verify', image, ...files, '--signature', at('app.sig'), ...more);
    expect(await verify('registry.example.com/app:v1', '--keyring', at('alice.gpg'))).toBe(0);
    expect(await verify('registry.example.com/app:v1', '--keyring', at('mallory.gpg'))).toBe(1);
    expect(await verify('registry.example.com/app:v2', '--keyring', at('alice.gpg'))).toBe(1);
    expect(
      await verify('registry.example.com/app:v2', '--keyring', at('alice.gpg'), '--signed-identity', 'matchRepository'),
    ).toBe(0);
    const exact = ['--signed-identity', 'exactReference', '--signed-reference', 'registry.example.com/app:v1'];
    expect(await verify('mirror.example.com/x:v9', '--keyring', at('alice.gpg'), ...exact)).toBe(0);
    expect(await verify('registry.example.com/app:v1', '--keyring', at('alice.asc'))).toBe(3);
    expect(
      await verify('registry.example.com/app:v1', '--keyring', at('alice.gpg'), '--signed-identity', 'exactReference'),
    ).toBe(2);
    expect(await verify('registry.example.com/app:v1')).toBe(2);
  });

  it('asks for the passphrase, and never repeats it', async () => {
    const key = ['--key', at('alice.asc'), '--manifest', at('amd64.json'), '--output', at('x.sig')];
    expect(await chancery('simple', 'sign', 'registry.example.com/app:v1', ...key)).toBe(3);
    expect(err).toContain('it has a passphrase');
    terminal.askSecret = async () => 'open sesame';
    expect(await chancery('simple', 'sign', 'registry.example.com/app:v1', ...key)).toBe(3);
    expect(out + err).not.toContain('sesame');
    terminal.askSecret = async () => "alice's secret";
    expect(await chancery('simple', 'sign', 'registry.example.com/app:v1', ...key)).toBe(0);
  });

  it('stores nothing where nothing says where', async () => {
    const key = ['--key', at('alice.asc'), '--passphrase-file', at('alice.pass')];
    await writeFile(at('registries.d/a.yaml'), '');
    expect(await chancery('simple', 'sign', `${app}:amd64`, ...key, '--registries.d', at('registries.d'))).toBe(2);
    expect(err).toContain('--lookaside');
    expect(await chancery('simple', 'sign', `${app}:amd64`, ...key, '--lookaside', 'https://a.example')).toBe(4);
    expect(await chancery('simple', 'sign', `${app}:amd64`, ...key, '--lookaside', 'a.example')).toBe(2);
  });
});

describe('chancery policy evaluate, of signatures of Sigstore', () => {
  it('does not pass over what lies in their place as something else: podman refuses the image', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(at('cosign.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    await writeFile(at('registries.d/a.yaml'), `docker:\n  ${registry.host}:\n    use-sigstore-attachments: true\n`);
    const signed = { type: 'sigstoreSigned', keyPath: at('cosign.pub'), signedIdentity: { type: 'matchRepository' } };
    await writeFile(at('sigstore.json'), JSON.stringify({ default: [signed] }));
    const evaluate = () =>
      chancery(
        'policy',
        'evaluate',
        `${app}:amd64`,
        '--policy',
        at('sigstore.json'),
        '--registries.d',
        at('registries.d'),
      );
    const store = openRegistry({ repository: parseReference(app) });
    const config = await store.putBlob(encodeUtf8('{}'), { mediaType: mediaTypes.ociConfig });
    const layers = [
      await store.putBlob(encodeUtf8('{"critical":{}}'), {
        mediaType: 'application/vnd.dev.cosign.simplesigning.v1+json',
      }),
    ];
    const put = async (mediaType: string, more: object) => {
      const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType, ...more }));
      await store.putManifest(bytes, mediaType, `${digests['amd64']?.replace(':', '-')}.sig`);
    };
    for (const [mediaType, more] of [
      [mediaTypes.dockerManifest, { config, layers }],
      [mediaTypes.ociIndex, { manifests: [] }],
    ] as const) {
      await put(mediaType, more);
      expect(await evaluate()).toBe(1);
      expect(out).toContain(`it is ${mediaType}, expected ${mediaTypes.ociManifest}`);
    }
    // In the type that podman reads it is found, and is no signature.
    await put(mediaTypes.ociManifest, { config, layers });
    expect(await evaluate()).toBe(1);
    expect(out).toContain('the annotation dev.cosignproject.cosign/signature is missing');
    await store.close();
  });
});

describe('chancery policy podman', () => {
  const identity = [
    '--certificate-identity',
    'alice@example.com',
    '--certificate-oidc-issuer',
    'https://accounts.example',
  ];

  it('writes files that are read as they are meant, and says what podman cannot', async () => {
    const world = createWorld();
    terminal.fetch = world.fetch;
    expect(
      await run(['trust', 'export', '--url', world.baseUrl, '--out', folder], { ...terminal, now: world.now }),
    ).toBe(0);
    terminal.now = world.now;
    const flagsOf = (root: string) => [
      'policy',
      'podman',
      '--scope',
      'registry.example.com/ns',
      '--trusted-root',
      root,
      ...identity,
    ];
    // The log of this world is a Rekor v2 with an Ed25519 key.
    expect(await chancery(...flagsOf(at('trusted_root.json')))).toBe(3);
    expect(err).toContain('podman reads promises of no other');
    const made = JSON.parse(await readFile(at('trusted_root.json'), 'utf8')) as { tlogs: unknown[]; ctlogs: unknown[] };
    await writeFile(at('root.json'), JSON.stringify({ ...made, tlogs: [...made.tlogs, ...made.ctlogs] }));
    const root = ['--trusted-root', at('root.json')];
    const flags = [
      'policy',
      'podman',
      '--scope',
      'registry.example.com/ns',
      ...root,
      ...identity,
      '--keyring',
      at('alice.gpg'),
    ];
    const exit = await chancery(...flags, '--lookaside', 'https://signatures.example.com', '--out', at('made'));
    expect(err + out).toContain('no timestamps of an authority');
    expect(exit).toBe(0);
    const policy = parsePodmanPolicy(await readFile(at('made/policy.json')));
    expect(policy.default).toEqual([{ type: 'reject' }]);
    const [sigstore, simple] = policy.transports.get('docker')?.get('registry.example.com/ns') ?? [];
    expect(sigstore).toMatchObject({
      type: 'sigstoreSigned',
      by: { kind: 'fulcio', subjectEmail: 'alice@example.com', oidcIssuer: 'https://accounts.example' },
      signedIdentity: { type: 'matchRepository' },
    } satisfies Partial<Requirement> | object);
    expect(simple).toMatchObject({ type: 'signedBy', keys: { paths: [at('alice.gpg')] } });
    const name = at('made/registries.d/chancery.yaml');
    expect(parseRegistries([{ name, content: await readFile(name) }]).docker.get('registry.example.com/ns')).toEqual({
      lookaside: 'https://signatures.example.com',
      useSigstoreAttachments: true,
    });
    expect(await chancery(...flags)).toBe(0);
    expect(out).toContain('"sigstoreSigned"');
    expect(await chancery(...flags, '--json')).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ ok: true });
  });

  it('asks for signatures by keys, and with a trusted root for promises of its logs', async () => {
    const world = createWorld();
    terminal.fetch = world.fetch;
    terminal.now = world.now;
    expect(await run(['trust', 'export', '--url', world.baseUrl, '--out', folder], terminal)).toBe(0);
    const made = JSON.parse(await readFile(at('trusted_root.json'), 'utf8')) as { tlogs: unknown[]; ctlogs: unknown[] };
    await writeFile(at('root.json'), JSON.stringify({ ...made, tlogs: [...made.tlogs, ...made.ctlogs] }));
    const keys = ['P-256', 'P-384'].map((namedCurve) =>
      generateKeyPairSync('ec', { namedCurve }).publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    );
    for (const [i, key] of keys.entries()) await writeFile(at(`${i}.pub`), key);
    const flags = ['policy', 'podman', '--scope', 'registry.example.com/ns', '--key', at('0.pub'), '--json'];
    const asked = (): Requirement | undefined => {
      const { policy } = JSON.parse(out) as { policy: object };
      const read = parsePodmanPolicy(Buffer.from(JSON.stringify(policy)));
      return read.transports.get('docker')?.get('registry.example.com/ns')?.[0];
    };
    expect(await chancery(...flags)).toBe(0);
    expect(out).toContain('that were never published');
    expect(out).toContain('use-sigstore-attachments: true');
    expect(asked()).toEqual({
      type: 'sigstoreSigned',
      by: { kind: 'keys', keys: { kind: 'data', data: keys.slice(0, 1).map((key) => encodeUtf8(key)) } },
      signedIdentity: { type: 'matchRepository' },
    });
    expect(await chancery(...flags, '--key', at('1.pub'), '--trusted-root', at('root.json'))).toBe(0);
    expect(out).toContain('P-256 and RSA only');
    expect(asked()).toMatchObject({ by: { keys: { data: keys.map((key) => encodeUtf8(key)) } } });
    expect(asked()).toHaveProperty('rekorKeys.data.0');
    expect(await chancery(...flags, '--trusted-root', at('trusted_root.json'))).toBe(3);
    expect(await chancery(...flags, '--key', at('root.json'))).toBe(3);
  });

  it.each<[string, string[]]>([
    ['an identity and a key', ['--scope', 'a.example', '--trusted-root', 'r', ...identity, '--key', 'k']],
    ['nothing to ask for', ['--scope', 'a.example']],
    ['an identity without trusted root', ['--scope', 'a.example', ...identity]],
    ['no scope', ['--keyring', 'k']],
    ['a scope that fits no image', ['--scope', 'busybox', '--keyring', 'k']],
  ])('refuses %s', async (_, flags) => {
    expect(await chancery('policy', 'podman', ...flags)).toBe(2);
  });

  it('refuses what podman cannot compare: identities that are no addresses', async () => {
    const root = ['--scope', 'a.example', '--trusted-root', at('trusted_root.json')];
    const workflow = [
      '--certificate-identity',
      'https://github.com/a/b',
      '--certificate-oidc-issuer',
      'https://i.example',
    ];
    expect(await chancery('policy', 'podman', ...root, ...workflow)).toBe(2);
    expect(err).toContain('e-mail addresses only');
    expect(await chancery('policy', 'podman', ...root)).toBe(2);
  });
});

it('explains every command with examples', async () => {
  for (const command of [
    ['simple', 'sign'],
    ['simple', 'verify'],
    ['policy', 'evaluate'],
    ['policy', 'podman'],
  ]) {
    expect(await chancery(...command, '--help')).toBe(0);
    expect(out).toContain('Options:');
  }
});
