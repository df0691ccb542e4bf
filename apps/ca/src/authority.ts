// @peculiar/x509 looks for it when it is loaded.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as peculiar from '@peculiar/x509';
import { type CryptoPort, CryptoError, checkKeyStrength, type Signer } from '#libs/crypto';
import { encodePem, equalBytes } from '#libs/encoding';
import { loadSigner } from '#libs/openssl';
import {
  basicConstraints,
  buildChain,
  type Certificate,
  extendedKeyUsage,
  keyUsage,
  oid,
  parseCertificatePem,
  parseName,
  subjectKeyId,
  verifyCertificateSignature,
  X509Error,
} from '#libs/x509';

/** What the CA signs with. Key and chain belong together and are replaced together. */
export interface CertificateAuthority {
  readonly signer: Signer;
  /** The certificate of the signer's key. */
  readonly issuer: Certificate;
  /** `issuer` first, the root last. */
  readonly chain: readonly Certificate[];
}

/** The key or chain cannot be used; the message says which rule and which certificate. Ends the start. */
export class AuthorityError extends Error {
  override readonly name = 'AuthorityError';
  readonly code = 'CA_AUTHORITY';
}

/**
 * Loads the CA's key and chain, and refuses a pair whose certificates nobody would accept.
 * `chainPem`: the issuing CA first, the root last.
 * @throws AuthorityError
 * @see Fulcio's certificate specification; RFC 5280 §6.1
 */
export async function loadAuthority(
  files: { readonly keyPem: string; readonly chainPem: string; readonly passphrase?: string },
  now: Date,
  crypto: CryptoPort,
): Promise<CertificateAuthority> {
  const chain = reading('certificate chain', () => parseCertificatePem(files.chainPem));
  const signer = reading('key', () =>
    loadSigner(files.keyPem, files.passphrase === undefined ? {} : { passphrase: files.passphrase }),
  );
  const issuer = chain[0];
  const root = chain.at(-1);
  if (issuer === undefined || root === undefined) throw refuse('the chain is empty');

  chain.forEach((certificate, below) => {
    const name = parseName(certificate.subject).text;
    const constraints = basicConstraints(certificate);
    if (constraints?.ca !== true) throw refuse(`certificate is not a CA: ${name}`);
    if (keyUsage(certificate)?.includes('keyCertSign') !== true)
      throw refuse(`certificate may not sign others: ${name}`);
    // The issuing CA is no leaf: whatever stands above it must allow as many CAs below as there are.
    if (constraints.pathLength !== undefined && constraints.pathLength < below) {
      throw refuse(`path length of ${name} is ${constraints.pathLength}, but ${below} CAs are below it`);
    }
  });
  if (chain.length > 1 && extendedKeyUsage(issuer)?.oids.includes(oid.codeSigning) !== true) {
    throw refuse('certificate must have extended key usage code signing set to sign code signing certificates');
  }
  // RFC 5280 §4.1.2.4: who issued must have a name, and every leaf has a copy of this one.
  if (parseName(issuer.subject).text === '') throw refuse('the issuing certificate has no subject');
  // The leaf's authority key identifier is a copy of it, and clients walk the chain by it.
  if (subjectKeyId(issuer) === undefined) throw refuse('the issuing certificate has no subject key identifier');
  if (!equalBytes(issuer.spki, signer.publicKey.spki)) throw refuse('certificate and key: public keys are not equal');
  reading('key', () => checkKeyStrength(signer.publicKey));
  await checkPath(chain, root, now, crypto);
  return { signer, issuer, chain };
}

/** A valid path from first to last, now, through every certificate in the order of the file. */
async function checkPath(
  chain: readonly Certificate[],
  root: Certificate,
  now: Date,
  crypto: CryptoPort,
): Promise<void> {
  const [issuer, ...above] = chain;
  if (issuer === undefined) throw refuse('the chain is empty');
  if (above.length === 0) {
    if (now < issuer.notBefore || now > issuer.notAfter) throw refuse('the certificate is not valid now');
    const selfSigned = await verifyCertificateSignature(issuer, issuer, crypto);
    if (!selfSigned) throw refuse('a chain of one certificate must be self-signed');
    return;
  }
  let path: readonly Certificate[];
  try {
    path = await buildChain(
      issuer,
      { intermediates: above.slice(0, -1), anchors: [root], time: now, extendedKeyUsage: oid.codeSigning },
      crypto,
    );
  } catch (cause) {
    if (!(cause instanceof X509Error)) throw cause;
    throw refuse(`no valid path from the first certificate to the last: ${cause.message}`, { cause });
  }
  const sameOrder =
    path.length === chain.length && path.every(({ der }, i) => equalBytes(der, chain[i]?.der ?? der.subarray(0, 0)));
  if (!sameOrder) throw refuse('the chain has certificates that are not needed, or in another order');
}

/** What belongs to an authority made by `createAuthority`, PEM. */
export interface CreatedAuthority {
  /** Key of the issuing CA, PKCS#8, not encrypted. */
  readonly keyPem: string;
  /** Issuing CA, then root. */
  readonly chainPem: string;
  /** Needed only to sign another issuing CA: keep it elsewhere. */
  readonly rootKeyPem: string;
}

/**
 * Makes a root for ten years, and below it the CA that issues: only for code signing, only leaf certificates.
 * P-256 is the default of this project; P-384, which Fulcio's specification advises for CA keys, costs 25 times as much
 * to sign with in OpenSSL 3.0.
 * @see Fulcio's certificate specification
 */
export async function createAuthority(options: {
  readonly organization: string;
  readonly commonName: string;
  readonly now: Date;
  readonly keyType?: 'P-256' | 'P-384';
}): Promise<CreatedAuthority> {
  const namedCurve = options.keyType ?? 'P-256';
  const algorithm = { name: 'ECDSA', namedCurve, hash: namedCurve === 'P-256' ? 'SHA-256' : 'SHA-384' };
  // The library's types name the DOM's crypto; Node's is the same interface.
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  const rootKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  // Whole seconds, rounded down: a certificate counts in seconds, and must be valid for the first leaf.
  const notBefore = new Date(Math.floor(options.now.getTime() / 1000) * 1000);
  const rootName: peculiar.JsonName = [{ O: [options.organization] }, { CN: [`${options.commonName} root`] }];
  const usages = new peculiar.KeyUsagesExtension(
    peculiar.KeyUsageFlags.keyCertSign | peculiar.KeyUsageFlags.cRLSign,
    true,
  );

  const root = await peculiar.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: rootName,
    issuer: rootName,
    notBefore,
    notAfter: yearsAfter(notBefore, 10),
    publicKey: rootKeys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm,
    // No extended key usage: a root that states one limits what may ever be below it.
    extensions: [
      new peculiar.BasicConstraintsExtension(true, 1, true),
      usages,
      await peculiar.SubjectKeyIdentifierExtension.create(rootKeys.publicKey),
    ],
  });
  const issuing = await peculiar.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: [{ O: [options.organization] }, { CN: [options.commonName] }],
    issuer: rootName,
    notBefore,
    // Inside the root's lifetime, with a year to replace both.
    notAfter: yearsAfter(notBefore, 9),
    publicKey: keys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new peculiar.BasicConstraintsExtension(true, 0, true),
      usages,
      new peculiar.ExtendedKeyUsageExtension([oid.codeSigning], false),
      await peculiar.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await peculiar.AuthorityKeyIdentifierExtension.create(rootKeys.publicKey),
    ],
  });
  return {
    keyPem: await exportKey(keys.privateKey),
    chainPem: [issuing, root].map(({ rawData }) => encodePem('CERTIFICATE', new Uint8Array(rawData))).join(''),
    rootKeyPem: await exportKey(rootKeys.privateKey),
  };
}

function yearsAfter(date: Date, years: number): Date {
  const later = new Date(date);
  later.setUTCFullYear(later.getUTCFullYear() + years);
  return later;
}

/** 20 bytes, positive and not zero (RFC 5280 §4.1.2.2). */
function randomSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(20));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01;
  return Buffer.from(bytes).toString('hex');
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return encodePem('PRIVATE KEY', new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', key)));
}

function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof CryptoError) && !(cause instanceof X509Error)) throw cause;
    throw refuse(`${what}: ${cause.message}`, { cause });
  }
}

function refuse(state: string, options?: ErrorOptions): AuthorityError {
  return new AuthorityError(`Cannot use certificate authority: ${state}`, options);
}
