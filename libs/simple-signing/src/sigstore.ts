import { CryptoError, parsePublicKeyPem, type CryptoPort, type PublicKey, type SignatureScheme } from '#libs/crypto';
import {
  canonicalizeJson,
  derTag,
  encodeUtf8,
  EncodingError,
  equalBytes,
  parseBase64,
  parseDer,
  parseJson,
  parseUtf8,
  readString,
  type JsonValue,
} from '#libs/encoding';
import { EntryError, parseEntryBody, type EntryBody } from '#libs/entry';
import {
  buildChain,
  findExtension,
  oid,
  parseCertificatePem,
  subjectAltNames,
  X509Error,
  type Certificate,
} from '#libs/x509';
import { quoted, reasonOf, SimpleSigningError } from './error.js';
import { isJsonObject } from './json.js';

/** A signature of Sigstore as it lies in a registry under the tag `sha256-<hex>.sig`: a layer and its annotations. */
export interface SigstoreAttachment {
  readonly payload: Uint8Array;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Whom to believe about an attachment, with the files of the policy read. PEM, each one key, or one or more certificates. */
export interface SigstoreTrust {
  readonly by:
    | { readonly kind: 'keys'; readonly keys: readonly Uint8Array[] }
    | { readonly kind: 'fulcio'; readonly ca: Uint8Array; readonly oidcIssuer: string; readonly subjectEmail: string }
    | {
        readonly kind: 'pki';
        readonly roots: Uint8Array;
        readonly intermediates?: Uint8Array;
        readonly subjectEmail?: string;
        readonly subjectHostname?: string;
      };
  readonly rekorKeys?: readonly Uint8Array[];
}

const annotation = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  bundle: 'dev.sigstore.cosign/bundle',
} as const;

/** The issuer as Fulcio first wrote it, bare bytes, and as it does since, DER. */
const FULCIO_ISSUER = '1.3.6.1.4.1.57264.1.1';
const FULCIO_ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const MAX_ANNOTATION = 131_072;
const MAX_CHAIN = 10;
const MAX_KEYS = 64;

/**
 * Proves that the payload of an attachment was signed by whom `trust` names, as containers/image proves it: by the key; or by
 * the key of a certificate that Fulcio issued for the e-mail address and issuer, judged at the time that a log promised; or by
 * one of an own PKI, judged `now`. Keys of logs, where there are any, must have promised an entry with this very payload,
 * signature and signer; a proof of inclusion or an SCT is not asked for, since podman does not.
 * What the payload says is not looked at.
 * @returns by whom it is, in words
 * @throws SimpleSigningError `SIMPLE_KEY` for keys and certificates of the policy that cannot be used, else `SIMPLE_SIGNATURE`
 * @see containers/image: signature/policy_eval_sigstore.go, fulcio_cert.go, internal/rekor_set.go
 */
export async function verifySigstoreAttachment(
  attachment: SigstoreAttachment,
  trust: SigstoreTrust,
  { crypto, now }: { crypto: CryptoPort; now: Date },
): Promise<string> {
  const signature = fromBase64(required(attachment, 'signature'), 'its signature');
  const { by } = trust;
  const logs = trust.rekorKeys?.map(readLogKey);
  const signing = { attachment, signature, logs, crypto };
  switch (by.kind) {
    case 'keys': {
      if (by.keys.length > MAX_KEYS) throw badTrust(`more than ${MAX_KEYS} keys`);
      for (const key of by.keys.map((pem) => readKey(pem, 'the public key'))) {
        if (!(await isSigned(signing, key))) continue;
        if (logs !== undefined) await checkPromise(signing, { publicKey: key });
        return 'the given key';
      }
      throw refuse('it is by none of the given keys');
    }
    case 'fulcio': {
      const leaf = readLeaf(attachment);
      const time = await checkPromise(signing, { certificate: leaf });
      await checkChain(leaf, { attachment, anchors: readCertificates(by.ca, 'the CA of Fulcio'), time, crypto });
      const issuer = issuerOf(leaf);
      if (issuer !== by.oidcIssuer)
        throw refuse(`its issuer is ${quoted(issuer ?? 'missing')}, expected ${quoted(by.oidcIssuer)}`);
      checkEmail(leaf, by.subjectEmail);
      if (!(await isSigned(signing, leaf.publicKey)))
        throw refuse('its signature is not by the key of its certificate');
      return `${by.subjectEmail} of ${by.oidcIssuer}`;
    }
    case 'pki': {
      const leaf = readLeaf(attachment);
      if (logs !== undefined) await checkPromise(signing, { certificate: leaf });
      const between = by.intermediates === undefined ? [] : readCertificates(by.intermediates, 'the intermediates');
      const anchors = readCertificates(by.roots, 'the roots');
      await checkChain(leaf, { attachment, anchors, between, time: now, crypto });
      if (by.subjectEmail !== undefined) checkEmail(leaf, by.subjectEmail);
      if (by.subjectHostname !== undefined) checkHostname(leaf, by.subjectHostname);
      if (!(await isSigned(signing, leaf.publicKey)))
        throw refuse('its signature is not by the key of its certificate');
      return by.subjectEmail ?? by.subjectHostname ?? 'a certificate';
    }
  }
}

interface Signing {
  readonly attachment: SigstoreAttachment;
  readonly signature: Uint8Array;
  readonly logs: readonly PublicKey[] | undefined;
  readonly crypto: CryptoPort;
}

/** Always with SHA-256, whatever the size of the key: so containers/image reads these signatures, and the promises of logs. */
function schemeOf(key: PublicKey): SignatureScheme {
  switch (key.kind) {
    case 'ecdsa':
      return { kind: 'ecdsa', hash: 'sha256' };
    case 'rsa':
      return { kind: 'rsa-pkcs1', hash: 'sha256' };
    case 'ed25519':
      return { kind: 'ed25519' };
  }
}

function isSigned({ attachment, signature, crypto }: Signing, key: PublicKey): Promise<boolean> {
  return crypto.verify(key, schemeOf(key), attachment.payload, signature);
}

/**
 * That one of the logs promised an entry about this payload, this signature and this signer. Without the comparison any promise
 * would do, and nobody who watches the log would see this signature.
 * @returns when, as the log says
 */
async function checkPromise(
  signing: Signing,
  signer: { publicKey: PublicKey } | { certificate: Certificate },
): Promise<Date> {
  const { attachment, logs, crypto } = signing;
  if (logs === undefined) throw new Error('A policy with Fulcio has keys of logs');
  const text = required(attachment, 'bundle');
  const { promise, payload } = readPromise(text);
  const promised = encodeUtf8(canonicalizeJson(payload));
  let isPromised = false;
  for (const log of logs) isPromised ||= await crypto.verify(log, schemeOf(log), promised, promise);
  if (!isPromised) throw refuse('the promise of the log is not by any of the given logs');
  const { body, integratedTime } = payload;
  checkEntry(readEntry(fromBase64(body, 'the entry of the log')), signing, signer);
  return new Date(integratedTime * 1000);
}

/** `{"SignedEntryTimestamp": b64, "Payload": {"body": b64, "integratedTime": int, "logIndex": int, "logID": hex}}`, and no more. */
function readPromise(text: string): {
  promise: Uint8Array;
  payload: { body: string; integratedTime: number; logID: string; logIndex: number };
} {
  const bad = () => refuse('the promise of the log is malformed');
  const value = parseOrRefuse(() => parseJson(text, { maxDepth: 8 }), 'the promise of the log');
  if (!isJsonObject(value) || !hasExactly(value, ['SignedEntryTimestamp', 'Payload'])) throw bad();
  const { SignedEntryTimestamp: promise, Payload: payload } = value;
  if (typeof promise !== 'string' || !isJsonObject(payload)) throw bad();
  if (!hasExactly(payload, ['body', 'integratedTime', 'logIndex', 'logID'])) throw bad();
  const { body, integratedTime, logIndex, logID } = payload;
  if (typeof body !== 'string' || typeof logID !== 'string') throw bad();
  if (!isCount(integratedTime) || !isCount(logIndex)) throw bad();
  return {
    promise: fromBase64(promise, 'the promise of the log'),
    payload: { body, integratedTime, logID, logIndex },
  };
}

function isCount(value: JsonValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function hasExactly(object: Readonly<Record<string, JsonValue>>, names: readonly string[]): boolean {
  return Object.keys(object).length === names.length && names.every((name) => name in object);
}

function readEntry(bytes: Uint8Array): EntryBody {
  return parseOrRefuse(() => parseEntryBody(bytes), 'the entry of the log');
}

function checkEntry(
  body: EntryBody,
  { attachment, signature, crypto }: Signing,
  signer: { publicKey: PublicKey } | { certificate: Certificate },
): void {
  if (body.kind !== 'hashedrekord' || body.version !== '0.0.1')
    throw refuse('the entry of the log is no hashedrekord 0.0.1');
  if (body.hash.algorithm !== 'sha256' || !equalBytes(crypto.hash('sha256', attachment.payload), body.hash.bytes)) {
    throw refuse('the entry of the log is about another payload');
  }
  if (!equalBytes(body.signature, signature)) throw refuse('the entry of the log has another signature');
  const { verifier } = body;
  const same =
    'certificate' in signer
      ? 'x509Certificate' in verifier && equalBytes(verifier.x509Certificate, signer.certificate.der)
      : 'publicKey' in verifier && equalBytes(verifier.publicKey, signer.publicKey.spki);
  if (!same) throw refuse('the entry of the log has another signer');
}

async function checkChain(
  leaf: Certificate,
  {
    attachment,
    anchors,
    between = [],
    time,
    crypto,
  }: {
    attachment: SigstoreAttachment;
    anchors: readonly Certificate[];
    between?: readonly Certificate[];
    time: Date;
    crypto: CryptoPort;
  },
): Promise<void> {
  const chain = attachment.annotations[annotation.chain] ?? '';
  const hints =
    chain === '' ? [] : parseOrRefuse(() => parseCertificatePem(chain.slice(0, MAX_ANNOTATION)), 'its chain');
  if (hints.length > MAX_CHAIN) throw refuse(`its chain has more than ${MAX_CHAIN} certificates`);
  // containers/image takes the last one for the root, whatever it is, and passes over it: a chain that ends with an intermediate lacks that.
  const options = {
    intermediates: [...between, ...hints.slice(0, -1)],
    anchors,
    time,
    extendedKeyUsage: oid.codeSigning,
  };
  try {
    await buildChain(leaf, options, crypto);
  } catch (cause) {
    throw refuse(`its certificate does not lead to the given authority: ${reasonOf(cause)}`, cause);
  }
}

function checkEmail(leaf: Certificate, email: string): void {
  const names = namesOf(leaf)
    .filter(({ kind }) => kind === 'email')
    .map(({ value }) => value);
  if (!names.includes(email))
    throw refuse(
      `its certificate is for ${names.length === 0 ? 'no e-mail address' : quoted(names.join(', '))}, expected ${quoted(email)}`,
    );
}

/** Exactly, apart from capitals; or by a wildcard for the first label. @see RFC 6125 §6.4 */
function checkHostname(leaf: Certificate, hostname: string): void {
  const wanted = hostname.toLowerCase();
  const names = namesOf(leaf)
    .filter(({ kind }) => kind === 'dns')
    .map(({ value }) => value.toLowerCase());
  const wild = `*${wanted.slice(wanted.indexOf('.'))}`;
  const isNamed = names.includes(wanted) || (wanted.includes('.') && names.includes(wild));
  if (!isNamed)
    throw refuse(
      `its certificate is for ${names.length === 0 ? 'no host' : quoted(names.join(', '))}, expected ${quoted(hostname)}`,
    );
}

function namesOf(leaf: Certificate) {
  return parseOrRefuse(() => subjectAltNames(leaf), 'its certificate');
}

/**
 * By either of Fulcio's two extensions for it, or by both if they agree.
 * @see containers/image: signature/fulcio_cert.go, fulcioIssuerInCertificate
 */
function issuerOf(leaf: Certificate): string | undefined {
  const [first, second] = [findExtension(leaf, FULCIO_ISSUER), findExtension(leaf, FULCIO_ISSUER_V2)];
  const read = (parse: () => string) => parseOrRefuse(parse, 'its certificate');
  const old = first && read(() => parseUtf8(first.value));
  const today = second && read(() => readIssuer(second.value));
  if (old !== undefined && today !== undefined && old !== today)
    throw refuse(`its certificate names two issuers, ${quoted(old)} and ${quoted(today)}`);
  return old ?? today;
}

/** A UTF8String: containers/image takes other strings of ASN.1 too, but Fulcio has never written one. @see Fulcio: docs/oid-info.md */
function readIssuer(value: Uint8Array): string {
  const element = parseDer(value);
  if (element.tag !== derTag.utf8String) throw refuse('the issuer in its certificate is no UTF8String');
  return readString(element);
}

function readLeaf(attachment: SigstoreAttachment): Certificate {
  const [leaf, ...more] = parseOrRefuse(
    () => parseCertificatePem(required(attachment, 'certificate')),
    'its certificate',
  );
  if (leaf === undefined || more.length > 0) throw refuse('it must have exactly one certificate');
  return leaf;
}

function readCertificates(pem: Uint8Array, what: string): Certificate[] {
  try {
    const certificates = parseCertificatePem(parseUtf8(pem));
    if (certificates.length > 0) return certificates;
  } catch (cause) {
    throw badTrust(`${what} cannot be read: ${reasonOf(cause)}`, cause);
  }
  throw badTrust(`${what} has no certificate`);
}

function readKey(pem: Uint8Array, what: string): PublicKey {
  try {
    return parsePublicKeyPem(parseUtf8(pem));
  } catch (cause) {
    throw badTrust(`${what} cannot be read: ${reasonOf(cause)}`, cause);
  }
}

function readLogKey(pem: Uint8Array): PublicKey {
  const key = readKey(pem, 'the key of the log');
  // containers/image reads promises by no other.
  if (key.kind !== 'ecdsa') throw badTrust('the key of the log is not for ECDSA');
  return key;
}

function required({ annotations }: SigstoreAttachment, name: keyof typeof annotation): string {
  const text = Object.hasOwn(annotations, annotation[name]) ? annotations[annotation[name]] : undefined;
  if (text === undefined || text === '') throw refuse(`the annotation ${annotation[name]} is missing`);
  if (text.length > MAX_ANNOTATION) throw refuse(`the annotation ${annotation[name]} is too long`);
  return text;
}

function fromBase64(text: string, what: string): Uint8Array {
  return parseOrRefuse(() => parseBase64(text), what);
}

/** Parsers below have errors of their own; whatever they object to, the attachment is no signature. */
function parseOrRefuse<T>(parse: () => T, what: string): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof SimpleSigningError || !isParseError(cause)) throw cause;
    throw refuse(`${what} is malformed: ${cause.message}`, cause);
  }
}

function isParseError(error: unknown): error is Error {
  return [EncodingError, X509Error, EntryError, CryptoError].some((kind) => error instanceof kind);
}

function refuse(state: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_SIGNATURE', `Cannot verify signature: ${state}`, { cause });
}

function badTrust(state: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_KEY', `Cannot use the policy: ${state}`, { cause });
}
