import { EncodingError, TlsReader, TlsWriter } from '#libs/encoding';
import type { PublicKey, SignatureScheme } from '#libs/crypto';
import { type Checkpoint, parseCheckpoint } from './checkpoint.js';
import { NoteError } from './error.js';

/** A signature of kind `rfc6962`: it is the same that `get-sth` answers, so either form can be made from the other. */
export interface TreeHeadSignature {
  /** Milliseconds since 1970, signed. */
  timestampMs: bigint;
  /** TLS DigitallySigned: hash and signature algorithm, then the signature with its length (RFC 5246 §4.7). */
  digitallySigned: Uint8Array;
}

// RFC 5246 §7.4.1.4.1. RFC 6962 §2.1.4 knows no other hash and no other signatures.
const SHA256 = 4;
const algorithms = { rsa: 1, ecdsa: 3 } as const;

/**
 * The bytes that an RFC 6962 log signs for a tree head.
 * @see RFC 6962 §3.5
 */
export function treeHeadInput(
  { size, rootHash }: Pick<Checkpoint, 'size' | 'rootHash'>,
  timestampMs: bigint,
): Uint8Array {
  // struct { Version version = v1(0); SignatureType signature_type = tree_hash(1); uint64 timestamp; uint64 tree_size;
  //          opaque sha256_root_hash[32]; }
  return new TlsWriter().u8(0).u8(1).u64(timestampMs).u64(size).bytes(rootHash).finish();
}

/**
 * The checkpoint whose tree head is signed. The signature covers neither origin nor extension lines, so the origin
 * must be the key's name, which the key id covers, and extension lines are refused.
 * @throws NoteError `NOTE_CHECKPOINT_MALFORMED`, `NOTE_ORIGIN_MISMATCH`
 * @see C2SP static-ct-api, "Checkpoints"
 */
export function parseTreeHeadText(text: string, name: string): Checkpoint {
  const checkpoint = parseCheckpoint(text);
  if (checkpoint.extensions.length > 0) {
    throw new NoteError(
      'NOTE_CHECKPOINT_MALFORMED',
      'Cannot use tree head signature: it does not cover extension lines',
    );
  }
  if (checkpoint.origin !== name) {
    const state = `origin is ${JSON.stringify(checkpoint.origin)}, the key is named ${JSON.stringify(name)}`;
    throw new NoteError('NOTE_ORIGIN_MISMATCH', `Cannot use tree head signature: ${state}`);
  }
  return checkpoint;
}

/** What stands in the note after the key id. */
export function encodeTreeHeadSignature({ timestampMs, digitallySigned }: TreeHeadSignature): Uint8Array {
  return new TlsWriter().u64(timestampMs).bytes(digitallySigned).finish();
}

/**
 * Reads what stands in the note after the key id.
 * @throws NoteError `NOTE_MALFORMED`
 */
export function parseTreeHeadSignature(bytes: Uint8Array): TreeHeadSignature {
  const { timestampMs } = readSignature(bytes);
  return { timestampMs, digitallySigned: bytes.slice(8) };
}

/** The DigitallySigned of a bare signature by such a key. */
export function encodeDigitallySigned(key: PublicKey, signature: Uint8Array): Uint8Array {
  return new TlsWriter().u8(SHA256).u8(algorithmOf(key)).vector(2, signature).finish();
}

/** The bare signature; undefined unless the algorithms are those of the key. */
export function readTreeHeadSignature(
  key: PublicKey,
  bytes: Uint8Array,
): { timestampMs: bigint; signature: Uint8Array } | undefined {
  const { timestampMs, hash, algorithm, signature } = readSignature(bytes);
  return hash === SHA256 && algorithm === algorithmOf(key) ? { timestampMs, signature } : undefined;
}

/** RFC 6962 §2.1.4: ECDSA or RSA (PKCS #1 v1.5), over SHA-256. */
export function treeHeadScheme(key: PublicKey): SignatureScheme {
  return key.kind === 'ecdsa' ? { kind: 'ecdsa', hash: 'sha256' } : { kind: 'rsa-pkcs1', hash: 'sha256' };
}

function algorithmOf(key: PublicKey): number {
  if (key.kind === 'ed25519') throw new Error('Cannot sign tree head: RFC 6962 has no Ed25519');
  return algorithms[key.kind];
}

function readSignature(bytes: Uint8Array): {
  timestampMs: bigint;
  hash: number;
  algorithm: number;
  signature: Uint8Array;
} {
  try {
    const reader = new TlsReader(bytes);
    const timestampMs = reader.u64();
    const [hash, algorithm] = [reader.u8(), reader.u8()];
    const signature = reader.vector(2);
    reader.end();
    return { timestampMs, hash, algorithm, signature };
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw new NoteError('NOTE_MALFORMED', 'Cannot parse note: its tree head signature is malformed', { cause });
  }
}
