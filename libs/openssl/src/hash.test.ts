import { encodeHex, encodeUtf8 } from '#libs/encoding';
import { describe, expect, it } from 'vitest';
import { createHasher, sha256 } from './index.js';

// FIPS 180-2, appendix B.1
const ABC = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

describe('sha256()', () => {
  it('knows the digest of abc, in a plain array', () => {
    expect(encodeHex(sha256(encodeUtf8('abc')))).toBe(ABC);
    expect(sha256(encodeUtf8('abc')).constructor).toBe(Uint8Array);
  });
});

describe('createHasher()', () => {
  it('takes the data in pieces', () => {
    const hasher = createHasher('sha256');
    hasher.update(encodeUtf8('a'));
    hasher.update(encodeUtf8('bc'));
    expect(encodeHex(hasher.digest())).toBe(ABC);
  });

  it('cannot be used after its end', () => {
    const hasher = createHasher('sha512');
    hasher.digest();
    expect(() => hasher.digest()).toThrow();
  });
});
