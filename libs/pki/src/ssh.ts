import {
  CryptoError,
  type CurveName,
  encodeEcdsaSignature,
  type HashAlgorithm,
  type PublicKey,
  rsaPublicKey,
  type SignatureScheme,
} from '#libs/crypto';
import {
  concatBytes,
  encodeBase64,
  encodePem,
  encodeUtf8,
  EncodingError,
  equalBytes,
  parseBase64,
  parseUtf8,
} from '#libs/encoding';
import type { PkiFormat, PkiKey } from '#libs/entry';
import { createHasher } from '#libs/openssl';
import { badKey, badSignature, checkSize, falseIfMalformed } from './error.js';
import { readPem } from './pem.js';
import { SshReader, sshString } from './ssh-wire.js';
import { ecdsaKey, ed25519Key, verifyWith } from './verify.js';

/** An RSA-8192 key is 1400 characters; comments are short. */
const MAX_KEY = 8192;
/** The same key in the signature, and a kilobyte of signature. */
const MAX_SIGNATURE = 8192;
const LABEL = 'SSH SIGNATURE';
const magic = encodeUtf8('SSHSIG');
const VERSION = 1;
/** Rekor takes signatures over files only: one made for a git commit or an e-mail must not pass for one over a file. */
const NAMESPACE = 'file';
const hashes: readonly string[] = ['sha256', 'sha512'] satisfies HashAlgorithm[];

const curveNames: ReadonlyMap<string, CurveName> = new Map<string, CurveName>([
  ['nistp256', 'P-256'],
  ['nistp384', 'P-384'],
  ['nistp521', 'P-521'],
]);

/** Hash of the curve. @see RFC 5656 §6.2.1 */
const curveHashes: Readonly<Record<CurveName, HashAlgorithm>> = {
  'P-256': 'sha256',
  'P-384': 'sha384',
  'P-521': 'sha512',
};

/**
 * Keys as a line of `authorized_keys` (without options), signatures as `ssh-keygen -Y sign -n file` writes them.
 * Ed25519, ECDSA over the NIST curves, RSA with SHA-2; no DSA, no SHA-1, no security keys, no certificates.
 * @see OpenSSH's PROTOCOL.sshsig
 * @see Rekor's pkg/pki/ssh
 */
export const sshFormat: PkiFormat = {
  parseKey(bytes: Uint8Array): PkiKey {
    const key = readKeyLine(bytes);
    return {
      canonical: encodeUtf8(`${key.type} ${encodeBase64(key.blob)}\n`),
      // The comment is not signed by anyone, so it is nobody's name.
      subjects: [],
      verify: (message, armored) => falseIfMalformed(() => isSignature(key, message, readSignature(armored))),
    };
  },

  canonicalSignature(bytes: Uint8Array): Uint8Array {
    return encodeUtf8(encodePem(LABEL, readSignature(bytes).blob));
  },
};

interface SshKey {
  readonly type: string;
  readonly blob: Uint8Array;
  readonly publicKey: PublicKey;
}

interface SshSignature {
  readonly blob: Uint8Array;
  readonly key: Uint8Array;
  readonly hash: HashAlgorithm;
  readonly algorithm: string;
  readonly value: Uint8Array;
}

/** `type base64 comment`, alone but for blank lines and lines that begin with `#` (sshd(8), AUTHORIZED_KEYS FILE FORMAT). */
function readKeyLine(bytes: Uint8Array): SshKey {
  checkSize('public key', bytes, MAX_KEY);
  return reading(
    () => {
      const lines = parseUtf8(bytes)
        .split('\n')
        .map((line) => line.trim());
      const [line, ...more] = lines.filter((text) => text !== '' && !text.startsWith('#'));
      const [type = '', encoded = ''] = line?.split(/[ \t]+/) ?? [];
      if (more.length > 0) throw badKey('more than one line', 'ssh: no key found');
      const key = readKeyBlob(parseBase64(encoded));
      if (key.type !== type) throw badKey('its type is not that of the line', 'ssh: no key found');
      return key;
    },
    (cause) => badKey('not a line of authorized_keys with a key that is supported', 'ssh: no key found', cause),
  );
}

/** @see RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4 */
function readKeyBlob(blob: Uint8Array): SshKey {
  const fields = new SshReader(blob);
  const type = fields.name();
  const publicKey = readKeyFields(type, fields);
  fields.end();
  return { type, blob, publicKey };
}

function readKeyFields(type: string, fields: SshReader): PublicKey {
  if (type === 'ssh-ed25519') return ed25519Key(fields.string());
  if (type === 'ssh-rsa') {
    const exponent = fields.mpint();
    return rsaPublicKey(fields.mpint(), exponent);
  }
  const curve = type.startsWith('ecdsa-sha2-') ? type.slice('ecdsa-sha2-'.length) : '';
  const name = curveNames.get(curve);
  if (name === undefined) throw badKey('type is neither Ed25519, ECDSA nor RSA', 'ssh: unknown key algorithm');
  if (fields.name() !== curve) throw badKey('its curve is not that of its type', 'ssh: unsupported curve');
  return ecdsaKey(name, fields.string());
}

/**
 * ```
 * byte[6] MAGIC_PREAMBLE "SSHSIG", uint32 SIG_VERSION, string publickey, string namespace, string reserved,
 * string hash_algorithm, string signature
 * ```
 */
function readSignature(armored: Uint8Array): SshSignature {
  checkSize('signature', armored, MAX_SIGNATURE);
  const { blocks, rest } = readPem(Buffer.from(armored).toString('latin1'), 1);
  const [block] = blocks;
  if (block === undefined || rest !== 'nothing') {
    throw badSignature('not PEM, or text behind it', 'unable to decode pem file');
  }
  if (block.label !== LABEL) {
    throw badSignature(`PEM block is not ${LABEL}`, 'wrong pem block type. Expected SSH-SIGNATURE');
  }
  return reading(
    () => readSignatureBlob(block.der),
    (cause) => badSignature('not a signature of SSH', 'ssh: unmarshal error', cause),
  );
}

function readSignatureBlob(blob: Uint8Array): SshSignature {
  const fields = new SshReader(blob);
  if (!equalBytes(fields.fixed(magic.length), magic)) throw badSignature('wrong preamble', 'invalid magic header');
  const version = fields.uint32();
  if (version !== VERSION) {
    throw badSignature(`version ${version}, ${VERSION} expected`, `unsupported signature version: ${version}`);
  }
  const key = fields.string();
  if (!equalBytes(fields.string(), encodeUtf8(NAMESPACE))) {
    throw badSignature(`its namespace is not ${NAMESPACE}`, 'invalid signature namespace');
  }
  // It is part of what is signed; Rekor signs and verifies with it empty.
  if (fields.string().length !== 0) throw badSignature('its reserved field is not empty', 'ssh: unmarshal error');
  const hash = fields.name();
  if (!isHash(hash)) throw badSignature('its hash is neither sha256 nor sha512', 'unsupported hash algorithm');
  const inner = new SshReader(fields.string());
  fields.end();
  const algorithm = inner.name();
  const value = inner.string();
  inner.end();
  readKeyBlob(key);
  return { blob, key, hash, algorithm, value };
}

function isHash(name: string): name is HashAlgorithm {
  return hashes.includes(name);
}

function isSignature(key: SshKey, message: Uint8Array, signature: SshSignature): boolean {
  // An entry whose signature names another key than the entry would say two things.
  if (!equalBytes(signature.key, key.blob)) return false;
  const scheme = schemeOf(key, signature.algorithm);
  if (scheme === undefined) return false;
  const value = signatureValue(scheme, signature.value);
  return value !== undefined && verifyWith(key.publicKey, scheme, signedData(signature, message), value);
}

/** What a key of this type signs with; undefined for the algorithm of another type, and for SHA-1. */
function schemeOf(key: SshKey, algorithm: string): SignatureScheme | undefined {
  const { publicKey } = key;
  if (publicKey.kind === 'rsa') {
    if (algorithm === 'rsa-sha2-256') return { kind: 'rsa-pkcs1', hash: 'sha256' };
    return algorithm === 'rsa-sha2-512' ? { kind: 'rsa-pkcs1', hash: 'sha512' } : undefined;
  }
  if (algorithm !== key.type) return undefined;
  return publicKey.kind === 'ed25519'
    ? { kind: 'ed25519' }
    : { kind: 'ecdsa', hash: curveHashes[publicKey.type.curve] };
}

/** RFC 5656 §3.1.2 writes an ECDSA signature as two integers; the others are as they are. */
function signatureValue(scheme: SignatureScheme, value: Uint8Array): Uint8Array | undefined {
  if (scheme.kind !== 'ecdsa') return value;
  try {
    const fields = new SshReader(value);
    const der = encodeEcdsaSignature(fields.mpint(), fields.mpint());
    fields.end();
    return der;
  } catch (error) {
    if (error instanceof EncodingError) return undefined;
    throw error;
  }
}

/** `byte[6] MAGIC_PREAMBLE, string namespace, string reserved, string hash_algorithm, string H(message)` */
function signedData({ hash }: SshSignature, message: Uint8Array): Uint8Array {
  const hasher = createHasher(hash);
  hasher.update(message);
  const fields = [encodeUtf8(NAMESPACE), new Uint8Array(), encodeUtf8(hash), hasher.digest()];
  return concatBytes(magic, ...fields.map(sshString));
}

function reading<T>(read: () => T, convert: (cause: unknown) => Error): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof EncodingError || error instanceof CryptoError) throw convert(error);
    throw error;
  }
}
