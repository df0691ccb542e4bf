import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import { parseTimestampJson, TimestampError } from '#libs/timestamp';
import { parseJsonRequest } from './wire.js';

const artifactHash = encodeBase64(new Uint8Array(32));
const attempt = (parse: () => unknown): unknown => {
  try {
    return parse();
  } catch (error) {
    if (error instanceof TimestampError) return 'refused';
    throw error;
  }
};

describe('parseJsonRequest()', () => {
  it('takes what the format takes, and refuses what it refuses: the document promises no more and no less', () => {
    const any = fc.jsonValue({ maxDepth: 2 });
    const or = (...values: unknown[]) => fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...values) }, any);
    const request = fc.record(
      {
        artifactHash: or(artifactHash, artifactHash, '', null),
        hashAlgorithm: or('sha256', 'SHA256', 'sha384', 'sha1', null),
        certificates: or(true, false, null),
        nonce: or(0, -7, 1.5, null, '7'),
        tsaPolicyOID: or('', '1.2.3', 'x', null),
        unknown: any,
      },
      { requiredKeys: [] },
    );
    let taken = 0;
    fc.assert(
      fc.property(fc.oneof({ weight: 9, arbitrary: request }, any), (json) => {
        const body = encodeUtf8(JSON.stringify(json));
        const expected = attempt(() => parseTimestampJson(body));
        if (expected !== 'refused') taken++;
        expect(attempt(() => parseJsonRequest(body))).toEqual(expected);
      }),
      { numRuns: 2000 },
    );
    expect(taken).toBeGreaterThan(20);
  });

  it('keeps a nonce of any size exact', () => {
    const body = encodeUtf8(`{"artifactHash":"${artifactHash}","hashAlgorithm":"sha256","nonce":${'9'.repeat(300)}}`);
    expect(parseJsonRequest(body)).toEqual(parseTimestampJson(body));
  });

  it('says that a long body is too long before it reads it', () => {
    expect(() => parseJsonRequest(encodeUtf8('{'.repeat(1025)))).toThrow(
      expect.objectContaining({ code: 'TIMESTAMP_TOO_LARGE' }),
    );
  });
});
