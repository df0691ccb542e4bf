import { BUNDLE_MEDIA_TYPE, IN_TOTO_PAYLOAD_TYPE, pae, type Bundle, type TlogEntry } from '#libs/bundle';
import { encodeBase64 } from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import type { TrustedRoot } from '#libs/trust';
import type { Certificate } from '#libs/x509';
import { checkStatement, readArtifact, type Artifact } from './artifact.js';
import { requestCertificate } from './certificate.js';
import { SignError } from './error.js';
import type { HttpOptions } from './http.js';
import { generateSigningKey, type SignedChunks, type SigningKey } from './key.js';
import { logEntry } from './log.js';
import { logEntryV1 } from './log-v1.js';
import type { Services } from './services.js';
import { requestTimestamp } from './timestamp.js';
import { readToken } from './token.js';

/** Who signs, with which services, and whom to believe about their answers. */
export interface SignOptions extends HttpOptions {
  services: Services;
  /** An identity token, or a function that gets one when a certificate is needed. Not used with a managed key. */
  identityToken?: string | (() => Promise<string>);
  /** The audience that the certificate authority expects in the token. Default `sigstore`. */
  audience?: string;
  /** A key of one's own instead of an identity: no certificate is requested. */
  key?: SigningKey;
  /** With it every answer is verified to the end: chain, SCT, timestamp authority, checkpoint. Without it only what the answers say about each other. */
  trustedRoot?: TrustedRoot;
  /**
   * How a log with Rekor's API v2 is offered an envelope: as `dsse` (the default), which verifiers of npm packages can check, or as a `hashedrekord` over its
   * encoding, which those of sigstore-go can, cosign among them.
   */
  envelopeEntry?: 'dsse' | 'hashedrekord';
  /** Milliseconds since 1970. */
  now: () => number;
}

/** A key and what names it in bundle and log. */
interface Credential {
  key: SigningKey;
  certificate?: Certificate;
}

// A certificate with less left may be expired when the timestamp is made.
const MIN_REMAINING_MS = 60_000;

/**
 * Signs one artifact: certificate for a new key, signature, timestamp, log entry, bundle.
 *
 * @throws SignError any of its codes; nothing is written anywhere but to the services
 * @see Sigstore client specification §3
 */
export async function sign(artifact: Artifact, options: SignOptions): Promise<Bundle> {
  for await (const bundle of signMany([artifact], options)) return bundle;
  throw new Error('one artifact gave no bundle');
}

/**
 * Signs artifacts one after the other, with one certificate for as long as it has a minute left. Yields each bundle as soon as it is complete.
 *
 * @throws SignError as `sign`; bundles already yielded stay good
 */
export async function* signMany(artifacts: Iterable<Artifact>, options: SignOptions): AsyncGenerator<Bundle> {
  if (options.services.logs.length === 0) {
    throw new SignError('SIGN_SERVICES', 'Cannot sign: no transparency log is given');
  }
  let credential: Credential | undefined = options.key && { key: options.key };
  for (const artifact of artifacts) {
    // Before anything is sent: a statement that nobody could verify, a file that cannot be read.
    if (artifact.kind === 'statement') checkStatement(artifact.bytes);
    // 1. An identity becomes a certificate.
    if (credential === undefined || !isFresh(credential, options.now())) credential = await certify(options);
    yield await signOne(artifact, credential, options);
  }
}

async function signOne(artifact: Artifact, { key, certificate }: Credential, options: SignOptions): Promise<Bundle> {
  const { services, trustedRoot } = options;
  // 2. The signature: over the artifact, or over the envelope's PAE.
  const { content, signed } = await signContent(artifact, key, services);
  // 3. A trusted time for the signature. A v2 log gives none, so a certificate, which expires, needs one.
  if (certificate !== undefined && services.timestampAuthorities.length === 0 && services.logVersion !== 1) {
    throw new SignError(
      'SIGN_SERVICES',
      'Cannot sign with a certificate: no timestamp authority is given, and the log gives no time',
      {
        cure: 'Use a signing configuration with a timestamp authority',
      },
    );
  }
  const timestamps: Uint8Array[] = [];
  for (const url of services.timestampAuthorities) {
    timestamps.push(
      await requestTimestamp(
        {
          url,
          signature: signed.signature,
          ...(trustedRoot && { trustedRoot }),
          ...(certificate && { validity: certificate }),
        },
        options,
      ),
    );
  }
  // 4. Publish it. From here on the signature is known, whatever happens to the bundle.
  const entry = {
    kind: 'hashedrekord' as const,
    digest: signed.digest,
    signature: signed.signature,
    keyDetails: key.algorithm.keyDetails,
    verifier: certificate ? { x509Certificate: certificate.der } : { publicKey: key.publicKey.spki },
  };
  const tlogEntries: TlogEntry[] = [];
  const submit = services.logVersion === 1 ? logEntryV1 : logEntry;
  for (const url of services.logs) {
    tlogEntries.push(
      await submit(
        {
          url,
          entry,
          ...(content.kind === 'dsse' && { envelope: content.envelope }),
          ...(options.envelopeEntry && { envelopeEntry: options.envelopeEntry }),
          nowMs: options.now(),
          ...(trustedRoot && { trustedRoot }),
        },
        options,
      ),
    );
  }
  // 5. All a verifier needs, beside the artifact and the trusted root.
  return {
    mediaType: BUNDLE_MEDIA_TYPE,
    version: '0.3',
    material: certificate
      ? { kind: 'certificate', certificates: [certificate.der] }
      : { kind: 'publicKey', hint: encodeBase64(sha256(key.publicKey.spki)) },
    tlogEntries,
    timestamps,
    content,
  };
}

async function signContent(
  artifact: Artifact,
  key: SigningKey,
  { logVersion }: Services,
): Promise<{ content: Bundle['content']; signed: SignedChunks }> {
  if (artifact.kind !== 'statement') {
    const signed = await key.signChunks(readArtifact(artifact));
    const digest = { algorithm: key.algorithm.hash, digest: signed.digest };
    return { content: { kind: 'message', digest, signature: signed.signature }, signed };
  }
  const by = logVersion === 1 ? (key.forEnvelopesV1 ?? key) : key;
  const signed = await by.signChunks([pae(IN_TOTO_PAYLOAD_TYPE, artifact.bytes)]);
  const envelope = {
    payload: artifact.bytes,
    payloadType: IN_TOTO_PAYLOAD_TYPE,
    signatures: [{ sig: signed.signature, keyid: '' }],
  };
  return { content: { kind: 'dsse', envelope }, signed };
}

async function certify(options: SignOptions): Promise<Credential> {
  const { services, identityToken, trustedRoot } = options;
  const nowMs = options.now();
  if (identityToken === undefined) {
    throw new SignError('SIGN_TOKEN_MISSING', 'Cannot sign: there is neither an identity token nor a key', {
      cure: 'Give an identity token for the audience sigstore, or a private key',
    });
  }
  if (services.certificateAuthority === undefined) {
    throw new SignError('SIGN_SERVICES', 'Cannot sign with an identity: no certificate authority is given');
  }
  const token = (typeof identityToken === 'string' ? identityToken : await identityToken()).trim();
  readToken(token, { nowMs, ...(options.audience !== undefined && { audience: options.audience }) });
  const key = generateSigningKey();
  const certificate = await requestCertificate(
    { url: services.certificateAuthority, token, key, nowMs, ...(trustedRoot && { trustedRoot }) },
    options,
  );
  return { key, certificate };
}

function isFresh({ certificate }: Credential, nowMs: number): boolean {
  return certificate === undefined || certificate.notAfter.getTime() - nowMs > MIN_REMAINING_MS;
}
