import { describe, expect, test } from 'vitest';
import { encodeUtf8, parseUtf8 } from '#libs/encoding';
import { pae } from './index.js';

describe('pae()', () => {
  // secure-systems-lab/dsse: protocol.md, "Test Vectors"
  test('matches the test vector of the protocol', () => {
    expect(parseUtf8(pae('http://example.com/HelloWorld', encodeUtf8('hello world')))).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    );
  });

  test('writes 0 for what is empty', () => {
    expect(parseUtf8(pae('', new Uint8Array()))).toBe('DSSEv1 0  0 ');
  });

  test('sigstore-js#1657: counts bytes of UTF-8, not characters', () => {
    expect(parseUtf8(pae('é€𝄞', encodeUtf8('ü')))).toBe('DSSEv1 9 é€𝄞 2 ü');
  });

  test('takes the payload as bytes, whatever they are', () => {
    expect([...pae('t', Uint8Array.of(0xff, 0x00)).slice(-2)]).toEqual([0xff, 0x00]);
  });
});
