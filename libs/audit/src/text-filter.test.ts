import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeBase64, encodePem, encodeUtf8 } from '#libs/encoding';
import { findText, textFilter } from './text-filter.js';

const random = (length: number) => Uint8Array.from({ length }, (_, i) => (i * 89 + 7) & 0xff);
const certificate = (name: Uint8Array) => concatBytes(random(150), name, random(90));
const body = (value: unknown) => encodeUtf8(JSON.stringify({ kind: 'x', spec: value }));
const base64Text = (text: string) => encodeBase64(encodeUtf8(text));

const carriers: [string, (name: Uint8Array) => Uint8Array][] = [
  ['as it is', (name) => concatBytes(encodeUtf8('{"a":"'), name, encodeUtf8('"}'))],
  ['in a certificate in base64', (name) => body({ rawBytes: encodeBase64(certificate(name)) })],
  ['in PEM in base64', (name) => body({ content: base64Text(encodePem('CERTIFICATE', certificate(name))) })],
  [
    'in the second of two PEM blocks',
    (name) =>
      body({
        content: base64Text(encodePem('CERTIFICATE', random(300)) + encodePem('CERTIFICATE', certificate(name))),
      }),
  ],
  [
    'in PEM in base64 in base64',
    (name) => body({ key: base64Text(base64Text(encodePem('CERTIFICATE', certificate(name)))) }),
  ],
  ['in JSON in base64', (name) => body({ payload: encodeBase64(body({ deeper: encodeBase64(certificate(name)) })) })],
];

describe('findText()', () => {
  it.each(carriers)('finds a name %s, wherever it lies', (_, carry) => {
    fc.assert(
      fc.property(fc.nat(20), fc.boolean(), (shift, upper) => {
        const name = `${'x'.repeat(shift)}Alice@Example.com`;
        const record = carry(encodeUtf8(upper ? name.toUpperCase() : name));
        expect(findText(textFilter([['alice@example.com']]), 'tlog-tiles', record, undefined)).toBe(true);
        expect(findText(textFilter([['bob@example.com']]), 'tlog-tiles', record, undefined)).toBe(false);
      }),
      { numRuns: 60 },
    );
  });

  it('finds a digest by its bytes, where it is base64', () => {
    const digest = random(32);
    const record = body({ digest: encodeBase64(digest) });
    expect(findText(textFilter([['00ff', digest]]), 'tlog-tiles', record, undefined)).toBe(true);
    expect(findText(textFilter([['00ff', random(31).reverse()]]), 'tlog-tiles', record, undefined)).toBe(false);
  });

  it('wants one of each group, and looks into the annex too', () => {
    const record = body({ a: 'first' });
    const annex = encodeUtf8('..second..');
    const both = textFilter([['none', 'first'], ['second']]);
    expect(findText(both, 'tlog-tiles', record, annex)).toBe(true);
    expect(findText(both, 'tlog-tiles', record, undefined)).toBe(false);
  });

  it('looks into certificates of a CT log as they are', () => {
    expect(findText(textFilter([['alice@']]), 'static-ct', certificate(encodeUtf8('ALICE@x')), undefined)).toBe(true);
    expect(findText(textFilter([['bob@']]), 'static-ct', certificate(encodeUtf8('alice@x')), undefined)).toBe(false);
  });

  it('lets pass what it cannot judge', () => {
    expect(findText(textFilter([]), 'tlog-tiles', body({}), undefined)).toBe(true);
    expect(findText(textFilter([['日本']]), 'tlog-tiles', body({}), undefined)).toBe(true);
    // Of a name that is not all ASCII the rest decides.
    expect(findText(textFilter([['é@example.com']]), 'tlog-tiles', body({ a: 'É@EXAMPLE.COM' }), undefined)).toBe(true);
    // An escape may hide anything.
    expect(findText(textFilter([['alice']]), 'tlog-tiles', encodeUtf8('{"a":"\\u0061lice"}'), undefined)).toBe(true);
  });

  it('survives any bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => encodeUtf8(text)),
    );
    fc.assert(
      fc.property(bytes, (record) => void findText(textFilter([['x'.repeat(50)]]), 'tlog-tiles', record, record)),
    );
  });
});
