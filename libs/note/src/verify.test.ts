import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadNobleCrypto } from '#libs/crypto';
import { opensslCrypto } from '#libs/openssl';
import {
  ecdsaSigner,
  hash,
  hex,
  knownKey,
  knownKeys,
  readNote,
  rsaSigner,
  seedSigner,
} from '../../../test/vectors/note/keys.js';
import {
  cosignatureSigner,
  cosignatureVerifier,
  ecdsaNoteSigner,
  ecdsaNoteVerifier,
  ed25519NoteSigner,
  ed25519NoteVerifier,
  encodeCheckpoint,
  encodeNote,
  type NoteError,
  type NoteErrorCode,
  noteKeyHash,
  type NoteSignature,
  type NoteVerifier,
  noteVerifier,
  parseNote,
  rfc6962NoteSigner,
  rfc6962NoteVerifier,
  rsaNoteVerifier,
  signNote,
  signText,
  verifyCheckpoint,
  verifyNote,
} from './index.js';

const nobleCrypto = await loadNobleCrypto();

const code = (expected: NoteErrorCode): NoteError => expect.objectContaining({ code: expected }) as NoteError;
const verifierOf = (title: string, crypto = opensslCrypto): NoteVerifier => noteVerifier(knownKey(title), crypto);

const log = 'log.example';
const text = encodeCheckpoint({ origin: log, size: 7n, rootHash: new Uint8Array(32).fill(7), extensions: [] });
const logSigner = ed25519NoteSigner(log, seedSigner(1), hash);
const logVerifier = ed25519NoteVerifier(log, seedSigner(1).publicKey, opensslCrypto);
const witness = (seed: number, time = 1_700_000_000n): ReturnType<typeof cosignatureSigner> =>
  cosignatureSigner(`witness.example/w${seed}`, seedSigner(seed), hash, { time: () => time });
const stranger = (at: number): NoteSignature => ({
  name: `stranger${at}.example`,
  keyId: Uint8Array.of(0, 0, 0, at),
  signature: new Uint8Array(64),
});
const forge = (signature: NoteSignature): NoteSignature => ({
  ...signature,
  signature: signature.signature.map((byte, at) => (at === signature.signature.length - 1 ? byte ^ 1 : byte)),
});

describe.each([
  ['openssl', opensslCrypto],
  ['noble', nobleCrypto],
])('with %s', (_name, crypto) => {
  it.each([
    ['rekor-v2-cosigned', 'rekor v2 staging', 736n],
    ['rekor-v2-two-witnesses', 'rekor v2 staging', 736n],
    ['rekor-v2-two-log-lines', 'rekor v2 staging', 736n],
    ['static-ct', 'static ct', 115_474_666n],
    ['deterministic-cosigned', 'deterministic log', 7n],
    ['deterministic-cosigned', 'deterministic witness', 7n],
  ])('verifyCheckpoint() takes %s by the key of %s', async (note, title, size) => {
    const verifier = verifierOf(title, crypto);
    const { origin, ...verified } = await verifyCheckpoint(readNote(note), [verifier], { origin: () => true });
    expect(verified.size).toBe(size);
    expect(verified.signatures.map((signature) => signature.verifier)).toEqual([verifier]);
    if (knownKeys[title]?.kind !== 'cosignature') expect(origin).toBe(verifier.name);
  });

  it.each(['rekor-v1', 'rekor-v1-other-root'])('verifyCheckpoint() takes %s', async (note) => {
    const isRekor = (origin: string): boolean => /^rekor\.sigstore\.dev - [0-9]+$/.test(origin);
    const verified = await verifyCheckpoint(readNote(note), [verifierOf('rekor v1', crypto)], { origin: isRekor });
    expect(verified.signatures[0]?.name).toBe('rekor.sigstore.dev');
  });

  it('verifyNote() takes the example of C2SP signed-note', async () => {
    const verified = await verifyNote(readNote('signed-note-example'), [verifierOf('signed note example', crypto)]);
    expect(verified.text).toBe('This is an example message.\n');
  });

  it('verifyNote() rejects the conformance note with a bad signature', async () => {
    const wrong = verifyNote(readNote('wrong-rekor-v1-signature'), [verifierOf('rekor v1', crypto)]);
    await expect(wrong).rejects.toThrow(code('NOTE_SIGNATURE_INVALID'));
  });

  it('every kind of signature verifies, and no longer after any one-bit change of text or signature', async () => {
    const time = { timestampMs: () => 1_700_000_000_123n };
    const signers = [
      [logSigner, logVerifier],
      [ecdsaNoteSigner(log, ecdsaSigner, hash), ecdsaNoteVerifier(log, ecdsaSigner.publicKey, crypto)],
      [rfc6962NoteSigner(log, ecdsaSigner, hash, time), rfc6962NoteVerifier(log, ecdsaSigner.publicKey, crypto)],
      [rfc6962NoteSigner(log, rsaSigner, hash, time), rfc6962NoteVerifier(log, rsaSigner.publicKey, crypto)],
      [witness(2), cosignatureVerifier('witness.example/w2', seedSigner(2).publicKey, crypto)],
    ] as const;
    const anyCase = fc.record({
      which: fc.nat(signers.length - 1),
      inText: fc.boolean(),
      at: fc.nat(),
      bit: fc.nat(7),
    });
    await fc.assert(
      fc.asyncProperty(anyCase, async ({ which, inText, at, bit }) => {
        const [signer, verifier] = signers[which] as (typeof signers)[number];
        const signature = signer.sign(text);
        expect(await verifier.verify(text, signature)).toBe(true);
        const changed = inText ? Buffer.from(text) : Buffer.from(signature);
        changed[at % changed.length] = (changed[at % changed.length] as number) ^ (1 << bit);
        const verdict = inText
          ? await verifier.verify(changed.toString('latin1'), signature)
          : await verifier.verify(text, new Uint8Array(changed));
        expect(verdict).toBe(false);
      }),
      { numRuns: 60 },
    );
  });
});

describe('verifyNote()', () => {
  it('ignores unknown lines, wherever they stand', async () => {
    const own = signText(text, logSigner);
    for (const at of [0, 1, 8, 15]) {
      const signatures = Array.from({ length: 15 }, (_, number) => stranger(number)).toSpliced(at, 0, own);
      const verified = await verifyNote(encodeNote({ text, signatures }), [logVerifier]);
      expect(verified.signatures).toEqual([{ ...own, verifier: logVerifier }]);
    }
  });

  it('does not take the first line for the log’s', async () => {
    const { text: signed, signatures } = parseNote(readNote('rekor-v2-cosigned'));
    const turned = encodeNote({ text: signed, signatures: signatures.toReversed() });
    const verified = await verifyNote(turned, [verifierOf('rekor v2 staging')]);
    expect(verified.signatures.map(({ keyId }) => hex(keyId))).toEqual(['f30d5a99']);
  });

  it('rejects a note of strangers only', async () => {
    const note = encodeNote({ text, signatures: [stranger(1), stranger(2)] });
    await expect(verifyNote(note, [logVerifier])).rejects.toThrow(code('NOTE_NO_KNOWN_SIGNATURE'));
  });

  it('rejects any note if no key is known', async () => {
    await expect(verifyNote(signNote(text, [logSigner]), [])).rejects.toThrow(code('NOTE_NO_KNOWN_SIGNATURE'));
  });

  it('does not know a key by its name alone', async () => {
    const renamed = { ...signText(text, logSigner), keyId: Uint8Array.of(1, 2, 3, 4) };
    const note = encodeNote({ text, signatures: [renamed] });
    await expect(verifyNote(note, [logVerifier])).rejects.toThrow(code('NOTE_NO_KNOWN_SIGNATURE'));
  });

  it('does not know a key by its id alone', async () => {
    const renamed = { ...signText(text, logSigner), name: 'other.example' };
    const note = encodeNote({ text, signatures: [renamed] });
    await expect(verifyNote(note, [logVerifier])).rejects.toThrow(code('NOTE_NO_KNOWN_SIGNATURE'));
  });

  it('takes several keys of one name', async () => {
    const second = ed25519NoteSigner(log, seedSigner(9), hash);
    const verifiers = [logVerifier, ed25519NoteVerifier(log, seedSigner(9).publicKey, opensslCrypto)];
    const verified = await verifyNote(signNote(text, [second, logSigner]), verifiers);
    expect(verified.signatures.map(({ verifier }) => verifier)).toEqual(verifiers.toReversed());
  });

  it('Sunlight ANT-2026-SAPGR4D6: rejects a note with a forged line of a known key', async () => {
    const [own, cosigned] = [signText(text, logSigner), signText(text, witness(2))];
    const witnessVerifier = cosignatureVerifier(cosigned.name, seedSigner(2).publicKey, opensslCrypto);
    for (const signatures of [
      [own, forge(cosigned)],
      [forge(cosigned), own],
      [own, cosigned, forge(cosigned)],
    ]) {
      const verifying = verifyNote(encodeNote({ text, signatures }), [logVerifier, witnessVerifier]);
      await expect(verifying).rejects.toThrow(code('NOTE_SIGNATURE_INVALID'));
    }
  });

  it('Sunlight ANT-2026-SAPGR4D6: rejects a forged duplicate of the log’s own line', async () => {
    const own = signText(text, logSigner);
    for (const signatures of [
      [own, forge(own)],
      [forge(own), own],
    ]) {
      const verifying = verifyNote(encodeNote({ text, signatures }), [logVerifier]);
      await expect(verifying).rejects.toThrow(code('NOTE_SIGNATURE_INVALID'));
    }
  });

  it('Sunlight ANT-2026-SAPGR4D6: returns verified lines only, so that nothing else is kept', async () => {
    const own = signText(text, logSigner);
    const note = encodeNote({ text, signatures: [stranger(1), own, forge(signText(text, witness(2)))] });
    const verified = await verifyNote(note, [logVerifier]);
    expect(encodeNote(verified)).toBe(signNote(text, [logSigner]));
  });

  it('counts a key once, however often it signed', async () => {
    const verifier = cosignatureVerifier('witness.example/w2', seedSigner(2).publicKey, opensslCrypto);
    const note = signNote(text, [logSigner, witness(2, 1n), witness(2, 2n), witness(2, 2n)]);
    const verified = await verifyNote(note, [verifier, logVerifier]);
    expect(verified.signatures.map(({ name }) => name)).toEqual([log, 'witness.example/w2']);
  });

  it('takes two verifiers of one name and key id as alternatives', async () => {
    const keyId = Uint8Array.of(1, 2, 3, 4);
    const verifiers = [5, 1].map((seed) => {
      const key = seedSigner(seed).publicKey;
      return noteVerifier({ kind: 'ed25519', name: log, key }, opensslCrypto, keyId);
    });
    const note = encodeNote({ text, signatures: [{ ...signText(text, logSigner), keyId }] });
    const verified = await verifyNote(note, verifiers);
    expect(verified.signatures.map(({ verifier }) => verifier)).toEqual([verifiers[1]]);
  });

  it('takes a Rekor v1 key that is identified by its SubjectPublicKeyInfo though it is Ed25519', async () => {
    const key = seedSigner(1).publicKey;
    const keyId = hash('sha256', key.spki).slice(0, 4);
    const note = encodeNote({ text, signatures: [{ ...signText(text, logSigner), keyId }] });
    const noteKey = { kind: 'ed25519', name: log, key } as const;
    await expect(verifyNote(note, [noteVerifier(noteKey, opensslCrypto)])).rejects.toThrow(
      code('NOTE_NO_KNOWN_SIGNATURE'),
    );
    expect((await verifyNote(note, [noteVerifier(noteKey, opensslCrypto, keyId)])).signatures).toHaveLength(1);
  });

  it('rejects malformed notes as such', async () => {
    await expect(verifyNote('text\n', [logVerifier])).rejects.toThrow(code('NOTE_MALFORMED'));
    await expect(verifyNote(Uint8Array.of(0xff), [logVerifier])).rejects.toThrow(code('NOTE_MALFORMED'));
  });

  it('rekor-tiles #709: gives the same result each time for a note of many signatures', async () => {
    const signers = [logSigner, ...[2, 3, 4, 5].map((seed) => witness(seed))];
    const verifiers = [2, 3, 4, 5].map((seed) =>
      cosignatureVerifier(`witness.example/w${seed}`, seedSigner(seed).publicKey, opensslCrypto),
    );
    const note = signNote(text, signers);
    for (let round = 0; round < 200; round++) {
      const verified = await verifyNote(note, round % 2 === 0 ? verifiers : verifiers.toReversed());
      expect(verified.signatures.map(({ name }) => name.at(-1))).toEqual(['2', '3', '4', '5']);
    }
  });

  it('verifies RSA signatures', async () => {
    const key = rsaSigner.publicKey;
    const keyId = noteKeyHash({ kind: 'rsa', name: log, key }, hash).slice(0, 4);
    const signature = rsaSigner.sign(new TextEncoder().encode(text));
    const good = encodeNote({ text, signatures: [{ name: log, keyId, signature }] });
    const verifier = rsaNoteVerifier(log, key, opensslCrypto);
    expect((await verifyNote(good, [verifier])).signatures).toHaveLength(1);
    await expect(verifyNote(good.replace('7\n', '8\n'), [verifier])).rejects.toThrow(code('NOTE_SIGNATURE_INVALID'));
  });

  it('a signature of the wrong length is a bad one', async () => {
    for (const length of [1, 63, 65]) {
      const signatures = [{ ...signText(text, logSigner), signature: new Uint8Array(length) }];
      const verifying = verifyNote(encodeNote({ text, signatures }), [logVerifier]);
      await expect(verifying).rejects.toThrow(code('NOTE_SIGNATURE_INVALID'));
    }
  });
});

describe('noteVerifier()', () => {
  it('refuses a key id that is not 4 bytes', () => {
    const noteKey = knownKey('rekor v2 staging');
    expect(() => noteVerifier(noteKey, opensslCrypto, new Uint8Array(32))).toThrow(code('NOTE_KEY_MALFORMED'));
  });

  it('refuses a name that no signature line can have', () => {
    const { key } = knownKey('rekor v1');
    const origin = 'rekor.sigstore.dev - 2605736670972794746';
    expect(() => ecdsaNoteVerifier(origin, key, opensslCrypto)).toThrow(code('NOTE_KEY_MALFORMED'));
  });
});

describe('verifyCheckpoint()', () => {
  const note = signNote(text, [logSigner]);

  it('gives checkpoint, text and good signatures', async () => {
    expect(await verifyCheckpoint(note, [logVerifier], { origin: log })).toEqual({
      origin: log,
      size: 7n,
      rootHash: new Uint8Array(32).fill(7),
      extensions: [],
      text,
      signatures: [{ ...signText(text, logSigner), verifier: logVerifier }],
    });
  });

  it.each<[string, string | ((origin: string) => boolean)]>([
    ['another origin', 'other.example'],
    ['a longer origin', `${log}/shard`],
    ['an origin in another case', 'Log.example'],
    ['a function that refuses it', () => false],
  ])('rejects %s', async (_name, origin) => {
    await expect(verifyCheckpoint(note, [logVerifier], { origin })).rejects.toThrow(code('NOTE_ORIGIN_MISMATCH'));
  });

  it('rejects a key that signed under its name the checkpoint of another origin', async () => {
    const other = encodeCheckpoint({
      origin: 'victim.example',
      size: 7n,
      rootHash: new Uint8Array(32),
      extensions: [],
    });
    const verifying = verifyCheckpoint(signNote(other, [logSigner]), [logVerifier], { origin: log });
    await expect(verifying).rejects.toThrow('Cannot verify checkpoint: origin is "victim.example", not "log.example"');
  });

  it('rejects a signed note that is no checkpoint', async () => {
    const signed = signNote('hello\n', [logSigner]);
    const verifying = verifyCheckpoint(signed, [logVerifier], { origin: 'hello' });
    await expect(verifying).rejects.toThrow(code('NOTE_CHECKPOINT_MALFORMED'));
  });

  it('rejects the conformance checkpoint of another log, with a signature copied', async () => {
    const wrong = readNote('wrong-other-origin');
    const origin = 'log2025-alpha1.rekor.github.dev';
    await expect(verifyCheckpoint(wrong, [verifierOf('rekor v2 staging')], { origin })).rejects.toThrow(
      code('NOTE_NO_KNOWN_SIGNATURE'),
    );
    // Also not by one who goes by the key id alone.
    const { key } = knownKey('rekor v2 staging');
    const careless = noteVerifier(
      { kind: 'ed25519', name: origin, key },
      opensslCrypto,
      Uint8Array.of(0xf3, 0x0d, 0x5a, 0x99),
    );
    await expect(verifyCheckpoint(wrong, [careless], { origin })).rejects.toThrow(code('NOTE_SIGNATURE_INVALID'));
  });

  it('sigstore-js hardening #1722: does not take a second checkpoint hidden in the text', async () => {
    // Whoever splits at the first blank line reads size 9 here; what the log signed reads otherwise.
    const hidden = `${text.replace('\n7\n', '\n9\n')}\n— ${log} AAECAwQF\n`;
    const signed = signNote(hidden, [logSigner]);
    const verifying = verifyCheckpoint(signed, [logVerifier], { origin: log });
    await expect(verifying).rejects.toThrow(code('NOTE_CHECKPOINT_MALFORMED'));
  });
});
