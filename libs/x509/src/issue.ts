import {
  concatBytes,
  derBitString,
  derBoolean,
  derExplicit,
  derInteger,
  derOctetString,
  DerReader,
  derSequence,
  derTag,
  derTime,
  equalBytes,
  parseDer,
  readBitString,
} from '#libs/encoding';
import type { CryptoPort, SignatureScheme, Signer } from '#libs/crypto';
import { encodeAlgorithm, sameScheme } from './algorithm.js';
import type { Extension } from './certificate.js';
import { encodeSctList, parseSct } from './ct.js';
import { DerBuffer, elementLength } from './der-buffer.js';
import { converting, X509Error } from './errors.js';
import { encodeAuthorityKeyId, encodeExtendedKeyUsage } from './extensions.js';
import { encodeOid } from './known-oid.js';
import { lint, type LeafProfile, type LintFinding, lintSubject } from './lint.js';
import { oid } from './oid.js';
import { poisonValue } from './precert.js';
import { encodeSubjectAltName } from './san.js';

/** Version ::= [0] EXPLICIT INTEGER { v3(2) } */
const version3 = derExplicit(0, derInteger(2n));
/** The leaf has no subject: who it is stands in the subject alternative name, which is critical for that reason (RFC 5280 §4.2.1.6). */
const emptyName = derSequence();

const criticalFlag = derBoolean(true);
/** First byte of a BIT STRING of whole bytes. */
const noUnusedBits = Uint8Array.of(0);

// Extension ::= SEQUENCE { extnID OID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
function contentsLength(extension: Extension, type: Uint8Array): number {
  return type.length + (extension.critical ? criticalFlag.length : 0) + elementLength(extension.value.length);
}

function extensionsLength(extensions: readonly Extension[]): number {
  return extensions.reduce(
    (sum, extension) => sum + elementLength(contentsLength(extension, encodeOid(extension.oid))),
    0,
  );
}

function appendExtensions(buffer: DerBuffer, extensions: readonly Extension[]): void {
  for (const extension of extensions) {
    const type = encodeOid(extension.oid);
    buffer.header(derTag.sequence, contentsLength(extension, type)).append(type);
    if (extension.critical) buffer.append(criticalFlag);
    buffer.header(derTag.octetString, extension.value.length).append(extension.value);
  }
}

/** digitalSignature alone: a BIT STRING of one bit. */
const digitalSignature: Extension = { oid: oid.keyUsage, critical: true, value: derBitString(Uint8Array.of(0x80), 7) };
const codeSigning: Extension = {
  oid: oid.extendedKeyUsage,
  critical: false,
  value: encodeExtendedKeyUsage(oid.codeSigning),
};
const poison: Extension = { oid: oid.poison, critical: true, value: poisonValue };

/**
 * Says what is wrong with a profile before anything is signed; empty when it may be issued.
 * @throws X509Error `X509_PROFILE` when the key cannot be read at all
 */
export function lintProfile(profile: LeafProfile): LintFinding[] {
  return lint(lintSubject(profile));
}

/**
 * The key identifier of a public key: SHA-1 of the bits of its subjectPublicKey, 20 bytes.
 * @throws X509Error `X509_MALFORMED`
 * @see RFC 5280 §4.2.1.2, method 1
 */
export function keyIdentifier(spki: Uint8Array, hash: CryptoPort['hash']): Uint8Array {
  return converting('Cannot identify key', 'X509_MALFORMED', () => {
    const reader = new DerReader(parseDer(spki), derTag.sequence);
    reader.next(derTag.sequence);
    return hash('sha1', readBitString(reader.next(derTag.bitString)));
  });
}

/**
 * Checks a profile against every lint rule and fixes the bytes of the certificate, once: from here on the precertificate and the certificate can
 * differ only in their last extension. The result signs one precertificate and then one certificate.
 * @throws X509Error `X509_PROFILE`, `details.rule` the first rule that objects
 */
export function prepareCertificate(profile: LeafProfile, hash: CryptoPort['hash']): PreparedCertificate {
  const subject = lintSubject(profile);
  const findings = lint(subject);
  const [first] = findings;
  if (first) {
    const state = findings.map(({ rule, problem }) => `${problem} (${rule})`).join('; ');
    throw new X509Error('X509_PROFILE', `Cannot prepare certificate: ${state}`, { rule: first.rule });
  }
  const algorithm = encodeAlgorithm(profile.signatureScheme);
  const { keyId } = subject.issuer;
  if (!algorithm || !keyId) throw new Error('Cannot prepare certificate: the lint let an unusable issuer pass');
  const { spki } = subject.publicKey;
  const head = concatBytes(
    version3,
    derInteger(profile.serial),
    algorithm,
    profile.issuer.subject,
    derSequence(derTime(profile.notBefore), derTime(profile.notAfter)),
    emptyName,
    spki,
  );
  // The order of extensions in certificates of the public instance.
  const extensions: readonly Extension[] = [
    digitalSignature,
    codeSigning,
    { oid: oid.subjectKeyIdentifier, critical: false, value: derOctetString(keyIdentifier(spki, hash)) },
    { oid: oid.authorityKeyIdentifier, critical: false, value: encodeAuthorityKeyId(keyId) },
    { oid: oid.subjectAltName, critical: true, value: encodeSubjectAltName(profile.san) },
    ...profile.extensions,
  ];
  const buffer = new DerBuffer(extensionsLength(extensions));
  appendExtensions(buffer, extensions);
  return new PreparedCertificate(profile, algorithm, head, buffer.bytes);
}

/**
 * A certificate whose bytes are decided but for the last extension. First `signPrecertificate`, then, with what the log answered,
 * `signCertificate`; each once. Any other order is a bug of the caller and throws a plain `Error`.
 */
export class PreparedCertificate {
  readonly #issuerKey: Uint8Array;
  readonly #scheme: SignatureScheme;
  readonly #algorithm: Uint8Array;
  /** Everything of the TBSCertificate in front of the extensions. */
  readonly #head: Uint8Array;
  /** The extensions that both halves share. */
  readonly #extensions: Uint8Array;
  #next: 'precertificate' | 'certificate' | 'nothing' = 'precertificate';

  /** Made by `prepareCertificate` alone, which has linted the profile. */
  constructor(profile: LeafProfile, algorithm: Uint8Array, head: Uint8Array, extensions: Uint8Array) {
    // Values, not the profile: what its owner does to it later must not matter.
    this.#issuerKey = profile.issuer.spki;
    this.#scheme = profile.signatureScheme;
    this.#algorithm = algorithm;
    this.#head = head;
    this.#extensions = extensions;
  }

  /** TBSCertificate with neither poison nor SCTs: what the log hashes, and what both certificates have in common. */
  tbs(): Uint8Array {
    return this.#tbs([]);
  }

  /**
   * The precertificate, DER: the poison extension stands last.
   * @throws X509Error `X509_PROFILE` when the signer's key is not the issuer's
   * @see RFC 6962 §3.1
   */
  signPrecertificate(signer: Signer): Uint8Array {
    this.#advance('precertificate', 'certificate');
    return this.#sign(signer, poison);
  }

  /**
   * The certificate, DER: the SCT list stands last. `scts`: serialized, at least one; verify them before, with `verifySct` over the precertificate.
   * @throws X509Error `X509_PROFILE` when the signer's key is not the issuer's, `X509_SCT_MALFORMED`
   * @see RFC 6962 §3.3
   */
  signCertificate(signer: Signer, scts: readonly Uint8Array[]): Uint8Array {
    this.#advance('certificate', 'nothing');
    for (const sct of scts) parseSct(sct);
    return this.#sign(signer, { oid: oid.sctList, critical: false, value: encodeSctList(scts) });
  }

  /** Before the work, not after: what failed half way is not tried again with the same serial. */
  #advance(step: 'precertificate' | 'certificate', then: 'certificate' | 'nothing'): void {
    if (this.#next !== step) throw new Error(`Cannot sign ${step}: what may be signed next is the ${this.#next}`);
    this.#next = then;
  }

  /** TBSCertificate ::= SEQUENCE { …head, extensions [3] EXPLICIT SEQUENCE OF Extension } */
  #tbs(last: readonly Extension[]): Uint8Array {
    const list = this.#extensions.length + extensionsLength(last);
    const field = elementLength(list);
    const contents = this.#head.length + elementLength(field);
    const buffer = new DerBuffer(elementLength(contents));
    buffer.header(derTag.sequence, contents).append(this.#head);
    buffer.header(derTag.context(3), field).header(derTag.sequence, list).append(this.#extensions);
    appendExtensions(buffer, last);
    return buffer.bytes;
  }

  #sign(signer: Signer, last: Extension): Uint8Array {
    // The key may have been exchanged since: two halves by two keys would be a certificate that its own SCT does not cover.
    if (!equalBytes(signer.publicKey.spki, this.#issuerKey) || !sameScheme(signer.scheme, this.#scheme)) {
      throw new X509Error('X509_PROFILE', "Cannot sign certificate: the signer's key or scheme is not the issuer's");
    }
    const tbs = this.#tbs([last]);
    const signature = signer.sign(tbs);
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue BIT STRING }
    const contents = tbs.length + this.#algorithm.length + elementLength(1 + signature.length);
    return new DerBuffer(elementLength(contents))
      .header(derTag.sequence, contents)
      .append(tbs)
      .append(this.#algorithm)
      .header(derTag.bitString, 1 + signature.length)
      .append(noUnusedBits)
      .append(signature).bytes;
  }
}
