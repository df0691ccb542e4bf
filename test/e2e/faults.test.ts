// What goes wrong around a running instance: old copies, flipped bits, a second process, signals, clocks, full disks. Each time: nothing acknowledged is lost,
// no two heads contradict each other, and whoever has to repair it reads where.
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseEntryBundle } from '#libs/merkle';
import { openSqlStore } from '#libs/tlog';
import { parseSigningConfig, parseTrustedRoot, sign } from '../../apps/npm/src/sign.js';
import { verify } from '../../apps/npm/src/verify.js';
import {
  append,
  appendMany,
  type LogAnswer,
  newEntry,
  obtainCertificate,
  post,
  type PreparedEntry,
} from '../world/entries.js';
import { fetchToken, freePort, startWorld, type World } from '../world/index.js';
import {
  chancery,
  ensureBuilt,
  executable,
  type ServerProcess,
  spawnServing,
  startServer,
  waitUntil,
} from '../world/process.js';
import { CtWitness, LogWitness } from '../world/witness.js';

const email = 'you@example.com';
const slow = 300_000;

/** Logs so many entries, and has the witness remember them. */
async function grow(url: string, witness: LogWitness, count: number): Promise<PreparedEntry[]> {
  const logged = await appendMany(url, count);
  for (const { entry, answer } of logged) await witness.remember(answer, entry);
  return logged.map(({ entry }) => entry);
}

async function appendAndRemember(url: string, witness: LogWitness, entry = newEntry()): Promise<bigint> {
  return witness.remember(await append(url, entry), entry);
}

describe('a copy of the data', () => {
  let world: World;
  let witness: LogWitness;
  let copies: string;
  beforeEach(async () => {
    world = await startWorld();
    witness = new LogWitness(world.url, await world.trustedRoot());
    copies = await mkdtemp(join(tmpdir(), 'chancery-copies-'));
  }, slow);
  afterEach(async () => {
    await world.close();
    await rm(copies, { recursive: true, force: true });
  }, slow);
  const database = () => join(world.folder, 'chancery.db');

  it.each([
    ['3 entries', 20, 3],
    ['more than a bundle', 20, 300],
    ['3 entries that begin a bundle', 254, 3],
  ])(
    'of the database alone that lacks %s is refused',
    async (_, before, after) => {
      await grow(world.url, witness, before);
      await world.stop();
      await cp(database(), join(copies, 'old.db'));
      await world.restart();
      await grow(world.url, witness, after);
      await world.stop();
      await cp(database(), join(copies, 'new.db'));

      await cp(join(copies, 'old.db'), database());
      await expect(world.restart()).rejects.toMatchObject({
        code: 'TLOG_ROLLED_BACK',
        message: `Cannot open tree log: size ${before + after} is published, but the database has size ${before}`,
      });

      // It does not help to take away what shows it: only whoever has the newest database goes on.
      await cp(join(copies, 'new.db'), database());
      await world.restart();
      await appendAndRemember(world.url, witness);
      await witness.checkAll();
    },
    slow,
  );

  it(
    'of everything is an instance',
    async () => {
      await grow(world.url, witness, 300);
      await world.stop();
      await cp(world.folder, join(copies, 'data'), { recursive: true });
      await rm(world.folder, { recursive: true });
      await cp(join(copies, 'data'), world.folder, { recursive: true });
      await world.restart();
      await appendAndRemember(world.url, witness);
      await witness.checkAll();
    },
    slow,
  );

  it(
    'of everything that is too old cannot be told from the instance it was; whoever kept a checkpoint can tell',
    async () => {
      await grow(world.url, witness, 5);
      await world.stop();
      await cp(world.folder, join(copies, 'data'), { recursive: true });
      await world.restart();
      await grow(world.url, witness, 3);
      await witness.check();
      await world.stop();
      await rm(world.folder, { recursive: true });
      await cp(join(copies, 'data'), world.folder, { recursive: true });
      await world.restart();
      await expect(witness.check()).rejects.toThrow('the log has 5 entries, but signed 8 before');
      // The same size again is another history.
      await expect(grow(world.url, witness, 3)).rejects.toThrow(/two heads of size \d differ|was acknowledged for two/);
      await appendMany(world.url, 3);
      await expect(witness.check()).rejects.toThrow(/has changed|differ|does not lead/);
    },
    slow,
  );
});

describe('one flipped bit', () => {
  // 300 entries: a full bundle and a full tile as objects, 44 entries and two levels of edge in rows.
  let world: World;
  let witness: LogWitness;
  let entries: PreparedEntry[];
  beforeAll(async () => {
    world = await startWorld();
    witness = new LogWitness(world.url, await world.trustedRoot());
    await grow(world.url, witness, 299);
    await obtainCertificate(world.url, await world.token({ email }), email);
    await world.restart();
    // This batch deletes the rows of what is an object.
    await appendAndRemember(world.url, witness);
    await witness.check();
    entries = await bundle(0, 256);
  }, slow);
  afterAll(() => world.close());
  const file = (path: string) => join(world.folder, 'tiles', path);

  async function bundle(index: number, width: number): Promise<PreparedEntry[]> {
    const path = `tile/entries/00${index}${width < 256 ? `.p/${width}` : ''}`;
    const response = await fetch(`${world.url}/api/v2/${path}`);
    expect(response.status).toBe(200);
    const records = parseEntryBundle(new Uint8Array(await response.arrayBuffer()), width);
    return records.map((canonicalizedBody) => ({ request: '', canonicalizedBody }));
  }

  /** Changes a blob in the database, past the server. Gives back how to undo it. */
  async function flipRow(table: string, column: string, where: string, at: number): Promise<() => Promise<void>> {
    const inTree = `tree = (SELECT id FROM tree WHERE name = '${where.split(' ', 1)[0]}')`;
    const clause = `${inTree} AND ${where.slice(where.indexOf(' ') + 1)}`;
    const set = async (change: (blob: Uint8Array) => Uint8Array): Promise<void> => {
      const store = await openSqlStore({ file: join(world.folder, 'chancery.db') });
      const transaction = await store.begin();
      const [row] = await transaction.query<{ blob: Uint8Array }>(
        `SELECT ${column} AS blob FROM ${table} WHERE ${clause}`,
      );
      expect(row).toBeDefined();
      await transaction.query(`UPDATE ${table} SET ${column} = ? WHERE ${clause}`, [
        change(row?.blob ?? new Uint8Array()),
      ]);
      await transaction.commit();
      await store.close();
    };
    await set((blob) => flipped(blob, at));
    return () => set((blob) => flipped(blob, at));
  }

  /** Changes a file. Gives back how to undo it. */
  async function flipFile(path: string, at: number): Promise<() => Promise<void>> {
    const bytes = await readFile(file(path));
    const write = async (content: Uint8Array): Promise<void> => {
      await rm(file(path), { force: true }); // they are read-only
      await writeFile(file(path), content);
    };
    await write(flipped(bytes, at));
    return () => write(bytes);
  }

  /** What is flipped, how, and what is said about it. */
  const flips: readonly (readonly [
    what: string,
    flip: () => Promise<() => Promise<void>>,
    atStart: RegExp,
    running: RegExp,
  ])[] = [
    [
      'a stored entry row',
      () => flipRow('entry', 'record', 'log idx = 280', 30),
      /^Cannot trust tree log: entry rows of bundle 1 \(entry 280\) /,
      /Cannot trust tree log: entry row 280 \(entry 280\) /,
    ],
    [
      'a row of the edge',
      () => flipRow('edge', 'hashes', 'log level = 0', 100),
      /^Cannot trust tree log: edge rows of size \d+ /,
      /Cannot trust tree log: edge row 0\/1 /,
    ],
    [
      'a full tile',
      () => flipFile('log/tile/0/000', 32 * 7),
      /^Cannot trust tree log: log\/tile\/0\/000 /,
      /Cannot trust tree log: log\/tile\/0\/000 /,
    ],
    [
      'a full bundle',
      () => flipFile('log/tile/entries/000', 20),
      /^Cannot trust tree log: log\/tile\/entries\/000 \(entry 0\) /,
      /Cannot trust tree log: log\/tile\/entries\/000 \(entry 0\) /,
    ],
  ];

  it.each(flips)(
    'in %s: refused at the start',
    async (_, flip, atStart) => {
      await world.stop();
      const undo = await flip();
      const refusal = await world.restart().then(
        () => undefined,
        (error: unknown) => error,
      );
      await undo();
      expect(refusal).toMatchObject({ code: 'TLOG_CORRUPT', message: expect.stringMatching(atStart) as string });
      await world.restart();
      await appendAndRemember(world.url, witness);
    },
    slow,
  );

  it.each(flips)(
    'in %s: a running log stops publishing, and says where',
    async (_, flip, __, running) => {
      const checkpoint = () => fetch(`${world.url}/api/v2/checkpoint`).then((response) => response.text());
      const undo = await flip();
      world.log.length = 0;

      // Rows are hashed again before each head is signed; objects when their turn comes.
      let refused: Response | undefined;
      const isRefused = await waitUntil(async () => {
        const entry = newEntry();
        const response = await post(world.url, entry);
        if (response.status === 201) await witness.remember((await response.json()) as LogAnswer, entry);
        else refused = response;
        return refused !== undefined;
      });
      expect(isRefused).toBe(true);
      expect(refused?.status).toBe(503);
      expect(refused?.headers.get('retry-after')).toMatch(/^\d+$/);
      expect(await refused?.json()).toEqual({
        code: 14,
        message: 'log has stopped publishing: its storage does not match its tree',
        details: [],
      });
      expect(world.log.filter((line) => running.test(line))).not.toEqual([]);

      // Nothing more is signed; and what was acknowledged before can still be read and checked.
      const last = await checkpoint();
      expect((await post(world.url, newEntry())).status).toBe(503);
      expect(await checkpoint()).toBe(last);
      const readable = await bundle(0, 256);
      const same = readable.filter((entry, index) => sameBody(entry, entries[index])).length;
      expect(same).toBeGreaterThanOrEqual(255);

      // Repaired and opened anew, it goes on where it was.
      await world.stop();
      await undo();
      await world.restart();
      await appendAndRemember(world.url, witness);
      await witness.checkAll();
    },
    slow,
  );

  it(
    'in a row of the CT log: no certificates any more, and the place is named',
    async () => {
      // In the certificate, and in a length, so that the record cannot even be parsed.
      for (const at of [400, 45]) {
        const undo = await flipRow('entry', 'record', 'ct idx = 0', at);
        world.log.length = 0;
        const token = await world.token({ email });
        await expect(obtainCertificate(world.url, token, email)).rejects.toThrow('Error entering certificate in CTL');
        expect.soft(world.log.join(''), `byte ${at}`).toMatch(/tree ct: entry row 0 \(entry 0\)/);
        // The other log goes on.
        await appendAndRemember(world.url, witness);
        await world.stop();
        await expect(world.restart()).rejects.toThrow(/tree ct/);
        await undo();
        await world.restart();
        await obtainCertificate(world.url, token, email);
      }
    },
    slow,
  );

  it(
    'anywhere in the published checkpoint: refused, or put right from the database',
    async () => {
      await world.stop();
      const whole = await readFile(file('log/checkpoint'));
      const outcomes = { refused: 0, repaired: 0 };
      for (let at = 0; at < whole.length; at += 13) {
        await rm(file('log/checkpoint'));
        await writeFile(file('log/checkpoint'), flipped(whole, at));
        try {
          await world.restart();
          outcomes.repaired++;
          // Size and root are as they were; only the signature may be made anew.
          const published = await readFile(file('log/checkpoint'), 'utf8');
          expect(published).toBe(whole.toString());
          await world.stop();
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^TLOG_(CORRUPT|ROLLED_BACK)$/) as string });
          outcomes.refused++;
        }
      }
      expect(outcomes.refused).toBeGreaterThan(0);
      expect(outcomes.repaired).toBeGreaterThan(0);
      await rm(file('log/checkpoint'), { force: true });
      await writeFile(file('log/checkpoint'), whole);
      await world.restart();
      await appendAndRemember(world.url, witness);
      await witness.checkAll();
    },
    slow,
  );
});

describe('the clock', () => {
  it(
    'may go back: the log of certificates never says an earlier time, and what is signed then verifies',
    async () => {
      let nowMs = Date.now();
      const world = await startWorld({ now: () => new Date(nowMs) });
      try {
        const trustedRoot = await world.trustedRoot();
        const log = new LogWitness(world.url, trustedRoot);
        const ct = new CtWitness(world.url, trustedRoot);
        const step = async (): Promise<void> => {
          await appendAndRemember(world.url, log);
          await ct.remember(await obtainCertificate(world.url, await world.token({ email }), email));
          await log.check();
          await ct.check();
        };
        nowMs += 60_000;
        await step();
        nowMs -= 5000;
        await step();

        const artifact = Buffer.from('signed while the clock was back');
        const signingConfig = await (await fetch(`${world.url}/trust/signing_config.v0.2.json`)).text();
        const bundle = await sign(artifact, {
          signingConfig: parseSigningConfig(signingConfig),
          identityToken: await world.token({ email }),
          trustedRoot: parseTrustedRoot(trustedRoot),
        });
        const policy = { trustedRoot: parseTrustedRoot(trustedRoot), identity: email, issuer: world.issuer };
        expect((await verify(bundle, artifact, policy)).checks.filter(({ state }) => state === 'failed')).toEqual([]);

        nowMs += 3_600_000;
        await step();
        nowMs -= 3_600_000;
        await step();
        await world.restart();
        await step();
        await log.checkAll();
        await ct.checkAll();
      } finally {
        await world.close();
      }
    },
    slow,
  );
});

describe('a store that fails', () => {
  let world: World;
  let witness: LogWitness;
  beforeEach(async () => {
    world = await startWorld();
    witness = new LogWitness(world.url, await world.trustedRoot());
  }, slow);
  afterEach(() => world.close(), slow);
  const file = (path: string) => join(world.folder, 'tiles', path);

  it(
    'to take tiles: the log goes on from the database, and makes the tiles later',
    async () => {
      await appendAndRemember(world.url, witness);
      // A file where the folder should be: not even root can write below it.
      await writeFile(file('log/tile'), '');
      await grow(world.url, witness, 600);
      await witness.check();
      expect(world.log.some((line) => line.includes('"log storage"') && line.includes('tree log'))).toBe(true);

      await rm(file('log/tile'));
      await appendAndRemember(world.url, witness);
      expect(await waitUntil(() => existsSync(file('log/tile/entries/001')))).toBe(true);
      await appendAndRemember(world.url, witness);
      await witness.checkAll();
      await world.restart();
      await witness.checkAll();
    },
    slow,
  );

  it(
    'to give back tiles: 503 at worst, and everything is there when it comes back',
    async () => {
      await grow(world.url, witness, 300);
      expect(await waitUntil(() => existsSync(file('log/tile/0/000')))).toBe(true);
      await rename(file('log/tile'), file('log/aside'));
      await writeFile(file('log/tile'), '');
      for (let n = 0; n < 100; n++) {
        const entry = newEntry();
        const response = await post(world.url, entry);
        if (response.status === 201) await witness.remember((await response.json()) as LogAnswer, entry);
        else expect([response.status, response.headers.get('retry-after')]).toEqual([503, expect.any(String)]);
      }
      await world.stop();
      await rm(file('log/tile'));
      await rename(file('log/aside'), file('log/tile'));
      await world.restart();
      await appendAndRemember(world.url, witness);
      await witness.checkAll();
    },
    slow,
  );

  it(
    'to publish a checkpoint: nobody hears of the entry until it is published; then the retry gets its index',
    async () => {
      await grow(world.url, witness, 10);
      await rename(file('log'), file('aside'));
      await writeFile(file('log'), '');
      const entry = newEntry();
      const response = await post(world.url, entry);
      expect([response.status, response.headers.get('retry-after')]).toEqual([503, expect.any(String)]);
      expect(await response.text()).not.toMatch(/tiles|ENOTDIR|\//);
      await witness.check();

      await rm(file('log'));
      await rename(file('aside'), file('log'));
      expect(await appendAndRemember(world.url, witness, entry)).toBe(10n);
      expect(await appendAndRemember(world.url, witness, entry)).toBe(10n);
      await witness.checkAll();
    },
    slow,
  );
});

describe('processes', () => {
  let folder: string;
  let port: number;
  let server: ServerProcess | undefined;
  beforeAll(() => ensureBuilt(), 600_000);
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'chancery-faults-'));
    port = await freePort();
  });
  afterEach(async () => {
    await server?.end('SIGKILL');
    server = undefined;
    await rm(folder, { recursive: true, force: true });
  }, slow);
  const data = () => join(folder, 'data');
  const watch = async (url: string) =>
    new LogWitness(url, await (await fetch(`${url}/trust/trusted_root.json`)).text());

  it(
    'a second one on the same folder is refused, and starts once the first was killed',
    async () => {
      server = await startServer({ data: data(), port });
      const witness = await watch(server.url);
      await grow(server.url, witness, 40);
      const args = ['up', '--dev', '--port', String(await freePort()), '--data', data()];
      const second = await chancery(args, { cwd: folder });
      expect(second.exit).toBe(3);
      expect(second.err).toContain(`Cannot lock folder ${data()}: another process is working in it`);
      await appendAndRemember(server.url, witness);
      await witness.check();

      await server.end('SIGKILL');
      server = await startServer({ data: data(), port });
      await appendAndRemember(server.url, witness);
      await witness.checkAll();
    },
    slow,
  );

  it(
    'an old database is refused with a sentence and an exit code, also beside a write-ahead log that a kill left',
    async () => {
      server = await startServer({ data: data(), port });
      const witness = await watch(server.url);
      await grow(server.url, witness, 20);
      expect((await server.end('SIGTERM')).code).toBe(0);
      await cp(join(data(), 'chancery.db'), join(folder, 'old.db'));
      server = await startServer({ data: data(), port });
      await grow(server.url, witness, 3);
      await server.end('SIGKILL');
      expect(existsSync(join(data(), 'chancery.db-wal'))).toBe(true);
      await cp(data(), join(folder, 'killed'), { recursive: true });

      // The write-ahead log has what the copy lacks, or the start is refused: never a third thing.
      await cp(join(folder, 'old.db'), join(data(), 'chancery.db'));
      server = spawnServing(process.execPath, [executable, ...up()], { port });
      const isServing = await server.serving().then(
        () => true,
        () => false,
      );
      if (isServing) await witness.checkAll();
      await server.end('SIGTERM');

      await rm(data(), { recursive: true });
      await cp(join(folder, 'killed'), data(), { recursive: true });
      for (const name of ['chancery.db-wal', 'chancery.db-shm']) await rm(join(data(), name), { force: true });
      await cp(join(folder, 'old.db'), join(data(), 'chancery.db'));
      const refused = await chancery(up(), { cwd: folder });
      expect(refused.exit).toBe(3);
      expect(refused.err).toContain('Cannot open tree log: size 23 is published, but the database has size 20');
    },
    slow,
  );
  const up = () => ['up', '--dev', '--port', String(port), '--data', data()];

  it(
    'SIGTERM under load: exit code 0, every answer whole, every acknowledged entry there',
    async () => {
      server = await startServer({ data: data(), port });
      const witness = await watch(server.url);
      const agent = new Agent({ keepAlive: true, maxSockets: 32 });
      const outcomes: { entry: PreparedEntry; outcome: Outcome }[] = [];
      let isOver = false;
      const connection = async (): Promise<void> => {
        while (!isOver) {
          const entry = newEntry();
          const outcome = await send(port, agent, entry);
          outcomes.push({ entry, outcome });
          // Once it says no, it is on its way out.
          if (outcome.kind !== 'answered' || outcome.status !== 201) return;
        }
      };
      const load = Promise.all(Array.from({ length: 32 }, connection));
      expect(await waitUntil(() => outcomes.length > 200)).toBe(true);
      const ended = await server.end('SIGTERM');
      isOver = true;
      await load;
      agent.destroy();

      expect(ended).toEqual({ code: 0, signal: null });
      const kinds = outcomes.map(({ outcome }) => (outcome.kind === 'answered' ? outcome.status : outcome.kind));
      expect(kinds.filter((kind) => ![201, 503, 'closed'].includes(kind))).toEqual([]);
      server = await startServer({ data: data(), port });
      for (const { entry, outcome } of outcomes) {
        if (outcome.kind === 'answered' && outcome.status === 201) {
          await witness.remember(JSON.parse(outcome.text) as LogAnswer, entry);
        }
      }
      expect(witness.acknowledged).toBeGreaterThan(200);
      await witness.checkAll();
    },
    slow,
  );

  it(
    'SIGTERM while clients are connected that say nothing, or half a request: exit code 0 all the same',
    async () => {
      server = await startServer({ data: data(), port });
      const head = 'POST /api/v2/log/entries HTTP/1.1\r\nHost: x\r\n';
      const said = ['', head, `${head}Content-Length: 100\r\n\r\n{"half":`];
      const sockets = await Promise.all(said.map((text) => connectAndSay(port, text)));
      // Answered after the others have connected, so the server knows of them.
      expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
      expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
      for (const socket of sockets) socket.destroy();
    },
    slow,
  );

  it(
    'SIGTERM while it starts: exit code 0, or killed before it could listen; the folder is whole',
    async () => {
      server = await startServer({ data: data(), port });
      const witness = await watch(server.url);
      await grow(server.url, witness, 10);
      await server.end('SIGTERM');
      server = spawnServing(process.execPath, [executable, ...up()], { port });
      const ended = await server.end('SIGTERM');
      expect([
        { code: 0, signal: null },
        { code: null, signal: 'SIGTERM' },
      ]).toContainEqual(ended);
      server = await startServer({ data: data(), port });
      await witness.checkAll();
    },
    slow,
  );

  // A limit on the size of files is a disk that is full: writes fail at a point that nobody chose.
  it.skipIf(process.platform === 'win32')(
    'a full disk: 503, nothing acknowledged is lost, and it goes on when there is room',
    async () => {
      const limited = ['-c', 'ulimit -f 2048 && exec "$0" "$@"', process.execPath, executable, ...up()];
      server = spawnServing('/bin/sh', limited, { port });
      await server.serving();
      const witness = await watch(server.url);
      const refused: PreparedEntry[] = [];
      const connection = async (): Promise<void> => {
        for (let n = 0; n < 400 && refused.length < 20; n++) {
          const entry = newEntry();
          const response = await post(server?.url ?? '', entry);
          if (response.status === 201) await witness.remember((await response.json()) as LogAnswer, entry);
          else {
            expect([response.status, response.headers.get('retry-after')]).toEqual([503, expect.any(String)]);
            expect(await response.text()).toContain('log storage is unavailable');
            refused.push(entry);
          }
        }
      };
      await Promise.all(Array.from({ length: 16 }, connection));
      expect(refused.length).toBeGreaterThanOrEqual(20);
      await witness.checkAll();
      expect((await server.end('SIGTERM')).code).toBe(0);

      server = await startServer({ data: data(), port });
      await witness.checkAll();
      for (const entry of refused) await appendAndRemember(server.url, witness, entry);
      await witness.checkAll();
      expect(witness.acknowledged).toBe(witness.size);
    },
    slow,
  );

  it(
    'a creation that was interrupted is refused, not taken for an instance',
    async () => {
      server = spawnServing(process.execPath, [executable, ...up()], { port });
      await waitUntil(() => existsSync(join(data(), 'keys', 'ca.pem')));
      await server.end('SIGKILL');
      if (existsSync(join(data(), 'instance.json'))) return; // it was faster than we
      const refused = await chancery(up(), { cwd: folder });
      expect(refused.exit).toBe(3);
      expect(refused.err).toContain('if its creation was interrupted, remove it and start again');
      await rm(data(), { recursive: true });
      server = await startServer({ data: data(), port });
      expect(await fetchToken(server.url, { email })).toBeTruthy();
    },
    slow,
  );
});

/** A connection on which no more will be said. */
function connectAndSay(port: number, text: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(text, () => resolve(socket)));
    socket.once('error', reject);
    // A reset later on is what we wait for.
    socket.on('error', () => {});
  });
}

/** How a request ended: answered as a whole, not at all, or in the middle. */
type Outcome =
  { kind: 'answered'; status: number; text: string } | { kind: 'closed' } | { kind: 'cut' } | { kind: 'hung' };

function send(port: number, agent: Agent, entry: PreparedEntry): Promise<Outcome> {
  return new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(entry.request) };
    const options = { host: '127.0.0.1', port, agent, method: 'POST', path: '/api/v2/log/entries', headers };
    const sent = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        resolve(response.complete ? { kind: 'answered', status: response.statusCode ?? 0, text } : { kind: 'cut' });
      });
      response.on('error', () => resolve({ kind: 'cut' }));
    });
    sent.on('error', () => resolve({ kind: 'closed' }));
    sent.setTimeout(120_000, () => resolve({ kind: 'hung' }));
    sent.end(entry.request);
  });
}

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  return Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 0x04 : byte));
}

function sameBody(one: PreparedEntry, other: PreparedEntry | undefined): boolean {
  return other !== undefined && Buffer.compare(one.canonicalizedBody, other.canonicalizedBody) === 0;
}
