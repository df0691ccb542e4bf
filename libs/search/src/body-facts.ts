import { CryptoError } from '#libs/crypto';
import {
  EntryError,
  loadProposals,
  parseEntryBody,
  type PkiCertificate,
  type PkiKey,
  type Verifier,
} from '#libs/entry';
import { opensslCrypto } from '#libs/openssl';
import { PkiError, x509KeyOf } from '#libs/pki';
import { isParsed, parseCertificate, X509Error } from '#libs/x509';
import { type CertificateFacts, certificateFacts, fingerprint, keysOfCertificateFacts } from './certificate-facts.js';
import { digestKeys } from './digest-key.js';

const { parseV1Body, proposedKinds } = await loadProposals();

/** What the body of an entry says that can be searched for. */
export interface BodyFacts {
  readonly kind: string;
  readonly version: string;
  /** `sha256:<hex>`: of what was signed, and of an attestation's payload and envelope as far as the body has them. */
  readonly digests: readonly string[];
  readonly certificates: readonly CertificateFacts[];
  /** Hex SHA-256 of the SubjectPublicKeyInfo of each bare key. */
  readonly bareKeys: readonly string[];
  /** The keys of Rekor v1 for a body of its kinds, which are made of PEM and the like; none for others. */
  readonly rekorKeys: () => readonly string[];
}

/** What stands for a body that is of no kind we know, or not as its kind says. */
const unknown: BodyFacts = {
  kind: 'unknown',
  version: '',
  digests: [],
  certificates: [],
  bareKeys: [],
  rekorKeys: () => [],
};

/** How the canonical body of every entry of Rekor v2 begins. */
const v2Starts = ['hashedrekord', 'dsse'].map((kind) =>
  new TextEncoder().encode(`{"apiVersion":"0.0.2","kind":"${kind}"`),
);

/** Reads a body. Never throws: `kind` is `unknown` for what cannot be understood, as `cose` and other kinds of other logs. */
export function bodyFacts(body: Uint8Array): BodyFacts {
  const isV2 = v2Starts.some((start) => start.every((byte, at) => body[at] === byte));
  return (isV2 ? readV2(body) : readV1(body)) ?? unknown;
}

/** A certificate that our parser refuses says nothing; one that it has parsed before is not parsed again. */
export function readCertificate(certificate: PkiCertificate): CertificateFacts[] {
  return (
    ifReadable(() => [certificateFacts(isParsed(certificate) ? certificate : parseCertificate(certificate.der))]) ?? []
  );
}

/** The search keys of a certificate in an entry: `certificateKeys`, or none if our parser refuses it. Never throws. */
export function entryCertificateKeys(certificate: PkiCertificate): string[] {
  return readCertificate(certificate).flatMap(keysOfCertificateFacts);
}

function readV2(body: Uint8Array): BodyFacts | undefined {
  const parsed = ifReadable(() => parseEntryBody(body));
  if (parsed === undefined) return undefined;
  const { kind, version } = parsed;
  const { algorithm, bytes } = parsed.kind === 'hashedrekord' ? parsed.hash : parsed.payloadHash;
  const verifiers: readonly Verifier[] =
    parsed.kind === 'hashedrekord' ? [parsed.verifier] : parsed.signatures.map(({ verifier }) => verifier);
  return {
    kind,
    version,
    digests: digestKeys(algorithm, bytes),
    certificates: verifiers.flatMap((one) =>
      'x509Certificate' in one ? readCertificate({ der: one.x509Certificate }) : [],
    ),
    bareKeys: verifiers.flatMap((one) => ('publicKey' in one ? [fingerprint(one.publicKey)] : [])),
    rekorKeys: () => [],
  };
}

function readV1(body: Uint8Array): BodyFacts | undefined {
  const parsed = ifReadable(() => parseV1Body(body, hash));
  if (parsed === undefined) return undefined;
  const { kind, version, digests, verifiers } = parsed;
  const keys = verifiers.flatMap(
    ({ format, content }): Pick<PkiKey, 'canonical' | 'subjects' | 'certificate' | 'publicKey'>[] => {
      // Whom keys in other formats name stands in the annex: reading them takes longer, and cannot wait.
      if (format !== 'x509') return [{ canonical: content, subjects: [] }];
      const key = ifReadable(() => x509KeyOf(content));
      return key === undefined ? [] : [key];
    },
  );
  return {
    kind,
    version,
    digests: [...new Set(digests)],
    certificates: keys.flatMap(({ certificate }) => (certificate === undefined ? [] : readCertificate(certificate))),
    bareKeys: keys.flatMap(({ certificate, publicKey }) =>
      publicKey === undefined || certificate !== undefined ? [] : [fingerprint(publicKey.spki)],
    ),
    // What `bodyKeys` gives, without reading everything again.
    rekorKeys: () => {
      const prefix = proposedKinds.get(kind)?.get(version)?.keyPrefix ?? '';
      return keys.flatMap(({ canonical, subjects }) => [
        prefix + fingerprint(canonical),
        ...subjects.map((subject) => subject.toLowerCase()),
      ]);
    },
  };
}

const { hash } = opensslCrypto;

/** Undefined for what another log has taken, and ours would not. */
function ifReadable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof EntryError || error instanceof PkiError) return undefined;
    if (error instanceof X509Error || error instanceof CryptoError) return undefined;
    throw error;
  }
}
