import fc from 'fast-check';
import { encodeBase64, encodeBase64Url } from '#libs/encoding';
import { describe, expect, it } from 'vitest';
import { chooseEntryAlgorithms, entryAlgorithms, EntryError, parseCreateEntryRequest } from './index.js';
import { createEntryRequestSchema } from './proposals.js';
import { protoName } from './proto-json.js';

// Bytes whose base64 has characters of both alphabets' differences, and needs padding.
const bytes = (length: number, start: number) => Uint8Array.from({ length }, (_, i) => 0xff - ((start + i) % 7));
const digest = bytes(32, 0);
const content = bytes(71, 1);
const spki = bytes(91, 2);
const certificate = bytes(500, 3);

const hashedRekord = () => ({
  hashedRekordRequestV002: {
    digest: encodeBase64(digest),
    signature: {
      content: encodeBase64(content),
      verifier: { publicKey: { rawBytes: encodeBase64(spki) }, keyDetails: 'PKIX_ECDSA_P256_SHA_256' },
    },
  },
});
const dsse = () => ({
  dsseRequestV002: {
    envelope: {
      payload: encodeBase64(bytes(40, 4)),
      payloadType: 'application/vnd.in-toto+json',
      signatures: [{ sig: encodeBase64(content), keyid: '' }],
    },
    verifiers: [{ x509Certificate: { rawBytes: encodeBase64(certificate) }, keyDetails: 'PKIX_ECDSA_P256_SHA_256' }],
  },
});
const parsed = {
  kind: 'hashedrekord',
  digest,
  signature: content,
  keyDetails: 'PKIX_ECDSA_P256_SHA_256',
  verifier: { publicKey: spki },
};

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** The request with the value at `path` replaced, or removed if `value` is undefined. */
function changed(request: Json, path: readonly string[], value: Json | undefined): Json {
  const copy = structuredClone(request);
  let at = copy as { [name: string]: Json }; // each path below leads through objects and arrays
  for (const name of path.slice(0, -1)) at = at[name] as { [name: string]: Json };
  const last = path[path.length - 1] ?? '';
  if (value === undefined) Reflect.deleteProperty(at, last);
  else at[last] = value;
  return copy;
}

/** Every path into the request, the inner ones too. */
function paths(value: Json, prefix: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, child]) => [[...prefix, name], ...paths(child, [...prefix, name])]);
}

/** What the parser says; each time it also makes sure that the schema in the documents says the same of the JSON. */
function outcome(request: unknown): string {
  const answer = parserOutcome(request);
  const { success } = createEntryRequestSchema.safeParse(request);
  if (success !== (answer !== 'ENTRY_JSON')) throw new Error(`The parser says ${answer}, the schema ${success}`);
  return answer;
}

/** The request with one of its fields changed. */
function varied(request: Json, { at, how, value }: { at: number; how: string; value: unknown }): Json {
  const all = paths(request);
  const path = all[at % all.length];
  if (path === undefined) return request;
  const last = path[path.length - 1] ?? '';
  const json = value as Json; // made by fc.jsonValue and the like
  let old: Json | undefined = request;
  for (const name of path) old = (old as { [name: string]: Json })[name];
  const isItem = /^[0-9]+$/.test(last);
  const sibling = (name: string) => [...path.slice(0, -1), name];
  switch (how) {
    case 'replace':
      return changed(request, path, json);
    case 'remove':
      return isItem ? request : changed(request, path, undefined);
    case 'respell':
      return isItem ? request : changed(changed(request, path, undefined), sibling(protoName(last)), old);
    case 'both spellings':
      return isItem ? request : changed(request, sibling(protoName(last)), json);
    case 'beside':
      return isItem ? request : changed(request, sibling(last === 'publicKey' ? 'x509Certificate' : 'publicKey'), json);
    default:
      return isItem ? request : changed(request, sibling('other'), json);
  }
}

function parserOutcome(request: unknown): string {
  try {
    return parseCreateEntryRequest(request).kind;
  } catch (error) {
    if (!(error instanceof EntryError)) throw error;
    return error.reason === undefined ? error.code : `${error.code} ${error.reason}`;
  }
}

const H = 'hashedRekordRequestV002';
const V = `${H}.signature.verifier`;

describe('parseCreateEntryRequest()', () => {
  it('reads a hashedrekord with a public key', () => {
    expect(parseCreateEntryRequest(hashedRekord())).toEqual(parsed);
  });

  it('reads a hashedrekord with a certificate', () => {
    const verifier = {
      x509Certificate: { rawBytes: encodeBase64(certificate) },
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
    };
    const request = changed(hashedRekord(), [H, 'signature', 'verifier'], verifier);
    expect(parseCreateEntryRequest(request)).toEqual({ ...parsed, verifier: { x509Certificate: certificate } });
  });

  it('reads an envelope', () => {
    expect(parseCreateEntryRequest(dsse())).toEqual({
      kind: 'dsse',
      payload: bytes(40, 4),
      payloadType: 'application/vnd.in-toto+json',
      signatures: [content],
      verifiers: [{ keyDetails: 'PKIX_ECDSA_P256_SHA_256', verifier: { x509Certificate: certificate } }],
    });
  });

  it('refuses a payload type that UTF-8 cannot carry, which nobody could have signed', () => {
    const request = changed(dsse(), ['dsseRequestV002', 'envelope', 'payloadType'], '\ud800');
    expect(() => parseCreateEntryRequest(request)).toThrow(expect.objectContaining({ code: 'ENTRY_JSON' }));
  });

  // log-v2 trap 2 and the rules of proto3 JSON
  it('reads snake_case names', () => {
    const snake = JSON.stringify(hashedRekord())
      .replace('hashedRekordRequestV002', 'hashed_rekord_request_v002')
      .replace('publicKey', 'public_key')
      .replace('rawBytes', 'raw_bytes')
      .replace('keyDetails', 'key_details');
    expect(parseCreateEntryRequest(JSON.parse(snake))).toEqual(parsed);
    const dsseSnake = JSON.stringify(dsse())
      .replace('dsseRequestV002', 'dsse_request_v002')
      .replace('payloadType', 'payload_type')
      .replace('x509Certificate', 'x509_certificate');
    expect(parseCreateEntryRequest(JSON.parse(dsseSnake))).toEqual(parseCreateEntryRequest(dsse()));
  });

  it.each<[string, (bytes: Uint8Array) => string]>([
    ['unpadded', (b) => encodeBase64(b).replace(/=+$/, '')],
    ['URL-safe and unpadded', encodeBase64Url],
    ['URL-safe and padded', (b) => encodeBase64(b).replaceAll('+', '-').replaceAll('/', '_')],
  ])('reads base64 that is %s', (_, encode) => {
    let request = changed(hashedRekord(), [H, 'digest'], encode(digest));
    request = changed(request, [H, 'signature', 'content'], encode(content));
    request = changed(request, [...V.split('.'), 'publicKey', 'rawBytes'], encode(spki));
    expect(parseCreateEntryRequest(request)).toEqual(parsed);
  });

  it('reads the enumeration by number', () => {
    expect(parseCreateEntryRequest(changed(hashedRekord(), [...V.split('.'), 'keyDetails'], 5))).toEqual(parsed);
  });

  it('takes null for absent', () => {
    const verifier = V.split('.');
    expect(parseCreateEntryRequest({ ...hashedRekord(), dsseRequestV002: null })).toEqual(parsed);
    expect(parseCreateEntryRequest(changed(hashedRekord(), [...verifier, 'x509Certificate'], null))).toEqual(parsed);
  });

  it.each<[string, unknown, string]>([
    ['no fields', {}, 'ENTRY_TYPE'],
    ['null for the entry', { hashedRekordRequestV002: null }, 'ENTRY_TYPE'],
    ['null', null, 'ENTRY_JSON'],
    ['nothing', undefined, 'ENTRY_JSON'],
    ['an array', [], 'ENTRY_JSON'],
    ['a text', 'entry', 'ENTRY_JSON'],
    ['both types', { ...hashedRekord(), ...dsse() }, 'ENTRY_JSON'],
    ['an unknown type', { identityRequestV001: {} }, 'ENTRY_JSON'],
    ['an own __proto__', JSON.parse('{"__proto__": {}}'), 'ENTRY_JSON'],
    ['an own constructor', { constructor: {} }, 'ENTRY_JSON'],
    ['both spellings', { ...hashedRekord(), hashed_rekord_request_v002: null }, 'ENTRY_JSON'],
    ['an empty entry', { hashedRekordRequestV002: {} }, 'ENTRY_INVALID missing-signature'],
  ])('given %s says so', (_, request, expected) => {
    expect(outcome(request)).toBe(expected);
  });

  it('refuses a key beside a certificate', () => {
    const both = changed(hashedRekord(), [...V.split('.'), 'x509Certificate'], { rawBytes: encodeBase64(certificate) });
    expect(outcome(both)).toBe('ENTRY_JSON');
    const empty = changed(hashedRekord(), [...V.split('.'), 'x509Certificate'], {});
    expect(outcome(empty)).toBe('ENTRY_JSON');
  });

  // GHSA-frqx, CVE-2026-23831: every field of every kind dropped, nulled, or of another type.
  const missing: Record<string, string> = {
    [H]: 'ENTRY_TYPE',
    [`${H}.digest`]: 'ENTRY_INVALID missing-digest',
    [`${H}.signature`]: 'ENTRY_INVALID missing-signature',
    [`${H}.signature.content`]: 'ENTRY_INVALID missing-signature',
    [V]: 'ENTRY_INVALID missing-verifier',
    [`${V}.publicKey`]: 'ENTRY_INVALID missing-key',
    [`${V}.publicKey.rawBytes`]: 'ENTRY_INVALID missing-key',
    [`${V}.keyDetails`]: 'ENTRY_INVALID algorithm-unknown',
    dsseRequestV002: 'ENTRY_TYPE',
    'dsseRequestV002.envelope': 'ENTRY_INVALID missing-payload',
    'dsseRequestV002.envelope.payload': 'ENTRY_INVALID missing-payload',
    'dsseRequestV002.envelope.payloadType': 'dsse',
    'dsseRequestV002.envelope.signatures': 'ENTRY_INVALID missing-signature',
    'dsseRequestV002.envelope.signatures.0.sig': 'ENTRY_INVALID missing-signature',
    'dsseRequestV002.envelope.signatures.0.keyid': 'dsse',
    'dsseRequestV002.verifiers': 'ENTRY_INVALID missing-verifier',
    'dsseRequestV002.verifiers.0.x509Certificate': 'ENTRY_INVALID missing-key',
    'dsseRequestV002.verifiers.0.x509Certificate.rawBytes': 'ENTRY_INVALID missing-key',
    'dsseRequestV002.verifiers.0.keyDetails': 'ENTRY_INVALID algorithm-unknown',
  };
  const elements = ['dsseRequestV002.envelope.signatures.0', 'dsseRequestV002.verifiers.0'];
  const everyField = [hashedRekord(), dsse()].flatMap((request: Json) =>
    paths(request).map((path) => [path.join('.'), request, path] as const),
  );

  it('has an expectation for every field', () => {
    const names = everyField.map(([name]) => name).filter((name) => !elements.includes(name));
    expect(names.sort()).toEqual(Object.keys(missing).sort());
  });

  it.each(everyField)('knows what is missing without %s', (name, request, path) => {
    if (elements.includes(name)) {
      expect(outcome(changed(request, path, null))).toBe('ENTRY_JSON');
      return;
    }
    expect(outcome(changed(request, path, undefined))).toBe(missing[name]);
    expect(outcome(changed(request, path, null))).toBe(missing[name]);
  });

  it.each(everyField)('refuses another type for %s', (_, request, path) => {
    let value: Json | undefined = request;
    for (const name of path) value = (value as { [name: string]: Json })[name];
    const shape = (json: Json | undefined) => (Array.isArray(json) ? 'array' : typeof json);
    const isEnum = path[path.length - 1] === 'keyDetails';
    const wrong: Json[] = [true, isEnum ? 1.5 : 7, [], {}, isEnum ? 2 ** 31 : 'ä', 'PKIX'];
    for (const other of wrong) {
      // A text for a text is another value, not another type; bytes and enumerations still must be spelled right.
      if (shape(other) === shape(value) && !(isEnum || other === 'ä')) continue;
      if (path[path.length - 1] === 'payloadType' && typeof other === 'string') continue;
      if (path[path.length - 1] === 'keyid' && typeof other === 'string') continue;
      expect(`${JSON.stringify(other)}: ${outcome(changed(request, path, other))}`).toBe(
        `${JSON.stringify(other)}: ENTRY_JSON`,
      );
    }
  });

  it.each(everyField.filter(([, , path]) => path.length > 1))(
    'refuses an unknown field beside %s',
    (_, request, path) => {
      const beside = [...path.slice(0, -1), 'extra'];
      const isInArray = /^[0-9]+$/.test(path[path.length - 1] ?? '');
      if (!isInArray) expect(outcome(changed(request, beside, null))).toBe('ENTRY_JSON');
      expect(outcome({ ...(request as object), extra: 1 })).toBe('ENTRY_JSON');
    },
  );

  it('checks in the order of upstream: signature, verifier, digest, key, algorithm, digest length', () => {
    let request: Json = { hashedRekordRequestV002: {} };
    const steps: [string[], Json, string][] = [
      [[H, 'signature'], { content: '' }, 'missing-signature'],
      [[H, 'signature', 'content'], 'AAAA', 'missing-verifier'],
      [[H, 'signature', 'verifier'], {}, 'missing-digest'],
      [[H, 'digest'], 'AAAA', 'missing-key'],
      [[H, 'signature', 'verifier', 'publicKey'], { rawBytes: 'AAAA' }, 'algorithm-unknown'],
      [[H, 'signature', 'verifier', 'keyDetails'], 'PKIX_ED25519', 'algorithm-not-allowed'],
      [[H, 'signature', 'verifier', 'keyDetails'], 'PKIX_ECDSA_P256_SHA_256', 'digest-length'],
    ];
    for (const [path, value, reason] of steps) {
      request = changed(request, path, value);
      expect(outcome(request)).toBe(`ENTRY_INVALID ${reason}`);
    }
    expect(outcome(changed(request, [H, 'digest'], encodeBase64(digest)))).toBe('hashedrekord');
  });

  const withKeyDetails = (keyDetails: Json, length: number) =>
    changed(
      changed(hashedRekord(), [...V.split('.'), 'keyDetails'], keyDetails),
      [H, 'digest'],
      encodeBase64(bytes(length, 0)),
    );

  it.each([
    ['PKIX_ECDSA_P256_SHA_256', 5, 32],
    ['PKIX_ECDSA_P384_SHA_384', 12, 48],
    ['PKIX_ECDSA_P521_SHA_512', 13, 64],
    ['PKIX_RSA_PKCS1V15_2048_SHA256', 9, 32],
    ['PKIX_RSA_PKCS1V15_3072_SHA256', 10, 32],
    ['PKIX_RSA_PKCS1V15_4096_SHA256', 11, 32],
    ['PKIX_ED25519_PH', 8, 64],
  ])('allows %s, with the length of its digest only', (name, number, length) => {
    for (const keyDetails of [name, number]) {
      expect(parseCreateEntryRequest(withKeyDetails(keyDetails, length))).toMatchObject({ keyDetails: name });
      for (const other of [20, 32, 48, 64].filter((candidate) => candidate !== length)) {
        expect(outcome(withKeyDetails(keyDetails, other))).toBe('ENTRY_INVALID digest-length');
      }
    }
  });

  it.each<[Json, string]>([
    ['PKIX_ED25519', 'ENTRY_INVALID algorithm-not-allowed'],
    [7, 'ENTRY_INVALID algorithm-not-allowed'],
    ['PKIX_RSA_PSS_2048_SHA256', 'ENTRY_INVALID algorithm-not-allowed'],
    ['PKIX_ECDSA_P384_SHA_256', 'ENTRY_INVALID algorithm-not-allowed'],
    ['PKIX_ECDSA_P521_SHA_256', 'ENTRY_INVALID algorithm-not-allowed'],
    ['PKCS1_RSA_PKCS1V5', 'ENTRY_INVALID algorithm-not-allowed'],
    ['PUBLIC_KEY_DETAILS_UNSPECIFIED', 'ENTRY_INVALID algorithm-unknown'],
    [0, 'ENTRY_INVALID algorithm-unknown'],
    ['ML_DSA_65', 'ENTRY_INVALID algorithm-unknown'],
    ['LMS_SHA256', 'ENTRY_INVALID algorithm-unknown'],
    [21, 'ENTRY_INVALID algorithm-unknown'],
    [-1, 'ENTRY_INVALID algorithm-unknown'],
    ['NONE', 'ENTRY_JSON'],
    ['5', 'ENTRY_JSON'],
    ['', 'ENTRY_JSON'],
    [1e300, 'ENTRY_JSON'],
  ])('answers key details %s with %s', (keyDetails, expected) => {
    expect(outcome(withKeyDetails(keyDetails, 32))).toBe(expected);
  });

  it('allows only what the log allows', () => {
    const algorithms = chooseEntryAlgorithms(['ecdsa-sha2-384-nistp384']);
    expect(() => parseCreateEntryRequest(hashedRekord(), { algorithms })).toThrow(
      expect.objectContaining({ reason: 'algorithm-not-allowed' }),
    );
    expect(() => parseCreateEntryRequest(dsse(), { algorithms })).toThrow(
      expect.objectContaining({ reason: 'algorithm-not-allowed' }),
    );
    const allowed = parseCreateEntryRequest(withKeyDetails('PKIX_ECDSA_P384_SHA_384', 48), { algorithms });
    expect(allowed.kind).toBe('hashedrekord');
  });

  const D = 'dsseRequestV002';
  const signatures = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ sig: encodeBase64(Uint8Array.of(i)) }));
  const verifiers = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      publicKey: { rawBytes: encodeBase64(Uint8Array.of(i)) },
      keyDetails: 5,
    }));

  it.each<[string, Json, string]>([
    ['ten signatures', changed(dsse(), [D, 'envelope', 'signatures'], signatures(10)), 'dsse'],
    ['eleven signatures', changed(dsse(), [D, 'envelope', 'signatures'], signatures(11)), 'ENTRY_INVALID too-many'],
    ['ten verifiers', changed(dsse(), [D, 'verifiers'], verifiers(10)), 'dsse'],
    ['eleven verifiers', changed(dsse(), [D, 'verifiers'], verifiers(11)), 'ENTRY_INVALID too-many'],
    [
      'equal verifiers',
      changed(dsse(), [D, 'verifiers'], [...verifiers(2), ...verifiers(1)]),
      'ENTRY_INVALID duplicate',
    ],
    [
      'equal bytes as key and as certificate',
      changed(
        dsse(),
        [D, 'verifiers'],
        [...verifiers(1), { x509Certificate: { rawBytes: encodeBase64(Uint8Array.of(0)) }, keyDetails: 5 }],
      ),
      'ENTRY_INVALID duplicate',
    ],
    [
      'equal signatures',
      changed(dsse(), [D, 'envelope', 'signatures'], [...signatures(2), ...signatures(1)]),
      'ENTRY_INVALID duplicate',
    ],
    [
      'an algorithm that is not allowed in the second place',
      changed(dsse(), [D, 'verifiers'], [...verifiers(1), { publicKey: { rawBytes: 'CQ==' }, keyDetails: 7 }]),
      'ENTRY_INVALID algorithm-not-allowed',
    ],
  ])('an envelope with %s', (_, request, expected) => {
    expect(outcome(request)).toBe(expected);
  });

  it('answers any JSON with a request or an EntryError, and names no bytes in it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (json) => {
        expect(outcome(json)).toMatch(/^ENTRY_(JSON|TYPE)$/);
      }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...everyField), fc.jsonValue(), ([, request, path], json) => {
        outcome(changed(request, path, json as Json));
      }),
    );
  });

  it('and its schema take the same JSON, however names, nulls and values are changed', () => {
    const values = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom<Json>(null, '', 'AA', 'AA==', '_-8', '\ud800', 'PKIX_ED25519', 5, 2 ** 31, -0, 1.5, {}, [], [{}]),
      fc.constantFrom<Json>({ rawBytes: 'AAAA' }, { raw_bytes: null }, { sig: 'AA' }, [{ keyid: null }], [null]),
    );
    const change = fc.record({
      at: fc.nat(),
      how: fc.constantFrom('replace', 'remove', 'respell', 'both spellings', 'beside', 'other'),
      value: values,
    });
    const outcomes = new Set<string>();
    fc.assert(
      fc.property(
        fc.constantFrom<Json>(hashedRekord(), dsse()),
        fc.array(change, { maxLength: 4 }),
        (request, changes) => {
          const result = changes.reduce(varied, request);
          outcomes.add(outcome(result));
        },
      ),
      { numRuns: 3000 },
    );
    expect([...outcomes]).toEqual(expect.arrayContaining(['ENTRY_JSON', 'ENTRY_TYPE', 'hashedrekord', 'dsse']));
  });

  it.each([
    [`${D}.verifiers`, [D, 'verifiers'], 'verifiers'],
    [`${D}.envelope.signatures`, [D, 'envelope', 'signatures'], 'envelope.signatures'],
  ])('does not look at the items of a %s that is far too long', (_, path, name) => {
    const items = (length: number): Json => Array.from({ length }, () => 7);
    const message = (length: number): unknown => {
      try {
        return parseCreateEntryRequest(changed(dsse(), path, items(length)));
      } catch (error) {
        return error instanceof EntryError && error.code === 'ENTRY_JSON' ? error.message : error;
      }
    };
    expect(message(1024)).toMatch(/is not an object$/);
    expect(message(1025)).toBe(`Cannot read entry request: ${name} has 1025 items, at most 1024 are read`);
    expect(outcome(changed(dsse(), path, Array(1025).fill({})))).toBe('ENTRY_JSON');
  });

  it('cuts an unknown name in the message', () => {
    expect(() => parseCreateEntryRequest({ ['x'.repeat(5000)]: 1 })).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^.{0,150}$/) }),
    );
  });
});

describe('chooseEntryAlgorithms()', () => {
  it('knows each algorithm by flag and by key details', () => {
    expect(chooseEntryAlgorithms(entryAlgorithms.map(({ flag = '' }) => flag))).toEqual(entryAlgorithms);
    expect(chooseEntryAlgorithms(entryAlgorithms.map(({ keyDetails }) => keyDetails))).toEqual(entryAlgorithms);
  });

  it.each(['ed25519', 'PKIX_ED25519', 'rsa-sign-pss-2048-sha256', 'x', ''])('refuses %s', (name) => {
    expect(() => chooseEntryAlgorithms([name])).toThrow(expect.objectContaining({ code: 'ENTRY_INVALID' }));
  });
});
