import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { statementKeys } from './statement.js';

const inToto = 'application/vnd.in-toto+json';
const keysOf = (json: string, type = inToto) => statementKeys(type, encodeUtf8(json));

describe('statementKeys()', () => {
  it('names subjects and materials', () => {
    const json = JSON.stringify({
      subject: [{ name: 'x', digest: { sha256: 'AB', sha1: 'cd' } }, { digest: { gitCommit: 'ef' } }],
      predicate: { materials: [{ uri: 'x', digest: { sha256: '01' } }] },
    });
    expect(keysOf(json)).toEqual(['sha256:ab', 'sha1:cd', 'gitcommit:ef', 'sha256:01']);
    expect(keysOf(json, 'application/json')).toEqual([]);
  });

  it('leaves out what is no digest', () => {
    const json = JSON.stringify({
      subject: [null, 1, {}, { digest: null }, { digest: { sha256: 7, sha512: 'ab' } }],
      predicate: [],
    });
    expect(keysOf(json)).toEqual(['sha512:ab']);
    for (const other of ['', '{', 'null', '[]', '1', '{"subject":{}}', '{"predicate":{"materials":1}}']) {
      expect(keysOf(other)).toEqual([]);
    }
    expect(statementKeys(inToto, Uint8Array.of(0x22, 0xff, 0x22))).toEqual([]);
  });

  it('reads names and digests however JSON spells them', () => {
    const json = ' {"\\u0073ubject" :\n[\t{"digest":{"\\u0061\\/\\"" : "\\u0041\\\\" } } ] }\r\n';
    expect(JSON.parse(json)).toEqual({ subject: [{ digest: { 'a/"': 'A\\' } }] });
    expect(keysOf(json)).toEqual(['a/":a\\']);
  });

  it('has those of each reader where a name comes twice', () => {
    expect(keysOf('{"subject":[{"digest":{"a":"1","a":"2"}}],"subject":[{"digest":{"a":"3"}}]}')).toEqual([
      'a:1',
      'a:2',
      'a:3',
    ]);
  });

  const good = '{"subject":[{"digest":{"a":"1"}}]';
  it.each([
    good,
    `${good},}`,
    `${good}}}`,
    `${good}}x`,
    `${good},"x"}`,
    `${good},"x":}`,
    `${good},"x":,"y":1}`,
    `${good},"x":[}`,
    `${good},"x":"}`,
    `${good},"x":"\\`,
    `${good},1:1}`,
    `${good} "x":1}`,
    `${good},"\\x":1}`,
    `${good}},`,
    '{"subject":[{"digest":{"a":"1"}},]}',
    '{"subject":[{"digest":{"a":"1"}} 1]}',
    '{"subject":[{"digest":{"a" "1"}}]}',
    '{"subject":[{"digest":{"a":"\\u12"}}]}',
  ])('has nothing of what is not JSON: %s', (json) => {
    expect(keysOf(json)).toEqual([]);
  });

  const digest = fc.oneof(
    fc.dictionary(fc.string({ unit: 'binary' }), fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 1 }))),
    fc.jsonValue({ maxDepth: 2 }),
  );
  const items = fc.oneof(
    fc.array(fc.oneof(fc.record({ digest, name: fc.string() }, { requiredKeys: [] }), fc.jsonValue())),
    fc.jsonValue(),
  );
  const statement = fc.oneof(
    fc.record(
      {
        subject: items,
        predicate: fc.oneof(fc.record({ materials: items, other: fc.jsonValue() }, { requiredKeys: [] }), items),
        other: fc.jsonValue(),
      },
      { requiredKeys: [] },
    ),
    fc.jsonValue(),
  );
  it('finds what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(statement, fc.constantFrom(undefined, 1, '\t'), (value, space) => {
        const json = JSON.stringify(value, undefined, space);
        expect(new Set(keysOf(json))).toEqual(keysByValue(JSON.parse(json)));
      }),
      { numRuns: 1000 },
    );
  });

  it('answers any bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void statementKeys(inToto, bytes)));
    const text = fc.string({ unit: fc.constantFrom(...'{}[]:,"\\ u1', '"subject"', '"digest"', 'null') });
    fc.assert(
      fc.property(text, (json) => void keysOf(json)),
      { numRuns: 3000 },
    );
  });
});

describe('statementKeys() of payloads that are made to take long', () => {
  afterEach(() => vi.restoreAllMocks());

  const million = (item: string): string => Array<string>(1_000_000).fill(item).join();
  it.each([
    ['arrays in arrays', () => `{"x":${'['.repeat(1e6)}${']'.repeat(1e6)},`],
    ['names that are all new', () => `{"x":{${Array.from({ length: 100_000 }, (_, i) => `"${i}":0`).join()}},`],
    ['empty subjects', () => `{"subject":[${million('{}')}],`],
    [
      'one digest over and over',
      () => `{"subject":[{"digest":{"a":"1"}}],"predicate":{"materials":[${million('0')}]},`,
    ],
  ])('makes no values of %s', (_, begin) => {
    const json = `${begin()}"subject":[{"digest":{"a":"1"}}]}`;
    const parse = vi.spyOn(JSON, 'parse');
    expect(keysOf(json)).toEqual(['a:1']);
    expect(parse).not.toHaveBeenCalled();
  });

  it('has one key more than an entry may have, not all of them', () => {
    const about = (count: number) =>
      keysOf(`{"subject":[${Array.from({ length: count }, (_, i) => `{"digest":{"x":"${i}"}}`).join()}]}`);
    expect(about(900)).toHaveLength(900);
    expect(about(901)).toHaveLength(901);
    expect(about(50_000)).toHaveLength(901);
  });
});

/** The plain way: the whole statement as a value. */
function keysByValue(value: unknown): Set<string> {
  const member = (object: unknown, name: string): unknown =>
    typeof object === 'object' && object !== null && !Array.isArray(object) && Object.hasOwn(object, name)
      ? (object as Record<string, unknown>)[name]
      : undefined;
  const list = (object: unknown): readonly unknown[] => (Array.isArray(object) ? object : []);
  const about = [...list(member(value, 'subject')), ...list(member(member(value, 'predicate'), 'materials'))];
  const digests = about.map((item) => member(item, 'digest'));
  return new Set(
    digests.flatMap((digest) =>
      typeof digest === 'object' && digest !== null && !Array.isArray(digest)
        ? Object.entries(digest).flatMap(([name, text]) =>
            typeof text === 'string' ? [`${name}:${text}`.toLowerCase()] : [],
          )
        : [],
    ),
  );
}
