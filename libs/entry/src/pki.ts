import type { PublicKey } from '#libs/crypto';

/** How a Rekor v1 entry may spell keys and signatures. */
export type PkiFormatName = 'x509' | 'pgp' | 'minisign' | 'ssh';

/** A certificate as far as entries know of it; whoever read it may hand over more, for whoever knows it. */
export interface PkiCertificate {
  readonly der: Uint8Array;
}

/** A public key or certificate as an entry carries it, after it was read. */
export interface PkiKey {
  /** What the canonical body keeps, before base64: PEM for x509, an armoured key ring for pgp, and so on. */
  readonly canonical: Uint8Array;
  /**
   * Whom the key names, in the order in which Rekor indexes them: for certificates DNS names, e-mail and IP addresses,
   * URIs and Fulcio's other name; e-mail addresses for pgp.
   */
  readonly subjects: readonly string[];
  /** x509 only. */
  readonly publicKey?: PublicKey;
  /** The leaf; x509 in the form of a certificate only. */
  readonly certificate?: PkiCertificate;
  /**
   * Whether this is a detached signature over the whole message. x509: ECDSA and RSA (PKCS#1 v1.5) with SHA-256 whatever
   * the size of the key, Ed25519 pure. A signature of the wrong shape is `false`.
   */
  verify(message: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

/** One spelling of keys and signatures. Both functions throw their own errors for bad input; `proposeEntry` wraps them. */
export interface PkiFormat {
  parseKey(this: void, bytes: Uint8Array): Promise<PkiKey> | PkiKey;
  /** What the canonical body keeps of a signature, before base64. */
  canonicalSignature(this: void, bytes: Uint8Array): Promise<Uint8Array> | Uint8Array;
}

/** All four; the library that knows them hands them in. */
export type PkiFormats = Readonly<Record<PkiFormatName, PkiFormat>>;
