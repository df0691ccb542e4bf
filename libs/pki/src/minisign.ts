import { createHash } from 'node:crypto';
import { encodeBase64, encodeUtf8, EncodingError, parseBase64, parseUtf8 } from '#libs/encoding';
import type { PkiFormat, PkiKey } from '#libs/entry';
import { badKey, badSignature, checkSize, falseIfMalformed } from './error.js';
import { ed25519Key, verifyWith } from './verify.js';

/** Two comments of a kilobyte, and then some. */
const MAX_TEXT = 4096;
const COMMENT = 'untrusted comment:';
const TRUSTED_COMMENT = 'trusted comment:';
const ED25519_KEY = 32;

/**
 * Keys and signatures of minisign, and those of OpenBSD's signify, whose files are the same without the last two lines.
 *
 * ```
 * untrusted comment: …                                   (key files: optional)
 * base64( algorithm[2] ‖ key id[8] ‖ key[32] or signature[64] )
 * trusted comment: …                                     (signatures of minisign only)
 * base64( global signature[64] )
 * ```
 * Algorithm: `Ed` signs the message itself, `ED` its BLAKE2b-512 digest. As in Rekor, key ids are not compared (the key
 * that was given must verify, whatever either file claims), and the trusted comment with its global signature is
 * neither verified nor logged: nothing that says something about it is kept.
 * @see https://jedisct1.github.io/minisign/ "Signature format", "Public key format"
 * @see Rekor's pkg/pki/minisign
 */
export const minisignFormat: PkiFormat = {
  parseKey(bytes: Uint8Array): PkiKey {
    const blob = readKey(bytes);
    const publicKey = ed25519Key(blob.subarray(10));
    return {
      canonical: encodeUtf8(encodeBase64(blob)),
      subjects: [],
      verify: (message, signatureFile) =>
        falseIfMalformed(() => {
          const signature = readSignature(signatureFile);
          const signed = isPrehashed(signature) ? blake2b512(message) : message;
          return verifyWith(publicKey, { kind: 'ed25519' }, signed, signature.subarray(10));
        }),
    };
  },

  canonicalSignature(bytes: Uint8Array): Uint8Array {
    return encodeUtf8(`${COMMENT}\n${encodeBase64(readSignature(bytes))}`);
  },
};

/** 42 bytes. */
function readKey(bytes: Uint8Array): Uint8Array {
  checkSize('public key', bytes, MAX_TEXT);
  // Early versions of Rekor kept the bare key as canonical bytes, and clients sent it back to search for.
  if (bytes.length === ED25519_KEY) return Uint8Array.of(0x45, 0x64, 0, 0, 0, 0, 0, 0, 0, 0, ...bytes);
  const lines = readLines(bytes) ?? [];
  const [comment, encoded] = lines.length === 1 ? [COMMENT, lines[0]] : lines;
  const blob = lines.length <= 2 && comment?.startsWith(COMMENT) ? readBlob(encoded, 10 + ED25519_KEY) : undefined;
  if (blob?.[0] !== 0x45 || blob[1] !== 0x64) {
    throw badKey('not a public key of minisign', 'unable to read minisign public key: Invalid encoded public key');
  }
  return blob;
}

/** 74 bytes. */
function readSignature(bytes: Uint8Array): Uint8Array {
  checkSize('signature', bytes, MAX_TEXT);
  const lines = readLines(bytes) ?? [];
  const [comment, encoded, trusted, global] = lines;
  if (lines.length !== 2 && lines.length !== 4) {
    const detail = `invalid signature provided: ${lines.length} lines detected`;
    throw badSignature('neither the two lines of signify nor the four of minisign', detail);
  }
  const blob = readBlob(encoded, 74);
  if (blob === undefined || !comment?.startsWith(COMMENT)) {
    throw badSignature('not a signature of minisign', 'invalid signature provided: base64 decoding failed');
  }
  if (lines.length === 4 && !(trusted?.startsWith(TRUSTED_COMMENT) && readBlob(global, 64))) {
    throw badSignature('the trusted comment is not followed by its signature', 'Invalid encoded signature');
  }
  if (blob[0] !== 0x45 || (blob[1] !== 0x64 && blob[1] !== 0x44)) {
    throw badSignature('its algorithm is neither Ed nor ED', 'invalid signature provided: unsupported algorithm');
  }
  return blob;
}

function isPrehashed(signature: Uint8Array): boolean {
  return signature[1] === 0x44;
}

/** The lines of a text, whose last may end or not; undefined for what is no text. */
function readLines(bytes: Uint8Array): string[] | undefined {
  try {
    const lines = parseUtf8(bytes).split('\n');
    if (lines.at(-1) === '') lines.pop();
    return lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  } catch (error) {
    if (error instanceof EncodingError) return undefined;
    throw error;
  }
}

function readBlob(encoded: string | undefined, length: number): Uint8Array | undefined {
  try {
    const blob = parseBase64(encoded ?? '');
    return blob.length === length ? blob : undefined;
  } catch (error) {
    if (error instanceof EncodingError) return undefined;
    throw error;
  }
}

/** RFC 7693, 64 bytes, no key. */
function blake2b512(message: Uint8Array): Uint8Array {
  return createHash('blake2b512').update(message).digest();
}
