import { z } from 'zod';
import { EncodingError, parseUtf8 } from '#libs/encoding';
import { refused } from './error.js';
import type { PkiKey } from './pki.js';
import { statementKeys } from './statement.js';
import { envelopeBytes, verifyEnvelope, type Envelope } from './v1-envelope.js';
import {
  canonicalBody,
  decodeBase64,
  digestText,
  notInsertable,
  proposedKind,
  readKey,
  sha256Of,
  type ProvenEntry,
} from './v1-kind.js';
import { base64Content, base64Text, MAX_SIGNATURES, nameText, sha256Field, type Sha256Field } from './v1-schema.js';

const spec = z
  .object({
    content: z.object({
      envelope: z
        .object({
          payload: base64Content('The payload, in base64 twice: of the text that is base64 in the envelope').nullish(),
          payloadType: nameText('What the payload is'),
          signatures: z
            .array(
              z.object({
                keyid: nameText('A name of the key; it is stored, and proves nothing').nullish(),
                publicKey: base64Text('PEM of the public key, or of its certificate; it is stored as it is'),
                sig: base64Text('The signature, in base64 twice; it is stored as it is'),
              }),
            )
            .min(1)
            .max(MAX_SIGNATURES),
        })
        .describe('A DSSE envelope'),
      hash: sha256Field('What the client says is the hash of the envelope; it is stored unchecked').nullish(),
      payloadHash: sha256Field('SHA-256 of the payload; computed by the log').nullish(),
    }),
  })
  .describe('An envelope with an in-toto statement; a key with each signature');

type Spec = z.output<typeof spec>;

/**
 * Entry `intoto` 0.0.2: an envelope with a key for each signature, of which everything but the payload is stored as it
 * was submitted.
 * @see sigstore/rekor, pkg/types/intoto/v0.0.2
 */
export const intoto2 = proposedKind({
  kind: 'intoto',
  version: '0.0.2',
  spec,
  keyPrefix: 'sha256:',

  async prove({ content }, ports, { insert, failedChecks }) {
    const { envelope } = content;
    const pems = envelope.signatures.map(({ publicKey }) => decodeBase64('publicKey', publicKey));
    if (!envelope.payload) {
      if (insert) throw notInsertable('missing envelope content');
      const keys = [];
      for (const pem of pems) keys.push(await readKey(ports.pki.x509, pem));
      return describeEntry(content, content.payloadHash, keys);
    }
    const signed = readEnvelope(envelope.payload, envelope);
    const { read } = await verifyEnvelope(signed, pems, { pki: ports.pki, all: true, failedChecks });
    if (insert && envelope.payloadType === '') throw notInsertable('missing payloadType content');
    const payloadHash = sha256Of(ports.hash, signed.payload);
    return {
      ...describeEntry(content, payloadHash, read),
      extraKeys: statementKeys(signed.payloadType, signed.payload),
      attestation: { key: digestText(payloadHash), data: signed.payload },
    };
  },

  read({ content: { envelope, payloadHash } }) {
    return {
      verifiers: envelope.signatures.map(({ publicKey }) => ({
        format: 'x509',
        content: decodeBase64('publicKey', publicKey),
      })),
      digests: payloadHash ? [digestText(payloadHash)] : [],
    };
  },
});

function describeEntry(
  { envelope, hash }: Spec['content'],
  payloadHash: Sha256Field | null | undefined,
  keys: readonly PkiKey[],
): ProvenEntry {
  if (!hash) throw refused('ENTRY_PROPOSAL', 'missing envelope digest');
  if (!payloadHash) throw refused('ENTRY_PROPOSAL', 'missing payload digest');
  const signatures = envelope.signatures.map(({ keyid, publicKey, sig }) => ({
    ...(keyid ? { keyid } : {}),
    publicKey,
    sig,
  }));
  const content = { envelope: { payloadType: envelope.payloadType, signatures }, hash, payloadHash };
  return { body: canonicalBody('intoto', '0.0.2', { content }), keys, digests: [digestText(payloadHash)] };
}

/** Undoes the outer base64 of payload and signatures. */
function readEnvelope(payload: string, { payloadType, signatures }: Spec['content']['envelope']): Envelope {
  return {
    payloadType,
    payload: envelopeBytes('payload', innerText('payload', payload)),
    signatures: signatures.map(({ keyid, sig }) => {
      const text = innerText('signature', sig);
      return { keyid: keyid ?? '', text, bytes: decodeBase64('signature', text) };
    }),
  };
}

function innerText(what: string, outer: string): string {
  const bytes = decodeBase64(what, outer);
  try {
    return parseUtf8(bytes);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw refused('ENTRY_PROPOSAL', `failed parsing base64 data for ${what}: it has to be base64 twice`, error);
  }
}
