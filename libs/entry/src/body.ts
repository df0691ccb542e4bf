import { EncodingError, parseBase64, parseHex, parseJson, parsePem, parseUtf8, type JsonValue } from '#libs/encoding';
import { CryptoError, digestLengths, parseRsaPublicKey, type HashAlgorithm } from '#libs/crypto';
import type { Digest, LabelledVerifier, Verifier } from './entry.js';
import { EntryError } from './error.js';

/** A signature in a body, and what the log checked it with. */
export interface BodySignature {
  /** Raw signature bytes. */
  readonly signature: Uint8Array;
  readonly verifier: Verifier;
}

/**
 * The body of a log entry, as a verifier meets it in a bundle, in all kinds that current clients verify. Versions 0.0.1
 * and `intoto` 0.0.2 are of Rekor v1; their hexadecimal and PEM are decoded like the base64 and DER of Rekor v2.
 */
export type EntryBody =
  | ({ readonly kind: 'hashedrekord'; readonly version: '0.0.1'; readonly hash: Digest } & BodySignature)
  | ({ readonly kind: 'hashedrekord'; readonly version: '0.0.2'; readonly hash: Digest } & BodySignature &
      LabelledVerifier)
  | {
      readonly kind: 'dsse';
      readonly version: '0.0.1';
      readonly payloadHash: Digest;
      readonly signatures: readonly BodySignature[];
    }
  | {
      readonly kind: 'dsse';
      readonly version: '0.0.2';
      readonly payloadHash: Digest;
      readonly signatures: readonly (BodySignature & LabelledVerifier)[];
    }
  | {
      readonly kind: 'intoto';
      readonly version: '0.0.2';
      readonly payloadHash: Digest;
      readonly signatures: readonly BodySignature[];
    };

// Rekor v1 keeps the payload of an intoto entry in the body in old entries; its requests were limited to a few MiB.
const MAX_BODY_BYTES = 8 * 1024 * 1024;
const MAX_SIGNATURES = 32;

const protoHashes: Readonly<Record<string, HashAlgorithm>> = {
  SHA2_256: 'sha256',
  SHA2_384: 'sha384',
  SHA2_512: 'sha512',
};

/**
 * Reads the `canonicalizedBody` of a log entry. JSON without duplicate keys; in version 0.0.2 of Rekor v2 nothing
 * unknown either. Whatever the body claims is still to be compared with the bundle that it came in.
 * @throws EntryError `ENTRY_BODY_MALFORMED`
 */
export function parseEntryBody(bytes: Uint8Array): EntryBody {
  if (bytes.length > MAX_BODY_BYTES) throw malformed(`${bytes.length} bytes, at most ${MAX_BODY_BYTES} are read`);
  return reading(() => {
    const body = new Fields(parseJson(bytes), 'body');
    const kind = body.text('kind');
    const version = body.text('apiVersion');
    const spec = body.message('spec');
    body.end();
    switch (`${kind} ${version}`) {
      case 'hashedrekord 0.0.1':
        return hashedRekord1(spec);
      case 'hashedrekord 0.0.2':
        return hashedRekord2(spec);
      case 'dsse 0.0.1':
        return dsse1(spec);
      case 'dsse 0.0.2':
        return dsse2(spec);
      case 'intoto 0.0.2':
        return intoto2(spec);
      default:
        throw malformed('kind and version are none of hashedrekord, dsse 0.0.1 or 0.0.2, or intoto 0.0.2');
    }
  });
}

/** `data.hash {algorithm, value}`, `signature {content, publicKey {content: base64 of PEM}}`. */
function hashedRekord1(spec: Fields): EntryBody {
  const hash = hexDigest(spec.message('data').message('hash'));
  const signature = spec.message('signature');
  const verifier = pemVerifier(signature.message('publicKey').bytes('content'));
  return { kind: 'hashedrekord', version: '0.0.1', hash, signature: signature.bytes('content'), verifier };
}

/** `hashedRekordV002 {data {algorithm, digest}, signature}`. */
function hashedRekord2(spec: Fields): EntryBody {
  const entry = spec.message('hashedRekordV002');
  spec.end();
  const hash = protoDigest(entry.message('data'));
  const signature = protoSignature(entry.message('signature'));
  entry.end();
  return { kind: 'hashedrekord', version: '0.0.2', hash, ...signature };
}

/**
 * `payloadHash {algorithm, value}`, `signatures [{signature, verifier: base64 of PEM}]`. The `envelopeHash` depends on
 * how the client had spelled the envelope, which nobody can know any more: it is not read.
 */
function dsse1(spec: Fields): EntryBody {
  const payloadHash = hexDigest(spec.message('payloadHash'));
  const signatures = spec.messages('signatures').map((item) => ({
    signature: item.bytes('signature'),
    verifier: pemVerifier(item.bytes('verifier')),
  }));
  return { kind: 'dsse', version: '0.0.1', payloadHash, signatures };
}

/** `dsseV002 {payloadHash {algorithm, digest}, signatures [signature]}`. */
function dsse2(spec: Fields): EntryBody {
  const entry = spec.message('dsseV002');
  spec.end();
  const payloadHash = protoDigest(entry.message('payloadHash'));
  const signatures = entry.messages('signatures').map(protoSignature);
  entry.end();
  return { kind: 'dsse', version: '0.0.2', payloadHash, signatures };
}

/** `content {envelope {signatures [{publicKey: base64 of PEM, sig}]}, payloadHash}`, where `sig` is base64 twice. */
function intoto2(spec: Fields): EntryBody {
  const content = spec.message('content');
  const payloadHash = hexDigest(content.message('payloadHash'));
  const signatures = content
    .message('envelope')
    .messages('signatures')
    .map((item) => ({
      signature: parseBase64(parseUtf8(item.bytes('sig'))),
      verifier: pemVerifier(item.bytes('publicKey')),
    }));
  return { kind: 'intoto', version: '0.0.2', payloadHash, signatures };
}

function hexDigest(fields: Fields): Digest {
  const algorithm = fields.text('algorithm');
  if (algorithm !== 'sha256' && algorithm !== 'sha384' && algorithm !== 'sha512') {
    throw malformed('hash algorithm is none of sha256, sha384 and sha512');
  }
  return checkedDigest(algorithm, parseHex(fields.text('value')));
}

function protoDigest(fields: Fields): Digest {
  const name = fields.text('algorithm');
  const algorithm = Object.hasOwn(protoHashes, name) ? protoHashes[name] : undefined;
  if (algorithm === undefined) throw malformed('hash algorithm is none of SHA2_256, SHA2_384 and SHA2_512');
  const digest = checkedDigest(algorithm, fields.bytes('digest'));
  fields.end();
  return digest;
}

function checkedDigest(algorithm: HashAlgorithm, bytes: Uint8Array): Digest {
  if (bytes.length !== digestLengths[algorithm]) {
    throw malformed(`digest has ${bytes.length} bytes, ${algorithm} has ${digestLengths[algorithm]}`);
  }
  return { algorithm, bytes };
}

function protoSignature(fields: Fields): BodySignature & LabelledVerifier {
  const signature = fields.bytes('content');
  const labelled = fields.message('verifier');
  fields.end();
  const keyDetails = labelled.text('keyDetails');
  const member = labelled.has('publicKey') ? 'publicKey' : 'x509Certificate';
  const held = labelled.message(member);
  labelled.end();
  const bytes = held.bytes('rawBytes');
  held.end();
  const verifier = member === 'publicKey' ? { publicKey: bytes } : { x509Certificate: bytes };
  return { signature, keyDetails, verifier };
}

/** The first block of a PEM file; a certificate's issuers may follow it. */
function pemVerifier(pem: Uint8Array): Verifier {
  const [block] = parsePem(parseUtf8(pem));
  switch (block?.label) {
    case 'CERTIFICATE':
      return { x509Certificate: block.der };
    case 'PUBLIC KEY':
      return { publicKey: block.der };
    case 'RSA PUBLIC KEY':
      return { publicKey: parseRsaPublicKey(block.der).spki };
    default:
      throw malformed('verifier is neither a certificate nor a public key in PEM');
  }
}

/** A JSON object whose fields are taken one by one; all of those asked for must be there. */
class Fields {
  readonly #object: Readonly<Record<string, JsonValue>>;
  readonly #where: string;
  readonly #taken = new Set<string>();

  constructor(value: JsonValue | undefined, where: string) {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw malformed(`${where} is not an object`);
    }
    this.#object = value;
    this.#where = where;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  message(name: string): Fields {
    return new Fields(this.#take(name), name);
  }

  messages(name: string): Fields[] {
    const value = this.#take(name);
    if (!Array.isArray(value)) throw malformed(`${name} is not an array`);
    if (value.length === 0 || value.length > MAX_SIGNATURES) {
      throw malformed(`${name} has ${value.length} items, 1 to ${MAX_SIGNATURES} are read`);
    }
    return value.map((item) => new Fields(item, name));
  }

  text(name: string): string {
    const value = this.#take(name);
    if (typeof value !== 'string') throw malformed(`${name} is not a string`);
    return value;
  }

  bytes(name: string): Uint8Array {
    const value = parseBase64(this.text(name));
    if (value.length === 0) throw malformed(`${name} is empty`);
    return value;
  }

  /** Nothing may be left that was not asked for. */
  end(): void {
    for (const name of Object.keys(this.#object)) {
      if (!this.#taken.has(name)) throw malformed(`unknown field in ${this.#where}`);
    }
  }

  #take(name: string): JsonValue | undefined {
    this.#taken.add(name);
    return this.has(name) ? this.#object[name] : undefined;
  }
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof EncodingError || error instanceof CryptoError) {
      throw malformed('encoding is not as its kind says', error);
    }
    throw error;
  }
}

function malformed(state: string, cause?: unknown): EntryError {
  return new EntryError('ENTRY_BODY_MALFORMED', `Cannot read entry body: ${state}`, { cause });
}
