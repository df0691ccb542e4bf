// Auditing as anyone would: the real command line against a real stack, and against logs that lie.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sign } from 'sigstore';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changeObject, flipBit, TestLog } from '../../libs/audit/testing/test-log.js';
import { parseSigningConfig, sign as signV2 } from '../../apps/npm/src/sign.js';
import { startWorld, type World } from '../world/index.js';
import { chancery, cleanEnvironment, ensureBuilt, executable, type Ran } from '../world/process.js';

const emails = ['alice@example.com', 'bob@example.com'];
let world: World;
let folder: string;
const servers: Server[] = [];
const at = (name: string) => join(folder, name);

/** `chancery log …`, in a folder with the trusted root. */
const log = (command: string): Promise<Ran> => {
  const words = command.replaceAll('URL', world.url).split(' ');
  return chancery(['log', ...words], { cwd: folder, environment: { XDG_STATE_HOME: at('state') } });
};
const trusting = (command: string): Promise<Ran> => log(`${command} --trusted-root root.json`);
const parsed = ({ out }: Ran) => JSON.parse(out) as Record<string, unknown>;

/** A web server for this story alone. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('No port');
  return `http://127.0.0.1:${address.port}`;
}
const serveObjects = (objects: () => ReadonlyMap<string, Uint8Array>): Promise<string> =>
  serve((request, response) => {
    const bytes = objects().get((request.url ?? '').slice(1));
    if (bytes === undefined) response.writeHead(404).end();
    else response.end(bytes);
  });
const signWith = async (email: string, text: string): Promise<void> => {
  const identityToken = await world.token({ email });
  const signingConfig = parseSigningConfig(await (await fetch(`${world.url}/trust/signing_config.v0.2.json`)).text());
  await signV2(Buffer.from(text), { signingConfig, identityToken });
  await sign(Buffer.from(text), {
    fulcioURL: world.url,
    rekorURL: world.url,
    identityToken: await world.token({ email }),
  });
};

beforeAll(async () => {
  ensureBuilt();
  world = await startWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-audit-'));
  await writeFile(at('root.json'), await world.trustedRoot());
  for (const email of emails) await signWith(email, `a file of ${email}`);
}, 600_000);
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

describe.each([
  ['v2', 2],
  ['v1', 2],
  ['ct', 4],
])('the log %s', (name, size) => {
  const of = `--url URL --log ${name}`;

  it('is described, believed, and intact', async () => {
    const info = await trusting(`info ${of} --json`);
    expect(info).toMatchObject({ exit: 0, err: '' });
    expect(parsed(info)).toMatchObject({ treeSize: String(size), signatureVerified: true });
    const fsck = await trusting(`fsck ${of} --json`);
    expect(fsck).toMatchObject({ exit: 0, err: '' });
    expect(parsed(fsck)).toMatchObject({ ok: true, outcome: 'intact', entries: String(size) });
    expect((await log(`fsck ${of}`)).out).toContain('not verified: give --trusted-root');
  }, 120_000);

  it('gives entries and proofs', async () => {
    expect(await trusting(`get 0 ${of}`)).toMatchObject({ exit: 0 });
    expect((await trusting(`prove 1 ${of}`)).out).toMatch(/^c2sp\.org\/tlog-proof@v1\nindex 1\n/);
    expect((await trusting(`get ${size} ${of}`)).exit).toBe(1);
  }, 120_000);

  it('is copied, and the copy is a log by itself', async () => {
    expect(await trusting(`mirror ${of} --to m-${name}`)).toMatchObject({ exit: 0 });
    expect(parsed(await trusting(`mirror ${of} --to m-${name} --json`))).toMatchObject({
      from: String(size),
      written: 0,
    });
    expect(await trusting(`fsck --tiles m-${name}`)).toMatchObject({ exit: 0 });
    const tail = await trusting(`tail --tiles m-${name} --identity bob@example.com --json`);
    expect(tail).toMatchObject({ exit: 0, err: '' });
    const lines = tail.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { identities: { value: string }[]; issuer: string });
    expect(lines).toHaveLength(size / 2);
    for (const { identities, issuer } of lines) {
      expect({ identities, issuer }).toMatchObject({
        identities: [{ value: 'bob@example.com' }],
        issuer: world.issuer,
      });
    }
    expect((await trusting(`tail --tiles m-${name} --san-regexp bob@example --json`)).out).toBe('');
    const whole = await trusting(`tail --tiles m-${name} --san-regexp bob@.* --issuer ${world.issuer} --json`);
    expect(whole.out.trim().split('\n')).toHaveLength(size / 2);
    const scan = await trusting(`search --scan --tiles m-${name} --email BOB@example.com --json`);
    expect((parsed(scan)['entries'] as unknown[]).length).toBe(size / 2);
  }, 120_000);

  it('is remembered, and held to that', async () => {
    expect(parsed(await trusting(`consistency ${of} --json`))).toMatchObject({ ok: true, outcome: 'pinned' });
    expect(await trusting(`consistency ${of}`)).toMatchObject({ exit: 0 });
  }, 120_000);

  it('tells which byte of a copy was changed', async () => {
    expect(await trusting(`mirror ${of} --to h-${name}`)).toMatchObject({ exit: 0 });
    changeObject(at(`h-${name}`), `tile/0/000.p/${size}`, flipBit(33));
    const fsck = await trusting(`fsck --tiles h-${name} --json`);
    expect(fsck).toMatchObject({ exit: 1, err: '' });
    expect(parsed(fsck)['problems']).toMatchObject([
      { object: `tile/0/000.p/${size}`, offset: 32, end: 64, logIndex: '1' },
    ]);
  }, 120_000);
});

describe('a log that grows', () => {
  it('proves that it only grew, and its copy grows with it', async () => {
    await signWith('alice@example.com', 'another file');
    for (const name of ['v2', 'v1', 'ct']) {
      const consistency = await trusting(`consistency --url URL --log ${name} --json`);
      expect(parsed(consistency)).toMatchObject({ ok: true, outcome: 'consistent' });
      expect((await trusting(`mirror --url URL --log ${name} --to m-${name}`)).out).toMatch(/has [12] entries more/);
      expect(await trusting(`fsck --tiles m-${name}`)).toMatchObject({ exit: 0 });
    }
  }, 120_000);

  it('is followed until Ctrl-C, which is success', async () => {
    const args = [
      'log',
      'tail',
      '--follow',
      '--interval',
      '1',
      '--url',
      world.url,
      '--trusted-root',
      'root.json',
      '--state',
      'position',
    ];
    const child = spawn(process.execPath, [executable, ...args], { cwd: folder, env: cleanEnvironment() });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const saw = async (text: string): Promise<void> => {
      while (!out.includes(text)) await once(child.stdout, 'data');
    };
    await saw('alice@example.com');
    await signWith('carol@example.com', 'a later file');
    await saw('carol@example.com');
    child.kill('SIGINT');
    expect(await once(child, 'exit')).toEqual([0, null]);
    // And it goes on from there.
    expect(await trusting('tail --url URL --state position')).toMatchObject({ exit: 0, out: '' });
  }, 120_000);
});

describe('searching', () => {
  it('asks the server, and checks that it left out nothing', async () => {
    const found = await trusting('search --url URL --email bob@example.com --json');
    expect(found).toMatchObject({ exit: 0, err: '' });
    expect((parsed(found)['entries'] as unknown[]).length).toBe(4);
    const verified = await trusting('search --url URL --email bob@example.com --limit 1 --verify');
    expect(verified).toMatchObject({ exit: 0 });
    expect(verified.err.match(/✓/g)).toHaveLength(3);
    expect(await trusting('mirror --url URL --to m-v2')).toMatchObject({ exit: 0 });
    expect(await trusting('search --url URL --email bob@example.com --tree v2 --tiles m-v2 --verify')).toMatchObject({
      exit: 0,
    });
  }, 120_000);

  it('convicts a server that leaves out an entry, or makes one up', async () => {
    let change: (entries: Record<string, unknown>[]) => Record<string, unknown>[] = (entries) => entries;
    const proxy = await serve((request, response) => {
      void fetch(`${world.url}${request.url}`).then(async (upstream) => {
        const bytes = Buffer.from(await upstream.arrayBuffer());
        if (request.url?.startsWith('/api/search') !== true) return response.writeHead(upstream.status).end(bytes);
        const answer = JSON.parse(bytes.toString()) as { entries: Record<string, unknown>[] };
        return response.end(JSON.stringify({ ...answer, entries: change(answer.entries) }));
      });
    });
    const verify = () => trusting(`search --url ${proxy} --email bob@example.com --verify --json`);
    expect((await verify()).exit).toBe(0);
    change = (entries) => entries.filter(({ tree }) => tree !== 'v2');
    const omitted = await verify();
    expect(omitted.exit).toBe(1);
    expect(parsed(omitted)['verified']).toContainEqual(
      expect.objectContaining({ tree: 'v2', ok: false, missing: ['1'] }),
    );
    change = (entries) => entries.map((entry) => (entry['tree'] === 'v1' ? { ...entry, logIndex: '0' } : entry));
    const invented = await verify();
    expect(invented.exit).toBe(1);
    expect(parsed(invented)['verified']).toContainEqual(
      expect.objectContaining({ tree: 'v1', ok: false, missing: ['1'], extra: ['0'] }),
    );
  }, 120_000);
});

describe('a log that lies', () => {
  it('is convicted of a fork signed with its own key, a rollback, and another log in its place', async () => {
    const liar = new TestLog('tlog-tiles', 'liar.example').grow(300);
    let objects = liar.objects();
    const url = await serveObjects(() => objects);
    await writeFile(at('liar.vkey'), liar.key.verifierKey);
    const check = () => log(`consistency --tiles ${url} --verifier-key liar.vkey --state liar --json`);
    expect((await check()).exit).toBe(0);
    const cases = [
      ['fork', liar.fork(299).grow(1, 'forged')],
      ['rewritten', liar.fork(200).grow(400, 'forged')],
      ['rollback', liar.fork(100)],
    ] as const;
    for (const [kind, next] of cases) {
      objects = next.objects();
      const convicted = await check();
      expect(convicted).toMatchObject({ exit: 1, err: '' });
      const { evidence, ...verdict } = parsed(convicted);
      expect(verdict).toMatchObject({ ok: false, outcome: 'inconsistent', kind });
      // What is in the file is enough, anywhere.
      const again = await log(`consistency --evidence ${String(evidence)} --verifier-key liar.vkey --json`);
      expect(again.exit).toBe(1);
      expect(parsed(again)).toMatchObject({ kind, signatures: 'trusted' });
    }
    objects = new TestLog('tlog-tiles', 'other.example').grow(400).objects();
    expect((await check()).exit).toBe(6);
    objects = liar.grow(10).objects();
    expect((await check()).exit).toBe(0);
  }, 120_000);

  it('is not confused with one that cannot be reached, nor with a state that was changed', async () => {
    const gone = await trusting('consistency --tiles http://127.0.0.1:9 --json');
    expect(gone.exit).toBe(6);
    const state =
      /"state": "([^"]*)"/.exec((await trusting('consistency --url URL --state own --json')).out)?.[1] ?? '';
    const [file = ''] = readdirSync(at(state));
    const text = await readFile(join(at(state), file), 'utf8');
    await writeFile(join(at(state), file), text.replace(/\\n(\d+)\\n/, '\\n1\\n'));
    expect((await trusting('consistency --url URL --state own')).exit).toBe(3);
  }, 120_000);
});

describe('a copy that is killed', () => {
  it('is taken up again, wherever it was', async () => {
    const large = new TestLog('tlog-tiles', 'large.example').grow(6000);
    const objects = large.objects({ annex: true });
    let requests = 0;
    let onRequest = (): void => undefined;
    const url = await serve((request, response) => {
      requests++;
      onRequest();
      const bytes = objects.get((request.url ?? '').slice(1));
      if (bytes === undefined) response.writeHead(404).end();
      else response.end(bytes);
    });
    await writeFile(at('large.vkey'), large.key.verifierKey);
    const args = ['log', 'mirror', '--tiles', url, '--verifier-key', 'large.vkey', '--to', 'killed'];
    for (const patience of [3, 15, 40, 45]) {
      const child = spawn(process.execPath, [executable, ...args], {
        cwd: folder,
        env: cleanEnvironment(),
        stdio: 'ignore',
      });
      requests = 0;
      onRequest = () => void (requests === patience && child.kill('SIGKILL'));
      expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
      // An unfinished copy does not pass for a log.
      expect(existsSync(join(at('killed'), 'checkpoint'))).toBe(false);
    }
    onRequest = () => undefined;
    const finished = await chancery([...args, '--json'], { cwd: folder });
    expect(finished).toMatchObject({ exit: 0, err: '' });
    expect(parsed(finished)).toMatchObject({ treeSize: '6000' });
    expect(await log('fsck --tiles killed --verifier-key large.vkey')).toMatchObject({ exit: 0 });
    for (const [path, bytes] of objects) expect(new Uint8Array(readFileSync(join(at('killed'), path)))).toEqual(bytes);
  }, 120_000);
});

describe('the data folder', () => {
  it('has nothing wrong, but not all that leads up to the root', async () => {
    const fsck = await trusting(`fsck --tiles ${world.folder}/tiles/log --json`);
    expect(fsck).toMatchObject({ exit: 6, err: '' });
    expect(parsed(fsck)).toMatchObject({ outcome: 'untold', problems: [] });
  }, 120_000);

  it('gives the search index again', async () => {
    await world.stop();
    const reindexed = await log(`reindex --data ${world.folder} --json`);
    expect(reindexed).toMatchObject({ exit: 0 });
    expect(parsed(reindexed)['trees']).toContainEqual({ tree: 'v2', entries: '4' });
    expect((await log('reindex --data nowhere')).exit).toBe(3);
  }, 120_000);
});
