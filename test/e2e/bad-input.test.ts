// What strangers send to the real stack: each gets a clear answer with a stable code, nothing is stored, and no answer tells
// anything about the inside of the server.
import { createHash, generateKeyPairSync, type KeyObject, sign, webcrypto } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { derInteger, derNull, derOctetString, derOid, derSequence } from '#libs/encoding';
import { createTokenVerifier, issuerKinds } from '#libs/identity';
import { parseCheckpoint, parseNote } from '#libs/note';
import { startWorld, type World } from '../world/index.js';

let world: World;
/** Every answer of this file: method, path, status and body. */
const answers: { what: string; status: number; body: string }[] = [];

beforeAll(async () => {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  world = await startWorld();
  // So that the trees are not empty.
  expect((await appendEntry(entryRequest())).status).toBe(201);
  expect((await requestCertificate()).status).toBe(200);
});
afterAll(() => world.close());

/** As fetch, and remembers the answer. */
async function ask(
  path: string,
  options: RequestInit = {},
): Promise<{ status: number; body: string; headers: Headers }> {
  const response = await fetch(world.url + path, options);
  const body = Buffer.from(await response.arrayBuffer()).toString('latin1');
  answers.push({ what: `${options.method ?? 'GET'} ${path.slice(0, 80)}`, status: response.status, body });
  return { status: response.status, body, headers: response.headers };
}
const post = (path: string, body: unknown, headers: Record<string, string> = {}) => {
  const raw = typeof body === 'string' || body instanceof Uint8Array;
  return ask(path, { method: 'POST', headers, body: raw ? (body as string) : JSON.stringify(body) });
};

/** A request target exactly as written, which fetch would tidy. */
function askRaw(path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(world.url, { path }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const status = response.statusCode ?? 0;
        answers.push({ what: `GET ${path.slice(0, 80)}`, status, body: Buffer.concat(chunks).toString('latin1') });
        resolve(status);
      });
    });
    request.on('error', reject);
    request.end();
  });
}

async function sizes(): Promise<bigint[]> {
  return Promise.all(
    ['/checkpoint', '/ct/checkpoint'].map(async (path) => {
      const text = await (await fetch(world.url + path)).text();
      return parseCheckpoint(parseNote(text).text).size;
    }),
  );
}

/** Every test of a describe that calls this must leave both logs as they were. */
function storesNothing(): void {
  let before: bigint[];
  beforeEach(async () => {
    before = await sizes();
  });
  afterEach(async () => {
    expect(await sizes()).toEqual(before);
  });
}

const spki = (key: KeyObject) => key.export({ type: 'spki', format: 'der' }).toString('base64');
const alice = { email: 'alice@example.com' };

interface SigningOptions {
  claims?: Record<string, unknown>;
  token?: string | null;
  keys?: { publicKey: KeyObject; privateKey: KeyObject };
  /** What the proof of possession signs. */
  proven?: string;
  csr?: string;
}

/** A request for a certificate that works, but for what `options` change. */
async function requestCertificate(options: SigningOptions = {}) {
  const { publicKey, privateKey } = options.keys ?? generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const token = options.token === undefined ? await world.token({ ...alice, ...options.claims }) : options.token;
  const proof = sign('sha256', Buffer.from(options.proven ?? alice.email), privateKey).toString('base64');
  const algorithm = publicKey.asymmetricKeyType === 'rsa' ? 'RSA_PSS' : 'ECDSA';
  return post('/api/v2/signingCert', {
    ...(token !== null && { credentials: { oidcIdentityToken: token } }),
    ...(options.csr === undefined
      ? {
          publicKeyRequest: {
            publicKey: { algorithm, content: publicKey.export({ type: 'spki', format: 'pem' }) },
            proofOfPossession: proof,
          },
        }
      : { certificateSigningRequest: options.csr }),
  });
}

let counter = 0;
const entryKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
function entryRequest(message = Buffer.from(`message ${++counter}`)) {
  return {
    hashedRekordRequestV002: {
      digest: createHash('sha256').update(message).digest('base64'),
      signature: {
        content: sign('sha256', message, entryKeys.privateKey).toString('base64'),
        verifier: { publicKey: { rawBytes: spki(entryKeys.publicKey) }, keyDetails: 'PKIX_ECDSA_P256_SHA_256' },
      },
    },
  };
}
const appendEntry = (body: unknown) => post('/api/v2/log/entries', body);

/** The error body of a gRPC gateway. */
function expectGrpc(
  answer: { status: number; body: string },
  status: number,
  code: number,
  message: unknown = expect.stringMatching(/./),
): void {
  expect([answer.status, JSON.parse(answer.body)]).toEqual([status, { code, message, details: [] }]);
}
/** What upstream's CA says, which clients know, and after it what is wrong. */
const explained = (text: string): unknown => expect.stringMatching(new RegExp(`^${text}: \\S.+`));

describe('an identity token that', () => {
  storesNothing();
  const refusal = explained('There was an error processing the identity token');
  const past = Math.floor(Date.now() / 1000) - 10;
  const claims: Record<string, Record<string, unknown>> = {
    'has expired': { exp: past },
    'is not valid yet': { nbf: past + 3600 },
    'is for another audience': { aud: 'somebody-else' },
    'is for no audience': { aud: [] },
    'is of an unknown issuer': { iss: 'https://issuer.example' },
    'is of an issuer that is a number': { iss: 7 },
    'has an e-mail address that is not verified': { email_verified: false },
    'has an e-mail address that is said to be verified in other words': { email_verified: 'yes' },
    'has no e-mail address': { email: undefined, sub: 'x' },
    'has no subject': { sub: '' },
    'has no end': { exp: null },
  };
  for (const [name, changed] of Object.entries(claims)) {
    it(`${name} is refused`, async () => {
      expectGrpc(await requestCertificate({ claims: changed }), 400, 3);
    });
  }

  it('is not there is refused', async () => {
    expectGrpc(await requestCertificate({ token: null }), 400, 3, refusal);
    expectGrpc(await requestCertificate({ token: '' }), 400, 3, refusal);
  });

  it('says alg none, or is signed by somebody else, is refused', async () => {
    const token = await world.token(alice);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const given = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>;
    const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const resigned = sign('sha256', Buffer.from(`${header}.${payload}`), stranger.privateKey).toString('base64url');
    const forged = [
      `${encode({ ...given, alg: 'none' })}.${payload}.`,
      `${encode({ alg: 'none' })}.${payload}.${signature}`,
      `${encode({ ...given, alg: 'None' })}.${payload}.`,
      `${encode({ ...given, alg: 'HS256' })}.${payload}.${signature}`,
      `${header}.${payload}.${resigned}`,
      `${header}.${encode({ ...alice, iss: world.issuer, aud: 'sigstore', exp: past + 600 })}.${signature}`,
      `${header}.${payload}.`,
      `${header}.${payload}`,
      `${header}.${payload}.${signature}.${signature}`,
      `${header}.${payload}.${signature}=`,
      ` ${token}`,
      'x',
      '..',
    ];
    for (const text of forged) expectGrpc(await requestCertificate({ token: text }), 400, 3, refusal);
  });

  it('is a megabyte of dots is refused in less than ten milliseconds', async () => {
    const dots = '.'.repeat(1 << 20);
    // Refused by the length of the body already; a shorter one by that of the token.
    expectGrpc(await requestCertificate({ token: dots }), 400, 3);
    expectGrpc(await requestCertificate({ token: `e30.${dots}` }), 400, 3);
    expectGrpc(await requestCertificate({ token: dots.slice(0, 100_000) }), 400, 3, refusal);

    // The time of the check alone, without the way there; the best of a few, because the machine has other work too.
    const verifier = createTokenVerifier({
      issuers: [{ issuerUrl: world.issuer, clientId: 'sigstore', type: 'email', wildcard: false }],
      kinds: issuerKinds,
      fetch,
      now: () => new Date(),
    });
    const times: number[] = [];
    for (let round = 0; round < 5; round++) {
      const start = performance.now();
      await expect(verifier.verify(dots)).rejects.toMatchObject({ code: expect.stringMatching(/^IDENTITY_/) });
      times.push(performance.now() - start);
    }
    expect(Math.min(...times)).toBeLessThan(10);
  });
});

describe('a request for a certificate with', () => {
  storesNothing();

  it('a proof of possession of something else is refused', async () => {
    expectGrpc(
      await requestCertificate({ proven: 'bob@example.com' }),
      400,
      3,
      explained('The signature supplied in the request could not be verified'),
    );
  });

  it('an RSA key of 1024 bits is refused', async () => {
    const keys = generateKeyPairSync('rsa', { modulusLength: 1024 });
    expectGrpc(
      await requestCertificate({ keys }),
      400,
      3,
      explained('The public key supplied in the request is insecure'),
    );
  });

  it('a CSR whose signature is wrong is refused, and with the right one it is taken', async () => {
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
    const csr = await peculiar.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: algorithm });
    const der = Buffer.from(csr.rawData);
    der[der.length - 1] = (der.at(-1) ?? 0) ^ 1;
    const wrong = new peculiar.Pkcs10CertificateRequest(der).toString('pem');
    const base64 = (text: string) => Buffer.from(`${text}\n`).toString('base64');
    const refusal = explained('The signature supplied in the request could not be verified');
    expectGrpc(await requestCertificate({ csr: base64(wrong) }), 400, 3, refusal);
    expectGrpc(await requestCertificate({ csr: base64('no CSR') }), 400, 3);
  });

  it('a body that is no request, or one over the limit, is refused', async () => {
    for (const path of ['/api/v2/signingCert', '/api/v1/signingCert']) {
      for (const body of ['', '{', '[]', 'null', '7', '{"credentials":7}', '{"unknown":1}', '{"__proto__":{}}']) {
        expectGrpc(await post(path, body), 400, 3);
      }
      expectGrpc(await post(path, 'x'.repeat(5 << 20)), 400, 3, 'http: request body too large');
      expectGrpc(await post(path, `${'['.repeat(100_000)}`), 400, 3);
    }
  });
});

describe('a log entry', () => {
  storesNothing();
  const invalid = 'invalid hashedrekord request';

  it('with each field in turn missing or null is refused', async () => {
    const paths = [
      ['hashedRekordRequestV002'],
      ['hashedRekordRequestV002', 'digest'],
      ['hashedRekordRequestV002', 'signature'],
      ['hashedRekordRequestV002', 'signature', 'content'],
      ['hashedRekordRequestV002', 'signature', 'verifier'],
      ['hashedRekordRequestV002', 'signature', 'verifier', 'publicKey'],
      ['hashedRekordRequestV002', 'signature', 'verifier', 'publicKey', 'rawBytes'],
      ['hashedRekordRequestV002', 'signature', 'verifier', 'keyDetails'],
    ];
    for (const path of paths) {
      for (const value of [undefined, null]) {
        const request: Record<string, unknown> = entryRequest();
        const parent = path.slice(0, -1).reduce((object, name) => object[name] as Record<string, unknown>, request);
        parent[path.at(-1) ?? ''] = value;
        const message = path.length === 1 ? 'invalid type, must be hashedrekord' : invalid;
        expectGrpc(await appendEntry(request), 400, 3, message);
      }
    }
  });

  it('with a digest of wrong length, another signature, key and certificate at once, or an unknown field is refused', async () => {
    const { hashedRekordRequestV002: good } = entryRequest();
    const { signature } = good;
    const other = entryRequest().hashedRekordRequestV002.signature.content;
    const both = { ...signature.verifier, x509Certificate: { rawBytes: 'AAAA' } };
    const short = Buffer.from(good.digest, 'base64').subarray(1).toString('base64');
    expectGrpc(await appendEntry({ hashedRekordRequestV002: { ...good, digest: short } }), 400, 3, invalid);
    expectGrpc(
      await appendEntry({ hashedRekordRequestV002: { ...good, signature: { ...signature, content: other } } }),
      400,
      3,
      invalid,
    );
    expectGrpc(
      await appendEntry({ hashedRekordRequestV002: { ...good, signature: { ...signature, verifier: both } } }),
      400,
      3,
    );
    expectGrpc(await appendEntry({ hashedRekordRequestV002: { ...good, unknown: 1 } }), 400, 3);
  });

  it('over the limit is refused', async () => {
    expectGrpc(await appendEntry('x'.repeat((4 << 20) + 1)), 413, 3, 'http: request body too large');
  });
});

describe('a timestamp request', () => {
  storesNothing();

  it('with a digest of wrong length is refused, in DER and JSON', async () => {
    const refusal = { code: 400, message: 'Message digest has incorrect length for specified algorithm' };
    const digest = new Uint8Array(31);
    const sha256 = derSequence(derOid('2.16.840.1.101.3.4.2.1'), derNull());
    const der = derSequence(derInteger(1n), derSequence(sha256, derOctetString(digest)));
    const json = { artifactHash: Buffer.from(digest).toString('base64'), hashAlgorithm: 'sha256' };
    for (const answer of [
      await post('/api/v1/timestamp', der, { 'content-type': 'application/timestamp-query' }),
      await post('/api/v1/timestamp', json, { 'content-type': 'application/json' }),
    ]) {
      expect([answer.status, JSON.parse(answer.body)]).toEqual([400, refusal]);
    }
  });

  it('that is none, empty, of another type or too large is refused', async () => {
    const query = { 'content-type': 'application/timestamp-query' };
    expect((await post('/api/v1/timestamp', 'hello', query)).status).toBe(400);
    expect((await post('/api/v1/timestamp', '', query)).status).toBe(422);
    expect((await post('/api/v1/timestamp', 'hello', { 'content-type': 'text/plain' })).status).toBe(415);
    expect((await post('/api/v1/timestamp', 'x'.repeat(5 << 20), query)).status).toBe(400);
  });
});

describe('reading', () => {
  storesNothing();

  it('a tile beyond the tree, or by a negative or second spelling of its path, is 404', async () => {
    for (const prefix of ['/', '/api/v2/', '/ct/']) {
      for (const path of [
        ...[
          'tile/0/001',
          'tile/0/x999/999',
          'tile/0/000.p/200',
          'tile/5/000',
          'tile/0/-01',
          'tile/-1/000',
          'tile/00/000',
        ],
        ...['tile/0/x000/001', 'tile/0/0', 'tile/0/%30%30%30', 'tile/%2e%2e/checkpoint', 'tile/0/../../keys/ca.pem'],
        ...[
          'tile/0/%2e%2e%2f%2e%2e%2fkeys%2fca.pem',
          'tile/entries/-01',
          'tile/data/-01',
          'tile/0/000.p/%31',
          'tile/0/000?x',
        ],
      ]) {
        expect([prefix + path, await askRaw(prefix + path)]).toEqual([prefix + path, 404]);
      }
    }
  });

  it('paths that nobody serves, or that cannot be decoded, is 404 or 400', async () => {
    const unknown = [
      '/x',
      '/keys/ca.pem',
      '/instance.json',
      '/../instance.json',
      '/%2e%2e/instance.json',
      '/api/v2/',
      '/api/v3/log/entries',
    ];
    for (const path of unknown) expect([path, await askRaw(path)]).toEqual([path, 404]);
    for (const path of ['/%', '/%zz', '/tile/0/%', '/ct/issuer/%ff', '/api/v2/tile/%c0%ae']) {
      expect([400, 404]).toContain(await askRaw(path));
    }
    expect(await askRaw(`/${'a'.repeat(10_000)}`)).toBe(404);
    expect(await askRaw(`/${'a'.repeat(100_000)}`)).toBe(431);
  });

  it('with parameters that are no numbers is 400', async () => {
    const queries = [
      'get-entries?start=-1&end=1',
      'get-entries?start=0',
      'get-sth-consistency?first=x&second=1',
      'get-proof-by-hash?hash=x&tree_size=1',
      'get-entries?start[]=0&end=1',
      'get-entries?start=0&start=0&end=0',
    ];
    for (const query of queries) expect((await ask(`/ct/v1/${query}`)).status).toBe(400);
  });

  it('with a method that nobody knows is refused', async () => {
    for (const path of [
      '/checkpoint',
      '/api/v2/signingCert',
      '/api/v1/timestamp',
      '/ct/v1/get-sth',
      '/trust/trusted_root.json',
    ]) {
      for (const method of ['DELETE', 'PUT', 'PATCH', 'PROPFIND']) {
        expect([404, 405, 501]).toContain((await ask(path, { method })).status);
      }
    }
  });
});

describe('a certificate chain for the CT log', () => {
  storesNothing();

  it('that is none of ours is refused', async () => {
    for (const body of ['', '{}', '{"chain":[]}', '{"chain":["AAAA"]}', '{"chain":[7]}', '{"chain":["!"]}', '\u0000']) {
      for (const name of ['add-chain', 'add-pre-chain']) {
        const answer = await post(`/ct/v1/${name}`, body);
        expect(answer.status).toBe(400);
        expect(answer.body).toMatch(/^Bad Request\n[^\n]+\n$/);
      }
    }
  });
});

describe('the server goes on serving', () => {
  const writePaths = [
    '/api/v2/log/entries',
    '/api/v2/signingCert',
    '/api/v1/timestamp',
    '/ct/v1/add-chain',
    '/dev/oidc/token',
  ];

  it('after a hundred malformed bodies at once', async () => {
    const before = await sizes();
    const bodies = ['{', '\u0000\u0001', '[[[[', '{"a":', '"\\ud800"', '[]', '\xff\xfe', '0'.repeat(100_000)];
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        post(writePaths[i % writePaths.length] ?? '', bodies[i % bodies.length] ?? ''),
      ),
    );
    expect(all.map(({ status }) => status).filter((status) => status < 400 || status >= 500)).toEqual([]);
    expect(await sizes()).toEqual(before);
    expect((await appendEntry(entryRequest())).status).toBe(201);
  });

  it('while others send half a request and wait, or go away', async () => {
    const before = await sizes();
    const { hostname, port } = new URL(world.url);
    const sockets = await Promise.all(
      Array.from({ length: 40 }, (_, i) => {
        const path = writePaths[i % writePaths.length] ?? '';
        const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n`;
        // Half a header, or half a body.
        const sent = i % 2 === 0 ? head : `${head}\r\n{"hashedRekordRequestV002":`;
        return new Promise<ReturnType<typeof connect>>((resolve, reject) => {
          const socket = connect(Number(port), hostname, () => socket.write(sent, () => resolve(socket)));
          socket.on('error', reject);
        });
      }),
    );
    expect((await appendEntry(entryRequest())).status).toBe(201);
    await Promise.all(
      sockets.map(
        (socket) =>
          new Promise<void>((resolve) => {
            socket.on('close', () => resolve());
            socket.removeAllListeners('error').on('error', () => undefined);
            socket.destroy();
          }),
      ),
    );
    expect((await requestCertificate()).status).toBe(200);
    expect(await sizes()).toEqual(before.map((size) => size + 1n));
  });

  it('after requests that are no HTTP', async () => {
    const { hostname, port } = new URL(world.url);
    for (const text of [
      '\x16\x03\x01\x02\x00',
      'GET\r\n\r\n',
      'POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
    ]) {
      const body = await new Promise<string>((resolve) => {
        let received = '';
        const socket = connect(Number(port), hostname, () => socket.write(text));
        socket.on('data', (chunk) => (received += chunk.toString('latin1')));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve(received));
      });
      expect(body).toMatch(/^HTTP\/1.1 4\d\d /);
      answers.push({ what: 'no HTTP', status: Number(body.slice(9, 12)), body });
    }
    expect((await ask('/healthz')).status).toBe(200);
  });
});

// Last: it looks at what all the others got.
describe('no answer', () => {
  it('was a fault of the server', () => {
    expect(answers.length).toBeGreaterThan(250);
    // 501 is how a gRPC gateway says that a path has no such method.
    expect(answers.filter(({ status }) => status >= 500 && status !== 501)).toEqual([]);
  });

  const telltales: Record<string, RegExp> = {
    'a stack': /\n?\s{2,}at |\bat [\w.<>]+ \(|\.[jt]s:\d+/,
    'a path of the file system': /\/(?:work|tmp|home|root|usr|var|opt|etc)\/|file:\/\/|[A-Z]:\\/,
    'the name of a package': /node_modules|sqlite|fastify|FST_ERR|nestjs|typeorm|openssl|peculiar|jose\b/i,
    'the name of a class': /\b(?:[A-Z]\w+(?:Error|Exception)|JWS|JWT|ZodIssue)\b/,
    'one of our internal codes': /\b(?:TLOG|ENTRY|X509|CRYPTO|ENCODING|IDENTITY|MERKLE|NOTE|TIMESTAMP|CA|CT)_[A-Z_]+\b/,
  };
  for (const [name, pattern] of Object.entries(telltales)) {
    it(`contained ${name}`, () => {
      const told = answers.filter(({ status, body }) => status >= 400 && pattern.test(body));
      expect(told.map(({ what, body }) => `${what}: ${body.slice(0, 300)}`)).toEqual([]);
    });
  }

  it('contained the name of the data folder', () => {
    expect(answers.filter(({ body }) => body.includes(world.folder))).toEqual([]);
  });
});
