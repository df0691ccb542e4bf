import { encodeHex, encodeUtf8, equalBytes } from '#libs/encoding';
import type { CryptoPort, PublicKey } from '#libs/crypto';
import { type Checkpoint, parseCheckpoint } from './checkpoint.js';
import { cosignatureInput, parseCosignature } from './cosignature.js';
import { NoteError } from './error.js';
import { type NoteKey, noteKeyHash } from './key.js';
import { KEY_ID_LENGTH, type Note, type NoteSignature, parseNote } from './note.js';
import { parseTreeHeadText, readTreeHeadSignature, treeHeadInput, treeHeadScheme } from './tree-head.js';

/** A key that notes can be verified with. */
export interface NoteVerifier {
  readonly name: string;
  /** 4 bytes. */
  readonly keyId: Uint8Array;
  /** Whether `signature` (what follows the key id) is this key's on `text`. A signature of the wrong shape is not. */
  verify(text: string, signature: Uint8Array): Promise<boolean>;
}

/** A good signature line, and whose it is. */
export interface VerifiedSignature extends NoteSignature {
  verifier: NoteVerifier;
}

/**
 * A note of which at least one signature is known and good. `signatures` are the good ones alone, one a key, in the
 * order of the note: keep these and not the lines that came, of which some may be anyone's.
 */
export interface VerifiedNote {
  text: string;
  signatures: VerifiedSignature[];
}

/** Verifies Ed25519 signatures on the text. @throws NoteError `NOTE_KEY_MALFORMED` */
export function ed25519NoteVerifier(name: string, key: PublicKey, crypto: CryptoPort): NoteVerifier {
  return noteVerifier({ kind: 'ed25519', name, key }, crypto);
}

/** Verifies ECDSA signatures over SHA-256 on the text. @throws NoteError `NOTE_KEY_MALFORMED` */
export function ecdsaNoteVerifier(name: string, key: PublicKey, crypto: CryptoPort): NoteVerifier {
  return noteVerifier({ kind: 'ecdsa', name, key }, crypto);
}

/** Verifies RSA signatures (PKCS #1 v1.5, SHA-256) on the text. @throws NoteError `NOTE_KEY_MALFORMED` */
export function rsaNoteVerifier(name: string, key: PublicKey, crypto: CryptoPort): NoteVerifier {
  return noteVerifier({ kind: 'rsa', name, key }, crypto);
}

/** Verifies signatures on the tree head that a checkpoint states. @throws NoteError `NOTE_KEY_MALFORMED` */
export function rfc6962NoteVerifier(origin: string, key: PublicKey, crypto: CryptoPort): NoteVerifier {
  return noteVerifier({ kind: 'rfc6962', name: origin, key }, crypto);
}

/** Verifies a witness's cosignatures; `parseCosignature` tells their time. @throws NoteError `NOTE_KEY_MALFORMED` */
export function cosignatureVerifier(name: string, key: PublicKey, crypto: CryptoPort): NoteVerifier {
  return noteVerifier({ kind: 'cosignature', name, key }, crypto);
}

/**
 * The verifier for a key of any kind. `keyId` replaces the one that name and key give: Rekor v1 identifies also
 * Ed25519 and RSA keys by their SubjectPublicKeyInfo alone, and trust material may state an id of its own.
 * @throws NoteError `NOTE_KEY_MALFORMED`
 */
export function noteVerifier(noteKey: NoteKey, crypto: CryptoPort, keyId?: Uint8Array): NoteVerifier {
  const ownId = noteKeyHash(noteKey, (algorithm, data) => crypto.hash(algorithm, data)).slice(0, KEY_ID_LENGTH);
  if (keyId !== undefined && keyId.length !== KEY_ID_LENGTH) {
    throw new NoteError(
      'NOTE_KEY_MALFORMED',
      `Cannot use note key: its id has ${keyId.length} bytes, not ${KEY_ID_LENGTH}`,
    );
  }
  return { name: noteKey.name, keyId: keyId ?? ownId, verify: verifyFunction(noteKey, crypto) };
}

/**
 * Proves to the caller that at least one of `verifiers` signed the note. Lines of other keys are ignored, wherever
 * they stand. Every line of a known key must be good: one forged line rejects the note, so that nobody gets it stored
 * beside good ones. Two verifiers of one name and key id are alternatives.
 * @throws NoteError `NOTE_MALFORMED`, `NOTE_SIGNATURE_INVALID`, `NOTE_NO_KNOWN_SIGNATURE`
 * @see C2SP signed-note, "Verification"
 */
export async function verifyNote(
  note: Note | string | Uint8Array,
  verifiers: readonly NoteVerifier[],
): Promise<VerifiedNote> {
  const { text, signatures } = typeof note === 'string' || note instanceof Uint8Array ? parseNote(note) : note;
  const verified: VerifiedSignature[] = [];
  for (const signature of signatures) {
    const known = verifiers.filter((verifier) => isOf(signature, verifier));
    if (known.length === 0) continue;
    const verifier = await firstToVerify(known, text, signature.signature);
    if (verifier === undefined) {
      const key = `${signature.name}+${encodeHex(signature.keyId)}`;
      throw new NoteError('NOTE_SIGNATURE_INVALID', `Cannot verify note: the signature of ${key} is not good`);
    }
    // A second good line of one key adds nothing: whoever counts signatures counts keys.
    if (!verified.some((earlier) => earlier.verifier === verifier)) verified.push({ ...signature, verifier });
  }
  if (verified.length === 0) {
    throw new NoteError(
      'NOTE_NO_KNOWN_SIGNATURE',
      `Cannot verify note: none of its ${signatures.length} signatures is by a known key`,
    );
  }
  return { text, signatures: verified };
}

/**
 * Proves to the caller that one of `verifiers` signed this checkpoint of the log `origin`: its name, or a function
 * that knows it. (The origin of Rekor v1 is `rekor.sigstore.dev - 2605736670972794746`, while its key is named
 * `rekor.sigstore.dev`.) Size and root are then the log's word.
 * @throws NoteError as `verifyNote`, and `NOTE_CHECKPOINT_MALFORMED`, `NOTE_ORIGIN_MISMATCH`
 * @see C2SP tlog-checkpoint
 */
export async function verifyCheckpoint(
  note: Note | string | Uint8Array,
  verifiers: readonly NoteVerifier[],
  { origin }: { origin: string | ((origin: string) => boolean) },
): Promise<Checkpoint & { text: string; signatures: VerifiedSignature[] }> {
  const { text, signatures } = await verifyNote(note, verifiers);
  const checkpoint = parseCheckpoint(text);
  const isExpected = typeof origin === 'string' ? checkpoint.origin === origin : origin(checkpoint.origin);
  if (!isExpected) {
    const expected = typeof origin === 'string' ? JSON.stringify(origin) : 'one of this log';
    const state = `origin is ${JSON.stringify(checkpoint.origin)}, not ${expected}`;
    throw new NoteError('NOTE_ORIGIN_MISMATCH', `Cannot verify checkpoint: ${state}`);
  }
  return { ...checkpoint, text, signatures };
}

function isOf(signature: NoteSignature, verifier: NoteVerifier): boolean {
  return signature.name === verifier.name && equalBytes(signature.keyId, verifier.keyId);
}

async function firstToVerify(
  verifiers: readonly NoteVerifier[],
  text: string,
  signature: Uint8Array,
): Promise<NoteVerifier | undefined> {
  for (const verifier of verifiers) if (await verifier.verify(text, signature)) return verifier;
  return undefined;
}

function verifyFunction({ kind, name, key }: NoteKey, crypto: CryptoPort): NoteVerifier['verify'] {
  switch (kind) {
    case 'ed25519':
      return (text, signature) => crypto.verify(key, { kind: 'ed25519' }, encodeUtf8(text), signature);
    case 'ecdsa':
      return (text, signature) => crypto.verify(key, { kind: 'ecdsa', hash: 'sha256' }, encodeUtf8(text), signature);
    case 'rsa':
      return (text, signature) =>
        crypto.verify(key, { kind: 'rsa-pkcs1', hash: 'sha256' }, encodeUtf8(text), signature);
    case 'rfc6962':
      return (text, signature) => falseIfMalformed(() => verifyTreeHead(name, key, text, signature, crypto));
    case 'cosignature':
      return (text, signature) =>
        falseIfMalformed(() => {
          const cosignature = parseCosignature(signature);
          return crypto.verify(
            key,
            { kind: 'ed25519' },
            cosignatureInput(text, cosignature.time),
            cosignature.signature,
          );
        });
  }
}

async function verifyTreeHead(
  name: string,
  key: PublicKey,
  text: string,
  bytes: Uint8Array,
  crypto: CryptoPort,
): Promise<boolean> {
  const checkpoint = parseTreeHeadText(text, name);
  const signed = readTreeHeadSignature(key, bytes);
  if (signed === undefined) return false;
  return crypto.verify(key, treeHeadScheme(key), treeHeadInput(checkpoint, signed.timestampMs), signed.signature);
}

/** What such a key cannot have signed, or cannot have written as its signature, is not signed by it. */
async function falseIfMalformed(verify: () => Promise<boolean>): Promise<boolean> {
  try {
    return await verify();
  } catch (error) {
    if (error instanceof NoteError) return false;
    throw error;
  }
}
