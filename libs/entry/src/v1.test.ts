import { z } from 'zod';
import fc from 'fast-check';
import { gzipSync } from 'node:zlib';
import { encodeBase64, encodeUtf8, equalBytes, parseUtf8 } from '#libs/encoding';
import { x509KeyOf } from '#libs/pki';
import { describe, expect, it } from 'vitest';
import { EntryError, type PkiFormat, type SchemaViolation } from './index.js';
import { bodyKeys, parseV1Body, proposedEntrySchema, proposedKinds, proposeEntry } from './proposals.js';
import {
  dsseProposal,
  ecPair,
  envelopeOf,
  hashedRekordProposal,
  intoto2Proposal,
  ports,
  rekordProposal,
  sample,
  sampleNames,
  sha256Hex,
  type Json,
} from '../testing/proposals.js';

const propose = (json: unknown, insert = true) => proposeEntry(json, ports, { insert });
const clone = <T>(value: T): T => structuredClone(value);
const pair = ecPair('P-256');

async function refusal(json: unknown, insert = true): Promise<EntryError> {
  const error: unknown = await propose(json, insert).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof EntryError) return error;
  throw new Error(`not an EntryError: ${String(error)}`, { cause: error });
}

describe('proposedKinds', () => {
  it('has every kind by name and version', () => {
    const listed = [...proposedKinds].flatMap(([kind, versions]) => [...versions.keys()].map((v) => `${kind} ${v}`));
    expect(listed).toEqual([
      'hashedrekord 0.0.1',
      'dsse 0.0.1',
      'intoto 0.0.1',
      'intoto 0.0.2',
      'rekord 0.0.1',
      'rfc3161 0.0.1',
    ]);
  });

  it.each(sampleNames)('takes the sample %s, and its schema does too', async (name) => {
    const { kind, version } = await propose(sample(name));
    expect({ kind, apiVersion: version }).toEqual({ kind: sample(name).kind, apiVersion: sample(name).apiVersion });
    expect(proposedEntrySchema.safeParse(sample(name)).success).toBe(true);
  });

  it('makes JSON Schema of all of it, with a description of each field', () => {
    for (const io of ['input', 'output'] as const) {
      // It has a name of its own, so it stands among the definitions.
      const schema: Json = (z.toJSONSchema(proposedEntrySchema, { io }) as Json).$defs.ProposedEntry;
      expect(schema.anyOf.map(({ title }: Json) => title)).toContain('hashedrekord 0.0.1');
      const hashedRekord = schema.anyOf[0].properties.spec.properties;
      expect(hashedRekord.signature.properties.content.anyOf[0]).toMatchObject({ type: 'string', format: 'byte' });
      expect(hashedRekord.data.description).toBe('What was signed');
    }
  });
});

describe('proposeEntry()', () => {
  it.each(sampleNames)('gives keys of %s that are those of the body and the unlogged ones', async (name) => {
    const { body, keys, unloggedKeys } = await propose(sample(name));
    const fromBody = bodyKeys(body, { hash: ports.hash, x509KeyOf });
    expect(new Set(keys)).toEqual(new Set([...fromBody, ...unloggedKeys]));
    expect(fromBody.filter((key) => unloggedKeys.includes(key))).toEqual([]);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.map((key) => key.toLowerCase())).toEqual(keys);
  });

  it.each(sampleNames)('makes the same body of %s again', async (name) => {
    const first = await propose(sample(name));
    for (let i = 0; i < 20; i++) expect((await propose(sample(name))).body).toEqual(first.body);
    // RFC 8785: what it says, in the order of names, without whitespace.
    const text = parseUtf8(first.body);
    expect(JSON.stringify(sorted(JSON.parse(text)))).toBe(text);
  });

  it('sigstore/rekor-tiles#709: the body does not depend on any order of iteration, 1000 times', async () => {
    const pairs = Array.from({ length: 3 }, () => ecPair('P-256'));
    const proposal = dsseProposal(pairs);
    const first = (await propose(proposal)).body;
    for (let i = 0; i < 1000; i++) expect(equalBytes((await propose(proposal)).body, first)).toBe(true);
    const { proposedContent } = proposal.spec;
    proposedContent.verifiers.reverse();
    expect((await propose(proposal)).body).toEqual(first);
  });

  it.each(sampleNames)('takes explicit nulls in %s for what may be absent', async (name) => {
    const { body } = await propose(sample(name));
    const json = sample(name);
    addNulls(json.spec, schemaOf(name));
    const isComplete = ['hashedrekord', 'rekord x509', 'rfc3161'].includes(name);
    expect(JSON.stringify(json).includes('null')).toBe(!isComplete);
    expect((await propose(json)).body).toEqual(body);
  });

  it('drops what it does not know inside of spec, a location of the key included', async () => {
    const json = hashedRekordProposal(pair);
    const { body } = await propose(json);
    json.spec.signature.url = 'https://key.example';
    json.spec.signature.publicKey.url = 'https://key.example';
    json.spec.extraData = { a: 1 };
    json.spec.data.hash.toString = 'x';
    expect((await propose(json)).body).toEqual(body);
  });

  it.each<[string, unknown, SchemaViolation]>([
    ['nothing', undefined, { code: 602, message: 'proposedEntry in body is required' }],
    ['null', null, { code: 602, message: 'proposedEntry in body is required' }],
    ['an array', [], { code: 601, message: 'proposedEntry in body must be of type object: "array"' }],
    ['a string', 'x', { code: 601, message: 'proposedEntry in body must be of type object: "string"' }],
    ['an empty object', {}, { code: 602, message: 'kind in body is required' }],
    ['an empty kind', { kind: '' }, { code: 602, message: 'kind in body is required' }],
    ['a kind that is null', { kind: null }, { code: 602, message: 'kind in body is required' }],
    ['a kind that is a number', { kind: 1 }, { code: 601, message: 'kind in body must be of type string: "number"' }],
    ['an unknown kind', { kind: 'x' }, { code: 422, message: 'invalid kind value: "x"' }],
    ['an inherited name as kind', { kind: 'toString' }, { code: 422, message: 'invalid kind value: "toString"' }],
    ['no version', { kind: 'dsse' }, { code: 602, message: 'apiVersion in body is required' }],
    [
      'a version that is none',
      { kind: 'dsse', apiVersion: '1', spec: {} },
      {
        code: 605,
        message:
          "apiVersion in body should match '^(0|[1-9]\\d*)\\.(0|[1-9]\\d*)\\.(0|[1-9]\\d*)(?:-((?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\\.(?:0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\\+([0-9a-zA-Z-]+(?:\\.[0-9a-zA-Z-]+)*))?$'",
      },
    ],
    ['no spec', { kind: 'dsse', apiVersion: '0.0.1' }, { code: 602, message: 'spec in body is required' }],
    [
      'spec null',
      { kind: 'dsse', apiVersion: '0.0.1', spec: null },
      { code: 602, message: 'spec in body is required' },
    ],
    [
      'spec that is a string',
      { kind: 'dsse', apiVersion: '0.0.1', spec: 'x' },
      { code: 601, message: 'spec in body must be of type object: "string"' },
    ],
    [
      'another property',
      { kind: 'dsse', apiVersion: '0.0.1', spec: {}, more: 1 },
      { code: 616, message: '.more in body is a forbidden property' },
    ],
  ])('refuses %s like go-openapi', async (_, json, schema) => {
    const error = await refusal(json);
    expect(error).toMatchObject({ schema, detail: undefined });
    expect(error.code).toBe(schema.code === 422 ? 'ENTRY_KIND' : 'ENTRY_SCHEMA');
  });

  it.each<[string, string, (spec: Json) => void, SchemaViolation]>([
    [
      'an object that is a number',
      'hashedrekord',
      (s) => (s.signature = 5),
      { code: 601, message: 'signature in body must be of type object: "number"' },
    ],
    [
      'a string that is a number',
      'hashedrekord',
      (s) => (s.signature.content = 5),
      { code: 601, message: 'signature.content in body must be of type string: "number"' },
    ],
    ['a missing object', 'hashedrekord', (s) => delete s.data, { code: 602, message: 'data in body is required' }],
    [
      'the first of two mistakes',
      'hashedrekord',
      (s) => {
        delete s.signature;
        s.data = null;
      },
      { code: 602, message: 'data in body is required' },
    ],
    [
      'an unknown hash',
      'hashedrekord',
      (s) => (s.data.hash.algorithm = 'sha1'),
      { code: 606, message: 'data.hash.algorithm in body should be one of [sha256 sha384 sha512]' },
    ],
    [
      'a hash that is a list',
      'hashedrekord',
      (s) => (s.data.hash.algorithm = []),
      { code: 601, message: 'data.hash.algorithm in body must be of type string: "array"' },
    ],
    [
      'a long value',
      'hashedrekord',
      (s) => (s.data.hash.value = '0'.repeat(129)),
      { code: 603, message: 'data.hash.value in body should be at most 128 chars long' },
    ],
    [
      'a list that is an object',
      'dsse',
      (s) => (s.proposedContent.verifiers = { 0: 'x' }),
      { code: 601, message: 'proposedContent.verifiers in body must be of type array: "object"' },
    ],
    [
      'an empty list',
      'dsse',
      (s) => (s.proposedContent.verifiers = []),
      { code: 612, message: 'proposedContent.verifiers in body should have at least 1 items' },
    ],
    [
      '17 verifiers',
      'dsse',
      (s) => (s.proposedContent.verifiers = Array(17).fill('AAAA')),
      { code: 611, message: 'proposedContent.verifiers in body should have at most 16 items' },
    ],
    [
      'a null in a list',
      'dsse',
      (s) => (s.proposedContent.verifiers[1] = null),
      { code: 602, message: 'proposedContent.verifiers.1 in body is required' },
    ],
    [
      'a field in a list',
      'intoto 0.0.2',
      (s) => delete s.content.envelope.signatures[1].sig,
      { code: 602, message: 'content.envelope.signatures.1.sig in body is required' },
    ],
    [
      'a pattern',
      'dsse',
      (s) => {
        delete s.proposedContent;
        s.signatures = [{ signature: 'a-b=', verifier: 'AAAA' }];
      },
      {
        code: 605,
        message:
          "signatures.0.signature in body should match '^(?:[A-Za-z0-9+\\/]{4})*(?:[A-Za-z0-9+\\/]{2}==|[A-Za-z0-9+\\/]{3}=|[A-Za-z0-9+\\/]{4})$'",
      },
    ],
    [
      'a format that does not exist',
      'rekord x509',
      (s) => (s.signature.format = 'tuf'),
      { code: 606, message: 'signature.format in body should be one of [pgp minisign x509 ssh]' },
    ],
  ])('refuses %s in the spec of %s like go-openapi', async (_, name, change, schema) => {
    const json = sample(name);
    change(json.spec);
    const detail = `validation failure list:\n${schema.message}`;
    expect(await refusal(json)).toMatchObject({ code: 'ENTRY_SCHEMA', schema, detail });
  });

  it('refuses an unknown version of a known kind', async () => {
    const detail =
      "hashedrekord implementation for version '0.0.9' not found: unable to locate entry for version 0.0.9";
    const json = { ...hashedRekordProposal(pair), apiVersion: '0.0.9' };
    expect(await refusal(json)).toMatchObject({ code: 'ENTRY_VERSION', detail, schema: undefined });
  });

  it.each(['alpine', 'cose', 'helm', 'jar', 'rpm', 'tuf'])('does not take %s, and says so', async (kind) => {
    const detail = `entry kind '${kind}' is not enabled for submission on this server`;
    expect(await refusal({ kind, apiVersion: '0.0.1', spec: {} })).toMatchObject({ code: 'ENTRY_KIND', detail });
  });

  it('lets errors pass that are not about the entry', async () => {
    const broken = { ...ports, hash: () => { throw new TypeError('a mistake of ours'); } }; // prettier-ignore
    await expect(proposeEntry(sample('rfc3161'), broken, { insert: true })).rejects.toThrow(TypeError);
    const full = Object.assign(new Error('too many open files'), { code: 'ERR_SYSTEM_ERROR' });
    const refusing = { parseKey: () => Promise.reject(full), canonicalSignature: (bytes: Uint8Array) => bytes };
    const pki = { ...ports.pki, x509: refusing };
    await expect(proposeEntry(sample('hashedrekord'), { ...ports, pki }, { insert: true })).rejects.toBe(full);
  });

  it('never says what was in the entry', async () => {
    const json = sample('hashedrekord');
    json.spec.signature.publicKey.content = encodeBase64(encodeUtf8('very secret key'));
    const error = await refusal(json);
    expect(`${error.message} ${error.detail}`).not.toContain('secret');
  });
});

describe('limits', () => {
  it('refuses a body above 65535 bytes, which tiles could not frame', async () => {
    // The canonical signature is as long as one likes, and its base64 grows by four.
    const pgp: PkiFormat = {
      parseKey: () => ({ canonical: encodeUtf8('key'), subjects: [], verify: async () => true }),
      canonicalSignature: (bytes) => bytes,
    };
    const bodyWith = async (length: number) => {
      const json = sample('rekord pgp');
      json.spec.signature.content = encodeBase64(new Uint8Array(length));
      return (await proposeEntry(json, { ...ports, pki: { ...ports.pki, pgp } }, { insert: true })).body;
    };
    const room = 65_535 - (await bodyWith(3)).length;
    const fits = 3 + 3 * Math.floor(room / 4);
    expect((await bodyWith(fits)).length).toBeGreaterThan(65_531);
    await expect(bodyWith(fits + 1)).rejects.toMatchObject({
      code: 'ENTRY_TOO_LARGE',
      detail: expect.stringMatching(/^canonical entry has 6553[6-9] bytes, at most 65535 can be stored$/),
    });
  });

  it('refuses a statement about more than can be found again, instead of leaving some out', async () => {
    const about = (count: number) => ({
      subject: Array.from({ length: count }, (_, i) => ({ digest: { sha256: i.toString(16).padStart(64, '0') } })),
    });
    const proposal = (count: number) => intoto2Proposal([pair], { payload: encodeUtf8(JSON.stringify(about(count))) });
    expect((await propose(proposal(800))).unloggedKeys.length).toBe(800);
    expect(await refusal(proposal(899))).toMatchObject({ code: 'ENTRY_TOO_LARGE' });
    expect(await refusal(proposal(850))).toMatchObject({
      code: 'ENTRY_TOO_LARGE',
      detail: 'digests and subjects have 62050 bytes, at most 60000 are kept',
    });
  });

  it('refuses an envelope with more signatures than verifiers may be', async () => {
    const envelope = envelopeOf(Array.from({ length: 17 }, () => pair));
    expect(await refusal(dsseProposal([pair], { envelope: JSON.stringify(envelope) }))).toMatchObject({
      code: 'ENTRY_PROPOSAL',
      detail: 'invalid DSSE envelope: signatures in body should have at most 16 items',
    });
  });

  it('refuses an envelope that nests deep or says a thing twice', async () => {
    const { payload, payloadType, signatures } = envelopeOf([pair]);
    const deep = `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
    const double = `{"payloadType":"text/plain",${JSON.stringify({ payload, payloadType, signatures }).slice(1)}`;
    for (const envelope of [deep, double, '', 'null', '[]', '{', '"\ud800"']) {
      expect(await refusal(dsseProposal([pair], { envelope }))).toMatchObject({ code: 'ENTRY_PROPOSAL' });
    }
  });
});

describe('CVE-2023-30551 and CVE-2026-48702: nothing is unpacked', () => {
  const bomb = new Uint8Array(gzipSync(new Uint8Array(10 * 1024 * 1024)));

  it('a rekord is about the compressed bytes', async () => {
    const { keys } = await propose(rekordProposal(pair, bomb));
    expect(keys).toContain(`sha256:${sha256Hex(bomb)}`);
  });

  it('so is an envelope', async () => {
    const { keys } = await propose(
      dsseProposal([pair], { envelope: JSON.stringify(envelopeOf([pair], { payload: bomb })) }),
    );
    expect(keys).toContain(`sha256:${sha256Hex(bomb)}`);
  });

  it.each(sampleNames)('in no field of %s', async (name) => {
    for (const [i, { key }] of allMembers(sample(name)).entries()) {
      const json = sample(name);
      const member = allMembers(json)[i];
      if (typeof member?.object[key] !== 'string') continue;
      member.object[key] = encodeBase64(bomb);
      await settled(json);
    }
  });
});

describe('CVE-2023-33199, CVE-2026-23831, GHSA-843x: nothing missing, null or of a wrong type breaks the server', () => {
  it.each(sampleNames)('%s, each field of its schema', async (name) => {
    const whole = sample(name);
    const fields = schemaPaths(schemaOf(name));
    expect(fields.length).toBeGreaterThan(1);
    for (const insert of [true, false]) {
      for (const path of [['kind'], ['apiVersion'], ['spec'], ...fields.map((field) => ['spec', ...field])]) {
        for (const wrong of wrongValues) {
          const json = clone(whole);
          assign(json, path, wrong);
          await settled(json, insert);
        }
      }
    }
  });

  it.each(sampleNames)('%s, each field dropped and nulled: refused or without effect', async (name) => {
    const { body } = await propose(sample(name));
    for (const i of allMembers(sample(name)).keys()) {
      // Without an item a list is another list, and `keyid` is stored as it is given: another entry, or none.
      const { object, key } = allMembers(sample(name))[i] as Member; // one of as many
      const isOther = Array.isArray(object) || key === 'keyid';
      const outcomes = [];
      for (const change of [drop, nullify]) {
        const json = sample(name);
        change(allMembers(json)[i] as Member); // the same place of an equal tree
        const error = await settled(json);
        outcomes.push(error?.code);
        if (error === undefined && !isOther) expect(parseUtf8((await propose(json)).body)).toBe(parseUtf8(body));
      }
      if (!isOther) expect(outcomes[1]).toBe(outcomes[0]);
    }
  });

  it.each(sampleNames)('the stored body of %s, each field', async (name) => {
    const { body } = await propose(sample(name));
    for (const path of schemaPaths(schemaOf(name))) {
      for (const wrong of wrongValues) {
        const json: Json = JSON.parse(parseUtf8(body));
        assign(json, ['spec', ...path], wrong);
        expect(readsOrRefuses(encodeUtf8(JSON.stringify(json)))).toBe(true);
      }
    }
  });

  it('any JSON at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), fc.boolean(), async (json, insert) => {
        await settled(json, insert);
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...sampleNames), fc.jsonValue(), fc.nat(40), async (name, json, at) => {
        const root = sample(name);
        const members = allMembers(root);
        const member = members[at % members.length];
        if (member !== undefined) member.object[member.key] = json;
        await settled(root);
      }),
      { numRuns: 500 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), readsOrRefuses));
    fc.assert(fc.property(fc.jsonValue(), (json) => readsOrRefuses(encodeUtf8(JSON.stringify(json)))));
  });
});

function schemaOf(name: string): z.ZodType {
  const { kind, apiVersion } = sample(name);
  return proposedKinds.get(kind)?.get(apiVersion)?.spec as z.ZodType; // the table has the kind of each sample
}

const wrongValues: readonly unknown[] = [
  undefined,
  null,
  0,
  -1.5,
  true,
  '',
  'x',
  'AAAA',
  '\ud800',
  [],
  [null],
  {},
  { length: 1 },
  '{}',
  'bnVsbA==',
];

/** Nothing, or the error; anything but an EntryError throws. */
async function settled(json: unknown, insert = true): Promise<EntryError | undefined> {
  try {
    const { body, keys } = await propose(json, insert);
    expect(body.length).toBeGreaterThan(0);
    expect(keys.length).toBeGreaterThan(0);
    return undefined;
  } catch (error) {
    if (error instanceof EntryError) {
      expect(error.detail ?? error.schema?.message).toMatch(/\S/);
      return error;
    }
    throw error;
  }
}

function readsOrRefuses(bytes: Uint8Array): boolean {
  try {
    return parseV1Body(bytes, ports.hash).kind.length > 0;
  } catch (error) {
    return error instanceof EntryError && error.code === 'ENTRY_BODY_MALFORMED';
  }
}

/** Paths of all fields that a schema knows; in lists the first item stands for all. */
function schemaPaths(schema: z.ZodType): string[][] {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return schemaPaths(schema.unwrap() as z.ZodType);
  if (schema instanceof z.ZodArray)
    return [['0'], ...schemaPaths(schema.element as z.ZodType).map((path) => ['0', ...path])];
  if (!(schema instanceof z.ZodObject)) return [];
  return Object.entries(schema.shape).flatMap(([name, field]) => [
    [name],
    ...schemaPaths(field as z.ZodType).map((path) => [name, ...path]),
  ]);
}

/** Sets a value by its path; where an object is missing on the way, one is made. */
function assign(root: Json, path: readonly string[], value: unknown): void {
  let at = root;
  for (const [i, name] of path.slice(0, -1).entries()) {
    at[name] ??= path[i + 1] === '0' ? [] : {};
    at = at[name];
  }
  const last = path[path.length - 1] as string;
  if (value === undefined) delete at[last];
  else at[last] = value;
}

interface Member {
  readonly object: Json;
  readonly key: string;
}

function allMembers(object: Json): Member[] {
  if (typeof object !== 'object' || object === null) return [];
  return Object.keys(object).flatMap((key) => [{ object, key }, ...allMembers(object[key])]);
}

const drop = ({ object, key }: Member) => {
  if (Array.isArray(object)) object.splice(Number(key), 1);
  else delete object[key];
};
const nullify = ({ object, key }: Member) => {
  object[key] = null;
};

function addNulls(object: Json, schema: z.ZodType): void {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
    addNulls(object, schema.unwrap() as z.ZodType);
  } else if (schema instanceof z.ZodArray) {
    for (const item of object) addNulls(item, schema.element as z.ZodType);
  } else if (schema instanceof z.ZodObject) {
    for (const [name, field] of Object.entries(schema.shape)) {
      if (object[name] !== undefined) addNulls(object[name], field as z.ZodType);
      else object[name] = null;
    }
  }
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  );
}
