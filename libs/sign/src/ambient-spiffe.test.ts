import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  status,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
} from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { everythingOf, failureOf, fakeMachine, makeToken } from '../testing/ambient.js';
import { encodeJwtSvidRequest, parseJwtSvidResponse } from './ambient-spiffe-messages.js';
import { parseEndpoint } from './ambient-spiffe.js';
import { ambientToken, nodeAmbientEnvironment, SignError } from './index.js';

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replace(/\s+/g, ''), 'hex'));
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A field with a length, written independently of the code under test. */
const field = (number: number, content: Uint8Array | string): Buffer => {
  const bytes = Buffer.from(content as string);
  const length: number[] = [];
  for (let rest = bytes.length; ; rest >>= 7) {
    if (rest < 128) {
      length.push(rest);
      break;
    }
    length.push((rest & 127) | 128);
  }
  return Buffer.concat([Buffer.of(number * 8 + 2), Buffer.from(length), bytes]);
};
const svid = (id: string, token: string) => field(1, Buffer.concat([field(1, id), field(2, token)]));

describe('the messages of the Workload API', () => {
  // By hand from workload.proto: tag 0x0a is field 1 with a length, 0x12 is field 2 with a length.
  it('encodes JWTSVIDRequest byte for byte', () => {
    expect(hexOf(encodeJwtSvidRequest(['sigstore']))).toBe('0a08' + '73696773746f7265');
    expect(hexOf(encodeJwtSvidRequest(['a', 'é']))).toBe('0a0161' + '0a02c3a9');
    expect(hexOf(encodeJwtSvidRequest([]))).toBe('');
    expect(hexOf(encodeJwtSvidRequest(['x'.repeat(300)])).slice(0, 6)).toBe('0aac02');
  });

  // svids { spiffe_id: "spiffe://example.org/ci" svid: "h.p.s" }
  const one = `0a 20  0a 17 7370696666653a2f2f6578616d706c652e6f72672f6369  12 05 682e702e73`;
  const expected = { spiffeId: 'spiffe://example.org/ci', svid: 'h.p.s' };

  it('reads JWTSVIDResponse byte for byte', () => {
    expect(parseJwtSvidResponse(bytesOf(one))).toEqual([expected]);
    expect(parseJwtSvidResponse(bytesOf(one + one))).toEqual([expected, expected]);
    expect(parseJwtSvidResponse(bytesOf(''))).toEqual([]);
  });

  it.each<[string, string]>([
    [
      'a hint, which came later',
      `0a 25  0a 17 7370696666653a2f2f6578616d706c652e6f72672f6369  12 05 682e702e73  1a 03 616263`,
    ],
    ['an unknown number', `10 ffffffffffffffffff01 ${one}`],
    ['an unknown 64-bit field', `19 0102030405060708 ${one}`],
    ['an unknown 32-bit field', `1d 01020304 ${one}`],
    ['an unknown text', `22 03 616263 ${one}`],
    ['the largest field number', `fa ff ff ff 0f 00 ${one}`],
    ['the fields in the other order', `0a 20  12 05 682e702e73  0a 17 7370696666653a2f2f6578616d706c652e6f72672f6369`],
  ])('passes over %s', (_, hex) => {
    expect(parseJwtSvidResponse(bytesOf(hex))).toEqual([expected]);
  });

  it.each<[string, string, RegExp]>([
    ['a length beyond the end', '0a 21 0a17', /ends in the middle of a field/],
    ['a length of 2^63', '0a ffffffffffffffff7f', /ends in the middle of a field/],
    ['a length without an end', '0a 80', /ends in the middle of a number/],
    ['a length of eleven bytes', '0a 8080808080808080808001', /more than ten bytes/],
    ['nothing after the tag', '0a', /ends in the middle of a number/],
    ['a cut 64-bit field', '19 01020304050607', /ends in the middle of a field/],
    ['a cut 32-bit field', '1d 010203', /ends in the middle of a field/],
    ['field number 0', '02 00', /a number that none may have/],
    ['field number 2^29', '82 80 80 80 10 00', /a number that none may have/],
    ['a group', '0b 0c', /a kind that is not used/],
    ['wire type 6', '0e', /a kind that is not used/],
    ['wire type 7', '0f', /a kind that is not used/],
    ['an SVID that is a number', '08 01', /svids are no messages/],
    ['an SVID with a number for a token', '0a 05 0a 01 61 10 01', /no text/],
    ['an SVID without a token', '0a 03 0a 01 61', /lacks its name or its token/],
    ['an SVID with an empty token', '0a 05 0a 01 61 12 00', /lacks its name or its token/],
    ['an SVID without a name', '0a 03 12 01 61', /lacks its name or its token/],
    ['an SVID with two tokens', '0a 09 0a 01 61 12 01 61 12 01 62', /there twice/],
    ['a token that is not UTF-8', '0a 06 0a 01 61 12 01 ff', /not UTF-8/],
    ['a cut field inside an SVID', '0a 03 0a 05 61', /ends in the middle of a field/],
  ])('refuses %s', (_, hex, message) => {
    let failure: unknown;
    try {
      parseJwtSvidResponse(bytesOf(hex));
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(SignError);
    expect(failure).toMatchObject({ code: 'SIGN_RESPONSE_MALFORMED' });
    expect((failure as SignError).message).toMatch(message);
  });

  it('refuses more than 64 SVIDs, and more than 64 KiB', () => {
    const item = svid('a', 'b');
    expect(parseJwtSvidResponse(Buffer.concat(Array<Buffer>(64).fill(item)))).toHaveLength(64);
    expect(() => parseJwtSvidResponse(Buffer.concat(Array<Buffer>(65).fill(item)))).toThrow('more than 64 SVIDs');
    expect(() => parseJwtSvidResponse(field(5, 'x'.repeat(65_536)))).toThrow('longer than 65536 bytes');
  });

  it('reads what it is sent, whatever the texts are', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 300 });
    const item = fc.record({ spiffeId: text, svid: text.filter((value) => value !== '') });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 10 }), (items) => {
        const bytes = Buffer.concat(items.map((entry) => svid(entry.spiffeId, entry.svid)));
        expect(parseJwtSvidResponse(bytes)).toEqual(items);
      }),
    );
  });

  it('encodes what a reader of fields finds again', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 20_000 }), { maxLength: 4 }), (audience) => {
        expect(hexOf(encodeJwtSvidRequest(audience))).toBe(
          hexOf(Buffer.concat(audience.map((name) => field(1, name)))),
        );
      }),
    );
  });

  it('returns or throws SignError, whatever the bytes are', () => {
    const near = fc.tuple(fc.uint8Array({ maxLength: 20 }), fc.nat(50)).map(([noise, at]) => {
      const bytes = Buffer.concat([svid('spiffe://example.org/ci', 'h.p.s'), svid('b', 'c')]);
      bytes.set(noise.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), near), (bytes) => {
        try {
          for (const item of parseJwtSvidResponse(bytes)) expect(item.svid).not.toBe('');
        } catch (error) {
          expect(error).toBeInstanceOf(SignError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('parseEndpoint()', () => {
  it.each([
    ['unix:///run/spire/agent.sock', 'unix:/run/spire/agent.sock'],
    ['unix:/run/spire/agent.sock', 'unix:/run/spire/agent.sock'],
    ['/run/spire/agent.sock', 'unix:/run/spire/agent.sock'],
    ['unix:///run/a%20b.sock', 'unix:/run/a b.sock'],
    ['tcp://127.0.0.1:8000', 'ipv4:127.0.0.1:8000'],
    ['tcp://[::1]:8000', 'ipv6:[::1]:8000'],
  ])('%s is %s', (endpoint, target) => {
    expect(parseEndpoint(endpoint)).toBe(target);
  });

  it.each([
    ...[
      '',
      'agent.sock',
      './agent.sock',
      'unix:',
      'unix://',
      'unix:///',
      'unix://host/path',
      'unix:relative',
      'unix:////x',
    ],
    ...[
      'unix:///a?b',
      'unix:///a#b',
      'unix:///a%00b',
      'unix:///a%',
      '//x',
      'tcp://127.0.0.1',
      'tcp://127.0.0.1:8000/foo',
    ],
    ...[
      'tcp://localhost:8000',
      'tcp://127.0.0.1:0',
      'tcp://127.0.0.1:65536',
      'tcp://1.2.3:80',
      'tcp://[1]:80',
      'tcp://::1:80',
    ],
    ...['http://127.0.0.1:80', 'dns:example.com', 'xds:///x', 'tcp://a@127.0.0.1:80', 'UNIX:///x', 'unix-abstract:x'],
  ])('refuses %j', (endpoint) => {
    expect(() => parseEndpoint(endpoint)).toThrow(expect.objectContaining({ code: 'SIGN_URL' }) as Error);
  });

  it('says so in the words of the variable', async () => {
    const { environment } = fakeMachine({ env: { SPIFFE_ENDPOINT_SOCKET: 'http://example.com' } });
    const failure = await failureOf(ambientToken(environment));
    expect(failure).toMatchObject({ code: 'SIGN_URL', provider: 'spiffe' });
    expect(failure.cure).toContain('SPIFFE_ENDPOINT_SOCKET');
  });
});

type Call = ServerUnaryCall<Buffer, Buffer>;
type Handler = (call: Call, answer: sendUnaryData<Buffer>) => void;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'spiffe-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let count = 0;
/** A Workload API over a socket, until the test ends. */
async function startAgent(
  handle: Handler,
  { address, path = 'FetchJWTSVID' }: { address?: string; path?: string } = {},
) {
  const seen: { request: string; metadata: Metadata }[] = [];
  const server = new Server({ 'grpc.max_send_message_length': -1 });
  const same = (bytes: Buffer) => bytes;
  const definition = {
    call: {
      path: `/SpiffeWorkloadAPI/${path}`,
      requestStream: false,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: same,
      responseSerialize: same,
      responseDeserialize: same,
    },
  } as const;
  server.addService(definition, {
    call: (call: Call, answer: sendUnaryData<Buffer>) => {
      seen.push({ request: hexOf(call.request), metadata: call.metadata });
      handle(call, answer);
    },
  });
  const target = address ?? `unix:${join(folder, `${++count}.sock`)}`;
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  onTestFinished(() => server.forceShutdown());
  const endpoint = address === undefined ? `unix://${target.slice('unix:'.length)}` : `tcp://127.0.0.1:${port}`;
  return { endpoint, seen };
}

const token = makeToken({ iss: 'https://spire.example', sub: 'spiffe://example.org/ci', aud: ['sigstore'] });
const works: Handler = (_, answer) => answer(null, svid('spiffe://example.org/ci', token));

const ask = (endpoint: string, options: { timeoutMs?: number; attempts?: number } = {}) => {
  const { environment } = fakeMachine({
    env: { SPIFFE_ENDPOINT_SOCKET: endpoint },
    timeoutMs: options.timeoutMs ?? 5_000,
  });
  if (options.attempts !== undefined) environment.http.attempts = options.attempts;
  return ambientToken(environment);
};

describe('the SPIFFE Workload API', () => {
  it('gives the token, asked with the security header and our audience', async () => {
    const { endpoint, seen } = await startAgent(works);
    expect(await ask(endpoint)).toEqual({ provider: 'spiffe', token });
    expect(seen.map(({ request }) => request)).toEqual(['0a0873696773746f7265']);
    expect(seen[0]?.metadata.get('workload.spiffe.io')).toEqual(['true']);
  });

  it('is detected by its socket', async () => {
    const { endpoint } = await startAgent(works);
    const path = endpoint.slice('unix://'.length);
    expect(await nodeAmbientEnvironment({ env: {}, audience: 'x', http: { fetch } }).files.exists(path)).toBe(true);
    const { environment } = fakeMachine({ files: { '/tmp/spire-agent/public/api.sock': '' } });
    expect((await failureOf(ambientToken(environment))).provider).toBe('spiffe');
  });

  it('is reached by a bare path, and over TCP whatever proxies are set', async () => {
    const { endpoint } = await startAgent(works);
    expect(await ask(endpoint.slice('unix://'.length))).toMatchObject({ token });
    vi.stubEnv('grpc_proxy', 'http://127.0.0.1:1');
    vi.stubEnv('http_proxy', 'http://127.0.0.1:1');
    onTestFinished(() => void vi.unstubAllEnvs());
    const tcp = await startAgent(works, { address: '127.0.0.1:0' });
    expect(await ask(tcp.endpoint)).toMatchObject({ token });
  });

  it('gives the first of several: the default identity', async () => {
    const other = makeToken({ sub: 'spiffe://example.org/other' });
    const { endpoint } = await startAgent((_, answer) =>
      answer(null, Buffer.concat([svid('spiffe://example.org/ci', token), svid('spiffe://example.org/other', other)])),
    );
    expect(await ask(endpoint)).toMatchObject({ token });
  });

  it('asks again while the agent does not know the workload yet', async () => {
    let calls = 0;
    const { endpoint } = await startAgent((call, answer) => {
      if (++calls < 3)
        answer({ code: calls === 1 ? status.UNAVAILABLE : status.PERMISSION_DENIED, details: 'not yet' });
      else works(call, answer);
    });
    expect(await ask(endpoint)).toMatchObject({ token });
    expect(calls).toBe(3);
  });

  it.each<[string, status, string, number]>([
    ['has no identity for us', status.PERMISSION_DENIED, 'SIGN_REFUSED', 3],
    ['is not ready', status.UNAVAILABLE, 'SIGN_NETWORK', 3],
    ['misses the header', status.INVALID_ARGUMENT, 'SIGN_REFUSED', 1],
    ['fails', status.INTERNAL, 'SIGN_UNAVAILABLE', 1],
    ['cannot tell', status.UNKNOWN, 'SIGN_REFUSED', 1],
  ])('says so if the agent %s', async (_, code, wanted, times) => {
    const { endpoint, seen } = await startAgent((_call, answer) => answer({ code, details: `why ${token}` }));
    const failure = await failureOf(ask(endpoint));
    expect(failure).toMatchObject({ code: wanted, provider: 'spiffe' });
    expect(failure.message).toMatch(/: why \(token removed\)\)$/);
    expect(failure.cure).toMatch(
      wanted === 'SIGN_NETWORK' ? /agent listens at SPIFFE_ENDPOINT_SOCKET/ : /spire-server entry create/,
    );
    expect(seen).toHaveLength(times);
  });

  it('says so if what listens is no Workload API', async () => {
    const { endpoint } = await startAgent(works, { path: 'Other' });
    expect(await failureOf(ask(endpoint))).toMatchObject({ code: 'SIGN_UNAVAILABLE', provider: 'spiffe' });
  });

  it.each<[string, Buffer, string]>([
    ['no SVIDs', Buffer.alloc(0), 'SIGN_TOKEN_MISSING'],
    ['no message', Buffer.from('<html>'), 'SIGN_RESPONSE_MALFORMED'],
    ['an SVID of others', svid('a', makeToken({ aud: ['x'] })), 'SIGN_TOKEN_AUDIENCE'],
    ['an SVID that is no token', svid('a', 'b'), 'SIGN_TOKEN_MALFORMED'],
    ['a huge answer', field(5, 'x'.repeat(1_000_000)), 'SIGN_RESPONSE_TOO_LARGE'],
  ])('refuses %s', async (_, message, code) => {
    const { endpoint, seen } = await startAgent((_call, answer) => answer(null, message));
    const failure = await failureOf(ask(endpoint));
    expect(failure).toMatchObject({ code, provider: 'spiffe' });
    expect(failure.cure).not.toBeUndefined();
    expect(everythingOf(failure)).not.toContain('html');
    expect(seen).toHaveLength(1);
  });

  it('does not wait for an agent that is silent', async () => {
    const { endpoint } = await startAgent(() => {});
    const failure = await failureOf(ask(endpoint, { timeoutMs: 100 }));
    expect(failure).toMatchObject({ code: 'SIGN_NETWORK', provider: 'spiffe' });
    expect(failure.message).toContain('no answer in time');
  });

  it.each<[string, () => Promise<string>]>([
    ['missing', async () => `unix://${join(folder, 'missing.sock')}`],
    [
      'a plain file',
      async () => {
        await writeFile(join(folder, 'plain'), '');
        return `unix://${join(folder, 'plain')}`;
      },
    ],
    ['refusing', async () => 'tcp://127.0.0.1:1'],
  ])('says so if the socket is %s', async (_, endpoint) => {
    const failure = await failureOf(ask(await endpoint()));
    expect(failure).toMatchObject({ code: 'SIGN_NETWORK', provider: 'spiffe' });
    expect(failure.cure).toMatch(/^Check that an agent listens at SPIFFE_ENDPOINT_SOCKET/);
  });

  it('leaves nothing open that would keep the process alive', async () => {
    const { endpoint } = await startAgent(works);
    const silent = await startAgent(() => {});
    const open = () =>
      process
        .getActiveResourcesInfo()
        .filter((kind) => /Pipe|TCP|Timeout/.test(kind))
        .sort();
    const before = open();
    await ask(endpoint);
    await failureOf(ask(silent.endpoint, { timeoutMs: 50 }));
    await failureOf(ask('unix:///nowhere/at.all'));
    await vi.waitFor(() => expect(open().length).toBeLessThanOrEqual(before.length), { timeout: 2_000, interval: 5 });
  });
});
