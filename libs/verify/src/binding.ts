import type { Bundle, TlogEntry } from '#libs/bundle';
import { parsePublicKey, type CryptoPort } from '#libs/crypto';
import { encodeHex, equalBytes } from '#libs/encoding';
import type { BodySignature, EntryBody } from '#libs/entry';
import type { Artifact } from './artifact.js';
import { Objection, type Finding } from './checks.js';
import { paeOf } from './content.js';
import type { Signer } from './signer.js';
import { signatureOf } from './time.js';

/** What the bodies of log entries are compared with. */
export interface Signing {
  bundle: Bundle;
  signer: Signer;
  artifact: Artifact;
  crypto: CryptoPort;
}

/** A body, and the entry it came in. */
export interface EntryWithBody {
  entry: TlogEntry;
  body: EntryBody;
}

const otherEntry = 'Get the bundle anew: the log entry in it belongs to another signature';

/**
 * E.3: every entry is about this very signature: same content, same signature bytes, same certificate or key. Without
 * this comparison any entry of the log would do, and nobody who watches the log would see the signature.
 */
export async function checkBindings(entries: EntryWithBody[], signing: Signing): Promise<Finding<void>> {
  for (const { entry, body } of entries) {
    try {
      await checkContent(body, signing);
      checkSignedBy(body, signing);
    } catch (error) {
      if (!(error instanceof Objection)) throw error;
      throw new Objection(`entry ${entry.logIndex} ${error.message}`, error.cure);
    }
  }
  return { detail: 'content, signature and signer are those of the bundle', value: undefined };
}

async function checkContent(body: EntryBody, { bundle: { content }, artifact, crypto }: Signing): Promise<void> {
  if (content.kind === 'message') {
    if (body.kind !== 'hashedrekord')
      throw new Objection(`is of kind ${body.kind}, the bundle has a message`, otherEntry);
    const { algorithm, bytes } = body.hash;
    const digest = await artifact.digest(algorithm);
    if (digest === undefined) {
      throw new Objection(`has a ${algorithm}, which was not given`, `Give the artifact itself, or its ${algorithm}`);
    }
    if (!equalBytes(digest, bytes)) {
      throw new Objection(
        `is about ${algorithm}:${encodeHex(bytes)}, this artifact has ${encodeHex(digest)}`,
        'Check that the file is the one that was signed',
      );
    }
    return;
  }
  const { envelope } = content;
  if (body.kind !== 'hashedrekord') {
    const { algorithm, bytes } = body.payloadHash;
    if (!equalBytes(crypto.hash(algorithm, envelope.payload), bytes))
      throw new Objection('is about another payload', otherEntry);
    return;
  }
  // Rekor v2 logs an envelope by the digest of what its signature covers. v1 never did that with a hashedrekord.
  if (body.version !== '0.0.2') throw new Objection('is a hashedrekord 0.0.1, the bundle has an envelope', otherEntry);
  if (!equalBytes(crypto.hash(body.hash.algorithm, paeOf(envelope)), body.hash.bytes)) {
    throw new Objection('is about another envelope', otherEntry);
  }
}

function checkSignedBy(body: EntryBody, { bundle, signer }: Signing): void {
  const signatures: readonly BodySignature[] = body.kind === 'hashedrekord' ? [body] : body.signatures;
  const [logged] = signatures;
  if (logged === undefined || signatures.length > 1) {
    throw new Objection(`has ${signatures.length} signatures, the bundle one`, otherEntry);
  }
  if (!equalBytes(logged.signature, signatureOf(bundle))) throw new Objection('has another signature', otherEntry);
  const { verifier } = logged;
  if (signer.kind === 'certificate') {
    if (!('x509Certificate' in verifier) || !equalBytes(verifier.x509Certificate, signer.certificate.der)) {
      throw new Objection('has another certificate', otherEntry);
    }
  } else if (!('publicKey' in verifier) || !equalBytes(parsePublicKey(verifier.publicKey).spki, signer.key.spki)) {
    throw new Objection('has another key', otherEntry);
  }
}
