import type { z } from 'zod';
import type { CryptoPort, HashAlgorithm, PublicKey, SignatureAlgorithm } from '#libs/crypto';
import type { PkiCertificate, PkiFormatName, PkiFormats, PkiKey } from './pki.js';
import type { VerifyDigest } from './verify.js';
import type { FailedChecks } from './failed-checks.js';

/** What proving a proposed entry of Rekor v1 needs from outside. */
export interface V1Ports {
  readonly pki: PkiFormats;
  readonly verifyDigest: VerifyDigest;
  readonly hash: (algorithm: HashAlgorithm, data: Uint8Array) => Uint8Array;
  /** What keys and hashes a `hashedrekord` may use; other kinds are not asked. */
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Throws unless these bytes are an RFC 3161 TimeStampResp that grants a token. */
  readonly checkTimestampResponse: (bytes: Uint8Array) => void;
}

/** What a proposed entry becomes once its signatures are proven. */
export interface V1Proposal {
  readonly kind: string;
  readonly version: string;
  /** Canonical JSON (RFC 8785), at most 65535 bytes: the leaf. */
  readonly body: Uint8Array;
  /**
   * Texts by which Rekor v1 finds the entry, in lower case, without duplicates, at most 900: `sha256:<hex>` of what it is
   * about, the hash of each key (bare for `hashedrekord` and `rekord`, else with `sha256:`), subjects of certificates.
   */
  readonly keys: readonly string[];
  /**
   * Those of `keys` that `bodyKeys(body)` does not give again, such as the digests in a statement that is not stored; at
   * most 60000 bytes of UTF-8, two more for each counted.
   */
  readonly unloggedKeys: readonly string[];
  /** Certificates among the verifiers, leaves only. */
  readonly certificates: readonly PkiCertificate[];
  /** The keys of all x509 verifiers, those of certificates included. */
  readonly publicKeys: readonly PublicKey[];
  /** The signed statement, which `intoto` entries may keep outside the log; `key` is `sha256:<hex>`. */
  readonly attestation?: { readonly key: string; readonly data: Uint8Array };
}

/** Whether an entry is to be logged, or only looked up: what is stored already can be looked up, but not logged again. */
export interface ProposeOptions {
  readonly insert: boolean;
  /** Bounds the failed checks of several proposals together, those of one request; each has a bound of its own besides. */
  readonly failedChecks?: FailedChecks;
}

/** What a stored body says, whatever its kind. */
export interface V1Contents {
  /** Keys and certificates in the spelling of their format, e.g. PEM; in the order of the signatures. */
  readonly verifiers: readonly { readonly format: PkiFormatName; readonly content: Uint8Array }[];
  /** What the entry is about: `sha256:<lower-case hex>`, also `sha384:` and `sha512:`. */
  readonly digests: readonly string[];
}

/** One version of one kind of entry. */
export interface ProposedKind {
  readonly kind: string;
  readonly version: string;
  /** `spec`, as proposed and as stored. */
  readonly spec: z.ZodType;
  /** What Rekor v1 writes in front of the hash of a key in its index. */
  readonly keyPrefix: '' | 'sha256:';
  /**
   * Proves a proposed `spec`.
   * @throws EntryError
   */
  propose(this: void, spec: unknown, ports: V1Ports, options: ProposeOptions): Promise<V1Proposal>;
  /**
   * Reads a stored `spec`.
   * @throws EntryError
   */
  contents(this: void, spec: unknown, hash: V1Ports['hash']): V1Contents;
}

/** What `bodyKeys` needs from outside. */
export interface BodyKeyPorts {
  readonly hash: CryptoPort['hash'];
  /** Reads PEM of a key or certificates, synchronously; what it throws passes through. */
  readonly x509KeyOf: (pem: Uint8Array) => Pick<PkiKey, 'canonical' | 'subjects'>;
}
