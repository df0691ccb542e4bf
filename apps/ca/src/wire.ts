import { EncodingError, encodeUtf8, type JsonValue, parseAnyBase64, parseJson } from '#libs/encoding';
import type { ResolvedIssuer } from '#libs/identity';
import type { KeyProof } from './client-key.js';
import { CaError } from './errors.js';
import type { IssuedCertificate, SigningRequest } from './issue.js';

// The JSON of Fulcio's two APIs (fulcio.proto, fulcio_legacy.proto) as grpc-gateway reads and writes it: names in camelCase
// or snake_case, null as absent, unknown names ignored, bytes in base64 of either alphabet.

type Message = Readonly<Record<string, JsonValue>>;

/**
 * Far above any honest request: a token of at most 16 KiB and a certificate request of a few. What is larger is refused by its
 * length alone: reading a megabyte of dots costs more than refusing it, and anybody can send one.
 */
const BODY_LIMIT = 256 * 1024;

/** Body of `POST /api/v2/signingCert`. @throws CaError `CA_REQUEST` */
export function parseSigningRequest(body: Uint8Array | undefined, authorization: string | undefined): SigningRequest {
  const request = parseBody(body);
  const credentials = messageField(request, 'credentials');
  const token = credentials && textField(credentials, 'oidcIdentityToken');
  const keyRequest = messageField(request, 'publicKeyRequest');
  const csr = bytesField(request, 'certificateSigningRequest');
  if (keyRequest !== undefined && csr !== undefined) {
    throw unreadable('publicKeyRequest and certificateSigningRequest exclude each other');
  }
  return { token: token || bearer(authorization), key: keyProof(csr, keyRequest && readKeyRequest(keyRequest)) };
}

/** Body of `POST /api/v1/signingCert`. @throws CaError `CA_REQUEST`, `CA_KEY_MISSING` */
export function parseLegacyRequest(body: Uint8Array | undefined, authorization: string | undefined): SigningRequest {
  const request = parseBody(body);
  const publicKey = messageField(request, 'publicKey');
  const signature = bytesField(request, 'signedEmailAddress') ?? new Uint8Array();
  const csr = bytesField(request, 'certificateSigningRequest');
  const content = publicKey && (bytesField(publicKey, 'content') ?? new Uint8Array());
  // No oneof here: the certificate request wins.
  const key = keyProof(csr, content && { kind: 'public-key', publicKey: content, signature });
  // In this API, and only in this one, a missing key is reported before the token is looked at.
  if (key.kind === 'missing') throw new CaError('CA_KEY_MISSING', 'Cannot certify key: the request has none');
  return { token: bearer(authorization), key };
}

/** Answer of v2: PEM without final line feeds, leaf first, root last. */
export function encodeSigningResponse({ leaf, chain }: IssuedCertificate): string {
  const certificates = [leaf, ...chain].map((pem) => pem.trimEnd());
  return JSON.stringify({ signedCertificateEmbeddedSct: { chain: { certificates } } });
}

/** Answer of v1: one text of all certificates, without final line feed. */
export function encodeLegacyResponse({ leaf, chain }: IssuedCertificate): string {
  return [leaf, ...chain].map((pem) => pem.trimEnd()).join('\n');
}

/** `GET /api/v2/trustBundle`: one chain a CA, here with the final line feed of each PEM. */
export function encodeTrustBundle(chain: readonly string[]): string {
  return JSON.stringify({ chains: [{ certificates: chain }] });
}

/** `GET /api/v1/rootCert`: upstream puts a blank line between the certificates. */
export function encodeRootCertificates(chain: readonly string[]): string {
  return chain
    .map((pem) => `${pem}\n`)
    .join('')
    .trimEnd();
}

/** `GET /api/v2/configuration`: scalars are written even when they are empty. */
export function encodeConfiguration(issuers: readonly ResolvedIssuer[]): string {
  return JSON.stringify({
    issuers: issuers.map((issuer) => ({
      ...(issuer.wildcard ? { wildcardIssuerUrl: issuer.issuerUrl } : { issuerUrl: issuer.issuerUrl }),
      audience: issuer.clientId,
      challengeClaim: issuer.challengeClaim,
      spiffeTrustDomain: '',
      issuerType: issuer.type,
      subjectDomain: '',
      skipEmailVerification: issuer.skipEmailVerification ?? false,
    })),
  });
}

function readKeyRequest(request: Message): KeyProof {
  const publicKey = messageField(request, 'publicKey');
  // `algorithm` has no effect upstream either, and clients write names there that are not in the enum.
  const content = (publicKey && textField(publicKey, 'content')) ?? '';
  const signature = bytesField(request, 'proofOfPossession') ?? new Uint8Array();
  return { kind: 'public-key', publicKey: encodeUtf8(content), signature };
}

/** An empty certificate request counts as none, as a proto3 default does. */
function keyProof(csr: Uint8Array | undefined, key: KeyProof | undefined): KeyProof {
  if (csr !== undefined && csr.length > 0) return { kind: 'request', csr };
  return key ?? { kind: 'missing' };
}

/** The header without its first `Bearer `; a bare token is taken as well. */
function bearer(authorization: string | undefined): string | undefined {
  return authorization?.replace('Bearer ', '');
}

/** An empty body is an empty message. */
function parseBody(body: Uint8Array | undefined): Message {
  if (body === undefined || body.length === 0) return {};
  if (body.length > BODY_LIMIT) throw unreadable(`the body has ${body.length} bytes, the limit is ${BODY_LIMIT}`);
  let value: JsonValue;
  try {
    value = parseJson(body);
  } catch (cause) {
    throw unreadable('the body is not JSON', { cause });
  }
  if (!isMessage(value)) throw unreadable('the body is not a JSON object');
  return value;
}

function isMessage(value: JsonValue): value is Record<string, JsonValue> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function field(message: Message, name: string): JsonValue | undefined {
  const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const names = snake === name ? [name] : [name, snake];
  const values = names.filter((candidate) => Object.hasOwn(message, candidate)).map((candidate) => message[candidate]);
  if (values.length > 1) throw unreadable(`${name} is given twice`);
  return values[0] ?? undefined;
}

function messageField(message: Message, name: string): Message | undefined {
  const value = field(message, name);
  if (value === undefined || isMessage(value)) return value;
  throw unreadable(`${name} must be an object`);
}

function textField(message: Message, name: string): string | undefined {
  const value = field(message, name);
  if (value === undefined || typeof value === 'string') return value;
  throw unreadable(`${name} must be a string`);
}

function bytesField(message: Message, name: string): Uint8Array | undefined {
  const text = textField(message, name);
  if (text === undefined) return undefined;
  try {
    return parseAnyBase64(text);
  } catch (cause) {
    if (cause instanceof EncodingError) throw unreadable(`${name} is not base64`, { cause });
    throw cause;
  }
}

function unreadable(shown: string, options: ErrorOptions = {}): CaError {
  return new CaError('CA_REQUEST', `Cannot read request: ${shown}`, { ...options, shown });
}
