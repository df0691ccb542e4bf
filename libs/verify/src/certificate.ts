import type { CryptoPort } from '#libs/crypto';
import { encodeHex, equalBytes } from '#libs/encoding';
import { isValidAt, type CertificateAuthority, type TlogInstance, type TrustedRoot } from '#libs/trust';
import {
  buildChain,
  checkLeafUsage,
  embeddedScts,
  fulcioExtensions,
  oid,
  parseCertificate,
  subjectAltNames,
  verifySct,
  X509Error,
  type Certificate,
  type FulcioExtensions,
} from '#libs/x509';
import { Objection, type Finding } from './checks.js';
import { operatorOf } from './log.js';
import type { IdentityPolicy } from './policy.js';
import { describeInstant, type TrustedTime } from './time.js';

/** Who a certificate says its holder is. */
export interface Identity {
  san: string;
  issuer: string;
  /** All of Fulcio's extensions, with the names of `#libs/x509`. */
  extensions: FulcioExtensions;
}

/** The leaf, and what else came with it, from the bundle's DER. */
export function parseCertificates(ders: Uint8Array[]): [leaf: Certificate, extras: Certificate[]] {
  const [leaf, ...extras] = ders.map((der) => parseCertificate(der));
  if (leaf === undefined) throw new Objection('the bundle has no certificate');
  return [leaf, extras];
}

/** C.1: an end-entity certificate for signing code, with exactly one name. */
export function checkProfile(leaf: Certificate, extras: Certificate[]): Finding<string> {
  checkLeafUsage(leaf, oid.codeSigning);
  // A root that the signer hands over proves nothing, and may hope to be taken for a trusted one.
  if (extras.some(({ subject, issuer }) => equalBytes(subject, issuer))) {
    throw new Objection('the bundle carries a self-signed root beside the certificate');
  }
  const names = subjectAltNames(leaf);
  const [name] = names;
  if (name === undefined || names.length > 1) {
    throw new Objection(`the certificate has ${names.length} subject alternative names, exactly one is allowed`);
  }
  if (
    name.kind !== 'email' &&
    name.kind !== 'uri' &&
    !(name.kind === 'other-name' && name.oid === oid.fulcioOtherName)
  ) {
    throw new Objection(`the certificate names its subject by ${name.kind}, which is no signing identity`);
  }
  return { detail: `a code signing certificate for ${name.value}`, value: name.value };
}

/**
 * C.2, C.3: at every trusted time there is a path to an authority of the trusted root, valid then in all its parts.
 * The present plays no role: such certificates live ten minutes. Returns the chain, leaf to anchor.
 */
export async function checkChain(
  leaf: Certificate,
  extras: Certificate[],
  times: TrustedTime[],
  root: TrustedRoot,
  crypto: CryptoPort,
): Promise<Finding<Certificate[]>> {
  let chain: Certificate[] | undefined;
  for (const { time } of times) {
    chain = await findChain(leaf, extras, time, root.certificateAuthorities, crypto);
  }
  if (chain === undefined) throw new Objection('no trusted time to judge the certificate at');
  return { detail: `${chain.length} certificates, valid at ${times.length} time(s)`, value: chain };
}

async function findChain(
  leaf: Certificate,
  extras: Certificate[],
  time: Date,
  authorities: CertificateAuthority[],
  crypto: CryptoPort,
): Promise<Certificate[]> {
  const current = authorities.filter(({ validFor }) => isValidAt(validFor, time));
  if (current.length === 0) {
    throw new Objection(`the trusted root has no certificate authority for ${describeInstant(time)}`);
  }
  let lastError: X509Error | undefined;
  for (const { certChain } of current) {
    const anchors = certChain.slice(-1);
    const intermediates = [...certChain.slice(0, -1), ...extras];
    try {
      return await buildChain(leaf, { intermediates, anchors, time, extendedKeyUsage: oid.codeSigning }, crypto);
    } catch (error) {
      if (!(error instanceof X509Error)) throw error;
      // The next authority may do. If none does, a path that was found and refused tells more than one not found.
      if (lastError === undefined || lastError.code === 'X509_CHAIN_NO_PATH') lastError = error;
    }
  }
  const expired = lastError?.code === 'X509_CHAIN_EXPIRED';
  throw new Objection(
    `at ${describeInstant(time)}: ${lastError?.message ?? 'no path'}`,
    expired ? 'Sign again: the certificate was not valid when the signature was made' : undefined,
    { cause: lastError },
  );
}

/** C.4: enough trusted CT logs signed for this certificate, as issued by the issuer of the verified chain. */
export async function checkTransparency(
  [leaf, issuer]: Certificate[],
  ctlogs: TlogInstance[],
  threshold: number,
  crypto: CryptoPort,
): Promise<Finding<void>> {
  if (leaf === undefined || issuer === undefined)
    throw new Objection('the certificate has no issuer apart from itself');
  const scts = embeddedScts(leaf);
  if (scts.length === 0) {
    throw new Objection('the certificate has no embedded SCT', 'Get a certificate from an authority that logs to CT');
  }
  const operators = new Set<string>();
  for (const sct of scts) {
    const time = new Date(Number(sct.timestampMs)); // milliseconds, unlike the times of Rekor
    // An SCT of a log we do not know is no objection: it may be there for other verifiers.
    const known = ctlogs.filter(({ logId }) => equalBytes(logId, sct.logId));
    const log = known.find(({ validFor }) => isValidAt(validFor, time));
    if (log === undefined) {
      if (known.length > 0) throw new Objection(`the CT log's key was not valid at ${describeInstant(time)}`);
      continue;
    }
    await verifySct(sct, leaf, issuer, log.publicKey, crypto);
    operators.add(operatorOf(log));
  }
  if (operators.size < threshold) {
    const ids = scts.map(({ logId }) => encodeHex(logId)).join(', ');
    throw new Objection(
      operators.size === 0
        ? `the trusted root has no CT log with id ${ids}`
        : `${operators.size} operator(s) of CT logs have the certificate, ${threshold} needed`,
      operators.size === 0
        ? 'Use the trusted root of the instance that issued this certificate'
        : 'Lower the threshold, or sign again with a certificate in more CT logs',
    );
  }
  return { detail: `promised by ${[...operators].join(', ')}`, value: undefined };
}

/** D: subject alternative name. */
export function checkSan(san: string, { san: expected }: IdentityPolicy): Finding<void> {
  return compare('identity', san, expected);
}

/** D: issuer, from extension 1.3.6.1.4.1.57264.1.8, or .1 in old certificates. */
export function checkIssuer(leaf: Certificate, san: string, { issuer: expected }: IdentityPolicy): Finding<Identity> {
  const extensions = fulcioExtensions(leaf);
  const { issuer } = extensions;
  if (issuer === undefined) throw new Objection('the certificate does not say who vouched for the identity');
  const { detail } = compare('issuer', issuer, expected);
  return { detail, value: { san, issuer, extensions } };
}

function compare(what: string, value: string, expected: IdentityPolicy['san']): Finding<void> {
  const matches = typeof expected === 'string' ? value === expected : expected(value);
  if (!matches) {
    throw new Objection(
      `the certificate's ${what} is ${value}, ` +
        (typeof expected === 'string' ? `expected ${expected}` : 'which does not match the expression'),
    );
  }
  return { detail: value, value: undefined };
}
