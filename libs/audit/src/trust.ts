import { encodeHex, equalBytes, parseHex, parseUtf8 } from '#libs/encoding';
import {
  encodeVerifierKey,
  noteKeyHash,
  NoteError,
  noteVerifier,
  parseCheckpoint,
  parseNote,
  parseVerifierKey,
  verifyNote,
  type Checkpoint,
  type NoteKey,
  type NoteSignature,
} from '#libs/note';
import { opensslCrypto } from '#libs/openssl';
import { isValidAt, type TrustedRoot } from '#libs/trust';
import { AuditError, reasonOf } from './error.js';

/** Whom to believe about heads of logs. With neither, proofs are checked against what the log itself says. */
export interface LogTrust {
  /** The log is found in it by the key id in its checkpoint. */
  trustedRoot?: TrustedRoot;
  /** Keys of logs. */
  logKeys?: readonly LogKey[];
  nowMs: number;
}

/** A public key by which a log signs its checkpoints. */
export interface LogKey {
  /** C2SP signed-note, "Verifier keys": name, key id, kind and key in one line. */
  verifierKey: string;
  /** The 4 bytes by which its signature lines name it, as hex; other than in `verifierKey` for some keys of Rekor v1. */
  keyId: string;
}

/** Who signed a checkpoint. */
export interface LogSigner extends LogKey {
  /** The log's id in the trusted root, if it was found there. */
  logId?: Uint8Array;
}

/** A log's head, with what is known about who signed it. */
export interface LogHead extends Checkpoint {
  /** The note as the log gave it. */
  note: string;
  /** Whose signature was verified; undefined when there was nobody to believe, and nothing was. */
  signedBy: LogSigner | undefined;
}

const { hash } = opensslCrypto;
const KEY_ID_LENGTH = 4;

/**
 * The key of a C2SP verifier key line. Witnesses' keys are refused: their signature says that they saw a checkpoint, not that the log made it.
 * @throws AuditError `AUDIT_KEY`
 */
export function parseLogKey(verifierKey: string): LogKey {
  const text = verifierKey.trim();
  const noteKey = parseNoteKey(text);
  if (noteKey.kind === 'cosignature') {
    throw new AuditError(
      'AUDIT_KEY',
      `Cannot use the verifier key of ${noteKey.name}: it is a witness’s key, not a log’s`,
    );
  }
  return { verifierKey: text, keyId: encodeHex(noteKeyHash(noteKey, hash).slice(0, KEY_ID_LENGTH)) };
}

/**
 * Reads a checkpoint. Given somebody to believe, one of the believed keys must have signed it, under a name that fits the origin.
 *
 * @throws AuditError `AUDIT_CHECKPOINT` if it is none, or a believed key's signature is forged; `AUDIT_SIGNER` if no believed key signed
 * @see C2SP tlog-checkpoint, C2SP static-ct-api "Checkpoints", and Rekor v1's checkpoints
 */
export async function readCheckpoint(source: string | Uint8Array, trust: LogTrust): Promise<LogHead> {
  try {
    const note = typeof source === 'string' ? source : parseUtf8(source);
    const parsed = parseNote(note);
    const checkpoint = parseCheckpoint(parsed.text);
    if (trust.trustedRoot === undefined && trust.logKeys === undefined) {
      return { ...checkpoint, note, signedBy: undefined };
    }
    const signers = parsed.signatures.flatMap((signature) => findKeys(signature, checkpoint.origin, trust));
    if (signers.length === 0) throw unknownSigner(checkpoint.origin, parsed.signatures);
    const verifiers = signers.map(({ noteKey, keyId }) => noteVerifier(noteKey, opensslCrypto, parseHex(keyId)));
    const { signatures } = await verifyNote(parsed, verifiers);
    const signedBy = signers[verifiers.findIndex((verifier) => verifier === signatures[0]?.verifier)];
    if (signedBy === undefined) throw new Error('the signer is not one of the verifiers that were given');
    const { verifierKey, keyId, logId } = signedBy;
    return { ...checkpoint, note, signedBy: { verifierKey, keyId, ...(logId && { logId }) } };
  } catch (cause) {
    if (cause instanceof AuditError) throw cause;
    throw new AuditError('AUDIT_CHECKPOINT', `Cannot believe the checkpoint of the log: ${reasonOf(cause)}`, {
      cause,
      cure:
        cause instanceof NoteError && cause.code === 'NOTE_SIGNATURE_INVALID'
          ? 'Somebody changed it, or signed in the log’s name'
          : 'Check the URL of the log',
    });
  }
}

/** The name and key id of a note's first signature line: how a log is told from others when nothing is verified. */
export function claimedSigner(note: string): { name: string; keyId: string } {
  const [signature] = parseNote(note).signatures;
  if (signature === undefined) throw new Error('a note without signatures was parsed');
  return { name: signature.name, keyId: encodeHex(signature.keyId) };
}

/** Whether two notes say that they are by the same log: one origin, and a signature in the log's own name with one key id. False for what is no note. */
export function claimSameLog(a: string, b: string): boolean {
  const claims = (note: string): string[] => {
    try {
      const { text, signatures } = parseNote(note);
      const { origin } = parseCheckpoint(text);
      const own = signatures.filter(({ name }) => fitsOrigin(name, origin));
      return own.map(({ name, keyId }) => `${origin}\n${name}+${encodeHex(keyId)}`);
    } catch {
      return []; // who reads it for its content will hear why
    }
  };
  const known = new Set(claims(a));
  return claims(b).some((claim) => known.has(claim));
}

type Candidate = LogSigner & { noteKey: NoteKey };

/** The believed keys that a signature line may be by. */
function findKeys({ name, keyId }: NoteSignature, origin: string, trust: LogTrust): Candidate[] {
  if (!fitsOrigin(name, origin)) return [];
  const id = encodeHex(keyId);
  const found: Candidate[] = [];
  for (const logKey of trust.logKeys ?? []) {
    const noteKey = parseNoteKey(logKey.verifierKey);
    if (noteKey.name === name && logKey.keyId === id) found.push({ ...logKey, noteKey });
  }
  const now = new Date(trust.nowMs);
  for (const { publicKey, logId, checkpointKeyId, validFor } of trust.trustedRoot?.tlogs ?? []) {
    // The four bytes that name a key in a note are the first of the log's id, unless the trusted root states them apart.
    const own = checkpointKeyId ?? logId.slice(0, KEY_ID_LENGTH);
    if (!equalBytes(own, keyId) || !isValidAt(validFor, now)) continue;
    const noteKey: NoteKey = { kind: publicKey.kind, name, key: publicKey };
    found.push({ noteKey, keyId: id, verifierKey: encodeVerifierKey(noteKey, hash), logId });
  }
  for (const { publicKey, logId, validFor } of trust.trustedRoot?.ctlogs ?? []) {
    // C2SP static-ct-api: the id in the note digests the origin too, so it differs from the log's id.
    if (publicKey.kind === 'ed25519' || !isValidAt(validFor, now)) continue;
    const noteKey: NoteKey = { kind: 'rfc6962', name, key: publicKey };
    if (!equalBytes(noteKeyHash(noteKey, hash).slice(0, KEY_ID_LENGTH), keyId)) continue;
    found.push({ noteKey, keyId: id, verifierKey: encodeVerifierKey(noteKey, hash), logId });
  }
  return found;
}

/** A key has its log's name; in Rekor v1 the origin is `<name> - <tree id>`, because one key signs for several trees. */
function fitsOrigin(name: string, origin: string): boolean {
  return origin === name || (origin.startsWith(`${name} - `) && /^[0-9]+$/.test(origin.slice(name.length + 3)));
}

function unknownSigner(origin: string, signatures: readonly NoteSignature[]): AuditError {
  const keys = signatures.slice(0, 5).map(({ name, keyId }) => `${name}+${encodeHex(keyId)}`);
  return new AuditError(
    'AUDIT_SIGNER',
    `Cannot believe the checkpoint of the log: none of the keys to believe signed it (its origin is ${JSON.stringify(origin)}, signed by ${keys.join(', ')})`,
    { cure: 'Give a trusted root that has this log with a key valid now, or the log’s own verifier key' },
  );
}

function parseNoteKey(text: string): NoteKey {
  try {
    return parseVerifierKey(text, hash);
  } catch (cause) {
    throw new AuditError('AUDIT_KEY', `Cannot use the verifier key: ${reasonOf(cause)}`, {
      cause,
      cure: 'A verifier key is one line: <name>+<key id in hex>+<base64>',
    });
  }
}
