import { equalBytes } from '#libs/encoding';
import type { CryptoPort, PublicKey, SignatureScheme } from '#libs/crypto';
import { type Certificate, type SignedBytes, signedBytes } from './certificate.js';
import { X509Error, type X509ErrorCode, type X509ErrorDetails } from './errors.js';
import {
  authorityKeyId,
  basicConstraints,
  extendedKeyUsage,
  findExtension,
  keyUsage,
  subjectKeyId,
} from './extensions.js';
import { parseName } from './name.js';
import { oid } from './oid.js';

export interface ChainOptions {
  /** Certificates that may help on the way; nothing in them is believed. */
  readonly intermediates: readonly Certificate[];
  /** Where a path may end: trusted as they are, intermediates or self-signed. */
  readonly anchors: readonly Certificate[];
  /** The instant at which every certificate must be valid. */
  readonly time: Date;
  /** The purpose, as an OID, that the leaf must name and no certificate above it may exclude. */
  readonly extendedKeyUsage?: string;
  /** How many signatures are checked before the search gives up; 100 if absent. */
  readonly maxSignatureChecks?: number;
}

// Real paths have two to four certificates. The bounds are for those made to be expensive.
const MAX_PATH = 8;
const MAX_SIGNATURE_CHECKS = 100;

/** Extensions that this file or its callers honour; a critical one beside them means that we do not know what the certificate says. */
const understood: ReadonlySet<string> = new Set([
  oid.subjectKeyIdentifier,
  oid.keyUsage,
  oid.subjectAltName,
  oid.basicConstraints,
  oid.authorityKeyIdentifier,
  oid.extendedKeyUsage,
  oid.sctList,
]);

/**
 * Finds a path from `leaf` to one of the anchors that holds at `time`, and returns it, leaf first and anchor last. For every certificate of the path:
 * validity contains `time` (both ends included), no critical extension that we do not understand, no name constraints. For every one above the leaf: its
 * subject is the issuer below, byte for byte; key identifiers agree where both are stated; it is a CA, may sign certificates, allows this many
 * CAs below it, and does not exclude the purpose; its key made the signature below.
 *
 * When no path holds, the error is that of the longest attempt.
 * @throws X509Error `X509_CHAIN_NO_PATH`, `X509_CHAIN_EXPIRED`, `X509_CHAIN_NOT_CA`, `X509_CHAIN_PATH_LENGTH`, `X509_CHAIN_USAGE`, `X509_CHAIN_SIGNATURE`,
 *   `X509_CHAIN_EXTENSION`, `X509_CHAIN_LIMIT`; `details` name the certificate; `X509_MALFORMED` for an extension that cannot be read
 * @see RFC 5280 §6.1
 */
export async function buildChain(leaf: Certificate, options: ChainOptions, crypto: CryptoPort): Promise<Certificate[]> {
  let known = knownBy.get(crypto);
  if (known === undefined) knownBy.set(crypto, (known = new WeakMap()));
  const search = searchChain(leaf, options, known);
  let step = search.next();
  while (!step.done) {
    const { key, scheme, message, signature } = step.value;
    step = search.next(await crypto.verify(key, scheme, message, signature));
  }
  return step.value;
}

/**
 * `buildChain` for who can verify without waiting: the same rules, the same errors.
 * @throws X509Error as `buildChain`
 */
export function buildChainSync(leaf: Certificate, options: ChainOptions, verify: VerifySignature): Certificate[] {
  const search = searchChain(leaf, options, new WeakMap());
  let step = search.next();
  while (!step.done) {
    const { key, scheme, message, signature } = step.value;
    step = search.next(verify(key, scheme, message, signature));
  }
  return step.value;
}

/** Whether `signature` over `message` is by `key`. */
export type VerifySignature = (
  key: PublicKey,
  scheme: SignatureScheme,
  message: Uint8Array,
  signature: Uint8Array,
) => boolean;

/** The search itself verifies nothing: it yields each signature that matters, and goes on with the answer. Whoever drives it may wait for that, or not. */
type Searching<T> = Generator<SignedBytes, T, boolean>;

/** Certificates, and by whose keys their signatures are. */
type Known = WeakMap<Certificate, WeakSet<Certificate>>;

/**
 * Signatures that held, according to each port. A parsed certificate does not change, so they hold for as long as both objects live: those of a trusted root
 * are verified once, not for each of a thousand leaves below them. What was parsed anew is verified anew, and so is whatever did not hold.
 */
const knownBy = new WeakMap<CryptoPort, Known>();

interface Search {
  readonly options: ChainOptions;
  readonly known: Known;
  signatureChecks: number;
  /** The failure worth telling: of the longest path that was tried. */
  failure: { readonly depth: number; readonly error: X509Error } | undefined;
}

function* searchChain(leaf: Certificate, options: ChainOptions, known: Known): Searching<Certificate[]> {
  checkAlways(leaf, 0, options.time);
  const purpose = options.extendedKeyUsage;
  if (purpose !== undefined && !extendedKeyUsage(leaf)?.oids.includes(purpose)) {
    throw failure('X509_CHAIN_USAGE', leaf, 0, `its extended key usage does not include ${purpose}`);
  }
  const search: Search = { options, known, signatureChecks: 0, failure: undefined };
  const path = yield* extend([leaf], search);
  if (path) return path;
  throw search.failure?.error ?? noPath(leaf, 0, 'nothing was tried');
}

/** Depth first: `path` holds so far; returns it with what leads to an anchor, or undefined when nothing does. */
function* extend(path: readonly Certificate[], search: Search): Searching<Certificate[] | undefined> {
  const last = path.length - 1;
  const child = path[last];
  if (!child) throw new Error('Cannot extend path: it is empty');
  let named = false;
  for (const { issuer, anchor } of candidates(child, search.options)) {
    if (path.some((certificate) => isSameEntity(certificate, issuer))) continue;
    named = true;
    if (path.length === MAX_PATH) {
      remember(
        search,
        path.length,
        failure('X509_CHAIN_LIMIT', issuer, path.length, `a path has at most ${MAX_PATH} certificates`),
      );
      break;
    }
    try {
      checkIssuer(path, issuer, search.options);
      yield* checkSignature(child, last, issuer, search);
    } catch (error) {
      // A hint that does not hold is no reason to stop: another may. Only the bound on the work ends the search.
      if (!(error instanceof X509Error) || error.code === 'X509_CHAIN_LIMIT') throw error;
      remember(search, path.length, error);
      continue;
    }
    const longer = [...path, issuer];
    if (anchor) return longer;
    const found = yield* extend(longer, search);
    if (found) return found;
  }
  if (!named) remember(search, path.length, noPath(child, last, 'no certificate at hand has the name of its issuer'));
  return undefined;
}

/** Certificates whose subject is the child's issuer, anchors first: the shortest way out. */
function* candidates(child: Certificate, options: ChainOptions): Generator<{ issuer: Certificate; anchor: boolean }> {
  for (const issuer of options.anchors) if (equalBytes(issuer.subject, child.issuer)) yield { issuer, anchor: true };
  for (const issuer of options.intermediates)
    if (equalBytes(issuer.subject, child.issuer)) yield { issuer, anchor: false };
}

/** RFC 4158 §2.4.2: the same name and key twice in a path is a loop, whatever else the certificates say. */
function isSameEntity(a: Certificate, b: Certificate): boolean {
  return equalBytes(a.subject, b.subject) && equalBytes(a.spki, b.spki);
}

function remember(search: Search, depth: number, error: X509Error): void {
  if (!search.failure || depth > search.failure.depth) search.failure = { depth, error };
}

/** What holds for each certificate of a path. */
function checkAlways(certificate: Certificate, position: number, time: Date): void {
  const { notBefore, notAfter } = certificate;
  // RFC 5280 §4.1.2.5: notBefore through notAfter, inclusive.
  if (!(time >= notBefore && time <= notAfter)) {
    const validity = `it is valid from ${notBefore.toISOString()} to ${notAfter.toISOString()}`;
    const asked = Number.isNaN(time.getTime()) ? 'no time' : time.toISOString();
    throw failure('X509_CHAIN_EXPIRED', certificate, position, `${validity}, not at ${asked}`, {
      notBefore,
      notAfter,
      time,
    });
  }
  const unknown = certificate.extensions.find((extension) => extension.critical && !understood.has(extension.oid));
  if (unknown) {
    throw failure(
      'X509_CHAIN_EXTENSION',
      certificate,
      position,
      `its critical extension ${unknown.oid} is not understood`,
    );
  }
  // Not honoured, so not passed over either, whether marked critical as RFC 5280 §4.2.1.10 demands or not.
  if (findExtension(certificate, oid.nameConstraints)) {
    throw failure('X509_CHAIN_EXTENSION', certificate, position, 'name constraints are not supported');
  }
}

/** What holds for a certificate that stands above `path`. */
function checkIssuer(path: readonly Certificate[], issuer: Certificate, options: ChainOptions): void {
  const position = path.length;
  const child = path[position - 1];
  const [wanted, stated] = [child && authorityKeyId(child), subjectKeyId(issuer)];
  if (child && wanted && stated && !equalBytes(wanted, stated)) {
    throw noPath(child, position - 1, 'a certificate with the name of its issuer has another key identifier');
  }
  checkAlways(issuer, position, options.time);
  const constraints = basicConstraints(issuer);
  if (!constraints?.ca) throw failure('X509_CHAIN_NOT_CA', issuer, position, 'it is not a CA certificate');
  // RFC 5280 §6.1.4 (l): self-issued certificates do not count.
  const below = path.slice(1).filter((certificate) => !equalBytes(certificate.issuer, certificate.subject)).length;
  if (constraints.pathLength !== undefined && below > constraints.pathLength) {
    const state = `${below} CA certificates stand below it, its path length allows ${constraints.pathLength}`;
    throw failure('X509_CHAIN_PATH_LENGTH', issuer, position, state);
  }
  if (keyUsage(issuer)?.includes('keyCertSign') === false) {
    throw failure('X509_CHAIN_USAGE', issuer, position, 'its key usage does not include keyCertSign');
  }
  const purpose = options.extendedKeyUsage;
  const purposes = extendedKeyUsage(issuer)?.oids;
  if (purpose !== undefined && purposes && !purposes.includes(purpose) && !purposes.includes(oid.anyExtendedKeyUsage)) {
    throw failure('X509_CHAIN_USAGE', issuer, position, `its extended key usage does not include ${purpose}`);
  }
}

function* checkSignature(child: Certificate, position: number, issuer: Certificate, search: Search): Searching<void> {
  const most = search.options.maxSignatureChecks ?? MAX_SIGNATURE_CHECKS;
  if (search.signatureChecks === most) {
    throw failure('X509_CHAIN_LIMIT', child, position, `${most} signatures were checked without finding a path`);
  }
  search.signatureChecks++;
  if (search.known.get(child)?.has(issuer)) return;
  const signed = signedBytes(child, issuer);
  if (signed === undefined || !(yield signed)) {
    throw failure(
      'X509_CHAIN_SIGNATURE',
      child,
      position,
      `its signature is not by the key of ${describe(issuer, position + 1)}`,
    );
  }
  const issuers = search.known.get(child);
  if (issuers === undefined) search.known.set(child, new WeakSet([issuer]));
  else issuers.add(issuer);
}

function noPath(certificate: Certificate, position: number, state: string): X509Error {
  return failure('X509_CHAIN_NO_PATH', certificate, position, `no path to a trusted certificate: ${state}`);
}

function failure(
  code: X509ErrorCode,
  certificate: Certificate,
  position: number,
  state: string,
  details: X509ErrorDetails = {},
): X509Error {
  const name = describe(certificate, position);
  return new X509Error(code, `Cannot verify ${name}: ${state}`, { certificate: name, position, ...details });
}

/** The subject for people; a keyless leaf has none. */
function describe(certificate: Certificate, position: number): string {
  const text = subjectText(certificate);
  if (text) return `certificate "${text}"`;
  return position === 0 ? 'leaf certificate' : `certificate ${position} above the leaf`;
}

function subjectText(certificate: Certificate): string {
  try {
    return parseName(certificate.subject).text;
  } catch (error) {
    // Names are compared as bytes. One that nobody can read does not hide what is wrong, nor end the search.
    if (error instanceof X509Error) return '';
    throw error;
  }
}
