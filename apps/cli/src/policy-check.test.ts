import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeTrustedRoot } from '#libs/trust';
import { openRegistry, parseReference, type Descriptor } from '#libs/oci';
import { attachBundle, signatureStatement } from '#libs/image';
import { encodeUtf8 } from '#libs/encoding';
import { makeTls } from '../../../libs/identity/testing/issuer-server.js';
import { ISSUER, SAN, SmallSigstore } from '../../../test/world/small-sigstore.js';
import { startTestRegistry, type TestRegistry } from '../../../test/world/registry.js';
import type { Terminal } from './config.js';
import { reportFailure } from './failure.js';
import { addPolicy } from './program-policy.js';

const world = new SmallSigstore('policy');
let folder: string;
let registry: TestRegistry;
let elsewhere: TestRegistry;
let app: Descriptor;
const at = (name: string): string => join(folder, name);
const image = (): string => `${registry.host}/ns/app:v1`;

interface Ran {
  exit: number;
  out: string;
  err: string;
}

/** The command group alone, as the program runs it. */
async function policy(...argv: string[]): Promise<Ran> {
  const ran: Ran = { exit: -1, out: '', err: '' };
  const terminal: Terminal = {
    out: (text) => void (ran.out += text),
    err: (text) => void (ran.err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: { HOME: folder },
    fetch: globalThis.fetch,
    now: Date.now,
  };
  const program = new Command('chancery')
    .exitOverride()
    .configureOutput({ writeOut: (text) => terminal.out(text), writeErr: (text) => terminal.err(text) });
  addPolicy(program, (load) => async (...given) => {
    ran.exit = await (await load())(terminal, ...(given.slice(0, -1) as never));
  });
  try {
    await program.parseAsync(['policy', ...argv], { from: 'user' });
  } catch (error) {
    ran.exit =
      error instanceof CommanderError
        ? error.exitCode === 0
          ? 0
          : 2
        : reportFailure(error, terminal, argv.includes('--json'));
  }
  return ran;
}

const document = (authority: object, spec: object = {}): string =>
  JSON.stringify({
    apiVersion: 'policy.sigstore.dev/v1beta1',
    kind: 'ClusterImagePolicy',
    metadata: { name: 'web' },
    spec: { images: [{ glob: '**' }], authorities: [authority], ...spec },
  });
const keyless = (subject = SAN, more: object = {}): object => ({
  name: 'me',
  signatureFormat: 'bundle',
  keyless: { identities: [{ subject, issuer: ISSUER }] },
  ...more,
});

async function write(name: string, text: string): Promise<string> {
  await writeFile(at(name), text);
  return at(name);
}

const check = async (text: string, ...more: string[]): Promise<Ran> =>
  policy('check', image(), '--policy', await write('policy.yaml', text), '--trusted-root', at('root.json'), ...more);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-policy-'));
  await writeFile(at('root.json'), encodeTrustedRoot(world.trustedRoot()));
  registry = await startTestRegistry();
  elsewhere = await startTestRegistry({ auth: 'basic' });
  const store = openRegistry({ repository: parseReference(image()) });
  const config = await store.putBlob(encodeUtf8('{}'));
  const manifest = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers: [] };
  ({ descriptor: app } = await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifest.mediaType, 'v1'));
  const bundle = world.signStatement(new Uint8Array(), { payload: signatureStatement(app.digest) });
  await attachBundle(store, app, bundle, { now: world.now.getTime() });
  await store.close();
});

afterAll(async () => {
  await registry.close();
  await elsewhere.close();
  await rm(folder, { recursive: true, force: true });
});

describe('policy check', () => {
  test('allows what is signed, and says by which digest', async () => {
    const ran = await check(document(keyless()));
    expect(ran).toMatchObject({ exit: 0, err: '' });
    expect(ran.out).toContain('✓ policy web: accepted by me\n');
    expect(ran.out).toContain(`ALLOWED: ${image()}@${app.digest}\n`);
  });

  test('denies, and explains: found, expected, cure', async () => {
    const ran = await check(document(keyless('boss@example.com')));
    expect(ran.exit).toBe(1);
    expect(ran.out).toContain('✗ authority me (keyless)');
    expect(ran.out).toContain(`signed by ${SAN} of ${ISSUER}`);
    expect(ran.out).toContain(`expected: signed by boss@example.com of ${ISSUER}`);
    expect(ran.out).toContain('cure: If that signer is one you mean to trust');
    expect(ran.out).toContain('denied: failed policy: web: me: ');
    expect(ran.out).toMatch(/\nDENIED: .*@sha256:/);
  });

  test('--explain shows every policy, also those for other images, and every check', async () => {
    const other = document(keyless(), { images: [{ glob: 'other.test/**' }] }).replace('"web"', '"other"');
    const short = await check(`${document(keyless())}\n---\n${other}`);
    const long = await check(`${document(keyless())}\n---\n${other}`, '--explain');
    expect(short.out).not.toContain('policy other');
    expect(long.out).toContain('– policy other: not for');
    expect(long.out).toContain('✓ glob **');
    expect(long.out).toContain('✓ The log has the entry at its place: entry 3 of 5');
    expect(long.out).toContain(`✓ One of the identities signed it: ${SAN}`);
    expect(long.out).toContain(`signed by ${SAN}`);
    expect(long.exit).toBe(0);
  });

  test('--json gives the decision with its explanation', async () => {
    const ran = await check(document(keyless()), '--json');
    expect(JSON.parse(ran.out)).toMatchObject({
      allow: true,
      resolvedDigest: app.digest,
      errors: [],
      warnings: [],
      explanation: { rule: 'image', state: 'passed', children: [{ rule: 'policy', state: 'passed' }] },
    });
  });

  test.each([
    ['deny', 1, 'denied: no matching policies'],
    ['warn', 0, 'warning: no matching policies'],
    ['allow', 0, 'ALLOWED'],
  ])('--no-match %s', async (verdict, exit, text) => {
    const ran = await check(document(keyless(), { images: [{ glob: 'other.test/**' }] }), '--no-match', verdict);
    expect(ran.exit).toBe(exit);
    expect(ran.out).toContain(text);
  });

  test('without --no-match an image of no policy is denied', async () => {
    expect((await check(document(keyless(), { images: [{ glob: 'other.test/**' }] }))).exit).toBe(1);
  });

  test('mode warn: told, and allowed', async () => {
    const ran = await check(document(keyless('boss@example.com'), { mode: 'warn' }));
    expect(ran.exit).toBe(0);
    expect(ran.out).toContain('! policy web (mode warn)');
    expect(ran.out).toContain('warning: failed policy: web');
  });

  test('--resource decides what match asks', async () => {
    const text = document(keyless(), { match: [{ resource: 'pods' }] });
    const pod = await write('pod.yaml', 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n');
    expect((await check(text)).out).toContain('--resource FILE');
    expect((await check(text, '--resource', pod)).exit).toBe(0);
    const service = await write('service.yaml', 'apiVersion: v1\nkind: Service\n');
    expect((await check(text, '--resource', service)).exit).toBe(3);
  });

  test('--trusted-root NAME=FILE, and a TrustedRoot document with a path beside the policy', async () => {
    const named = {
      name: 'me',
      signatureFormat: 'bundle',
      keyless: { identities: [{ subject: SAN, issuer: ISSUER }], trustRootRef: 'ours' },
    };
    const file = await write('named.yaml', document(named));
    expect((await policy('check', image(), '--policy', file, '--trusted-root', `ours=${at('root.json')}`)).exit).toBe(
      0,
    );
    const bound = {
      apiVersion: 'chancery/v1',
      kind: 'TrustedRoot',
      metadata: { name: 'ours' },
      spec: { path: 'root.json' },
    };
    const both = await write('both.yaml', `${JSON.stringify(bound)}\n---\n${document(named)}`);
    expect((await policy('check', image(), '--policy', both)).exit).toBe(0);
    const missing = await policy('check', image(), '--policy', file);
    expect(missing.exit).toBe(3);
    expect(missing.err).toContain('there is no trust root "ours"');
    expect(missing.err).toContain('--trusted-root ours=FILE');
    const twice = await policy(
      'check',
      image(),
      '--policy',
      file,
      '--trusted-root',
      at('root.json'),
      '--trusted-root',
      at('root.json'),
    );
    expect(twice.exit).toBe(2);
  });

  test('tells all that is wrong with a file, where, and what would cure it', async () => {
    const text = document({ keyless: { identities: [{ subjectRegexp: 'x', issuer: 'y' }], 'ca-cert': { data: 'x' } } });
    const ran = await check(text);
    expect(ran.exit).toBe(3);
    expect(ran.out).toBe('');
    expect(ran.err).toContain('3 problems');
    expect(ran.err).toContain('spec.authorities[0].keyless.identities[0].subjectRegexp: unknown field');
    expect(ran.err).toContain('cure: It is written subjectRegExp');
    const json = JSON.parse((await check(text, '--json')).out) as { error: { problems: unknown[] } };
    expect(json).toMatchObject({ allow: false, error: { code: 'POLICY_FIELD' } });
    expect(json.error.problems).toHaveLength(3);
  });

  test.each<[name: string, exit: number, args: () => string[]]>([
    ['no policy', 2, () => [image()]],
    ['a policy that is not there', 3, () => [image(), '--policy', at('absent.yaml')]],
    ['an image that is none', 2, () => ['UPPER', '--policy', at('good.yaml'), '--trusted-root', at('root.json')]],
    ['a timeout that is none', 2, () => [image(), '--policy', at('good.yaml'), '--timeout', '0']],
    [
      'an image that is not there',
      11,
      () => [`${registry.host}/ns/app:absent`, '--policy', at('good.yaml'), '--trusted-root', at('root.json')],
    ],
    [
      'a registry that is not there',
      4,
      () => ['127.0.0.1:1/ns/app', '--policy', at('good.yaml'), '--trusted-root', at('root.json')],
    ],
  ])('%s: exit code %i', async (_, exit, args) => {
    await write('good.yaml', document(keyless()));
    const ran = await policy('check', ...args());
    expect(ran.exit, ran.out + ran.err).toBe(exit);
    expect(ran.out).not.toContain('ALLOWED');
  });

  test('a registry that hangs is denied at the deadline: exit code 4', async () => {
    const before = registry.options;
    registry.options = {
      ...before,
      intercept: ({ path }) => (path.includes('/referrers/') ? new Promise(() => undefined) : false),
    };
    try {
      const ran = await check(document(keyless()), '--timeout', '1');
      expect(ran.exit).toBe(4);
      expect(ran.out).toContain('denied: no decision before the deadline');
    } finally {
      registry.options = before;
    }
  }, 20_000);

  test.each(['CVE-2026-41323', 'CVE-2026-40868'])(
    '%s Kyverno: credentials for the image are not sent to a registry that a policy names',
    async () => {
      elsewhere.asked.length = 0;
      const source = [{ oci: `${elsewhere.host}/stolen/signatures` }];
      const ran = await check(
        document(keyless(SAN, { source })),
        '--registry-username',
        'alice',
        '--registry-password',
        'correct horse',
      );
      expect(ran.exit).not.toBe(0);
      expect(elsewhere.asked.length).toBeGreaterThan(0);
      for (const { headers } of elsewhere.asked) expect(headers.authorization).toBeUndefined();
      const other = await check(document(keyless(SAN, { source })), '--registry-token', 'a-secret-token');
      expect(other.exit).not.toBe(0);
      expect(JSON.stringify(elsewhere.asked.map(({ headers, path }) => [headers, path]))).not.toContain(
        'a-secret-token',
      );
    },
  );

  test('the client certificate for the image is not shown to a registry that a policy names', async () => {
    const { cert, key } = await makeTls('client.test');
    const flags = ['--registry-client-cert', await write('client.pem', cert), '--registry-client-key'];
    elsewhere.asked.length = 0;
    const source = [{ oci: `${elsewhere.host}/ns/signatures` }];
    const ran = await policy(
      'check',
      `${registry.host}/ns/app@${app.digest}`,
      '--policy',
      await write('policy.yaml', document(keyless(SAN, { source }))),
      ...['--trusted-root', at('root.json'), ...flags, await write('client.key', key)],
    );
    expect(ran.exit).not.toBe(0);
    // Whoever shows a certificate speaks TLS: this one was asked without.
    expect(elsewhere.asked.length).toBeGreaterThan(0);
  });

  test('explains itself', async () => {
    const ran = await policy('check', '--help');
    expect(ran.exit).toBe(0);
    for (const flag of ['--policy', '--trusted-root', '--no-match', '--resource', '--explain', '--registry-cacert']) {
      expect(ran.out).toContain(flag);
    }
  });
});
