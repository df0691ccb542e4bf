import { describe, expect, test } from 'vitest';
import { httpCtLog } from './ct-client.js';
import { CaError } from './errors.js';

const answer = { sct_version: 0, id: 'aWQ=', timestamp: 1, extensions: 'AAA=', signature: 'c2ln' };
const good = () => new Response(JSON.stringify(answer));
const status =
  (code: number, headers: Record<string, string> = {}) =>
  () =>
    new Response('no', { status: code, headers });
const unreachable = (): Response => {
  throw new TypeError('fetch failed');
};

/** A log that answers from a list, one a request. */
function logOf(answers: (() => Response)[], more: { deadlineMs?: number } = {}) {
  const requests: { url: string; init: RequestInit }[] = [];
  const pauses: number[] = [];
  const log = httpCtLog({
    url: 'http://ct.example/log',
    fetch: async (url, init) => {
      requests.push({ url, init });
      const next = answers[Math.min(requests.length, answers.length) - 1];
      if (next === undefined) throw new Error('no answer');
      return next();
    },
    sleep: async (ms) => {
      pauses.push(ms);
    },
    ...more,
  });
  return { requests, pauses, submit: () => log.addPreChain([Uint8Array.of(1), Uint8Array.of(2)]) };
}

describe('httpCtLog()', () => {
  test('posts the chain in base64, precertificate first', async () => {
    const log = logOf([good]);
    expect(await log.submit()).toEqual(answer);
    expect(log.requests[0]?.url).toBe('http://ct.example/log/ct/v1/add-pre-chain');
    expect(log.requests[0]?.init.body).toBe('{"chain":["AQ==","Ag=="]}');
    expect(log.pauses).toEqual([]);
  });

  test.each<[string, () => Response]>([
    ['408', status(408)],
    ['429', status(429)],
    ['503', status(503)],
    ['no connection', unreachable],
  ])('tries again after %s', async (_name, first) => {
    const log = logOf([first, good]);
    expect(await log.submit()).toEqual(answer);
    expect(log.pauses).toEqual([250]);
  });

  test('waits as long as the log asks', async () => {
    const log = logOf([status(503, { 'retry-after': '3' }), good]);
    await log.submit();
    expect(log.pauses).toEqual([3000]);
  });

  test('gives up after six attempts', async () => {
    const log = logOf([status(503)]);
    await expect(log.submit()).rejects.toMatchObject({ code: 'CA_LOG' });
    expect(log.requests).toHaveLength(6);
    expect(log.pauses).toEqual([250, 500, 1000, 2000, 4000, 8000]);
  });

  test.each([400, 401, 404, 500, 502, 201, 302])('does not repeat after status %i', async (code) => {
    const log = logOf([status(code), good]);
    await expect(log.submit()).rejects.toThrow(CaError);
    expect(log.requests).toHaveLength(1);
  });

  test.each([
    ['text', 'SCT'],
    ['a list', '[]'],
    ['a missing signature', JSON.stringify({ ...answer, signature: undefined })],
    ['a timestamp as text', JSON.stringify({ ...answer, timestamp: '1' })],
    ['17 KiB', JSON.stringify({ ...answer, extensions: 'A'.repeat(17 * 1024) })],
  ])('refuses %s for an answer', async (_name, body) => {
    const log = logOf([() => new Response(body), good]);
    await expect(log.submit()).rejects.toMatchObject({ code: 'CA_LOG' });
    expect(log.requests).toHaveLength(1);
  });

  test('stops at the deadline, however slow the log is', async () => {
    const log = httpCtLog({
      url: 'http://ct.example/log',
      fetch: (_url, { signal }) =>
        new Promise((_resolve, reject) => {
          signal?.addEventListener('abort', () => reject(new DOMException('aborted', 'AbortError')));
        }),
      sleep: async () => undefined,
      deadlineMs: 10,
    });
    await expect(log.addPreChain([])).rejects.toThrow(/no answer before the deadline/);
  });
});
