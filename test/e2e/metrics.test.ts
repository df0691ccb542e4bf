// What operators read of the running stack, and what strangers must not be able to write into it.
import { randomBytes } from 'node:crypto';
import { METHODS } from 'node:http';
import { connect, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { append, newEntry } from '../world/entries.js';
import { startWorld, type World } from '../world/index.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.close());

/** The series of one scrape, by name and labels. */
async function scrape(): Promise<Map<string, number>> {
  const text = await (await fetch(`${world.url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

function open(): Promise<Socket> {
  const { hostname, port } = new URL(world.url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => resolve(socket));
    socket.on('error', reject);
  });
}

/** Sends requests over one connection, up to 100 at a time, and waits for as many answers. */
async function pipeline(requests: readonly string[]): Promise<void> {
  const socket = await open();
  const answer = 'HTTP/1.1 ';
  let rest = '';
  let answered = 0;
  let sent = 0;
  await new Promise<void>((resolve, reject) => {
    const send = (): void => {
      const batch = requests.slice(sent, sent + 100);
      sent += batch.length;
      socket.write(batch.join(''));
    };
    socket.on('data', (chunk) => {
      // An answer's first line may be cut in two: what could be its beginning is looked at again.
      const text = rest + chunk.toString('latin1');
      const parts = text.split(answer);
      answered += parts.length - 1;
      rest = (parts.at(-1) ?? '').slice(1 - answer.length);
      if (answered === requests.length) resolve();
      else if (answered === sent) send();
    });
    socket.on('close', () => reject(new Error(`closed after ${answered} of ${requests.length} answers`)));
    send();
  });
  socket.destroy();
}

describe('GET /metrics', () => {
  it('counts requests, and knows the trees', async () => {
    await append(world.url, newEntry());
    await append(world.url, newEntry());
    const series = await scrape();
    expect(series.get('http_requests_total{route="/api/v2/log/entries",method="POST",status="201"}')).toBe(2);
    expect(series.get('http_request_duration_seconds_count{route="/api/v2/log/entries",method="POST"}')).toBe(2);
    expect(series.get('process_start_time_seconds')).toBeGreaterThan(1.7e9);
    const sizes = [...series].filter(([name, value]) => name.includes('tree=') && value === 2);
    expect(sizes.length).toBeGreaterThan(0);
  });

  it('CVE-2026-49835 (GHSA-9c54): 100,000 random paths and methods leave the number of series as it is', async () => {
    const total = 100_000;
    // CONNECT takes the connection away; what Node's parser does not know ends it, and comes below.
    const methods = METHODS.filter((method) => method !== 'CONNECT');
    const prefixes = [
      ...['/', '/api/v1/', '/api/v2/', '/api/v1/log/entries/', '/api/v1/timestamp/', '/tile/', '/api/v2/tile/0/'],
      ...['/ct/', '/ct/v1/', '/ct/tile/data/', '/ct/issuer/', '/trust/', '/openapi/', '/metrics/', '/dev/oidc/'],
    ];
    const lengths = [8, 64, 200];
    const target = (i: number): string => {
      const prefix = prefixes[i % prefixes.length] ?? '';
      const length = lengths[Math.floor(i / prefixes.length) % lengths.length] ?? 0;
      return (
        prefix + randomBytes(length / 2).toString('hex') + (i % 2 === 0 ? '' : `?${randomBytes(4).toString('hex')}`)
      );
    };
    const method = (i: number): string =>
      methods[Math.floor(i / (prefixes.length * lengths.length)) % methods.length] ?? '';
    const requests = Array.from({ length: total }, (_, i) => `${method(i)} ${target(i)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    // After one of each kind, and each twice over because of the queries, everything that there will ever be is there.
    const kinds = 2 * prefixes.length * lengths.length * methods.length;
    expect(kinds).toBeLessThan(total / 10);
    const invented = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const socket = await open();
        const closed = new Promise((resolve) => socket.on('close', resolve));
        socket.resume().write(`${randomBytes(6).toString('hex').toUpperCase()} / HTTP/1.1\r\n\r\n`);
        await closed;
      }
    };
    await scrape();
    await invented(1);
    await pipeline(requests.slice(0, kinds));
    const before = await scrape();

    await Promise.all([
      ...Array.from({ length: 8 }, (_, i) => pipeline(requests.slice(kinds).filter((_request, j) => j % 8 === i))),
      invented(200),
    ]);

    const after = await scrape();
    expect([...after.keys()].filter((name) => name.startsWith('http_')).sort()).toEqual(
      [...before.keys()].filter((name) => name.startsWith('http_')).sort(),
    );
    const count = (series: Map<string, number>): number =>
      [...series].reduce((sum, [name, value]) => (name.startsWith('http_requests_total{') ? sum + value : sum), 0);
    expect(count(after) - count(before)).toBe(total - kinds + 200 + 1);
    expect([...after.keys()].filter((name) => /[0-9a-f]{8}/.test(name))).toEqual([]);
  }, 60_000);
});
