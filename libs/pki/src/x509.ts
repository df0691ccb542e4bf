import {
  CryptoError,
  curves,
  ecdsaP1363ToDer,
  parsePublicKey,
  type PublicKey,
  type SignatureScheme,
} from '#libs/crypto';
import { encodePem, encodeUtf8 } from '#libs/encoding';
import type { PkiFormat, PkiKey } from '#libs/entry';
import { type Certificate, oid, parseCertificate, subjectAltNames, type SubjectAltName, X509Error } from '#libs/x509';
import { isChain } from './chain.js';
import { badKey, badSignature, checkSize, PkiError } from './error.js';
import { readPem } from './pem.js';
import { giveTurn } from './turn.js';
import { verifyWith } from './verify.js';

/** Ten certificates with RSA-4096 keys are 30 KiB of PEM. */
const MAX_KEY = 131_072;
/** Signatures by the largest RSA keys have 1 KiB. */
const MAX_SIGNATURE = 4096;
const MAX_CERTIFICATES = 10;

/**
 * One block as generators write it (RFC 7468 §3): what most clients send. Its base64 is strict, so bytes that have been read from it are written in no
 * other way, and need not be written again.
 */
const generated =
  /^-----BEGIN ([A-Z ]{1,64})-----\n(?:[A-Za-z0-9+/]{64}\n)*[A-Za-z0-9+/]{1,64}={0,2}\n-----END \1-----\n$/;

/**
 * Public keys and certificates in PEM, raw signatures.
 * @see Rekor's pkg/pki/x509
 */
export const x509Format: PkiFormat = {
  parseKey: x509KeyOf,
  canonicalSignature(bytes: Uint8Array): Uint8Array {
    checkSize('signature', bytes, MAX_SIGNATURE);
    if (bytes.length === 0) throw badSignature('no bytes', 'X509 signature has not been initialized');
    return bytes;
  },
};

/**
 * Reads a PEM block `PUBLIC KEY` (SubjectPublicKeyInfo) or `CERTIFICATE`, or a chain of up to 10 certificates whose
 * first is the signer's. A chain must lead to its last certificate at the time when the first became valid; a lone
 * certificate is taken as it is: nobody's trust and no expiry is looked at.
 *
 * `canonical`: the same blocks as RFC 7468 has them generated. `subjects`: of the first certificate, DNS names, e-mail
 * addresses, IP addresses, URIs, then Fulcio's user name; none of a bare key.
 *
 * `verify`: ECDSA and RSA PKCS#1 v1.5 with SHA-256 whatever the size of the key, Ed25519 pure. ECDSA signatures are DER or IEEE P1363.
 * @throws PkiError `PKI_KEY`, `PKI_CHAIN`, `PKI_TOO_LARGE`
 */
export function x509KeyOf(pem: Uint8Array): PkiKey {
  checkSize('public key', pem, MAX_KEY);
  // One character a byte: text around the blocks may be in any encoding.
  const given = Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength).toString('latin1');
  const text = given.trim();
  const { blocks, rest } = readPem(text, MAX_CERTIFICATES);
  const [first] = blocks;
  if (first === undefined) throw badKey('not PEM', 'invalid public key: failure decoding PEM');
  if (rest === 'other text') throw badKey('text behind the last block', 'error during PEM decoding');
  if (rest === 'more blocks') {
    throw badKey(`more than ${MAX_CERTIFICATES} blocks`, 'too many certificates specified in PEM block');
  }
  const canonicalOf = (): Uint8Array =>
    generated.test(given) ? pem : encodeUtf8(blocks.map(({ label, der }) => encodePem(label, der)).join(''));
  if (blocks.length === 1 && first.label === 'PUBLIC KEY') {
    const publicKey = reading(() => parsePublicKey(first.der));
    return keyOf(publicKey, canonicalOf(), []);
  }
  const other = blocks.find(({ label }) => label !== 'CERTIFICATE');
  if (other !== undefined) {
    const state = 'a PEM block is no certificate, or a public key is not alone';
    throw badKey(state, `invalid public key: cannot handle type ${printable(other.label)}`);
  }
  const certificates = blocks.map(({ der }) => reading(() => parseCertificate(der)));
  const [leaf] = certificates;
  if (leaf === undefined) throw new Error('Cannot read certificates: a list of blocks became an empty list');
  if (certificates.length > 1 && !isChain(certificates)) {
    const state = 'the first certificate does not lead to the last';
    throw new PkiError('PKI_CHAIN', `Cannot verify certificate chain: ${state}`, `x509: ${state}`);
  }
  return { ...keyOf(leaf.publicKey, canonicalOf(), subjectsOf(leaf)), certificate: leaf };
}

function keyOf(publicKey: PublicKey, canonical: Uint8Array, subjects: readonly string[]): PkiKey {
  return {
    canonical,
    subjects,
    publicKey,
    verify: async (message, signature) => {
      await giveTurn();
      return isSignature(publicKey, message, signature);
    },
  };
}

function isSignature(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  const plain = key.kind === 'ecdsa' && signature.length === 2 * curves[key.type.curve].bytes;
  const der = plain ? fromPlain(signature) : undefined;
  if (der !== undefined && verifyWith(key, schemeOf(key), message, der)) return true;
  return verifyWith(key, schemeOf(key), message, signature);
}

/** DER of the fixed-length form (IEEE P1363), which Rekor takes as well; undefined if half of it is zero. */
function fromPlain(signature: Uint8Array): Uint8Array | undefined {
  try {
    return ecdsaP1363ToDer(signature);
  } catch (error) {
    if (error instanceof CryptoError) return undefined;
    throw error;
  }
}

/** SHA-256 for P-384 and P-521 as well: Rekor names no other hash when it loads a verifier for this format. */
function schemeOf(key: PublicKey): SignatureScheme {
  switch (key.kind) {
    case 'ecdsa':
      return { kind: 'ecdsa', hash: 'sha256' };
    case 'rsa':
      return { kind: 'rsa-pkcs1', hash: 'sha256' };
    case 'ed25519':
      return { kind: 'ed25519' };
  }
}

function subjectsOf(certificate: Certificate): string[] {
  const names = reading(() => subjectAltNames(certificate));
  const of = (kind: 'dns' | 'email' | 'ip' | 'uri') =>
    names.flatMap((name) => (name.kind === kind ? [name.value] : []));
  return [...of('dns'), ...of('email'), ...of('ip').map(ipText), ...of('uri'), ...userNames(names)];
}

/** Fulcio's user name, if there is no otherName beside it. */
function userNames(names: readonly SubjectAltName[]): string[] {
  const others = names.filter(({ kind, ...rest }) => kind === 'other-name' || ('tag' in rest && rest.tag === 0xa0));
  const [only] = others;
  if (others.length !== 1 || only?.kind !== 'other-name' || only.oid !== oid.fulcioOtherName) return [];
  return only.value === '' ? [] : [only.value];
}

/**
 * An IPv6 address of eight groups of four digits as RFC 5952 §4 wants it written: no leading zeros, the longest run of
 * two or more zero groups (the first of equals) as `::`; and IPv4 in its dotted form also where it came mapped (§5 allows
 * both, Go writes the bare one). Others are left alone.
 */
function ipText(address: string): string {
  if (!address.includes(':')) return address;
  const groups = address.split(':').map((group) => Number.parseInt(group, 16));
  const mapped = groups.slice(0, 6).every((group, i) => group === (i < 5 ? 0 : 0xffff));
  if (mapped)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join('.');
  let run = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > run.length) run = { start, length };
  }
  const hex = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  if (run.length < 2) return hex(groups);
  return `${hex(groups.slice(0, run.start))}::${hex(groups.slice(run.start + run.length))}`;
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof X509Error || error instanceof CryptoError) {
      throw badKey(error.message, `invalid public key: ${error.message}`, error);
    }
    throw error;
  }
}

/** The label comes back in an answer: what is no printable ASCII does not. */
function printable(label: string): string {
  return label.replace(/[^\x20-\x7e]/g, '?');
}
