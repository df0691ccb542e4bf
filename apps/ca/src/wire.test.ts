import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64, encodeBase64Url, encodeUtf8 } from '#libs/encoding';
import { CaError } from './errors.js';
import { parseLegacyRequest, parseSigningRequest } from './wire.js';

const bytes = (value: unknown): Uint8Array => encodeUtf8(JSON.stringify(value));

describe('parseSigningRequest()', () => {
  test('reads what any client writes: names in either case, base64 in either alphabet', () => {
    const text = fc.string({ unit: 'grapheme' });
    fc.assert(
      fc.property(text, text, fc.uint8Array({ minLength: 1 }), fc.boolean(), (token, content, proof, snake) => {
        const base64 = snake ? encodeBase64Url(proof) : encodeBase64(proof);
        const body = snake
          ? {
              credentials: { oidc_identity_token: token },
              public_key_request: { public_key: { content }, proof_of_possession: base64 },
            }
          : {
              credentials: { oidcIdentityToken: token },
              publicKeyRequest: { publicKey: { content }, proofOfPossession: base64 },
            };
        expect(parseSigningRequest(bytes(body), undefined)).toEqual({
          token: token || undefined,
          key: { kind: 'public-key', publicKey: encodeUtf8(content), signature: proof },
        });
      }),
    );
  });

  test('takes away only the first Bearer of the header', () => {
    expect(parseSigningRequest(undefined, 'Bearer Bearer x').token).toBe('Bearer x');
    expect(parseSigningRequest(undefined, 'bearer x').token).toBe('bearer x');
    expect(parseSigningRequest(undefined, undefined).token).toBeUndefined();
  });
});

describe('parseSigningRequest() and parseLegacyRequest()', () => {
  test('return or throw CaError for any body', () => {
    const body = fc.oneof(
      fc.uint8Array(),
      fc.json().map(encodeUtf8),
      fc
        .record(
          {
            credentials: fc.jsonValue(),
            publicKeyRequest: fc.jsonValue(),
            certificateSigningRequest: fc.jsonValue(),
            publicKey: fc.jsonValue(),
            signedEmailAddress: fc.jsonValue(),
          },
          { requiredKeys: [] },
        )
        .map(bytes),
    );
    fc.assert(
      fc.property(body, (value) => {
        for (const parse of [parseSigningRequest, parseLegacyRequest]) {
          try {
            expect(['public-key', 'request', 'missing']).toContain(parse(value, undefined).key.kind);
          } catch (error) {
            expect(error).toBeInstanceOf(CaError);
          }
        }
      }),
    );
  });
});
