import { z } from 'zod';
import { encodeBase64 } from '#libs/encoding';
import { refused } from './error.js';
import type { PkiFormat } from './pki.js';
import { isSigned } from './v1-envelope.js';
import {
  canonicalBody,
  decodeBase64,
  digestText,
  notInsertable,
  pkiError,
  proposedKind,
  readKey,
  sha256Of,
} from './v1-kind.js';
import { base64Content, base64Text, sha256Field } from './v1-schema.js';

const spec = z
  .object({
    data: z
      .object({
        content: base64Content('The artifact itself').nullish(),
        hash: sha256Field('SHA-256 of the artifact').nullish(),
      })
      .describe('What was signed'),
    signature: z
      .object({
        content: base64Text('The detached signature'),
        format: z.enum(['pgp', 'minisign', 'x509', 'ssh']).describe('How signature and key are spelled'),
        publicKey: z.object({ content: base64Text('The public key, or for x509 its certificate') }),
      })
      .describe('The detached signature and what verifies it'),
  })
  .describe('Somebody signed this artifact');

/**
 * Entry `rekord` 0.0.1: a detached signature over an artifact that comes with it, in one of four formats. The artifact is
 * not stored, only its hash.
 * @see sigstore/rekor, pkg/types/rekord/v0.0.1
 */
export const rekord1 = proposedKind({
  kind: 'rekord',
  version: '0.0.1',
  spec,
  keyPrefix: '',

  async prove({ data, signature }, ports, { insert }) {
    if (signature.content === '') throw refused('ENTRY_PROPOSAL', "'content' must be specified for signature");
    if (signature.publicKey.content === '') {
      throw refused('ENTRY_PROPOSAL', "'content' must be specified for publicKey");
    }
    if (!data.content && !data.hash) throw refused('ENTRY_PROPOSAL', "'content' must be specified for data");
    if (insert && !data.content) throw notInsertable('missing data content');

    const content = decodeBase64('data content', data.content ?? '');
    const computed = sha256Of(ports.hash, content);
    if (data.hash && data.hash.value !== computed.value) {
      throw refused('ENTRY_PROPOSAL', `SHA mismatch: ${computed.value} != ${data.hash.value}`);
    }
    const { format } = signature;
    const pki = ports.pki[format];
    const signatureBytes = decodeBase64('signature content', signature.content);
    const canonicalSignature = await readSignature(pki, signatureBytes);
    const key = await readKey(pki, decodeBase64('signature publicKey content', signature.publicKey.content));
    if (!(await isSigned(key, content, signatureBytes))) {
      throw refused('ENTRY_SIGNATURE', 'verifying signature: invalid signature');
    }
    return {
      body: canonicalBody('rekord', '0.0.1', {
        data: { hash: computed },
        signature: {
          content: encodeBase64(canonicalSignature),
          format,
          publicKey: { content: encodeBase64(key.canonical) },
        },
      }),
      keys: [key],
      digests: [digestText(computed)],
      // Reading the keys of the other formats again takes time, and not all of them read their canonical form.
      subjectsFollow: format === 'x509',
    };
  },

  read({ data, signature }) {
    const content = decodeBase64('signature publicKey content', signature.publicKey.content);
    return {
      verifiers: [{ format: signature.format, content }],
      digests: data.hash ? [digestText(data.hash)] : [],
    };
  },
});

async function readSignature(format: PkiFormat, bytes: Uint8Array): Promise<Uint8Array> {
  try {
    return await format.canonicalSignature(bytes);
  } catch (error) {
    throw pkiError(error);
  }
}
