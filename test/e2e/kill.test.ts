// `kill -9` at random moments, under load and while starting: what was acknowledged stays, at its index, under every head that was ever shown.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type LogAnswer, newEntry, obtainCertificate, post, type PreparedEntry } from '../world/entries.js';
import { fetchToken, freePort } from '../world/index.js';
import { ensureBuilt, type ServerProcess, spawnServer, startServer, waitUntil } from '../world/process.js';
import { CtWitness, LogWitness } from '../world/witness.js';

const rounds = Number(process.env['KILL_ROUNDS'] ?? 50);
// Give the printed one back to repeat the same moments.
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 1_000_000);
const random = mulberry32(seed);

const email = 'you@example.com';
const appendConnections = 16;
const certificateConnections = 2;

let folder: string;
let server: ServerProcess | undefined;
beforeAll(async () => {
  ensureBuilt();
  folder = await mkdtemp(join(tmpdir(), 'chancery-kill-'));
}, 600_000);
afterAll(async () => {
  await server?.end('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}, 60_000);

it(`kill -9, ${rounds} rounds: nothing acknowledged is lost, no gap, every head consistent with the last`, async () => {
  console.log(`kill -9: seed ${seed}`);
  const options = { data: join(folder, 'data'), port: await freePort() };
  const url = `http://127.0.0.1:${options.port}`;

  server = await startServer(options);
  const trustedRoot = await (await fetch(`${url}/trust/trusted_root.json`)).text();
  const log = new LogWitness(url, trustedRoot);
  const ct = new CtWitness(url, trustedRoot);

  /** Sent, and not answered: whether they are in the log is unknown, so they are sent again. */
  let unanswered: PreparedEntry[] = [];
  let startMs = 1000;
  for (let round = 1; round <= rounds; round++) {
    // 1. Load, until a moment that nobody chose. The answers are looked at afterwards: the load shall not wait for us.
    const answers: { entry: PreparedEntry; answer: LogAnswer }[] = [];
    const certificates: string[] = [];
    const again = unanswered;
    unanswered = [];
    const token = await fetchToken(url, { email });
    let isKilled = false;
    const appendOnAndOn = async (): Promise<void> => {
      while (!isKilled) {
        const entry = again.pop() ?? newEntry();
        const sent = await answered(() => post(url, entry));
        if (sent === undefined && !isKilled) throw new Error(`The server does not answer: ${server?.output()}`);
        if (sent === undefined) unanswered.push(entry);
        else if (sent.status === 201) answers.push({ entry, answer: JSON.parse(sent.text) as LogAnswer });
        else throw new Error(`The server answers ${sent.status}: ${sent.text}`);
      }
    };
    const obtainOnAndOn = async (): Promise<void> => {
      while (!isKilled) {
        try {
          certificates.push(await obtainCertificate(url, token, email));
        } catch (error) {
          if (!isKilled) throw error;
        }
      }
    };
    const load = Promise.all([
      ...Array.from({ length: appendConnections }, appendOnAndOn),
      ...Array.from({ length: certificateConnections }, obtainOnAndOn),
    ]);
    const wanted = again.length + Math.floor(random() * 150);
    const laterMs = random() * 25;
    const kill = async (): Promise<void> => {
      if (!(await waitUntil(() => answers.length >= wanted))) throw new Error('The load stands still');
      await new Promise((resolve) => setTimeout(resolve, laterMs));
      isKilled = true;
      await server?.end('SIGKILL');
    };
    await Promise.all([load, kill()]);
    unanswered.push(...again);

    // 2. Now and then once more, while it gets up and repairs what the last time left.
    while (random() < 0.15) {
      server = spawnServer(options);
      await new Promise((resolve) => setTimeout(resolve, random() * startMs));
      await server.end('SIGKILL');
    }

    // 3. It gets up, and has everything.
    const started = performance.now();
    server = await startServer(options);
    startMs = performance.now() - started;
    for (const { entry, answer } of answers) await log.remember(answer, entry);
    for (const certificate of certificates) await ct.remember(certificate);
    await log.check();
    await ct.check();
  }

  // 4. What nobody answered is logged once more: once, not twice. Then everything again, from the first entry on.
  for (const entry of unanswered) {
    const response = await post(url, entry);
    expect(response.status).toBe(201);
    await log.remember((await response.json()) as LogAnswer, entry);
  }
  await log.checkAll();
  await ct.checkAll();
  expect(log.acknowledged).toBe(log.size);
  expect(ct.certificates).toBeGreaterThan(0);
  expect((await server.end('SIGTERM')).code).toBe(0);
  console.log(
    `kill -9: ${rounds} rounds, ${log.acknowledged} entries, ${log.heads} heads, ${ct.certificates} certificates`,
  );
}, 900_000);

/** The whole answer, or undefined if the connection broke before its end. */
async function answered(request: () => Promise<Response>): Promise<{ status: number; text: string } | undefined> {
  try {
    const response = await request();
    return { status: response.status, text: await response.text() };
  } catch {
    return undefined; // whoever called knows whether that is a fault
  }
}

/** A small generator of numbers from 0 to 1 that can be repeated; quality does not matter here. */
function mulberry32(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
