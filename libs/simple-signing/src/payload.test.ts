import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeUtf8, parseUtf8 } from '#libs/encoding';
import { SimpleSigningError } from './error.js';
import { encodePayload, parsePayload, type SignedPayload } from './payload.js';

const digest = `sha256:${'a'.repeat(64)}`;
const good = {
  critical: {
    identity: { 'docker-reference': 'registry.example.com/ns/app:v1' },
    image: { 'docker-manifest-digest': digest },
    type: 'atomic container signature',
  },
  optional: { creator: 'atomic 5.23.1', timestamp: 1795358073 },
};
const parse = (text: string) => parsePayload(encodeUtf8(text));

describe('parsePayload()', () => {
  it('reads what containers/image writes', () => {
    expect(parse(JSON.stringify(good))).toEqual({
      type: 'atomic container signature',
      dockerReference: 'registry.example.com/ns/app:v1',
      manifestDigest: digest,
      creator: 'atomic 5.23.1',
      timestamp: 1795358073,
    });
  });

  it('passes over unknown members of optional, which may be empty', () => {
    expect(parse(JSON.stringify({ ...good, optional: {} })).creator).toBeUndefined();
    expect(parse(JSON.stringify({ ...good, optional: { other: [1] } })).timestamp).toBeUndefined();
  });

  const { critical } = good;
  const wrong: [string, string][] = [
    ['nothing', ''],
    ['no object', '[]'],
    ['something behind it', `${JSON.stringify(good)} {}`],
    ['an unknown member', JSON.stringify({ ...good, extra: 1 })],
    ['no optional', JSON.stringify({ critical })],
    ['optional null', JSON.stringify({ critical, optional: null })],
    ['no critical', JSON.stringify({ optional: {} })],
    ['an unknown member of critical', JSON.stringify({ ...good, critical: { ...critical, extra: 1 } })],
    ['no type', JSON.stringify({ ...good, critical: { image: critical.image, identity: critical.identity } })],
    ["cosign's type", JSON.stringify({ ...good, critical: { ...critical, type: 'cosign container image signature' } })],
    [
      'an unknown member of image',
      JSON.stringify({ ...good, critical: { ...critical, image: { ...critical.image, x: 1 } } }),
    ],
    ['no digest', JSON.stringify({ ...good, critical: { ...critical, image: {} } })],
    [
      'a short digest',
      JSON.stringify({ ...good, critical: { ...critical, image: { 'docker-manifest-digest': 'sha256:ab' } } }),
    ],
    [
      'a digest in capitals',
      JSON.stringify({ ...good, critical: { ...critical, image: { 'docker-manifest-digest': digest.toUpperCase() } } }),
    ],
    [
      'an unknown member of identity',
      JSON.stringify({ ...good, critical: { ...critical, identity: { ...critical.identity, x: 1 } } }),
    ],
    [
      'a reference that is no text',
      JSON.stringify({ ...good, critical: { ...critical, identity: { 'docker-reference': 7 } } }),
    ],
    [
      'an endless reference',
      JSON.stringify({ ...good, critical: { ...critical, identity: { 'docker-reference': 'a'.repeat(5000) } } }),
    ],
    ['a duplicate critical', JSON.stringify(good).replace('{"critical"', '{"critical":{},"critical"')],
    ['a duplicate type', JSON.stringify(good).replace('"type":', '"type":"atomic container signature","type":')],
    ['a duplicate member of optional', JSON.stringify(good).replace('"creator":', '"creator":"x","creator":')],
    ['half a second', JSON.stringify({ ...good, optional: { timestamp: 1.5 } })],
    ['a time as text', JSON.stringify({ ...good, optional: { timestamp: '1' } })],
    ['a creator that is no text', JSON.stringify({ ...good, optional: { creator: 1 } })],
  ];
  it.each(wrong)('refuses %s', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'SIMPLE_PAYLOAD' }) as Error);
  });

  it('refuses a payload of megabytes before it reads it', () => {
    expect(() => parse(' '.repeat(100_000))).toThrow(expect.objectContaining({ code: 'SIMPLE_TOO_LARGE' }) as Error);
  });

  it("reads cosign's payloads by their own type, with optional null", () => {
    const type = 'cosign container image signature';
    const text = JSON.stringify({ critical: { ...critical, type }, optional: null });
    expect(parsePayload(encodeUtf8(text), type).manifestDigest).toBe(digest);
    expect(() => parse(text)).toThrow('type is');
  });

  it('takes any bytes or refuses them by its own error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.json().map(encodeUtf8)), (bytes) => {
        expect(() => parsePayload(bytes)).toThrow(SimpleSigningError);
      }),
    );
  });
});

describe('encodePayload()', () => {
  it('writes members in the order of containers/image', () => {
    expect(parseUtf8(encodePayload(parse(JSON.stringify(good))))).toBe(JSON.stringify(good));
  });

  it('is read back as it was', () => {
    const payloads: fc.Arbitrary<SignedPayload> = fc.record(
      {
        type: fc.constant('atomic container signature' as const),
        dockerReference: fc.string({ minLength: 1, maxLength: 100, unit: 'grapheme' }),
        manifestDigest: fc
          .tuple(
            fc.constantFrom(['sha256', 64] as const, ['sha384', 96] as const, ['sha512', 128] as const),
            fc.constantFrom(...'0f'),
          )
          .map(([[name, length], digit]) => `${name}:${digit.repeat(length)}`),
        creator: fc.string({ maxLength: 100, unit: 'grapheme' }),
        timestamp: fc.maxSafeInteger().map((value) => value + 0),
      },
      { requiredKeys: ['type', 'dockerReference', 'manifestDigest'] },
    );
    fc.assert(
      fc.property(payloads, (payload) => {
        expect(parsePayload(encodePayload(payload))).toEqual(payload);
      }),
    );
  });

  it.each([
    ['a malformed digest', { manifestDigest: 'sha256:1' }],
    ['no reference', { dockerReference: '' }],
    ['an endless reference', { dockerReference: 'a'.repeat(5000) }],
    ['half a character', { creator: '\ud800' }],
    ['half a second', { timestamp: 0.5 }],
  ])('refuses %s', (_, change) => {
    expect(() => encodePayload({ ...parse(JSON.stringify(good)), ...change })).toThrow(
      expect.objectContaining({ code: 'SIMPLE_PAYLOAD' }) as Error,
    );
  });
});
