import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeUtf8, parseUtf8 } from '#libs/encoding';
import {
  encodeSnapshot,
  encodeTagStatement,
  parseSnapshot,
  parseTagStatement,
  TagError,
  type SnapshotStatement,
  type TagStatement,
} from './index.js';

const digest = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}` as const);
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,20}$/);
const state = fc.constantFrom('current' as const, 'revoked' as const);
const time = fc.integer({ min: 0, max: 4_000_000_000 }).map((seconds) => new Date(seconds * 1000));
const count = fc.integer({ min: 2, max: 1_000_000 });
const tagStatements: fc.Arbitrary<TagStatement> = fc.record({
  repository: fc.constant('registry.example.com/ns/app'),
  tag,
  state,
  digest,
  mediaType: fc.constant('application/vnd.oci.image.manifest.v1+json'),
  size: count,
  version: count,
  previous: digest,
  issued: time,
  from: time,
  until: time,
  threshold: fc.integer({ min: 1, max: 32 }),
  reason: fc.option(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }), { nil: undefined }),
});
const snapshots: fc.Arbitrary<SnapshotStatement> = fc.record({
  repository: fc.constant('registry.example.com/ns/app'),
  version: count,
  previous: fc.record({ version: fc.constant(1), statement: digest }),
  merged: fc.array(fc.record({ version: fc.constant(1), statement: digest }), { maxLength: 3 }),
  issued: time,
  until: time,
  tags: fc
    .uniqueArray(fc.record({ tag, state, version: count, statement: digest, digest }), {
      maxLength: 5,
      selector: (one) => one.tag,
    })
    .map((tags) => [...tags].sort((a, b) => (a.tag < b.tag ? -1 : 1))),
});
const example = fc.sample(tagStatements, { numRuns: 1, seed: 7 })[0] as TagStatement;
const snapshot = fc.sample(snapshots, { numRuns: 1, seed: 7 })[0] as SnapshotStatement;

describe('statements', () => {
  it('come back as they went', () => {
    fc.assert(
      fc.property(tagStatements, (value) => {
        expect(parseTagStatement(encodeTagStatement(value).payload).value).toEqual(value);
      }),
    );
    fc.assert(
      fc.property(snapshots, (value) => {
        expect(parseSnapshot(encodeSnapshot(value).payload).value).toEqual(value);
      }),
    );
  });

  it('are in-toto statements about what they name', () => {
    const { payload, subject } = encodeTagStatement(example);
    expect(JSON.parse(parseUtf8(payload))).toMatchObject({
      _type: 'https://in-toto.io/Statement/v1',
      predicateType: 'urn:chancery:trusted-tag:v1',
      subject: [{ name: `registry.example.com/ns/app:${example.tag}`, digest: { sha256: example.digest.slice(7) } }],
    });
    expect(subject).toBe(example.digest);
  });

  it('have one spelling', () => {
    const text = parseUtf8(encodeTagStatement(example).payload);
    for (const other of [
      ` ${text}`,
      `${text}\n`,
      text.replace('"_type"', '"\\u005ftype"'),
      JSON.stringify(JSON.parse(text), null, 1),
    ]) {
      expect(() => parseTagStatement(encodeUtf8(other))).toThrow(TagError);
    }
    // Subject and predicate must say the same.
    const { subject } = encodeTagStatement({ ...example, digest: `sha256:${'0'.repeat(64)}` });
    expect(() =>
      parseTagStatement(
        encodeUtf8(text.replace(`"sha256":"${example.digest.slice(7)}"`, `"sha256":"${subject.slice(7)}"`)),
      ),
    ).toThrow(TagError);
    expect(() => parseTagStatement(encodeUtf8(text.replace(`app:${example.tag}"`, 'app:other"')))).toThrow(TagError);
  });

  it('are not mistaken for each other', () => {
    expect(() => parseSnapshot(encodeTagStatement(example).payload)).toThrow(TagError);
    expect(() => parseTagStatement(encodeSnapshot(snapshot).payload)).toThrow(TagError);
  });

  it.each([
    ['a first version with one before', { version: 1 }],
    ['a later version without one before', { previous: undefined }],
    ['version 0', { version: 0 }],
    ['a version beyond 2^53', { version: 2 ** 60 }],
    ['a threshold of 0', { threshold: 0 }],
    ['a threshold of a thousand', { threshold: 1000 }],
    ['a tag that is none', { tag: 'a/b' }],
    ['a state that is none', { state: 'unsure' as 'current' }],
    ['a digest in capitals', { digest: `sha256:${'A'.repeat(64)}` as const }],
    ['a very long reason', { reason: 'x'.repeat(1000) }],
  ])('with %s are refused', (_, change) => {
    expect(() => parseTagStatement(encodeTagStatement({ ...example, ...change }).payload)).toThrow(TagError);
  });

  const entry = { tag: 'a', state: 'current', version: 1, statement: example.digest, digest: example.digest } as const;
  it.each([
    ['tags out of order', { tags: [{ ...entry, tag: 'b' }, entry] }],
    ['a tag twice', { tags: [entry, entry] }],
    ['a version not above the one before', { version: 1 }],
    [
      'more tags than fit',
      { tags: Array.from({ length: 2001 }, (_, i) => ({ ...entry, tag: `t${String(i).padStart(5, '0')}` })) },
    ],
  ])('snapshots with %s are refused', (_, change) => {
    expect(() => parseSnapshot(encodeSnapshot({ ...snapshot, ...change }).payload)).toThrow(TagError);
  });

  it('given any bytes, return or throw their own error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(encodeUtf8)), (bytes) => {
        expect(() => parseTagStatement(bytes)).toThrow(TagError);
        expect(() => parseSnapshot(bytes)).toThrow(TagError);
      }),
    );
  });
});
