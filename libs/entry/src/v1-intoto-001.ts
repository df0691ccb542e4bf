import { z } from 'zod';
import { integerToBytes, type PublicKey } from '#libs/crypto';
import { concatBytes, encodeBase64, encodeUtf8 } from '#libs/encoding';
import { refused } from './error.js';
import type { FailedChecks } from './failed-checks.js';
import type { PkiKey } from './pki.js';
import { statementKeys } from './statement.js';
import { findSigned, notSigned, parseEnvelope, signedBytes, type Envelope } from './v1-envelope.js';
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
import type { V1Ports } from './v1-proposal.js';
import { base64Text, contentText, sha256Field, type Sha256Field } from './v1-schema.js';

const spec = z
  .object({
    content: z.object({
      envelope: contentText('JSON text of a DSSE envelope').nullish(),
      hash: sha256Field('SHA-256 of the envelope as it was received; computed by the log').nullish(),
      payloadHash: sha256Field('SHA-256 of the payload in the envelope; computed by the log').nullish(),
    }),
    publicKey: base64Text('PEM of the public key, or of its certificate'),
  })
  .describe('An envelope with an in-toto statement, and the key of one of its signatures');

/**
 * Entry `intoto` 0.0.1: an envelope with one key, of which two hashes and the key are stored, but no signature.
 * @see sigstore/rekor, pkg/types/intoto/v0.0.1
 */
export const intoto1 = proposedKind({
  kind: 'intoto',
  version: '0.0.1',
  spec,
  keyPrefix: 'sha256:',

  async prove({ content, publicKey }, ports, { insert, failedChecks }) {
    const key = await readKey(ports.pki.x509, decodeBase64('public key', publicKey));
    if (!content.envelope) {
      if (!content.hash) throw refused('ENTRY_PROPOSAL', 'missing hash value for envelope');
      if (insert) throw notInsertable('missing envelope content');
      return describeEntry(key, content.hash, content.payloadHash ?? undefined);
    }
    // Hashes that a client adds to an envelope are not looked at.
    const envelopeBytes = asBytes('envelope', content.envelope);
    const envelope = parseEnvelope(content.envelope);
    await proveSignature(key, envelope, ports, failedChecks);
    if (insert && (envelope.payload.length === 0 || envelope.payloadType === '')) {
      throw notInsertable('invalid DSSE envelope');
    }
    const payloadHash = sha256Of(ports.hash, envelope.payload);
    return {
      ...describeEntry(key, sha256Of(ports.hash, envelopeBytes), payloadHash),
      extraKeys: statementKeys(envelope.payloadType, envelope.payload),
      attestation: { key: digestText(payloadHash), data: envelope.payload },
    };
  },

  read({ content, publicKey }) {
    return {
      verifiers: [{ format: 'x509', content: decodeBase64('public key', publicKey) }],
      digests: [content.hash, content.payloadHash].flatMap((hash) => (hash ? [digestText(hash)] : [])),
    };
  },
});

function describeEntry(key: PkiKey, hash: Sha256Field, payloadHash: Sha256Field | undefined): ProvenEntry {
  // Old entries have no hash of the payload.
  const content = payloadHash === undefined ? { hash } : { hash, payloadHash };
  return {
    body: canonicalBody('intoto', '0.0.1', { content, publicKey: encodeBase64(key.canonical) }),
    keys: [key],
    digests: [hash, ...(payloadHash === undefined ? [] : [payloadHash])].map(digestText),
  };
}

/** One signature suffices, unless it says that another key made it. */
async function proveSignature(
  key: PkiKey,
  envelope: Envelope,
  { hash }: V1Ports,
  failed: FailedChecks | undefined,
): Promise<void> {
  if (key.publicKey === undefined) throw new Error('A key in PEM has no public key');
  const keyId = sshFingerprint(key.publicKey, hash);
  const own = envelope.signatures.filter(({ keyid }) => keyid === '' || keyid === keyId);
  const message = signedBytes(envelope);
  const signatures = own.map(({ text, bytes }) => [text, bytes] as const);
  if ((await findSigned(key, message, signatures, failed)) === undefined) throw notSigned();
}

/**
 * `SHA256:` and unpadded base64 of the hash of the key as SSH writes it: what the library upstream uses calls a key
 * when nobody else did.
 * @see RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4
 */
export function sshFingerprint(key: PublicKey, hash: V1Ports['hash']): string {
  return `SHA256:${encodeBase64(hash('sha256', sshKey(key))).replace(/=+$/, '')}`;
}

function sshKey(key: PublicKey): Uint8Array {
  switch (key.kind) {
    case 'rsa':
      // string "ssh-rsa", mpint e, mpint n
      return strings(encodeUtf8('ssh-rsa'), mpint(key.exponent), mpint(key.modulus));
    case 'ecdsa': {
      // string "ecdsa-sha2-[identifier]", string [identifier], string Q
      const identifier = `nistp${key.type.curve.slice('P-'.length)}`;
      return strings(encodeUtf8(`ecdsa-sha2-${identifier}`), encodeUtf8(identifier), key.point);
    }
    case 'ed25519':
      // string "ssh-ed25519", string key
      return strings(encodeUtf8('ssh-ed25519'), key.raw);
  }
}

function strings(...items: readonly Uint8Array[]): Uint8Array {
  return concatBytes(...items.flatMap((item) => [integerToBytes(BigInt(item.length), 4), item]));
}

/** Two's complement, so a zero byte comes before a high bit (RFC 4251 §5); ours are positive. */
function mpint(value: bigint): Uint8Array {
  const bits = value.toString(2).length;
  return integerToBytes(value, Math.floor(bits / 8) + 1);
}
