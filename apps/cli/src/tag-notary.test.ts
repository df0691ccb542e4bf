import { spawn, spawnSync, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import type { Terminal } from './config.js';
import { run } from './program.js';

const hasNotary =
  spawnSync('notary', ['version']).status === 0 && spawnSync('notary-server', ['-version']).error === undefined;
if (!hasNotary) console.warn('notary and notary-server are not installed: import-notary is not tested with them');

const GUN = 'registry.example.com/ns/app';
const V1 = '6a'.repeat(32);
const V2 = '7b'.repeat(32);

let folder: string;
let server: string;
let out: string;
let err: string;
let terminal: Terminal;
/** What the server's answers become on the way. */
let between: (url: string, body: Uint8Array) => Uint8Array | undefined;
const stops: (() => void)[] = [];

beforeEach(() => {
  between = (_, body) => body;
  terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: {},
    fetch: async (input, init) => {
      const url = input instanceof Request ? input.url : String(input);
      const response = await fetch(input, init);
      if (!response.ok) return response;
      const body = between(url, new Uint8Array(await response.arrayBuffer()));
      return body === undefined ? new Response('{}', { status: 404 }) : new Response(body as Uint8Array<ArrayBuffer>);
    },
    now: Date.now,
  };
});

const importNotary = (...more: string[]) => {
  out = '';
  err = '';
  return run(['tag', 'import-notary', GUN, '--server', server, ...more], terminal);
};
const json = () => JSON.parse(out) as Record<string, never>;

describe('chancery tag import-notary', () => {
  it.each([
    [[GUN]],
    [[GUN, '--pin', 'xyz']],
    [[GUN, '--pin', '0'.repeat(64), '--trust-on-first-use']],
    [[`${GUN}:v1`, '--trust-on-first-use']],
    [['alpine', '--trust-on-first-use']],
    [[GUN, '--trust-on-first-use', '--server', 'http://notary.example.com']],
    [[GUN, '--trust-on-first-use', '--server', 'https://user:secret@notary.example.com']],
  ])('exits with 2 for %j', async (argv) => {
    err = out = '';
    expect(await run(['tag', 'import-notary', ...argv], terminal)).toBe(2);
    expect(err).not.toContain('secret');
  });

  it('gets a token where the server wants one, and sends the login of a registry to nobody else', async () => {
    const asked: [string, string | null][] = [];
    const auth = Buffer.from('alice:correct horse').toString('base64');
    const home = mkdtempSync(join(tmpdir(), 'chancery-home-'));
    stops.push(() => rmSync(home, { recursive: true, force: true }));
    writeFileSync(join(home, 'config.json'), JSON.stringify({ auths: { 'registry.example.com': { auth } } }));
    terminal = {
      ...terminal,
      env: { DOCKER_CONFIG: home },
      fetch: async (input, init) => {
        const url = new URL(String(input instanceof Request ? input.url : input));
        const sent = new Headers(init?.headers).get('authorization');
        asked.push([url.host, sent]);
        if (url.host === 'auth.example.com') {
          expect(url.searchParams.get('scope')).toBe(`repository:${GUN}:pull`);
          return Response.json({ token: 'a.token' });
        }
        if (sent === null) {
          const challenge = 'Bearer realm="https://auth.example.com/token",service="notary"';
          return new Response('{}', { status: 401, headers: { 'www-authenticate': challenge } });
        }
        return new Response('{}', { status: 404 });
      },
    };
    err = out = '';
    const args = ['tag', 'import-notary', GUN, '--trust-on-first-use', '--server'];
    expect(await run([...args, 'https://notary.example.com'], terminal)).toBe(5);
    expect(asked).toEqual([
      ['notary.example.com', null],
      ['auth.example.com', null],
      ['notary.example.com', 'Bearer a.token'],
    ]);
    asked.length = 0;
    expect(await run([...args, 'https://registry.example.com'], terminal)).toBe(5);
    expect(asked[1]).toEqual(['auth.example.com', `Basic ${auth}`]);
  });
});

describe.skipIf(!hasNotary)("a repository that Debian's notary published", () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'chancery-notary-'));
    const port = await freePort();
    server = `http://127.0.0.1:${port}`;
    const config = {
      server: { http_addr: `127.0.0.1:${port}` },
      trust_service: { type: 'local', hostname: '', port: '', key_algorithm: 'ecdsa' },
      logging: { level: 'error' },
      storage: { backend: 'memory' },
    };
    writeFileSync(join(folder, 'server.json'), JSON.stringify(config));
    const child = spawn('notary-server', ['-config', join(folder, 'server.json')], { stdio: 'ignore' });
    const kill = () => void child.kill('SIGKILL');
    process.once('exit', kill);
    stops.push(() => {
      kill();
      process.off('exit', kill);
    });
    for (let i = 0; i < 600; i++) {
      if (
        await fetch(`${server}/_notary_server/health`).then(
          ({ ok }) => ok,
          () => false,
        )
      )
        break;
      await new Promise((done) => setTimeout(done, 50));
    }
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
    for (const name of ['alice', 'bob']) {
      const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`];
      openssl('req', '-x509', ...key, '-out', `${name}.crt`, '-subj', `/CN=${name}`, '-days', '3650');
    }
    notary('init', GUN, '-p');
    notary('addhash', GUN, 'v1', '528', '--sha256', V1, '-p');
    notary('addhash', GUN, 'v2', '528', '--sha256', V1, '-p');
    notary('key', 'rotate', GUN, 'snapshot', '-r');
    notary('delegation', 'add', GUN, 'targets/releases', 'alice.crt', '--all-paths', '-p');
    notary('delegation', 'add', GUN, 'targets/alice', 'alice.crt', 'bob.crt', '--paths', 'v', '-p');
    notary('key', 'import', 'alice.key', '--role', 'alice', '--gun', GUN);
    notary(
      'addhash',
      GUN,
      'v2',
      '600',
      '--sha256',
      V2,
      '--roles',
      'targets/releases',
      '--roles',
      'targets/alice',
      '-p',
    );
  }, 180_000);
  afterAll(() => {
    for (const stop of stops.splice(0)) stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const notary = (...args: string[]) =>
    execFileSync('notary', ['-s', server, '-d', join(folder, 'trust'), ...args], {
      cwd: folder,
      stdio: 'pipe',
      // Whether it should really rotate a root key.
      input: 'yes\n',
      env: {
        ...process.env,
        HOME: folder,
        NOTARY_ROOT_PASSPHRASE: 'a passphrase for tests',
        NOTARY_TARGETS_PASSPHRASE: 'a passphrase for tests',
        NOTARY_SNAPSHOT_PASSPHRASE: 'a passphrase for tests',
        NOTARY_DELEGATION_PASSPHRASE: 'a passphrase for tests',
      },
    }).toString();
  const rootFile = () => join(folder, 'trust', 'tuf', GUN, 'metadata', 'root.json');
  const rootKey = () => {
    const root = JSON.parse(readFileSync(rootFile(), 'utf8')) as { signed: { roles: { root: { keyids: string[] } } } };
    return root.signed.roles.root.keyids[0] ?? '';
  };

  it('is read as notary itself reads it', async () => {
    expect(await importNotary('--pin', rootKey(), '--json')).toBe(0);
    const { tags, roles } = json() as unknown as {
      tags: { tag: string; digest: string; size: number; role: string; signers: string[] }[];
      roles: { name: string; signedBy: { name?: string }[]; paths?: string[] }[];
    };
    expect(tags).toEqual([
      { tag: 'v1', digest: `sha256:${V1}`, size: 528, role: 'targets', signers: [] },
      { tag: 'v2', digest: `sha256:${V2}`, size: 600, role: 'targets/releases', signers: ['alice'] },
    ]);
    for (const { tag, digest, role } of tags) {
      // Without --roles it prefers targets, which Docker does not.
      expect(notary('list', GUN, '--roles', role)).toMatch(
        new RegExp(`${tag} +${digest.slice('sha256:'.length)} .*${role}`),
      );
    }
    const alice = roles.find(({ name }) => name === 'targets/alice');
    expect(alice).toMatchObject({ paths: ['v'], signedBy: [{ name: 'alice' }] });
  });

  it('is told to a person, and as commands that move it over', async () => {
    expect(await importNotary('--pin', rootKey())).toBe(0);
    expect(out).toContain(`v2  sha256:${V2}  600 bytes, by targets/releases, signers alice`);
    expect(await importNotary('--pin', rootKey(), '--commands')).toBe(0);
    expect(out).toContain(`chancery tag publish ${GUN}:v1@sha256:${V1} "$@"\n`);
  });

  it('is believed by the root of a client, and its certificate, and not by others', async () => {
    expect(await importNotary('--root-json', rootFile())).toBe(0);
    const root = JSON.parse(readFileSync(rootFile(), 'utf8')) as {
      signed: { keys: Record<string, { keyval: { public: string } }> };
    };
    const pem = Buffer.from(root.signed.keys[rootKey()]?.keyval.public ?? '', 'base64');
    writeFileSync(join(folder, 'root.pem'), pem);
    expect(await importNotary('--root-cert', join(folder, 'root.pem'))).toBe(0);
    expect(await importNotary('--root-cert', join(folder, 'alice.crt'))).toBe(1);
    expect(err).toContain('fits what is pinned');
    expect(await importNotary('--root-ca', join(folder, 'alice.crt'))).toBe(1);
    expect(await importNotary('--pin', '0'.repeat(64))).toBe(1);
  });

  it('is believed on first use only by who says so, and is warned', async () => {
    expect(await importNotary('--trust-on-first-use')).toBe(0);
    expect(err).toContain(`--pin ${rootKey()}`);
  });

  it('that goes back is refused by who has seen it', async () => {
    await importNotary('--pin', rootKey(), '--json');
    const report = JSON.parse(out) as { roles: { name: string; version: number }[] };
    writeFileSync(join(folder, 'seen.json'), out);
    expect(await importNotary('--pin', rootKey(), '--seen', join(folder, 'seen.json'))).toBe(0);
    for (const role of report.roles) role.version += role.name === 'timestamp' ? 1 : 0;
    writeFileSync(join(folder, 'seen.json'), JSON.stringify(report));
    expect(await importNotary('--pin', rootKey(), '--seen', join(folder, 'seen.json'))).toBe(1);
    expect(err).toContain('role timestamp');
  });

  it.each(['root', 'timestamp', 'snapshot', 'targets', 'targets/releases', 'targets/alice'])(
    'is refused when %s is tampered with on the way',
    async (role) => {
      // One digit of the version, or of a hash: still JSON, still of the same length.
      between = (url, body) => {
        if (!url.includes(`/tuf/${role}.`)) return body;
        const text = Buffer.from(body).toString();
        return encodeUtf8(text.replace(/"version":(\d)/, (_, digit) => `"version":${(Number(digit) % 9) + 1}`));
      };
      expect(await importNotary('--pin', rootKey(), '--json')).toBe(1);
      const { error } = JSON.parse(out) as { error: { code: string } };
      // What the timestamp names by hash fails by it, the two above by their signatures.
      expect(error.code).toBe(['root', 'timestamp'].includes(role) ? 'NOTARY_SIGNATURE' : 'NOTARY_HASH');
    },
  );

  it('is refused when a role is missing, and after the timestamp has ended', async () => {
    between = (url, body) => (url.includes('targets/releases') ? undefined : body);
    expect(await importNotary('--pin', rootKey())).toBe(5);
    between = (_, body) => body;
    terminal = { ...terminal, now: () => Date.now() + 20 * 86_400_000 };
    expect(await importNotary('--pin', rootKey())).toBe(1);
    expect(err).toContain('role timestamp: it expired');
  });

  it('is followed over a new root key, from the pin of the old one', async () => {
    const before = rootKey();
    notary('key', 'rotate', GUN, 'root');
    notary('list', GUN); // only now does it keep the new root
    expect(rootKey()).not.toBe(before);
    expect(await importNotary('--pin', before, '--json')).toBe(0);
    const { root } = json() as unknown as { root: { version: number; from: number } };
    expect(root.version).toBeGreaterThan(root.from);
    expect(await importNotary('--pin', rootKey())).toBe(0);
  });

  it('that is not there is said not to be there', async () => {
    out = err = '';
    const other = 'registry.example.com/ns/other';
    expect(await run(['tag', 'import-notary', other, '--server', server, '--trust-on-first-use'], terminal)).toBe(5);
  });
});

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => probe.once('listening', done));
  const { port } = probe.address() as AddressInfo;
  await new Promise((done) => probe.close(done));
  return port;
}
