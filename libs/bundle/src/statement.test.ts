import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { BundleError, parseStatement } from './index.js';

const statement = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'a.txt', digest: { sha256: 'ab'.repeat(32) } }],
  predicateType: 'https://slsa.dev/provenance/v1',
  predicate: { buildDefinition: {} },
};
const parse = (value: unknown) => parseStatement(encodeUtf8(JSON.stringify(value)));
const codeOf = (payload: Uint8Array) => {
  try {
    parseStatement(payload);
    return 'accepted';
  } catch (error) {
    if (error instanceof BundleError) return error.code;
    throw error;
  }
};

describe('parseStatement()', () => {
  test('reads a statement', () => {
    expect(parse(statement)).toEqual({
      type: 'https://in-toto.io/Statement/v1',
      subjects: [{ name: 'a.txt', digests: { sha256: 'ab'.repeat(32) } }],
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: { buildDefinition: {} },
    });
  });

  test.each([
    ['version 0.1', { ...statement, _type: 'https://in-toto.io/Statement/v0.1' }],
    ['no predicate', { ...statement, predicate: undefined }],
    ['a subject without a name', { ...statement, subject: [{ digest: { sha256: 'ab' } }] }],
    [
      'fields it does not know',
      { ...statement, more: 1, subject: [{ ...statement.subject[0], mediaType: 'text/plain' }] },
    ],
    ['1024 subjects', { ...statement, subject: Array(1024).fill(statement.subject[0]) }],
  ])('accepts %s', (_, value) => {
    expect(codeOf(encodeUtf8(JSON.stringify(value)))).toBe('accepted');
  });

  test.each([
    ['another type', 'BUNDLE_STATEMENT', { ...statement, _type: 'https://in-toto.io/Statement/v2' }],
    ['no type', 'BUNDLE_STATEMENT', { ...statement, _type: undefined }],
    ['no subjects', 'BUNDLE_STATEMENT', { ...statement, subject: [] }],
    ['subjects that are no list', 'BUNDLE_STATEMENT', { ...statement, subject: {} }],
    ['a subject without digests', 'BUNDLE_STATEMENT', { ...statement, subject: [{ name: 'a', digest: {} }] }],
    ['a subject without a digest field', 'BUNDLE_STATEMENT', { ...statement, subject: [{ name: 'a' }] }],
    ['a digest that is a number', 'BUNDLE_STATEMENT', { ...statement, subject: [{ digest: { sha256: 1 } }] }],
    ['no predicate type', 'BUNDLE_STATEMENT', { ...statement, predicateType: '' }],
    ['a predicate that is a string', 'BUNDLE_STATEMENT', { ...statement, predicate: 'x' }],
    ['1025 subjects', 'BUNDLE_LIMIT', { ...statement, subject: Array(1025).fill(statement.subject[0]) }],
    [
      '33 digests of a subject',
      'BUNDLE_LIMIT',
      {
        ...statement,
        subject: [{ digest: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`h${i}`, 'ab'])) }],
      },
    ],
  ])('refuses %s (%s)', (_, code, value) => {
    expect(codeOf(encodeUtf8(JSON.stringify(value)))).toBe(code);
  });

  test.each([
    ['bytes that are not UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d)],
    ['an empty payload', new Uint8Array()],
    ['a duplicate key', encodeUtf8(JSON.stringify(statement).replace('{', '{"_type":"x",'))],
    ['text behind it', encodeUtf8(`${JSON.stringify(statement)}]`)],
  ])('refuses %s', (_, payload) => {
    expect(codeOf(payload)).toBe('BUNDLE_STATEMENT');
  });

  test('keeps large integers of a predicate exact', () => {
    const text = JSON.stringify({ ...statement, predicate: { id: 0 } }).replace('"id":0', '"id":9007199254740993');
    expect(parseStatement(encodeUtf8(text)).predicate).toEqual({ id: 9007199254740993n });
  });

  test('returns or throws its own error for any bytes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(encodeUtf8)), (payload) => {
        expect(codeOf(payload)).toMatch(/^BUNDLE_|accepted/);
      }),
    );
  });
});
