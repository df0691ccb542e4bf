import { constants, createPrivateKey, createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { parseBase64Url } from '#libs/encoding';
import {
  algorithmForKey,
  checkScheme,
  CryptoError,
  parsePublicKey,
  type SignatureScheme,
  type Signer,
} from '#libs/crypto';
import { signEd25519ph } from './ed25519ph.js';
import { plain } from './hash.js';

// A PEM file of an 8192-bit RSA key is under 7 kB.
const MAX_PEM_LENGTH = 32_768;

/** A key made by this process, which may be written down once. */
export interface GeneratedSigner extends Signer {
  /** PKCS#8 in PEM, not encrypted: the caller guards it. */
  exportPkcs8Pem(): string;
}

/** Makes a new key; ECDSA signs with the hash of its curve, Ed25519 in the pure form. */
export function generateSigner(type: 'P-256' | 'P-384' | 'ed25519' = 'P-256'): GeneratedSigner {
  const { privateKey } =
    type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: type });
  return {
    ...signerOf(privateKey),
    exportPkcs8Pem: () => privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/**
 * Reads a private key from PEM: PKCS#8, also encrypted, SEC 1 (`EC PRIVATE KEY`) or PKCS#1 (`RSA PRIVATE KEY`).
 * `scheme`: what it signs with; by default what the registry says for the key.
 * @throws CryptoError `CRYPTO_KEY_MALFORMED`, `CRYPTO_KEY_UNSUPPORTED`, `CRYPTO_KEY_ENCRYPTED` (no or a wrong
 * passphrase), `CRYPTO_SCHEME` (the key cannot be used with it)
 */
export function loadSigner(pem: string, options: { passphrase?: string; scheme?: SignatureScheme } = {}): Signer {
  if (pem.length > MAX_PEM_LENGTH) {
    throw new CryptoError('CRYPTO_KEY_MALFORMED', `Cannot read private key: PEM is over ${MAX_PEM_LENGTH} characters`);
  }
  return signerOf(readPrivateKey(pem, options.passphrase), options.scheme);
}

function readPrivateKey(pem: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey(passphrase === undefined ? pem : { key: pem, passphrase });
  } catch (cause) {
    // OpenSSL's code for a wrong passphrase differs with the cipher: garbage may even come out with good padding.
    const isEncrypted = pem.includes('ENCRYPTED');
    if (!isEncrypted)
      throw new CryptoError('CRYPTO_KEY_MALFORMED', 'Cannot read private key: not a PEM key', { cause });
    const state = passphrase === undefined ? 'it is encrypted and no passphrase was given' : 'passphrase does not fit';
    throw new CryptoError('CRYPTO_KEY_ENCRYPTED', `Cannot read private key: ${state}`, { cause });
  }
}

function signerOf(privateKey: KeyObject, chosen?: SignatureScheme): Signer {
  const publicKey = parsePublicKey(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }));
  const scheme = chosen ?? algorithmForKey(publicKey).scheme;
  checkScheme(publicKey, scheme);
  return { publicKey, scheme, sign: signFunction(privateKey, scheme) };
}

// A closure, not a property: what prints or copies a signer cannot reach the key.
function signFunction(privateKey: KeyObject, scheme: SignatureScheme): Signer['sign'] {
  switch (scheme.kind) {
    case 'ecdsa':
    case 'rsa-pkcs1':
      return (message) => plain(sign(scheme.hash, message, privateKey));
    case 'rsa-pss': {
      const options = {
        key: privateKey,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      };
      return (message) => plain(sign(scheme.hash, message, options));
    }
    case 'ed25519':
      return (message) => plain(sign(null, message, privateKey));
    case 'ed25519ph': {
      const { d = '' } = privateKey.export({ format: 'jwk' });
      const seed = parseBase64Url(d);
      return (message) => signEd25519ph(seed, message);
    }
  }
}
