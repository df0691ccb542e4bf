import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { statementKeys } from './statement.js';

const inToto = 'application/vnd.in-toto+json';

describe('statementKeys()', () => {
  const keysOf = (json: string, type = inToto) => statementKeys(type, encodeUtf8(json));

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
});
