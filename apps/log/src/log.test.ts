// The Rekor v2 API over HTTP, inside the real stack: what is logged, what is refused, and the files that readers fetch.
import { constants, createHash, generateKeyPairSync, type KeyObject, sign, webcrypto } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { ed25519ph } from '@noble/curves/ed25519.js';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalizeJson, encodeBase64, encodeHex, equalBytes, parseBase64 } from '#libs/encoding';
import { entryAlgorithms } from '#libs/entry';
import { encodeTilePath, entryBundlePath, leafHash, parseEntryBundle, verifyInclusion } from '#libs/merkle';
import { bootHttp, createLog } from '#libs/nest';
import { ed25519NoteVerifier, parseCheckpoint, parseNote, verifyCheckpoint } from '#libs/note';
import { opensslCrypto, sha256, verifyDigestAsync } from '#libs/openssl';
import { TlogError, type TlogErrorCode, type Tree } from '#libs/tlog';
import { parseTrustedRoot, type TlogInstance } from '#libs/trust';
import { startWorld, type World } from '../../../test/world/index.js';
import { AppendEntry } from './append.js';
import { LogModule } from './app.module.js';
import { logShape } from './errors.js';
import { ReadTiles } from './read-tiles.js';

type Json = Record<string, unknown>;
interface TlogEntry {
  logIndex: string;
  inclusionProof: {
    logIndex: string;
    rootHash: string;
    treeSize: string;
    hashes: string[];
    checkpoint: { envelope: string };
  };
  canonicalizedBody: string;
}

let world: World;
let log: TlogInstance;

beforeAll(async () => {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  world = await startWorld();
  const [first] = parseTrustedRoot(await world.trustedRoot()).tlogs;
  if (first === undefined) throw new Error('the trusted root has no log');
  log = first;
});
afterAll(() => world.close());

const spkiOf = (key: KeyObject): Uint8Array => new Uint8Array(key.export({ type: 'spki', format: 'der' }));
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let counter = 0;
const nextMessage = (): Buffer => Buffer.from(`message ${++counter}`);

/** The members of a request as a client of Rekor v2 sends them, for a message that nobody signed before. */
function hashedRekord(message = nextMessage()) {
  return {
    digest: createHash('sha256').update(message).digest('base64'),
    signature: {
      content: sign('sha256', message, keys.privateKey).toString('base64'),
      verifier: {
        publicKey: { rawBytes: encodeBase64(spkiOf(keys.publicKey)) },
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      },
    },
  };
}
const wrap = (request: unknown): Json => ({ hashedRekordRequestV002: request });

function post(body: unknown, base = world.url): Promise<Response> {
  const bytes = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  return fetch(`${base}/api/v2/log/entries`, { method: 'POST', body: bytes as string });
}

async function accepted(body: unknown, base = world.url): Promise<TlogEntry> {
  const response = await post(body, base);
  const text = await response.text();
  expect(response.status, text).toBe(201);
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  return JSON.parse(text) as TlogEntry;
}

async function checkpoint(base = world.url): Promise<{ origin: string; size: bigint; rootHash: Uint8Array }> {
  return parseCheckpoint(parseNote(await (await fetch(`${base}/checkpoint`)).text()).text);
}

async function expectError(response: Response, status: number, code: number, message?: string | RegExp) {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  const body = JSON.parse(text) as { code: number; message: string; details: unknown };
  expect(Object.keys(body)).toEqual(['code', 'message', 'details']);
  expect(body.code).toBe(code);
  expect(body.details).toEqual([]);
  if (typeof message === 'string') expect(body.message).toBe(message);
  else expect(body.message).toMatch(message ?? /./);
}

/** Refused, and nothing stored. */
async function refused(body: unknown, message?: string | RegExp, base = world.url): Promise<void> {
  const before = await checkpoint(base);
  await expectError(await post(body, base), 400, 3, message);
  expect((await checkpoint(base)).size).toBe(before.size);
}
const invalid = 'invalid hashedrekord request';
const wrongType = 'invalid type, must be hashedrekord';

describe('POST /api/v2/log/entries', () => {
  it('answers 201 with a TransparencyLogEntry whose proof and checkpoint verify', async () => {
    const request = hashedRekord();
    const answer = (await accepted(wrap(request))) as TlogEntry & Json;
    const canonical = canonicalizeJson({
      apiVersion: '0.0.2',
      kind: 'hashedrekord',
      spec: {
        hashedRekordV002: { data: { algorithm: 'SHA2_256', digest: request.digest }, signature: request.signature },
      },
    });
    const { inclusionProof: proof } = answer;
    // Every field, also those that are empty: 64-bit numbers are strings, and the promise is null rather than absent.
    expect(answer).toEqual({
      logIndex: expect.stringMatching(/^\d+$/),
      logId: { keyId: encodeBase64(log.logId) },
      kindVersion: { kind: 'hashedrekord', version: '0.0.2' },
      integratedTime: '0',
      inclusionPromise: null,
      inclusionProof: {
        logIndex: answer.logIndex,
        rootHash: expect.any(String),
        treeSize: expect.stringMatching(/^[1-9]\d*$/),
        hashes: expect.any(Array),
        checkpoint: { envelope: expect.any(String) },
      },
      canonicalizedBody: encodeBase64(typeof canonical === 'string' ? Buffer.from(canonical) : canonical),
    });

    const origin = new URL(world.url).hostname;
    const verifier = ed25519NoteVerifier(origin, log.publicKey, opensslCrypto);
    const signed = await verifyCheckpoint(proof.checkpoint.envelope, [verifier], { origin });
    expect([signed.size.toString(), encodeBase64(signed.rootHash)]).toEqual([proof.treeSize, proof.rootHash]);
    verifyInclusion(sha256, {
      index: BigInt(answer.logIndex),
      size: signed.size,
      leafHash: leafHash(sha256, parseBase64(answer.canonicalizedBody)),
      proof: proof.hashes.map(parseBase64),
      root: signed.rootHash,
    });
    // The checkpoint of the answer is published by then, so a reader finds at least that size.
    expect((await checkpoint()).size).toBeGreaterThanOrEqual(signed.size);
    // C2SP signed-note: the name, a line feed, 0x01 and the key; all 32 bytes are the log id.
    const raw = log.publicKey.spki.slice(-32);
    expect(log.logId).toEqual(sha256(Buffer.concat([Buffer.from(`${origin}\n\x01`), raw])));
  });

  it('the same entry again gets 201 and the same index, and adds nothing', async () => {
    const request = wrap(hashedRekord());
    const first = await accepted(request);
    await accepted(wrap(hashedRekord()));
    const before = await checkpoint();
    const again = await accepted(request);
    expect([again.logIndex, again.canonicalizedBody]).toEqual([first.logIndex, first.canonicalizedBody]);
    expect(BigInt(again.inclusionProof.treeSize)).toBe(before.size);
    expect((await checkpoint()).size).toBe(before.size);
  });

  it('concurrent copies of one entry become one, others get an index each', async () => {
    const before = await checkpoint();
    const same = wrap(hashedRekord());
    const copies = await Promise.all(Array.from({ length: 10 }, () => accepted(same)));
    expect(new Set(copies.map(({ logIndex }) => logIndex)).size).toBe(1);
    const others = await Promise.all(Array.from({ length: 30 }, () => accepted(wrap(hashedRekord()))));
    const indexes = [...others.map(({ logIndex }) => BigInt(logIndex)), BigInt(copies[0]?.logIndex ?? -1)];
    const sorted = indexes.sort((a, b) => Number(a - b));
    expect(sorted).toEqual(Array.from({ length: 31 }, (_, i) => before.size + BigInt(i)));
  });

  it('reads every spelling that ProtoJSON has for one request, as one entry', async () => {
    const { digest, signature } = hashedRekord();
    const rawBytes = signature.verifier.publicKey.rawBytes;
    const first = await accepted(wrap({ digest, signature }));
    const urlSafe = (text: string) => text.replaceAll('+', '-').replaceAll('/', '_');
    const unpadded = (text: string) => text.replaceAll('=', '');
    const variants: Json[] = [
      { hashed_rekord_request_v002: { digest, signature } },
      wrap({
        digest,
        signature: {
          content: signature.content,
          verifier: { public_key: { raw_bytes: rawBytes }, key_details: 'PKIX_ECDSA_P256_SHA_256' },
        },
      }),
      wrap({ digest, signature: { ...signature, verifier: { ...signature.verifier, keyDetails: 5 } } }),
      wrap({ digest: unpadded(digest), signature: { ...signature, content: unpadded(signature.content) } }),
      wrap({ digest: urlSafe(digest), signature: { ...signature, content: urlSafe(signature.content) } }),
      wrap({ digest: unpadded(urlSafe(digest)), signature }),
      { dsseRequestV002: null, ...wrap({ digest, signature }) },
      wrap({ digest, signature: { ...signature, verifier: { ...signature.verifier, x509Certificate: null } } }),
    ];
    for (const variant of variants) expect((await accepted(variant)).logIndex).toBe(first.logIndex);
  });

  it('does not care for the Content-Type', async () => {
    for (const contentType of ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=latin1']) {
      const response = await fetch(`${world.url}/api/v2/log/entries`, {
        method: 'POST',
        headers: { 'content-type': contentType },
        body: JSON.stringify(wrap(hashedRekord())),
      });
      expect(response.status).toBe(201);
    }
  });

  it('takes a certificate in the place of the key', async () => {
    const message = nextMessage();
    const certificate = await selfSigned();
    const answer = await accepted(
      wrap({
        digest: createHash('sha256').update(message).digest('base64'),
        signature: {
          content: encodeBase64(certificate.sign(message)),
          verifier: {
            x509Certificate: { rawBytes: encodeBase64(certificate.der) },
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
          },
        },
      }),
    );
    const body = Buffer.from(answer.canonicalizedBody, 'base64').toString();
    expect(body).toContain(
      `"verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256","x509Certificate":{"rawBytes":"${encodeBase64(certificate.der)}"}}`,
    );
  });

  const ed = generateKeyPairSync('ed25519');
  const seed = new Uint8Array(ed.privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(-32));
  const rsaKeys = [2048, 3072, 4096].map((modulusLength) => generateKeyPairSync('rsa', { modulusLength }));
  const ecKeys = ['P-384', 'P-521'].map((namedCurve) => generateKeyPairSync('ec', { namedCurve }));
  const algorithms: Record<string, { hash: string; name: string; key: KeyObject; sign: (m: Buffer) => Uint8Array }> = {
    PKIX_ED25519_PH: { hash: 'sha512', name: 'SHA2_512', key: ed.publicKey, sign: (m) => ed25519ph.sign(m, seed) },
  };
  for (const [i, { publicKey, privateKey }] of rsaKeys.entries()) {
    algorithms[`PKIX_RSA_PKCS1V15_${2048 + 1024 * i}_SHA256`] = {
      hash: 'sha256',
      name: 'SHA2_256',
      key: publicKey,
      sign: (m) => sign('sha256', m, privateKey),
    };
  }
  for (const [i, { publicKey, privateKey }] of ecKeys.entries()) {
    const bits = i === 0 ? 384 : 512;
    algorithms[i === 0 ? 'PKIX_ECDSA_P384_SHA_384' : 'PKIX_ECDSA_P521_SHA_512'] = {
      hash: `sha${bits}`,
      name: `SHA2_${bits}`,
      key: publicKey,
      sign: (m) => sign(`sha${bits}`, m, privateKey),
    };
  }
  for (const [keyDetails, algorithm] of Object.entries(algorithms)) {
    it(`takes ${keyDetails}, and refuses it with another signature or a shorter digest`, async () => {
      const message = nextMessage();
      const digest = createHash(algorithm.hash).update(message).digest();
      const verifier = { publicKey: { rawBytes: encodeBase64(spkiOf(algorithm.key)) }, keyDetails };
      const content = Buffer.from(algorithm.sign(message)).toString('base64');
      const answer = await accepted(wrap({ digest: digest.toString('base64'), signature: { content, verifier } }));
      const body = Buffer.from(answer.canonicalizedBody, 'base64').toString();
      expect(body).toContain(`"data":{"algorithm":"${algorithm.name}"`);

      const other = Buffer.from(algorithm.sign(nextMessage())).toString('base64');
      await refused(wrap({ digest: digest.toString('base64'), signature: { content: other, verifier } }), invalid);
      const shorter = digest.subarray(1).toString('base64');
      await refused(wrap({ digest: shorter, signature: { content, verifier } }), invalid);
    });
  }
});

/** A certificate of no CA in particular: the log asks for none. */
async function selfSigned(extension = new Uint8Array([4, 0])) {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const usage: KeyUsage[] = ['sign'];
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const pkcs8 = own.privateKey.export({ type: 'pkcs8', format: 'der' });
  const certificate = await peculiar.X509CertificateGenerator.createSelfSigned({
    name: 'CN=somebody',
    serialNumber: '01',
    keys: {
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, usage),
      publicKey: await webcrypto.subtle.importKey('spki', spkiOf(own.publicKey), algorithm, true, ['verify']),
    },
    signingAlgorithm: algorithm,
    extensions: [new peculiar.Extension('1.2.3.4', false, extension)],
  });
  return {
    der: new Uint8Array(certificate.rawData),
    sign: (message: Buffer) => sign('sha256', message, own.privateKey),
  };
}
type KeyUsage = 'sign' | 'verify';

describe('what the log refuses', () => {
  it('each field in turn when it is missing, null or of another type (tiles#872)', async () => {
    const before = await checkpoint();
    const fields = [
      ...['hashedRekordRequestV002', 'hashedRekordRequestV002.digest', 'hashedRekordRequestV002.signature'],
      ...['hashedRekordRequestV002.signature.content', 'hashedRekordRequestV002.signature.verifier'],
      'hashedRekordRequestV002.signature.verifier.publicKey',
      'hashedRekordRequestV002.signature.verifier.publicKey.rawBytes',
      'hashedRekordRequestV002.signature.verifier.keyDetails',
    ];
    const values = [undefined, null, true, 0, 1.5, 1e300, '', 'x!', [], [1], {}, { x: 1 }];
    for (const field of fields) {
      for (const value of values) {
        const body = structuredClone(wrap(hashedRekord()));
        const path = field.split('.');
        const last = path.pop() ?? '';
        const parent = path.reduce<Json>((object, name) => object[name] as Json, body);
        if (value === undefined) delete parent[last];
        else parent[last] = value;
        const response = await post(body);
        expect([field, value, response.status]).toEqual([field, value, 400]);
        await expectError(response, 400, 3);
      }
    }
    expect((await checkpoint()).size).toBe(before.size);
  });

  it('an unknown field at each level', async () => {
    const request = hashedRekord();
    const { signature } = request;
    const { verifier } = signature;
    const bodies: Json[] = [
      { ...wrap(request), unknown: null },
      wrap({ ...request, unknown: null }),
      wrap({ ...request, signature: { ...signature, unknown: 1 } }),
      wrap({ ...request, signature: { ...signature, verifier: { ...verifier, unknown: 1 } } }),
      wrap({
        ...request,
        signature: { ...signature, verifier: { ...verifier, publicKey: { ...verifier.publicKey, x: 1 } } },
      }),
      { ...wrap(request), identityRequestV001: {} },
    ];
    for (const body of bodies) await refused(body, /unknown field/);
    await accepted(wrap(request));
  });

  it('both spellings of one field', async () => {
    const request = hashedRekord();
    await refused({ ...wrap(request), hashed_rekord_request_v002: request });
    const raw = request.signature.verifier.publicKey.rawBytes;
    const verifier = { ...request.signature.verifier, publicKey: { rawBytes: raw, raw_bytes: raw } };
    await refused(wrap({ ...request, signature: { ...request.signature, verifier } }));
  });

  it('both key and certificate, and both kinds of entry', async () => {
    const request = hashedRekord();
    const { der } = await selfSigned();
    const verifier = { ...request.signature.verifier, x509Certificate: { rawBytes: encodeBase64(der) } };
    await refused(wrap({ ...request, signature: { ...request.signature, verifier } }));
    await refused({ ...wrap(request), dsseRequestV002: {} });
  });

  const replaced: Record<string, (request: ReturnType<typeof hashedRekord>) => unknown> = {
    'a digest a byte short': (r) => ({ ...r, digest: Buffer.from(r.digest, 'base64').subarray(1).toString('base64') }),
    'a digest a byte long': (r) => ({
      ...r,
      digest: Buffer.concat([Buffer.from(r.digest, 'base64'), Buffer.of(0)]).toString('base64'),
    }),
    'another digest': (r) => ({ ...r, digest: hashedRekord().digest }),
    'a signature with one bit changed': (r) => ({
      ...r,
      signature: { ...r.signature, content: flipLastBit(r.signature.content) },
    }),
    'a signature with a byte after it': (r) => ({
      ...r,
      signature: {
        ...r.signature,
        content: Buffer.concat([Buffer.from(r.signature.content, 'base64'), Buffer.of(0)]).toString('base64'),
      },
    }),
    'a signature that is no DER': (r) => ({ ...r, signature: { ...r.signature, content: 'AAAA' } }),
    'another key': (r) =>
      withVerifier(r, {
        publicKey: { rawBytes: encodeBase64(spkiOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey)) },
      }),
    'a key that is no SubjectPublicKeyInfo': (r) => withVerifier(r, { publicKey: { rawBytes: 'AAAA' } }),
    'a key in PEM': (r) =>
      withVerifier(r, {
        publicKey: { rawBytes: Buffer.from(keys.publicKey.export({ type: 'spki', format: 'pem' })).toString('base64') },
      }),
    'a certificate that is none': (r) =>
      withVerifier(r, { publicKey: undefined, x509Certificate: { rawBytes: 'AAAA' } }),
    'a label of another hash': (r) => withVerifier(r, { keyDetails: 'PKIX_ECDSA_P384_SHA_384' }),
    'a label of another key type': (r) => withVerifier(r, { keyDetails: 'PKIX_RSA_PKCS1V15_2048_SHA256' }),
    'a label that does not exist': (r) => withVerifier(r, { keyDetails: 'PKIX_NOTHING' }),
    'a label in lower case': (r) => withVerifier(r, { keyDetails: 'pkix_ecdsa_p256_sha_256' }),
    'a label by an unknown number': (r) => withVerifier(r, { keyDetails: 4711 }),
    'the unspecified label': (r) => withVerifier(r, { keyDetails: 0 }),
    'a label as a number in a string': (r) => withVerifier(r, { keyDetails: '05' }),
  };
  for (const [name, change] of Object.entries(replaced)) {
    it(name, () => refused(wrap(change(hashedRekord()))));
  }

  function withVerifier(request: ReturnType<typeof hashedRekord>, change: Json): unknown {
    return { ...request, signature: { ...request.signature, verifier: { ...request.signature.verifier, ...change } } };
  }
  function flipLastBit(base64: string): string {
    const bytes = Buffer.from(base64, 'base64');
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    return bytes.toString('base64');
  }

  it('pure Ed25519, RSA-PSS and a small RSA key', async () => {
    const message = nextMessage();
    const ed = generateKeyPairSync('ed25519');
    const digest = (hash: string) => createHash(hash).update(message).digest('base64');
    const pure = { content: sign(null, message, ed.privateKey).toString('base64') };
    const edKey = { publicKey: { rawBytes: encodeBase64(spkiOf(ed.publicKey)) } };
    for (const keyDetails of ['PKIX_ED25519', 7, 'PKIX_ED25519_PH']) {
      await refused(
        wrap({ digest: digest('sha512'), signature: { ...pure, verifier: { ...edKey, keyDetails } } }),
        invalid,
      );
    }
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const content = sign('sha256', message, { key: rsa.privateKey, padding }).toString('base64');
    const rsaKey = { publicKey: { rawBytes: encodeBase64(spkiOf(rsa.publicKey)) } };
    for (const keyDetails of ['PKIX_RSA_PSS_2048_SHA256', 'PKIX_RSA_PKCS1V15_2048_SHA256']) {
      await refused(
        wrap({ digest: digest('sha256'), signature: { content, verifier: { ...rsaKey, keyDetails } } }),
        invalid,
      );
    }
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 });
    const smallKey = { publicKey: { rawBytes: encodeBase64(spkiOf(small.publicKey)) } };
    const smallContent = sign('sha256', message, small.privateKey).toString('base64');
    const verifier = { ...smallKey, keyDetails: 'PKIX_RSA_PKCS1V15_2048_SHA256' };
    await refused(wrap({ digest: digest('sha256'), signature: { content: smallContent, verifier } }), invalid);
  });

  it('a body that is no request', async () => {
    await refused('', wrongType);
    await refused('{}', wrongType);
    await refused({ hashedRekordRequestV002: null }, wrongType);
    for (const body of ['null', '[]', '"x"', '{', '{"hashedRekordRequestV002":', '\u0000', '{}{}']) await refused(body);
    await refused(Uint8Array.of(0x7b, 0xff, 0x7d));
    await refused(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
    await refused(`{"__proto__":${JSON.stringify(hashedRekord())}}`);
    await refused({ intotoRequestV002: {} });
  });

  it.each<[string, (length: number) => string]>([
    ['arrays in arrays', (length) => '['.repeat(length / 2) + ']'.repeat(length / 2)],
    ['members that nobody knows', (length) => `{${'"":0,'.repeat(length / 5)}"":0}`],
    ['objects', (length) => `[${'{},'.repeat(length / 3)}{}]`],
    ['verifiers', (length) => `{"dsseRequestV002":{"verifiers":[${'{},'.repeat(length / 3)}{}]}}`],
  ])('a body of very many %s, before it is read', async (_, body) => {
    const words = 'request is not a valid CreateEntryRequest: Cannot read the entry: body has too many values';
    await refused(body(4_000_000), words);
    await refused(body(70_000), words);
  });

  it('a body over the limit, with 413', async () => {
    const before = await checkpoint();
    const body = JSON.stringify(wrap({ ...hashedRekord(), digest: 'A'.repeat(4 << 20) }));
    await expectError(await post(body), 413, 3, 'http: request body too large');
    expect((await checkpoint()).size).toBe(before.size);
  });

  it('an entry too long for a bundle', async () => {
    // The certificate is well-formed and its signature right: only the length is wrong.
    const attempt = async (length: number) => {
      const message = nextMessage();
      const certificate = await selfSigned(new Uint8Array(length));
      const verifier = {
        x509Certificate: { rawBytes: encodeBase64(certificate.der) },
        keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      };
      const digest = createHash('sha256').update(message).digest('base64');
      return wrap({ digest, signature: { content: encodeBase64(certificate.sign(message)), verifier } });
    };
    await accepted(await attempt(48_000));
    await refused(await attempt(49_500), /^invalid entry: .*65535 bytes$/);
  });

  it('other methods with 501, and unknown paths with 404', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const response = await fetch(`${world.url}/api/v2/log/entries`, { method });
      await expectError(response, 501, 12, 'Method Not Allowed');
    }
    for (const path of ['/api/v2/checkpoint', '/checkpoint', '/api/v2/tile/0/000', '/tile/entries/000']) {
      await expectError(await fetch(world.url + path, { method: 'POST', body: '{}' }), 501, 12, 'Method Not Allowed');
    }
    for (const path of ['/api/v2/log/', '/api/v2/log/entries/', '/api/v2/log/entries/0', '/api/v2/log/index']) {
      await expectError(await fetch(world.url + path), 404, 5, 'Not Found');
      await expectError(await fetch(world.url + path, { method: 'POST', body: '{}' }), 404, 5, 'Not Found');
    }
  });
});

describe('dsse 0.0.2', () => {
  const pae = (type: string, payload: Buffer) =>
    Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload]);
  function dsse(payload = nextMessage(), type = 'application/vnd.in-toto+json') {
    return {
      dsseRequestV002: {
        envelope: {
          payload: payload.toString('base64'),
          payloadType: type,
          signatures: [{ sig: sign('sha256', pae(type, payload), keys.privateKey).toString('base64'), keyid: 'x' }],
        },
        verifiers: [hashedRekord().signature.verifier],
      },
    };
  }

  it('is logged as the digest of its payload and its signatures', async () => {
    const payload = nextMessage();
    const request = dsse(payload);
    const answer = (await accepted(request)) as TlogEntry & { kindVersion: unknown };
    expect(answer.kindVersion).toEqual({ kind: 'dsse', version: '0.0.2' });
    const { envelope, verifiers } = request.dsseRequestV002;
    expect(JSON.parse(Buffer.from(answer.canonicalizedBody, 'base64').toString())).toEqual({
      apiVersion: '0.0.2',
      kind: 'dsse',
      spec: {
        dsseV002: {
          payloadHash: { algorithm: 'SHA2_256', digest: createHash('sha256').update(payload).digest('base64') },
          signatures: [{ content: envelope.signatures[0]?.sig, verifier: verifiers[0] }],
        },
      },
    });
    expect((await accepted(request)).logIndex).toBe(answer.logIndex);
  });

  it('is refused with another payload, type, or without one of its fields', async () => {
    const { dsseRequestV002: good } = dsse();
    const { envelope, verifiers } = good;
    const wrong = [
      { envelope: { ...envelope, payload: dsse().dsseRequestV002.envelope.payload }, verifiers },
      { envelope: { ...envelope, payloadType: 'text/plain' }, verifiers },
      { envelope: { ...envelope, signatures: [] }, verifiers },
      { envelope: { ...envelope, signatures: [...envelope.signatures, ...envelope.signatures] }, verifiers },
      { envelope, verifiers: [] },
      { envelope, verifiers: [...verifiers, ...verifiers] },
      { envelope: { ...envelope, payload: null }, verifiers },
      { envelope: { ...envelope, signatures: null }, verifiers },
      { envelope: { ...envelope, signatures: [null] }, verifiers },
      { envelope: { ...envelope, signatures: [{}] }, verifiers },
      { envelope: null, verifiers },
      { envelope, verifiers: null },
      { envelope, verifiers: [null] },
      { envelope, verifiers, unknown: 1 },
    ];
    for (const dsseRequestV002 of wrong) await refused({ dsseRequestV002 });
    await accepted({ dsseRequestV002: good });
  });

  it('is refused when it is about more than it could be found by', async () => {
    const about = (count: number) => {
      const subject = Array.from({ length: count }, (_, i) => ({ digest: { x: `${i}` } }));
      return dsse(Buffer.from(JSON.stringify({ subject })));
    };
    await refused(about(899), 'invalid entry: entry has more than the 900 search keys that are kept');
    await accepted(about(898));
  });

  describe('and with other settings', () => {
    let strict: World;
    beforeAll(async () => {
      strict = await startWorld({
        environment: { CHANCERY_LOG_DUPLICATES: 'conflict', CHANCERY_LOG_DSSE: 'false' },
      });
    });
    afterAll(() => strict.close());

    it('CHANCERY_LOG_DSSE=false refuses it', async () => {
      await accepted(wrap(hashedRekord()), strict.url);
      await refused(dsse(), wrongType, strict.url);
    });

    it('CHANCERY_LOG_DUPLICATES=conflict answers 409 with the index', async () => {
      const request = wrap(hashedRekord());
      const { logIndex } = await accepted(request, strict.url);
      const before = await checkpoint(strict.url);
      const response = await post(request, strict.url);
      expect(response.headers.get('x-log-index')).toBe(logIndex);
      const message = `an equivalent entry already exists in the transparency log with index ${logIndex}`;
      await expectError(response, 409, 6, message);
      expect((await checkpoint(strict.url)).size).toBe(before.size);
    });
  });
});

describe('the read path', () => {
  const total = 300;
  const leaves: Uint8Array[] = [];
  let bodies: Uint8Array[];

  beforeAll(async () => {
    const missing = total - Number((await checkpoint()).size);
    const known = new Map<bigint, Uint8Array>();
    for (let added = 0; added < missing; added += 20) {
      const batch = Array.from({ length: Math.min(20, missing - added) }, () => accepted(wrap(hashedRekord())));
      for (const { logIndex, canonicalizedBody } of await Promise.all(batch)) {
        known.set(BigInt(logIndex), parseBase64(canonicalizedBody));
      }
    }
    bodies = [
      ...parseEntryBundle(await bytesOf('/tile/entries/000'), 256),
      ...parseEntryBundle(await bytesOf('/tile/entries/001.p/44'), 44),
    ];
    for (const [index, body] of known) expect(bodies[Number(index)]).toEqual(body);
    leaves.push(...bodies.map((body) => leafHash(sha256, body)));
  });

  async function bytesOf(path: string): Promise<Uint8Array> {
    const response = await fetch(world.url + path);
    expect(response.status, path).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('cache-control')).toBe('public, max-age=604800, immutable');
    return new Uint8Array(await response.arrayBuffer());
  }

  for (const prefix of ['/api/v2', '']) {
    it(`${prefix}/checkpoint is the signed head, never cached`, async () => {
      const response = await fetch(`${world.url}${prefix}/checkpoint`);
      expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
      expect(response.headers.get('cache-control')).toBe('no-cache');
      const text = await response.text();
      const origin = new URL(world.url).hostname;
      const { size } = await verifyCheckpoint(text, [ed25519NoteVerifier(origin, log.publicKey, opensslCrypto)], {
        origin,
      });
      expect(size).toBe(BigInt(total));
      const head = await fetch(`${world.url}${prefix}/checkpoint`, { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
    });

    it(`${prefix}/tile: full and partial tiles and bundles`, async () => {
      for (const [index, width] of [
        [0n, 256],
        [0n, 1],
        [0n, 255],
        [1n, 44],
        [1n, 7],
      ] as const) {
        const start = Number(index) * 256;
        const hashes = await bytesOf(`${prefix}/${encodeTilePath({ level: 0, index, width })}`);
        expect(equalBytes(hashes, Buffer.concat(leaves.slice(start, start + width)))).toBe(true);
        const entries = parseEntryBundle(await bytesOf(`${prefix}/${entryBundlePath(index, width)}`), width);
        expect(entries.map(encodeHex)).toEqual(bodies.slice(start, start + width).map(encodeHex));
      }
      expect(await bytesOf(`${prefix}/tile/1/000.p/1`)).toHaveLength(32);
    });

    const missing = [
      ...[
        'tile/0/001',
        'tile/0/001.p/45',
        'tile/0/002.p/1',
        'tile/1/000',
        'tile/1/000.p/2',
        'tile/2/000.p/1',
        'tile/63/000',
      ],
      ...['tile/entries/001', 'tile/entries/001.p/45', 'tile/entries/002', 'tile/0/x999/x999/x999/x999/x999/x999/999'],
      ...['tile/0/-01', 'tile/0/-1', 'tile/-1/000', 'tile/00/000', 'tile/64/000', 'tile/0/x000/001', 'tile/0/x000/000'],
      ...[
        'tile/0/0',
        'tile/0/00',
        'tile/0/0000',
        'tile/0/000.p/0',
        'tile/0/000.p/256',
        'tile/0/000.p/01',
        'tile/0/000.p/',
      ],
      ...[
        'tile/0/000/',
        'tile/0//000',
        'tile//0/000',
        'tile/0/000.p/1/',
        'tile/0/000?a',
        'tile/0/000%2ep/1',
        'tile/%30/000',
      ],
      ...['tile/0/%2e%2e/0/000', 'tile/0/../0/000', 'tile/entries/../0/000', 'tile/%2e%2e/checkpoint', 'tile/data/000'],
      ...[
        'tile/entries/x000/000',
        'tile/entries/-01',
        'tile/entries/',
        'tile/',
        'tile/0',
        'tile/0/\\000',
        'tile/0/000%00',
      ],
      ...[
        'tile/0/0x0',
        'tile/0/1e2',
        'tile/0/+00',
        'tile/0/%2000',
        'tile/entries/000.p/-1',
        'tile/0/%d9%a0%d9%a0%d9%a0',
      ],
    ];
    it.each(missing.map((path) => `${prefix}/${path}`))('%s is not found', async (path) => {
      const { status, headers } = await raw(path);
      expect(status).toBe(404);
      // Found later, when the tree has grown: no cache may keep this.
      expect(headers['cache-control']).toBe('no-store');
    });
  }

  function raw(path: string): Promise<{ status: number | undefined; headers: Record<string, unknown> }> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(world.url, { path }, (response) => {
        response.resume();
        resolve({ status: response.statusCode, headers: response.headers });
      });
      request.on('error', reject);
      request.end();
    });
  }

  it('a restart keeps every entry and its index', async () => {
    const before = await checkpoint();
    const request = wrap(hashedRekord());
    const { logIndex } = await accepted(request);
    await world.restart();
    expect((await checkpoint()).size).toBe(before.size + 1n);
    expect((await accepted(request)).logIndex).toBe(logIndex);
    expect(parseEntryBundle(await bytesOf('/tile/entries/000'), 256).map(encodeHex)).toEqual(
      bodies.slice(0, 256).map(encodeHex),
    );
  });
});

describe('when the engine cannot take the entry', () => {
  const secret = '/var/lib/secret/chancery.db: SQLITE_IOERR';
  const expected: Record<TlogErrorCode, [status: number, code: number, retryAfter: boolean]> = {
    TLOG_BUSY: [503, 14, true],
    TLOG_STORE: [503, 14, true],
    TLOG_CLOSED: [503, 14, true],
    TLOG_CORRUPT: [503, 14, true],
    TLOG_ROLLED_BACK: [503, 14, true],
    TLOG_LOCKED: [503, 14, true],
    TLOG_KEY: [500, 13, false],
    TLOG_MISSING: [500, 13, false],
    TLOG_RANGE: [500, 13, false],
    TLOG_RECORD: [400, 3, false],
  };
  const cases: [name: string, error: Error, status: number, code: number, retryAfter: boolean][] = [
    ...Object.entries(expected).map(([code, row]): [string, Error, number, number, boolean] => [
      code,
      new TlogError(code as TlogErrorCode, secret),
      ...row,
    ]),
    ['a bug of ours', new Error(secret), 500, 13, false],
  ];

  it.each(cases)('%s', async (_name, error, status, code, retryAfter) => {
    // A tree at the edge of its strength: everything else is real.
    const tree = {
      add: () => Promise.reject(error),
      readTile: () => Promise.reject(error),
    } as unknown as Tree;
    const lines: string[] = [];
    const app = await bootHttp(
      LogModule.register({
        append: new AppendEntry({
          tree,
          logId: new Uint8Array(32),
          hash: opensslCrypto.hash,
          verifyDigest: verifyDigestAsync,
          algorithms: entryAlgorithms,
          acceptDsse: true,
          duplicates: 'receipt',
        }),
        tiles: new ReadTiles(tree),
      }),
      {
        host: '127.0.0.1',
        port: 0,
        shapes: [logShape],
        bodyLimit: 1 << 20,
        log: createLog({ format: 'json', now: () => new Date(), write: (line) => void lines.push(line) }),
      },
    );
    try {
      const url = await app.getUrl();
      for (const response of [await post(wrap(hashedRekord()), url), await fetch(`${url}/tile/0/000`)]) {
        expect(response.headers.has('retry-after')).toBe(retryAfter);
        expect(response.headers.get('cache-control')).toBe('no-store');
        expect(await response.clone().text()).not.toContain('secret');
        await expectError(response, status, code);
      }
      // Whoever runs the server reads what it was.
      expect(lines.join('')).toContain('SQLITE_IOERR');
    } finally {
      await app.close();
    }
  });
});
