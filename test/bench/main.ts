/**
 * `npm run bench`: rates of the real server beside the floor, the cryptography that cannot be avoided, measured in the same run.
 *
 *     npm run bench                        everything; filling a log with a million entries takes a few minutes
 *     npm run bench -- --entries 100000    a smaller full log
 *     npm run bench -- --seconds 3         shorter load
 *
 * Standard output: one JSON object a line; standard error: progress, and the table at the end.
 */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { leafHash } from '#libs/merkle';
import { ed25519NoteSigner, ed25519NoteVerifier } from '#libs/note';
import { loadSigner, opensslCrypto, sha256 } from '#libs/openssl';
import { entriesFormat, folderObjects, openSqlStore, openTree } from '#libs/tlog';
import { measureFloors } from './floor.js';
import { load, type LoadResult } from './load.js';
import { certificateRequests, entryRequests, timestampRequests } from './requests.js';
import { startServer } from './server.js';

const { values } = parseArgs({
  options: { entries: { type: 'string', default: '1000000' }, seconds: { type: 'string', default: '8' } },
});
const entries = Number(values.entries);
const seconds = Number(values.seconds);
const connections = 64;
const bin = join(import.meta.dirname, '..', '..', '..', 'bin', 'chancery');

interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly floor?: number;
  readonly ratio?: number;
  readonly target: string;
  readonly met: boolean;
}
const rows: Row[] = [];
const say = (text: string): void => void process.stderr.write(`${text}\n`);

function record(row: Row): void {
  rows.push(row);
  process.stdout.write(`${JSON.stringify(row)}\n`);
}

/**
 * Rates in turns with their floor, and the middle of the ratios: on a shared machine a second is not like the next.
 * `requests`: for one turn.
 */
async function recordRate(
  name: string,
  target: number,
  turn: { port: number; requests: () => Promise<Buffer[]>; floor: () => number },
): Promise<LoadResult[]> {
  const results: LoadResult[] = [];
  const turns: { rate: number; floor: number; ratio: number }[] = [];
  for (let round = 0; round < 5; round++) {
    const requests = await turn.requests();
    const before = turn.floor();
    const result = await load({ port: turn.port, connections, requests });
    const bad = Object.keys(result.statuses).filter((status) => Number(status) >= 300);
    if (bad.length > 0) throw new Error(`${name}: unexpected answers ${JSON.stringify(result.statuses)}`);
    const floor = (before + turn.floor()) / 2;
    turns.push({ rate: result.rate, floor, ratio: result.rate / floor });
    results.push(result);
  }
  const { rate, floor, ratio } = middle(turns, (one) => one.ratio);
  record({ name, value: rate, unit: '1/s', floor, ratio, target: `ratio >= ${target}`, met: ratio >= target });
  return results;
}

function middle<T>(list: readonly T[], by: (one: T) => number): T {
  const found = [...list].sort((a, b) => by(a) - by(b))[Math.floor(list.length / 2)];
  if (found === undefined) throw new Error('There is no middle of nothing');
  return found;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No port');
  return address.port;
}

/** Fills the log of a stopped instance through the engine: the entries need no valid signature to be in the way. */
async function fill(folder: string, count: number): Promise<void> {
  const manifest = JSON.parse(await readFile(join(folder, 'instance.json'), 'utf8')) as { origins: { log: string } };
  const origin = manifest.origins.log;
  const signer = loadSigner(await readFile(join(folder, 'keys', 'log.pem'), 'utf8'));
  const store = await openSqlStore({ file: join(folder, 'chancery.db') });
  const noteSigner = ed25519NoteSigner(origin, signer, opensslCrypto.hash);
  const tree = await openTree({
    store,
    objects: folderObjects(join(folder, 'tiles')),
    name: 'log',
    origin,
    format: entriesFormat,
    signers: () => [noteSigner],
    verifier: ed25519NoteVerifier(origin, signer.publicKey, opensslCrypto),
    now: Date.now,
  });
  const started = performance.now();
  // As large as a real entry with a certificate.
  const padding = randomBytes(900).toString('base64');
  for (let done = 0; done < count;) {
    const size = Math.min(512, count - done);
    await Promise.all(
      Array.from({ length: size }, () => {
        const record = new Uint8Array(Buffer.from(`${randomBytes(16).toString('hex')}${padding}`));
        return tree.add({ identity: leafHash(sha256, record), encode: () => record });
      }),
    );
    done += size;
    if (done % 102_400 < 512)
      say(`  ${done} of ${count} entries, ${Math.round((performance.now() - started) / 1000)} s`);
  }
  await tree.close();
  await store.close();
}

async function newInstance(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'chancery-bench-'));
  const server = await startServer({ port: await freePort(), folder });
  await server.stop();
  return folder;
}

say(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown processor'}`);
say('measuring the floors');
const floors = measureFloors();
record({ name: 'floor: P-256 verify', value: floors.verify, unit: '1/s', target: '', met: true });
record({ name: 'floor: P-256 sign', value: floors.sign, unit: '1/s', target: '', met: true });
record({ name: 'floor: certificate', value: floors.certificate, unit: '1/s', target: '', met: true });

const folders: string[] = [];
try {
  // --- one small instance: rates ------------------------------------------------------------------------------------------------
  const small = await newInstance();
  folders.push(small);
  await fill(small, 1000);
  const server = await startServer({ port: await freePort(), folder: small });
  const perTurn = (rate: number): number => Math.max(1000, Math.round((rate * seconds) / 5));

  say('appends, 64 connections');
  await load({ port: server.port, connections, requests: await entryRequests(2000) });
  const appends = await recordRate('appends', 0.15, {
    port: server.port,
    requests: () => entryRequests(perTurn(floors.verify * 0.15)),
    floor: () => measureFloors(0.3).verify,
  });
  const { p99 } = middle(appends, (one) => one.p99);
  record({ name: 'append p99 under load', value: p99, unit: 'ms', target: '< 100', met: p99 < 100 });
  const idle = await load({ port: server.port, connections: 1, requests: await entryRequests(200) });
  record({ name: 'append p50 idle', value: idle.p50, unit: 'ms', target: '< 15', met: idle.p50 < 15 });

  say('certificates, 64 connections');
  await load({ port: server.port, connections, requests: await certificateRequests(1000, server.url) });
  await recordRate('certificates', 0.25, {
    port: server.port,
    requests: () => certificateRequests(perTurn(floors.certificate * 0.25), server.url),
    floor: () => measureFloors(0.3).certificate,
  });

  say('timestamps, 64 connections');
  await load({ port: server.port, connections, requests: timestampRequests(2000) });
  await recordRate('timestamps', 0.1, {
    port: server.port,
    requests: async () => timestampRequests(perTurn(floors.sign * 0.15)),
    floor: () => measureFloors(0.3).sign,
  });

  // --- the same at a million entries --------------------------------------------------------------------------------------------
  say(`filling a log with ${entries} entries`);
  const large = await newInstance();
  folders.push(large);
  await fill(large, entries);
  const largeServer = await startServer({ port: await freePort(), folder: large });
  say('appends to the small and the large log, in turns');
  const times: { small: number[]; large: number[] } = { small: [], large: [] };
  await load({ port: largeServer.port, connections, requests: await entryRequests(2000) });
  for (let round = 0; round < 5; round++) {
    for (const [name, port] of [
      ['small', server.port],
      ['large', largeServer.port],
    ] as const) {
      const requests = await entryRequests(perTurn(floors.verify * 0.15));
      times[name].push(1e6 / (await load({ port, connections, requests })).rate);
    }
  }
  const median = (list: number[]): number => middle(list, (one) => one);
  const growth = median(times.large) / median(times.small);
  record({ name: 'time per append, small log', value: median(times.small), unit: 'us', target: '', met: true });
  record({
    name: `time per append, ${entries} entries`,
    value: median(times.large),
    unit: 'us',
    target: '',
    met: true,
  });
  record({ name: 'growth of time per append', value: growth, unit: 'x', target: '<= 1.2', met: growth <= 1.2 });
  const memory = await largeServer.memory();
  record({
    name: `memory at ${entries} entries, peak`,
    value: memory.peak,
    unit: 'MB',
    target: '< 300',
    met: memory.peak < 300,
  });
  await largeServer.stop();

  // --- the verifier as a whole process ------------------------------------------------------------------------------------------
  say('chancery verify, whole process');
  const file = join(small, 'artifact');
  await writeFile(file, 'what is signed');
  const response = await fetch(`${server.url}/dev/oidc/token`, {
    method: 'POST',
    body: '{"email":"bench@example.com"}',
  });
  const { id_token: token } = (await response.json()) as { id_token: string };
  run(['sign', file, '--url', server.url, '--identity-token', token, '--bundle', `${file}.json`]);
  run(['trust', 'export', '--url', server.url, '--out', join(small, 'trust')]);
  const bare = timeProcess(['-e', '0']);
  const verifying = timeProcess([
    ...[bin, 'verify', file, '--bundle', `${file}.json`, '--trusted-root', join(small, 'trust', 'trusted_root.json')],
    ...['--certificate-identity', 'bench@example.com', '--certificate-oidc-issuer', `${server.url}/dev/oidc`],
  ]);
  const limit = 2.5 * bare + 100;
  record({ name: 'node -e 0', value: bare, unit: 'ms', target: '', met: true });
  record({
    name: 'chancery verify',
    value: verifying,
    unit: 'ms',
    target: `< ${limit.toFixed(0)}`,
    met: verifying < limit,
  });
  await server.stop();
} finally {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}

say('');
say(
  ['what'.padEnd(36), 'value'.padStart(12), 'unit'.padEnd(5), 'floor'.padStart(10), 'ratio'.padStart(7), 'target'].join(
    '  ',
  ),
);
for (const { name, value, unit, floor, ratio, target, met } of rows) {
  say(
    [
      name.padEnd(36),
      value.toFixed(value < 100 ? 2 : 0).padStart(12),
      unit.padEnd(5),
      (floor?.toFixed(0) ?? '').padStart(10),
      (ratio?.toFixed(3) ?? '').padStart(7),
      `${target}${target === '' ? '' : met ? '  met' : '  MISSED'}`,
    ].join('  '),
  );
}

function run(args: string[]): void {
  const { status, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`chancery ${args[0] ?? ''} failed: ${stderr}`);
}

/** Median of the wall time of a Node process, milliseconds. */
function timeProcess(args: string[]): number {
  const times = Array.from({ length: 15 }, () => {
    const started = performance.now();
    const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' });
    if (status !== 0) throw new Error(`${args.join(' ')} ended with exit code ${status}`);
    return performance.now() - started;
  });
  return times.sort((a, b) => a - b)[7] ?? 0;
}
