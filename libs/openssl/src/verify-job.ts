import type { SignatureScheme } from '#libs/crypto';
import { TlsReader, TlsWriter } from '#libs/encoding';

/** A question to a verifying thread: is `signature` by this key over the message, or over the message with this digest? */
export interface VerifyJob {
  readonly kind: 'message' | 'digest';
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  readonly scheme: SignatureScheme;
  /** The message, or its digest. */
  readonly data: Uint8Array;
  readonly signature: Uint8Array;
}

/** What a thread answers to a job, one byte each. */
export const answers = { wrong: 0, right: 1, failed: 2 } as const;

const kinds = ['message', 'digest'] as const;
const hashes = ['sha256', 'sha384', 'sha512'] as const;
const schemes: readonly SignatureScheme[] = [
  ...(['ecdsa', 'rsa-pkcs1', 'rsa-pss'] as const).flatMap((kind) => hashes.map((hash) => ({ kind, hash }))),
  { kind: 'ed25519' },
  { kind: 'ed25519ph' },
];

/** A job as bytes, for another thread. */
export function encodeJob({ kind, spki, scheme, data, signature }: VerifyJob): Uint8Array {
  return new TlsWriter()
    .u8(kinds.indexOf(kind))
    .u8(schemeIndex(scheme))
    .vector(2, spki)
    .vector(3, data)
    .vector(2, signature)
    .finish();
}

export function parseJob(bytes: Uint8Array): VerifyJob {
  const reader = new TlsReader(bytes);
  const kind = kinds[reader.u8()];
  const scheme = schemes[reader.u8()];
  if (kind === undefined || scheme === undefined) throw new Error('A verifying thread was sent an unknown job');
  return { kind, scheme, spki: reader.vector(2), data: reader.vector(3), signature: reader.vector(2) };
}

function schemeIndex(scheme: SignatureScheme): number {
  const hash = 'hash' in scheme ? scheme.hash : undefined;
  return schemes.findIndex((row) => row.kind === scheme.kind && ('hash' in row ? row.hash : undefined) === hash);
}
