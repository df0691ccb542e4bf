import { z } from 'zod';
import { encodeBase64 } from '#libs/encoding';
import { refused } from './error.js';
import type { PkiKey } from './pki.js';
import { statementKeys } from './statement.js';
import {
  asBytes,
  canonicalBody,
  decodeBase64,
  digestText,
  notInsertable,
  proposedKind,
  readKey,
  sha256Of,
  type ProvenEntry,
} from './v1-kind.js';
import { parseEnvelope, verifyEnvelope } from './v1-envelope.js';
import { base64Text, contentText, MAX_SIGNATURES, sha256Field, signatureText, type Sha256Field } from './v1-schema.js';

const spec = z
  .object({
    envelopeHash: sha256Field('SHA-256 of the envelope as it was received').meta({ readOnly: true }).nullish(),
    payloadHash: sha256Field('SHA-256 of the payload in the envelope').meta({ readOnly: true }).nullish(),
    proposedContent: z
      .object({
        envelope: contentText('JSON text of a DSSE envelope'),
        verifiers: z
          .array(base64Text('PEM of a public key, or of its certificate'))
          .min(1)
          .max(MAX_SIGNATURES)
          .describe('What verifies the signatures of the envelope'),
      })
      .meta({ writeOnly: true })
      .nullish(),
    signatures: z
      .array(
        z.object({
          signature: signatureText('The signature, base64 as in the envelope'),
          verifier: base64Text('PEM of the public key that verified it, or of its certificate'),
        }),
      )
      .min(1)
      .max(MAX_SIGNATURES)
      .describe('The signatures of the envelope in the order of their text')
      .meta({ readOnly: true })
      .nullish(),
  })
  .describe('Either `proposedContent`, or the other three as they are stored');

interface StoredSignature {
  readonly signature: string;
  readonly verifier: string;
}

/**
 * Entry `dsse` 0.0.1: an envelope, of which hashes, signatures and keys are stored. The hash of the envelope is over the
 * text as it was received, so another spelling of the same envelope is another entry.
 * @see sigstore/rekor, pkg/types/dsse/v0.0.1
 */
export const dsse1 = proposedKind({
  kind: 'dsse',
  version: '0.0.1',
  spec,
  keyPrefix: 'sha256:',

  async prove({ envelopeHash, payloadHash, proposedContent, signatures }, ports, { insert, failedChecks }) {
    const either = 'either proposedContent or envelopeHash, payloadHash, and signatures must be present';
    if (!proposedContent) {
      if (!envelopeHash || !payloadHash || !signatures) throw refused('ENTRY_PROPOSAL', either);
      if (insert) throw notInsertable('missing proposed content');
      const stored = sortSignatures(signatures);
      const keys = [];
      for (const { verifier } of stored) keys.push(await readKey(ports.pki.x509, decodeBase64('verifier', verifier)));
      return describeEntry(envelopeHash, payloadHash, stored, keys);
    }
    if (envelopeHash || payloadHash || signatures) throw refused('ENTRY_PROPOSAL', `${either} but not both`);

    const envelopeBytes = asBytes('envelope', proposedContent.envelope);
    const envelope = parseEnvelope(proposedContent.envelope);
    for (const { text, bytes } of envelope.signatures) {
      // Stored as it came, and read again as base64 of one spelling.
      if (encodeBase64(bytes) !== text) throw refused('ENTRY_PROPOSAL', 'signature is not padded standard base64');
    }
    const verifiers = proposedContent.verifiers.map((verifier) => decodeBase64('verifier', verifier));
    const { bySignature } = await verifyEnvelope(envelope, verifiers, { pki: ports.pki, all: false, failedChecks });
    const stored = sortSignatures(
      [...bySignature].map(([signature, key]) => ({ signature, verifier: encodeBase64(key.canonical), key })),
    );
    const entry = describeEntry(
      sha256Of(ports.hash, envelopeBytes),
      sha256Of(ports.hash, envelope.payload),
      stored,
      stored.map(({ key }) => key),
    );
    return { ...entry, extraKeys: statementKeys(envelope.payloadType, envelope.payload) };
  },

  read({ envelopeHash, payloadHash, signatures }) {
    return {
      verifiers: (signatures ?? []).map(({ verifier }) => ({
        format: 'x509',
        content: decodeBase64('verifier', verifier),
      })),
      digests: [payloadHash, envelopeHash].flatMap((hash) => (hash ? [digestText(hash)] : [])),
    };
  },
});

function describeEntry(
  envelopeHash: Sha256Field,
  payloadHash: Sha256Field,
  stored: readonly StoredSignature[],
  keys: readonly PkiKey[],
): ProvenEntry {
  const signatures = stored.map(({ signature, verifier }) => ({ signature, verifier }));
  return {
    body: canonicalBody('dsse', '0.0.1', { envelopeHash, payloadHash, signatures }),
    keys,
    digests: [digestText(payloadHash), digestText(envelopeHash)],
  };
}

/** In the order of the signatures' text, so that an envelope's order of signatures does not matter. */
function sortSignatures<Item extends StoredSignature>(items: readonly Item[]): Item[] {
  return [...items].sort((a, b) => (a.signature < b.signature ? -1 : Number(a.signature > b.signature)));
}
