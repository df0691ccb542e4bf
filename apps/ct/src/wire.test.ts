import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import { CtError } from './errors.js';
import { entriesQuery, parseChainBody, parseQuery, proofByHashQuery } from './wire.js';

describe('parseChainBody()', () => {
  it('gives back the certificates in order, and ignores other names', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array(), { minLength: 1, maxLength: 8 }), (chain) => {
        const body = JSON.stringify({ chain: chain.map((der) => encodeBase64(der)), unknown: 1 });
        expect(parseChainBody(encodeUtf8(body))).toEqual(chain);
      }),
    );
  });

  test.each<[string, string | undefined, string]>([
    ['no body', undefined, 'request body is not JSON'],
    ['no JSON', '{', 'request body is not JSON'],
    ['another value', '[]', 'chain is empty'],
    ['null', 'null', 'chain is empty'],
    ['no chain', '{}', 'chain is empty'],
    ['an empty chain', '{"chain":[]}', 'chain is empty'],
    ['a chain that is no list', '{"chain":"AAAA"}', 'chain is empty'],
    ['a number in the chain', '{"chain":["AAAA",7]}', 'chain must be base64 strings'],
    ['what is not base64', '{"chain":["!"]}', 'chain must be base64 strings'],
    ['base64 of the other alphabet', '{"chain":["__8="]}', 'chain must be base64 strings'],
    ['base64 without padding', '{"chain":["AAA"]}', 'chain must be base64 strings'],
  ])('refuses %s', (_name, body, message) => {
    const parse = () => parseChainBody(body === undefined ? undefined : encodeUtf8(body));
    expect(parse).toThrow(expect.objectContaining({ code: 'CT_REQUEST', message }));
  });

  it('returns or throws CtError for any body', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(encodeUtf8)), (body) => {
        try {
          parseChainBody(body);
        } catch (error) {
          expect(error).toBeInstanceOf(CtError);
        }
      }),
    );
  });
});

describe('parseQuery()', () => {
  it('gives back what the schema names', () => {
    expect(parseQuery(entriesQuery, { start: '0', end: '12', x: '' })).toEqual({ start: 0n, end: 12n });
    const hash = encodeBase64(new Uint8Array(32).fill(0xfb));
    expect(parseQuery(proofByHashQuery, { hash, tree_size: '9'.repeat(19) })).toEqual({
      hash: new Uint8Array(32).fill(0xfb),
      tree_size: 9_999_999_999_999_999_999n,
    });
  });

  const number = (name: string): string => `parameter ${name} must be a number of at least 0`;
  const hash = 'parameter hash must be the base64 of 32 bytes';
  test.each<[string, typeof entriesQuery | typeof proofByHashQuery, unknown, string]>([
    ['a missing parameter', entriesQuery, { start: '0' }, number('end')],
    ['no parameters', entriesQuery, {}, number('start')],
    ['an empty one', entriesQuery, { start: '', end: '1' }, number('start')],
    ['a negative number', entriesQuery, { start: '-1', end: '1' }, number('start')],
    ['a fraction', entriesQuery, { start: '1', end: '1.5' }, number('end')],
    ['a number of 20 digits', entriesQuery, { start: '1'.repeat(20), end: '1' }, number('start')],
    ['one given twice', entriesQuery, { start: ['0', '0'], end: '1' }, number('start')],
    ['a hash that is missing', proofByHashQuery, { tree_size: '1' }, hash],
    ['a hash that is short', proofByHashQuery, { hash: 'AAAA', tree_size: '1' }, hash],
    ['a hash whose last bits say nothing', proofByHashQuery, { hash: `${'A'.repeat(42)}B=`, tree_size: '1' }, hash],
    ['a hash with spaces for plus signs', proofByHashQuery, { hash: `${' '.repeat(43)}=`, tree_size: '1' }, hash],
  ])('refuses %s', (_name, schema, query, message) => {
    expect(() => parseQuery<unknown>(schema, query)).toThrow(expect.objectContaining({ code: 'CT_REQUEST', message }));
  });
});
