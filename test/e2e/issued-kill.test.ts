// `kill -9` while certificates are issued: each one that anybody got is on record, once, and the record has no more than was asked for.
import { createHash, X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { obtainCertificate } from '../world/entries.js';
import { fetchToken, freePort } from '../world/index.js';
import { chancery, ensureBuilt, type ServerProcess, startServer } from '../world/process.js';
import { IssuedReader } from '../../apps/ca/src/issued-store.js';

const ROUNDS = 3;
const CONNECTIONS = 12;
const email = 'you@example.com';

let folder: string;
let server: ServerProcess | undefined;
beforeAll(async () => {
  ensureBuilt();
  folder = await mkdtemp(join(tmpdir(), 'chancery-issued-kill-'));
}, 600_000);
afterAll(async () => {
  await server?.end('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}, 60_000);

interface Recorded {
  readonly serial: string;
  readonly fingerprint: string;
  readonly identity: string;
}

/** The whole record, from the file itself. */
async function readFile(data: string): Promise<readonly Recorded[]> {
  const reader = await IssuedReader.open(join(data, 'ca.db'));
  try {
    return (await reader.search({ limit: 10_000 })).records;
  } finally {
    await reader.close();
  }
}

/** The whole record, as whoever runs the CA reads it. */
async function readByCommand(data: string): Promise<readonly Recorded[]> {
  const { exit, out, err } = await chancery(['ca', 'issued', '--data', data, '--limit', '10000', '--json'], {
    cwd: folder,
  });
  expect([exit, err]).toEqual([0, '']);
  const page = JSON.parse(out) as { certificates: Recorded[]; next: string | null };
  expect(page.next).toBeNull();
  return page.certificates;
}

it(`kill -9, ${ROUNDS} rounds: every certificate that was answered is in the issuing record`, async () => {
  const options = { data: join(folder, 'data'), port: await freePort() };
  const answered: string[] = [];
  let asked = 0;

  for (let round = 0; round < ROUNDS; round++) {
    server = await startServer(options);
    const { url } = server;
    const token = await fetchToken(url, { email });
    const wanted = answered.length + 10 + Math.floor(Math.random() * 40);
    let isKilled = false;
    const obtainOnAndOn = async (): Promise<void> => {
      while (!isKilled) {
        asked++;
        try {
          answered.push(await obtainCertificate(url, token, email));
        } catch (error) {
          if (!isKilled) throw error;
        }
        if (isKilled || answered.length < wanted) continue;
        // At once: this answer is a moment old, and the others of its batch are on their way.
        isKilled = true;
        await server?.end('SIGKILL');
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, obtainOnAndOn));

    // While nobody serves: what the process left is all that there is.
    expectAll(await readFile(options.data));
  }

  // Once more after it got up, and while it runs; what is issued then joins what was there.
  server = await startServer(options);
  asked++;
  answered.push(await obtainCertificate(server.url, await fetchToken(server.url, { email }), email));
  const record = await readByCommand(options.data);
  expectAll(record);
  expect(record[0]?.serial).toBe(serialOf(answered.at(-1) ?? ''));
  expect((await server.end('SIGTERM')).code).toBe(0);
  console.log(`kill -9: ${answered.length} certificates answered, ${record.length} on record, ${asked} asked for`);

  function expectAll(record: readonly Recorded[]): void {
    const fingerprints = new Map(record.map(({ serial, fingerprint }) => [serial, fingerprint]));
    expect(fingerprints.size).toBe(record.length);
    const lost = answered.filter((pem) => fingerprints.get(serialOf(pem)) !== fingerprintOf(pem));
    expect(lost).toEqual([]);
    expect(record.every(({ identity }) => identity === email)).toBe(true);
    // Recorded first, handed out afterwards: what is on record and in nobody's hands was on its way when the process died.
    expect(record.length).toBeLessThanOrEqual(asked);
  }
}, 300_000);

function serialOf(pem: string): string {
  return new X509Certificate(pem).serialNumber.toLowerCase().padStart(40, '0');
}

function fingerprintOf(pem: string): string {
  return createHash('sha256').update(new X509Certificate(pem).raw).digest('hex');
}
