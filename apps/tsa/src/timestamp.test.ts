// The timestamp authority over HTTP: RFC 3161 requests in DER and JSON, and each answer that Sigstore's own service would give.
import { webcrypto } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  concatBytes,
  derBoolean,
  derElement,
  derInteger,
  derNull,
  derOctetString,
  derOid,
  derSequence,
  derTag,
  encodeHex,
} from '#libs/encoding';
import { bootHttp, createLog, HealthController, type HttpServer } from '#libs/nest';
import { opensslCrypto, sha256 } from '#libs/openssl';
import { encodeTimestampRequest, parseTimestampResponse, type Timestamp, verifyTimestamp } from '#libs/timestamp';
import { parseCertificatePem } from '#libs/x509';
import { TsaModule } from './app.module.js';
import { createTimestampAuthority, loadTimestampAuthority } from './authority.js';
import { readTsaConfig } from './config.js';
import { tsaShape } from './errors.js';
import { defaultPolicy, IssueTimestamp } from './issue.js';

const otherPolicy = '1.3.6.1.4.1.99999.7';
const start = new Date('2026-03-04T05:06:07.890Z');
const data = new TextEncoder().encode('what is stamped');
const query = 'application/timestamp-query';
const generic = 'Error generating timestamp response';

let authorityFiles: { keyPem: string; chainPem: string };
let clock = start;
/** `plain` as it is by default; `full` with the chain in tokens, 201 and a second policy. */
let plain: { app: HttpServer; url: string };
let full: typeof plain;
const logged: string[] = [];

async function boot(
  options: Pick<ConstructorParameters<typeof IssueTimestamp>[0], 'includeChain' | 'successStatus' | 'acceptedPolicies'>,
) {
  const flow = new IssueTimestamp({
    authority: await loadTimestampAuthority(authorityFiles, start, opensslCrypto),
    crypto: opensslCrypto,
    now: () => clock,
    ...options,
  });
  const app = await bootHttp(
    { module: class TsaServer {}, imports: [TsaModule.register(flow)], controllers: [HealthController] },
    {
      host: '127.0.0.1',
      port: 0,
      shapes: [tsaShape],
      bodyLimit: 1 << 20,
      log: createLog({ format: 'json', now: () => clock, write: (line) => void logged.push(line) }),
    },
  );
  return { app, url: await app.getUrl() };
}

beforeAll(async () => {
  authorityFiles = await createTimestampAuthority({ organization: 'test', commonName: 'test TSA', now: start });
  plain = await boot({ includeChain: false, successStatus: 200, acceptedPolicies: [defaultPolicy] });
  full = await boot({ includeChain: true, successStatus: 201, acceptedPolicies: [defaultPolicy, otherPolicy] });
});
afterAll(async () => {
  await plain.app.close();
  await full.app.close();
});

const digestOf = async (hash: string, bytes = data) =>
  new Uint8Array(await webcrypto.subtle.digest(hash.replace('sha', 'SHA-'), bytes));
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const imprint = { hash: 'sha256' as const, digest: sha256(data) };

function post(
  body: Uint8Array | string | undefined,
  headers: Record<string, string>,
  url = plain.url,
): Promise<Response> {
  return fetch(`${url}/api/v1/timestamp`, {
    method: 'POST',
    headers,
    ...(body !== undefined && { body: Buffer.from(body) }),
  });
}
const postDer = (der: Uint8Array, url?: string) => post(der, { 'content-type': query }, url);
const postJson = (json: unknown, url?: string) =>
  post(typeof json === 'string' ? json : JSON.stringify(json), { 'content-type': 'application/json' }, url);

async function granted(response: Response, status = 200): Promise<Timestamp> {
  const bytes = new Uint8Array(await response.arrayBuffer());
  expect(response.status, Buffer.from(bytes).toString('latin1')).toBe(status);
  expect(response.headers.get('content-type')).toBe('application/timestamp-reply');
  return parseTimestampResponse(bytes);
}

async function expectError(response: Response, status: number, message: string, code = status): Promise<void> {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  // So that clients that look at the type show the text.
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  expect(JSON.parse(text)).toEqual({ code, message });
}

/** A TimeStampReq of any parts. */
const der = (...parts: Uint8Array[]) => derSequence(derInteger(1n), ...parts);
const hashOids = { sha1: '1.3.14.3.2.26', sha256: '2.16.840.1.101.3.4.2.1', md5: '1.2.840.113549.2.5' };
const derImprint = (hash: keyof typeof hashOids, digest: Uint8Array, parameters: Uint8Array = derNull()) =>
  derSequence(derSequence(derOid(hashOids[hash]), parameters), derOctetString(digest));

describe('POST /api/v1/timestamp', () => {
  it('a token in DER: the time of the clock cut to seconds, accuracy, policy, and it verifies', async () => {
    const response = await postDer(encodeTimestampRequest({ imprint }));
    const bytes = new Uint8Array(await response.clone().arrayBuffer());
    const token = await granted(response);
    expect(token.status).toBe(0);
    // Truncated, not rounded: a rounded time could lie after the end of a certificate.
    expect(token.genTime).toEqual(new Date('2026-03-04T05:06:07Z'));
    expect(token.accuracy).toEqual({ seconds: 1, millis: 0, micros: 0 });
    expect(token.ordering).toBe(false);
    expect(token.policy).toBe(defaultPolicy);
    expect(token.imprint).toEqual(imprint);
    expect(token.nonce).toBe(undefined);
    expect(token.certificates).toEqual([]);
    expect(token.criticalExtension).toBe(false);
    const certChain = parseCertificatePem(authorityFiles.chainPem);
    const authorities = [{ certChain, validFor: { start: new Date(0) } }];
    const verified = await verifyTimestamp(bytes, { signature: data, authorities, crypto: opensslCrypto });
    expect(verified.certificate.der).toEqual(certChain[0]?.der);
  });

  it('no cache may keep an answer', async () => {
    const { headers } = await postDer(encodeTimestampRequest({ imprint }));
    expect(headers.get('cache-control')).toBe('no-cache, no-store, no-transform, must-revalidate, private, max-age=0');
    expect(headers.get('pragma')).toBe('no-cache');
    expect(headers.get('x-accel-expires')).toBe('0');
    expect(headers.get('expires')).toMatch(/1970/);
  });

  it('two equal requests get different serials, positive and not zero', async () => {
    const request = encodeTimestampRequest({ imprint });
    const tokens = await Promise.all(Array.from({ length: 20 }, async () => granted(await postDer(request))));
    expect(new Set(tokens.map(({ serialNumber }) => serialNumber)).size).toBe(20);
    for (const { serialNumber } of tokens) expect(serialNumber > 0n && serialNumber < 1n << 160n).toBe(true);
  });

  it('certReq puts the signing certificate into the token, or the chain if so configured', async () => {
    const chain = parseCertificatePem(authorityFiles.chainPem).map((certificate) => encodeHex(certificate.der));
    const certificates = (token: Timestamp) => token.certificates.map(encodeHex);
    const asked = encodeTimestampRequest({ imprint, certReq: true });
    const json = { artifactHash: base64(imprint.digest), hashAlgorithm: 'sha256', certificates: true };
    expect(certificates(await granted(await postDer(asked)))).toEqual(chain.slice(0, 1));
    expect(certificates(await granted(await postJson(json)))).toEqual(chain.slice(0, 1));
    expect(certificates(await granted(await postDer(asked, full.url), 201))).toEqual(chain);
    expect(certificates(await granted(await postJson(json, full.url), 201))).toEqual(chain);
    // Not asked: none, also where the whole chain is configured.
    const token = await granted(await postDer(encodeTimestampRequest({ imprint }), full.url), 201);
    expect(certificates(token)).toEqual([]);
  });

  for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
    it(`stamps ${hash}, in DER and JSON`, async () => {
      const digest = await digestOf(hash);
      const fromDer = await granted(await postDer(encodeTimestampRequest({ imprint: { hash, digest } })));
      expect(fromDer.imprint).toEqual({ hash, digest });
      const fromJson = await granted(
        await postJson({ artifactHash: base64(digest), hashAlgorithm: hash.toUpperCase() }),
      );
      expect(fromJson.imprint).toEqual({ hash, digest });
      expect(fromJson.certificates).toEqual([]);
      expect(fromJson.nonce).toBe(undefined);
    });

    it(`refuses a digest that is not as long as one of ${hash}`, async () => {
      const message = 'Message digest has incorrect length for specified algorithm';
      const digest = await digestOf(hash);
      for (const wrong of [digest.slice(1), Uint8Array.of(...digest, 0)]) {
        const artifactHash = base64(wrong);
        await expectError(await postJson({ artifactHash, hashAlgorithm: hash }), 400, message);
        const algorithm = { sha256: '1', sha384: '2', sha512: '3' }[hash];
        const named = derSequence(derOid(`2.16.840.1.101.3.4.2.${algorithm}`), derNull());
        await expectError(await postDer(der(derSequence(named, derOctetString(wrong)))), 400, message);
      }
    });
  }

  const nonces: Record<string, bigint> = {
    zero: 0n,
    small: 7n,
    'of 64 bits': 0xffff_ffff_ffff_ffffn,
    'beyond a double': 2n ** 53n + 1n,
    'of 200 bits': 2n ** 200n - 3n,
    negative: -5n,
    'negative and large': -(2n ** 70n),
  };
  for (const [name, nonce] of Object.entries(nonces)) {
    it(`echoes a nonce that is ${name}, byte for byte`, async () => {
      const contents = derInteger(nonce).slice(2);
      const fromDer = await granted(await postDer(encodeTimestampRequest({ imprint, nonce: contents })));
      expect(fromDer.nonce).toEqual(contents);
      const json = `{"artifactHash":"${base64(imprint.digest)}","hashAlgorithm":"sha256","nonce":${nonce}}`;
      expect((await granted(await postJson(json))).nonce).toEqual(contents);
    });
  }

  it('takes a policy that it offers, and refuses others', async () => {
    const message = 'unaccepted policy: requested TSA policy is not supported by the TSA';
    const json = (tsaPolicyOID: string) => ({
      artifactHash: base64(imprint.digest),
      hashAlgorithm: 'sha256',
      tsaPolicyOID,
    });
    for (const policy of [defaultPolicy, otherPolicy]) {
      expect((await granted(await postDer(encodeTimestampRequest({ imprint, policy }), full.url), 201)).policy).toBe(
        policy,
      );
      expect((await granted(await postJson(json(policy), full.url), 201)).policy).toBe(policy);
    }
    expect((await granted(await postJson(json('')))).policy).toBe(defaultPolicy);
    // Compared whole: neither a prefix nor a longer one.
    for (const policy of [otherPolicy, '1.3.6.1.4.1.57264', `${defaultPolicy}.1`]) {
      await expectError(await postDer(encodeTimestampRequest({ imprint, policy })), 400, message);
      await expectError(await postJson(json(policy)), 400, message);
    }
    const oidMessage = 'OID should be comprised of at most 128 components';
    for (const text of ['1', 'abc', '1..2', '3.1', `1.2${'.1'.repeat(200)}`]) {
      await expectError(await postJson(json(text)), 400, oidMessage);
    }
  });

  it('refuses every extension, critical or not', async () => {
    const message = 'unaccepted extension: requested extensions are not supported by the TSA';
    const extension = (critical: boolean) =>
      derSequence(derOid('1.2.3.4'), ...(critical ? [derBoolean(true)] : []), derOctetString(Uint8Array.of(5, 0)));
    for (const critical of [true, false]) {
      await expectError(
        await postDer(encodeTimestampRequest({ imprint, extensions: extension(critical) })),
        400,
        message,
      );
    }
  });

  it('refuses SHA-1 in its own words, and hashes that it does not know', async () => {
    const weak = 'Weak hash algorithm in timestamp request';
    await expectError(await postDer(der(derImprint('sha1', new Uint8Array(20)))), 400, weak);
    for (const hashAlgorithm of ['sha1', 'SHA1']) {
      await expectError(await postJson({ artifactHash: base64(new Uint8Array(20)), hashAlgorithm }), 400, weak);
    }
    await expectError(await postDer(der(derImprint('md5', new Uint8Array(16)))), 400, generic);
    for (const hashAlgorithm of ['md5', 'sha224', '', null, 256, undefined]) {
      await expectError(await postJson({ artifactHash: base64(imprint.digest), hashAlgorithm }), 400, generic);
    }
  });

  it('takes an imprint whose algorithm has no parameters', async () => {
    const token = await granted(await postDer(der(derImprint('sha256', imprint.digest, new Uint8Array()))));
    expect(token.imprint).toEqual(imprint);
  });

  const good = derImprint('sha256', imprint.digest);
  const malformed: Record<string, Uint8Array> = {
    'bytes after the end': concatBytes(der(good), Uint8Array.of(0)),
    'half of a request': der(good).slice(0, 20),
    'another version': derSequence(derInteger(2n), good),
    'no imprint': der(),
    'an empty digest': der(derImprint('sha256', new Uint8Array())),
    'fields in another order': der(good, derBoolean(true), derInteger(7n)),
    'a field twice': der(good, derInteger(7n), derInteger(8n)),
    'an unknown field': der(good, derElement(derTag.context(5), new Uint8Array())),
    'the default spelled out': der(good, derBoolean(false)),
    'an empty list of extensions': der(good, derElement(derTag.context(0), new Uint8Array())),
    'a nonce that is not minimal': der(good, derElement(derTag.integer, Uint8Array.of(0, 1))),
    text: new TextEncoder().encode('hello'),
  };
  for (const [name, bytes] of Object.entries(malformed)) {
    it(`refuses DER with ${name}`, async () => expectError(await postDer(bytes), 400, generic));
  }

  const hash = base64(imprint.digest);
  const badJson: Record<string, string> = {
    'that is no JSON': '{',
    'that is a list': '[]',
    'that is null': 'null',
    'without a digest': '{"hashAlgorithm":"sha256"}',
    'with an empty digest': '{"artifactHash":"","hashAlgorithm":"sha256"}',
    'with a digest that is not base64': '{"artifactHash":"!!!!","hashAlgorithm":"sha256"}',
    'with base64 of the other alphabet': `{"artifactHash":"${'_'.repeat(43)}=","hashAlgorithm":"sha256"}`,
    'with a nonce in quotes': `{"artifactHash":"${hash}","hashAlgorithm":"sha256","nonce":"7"}`,
    'with a fraction as nonce': `{"artifactHash":"${hash}","hashAlgorithm":"sha256","nonce":1.5}`,
    'with a list as nonce': `{"artifactHash":"${hash}","hashAlgorithm":"sha256","nonce":[1]}`,
    'with certificates as text': `{"artifactHash":"${hash}","hashAlgorithm":"sha256","certificates":"true"}`,
    'with bytes after it': `{"artifactHash":"${hash}","hashAlgorithm":"sha256"}x`,
  };
  for (const [name, json] of Object.entries(badJson)) {
    it(`refuses JSON ${name}`, async () => expectError(await postJson(json), 400, generic));
  }

  it('JSON: null is absent, and unknown members are ignored', async () => {
    const json = {
      artifactHash: hash,
      hashAlgorithm: 'sha256',
      nonce: null,
      tsaPolicyOID: null,
      certificates: null,
      x: 1,
    };
    expect((await granted(await postJson(json))).nonce).toBe(undefined);
  });

  it('JSON: at most 1024 bytes, so that no number is slow to read', async () => {
    const of = (length: number) => {
      const json = `{"artifactHash":"${hash}","hashAlgorithm":"sha256","nonce":1`;
      return `${json.padEnd(length - 1, '0')}}`;
    };
    await granted(await postJson(of(1024)));
    await expectError(await postJson(of(1025)), 400, 'timestamp request is too large');
    await expectError(await postJson(of(3000)), 400, 'timestamp request is too large');
  });

  it('a body over the limit is refused in the generic words', async () => {
    await expectError(await postDer(new Uint8Array((1 << 20) + 1)), 400, generic);
    await expectError(await postDer(new Uint8Array(100_000)), 400, 'timestamp request is too large');
  });

  it('no body is 422 with code 602', async () => {
    for (const contentType of [query, 'application/json']) {
      await expectError(
        await post(undefined, { 'content-type': contentType }),
        422,
        'request in body is required',
        602,
      );
      await expectError(await post('', { 'content-type': contentType }), 422, 'request in body is required', 602);
    }
  });

  it('the media type decides, in any case and with parameters', async () => {
    const request = encodeTimestampRequest({ imprint });
    for (const contentType of [query, 'Application/Timestamp-Query', `${query}; charset=utf-8`, `${query} ;x=y`]) {
      await granted(await post(request, { 'content-type': contentType }));
    }
    const json = JSON.stringify({ artifactHash: hash, hashAlgorithm: 'sha256' });
    await granted(await post(json, { 'content-type': 'application/json; charset=utf-8' }));
    // Each form under its own type only.
    await expectError(await post(json, { 'content-type': query }), 400, generic);
    await expectError(await post(request, { 'content-type': 'application/json' }), 400, generic);
  });

  const otherTypes: Record<string, string> = {
    'text/plain': 'text/plain',
    '': 'application/octet-stream',
    'multipart/form-data; boundary=application/json': 'multipart/form-data',
    'application/timestamp-reply': 'application/timestamp-reply',
    'application/jsonp': 'application/jsonp',
  };
  for (const [contentType, named] of Object.entries(otherTypes)) {
    it(`refuses Content-Type "${contentType}" with 415`, async () => {
      const message = `unsupported media type "${named}", only [application/json application/timestamp-query] are allowed`;
      const request = encodeTimestampRequest({ imprint });
      await expectError(await post(request, contentType === '' ? {} : { 'content-type': contentType }), 415, message);
    });
  }

  it('refuses a Content-Type that is none with 400, and says little about a long one', async () => {
    const request = encodeTimestampRequest({ imprint });
    for (const contentType of ['x application/json', 'json', `a/${';'.repeat(8000)}`]) {
      await expectError(await post(request, { 'content-type': contentType }), 400, generic);
    }
    const long = await post(request, { 'content-type': `a/${'b'.repeat(8000)}` });
    expect(long.status).toBe(415);
    expect((await long.text()).length).toBeLessThan(400);
  });

  it('an Accept that excludes timestamps is 406, every other will do', async () => {
    const request = encodeTimestampRequest({ imprint });
    const message = 'unsupported media type requested, only [application/timestamp-reply] are available';
    for (const accept of ['application/json', 'text/html, application/xml;q=0.9', 'image/*']) {
      await expectError(await post(request, { 'content-type': query, accept }), 406, message);
    }
    for (const accept of ['*/*', 'application/*', 'text/html, */*;q=0.1', 'Application/Timestamp-Reply', '']) {
      await granted(await post(request, { 'content-type': query, accept }));
    }
  });

  it('refuses to stamp once a certificate of its chain has expired, and says so in its log', async () => {
    const request = encodeTimestampRequest({ imprint });
    try {
      const leafEnd = parseCertificatePem(authorityFiles.chainPem)[0]?.notAfter ?? start;
      clock = leafEnd;
      await granted(await postDer(request));
      clock = new Date(leafEnd.getTime() + 1);
      await expectError(await postDer(request), 500, generic);
      expect(logged.at(-1)).toContain('has expired');
    } finally {
      clock = start;
    }
  });

  it('other methods are 405 with Allow, other paths 404', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(`${plain.url}/api/v1/timestamp`, { method });
      expect(response.headers.get('allow')).toBe('POST');
      await expectError(response, 405, `method ${method} is not allowed, but [POST] are`);
    }
    const response = await fetch(`${plain.url}/api/v1/timestamp/certchain`, { method: 'POST', body: 'x' });
    expect(response.headers.get('allow')).toBe('GET');
    await expectError(response, 405, 'method POST is not allowed, but [GET] are');
    for (const path of ['/api/v1/timestamp/', '/api/v1/timestamp/x', '/api/v1/timestamps']) {
      await expectError(await fetch(plain.url + path), 404, `path ${path} was not found`);
    }
  });
});

describe('GET /api/v1/timestamp/certchain', () => {
  it('gives the chain, signing certificate first and root last, for a day', async () => {
    const response = await fetch(`${plain.url}/api/v1/timestamp/certchain`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^application\/pem-certificate-chain\b/);
    expect(response.headers.get('cache-control')).toBe('max-age=86400, immutable');
    const served = parseCertificatePem(await response.text()).map((certificate) => encodeHex(certificate.der));
    expect(served).toEqual(
      parseCertificatePem(authorityFiles.chainPem).map((certificate) => encodeHex(certificate.der)),
    );
  });
});

describe('/ping', () => {
  it('answers GET and HEAD; other methods fall through', async () => {
    const response = await fetch(`${plain.url}/ping`);
    expect([response.status, await response.text()]).toEqual([200, '.']);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain\b/);
    expect((await fetch(`${plain.url}/ping`, { method: 'HEAD' })).status).toBe(200);
    await expectError(await fetch(`${plain.url}/ping`, { method: 'POST', body: 'x' }), 404, 'path /ping was not found');
  });
});

describe('readTsaConfig()', () => {
  it('reports every problem at once', () => {
    expect(() =>
      readTsaConfig({ CHANCERY_TSA_PORT: 'x', CHANCERY_TSA_HTTP_201: 'yes', CHANCERY_TSA_NTP: '1' }),
    ).toThrow(/NTP is not a setting.*PORT.*KEY_FILE.*CHAIN_FILE.*HTTP_201/s);
  });

  it('reads flags and lists', () => {
    const files = { CHANCERY_TSA_KEY_FILE: 'a', CHANCERY_TSA_CHAIN_FILE: 'b' };
    expect(readTsaConfig(files)).toMatchObject({
      CHANCERY_TSA_POLICIES: [defaultPolicy],
      CHANCERY_TSA_HTTP_201: false,
    });
    const given = readTsaConfig({
      ...files,
      CHANCERY_TSA_POLICIES: '1.2.3, 1.2.4',
      CHANCERY_TSA_INCLUDE_CHAIN: 'true',
    });
    expect(given).toMatchObject({ CHANCERY_TSA_POLICIES: ['1.2.3', '1.2.4'], CHANCERY_TSA_INCLUDE_CHAIN: true });
  });
});
