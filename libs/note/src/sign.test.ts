import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { ecdsaSigner, hash, hex, knownKeys, readNote, rsaSigner, seedSigner } from '../../../test/vectors/note/keys.js';
import {
  cosignatureSigner,
  ecdsaNoteSigner,
  ed25519NoteSigner,
  ed25519NoteVerifier,
  encodeCheckpoint,
  type NoteError,
  type NoteErrorCode,
  noteLogId,
  parseCosignature,
  parseNote,
  parseTreeHeadSignature,
  rfc6962NoteSigner,
  rfc6962NoteVerifier,
  signNote,
  signText,
  verifyNote,
} from './index.js';

const code = (expected: NoteErrorCode): NoteError => expect.objectContaining({ code: expected }) as NoteError;
const root = new Uint8Array(32).fill(7);
const text = encodeCheckpoint({ origin: 'log.example', size: 7n, rootHash: root, extensions: [] });
const extended = encodeCheckpoint({ origin: 'log.example', size: 7n, rootHash: root, extensions: ['more'] });
const timestampMs = (): bigint => 1_700_000_000_123n;

describe('signNote()', () => {
  it('makes the known note of log and witness', () => {
    const { text: signed } = parseNote(readNote('deterministic-cosigned'));
    const log = ed25519NoteSigner('log.example/test', seedSigner(1), hash);
    const time = BigInt(knownKeys['deterministic witness']?.time ?? '0');
    const witness = cosignatureSigner('witness.example/w1', seedSigner(2), hash, { time: () => time });
    expect(signNote(signed, [log, witness])).toBe(readNote('deterministic-cosigned'));
  });

  it('signs any text so that it verifies', async () => {
    const signer = ed25519NoteSigner('log.example', seedSigner(1), hash);
    const verifier = ed25519NoteVerifier('log.example', seedSigner(1).publicKey, opensslCrypto);
    const anyText = fc.string({ unit: 'grapheme' }).map((line) => `${line}\n\n— ${line}\n`);
    await fc.assert(
      fc.asyncProperty(anyText, async (any) => {
        expect((await verifyNote(signNote(any, [signer]), [verifier])).text).toBe(any);
      }),
      { numRuns: 30 },
    );
  });

  it.each(['no line feed', '', 'tab\t\n', 'half \ud83d\n'])('refuses the text %j', (bad) => {
    const signer = ed25519NoteSigner('log.example', seedSigner(1), hash);
    expect(() => signNote(bad, [signer])).toThrow(code('NOTE_MALFORMED'));
    expect(() => signText(bad, signer)).toThrow(code('NOTE_MALFORMED'));
  });

  it('refuses to make a note without signatures', () => {
    expect(() => signNote(text, [])).toThrow(code('NOTE_MALFORMED'));
  });
});

describe('note signers', () => {
  it('state the log id of their key', () => {
    const [ed25519, ecdsa] = [seedSigner(1), ecdsaSigner];
    const logs = [ed25519NoteSigner('log.example', ed25519, hash), ecdsaNoteSigner('log.example', ecdsa, hash)];
    expect(logs.map(({ logId }) => hex(logId))).toEqual(
      [ed25519, ecdsa].map(({ publicKey }) => hex(noteLogId('log.example', publicKey, hash))),
    );
    expect(logs.every(({ keyId, logId }) => hex(logId).startsWith(hex(keyId)))).toBe(true);
  });

  it('of RFC 6962 state the hash of the SubjectPublicKeyInfo as log id, which is not where the key id is from', () => {
    const signer = rfc6962NoteSigner('log.example', ecdsaSigner, hash, { timestampMs });
    expect(signer.logId).toEqual(hash('sha256', ecdsaSigner.publicKey.spki));
    expect(hex(signer.logId).startsWith(hex(signer.keyId))).toBe(false);
  });

  it.each(['', 'log example', 'log+example', 'log\n'])('refuse the name %j', (name) => {
    const refused = code('NOTE_KEY_MALFORMED');
    expect(() => ed25519NoteSigner(name, seedSigner(1), hash)).toThrow(refused);
    expect(() => ecdsaNoteSigner(name, ecdsaSigner, hash)).toThrow(refused);
    expect(() => rfc6962NoteSigner(name, ecdsaSigner, hash, { timestampMs })).toThrow(refused);
    expect(() => cosignatureSigner(name, seedSigner(1), hash, { time: () => 1n })).toThrow(refused);
  });

  it('refuse keys of another kind', () => {
    const refused = code('NOTE_KEY_MALFORMED');
    expect(() => ed25519NoteSigner('log.example', ecdsaSigner, hash)).toThrow(refused);
    expect(() => ecdsaNoteSigner('log.example', seedSigner(1), hash)).toThrow(refused);
    expect(() => ecdsaNoteSigner('log.example', rsaSigner, hash)).toThrow(refused);
    expect(() => rfc6962NoteSigner('log.example', seedSigner(1), hash, { timestampMs })).toThrow(refused);
    expect(() => cosignatureSigner('log.example', ecdsaSigner, hash, { time: () => 1n })).toThrow(refused);
  });

  it('refuse a key that signs over another hash than verifiers expect', () => {
    const p384 = generateSigner('P-384');
    expect(() => ecdsaNoteSigner('log.example', p384, hash)).toThrow(
      'Cannot sign notes: the key signs ecdsa with sha384, notes of this kind need ecdsa with sha256',
    );
  });
});

describe('rfc6962NoteSigner()', () => {
  const signer = rfc6962NoteSigner('log.example', ecdsaSigner, hash, { timestampMs });
  const verifier = rfc6962NoteVerifier('log.example', ecdsaSigner.publicKey, opensslCrypto);

  it('puts the signed time into the signature', () => {
    expect(parseTreeHeadSignature(signer.sign(text)).timestampMs).toBe(1_700_000_000_123n);
  });

  it('refuses extension lines, which its signature does not cover', () => {
    expect(() => signer.sign(extended)).toThrow(code('NOTE_CHECKPOINT_MALFORMED'));
  });

  it('refuses another origin, which its signature does not cover', () => {
    expect(() => signer.sign(text.replace('log.', 'other.'))).toThrow(code('NOTE_ORIGIN_MISMATCH'));
  });

  it('rfc6962NoteVerifier() rejects extension lines and another origin, which only the text can betray', async () => {
    const signature = signer.sign(text);
    expect(await verifier.verify(text, signature)).toBe(true);
    expect(await verifier.verify(extended, signature)).toBe(false);
    expect(await verifier.verify(text.replace('log.', 'other.'), signature)).toBe(false);
  });

  it('does not sign the text itself', async () => {
    const { digitallySigned } = parseTreeHeadSignature(signer.sign(text));
    const message = new TextEncoder().encode(text);
    const scheme = { kind: 'ecdsa', hash: 'sha256' } as const;
    const bare = digitallySigned.slice(4);
    expect(await opensslCrypto.verify(ecdsaSigner.publicKey, scheme, message, bare)).toBe(false);
  });
});

describe('cosignatureSigner()', () => {
  const signer = cosignatureSigner('witness.example', seedSigner(2), hash, { time: () => 1_700_000_000n });

  it('puts the signed time into the signature', () => {
    expect(parseCosignature(signer.sign(text)).time).toBe(1_700_000_000n);
  });

  it('covers extension lines', () => {
    expect(hex(signer.sign(text))).not.toBe(hex(signer.sign(extended)));
  });

  it('refuses what is no checkpoint', () => {
    expect(() => signer.sign('hello\n')).toThrow(code('NOTE_CHECKPOINT_MALFORMED'));
  });

  it.each([0n, -1n, 2n ** 63n])('refuses time %s', (time) => {
    const wrong = cosignatureSigner('witness.example', seedSigner(2), hash, { time: () => time });
    expect(() => wrong.sign(text)).toThrow(code('NOTE_MALFORMED'));
  });
});
