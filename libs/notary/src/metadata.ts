import { ecdsaP1363ToDer, parsePublicKey, type CryptoPort, type PublicKey, type SignatureScheme } from '#libs/crypto';
import {
  concatBytes,
  encodeHex,
  encodeUtf8,
  EncodingError,
  parseBase64,
  parseJson,
  parseUtf8,
  type JsonValue,
} from '#libs/encoding';
import { CryptoError } from '#libs/crypto';
import { parseCertificatePem, X509Error, type Certificate } from '#libs/x509';
import { NotaryError } from './error.js';

const MAX_SIGNATURES = 100;
const MAX_KEYS = 200;
const MAX_DEPTH = 12;

export type JsonObject = { readonly [name: string]: JsonValue };

/** A role as it came: what is signed, and who says to have signed it. */
export interface SignedRole {
  /** `root`, `timestamp`, `snapshot`, `targets`, `targets/releases`. */
  readonly name: string;
  /** All of it, as hashes of it are about. */
  readonly bytes: Uint8Array;
  readonly signed: JsonObject;
  /** What the signatures cover. */
  readonly message: Uint8Array;
  readonly version: number;
  readonly expires: Date;
  readonly signatures: readonly { readonly keyId: string; readonly method: string; readonly signature: Uint8Array }[];
}

/** A key of a role. */
export interface RoleKey {
  /** SHA-256 of the key in canonical JSON, hex: how roles name it. */
  readonly keyId: string;
  readonly publicKey: PublicKey;
  /** Where the key is given as a certificate, with those that came along. */
  readonly certificates: readonly Certificate[];
}

/** Who speaks for a role. */
export interface RoleKeys {
  readonly keys: readonly RoleKey[];
  readonly threshold: number;
}

const TYPES: Readonly<Record<string, string>> = { root: 'Root', timestamp: 'Timestamp', snapshot: 'Snapshot' };

/**
 * Reads a role's file. Nothing in it is believed yet.
 * @throws NotaryError `NOTARY_FORMAT`, `NOTARY_LIMIT`
 */
export function parseRole(name: string, bytes: Uint8Array): SignedRole {
  const refuse = (state: string, cause?: unknown) =>
    new NotaryError('NOTARY_FORMAT', `Cannot read role ${name}: ${state}`, { role: name, cause });
  let file: JsonValue;
  try {
    file = parseJson(bytes, { maxDepth: MAX_DEPTH });
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw refuse('it is not JSON', cause);
  }
  const { signed, signatures } = objectOf(file, () => refuse('it is not an object'));
  const body = objectOf(signed, () => refuse('it has no signed part'));
  // Notary's capital letters: a file of another kind of TUF repository is none of these.
  const type = TYPES[name] ?? 'Targets';
  if (body['_type'] !== type) throw refuse(`its _type is not ${type}`);
  const { version, expires } = body;
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 1) throw refuse('it has no version');
  if (!Array.isArray(signatures)) throw refuse('it has no signatures');
  if (signatures.length > MAX_SIGNATURES) {
    throw new NotaryError('NOTARY_LIMIT', `Cannot read role ${name}: it has ${signatures.length} signatures`, {
      role: name,
    });
  }
  return {
    name,
    bytes,
    signed: body,
    message: encodeUtf8(canonical(body, refuse)),
    version,
    expires: parseTime(expires, refuse),
    signatures: signatures.map((one) => {
      const { keyid, method, sig } = objectOf(one, () => refuse('a signature is not an object'));
      if (typeof keyid !== 'string' || typeof method !== 'string') throw refuse('a signature has no keyid or method');
      return { keyId: keyid, method, signature: base64(sig, () => refuse('a signature is not base64')) };
    }),
  };
}

/**
 * The canonical JSON that Notary signs: members sorted, no spaces, in strings only `"` and `\` escaped.
 * @see docker/go: canonical/json
 */
export function canonical(value: JsonValue, refuse: (state: string) => Error): string {
  switch (typeof value) {
    case 'string':
      return `"${value.replace(/["\\]/g, '\\$&')}"`;
    case 'number':
      if (!Number.isSafeInteger(value)) throw refuse('a number is not an integer');
      return String(value);
    case 'boolean':
      return String(value);
    case 'bigint':
      return value.toString();
    case 'object':
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${value.map((one) => canonical(one, refuse)).join(',')}]`;
      return `{${Object.keys(value)
        .sort()
        .map((name) => `${canonical(name, refuse)}:${canonical(value[name] ?? null, refuse)}`)
        .join(',')}}`;
  }
}

/**
 * The keys that an object of them has, under their ids. An id must be the digest of its key: else one key could count as several.
 * @throws NotaryError `NOTARY_FORMAT`, `NOTARY_LIMIT`
 */
export function parseKeys(value: JsonValue | undefined, role: string, hash: CryptoPort['hash']): Map<string, RoleKey> {
  const refuse = (state: string, cause?: unknown) =>
    new NotaryError('NOTARY_FORMAT', `Cannot read the keys of role ${role}: ${state}`, { role, cause });
  const all = objectOf(value, () => refuse('they are not an object'));
  const ids = Object.keys(all);
  if (ids.length > MAX_KEYS) {
    throw new NotaryError('NOTARY_LIMIT', `Cannot read the keys of role ${role}: ${ids.length} keys`, { role });
  }
  return new Map(
    ids.map((keyId) => {
      const key = objectOf(all[keyId], () => refuse('a key is not an object'));
      const { keytype } = key;
      const { public: given } = objectOf(key['keyval'], () => refuse('a key has no value'));
      if (typeof keytype !== 'string' || typeof given !== 'string') throw refuse('a key has no type or no value');
      const named = canonical({ keytype, keyval: { private: null, public: given } }, refuse);
      const actual = encodeHex(hash('sha256', encodeUtf8(named)));
      if (actual !== keyId) throw refuse(`key ${quote(keyId)} has the id ${actual}`);
      try {
        return [keyId, { keyId, ...readKey(keytype, parseBase64(given)) }] as const;
      } catch (cause) {
        if (cause instanceof CryptoError || cause instanceof X509Error || cause instanceof EncodingError) {
          throw refuse(`key ${keyId} cannot be read: ${cause.message}`, cause);
        }
        throw cause;
      }
    }),
  );
}

// SubjectPublicKeyInfo of Ed25519 up to the key (RFC 8410 §4): Notary writes the 32 bytes alone.
const ED25519_PREFIX = Uint8Array.of(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00);

function readKey(type: string, bytes: Uint8Array): Omit<RoleKey, 'keyId'> {
  switch (type) {
    case 'ecdsa':
    case 'rsa':
      return { publicKey: kindIs(type, parsePublicKey(bytes)), certificates: [] };
    case 'ed25519':
      return { publicKey: parsePublicKey(concatBytes(ED25519_PREFIX, bytes)), certificates: [] };
    case 'ecdsa-x509':
    case 'rsa-x509': {
      const certificates = parseCertificatePem(parseUtf8(bytes));
      const [leaf] = certificates;
      if (leaf === undefined) throw new EncodingError('ENCODING_PEM', 'no certificate found');
      return { publicKey: kindIs(type.replace('-x509', ''), leaf.publicKey), certificates };
    }
    default:
      throw new EncodingError('ENCODING_JSON', `a key of type ${quote(type)} is not known`);
  }
}

function kindIs(kind: string, key: PublicKey): PublicKey {
  if (key.kind !== kind) throw new EncodingError('ENCODING_JSON', `a key said to be ${kind} is ${key.kind}`);
  return key;
}

/**
 * Who speaks for a role, as the role above it says.
 * @throws NotaryError `NOTARY_FORMAT` for a threshold below 1, an unknown or repeated key
 */
export function parseRoleKeys(
  value: JsonValue | undefined,
  role: string,
  keys: ReadonlyMap<string, RoleKey>,
): RoleKeys {
  const refuse = (state: string) =>
    new NotaryError('NOTARY_FORMAT', `Cannot read who signs role ${role}: ${state}`, { role });
  const { keyids, threshold } = objectOf(value, () => refuse('nobody is named'));
  if (typeof threshold !== 'number' || !Number.isSafeInteger(threshold) || threshold < 1) {
    throw refuse('its threshold is not a number from 1');
  }
  if (!Array.isArray(keyids) || keyids.length === 0 || keyids.length > MAX_KEYS) throw refuse('it has no keys');
  if (new Set(keyids).size !== keyids.length) throw refuse('a key is named twice');
  return {
    threshold,
    keys: keyids.map((keyId) => {
      const key = typeof keyId === 'string' ? keys.get(keyId) : undefined;
      if (key === undefined) throw refuse('it names a key that is not there');
      return key;
    }),
  };
}

/**
 * Proves that enough of the keys signed the role; returns the ids of those that did.
 * @throws NotaryError `NOTARY_SIGNATURE`
 */
export async function verifySignatures(
  role: SignedRole,
  { keys, threshold }: RoleKeys,
  crypto: Pick<CryptoPort, 'verify'>,
): Promise<string[]> {
  const byId = new Map(keys.map((key) => [key.keyId, key]));
  const signers = new Map<string, string>();
  for (const { keyId, method, signature } of role.signatures) {
    const key = byId.get(keyId);
    if (key === undefined) continue;
    // One key as itself and in a certificate has two ids, and is still one.
    const material = encodeHex(key.publicKey.spki);
    if (!signers.has(material) && (await isGood(key.publicKey, method, role.message, signature, crypto))) {
      signers.set(material, keyId);
    }
  }
  if (signers.size < threshold) {
    throw new NotaryError(
      'NOTARY_SIGNATURE',
      `Cannot believe role ${role.name}: ${signers.size} of its keys signed it, ${threshold} needed`,
      { role: role.name },
    );
  }
  return [...signers.values()];
}

/** The method must be that of the key: what the file says decides nothing. */
async function isGood(
  key: PublicKey,
  method: string,
  message: Uint8Array,
  signature: Uint8Array,
  crypto: Pick<CryptoPort, 'verify'>,
): Promise<boolean> {
  const [wanted, scheme]: [string, SignatureScheme] =
    key.kind === 'ecdsa'
      ? ['ecdsa', { kind: 'ecdsa', hash: 'sha256' }]
      : key.kind === 'ed25519'
        ? ['eddsa', { kind: 'ed25519' }]
        : ['rsapss', { kind: 'rsa-pss', hash: 'sha256' }];
  if (method !== wanted) return false;
  if (key.kind !== 'ecdsa') return crypto.verify(key, scheme, message, signature);
  try {
    return await crypto.verify(key, scheme, message, ecdsaP1363ToDer(signature));
  } catch (error) {
    // r ‖ s of the wrong length, or zero.
    if (error instanceof CryptoError && error.code === 'CRYPTO_SIGNATURE_MALFORMED') return false;
    throw error;
  }
}

/** Bytes that a role vouches for. */
export interface Vouched {
  readonly sha256: Uint8Array;
  readonly sha512: Uint8Array | undefined;
  readonly length: number;
}

/** @throws the caller's error */
export function parseVouched(value: JsonValue | undefined, refuse: (state: string) => Error): Vouched {
  const { hashes, length } = objectOf(value, () => refuse('an entry is not an object'));
  const { sha256, sha512 } = objectOf(hashes, () => refuse('an entry has no hashes'));
  if (typeof length !== 'number' || !Number.isSafeInteger(length) || length < 0) throw refuse('an entry has no length');
  const sized = (text: JsonValue, bytes: number) => {
    const hash = base64(text, () => refuse('a hash is not base64'));
    if (hash.length !== bytes) throw refuse(`a hash has ${hash.length} bytes, expected ${bytes}`);
    return hash;
  };
  if (sha256 === undefined) throw refuse('an entry has no hash of SHA-256');
  return { sha256: sized(sha256, 32), sha512: sha512 === undefined ? undefined : sized(sha512, 64), length };
}

/** RFC 3339 with up to nine digits of a second, as Go writes it; digits beyond the millisecond are cut. */
function parseTime(value: JsonValue | undefined, refuse: (state: string) => Error): Date {
  const [, day, time] =
    /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)Z$/.exec(typeof value === 'string' ? value : '') ?? [];
  const date = new Date(`${day}T${(time ?? '').slice(0, 12)}Z`);
  if (day === undefined || Number.isNaN(date.getTime()) || date.toISOString().slice(0, 10) !== day) {
    throw refuse('it has no expiry in UTC');
  }
  return date;
}

export function objectOf(value: JsonValue | undefined, refuse: () => Error): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw refuse();
  return value;
}

function base64(value: JsonValue | undefined, refuse: () => Error): Uint8Array {
  if (typeof value !== 'string') throw refuse();
  try {
    return parseBase64(value);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw refuse();
  }
}

/** What strangers wrote, fit for a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
