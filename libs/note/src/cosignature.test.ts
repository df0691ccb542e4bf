import { describe, expect, it } from 'vitest';
import { opensslCrypto } from '#libs/openssl';
import { hash, knownKey, readNote, seedSigner } from '../../../test/vectors/note/keys.js';
import {
  cosignatureSigner,
  cosignatureVerifier,
  ed25519NoteVerifier,
  type NoteError,
  noteVerifier,
  parseCosignature,
  parseNote,
} from './index.js';

const { text, signatures } = parseNote(readNote('deterministic-cosigned'));
const bytes = signatures[1]?.signature as Uint8Array;
const verifier = noteVerifier(knownKey('deterministic witness'), opensslCrypto);

describe('parseCosignature()', () => {
  it('gives time and signature', () => {
    expect(parseCosignature(bytes)).toEqual({ time: 1_700_000_000n, signature: bytes.slice(8) });
  });

  it('reads the time of the conformance cosignature', () => {
    const witness = parseNote(readNote('rekor-v2-cosigned')).signatures[1]?.signature as Uint8Array;
    expect(parseCosignature(witness).time).toBe(1_755_639_614n);
  });

  it.each<[string, Uint8Array]>([
    ['no time', bytes.subarray(8)],
    ['a signature cut short', bytes.subarray(0, -1)],
    ['a trailing byte', Uint8Array.of(...bytes, 0)],
    ['time 0', Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, ...bytes.subarray(8))],
    ['time 2^63', bytes.with(0, 0x80)],
  ])('rejects %s, and such a signature does not verify', async (_name, wrong) => {
    expect(() => parseCosignature(wrong)).toThrow(expect.objectContaining({ code: 'NOTE_MALFORMED' }) as NoteError);
    expect(await verifier.verify(text, wrong)).toBe(false);
  });
});

describe('cosignatureVerifier()', () => {
  it('rejects another time than the signed one', async () => {
    expect(await verifier.verify(text, bytes)).toBe(true);
    expect(await verifier.verify(text, bytes.with(7, (bytes[7] as number) ^ 1))).toBe(false);
  });

  it('rejects time 0 even where a witness signed it', async () => {
    const message = new TextEncoder().encode(`cosignature/v1\ntime 0\n${text}`);
    const forged = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, ...seedSigner(2).sign(message));
    expect(await verifier.verify(text, forged)).toBe(false);
  });

  it('rejects a signature on the bare text, and a log key rejects a cosignature', async () => {
    const witness = seedSigner(2);
    const bare = witness.sign(new TextEncoder().encode(text));
    expect(await verifier.verify(text, Uint8Array.of(...bytes.subarray(0, 8), ...bare))).toBe(false);
    const asLog = ed25519NoteVerifier('witness.example/w1', witness.publicKey, opensslCrypto);
    expect(await asLog.verify(text, bytes)).toBe(false);
    expect(await asLog.verify(text, bytes.slice(8))).toBe(false);
  });

  it('rejects a cosignature without the line feed at the end of the text', async () => {
    const message = new TextEncoder().encode(`cosignature/v1\ntime 5\n${text.slice(0, -1)}`);
    const forged = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 5, ...seedSigner(2).sign(message));
    expect(await verifier.verify(text, forged)).toBe(false);
  });

  it('covers extension lines', async () => {
    const extended = `${text}more\n`;
    const signer = cosignatureSigner('witness.example/w1', seedSigner(2), hash, { time: () => 5n });
    const own = cosignatureVerifier('witness.example/w1', seedSigner(2).publicKey, opensslCrypto);
    expect(await own.verify(extended, signer.sign(extended))).toBe(true);
    expect(await own.verify(text, signer.sign(extended))).toBe(false);
  });
});
