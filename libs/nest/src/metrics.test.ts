import { request } from 'node:http';
import { Controller, Get, HttpException, Param } from '@nestjs/common';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bootHttp, createLog, type HttpServer, Metrics } from './index.js';

@Controller('things')
class ThingsController {
  @Get(':name')
  thing(@Param('name') name: string): string {
    if (name === 'bad') throw new HttpException('no', 400);
    return 'a thing';
  }
}

const log = createLog({ format: 'json', now: () => new Date(), write: () => undefined });
const boot = (metrics?: Metrics) =>
  bootHttp(
    { module: class Things {}, controllers: [ThingsController] },
    { host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log, ...(metrics && { metrics }) },
  );

let size = 3n;
let failures: Record<string, number> = { x: 2 };
let trees: Record<string, number | bigint> = { a: 1n, b: 2 };
let server: HttpServer;
let other: HttpServer;
let url: string;
beforeAll(async () => {
  const metrics = new Metrics();
  metrics.gauge({ name: 'waiting_entries', help: 'Entries that wait', collect: () => size });
  metrics.gauge({ name: 'tree_size_entries', help: 'Entries', label: 'tree', collect: async () => trees });
  metrics.counter({ name: 'sent_total', help: 'Sent', collect: () => size });
  metrics.counter({ name: 'failures_total', help: 'Failures', label: 'where', collect: () => failures });
  server = await boot(metrics);
  other = await boot();
  url = await server.getUrl();
});
afterAll(async () => {
  await server.close();
  await other.close();
});

async function scrape(from = url): Promise<string[]> {
  const response = await fetch(`${from}/metrics`);
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'text/plain; version=0.0.4; charset=utf-8',
  ]);
  return (await response.text()).split('\n');
}
const counts = (lines: string[]) => lines.filter((line) => line.startsWith('http_requests_total{')).sort();

/** Asks with any method that Node's own client sends. */
function send(method: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, path }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end();
  });
}

describe('GET /metrics', () => {
  it("counts by the route's pattern, a known method, and status", async () => {
    await fetch(`${url}/things/x`);
    await fetch(`${url}/things/y?z=1`);
    await fetch(`${url}/things/bad`);
    await fetch(`${url}/things/x`, { method: 'HEAD' });
    await fetch(`${url}/things/x`, { method: 'DELETE' });
    await fetch(`${url}/nothing`);
    await fetch(`${url}/nothing/else`, { method: 'POST', body: 'x'.repeat(101) });
    await fetch(`${url}/%`);
    await expect(send('GET', `/${'x'.repeat(40_000)}`)).resolves.toBe(431);
    await fetch(`${url}/things/x`, {
      method: 'OPTIONS',
      headers: { origin: 'https://a.example', 'access-control-request-method': 'GET' },
    });
    expect(await send('MKCOL', '/things/x')).toBe(404);
    expect(counts(await scrape())).toEqual([
      'http_requests_total{route="/things/:name",method="GET",status="200"} 2',
      'http_requests_total{route="/things/:name",method="GET",status="400"} 1',
      'http_requests_total{route="/things/:name",method="HEAD",status="200"} 1',
      'http_requests_total{route="unmatched",method="DELETE",status="404"} 1',
      'http_requests_total{route="unmatched",method="GET",status="404"} 1',
      'http_requests_total{route="unmatched",method="OPTIONS",status="204"} 1',
      'http_requests_total{route="unmatched",method="POST",status="413"} 1',
      'http_requests_total{route="unmatched",method="other",status="400"} 1',
      'http_requests_total{route="unmatched",method="other",status="404"} 1',
      'http_requests_total{route="unmatched",method="other",status="431"} 1',
    ]);
  });

  it('tells durations in buckets from a millisecond', async () => {
    const lines = (await scrape()).filter((line) =>
      line.startsWith('http_request_duration_seconds_bucket{le="0.001",route="/things/:name",method="GET"}'),
    );
    expect(lines).toHaveLength(1);
  });

  it('has the gauges of the apps, read now', async () => {
    expect(await scrape()).toEqual(expect.arrayContaining(['waiting_entries 3', 'tree_size_entries{tree="b"} 2']));
    size = 4n;
    trees = { a: 5n };
    const lines = await scrape();
    expect(lines).toEqual(expect.arrayContaining(['waiting_entries 4', 'tree_size_entries{tree="a"} 5']));
    expect(lines.filter((line) => line.startsWith('tree_size_entries{'))).toHaveLength(1);
  });

  it('has those of the process, once each, whatever number of servers there is', async () => {
    const lines = await scrape();
    const names = lines.filter((line) => line.startsWith('# TYPE')).map((line) => line.split(' ')[2]);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(['process_cpu_seconds_total', 'nodejs_eventloop_lag_seconds']));
  });

  it('is of this server alone', async () => {
    expect(counts(await scrape(await other.getUrl()))).toEqual([]);
  });
});

describe('Metrics.counter()', () => {
  it('shows what somebody else counts, as a counter', async () => {
    const lines = await scrape();
    expect(lines).toContain('# TYPE failures_total counter');
    expect(lines).toContain('failures_total{where="x"} 2');
    failures = { x: 3, y: 1 };
    const shown = (await scrape()).filter((line) => line.startsWith('failures_total'));
    expect(shown).toEqual(['failures_total{where="x"} 3', 'failures_total{where="y"} 1']);
    expect(lines).toContain(`sent_total ${size}`);
  });
});
