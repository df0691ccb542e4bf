import { scryptSync } from 'node:crypto';
import { xsalsa20poly1305 } from '@noble/ciphers/salsa.js';
import {
  encodeBase64,
  encodePem,
  encodeUtf8,
  EncodingError,
  parseBase64,
  parseJson,
  parsePem,
  type JsonValue,
} from '#libs/encoding';
import { KeyFileError } from './error.js';

const LABEL = 'ENCRYPTED SIGSTORE PRIVATE KEY';
/** What cosign 1 wrote; the content is the same. */
const OLD_LABEL = 'ENCRYPTED COSIGN PRIVATE KEY';

/**
 * The work factors that cosign writes or has written, with its block size and parallelism. A list and not a bound: the file is read before its
 * password is known to be right, and scrypt takes 128·N·r bytes of memory (RFC 7914 §2), 128 MiB for the largest of these.
 */
const WORK_FACTORS: readonly number[] = [32_768, 65_536, 131_072];
const BLOCK_SIZE = 8;
const PARALLELISM = 1;
/** go-securesystemslib's `Standard`, which cosign uses. */
const DEFAULT_WORK_FACTOR = 65_536;

const SALT_BYTES = 32;
const BOX_KEY_BYTES = 32;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
/** RSA of 16384 bits is below 10 kB in PKCS#8. */
const MAX_KEY_BYTES = 16 * 1024;
const MAX_PEM_LENGTH = 64 * 1024;
const MAX_PASSWORD_BYTES = 4096;

/** Whether the text claims to be such a file; it may still be malformed. */
export function isKeyFile(pem: string): boolean {
  return pem.includes(`-----BEGIN ${LABEL}-----`) || pem.includes(`-----BEGIN ${OLD_LABEL}-----`);
}

export interface EncryptOptions {
  /** Bytes from a generator fit for keys. */
  readonly random: (length: number) => Uint8Array;
}

/**
 * Writes a private key as a key file. `pkcs8Der`: at most 16 kB. `password`: any text, also the empty one, which keeps the format and protects nothing.
 * @throws KeyFileError `KEYFILE_MALFORMED` for a key or password beyond those sizes
 */
export function encryptKeyFile(pkcs8Der: Uint8Array, password: string, { random }: EncryptOptions): string {
  if (pkcs8Der.length === 0 || pkcs8Der.length > MAX_KEY_BYTES) {
    throw new KeyFileError(
      'KEYFILE_MALFORMED',
      `Cannot encrypt the key: ${pkcs8Der.length} bytes, expected 1 to ${MAX_KEY_BYTES}`,
    );
  }
  const salt = random(SALT_BYTES);
  // The box key is derived anew for each file, so that a random nonce never meets the same key twice.
  const nonce = random(NONCE_BYTES);
  const boxKey = deriveKey(password, salt, DEFAULT_WORK_FACTOR);
  const ciphertext = xsalsa20poly1305(boxKey, nonce).encrypt(pkcs8Der);
  boxKey.fill(0);
  const file = {
    kdf: {
      name: 'scrypt',
      params: { N: DEFAULT_WORK_FACTOR, r: BLOCK_SIZE, p: PARALLELISM },
      salt: encodeBase64(salt),
    },
    cipher: { name: 'nacl/secretbox', nonce: encodeBase64(nonce) },
    ciphertext: encodeBase64(ciphertext),
  };
  return encodePem(LABEL, encodeUtf8(JSON.stringify(file)));
}

/**
 * Opens a key file. Returns PKCS#8 DER as it was put in; whoever reads the key says whether it is one.
 *
 * @throws KeyFileError `KEYFILE_MALFORMED`, `KEYFILE_UNSUPPORTED`; `KEYFILE_PASSWORD` if the box does not open. A box cannot tell a wrong
 * password from changed ciphertext, but all that can be read without the password was in order then
 */
export function decryptKeyFile(pem: string, password: string): Uint8Array {
  const { workFactor, salt, nonce, ciphertext } = parseKeyFile(pem);
  const boxKey = deriveKey(password, salt, workFactor);
  try {
    return xsalsa20poly1305(boxKey, nonce).decrypt(ciphertext);
  } catch (cause) {
    throw new KeyFileError('KEYFILE_PASSWORD', 'Cannot open the key file: the password does not fit', {
      cause,
      cure: 'Give the password it was made with; if that is right, the file was changed since',
    });
  } finally {
    boxKey.fill(0);
  }
}

interface KeyFile {
  workFactor: number;
  salt: Uint8Array;
  nonce: Uint8Array;
  ciphertext: Uint8Array;
}

function parseKeyFile(pem: string): KeyFile {
  if (pem.length > MAX_PEM_LENGTH) throw malformed(`it has more than ${MAX_PEM_LENGTH} characters`);
  const file = readBody(pem);
  const kdf = members(file['kdf'], 'kdf', ['name', 'params', 'salt']);
  const params = members(kdf['params'], 'kdf.params', ['N', 'r', 'p']);
  const cipher = members(file['cipher'], 'cipher', ['name', 'nonce']);
  if (kdf['name'] !== 'scrypt') throw unsupported('its key derivation is not scrypt');
  if (cipher['name'] !== 'nacl/secretbox') throw unsupported('its cipher is not nacl/secretbox');
  const { N, r, p } = params;
  if (typeof N !== 'number' || !WORK_FACTORS.includes(N) || r !== BLOCK_SIZE || p !== PARALLELISM) {
    throw unsupported(`its scrypt parameters are not N ${WORK_FACTORS.join(', ')}, r ${BLOCK_SIZE}, p ${PARALLELISM}`);
  }
  const ciphertext = bytes(file['ciphertext'], 'ciphertext');
  if (ciphertext.length <= TAG_BYTES || ciphertext.length > MAX_KEY_BYTES + TAG_BYTES) {
    throw malformed(
      `ciphertext has ${ciphertext.length} bytes, expected ${TAG_BYTES + 1} to ${MAX_KEY_BYTES + TAG_BYTES}`,
    );
  }
  return {
    workFactor: N,
    salt: bytes(kdf['salt'], 'kdf.salt', SALT_BYTES),
    nonce: bytes(cipher['nonce'], 'cipher.nonce', NONCE_BYTES),
    ciphertext,
  };
}

function readBody(pem: string): Members {
  try {
    const blocks = parsePem(pem);
    const [block] = blocks;
    if (block === undefined || blocks.length > 1) throw malformed(`it has ${blocks.length} PEM blocks, expected 1`);
    if (block.label !== LABEL && block.label !== OLD_LABEL) throw malformed('it has another PEM label');
    return members(parseJson(block.der, { maxDepth: 3 }), 'the document', ['kdf', 'cipher', 'ciphertext']);
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw malformed('it is not PEM around JSON', cause);
  }
}

type Members = Readonly<Record<string, JsonValue | undefined>>;

/** An object of exactly these members: one that we do not know could change what the others mean. */
function members(value: JsonValue | undefined, what: string, names: readonly string[]): Members {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(`${what} is not an object`);
  const given = Object.keys(value);
  if (given.length !== names.length || !names.every((name) => given.includes(name))) {
    throw malformed(`${what} does not have exactly the members ${names.join(', ')}`);
  }
  return value;
}

function bytes(value: JsonValue | undefined, what: string, length?: number): Uint8Array {
  if (typeof value !== 'string') throw malformed(`${what} is not a string`);
  let decoded: Uint8Array;
  try {
    decoded = parseBase64(value);
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw malformed(`${what} is not base64`, cause);
  }
  if (length !== undefined && decoded.length !== length) {
    throw malformed(`${what} has ${decoded.length} bytes, expected ${length}`);
  }
  return decoded;
}

function deriveKey(password: string, salt: Uint8Array, workFactor: number): Uint8Array {
  const secret = encodeUtf8(password);
  if (secret.length > MAX_PASSWORD_BYTES) throw malformed(`the password has more than ${MAX_PASSWORD_BYTES} bytes`);
  // OpenSSL wants room for its own blocks beside the table of RFC 7914 §5.
  const maxmem = 128 * BLOCK_SIZE * (workFactor + 64);
  return new Uint8Array(
    scryptSync(secret, salt, BOX_KEY_BYTES, { N: workFactor, r: BLOCK_SIZE, p: PARALLELISM, maxmem }),
  );
}

function malformed(state: string, cause?: unknown): KeyFileError {
  return new KeyFileError('KEYFILE_MALFORMED', `Cannot read the key file: ${state}`, { cause });
}

function unsupported(state: string): KeyFileError {
  return new KeyFileError('KEYFILE_UNSUPPORTED', `Cannot read the key file: ${state}`, {
    cure: 'Make the file anew with `chancery import-key-pair` from the private key itself',
  });
}
