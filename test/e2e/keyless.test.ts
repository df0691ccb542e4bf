// The whole story as a newcomer lives it, through the command line alone: a server, a token, a signature; then the server is gone, and the
// signature still proves who signed what, and nothing else.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fetchToken, freePort } from '../world/index.js';
import { chancery, ensureBuilt, type Ran, type ServerProcess, startServer } from '../world/process.js';

const email = 'you@example.com';
let folder: string;
let port: number;
let url: string;
let server: ServerProcess;

/** `chancery …` in the newcomer's folder. */
const type = (command: string, ...more: string[]): Promise<Ran> =>
  chancery([...command.split(' '), ...more], { cwd: folder });
const write = (name: string, content: string): Promise<void> => writeFile(join(folder, name), content);
const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8');

beforeAll(async () => {
  ensureBuilt();
  folder = await mkdtemp(join(tmpdir(), 'chancery-keyless-'));
  port = await freePort();
  url = `http://127.0.0.1:${port}`;
  server = await startServer({ data: join(folder, 'data'), port });
}, 600_000);
afterAll(async () => {
  await server.end('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}, 60_000);

it('signs a file with a token of the development issuer', async () => {
  await write('token', await fetchToken(url, { email }));
  await write('app.txt', 'a release\n');
  expect(await type(`trust export --url ${url} --out trust`)).toMatchObject({ exit: 0 });

  const signed = await type(`sign app.txt --url ${url} --identity-token token --bundle app.json`);

  expect(signed).toMatchObject({ exit: 0 });
  expect(signed.out).toContain(email);
  const bundle = JSON.parse(await read('app.json')) as { mediaType: string };
  expect(bundle.mediaType).toBe('application/vnd.dev.sigstore.bundle.v0.3+json');
}, 120_000);

it('signs several files with one certificate, and says so as JSON to a program', async () => {
  await write('one.txt', 'one');
  await write('two.txt', 'two');

  const signed = await type(`sign one.txt two.txt --url ${url} --identity-token token --json`);

  expect(signed).toMatchObject({ exit: 0 });
  expect(JSON.parse(signed.out)).toMatchObject({ ok: true, signed: [{ file: 'one.txt' }, { file: 'two.txt' }] });
  const leaf = async (name: string) =>
    (JSON.parse(await read(name)) as { verificationMaterial: { certificate: unknown } }).verificationMaterial
      .certificate;
  expect(await leaf('one.txt.sigstore.json')).toEqual(await leaf('two.txt.sigstore.json'));
}, 120_000);

it('signs an in-toto statement about the file', async () => {
  const digest = { sha256: createHash('sha256').update('a release\n').digest('hex') };
  const statement = {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'app.txt', digest }],
    predicateType: 'https://example.com/built/v1',
    predicate: { by: 'hand' },
  };
  await write('built.json', JSON.stringify(statement));

  const command = `sign --in-toto built.json --url ${url} --trusted-root trust/trusted_root.json`;
  expect(await type(`${command} --identity-token token --bundle built.bundle`)).toMatchObject({ exit: 0 });

  expect(Object.keys(JSON.parse(await read('built.bundle')) as object)).toContain('dsseEnvelope');
}, 120_000);

it('reads the log: checkpoint, entry, inclusion proof, and that it only grew', async () => {
  const log = `--url ${url} --trusted-root trust/trusted_root.json`;
  const checkpoint = await type(`log checkpoint ${log}`);
  expect(checkpoint).toMatchObject({ exit: 0 });
  expect(checkpoint.out.split('\n').slice(0, 2)).toEqual(['127.0.0.1', '4']);
  await write('old.checkpoint', checkpoint.out);

  const entry = await type(`log entry 0 ${log}`);
  expect(entry).toMatchObject({ exit: 0 });
  expect(JSON.parse(entry.out)).toMatchObject({ kind: 'hashedrekord', apiVersion: '0.0.2' });

  const proof = await type(`log prove 0 ${log}`);
  expect(proof).toMatchObject({ exit: 0 });
  expect(proof.out).toBe(
    `c2sp.org/tlog-proof@v1\nindex 0\n${proof.out.split('\n').slice(2, 4).join('\n')}\n\n${checkpoint.out}`,
  );

  expect(await type(`sign one.txt --url ${url} --identity-token token --bundle again.json`)).toMatchObject({ exit: 0 });
  const consistency = await type(`log consistency --old old.checkpoint ${log} --json`);
  expect(consistency).toMatchObject({ exit: 0, err: '' });
  expect(JSON.parse(consistency.out)).toMatchObject({ ok: true, old: { treeSize: '4' }, new: { treeSize: '5' } });
}, 120_000);

it('notices a log that is not the one it was', async () => {
  const older = await read('old.checkpoint');
  await write('forged.checkpoint', older.replace('\n4\n', '\n3\n'));
  const command = `log consistency --url ${url} --trusted-root trust/trusted_root.json --old`;
  expect((await type(command, 'forged.checkpoint')).exit).toBe(1);
}, 120_000);

it('stops the server in order', async () => {
  expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
}, 120_000);

// From here on nobody answers; and whoever asked the network would crash.

const verify = 'verify app.txt --bundle app.json --trusted-root trust/trusted_root.json';
const identity = (name = email, issuer = `${url}/dev/oidc`): string =>
  `--certificate-identity ${name} --certificate-oidc-issuer ${issuer}`;

/** `chancery …` on a machine without a network. */
async function typeOffline(command: string): Promise<Ran> {
  await write(
    'no-network.mjs',
    `import net from 'node:net';
     import dns from 'node:dns';
     import dgram from 'node:dgram';
     const refuse = () => { throw new Error('a network call'); };
     net.Socket.prototype.connect = refuse;
     net.connect = net.createConnection = refuse;
     dgram.createSocket = refuse;
     for (const name of ['lookup', 'resolve', 'resolve4', 'resolve6']) dns[name] = refuse;
     globalThis.fetch = refuse;`,
  );
  return chancery(command.split(' '), { cwd: folder, nodeFlags: ['--import', `${folder}/no-network.mjs`] });
}

it('verifies offline who signed the file', async () => {
  const verified = await typeOffline(`${verify} ${identity()}`);
  expect(verified).toMatchObject({ exit: 0, err: '' });
  expect(verified.out).toContain('✓ The log has the entry at its place');
  expect(verified.out).not.toContain('✗');

  expect(await typeOffline(`verify one.txt --trusted-root trust/trusted_root.json ${identity()}`)).toMatchObject({
    exit: 0,
  });
  // Log commands need the network, and say so: the trap works.
  expect((await typeOffline(`log checkpoint --url ${url}`)).exit).toBe(4);
}, 120_000);

it('verifies the statement about the file', async () => {
  const command = `verify app.txt --bundle built.bundle --trusted-root trust/trusted_root.json ${identity()}`;
  const verified = await typeOffline(command);
  expect(verified).toMatchObject({ exit: 0 });
  expect(verified.out).toContain('https://example.com/built/v1');
}, 120_000);

it('tells a program the same', async () => {
  const verified = await typeOffline(`${verify} ${identity()} --json`);
  expect(verified).toMatchObject({ exit: 0, err: '' });
  const report = JSON.parse(verified.out) as { ok: boolean; checks: { id: string; state: string }[] };
  expect(report).toMatchObject({ ok: true, signer: { san: email, issuer: `${url}/dev/oidc` } });
  expect(report.checks.filter(({ state }) => state === 'failed')).toEqual([]);
  expect(report.checks.find(({ id }) => id === 'signature')?.state).toBe('passed');
}, 120_000);

/** What must fail, and by which check. */
const refusals: readonly (readonly [string, string, () => string | Promise<string>])[] = [
  ['another identity', 'certificate-identity', () => `${verify} ${identity('mallory@example.com')}`],
  ['another issuer', 'certificate-issuer', () => `${verify} ${identity(email, 'https://accounts.example.com')}`],
  [
    'a file that was changed',
    'log-binding',
    async () => {
      await write('changed.txt', 'a release!\n');
      return `${verify.replace('app.txt', 'changed.txt')} ${identity()}`;
    },
  ],
  [
    'a statement about another file',
    'artifact-digest',
    () => `verify one.txt --bundle built.bundle --trusted-root trust/trusted_root.json ${identity()}`,
  ],
  [
    "another instance's trusted root",
    'log-key',
    async () => {
      const other = await startServer({ data: join(folder, 'other'), port: await freePort() });
      const exported = await type(`trust export --url ${other.url} --out other-trust`);
      expect(exported).toMatchObject({ exit: 0 });
      await other.end('SIGTERM');
      return `${verify.replace('trust/trusted_root.json', 'other-trust/trusted_root.json')} ${identity()}`;
    },
  ],
];
it.each(refusals)(
  'refuses %s: %s',
  async (_, check, command) => {
    const line = await command();
    const refused = await typeOffline(`${line} --json`);
    expect(refused.exit).toBe(1);
    const report = JSON.parse(refused.out) as { ok: boolean; checks: { id: string; state: string; cure?: string }[] };
    expect(report.ok).toBe(false);
    expect(report.checks.filter(({ state }) => state === 'failed')).toMatchObject([
      { id: check, cure: expect.any(String) as string },
    ]);

    const forPeople = await typeOffline(line);
    expect(forPeople.exit).toBe(1);
    expect(forPeople.out.match(/^✗ .+\n {2}cure: .+$/gm)).toHaveLength(1);
    expect(forPeople.out).toContain('NOT VERIFIED');
  },
  300_000,
);
