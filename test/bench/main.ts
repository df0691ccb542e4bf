/**
 * `npm run bench`: rates of the real server beside the floor, the cryptography that cannot be avoided, measured in the same run.
 *
 *     npm run bench                        everything; filling logs with a million entries takes most of the time
 *     npm run bench -- --entries 100000    smaller full logs
 *     npm run bench -- --seconds 3         shorter load
 *     npm run bench -- --only audit        one part of: appends, service, kinds, growth, audit, verify, images; may be repeated
 *
 * Standard output: one JSON object a line; standard error: progress, and the table at the end.
 */
import { rm } from 'node:fs/promises';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { measureAudit } from './audit.js';
import { fillLog, fillRekor1, freePort, newInstance } from './fill.js';
import { measureFloors } from './floor.js';
import { measureImages } from './images.js';
import { measureKinds } from './kinds.js';
import { load, type LoadResult } from './load.js';
import { certificateRequests, developmentToken, entryRequests, rekor1Requests, timestampRequests } from './requests.js';
import { below, middle, note, printTable, record, say } from './rows.js';
import { type Server, startServer } from './server.js';
import { measureVerify } from './verify.js';

const { values } = parseArgs({
  options: {
    entries: { type: 'string', default: '1000000' },
    seconds: { type: 'string', default: '20' },
    only: { type: 'string', multiple: true },
  },
});
const entries = Number(values.entries);
const seconds = Number(values.seconds);
const connections = 64;
/** Of a build farm: with 64 the server waits for its clients a quarter of the time, and what a batch costs falls on few entries. */
const manyConnections = 256;
const asked = (part: string): boolean => values.only === undefined || values.only.includes(part);

/**
 * Rates in turns with their floor, and the middle of the ratios: on a shared machine a second is not like the next.
 * `requests`: for one turn.
 */
async function recordRate(
  name: string,
  target: number,
  turn: { port: number; requests: () => Promise<Buffer[]>; floor: () => number; connections?: number },
): Promise<LoadResult[]> {
  const results: LoadResult[] = [];
  const turns: { rate: number; floor: number; ratio: number }[] = [];
  for (let round = 0; round < 5; round++) {
    const requests = await turn.requests();
    const before = turn.floor();
    const result = await load({ port: turn.port, connections: turn.connections ?? connections, requests });
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

const verifyFloor = (): number => measureFloors(0.3).verify;

say(`Node ${process.version}, ${cpus().length} cores, ${cpus()[0]?.model ?? 'unknown processor'}`);
say('measuring the floors');
const floors = measureFloors();
note('floor: P-256 verify', floors.verify, '1/s');
note('floor: P-256 sign', floors.sign, '1/s');
note('floor: certificate', floors.certificate, '1/s');
const perTurn = (rate: number): number => Math.max(1000, Math.round((rate * seconds) / 5));

const folders: string[] = [];
try {
  const small = await newInstance();
  folders.push(small);
  await fillLog(small, 1000, say);
  await fillRekor1(small, 1000, say);
  const server = await startServer({ port: await freePort(), folder: small });
  if (asked('appends')) await measureAppends(server);
  if (asked('service')) await measureService(server);
  if (asked('kinds')) folders.push(await measureKinds({ connections, count: perTurn(floors.certificate * 0.05) }));
  if (asked('growth') || asked('audit')) {
    const large = await newInstance();
    folders.push(large);
    if (asked('growth')) {
      say(`filling the v2 tree with ${entries} entries`);
      await fillLog(large, entries, say);
      const largeServer = await startServer({ port: await freePort(), folder: large });
      await measureGrowth(server, largeServer);
      await largeServer.stop();
    }
    if (asked('audit')) {
      say(`filling the v1 tree with ${entries} entries and their search keys`);
      await fillRekor1(large, entries, say);
      const largeServer = await startServer({ port: await freePort(), folder: large });
      const where = ` at ${entries} entries`;
      await recordAppends('v1 appends', 0.12, largeServer.port, rekor1Requests, { clients: manyConnections, where });
      folders.push(await measureAudit({ server: largeServer, folder: large, seconds }));
    }
  }
  if (asked('verify')) await measureVerify(server, small);
  if (asked('images')) await measureImages(server, small);
  await server.stop();
} finally {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
}
printTable();

/** Rate, latency under that load, and latency of a single client. */
async function recordAppends(
  name: string,
  target: number,
  port: number,
  requests: (count: number) => Promise<Buffer[]>,
  { clients = connections, where = '' } = {},
): Promise<void> {
  // Long enough for the compiler: a server is busy for days, and this one has just been started.
  await load({ port, connections: clients, requests: await requests(10_000) });
  const appends = await recordRate(`${name}${where}, ${clients} connections`, target, {
    port,
    connections: clients,
    requests: () => requests(perTurn(floors.verify * target)),
    floor: verifyFloor,
  });
  const { p99 } = middle(appends, (one) => one.p99);
  if (clients === connections) below(`${name} p99 under load${where}`, p99, 'ms', 100);
  else note(`${name} p99 under load${where}`, p99, 'ms');
  const idle = await load({ port, connections: 1, requests: await requests(200) });
  below(`${name} p50 idle${where}`, idle.p50, 'ms', 15);
}

/** What a small instance logs in a second. */
async function measureAppends({ port }: Server): Promise<void> {
  say('appends');
  await recordAppends('appends', 0.15, port, entryRequests);
  await recordAppends('appends', 0.15, port, entryRequests, { clients: manyConnections });
  await recordAppends('v1 appends', 0.12, port, rekor1Requests, { clients: manyConnections });
}

/** What else it does. */
async function measureService({ port, url }: Server): Promise<void> {
  say('certificates, 64 connections');
  const token = await developmentToken(url);
  await load({ port, connections, requests: certificateRequests(1000, token) });
  await recordRate('certificates', 0.25, {
    port,
    requests: () => Promise.resolve(certificateRequests(perTurn(floors.certificate * 0.25), token)),
    floor: () => measureFloors(0.3).certificate,
  });

  say('timestamps, 64 connections');
  await load({ port, connections, requests: timestampRequests(2000) });
  await recordRate('timestamps', 0.1, {
    port,
    requests: () => Promise.resolve(timestampRequests(perTurn(floors.sign * 0.15))),
    floor: () => measureFloors(0.3).sign,
  });
}

/** Whether an append costs more where there are many entries. */
async function measureGrowth(small: Server, large: Server): Promise<void> {
  say('appends to the small and the large log, in turns');
  const times: { small: number[]; large: number[] } = { small: [], large: [] };
  await load({ port: large.port, connections, requests: await entryRequests(2000) });
  for (let round = 0; round < 5; round++) {
    for (const [name, { port }] of [
      ['small', small],
      ['large', large],
    ] as const) {
      const requests = await entryRequests(perTurn(floors.verify * 0.15));
      times[name].push(1e6 / (await load({ port, connections, requests })).rate);
    }
  }
  const median = (list: number[]): number => middle(list, (one) => one);
  const growth = median(times.large) / median(times.small);
  note('time per append, small log', median(times.small), 'us');
  note(`time per append, ${entries} entries`, median(times.large), 'us');
  record({ name: 'growth of time per append', value: growth, unit: 'x', target: '<= 1.2', met: growth <= 1.2 });
  const memory = await large.memory();
  below(`memory at ${entries} entries, peak`, memory.peak, 'MB', 300);
}
