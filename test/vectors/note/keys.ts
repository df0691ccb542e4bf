/** The keys of keys.json, and signers for the tests of notes. */
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parsePublicKey, type CryptoPort, type Signer } from '#libs/crypto';
import { parseVerifierKey, type NoteKey, type NoteKeyKind } from '#libs/note';
import { generateSigner, loadSigner, opensslCrypto } from '#libs/openssl';

interface KnownKey {
  kind: NoteKeyKind;
  name: string;
  spki?: string;
  hash?: string;
  keyId?: string;
  vkey?: string;
  seed?: string;
  time?: string;
}

const folder = new URL('.', import.meta.url);

/** Not the port's method itself: it may want its `this`. */
export const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
export const readNote = (name: string): string => readFileSync(new URL(`${name}.note`, folder), 'utf8');
export const knownKeys = JSON.parse(readFileSync(new URL('keys.json', folder), 'utf8')) as Record<string, KnownKey>;

export function knownKey(title: string): NoteKey {
  const known = knownKeys[title];
  if (known?.spki !== undefined) {
    return { kind: known.kind, name: known.name, key: parsePublicKey(fromBase64(known.spki)) };
  }
  if (known?.vkey === undefined) throw new Error(`Cannot find key: ${title} is not in keys.json`);
  return parseVerifierKey(known.vkey, hash);
}

/** The Ed25519 key of 32 bytes of seed. */
export function seedSigner(byte: number): Signer {
  // RFC 8410 §7: PrivateKeyInfo of a CurvePrivateKey.
  const prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
  const pkcs8 = Buffer.concat([prefix, Buffer.alloc(32, byte)]);
  return loadSigner(`-----BEGIN PRIVATE KEY-----\n${pkcs8.toString('base64')}\n-----END PRIVATE KEY-----\n`);
}

export const ecdsaSigner: Signer = generateSigner('P-256');

export const rsaSigner: Signer = loadSigner(
  generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  }).privateKey,
  { scheme: { kind: 'rsa-pkcs1', hash: 'sha256' } },
);
