import { equalBytes } from '#libs/encoding';
import { verifySync } from '#libs/openssl';
import {
  basicConstraints,
  type Certificate,
  findExtension,
  keyUsage,
  oid,
  schemeOfAlgorithm,
  X509Error,
} from '#libs/x509';

const MAX_SIGNATURE_CHECKS = 32;

/** Critical extensions whose meaning is checked here, or does not matter for who signed what. */
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
 * Whether the first certificate leads to the last one, over any of those between, at the time when the first became
 * valid. Nobody is trusted by this: the sender chose the root. It only makes sure that what is logged as a chain is
 * one, for any purpose. `buildChain` of `#libs/x509` is the path to an anchor that means something; this one is
 * synchronous, because a log computes the keys of an entry while it holds a transaction.
 * @see RFC 5280 §6.1
 */
export function isChain(certificates: readonly Certificate[]): boolean {
  const [leaf] = certificates;
  const root = certificates.at(-1);
  if (leaf === undefined || root === undefined) return false;
  if (!isUsable(leaf, leaf.notBefore)) return false;
  // A chain of one name twice: the leaf is itself the root.
  if (equalBytes(leaf.der, root.der)) return true;
  const search = { time: leaf.notBefore, root, others: certificates.slice(1, -1), checks: 0 };
  try {
    return leadsToRoot([leaf], search);
  } catch (error) {
    // An extension that cannot be read, or an algorithm that nobody should sign certificates with any more.
    if (error instanceof X509Error) return false;
    throw error;
  }
}

interface Search {
  readonly time: Date;
  readonly root: Certificate;
  readonly others: readonly Certificate[];
  checks: number;
}

function leadsToRoot(path: readonly Certificate[], search: Search): boolean {
  const child = path.at(-1);
  if (child === undefined) return false;
  for (const issuer of [search.root, ...search.others]) {
    if (path.includes(issuer) || !equalBytes(issuer.subject, child.issuer)) continue;
    if (!isUsable(issuer, search.time) || !mayIssue(issuer, path)) continue;
    if (search.checks++ === MAX_SIGNATURE_CHECKS) return false;
    if (!isSignedBy(child, issuer)) continue;
    if (issuer === search.root || leadsToRoot([...path, issuer], search)) return true;
  }
  return false;
}

function isUsable(certificate: Certificate, time: Date): boolean {
  // RFC 5280 §4.1.2.5: both ends included.
  if (time < certificate.notBefore || time > certificate.notAfter) return false;
  if (findExtension(certificate, oid.nameConstraints)) return false;
  return certificate.extensions.every((extension) => !extension.critical || understood.has(extension.oid));
}

function mayIssue(issuer: Certificate, path: readonly Certificate[]): boolean {
  const constraints = basicConstraints(issuer);
  if (!constraints?.ca || keyUsage(issuer)?.includes('keyCertSign') === false) return false;
  // RFC 5280 §6.1.4 (l): self-issued certificates do not count.
  const below = path.slice(1).filter((certificate) => !equalBytes(certificate.issuer, certificate.subject)).length;
  return constraints.pathLength === undefined || below <= constraints.pathLength;
}

function isSignedBy(child: Certificate, issuer: Certificate): boolean {
  const scheme = schemeOfAlgorithm(child.signatureAlgorithm);
  if (scheme === undefined) return false;
  const fits = scheme.kind.startsWith('rsa') ? 'rsa' : scheme.kind;
  return issuer.publicKey.kind === fits && verifySync(issuer.publicKey, scheme, child.tbs, child.signature);
}
