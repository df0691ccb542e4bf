import { webcrypto } from 'node:crypto';
// @peculiar/x509 wires itself with decorators, which need this first.
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { type CryptoPort, type Signer } from '#libs/crypto';
import { loadSigner } from '#libs/openssl';
import {
  basicConstraints,
  buildChain,
  type Certificate,
  extendedKeyUsage,
  parseCertificatePem,
  parseName,
} from '#libs/x509';
import { equalBytes } from '#libs/encoding';

const timeStamping = '1.3.6.1.5.5.7.3.8';

/** What the timestamp authority signs with: its key, and its chain from the signing certificate to the root. */
export interface TimestampAuthority {
  readonly signer: Signer;
  readonly chain: readonly Certificate[];
}

export class TsaAuthorityError extends Error {
  readonly code = 'TSA_AUTHORITY';
}

/**
 * Loads key and chain, and refuses what no client would accept (RFC 3161 §2.3: a certificate reserved for timestamping,
 * with one critical extended key usage).
 * `chainPem`: signing certificate first, root last, at least two.
 * @throws TsaAuthorityError naming the rule
 */
export async function loadTimestampAuthority(
  files: { keyPem: string; chainPem: string },
  now: Date,
  crypto: CryptoPort,
): Promise<TimestampAuthority> {
  const refuse = (reason: string): never => {
    throw new TsaAuthorityError(`Cannot use the timestamp authority's chain: ${reason}`);
  };
  const chain = files.chainPem.includes('-----BEGIN CERTIFICATE-----') ? parseCertificatePem(files.chainPem) : [];
  const signer = loadSigner(files.keyPem);
  const [leaf, ...issuers] = chain;
  if (leaf === undefined) return refuse('certificate chain must contain a leaf certificate');
  const root = issuers.at(-1);
  if (root === undefined) return refuse('certificate chain must contain at least two certificates');
  for (const issuer of issuers) {
    if (basicConstraints(issuer)?.ca !== true) {
      refuse(`certificate is not a CA certificate: ${parseName(issuer.subject).text}`);
    }
  }
  if (basicConstraints(leaf)?.ca === true) refuse('leaf certificate must be an end-entity certificate, not a CA');
  const usage = extendedKeyUsage(leaf);
  if (usage === undefined || !usage.oids.includes(timeStamping)) {
    refuse('certificate must have extended key usage timestamping set to sign timestamping certificates');
  } else {
    if (usage.oids.length !== 1) refuse('certificate should only contain one EKU');
    if (!usage.critical) refuse('certificate must set EKU to critical');
  }
  // Those between must list the usage; the root need not, and if it lists others, no path leads to it.
  for (const intermediate of issuers.slice(0, -1)) {
    if (extendedKeyUsage(intermediate)?.oids.includes(timeStamping) !== true) {
      refuse('certificate must have extended key usage timestamping set to sign timestamping certificates');
    }
  }
  if (!equalBytes(leaf.spki, signer.publicKey.spki)) refuse('leaf certificate and signing key do not match');
  await buildChain(
    leaf,
    { intermediates: issuers.slice(0, -1), anchors: [root], time: now, extendedKeyUsage: timeStamping },
    crypto,
  ).catch((error: unknown) => {
    throw new TsaAuthorityError("Cannot use the timestamp authority's chain: no valid path from leaf to root", {
      cause: error,
    });
  });
  return { signer, chain };
}

/**
 * Makes a new authority: a self-signed root for ten years and a signing certificate below it. The root's key is not kept
 * by the service; whoever stores it can renew the signing certificate.
 */
export async function createTimestampAuthority(options: {
  organization: string;
  commonName: string;
  now: Date;
}): Promise<{ keyPem: string; chainPem: string; rootKeyPem: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  // The library's types name the DOM's crypto; Node's is the same interface.
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  const rootKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const leafKeys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const second = Math.floor(options.now.getTime() / 1000) * 1000;
  const notBefore = new Date(second);
  const years = (count: number): Date => new Date(new Date(second).setUTCFullYear(notBefore.getUTCFullYear() + count));

  const root = await peculiar.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: nameOf(options.organization, `${options.commonName} root`),
    issuer: nameOf(options.organization, `${options.commonName} root`),
    notBefore,
    notAfter: years(10),
    publicKey: rootKeys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new peculiar.BasicConstraintsExtension(true, 0, true),
      new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.keyCertSign | peculiar.KeyUsageFlags.cRLSign, true),
      await peculiar.SubjectKeyIdentifierExtension.create(rootKeys.publicKey),
    ],
  });
  const leaf = await peculiar.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: nameOf(options.organization, options.commonName),
    issuer: nameOf(options.organization, `${options.commonName} root`),
    notBefore,
    // Inside the root's lifetime, with room to renew.
    notAfter: years(9),
    publicKey: leafKeys.publicKey,
    signingKey: rootKeys.privateKey,
    signingAlgorithm: algorithm,
    extensions: [
      new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.digitalSignature, true),
      new peculiar.ExtendedKeyUsageExtension([timeStamping], true),
      await peculiar.SubjectKeyIdentifierExtension.create(leafKeys.publicKey),
      await peculiar.AuthorityKeyIdentifierExtension.create(rootKeys.publicKey),
    ],
  });
  return {
    keyPem: await exportKey(leafKeys.privateKey),
    chainPem: `${leaf.toString('pem')}\n${root.toString('pem')}\n`,
    rootKeyPem: await exportKey(rootKeys.privateKey),
  };
}

function nameOf(organization: string, commonName: string): peculiar.JsonName {
  return [{ O: [organization] }, { CN: [commonName] }];
}

/** 20 bytes with the top bit clear: RFC 5280 §4.1.2.2 wants a positive number of at most 20 octets. */
function randomSerial(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(20));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01;
  return Buffer.from(bytes).toString('hex');
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64');
  return `-----BEGIN PRIVATE KEY-----\n${der.replace(/.{64}(?=.)/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
}
