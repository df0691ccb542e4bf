import { describe, expect, it } from 'vitest';
import { opensslCrypto } from '#libs/openssl';
import { ecdsaSigner, hash, hex, knownKey, readNote, rsaSigner } from '../../../test/vectors/note/keys.js';
import {
  encodeTreeHeadSignature,
  type NoteError,
  noteVerifier,
  parseCheckpoint,
  parseNote,
  parseTreeHeadSignature,
  rfc6962NoteSigner,
  treeHeadInput,
} from './index.js';

const { text, signatures } = parseNote(readNote('static-ct'));
const bytes = signatures[0]?.signature as Uint8Array;
const verifier = noteVerifier(knownKey('static ct'), opensslCrypto);

describe('treeHeadInput()', () => {
  it('is what the known log signed', () => {
    expect(hex(treeHeadInput(parseCheckpoint(text), 1_711_519_390_034n))).toBe(
      '00010000018e7e8159520000000006e200eadaad4ae9a888251f85ed3ca18963a086858e8d8d3fddd5412ec05b02f078c42c',
    );
  });
});

describe('parseTreeHeadSignature()', () => {
  it('gives time and DigitallySigned, as get-sth answers them', () => {
    const signature = parseTreeHeadSignature(bytes);
    expect(signature.timestampMs).toBe(1_711_519_390_034n);
    expect(hex(signature.digitallySigned).slice(0, 8)).toBe('04030047');
  });

  it('encodeTreeHeadSignature() makes the same of them', () => {
    expect(encodeTreeHeadSignature(parseTreeHeadSignature(bytes))).toEqual(bytes);
  });

  it.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array(0)],
    ['a time alone', bytes.subarray(0, 8)],
    ['one byte too few', bytes.subarray(0, -1)],
    ['one byte too many', Uint8Array.of(...bytes, 0)],
  ])('rejects %s, and such a signature does not verify', async (_name, wrong) => {
    expect(() => parseTreeHeadSignature(wrong)).toThrow(
      expect.objectContaining({ code: 'NOTE_MALFORMED' }) as NoteError,
    );
    expect(await verifier.verify(text, wrong)).toBe(false);
  });
});

describe('rfc6962NoteVerifier()', () => {
  it.each<[string, number, number]>([
    ['SHA-1', 8, 2],
    ['SHA-384', 8, 5],
    ['RSA', 9, 1],
    ['anonymous', 9, 0],
  ])('rejects the algorithm byte of %s over a good ECDSA signature', async (_name, at, value) => {
    expect(await verifier.verify(text, bytes)).toBe(true);
    expect(await verifier.verify(text, bytes.with(at, value))).toBe(false);
  });

  it('rejects another time than the signed one', async () => {
    expect(await verifier.verify(text, bytes.with(7, (bytes[7] as number) ^ 1))).toBe(false);
  });

  it.each([
    ['ECDSA', ecdsaSigner, '0403'],
    ['RSA', rsaSigner, '0401'],
  ])('%s signatures say so', (_name, signer, algorithm) => {
    const note = rfc6962NoteSigner('rome.ct.filippo.io/2024h1', signer, hash, { timestampMs: () => 1n });
    expect(hex(parseTreeHeadSignature(note.sign(text)).digitallySigned).slice(0, 4)).toBe(algorithm);
  });
});
