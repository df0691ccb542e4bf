import { derOctetString, DerReader, derSequence, derTag, readOctetString, type DerElement } from '#libs/encoding';
import { digestLengths, type HashAlgorithm } from '#libs/crypto';
import { hashOfOid, hashWithNull, readAlgorithm } from './algorithm.js';
import { TimestampError } from './errors.js';
import { oid } from './oid.js';

/** What is stamped: a hash, and the digest it made of the data (for Sigstore: of the raw signature bytes). */
export interface MessageImprint {
  readonly hash: HashAlgorithm;
  /** 32, 48 or 64 bytes. */
  readonly digest: Uint8Array;
}

/** An imprint as it stands on the wire, its hash not yet judged. */
export interface RawImprint {
  readonly algorithm: string;
  readonly digest: Uint8Array;
}

/** `MessageImprint ::= SEQUENCE { hashAlgorithm AlgorithmIdentifier, hashedMessage OCTET STRING }` (RFC 3161 §2.4.1) */
export function readImprint(element: DerElement): RawImprint {
  const reader = new DerReader(element, derTag.sequence);
  const algorithm = readAlgorithm(reader.next(derTag.sequence));
  const digest = readOctetString(reader.next(derTag.octetString));
  reader.end();
  if (digest.length === 0)
    throw new TimestampError('TIMESTAMP_MALFORMED', 'Cannot read message imprint: digest is empty');
  return { algorithm, digest };
}

/**
 * The imprint, if its hash is one that still binds and its digest has the right length.
 * @throws TimestampError `TIMESTAMP_WEAK_HASH`, `TIMESTAMP_HASH_UNKNOWN`, `TIMESTAMP_DIGEST_LENGTH`, in this order
 */
export function checkImprint({ algorithm, digest }: RawImprint): MessageImprint {
  if (algorithm === oid.sha1) {
    throw new TimestampError('TIMESTAMP_WEAK_HASH', 'Cannot accept message imprint: its hash is SHA-1');
  }
  const hash = hashOfOid(algorithm);
  if (hash === undefined) {
    throw new TimestampError(
      'TIMESTAMP_HASH_UNKNOWN',
      `Cannot accept message imprint: hash ${algorithm} is not supported`,
    );
  }
  if (digest.length !== digestLengths[hash]) {
    throw new TimestampError(
      'TIMESTAMP_DIGEST_LENGTH',
      `Cannot accept message imprint: digest has ${digest.length} bytes, ${hash} makes ${digestLengths[hash]}`,
    );
  }
  return { hash, digest };
}

/** The DER of an imprint, the hash with NULL parameters. */
export function encodeImprint({ hash, digest }: MessageImprint): Uint8Array {
  return derSequence(imprintHashes[hash], derOctetString(digest));
}

const imprintHashes: Readonly<Record<HashAlgorithm, Uint8Array>> = {
  sha256: hashWithNull('sha256'),
  sha384: hashWithNull('sha384'),
  sha512: hashWithNull('sha512'),
};
