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

/** Jobs in one block of bytes with a buffer of its own, so that it changes threads without being copied. */
export function encodeJobs(jobs: readonly VerifyJob[]): Uint8Array<ArrayBuffer> {
  const writer = new TlsWriter();
  for (const { kind, spki, scheme, data, signature } of jobs) {
    writer.u8(kinds.indexOf(kind)).u8(schemeIndex(scheme)).vector(2, spki).vector(3, data).vector(2, signature);
  }
  return new Uint8Array(writer.finish());
}

export function parseJobs(bytes: Uint8Array): VerifyJob[] {
  const reader = new TlsReader(bytes);
  const jobs: VerifyJob[] = [];
  while (reader.remaining > 0) {
    const kind = kinds[reader.u8()];
    const scheme = schemes[reader.u8()];
    if (kind === undefined || scheme === undefined) throw new Error('A verifying thread was sent an unknown job');
    jobs.push({ kind, scheme, spki: reader.vector(2), data: reader.vector(3), signature: reader.vector(2) });
  }
  return jobs;
}

function schemeIndex(scheme: SignatureScheme): number {
  const hash = 'hash' in scheme ? scheme.hash : undefined;
  return schemes.findIndex((row) => row.kind === scheme.kind && ('hash' in row ? row.hash : undefined) === hash);
}
