import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeTlogEntry, parseTlogEntry } from './index.js';

const bundle = JSON.parse(
  readFileSync(`${import.meta.dirname}/../../../test/vectors/bundle/rekor2-happy-path.json`, 'utf8'),
);
const json = bundle.verificationMaterial.tlogEntries[0];

describe('parseTlogEntry()', () => {
  test('reads the answer of a Rekor v2 log, which spells out defaults', () => {
    const entry = parseTlogEntry({ ...json, integratedTime: '0', inclusionPromise: null });
    expect(entry).toEqual(parseTlogEntry(json));
    expect(entry.logIndex).toBe(735n);
  });

  test.each([
    ['null', null],
    ['a list', [json]],
    ['a string', 'entry'],
    ['an unknown field', { ...json, uuid: 'x' }],
  ])('refuses %s', (_, value) => {
    expect(() => parseTlogEntry(value)).toThrow(expect.objectContaining({ code: 'BUNDLE_MALFORMED' }));
  });
});

describe('encodeTlogEntry()', () => {
  test('is the inverse of parseTlogEntry()', () => {
    expect(encodeTlogEntry(parseTlogEntry(json))).toEqual(json);
  });

  test('spells out defaults as a log answers', () => {
    const { inclusionProof: _, ...bare } = parseTlogEntry(json);
    expect(encodeTlogEntry(bare, { emitDefaults: true })).toMatchObject({
      integratedTime: '0',
      inclusionPromise: null,
      inclusionProof: null,
    });
  });

  test('always writes the log index', () => {
    expect(encodeTlogEntry({ ...parseTlogEntry(json), logIndex: 0n })).toHaveProperty('logIndex', '0');
  });
});
