import { beforeEach, describe, expect, it } from 'vitest';
import { callService, joinUrl, SignError, type HttpOptions, type ServiceRequest } from './index.js';

let answers: (Response | Error | 'hang')[];
let requests: { url: string; init: RequestInit }[];
let slept: number[];
let http: HttpOptions;
const request: ServiceRequest = { service: 'log', url: 'http://log.example/path', maxBytes: 100 };

beforeEach(() => {
  answers = [];
  requests = [];
  slept = [];
  http = {
    fetch: (url, init = {}) => {
      requests.push({ url: url as string, init });
      const answer = answers.shift() ?? new Response('fine');
      if (answer === 'hang') {
        return new Promise((_, reject) =>
          init.signal?.addEventListener('abort', () => reject(init.signal?.reason as Error)),
        );
      }
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
    },
    sleep: async (milliseconds) => void slept.push(milliseconds),
    jitter: () => 0.5,
  };
});

const failureOf = async (work: Promise<unknown>): Promise<SignError> => {
  const error: unknown = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof SignError)) throw new Error(`not a SignError: ${String(error)}`);
  return error;
};
const status = (code: number, headers: Record<string, string> = {}, body = '') =>
  new Response(body, { status: code, headers });
const reset = () =>
  Object.assign(new TypeError('fetch failed'), { cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }) });

describe('callService()', () => {
  it('returns status and body', async () => {
    answers = [status(201, {}, 'hello')];
    const response = await callService(request, http);
    expect(response.status).toBe(201);
    expect(Buffer.from(response.body).toString()).toBe('hello');
  });

  it('tries connection failures, 429 and 5xx again, with growing pauses', async () => {
    answers = [reset(), status(503), status(429), status(200)];
    expect((await callService(request, http)).status).toBe(200);
    expect(slept).toEqual([500, 1000, 2000]);
  });

  it('sends the same request at each attempt', async () => {
    answers = [status(503), status(200)];
    await callService({ ...request, method: 'POST', body: Uint8Array.of(1, 2) }, http);
    expect(requests.map(({ init }) => init.body)).toEqual([Uint8Array.of(1, 2), Uint8Array.of(1, 2)]);
  });

  it('spreads the pauses', async () => {
    answers = [status(503), status(200)];
    await callService(request, { ...http, jitter: () => 0 });
    expect(slept).toEqual([250]);
  });

  it('does what Retry-After asks, within reason', async () => {
    answers = [status(503, { 'retry-after': '7' }), status(429, { 'retry-after': '86400' }), status(200)];
    await callService(request, http);
    expect(slept).toEqual([7000, 30_000]);
  });

  it.each([['Wed, 21 Oct 2026 07:28:00 GMT'], ['-1'], ['1e9'], ['']])(
    'pauses as usual for Retry-After %j',
    async (value) => {
      answers = [status(503, { 'retry-after': value }), status(200)];
      await callService(request, http);
      expect(slept).toEqual([500]);
    },
  );

  it('gives up after four attempts and tells the last reason', async () => {
    answers = Array.from({ length: 9 }, () => status(502));
    expect(await failureOf(callService(request, http))).toMatchObject({ code: 'SIGN_UNAVAILABLE', status: 502 });
    expect(requests).toHaveLength(4);
  });

  it('does not repeat what was refused, and quotes the reason', async () => {
    answers = [status(400, {}, '{"code":3,"message":"the email is not verified","details":[]}')];
    const error = await failureOf(callService(request, http));
    expect(error).toMatchObject({ code: 'SIGN_REFUSED', status: 400 });
    expect(error.message).toBe(
      'Cannot use the log at http://log.example/path: the service answered 400: the email is not verified',
    );
    expect(requests).toHaveLength(1);
  });

  it('returns a refusal that the caller accepts', async () => {
    answers = [status(404)];
    expect((await callService({ ...request, accept: [404] }, http)).status).toBe(404);
  });

  it('quotes neither tokens nor control characters nor web pages nor long texts', async () => {
    answers = [status(400, {}, '{"message":"bad token eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln \\u001b[31m\\nred"}')];
    expect((await failureOf(callService(request, http))).message).toMatch(/: bad token \(token removed\) \[31m red$/);
    answers = [status(400, {}, '<html>secret</html>')];
    expect((await failureOf(callService(request, http))).message).toMatch(/answered 400$/);
    answers = [status(400, {}, 'x'.repeat(10_000)).clone()];
    expect((await failureOf(callService({ ...request, maxBytes: 20_000 }, http))).message.length).toBeLessThan(500);
    answers = [new Response(Uint8Array.of(0xff, 0xfe), { status: 400 })];
    expect((await failureOf(callService(request, http))).message).toMatch(/answered 400$/);
  });

  it.each([[301], [302], [307], [308]])('refuses a redirect (%d) and does not follow it', async (code) => {
    answers = [status(code, { location: 'http://elsewhere.example/' })];
    expect(await failureOf(callService(request, http))).toMatchObject({ code: 'SIGN_REDIRECT' });
    expect(requests).toHaveLength(1);
    expect(requests[0]?.init.redirect).toBe('manual');
  });

  it('stops reading a body that is too long, announced or not', async () => {
    answers = [new Response('x'.repeat(101))];
    expect(await failureOf(callService(request, http))).toMatchObject({ code: 'SIGN_RESPONSE_TOO_LARGE' });
    answers = [status(200, { 'content-length': '101' }, 'short')];
    expect(await failureOf(callService(request, http))).toMatchObject({ code: 'SIGN_RESPONSE_TOO_LARGE' });
    let pulled = 0;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => (pulled++, controller.enqueue(new Uint8Array(50))),
    });
    answers = [new Response(endless)];
    expect(await failureOf(callService(request, http))).toMatchObject({ code: 'SIGN_RESPONSE_TOO_LARGE' });
    expect(pulled).toBeLessThan(10);
  });

  it('gives up on an attempt that takes too long', async () => {
    answers = ['hang', 'hang'];
    const error = await failureOf(callService(request, { ...http, timeoutMs: 5, attempts: 2 }));
    expect(error).toMatchObject({
      code: 'SIGN_NETWORK',
      message: expect.stringContaining('no complete answer within 0.005 s'),
    });
  });

  it('names the reason of a connection failure', async () => {
    answers = [reset()];
    expect((await failureOf(callService(request, { ...http, attempts: 1 }))).message).toMatch(/ECONNRESET$/);
    answers = [new Error('anything')];
    expect((await failureOf(callService(request, { ...http, attempts: 1 }))).message).toMatch(/the connection failed$/);
  });

  it.each([
    ['ftp://log.example'],
    ['log.example'],
    ['file:///etc/passwd'],
    ['http://user:pw@log.example/'],
    ['http://log.example/#x'],
    [''],
  ])('refuses the URL %j before anything is sent', async (url) => {
    const error = await failureOf(callService({ ...request, url }, http));
    expect(error.code).toBe('SIGN_URL');
    expect(error.message).not.toContain('pw');
    expect(requests).toEqual([]);
  });
});

describe('joinUrl()', () => {
  it.each([
    ['http://a.example', 'http://a.example/x'],
    ['http://a.example/', 'http://a.example/x'],
    ['http://a.example/base//', 'http://a.example/base/x'],
  ])('joins %s', (base, joined) => {
    expect(joinUrl(base, '/x')).toBe(joined);
  });
});
