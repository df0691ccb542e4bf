import { IN_TOTO_PAYLOAD_TYPE, pae, parseStatement, type Bundle, type Envelope, type Statement } from '#libs/bundle';
import type { CryptoPort, HashAlgorithm, PublicKey, SignatureScheme } from '#libs/crypto';
import { encodeHex, equalBytes } from '#libs/encoding';
import type { Artifact } from './artifact.js';
import { Objection, type Finding } from './checks.js';
import { signatureOf } from './time.js';

/** Digests of in-toto subjects that count, strongest first. */
const SUBJECT_HASHES: readonly HashAlgorithm[] = ['sha512', 'sha384', 'sha256'];

/** F: the key of the signer made the signature over the artifact, or over the envelope's payload and type. */
export async function checkSignature(
  bundle: Bundle,
  key: PublicKey,
  artifact: Artifact,
  crypto: CryptoPort,
): Promise<Finding<SignatureScheme>> {
  const signature = signatureOf(bundle);
  const { content } = bundle;
  const schemes = schemesOf(key);
  for (const scheme of schemes) {
    const good =
      content.kind === 'dsse'
        ? await crypto.verify(key, scheme, paeOf(content.envelope), signature)
        : await verifyMessage(key, scheme, artifact, signature, crypto);
    if (good) return { detail: describeScheme(scheme), value: scheme };
  }
  throw new Objection(
    content.kind === 'dsse'
      ? "the signature is not by this signer's key over this payload"
      : "the signature is not by this signer's key over this artifact",
    content.kind === 'message' && artifact.bytes === undefined
      ? 'Check the digest; if the key hashes with another algorithm, give the artifact itself'
      : undefined,
  );
}

export function paeOf({ payloadType, payload }: Envelope): Uint8Array {
  return pae(payloadType, payload);
}

async function verifyMessage(
  key: PublicKey,
  scheme: SignatureScheme,
  artifact: Artifact,
  signature: Uint8Array,
  crypto: CryptoPort,
): Promise<boolean> {
  if (scheme.kind === 'ed25519') {
    // Pure Ed25519 hashes the message twice, so no digest can stand for it (RFC 8032 §5.1.7).
    return artifact.bytes !== undefined && crypto.verify(key, scheme, await artifact.bytes(), signature);
  }
  const digest = await artifact.digest(scheme.kind === 'ed25519ph' ? 'sha512' : scheme.hash);
  return digest !== undefined && crypto.verifyDigest(key, scheme, digest, signature);
}

/**
 * How a key of this kind may sign. The key decides, never the bundle: a field that chose the hash would be the
 * attacker's. SHA-256 with the larger curves is what early clients made.
 * @see Sigstore algorithm registry
 */
function schemesOf(key: PublicKey): SignatureScheme[] {
  switch (key.kind) {
    case 'ecdsa': {
      const compatible: SignatureScheme = { kind: 'ecdsa', hash: 'sha256' };
      if (key.type.curve === 'P-256') return [compatible];
      return [{ kind: 'ecdsa', hash: key.type.curve === 'P-384' ? 'sha384' : 'sha512' }, compatible];
    }
    case 'rsa':
      return [
        { kind: 'rsa-pkcs1', hash: 'sha256' },
        { kind: 'rsa-pss', hash: 'sha256' },
      ];
    case 'ed25519':
      return [{ kind: 'ed25519ph' }, { kind: 'ed25519' }];
  }
}

function describeScheme(scheme: SignatureScheme): string {
  return 'hash' in scheme ? `${scheme.kind} with ${scheme.hash}` : scheme.kind;
}

/** F: what was verified is an in-toto statement. Reads the very bytes that the signature covered. */
export function checkStatement(envelope: Envelope): Finding<Statement> {
  if (envelope.payloadType !== IN_TOTO_PAYLOAD_TYPE) {
    throw new Objection(`the payload is of type ${envelope.payloadType}, expected ${IN_TOTO_PAYLOAD_TYPE}`);
  }
  const statement = parseStatement(envelope.payload);
  return { detail: `${statement.predicateType} about ${statement.subjects.length} subject(s)`, value: statement };
}

/**
 * F: some subject of the statement is this artifact. Of each subject the strongest digest counts that the artifact can
 * be compared by; SHA-1, MD5 and Git's ids never do.
 * @see sigstore-go: pkg/verify/signature.go
 */
export async function checkSubject(statement: Statement, artifact: Artifact): Promise<Finding<void>> {
  let comparable = 0;
  for (const { name, digests } of statement.subjects) {
    for (const algorithm of SUBJECT_HASHES) {
      const expected = Object.hasOwn(digests, algorithm) ? digests[algorithm] : undefined;
      if (expected === undefined) continue;
      const digest = await artifact.digest(algorithm);
      if (digest === undefined) continue;
      comparable++;
      const actual = encodeHex(digest);
      if (actual === expected)
        return { detail: `subject ${name ?? '(unnamed)'}, ${algorithm}:${actual}`, value: undefined };
      break;
    }
  }
  throw new Objection(
    comparable === 0
      ? 'no subject of the statement has a digest that this artifact can be compared by'
      : `none of the ${statement.subjects.length} subject(s) of the statement is this artifact`,
  );
}

/** F: the digest in the bundle, which nobody signed, at least does not contradict the artifact. */
export async function checkMessageDigest(bundle: Bundle, artifact: Artifact): Promise<Finding<void>> {
  const stated = bundle.content.kind === 'message' ? bundle.content.digest : undefined;
  if (stated === undefined)
    return { detail: 'the bundle states no digest; the signature is over the artifact', value: undefined };
  const actual = await artifact.digest(stated.algorithm);
  if (actual === undefined) {
    throw new Objection(
      `the bundle states a ${stated.algorithm}, which is not the digest that was given`,
      `Give the artifact itself, or its ${stated.algorithm}`,
    );
  }
  if (!equalBytes(actual, stated.digest)) {
    throw new Objection(
      `the bundle is for ${stated.algorithm}:${encodeHex(stated.digest)}, the artifact has ${encodeHex(actual)}`,
    );
  }
  return { detail: `${stated.algorithm}:${encodeHex(actual)}`, value: undefined };
}

/** The claim is of the kind that was asked for: a signed statement of another kind is no answer. */
export function checkPredicateType(statement: Statement, expected: string): Finding<void> {
  if (statement.predicateType !== expected) {
    throw new Objection(`the statement is of type ${statement.predicateType}, expected ${expected}`);
  }
  return { detail: expected, value: undefined };
}
