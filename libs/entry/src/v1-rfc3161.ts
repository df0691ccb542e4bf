import { z } from 'zod';
import { refused } from './error.js';
import { canonicalBody, decodeBase64, digestText, foreignDetail, proposedKind, sha256Of } from './v1-kind.js';
import type { V1Ports } from './v1-proposal.js';
import { base64Text } from './v1-schema.js';

const MAX_RESPONSE_BYTES = 10 * 1024;

const spec = z
  .object({
    tsr: z.object({ content: base64Text('DER of an RFC 3161 TimeStampResp that grants a token') }),
  })
  .describe('An answer of a timestamp authority');

/**
 * Entry `rfc3161` 0.0.1: an answer of a timestamp authority, stored as it is.
 * @see sigstore/rekor, pkg/types/rfc3161/v0.0.1
 */
export const rfc3161 = proposedKind({
  kind: 'rfc3161',
  version: '0.0.1',
  spec,
  keyPrefix: 'sha256:',

  async prove({ tsr }, ports) {
    if (tsr.content === '') throw refused('ENTRY_PROPOSAL', "'content' must be specified for data");
    const bytes = decodeBase64('tsr content', tsr.content);
    if (bytes.length > MAX_RESPONSE_BYTES) {
      throw refused('ENTRY_PROPOSAL', 'tsr exceeds maximum allowed size (10kB)');
    }
    checkResponse(bytes, ports);
    return {
      body: canonicalBody('rfc3161', '0.0.1', { tsr: { content: tsr.content } }),
      keys: [],
      digests: [digestText(sha256Of(ports.hash, bytes))],
    };
  },

  read: ({ tsr }, hash) => ({
    verifiers: [],
    digests: [digestText(sha256Of(hash, decodeBase64('tsr content', tsr.content)))],
  }),
});

function checkResponse(bytes: Uint8Array, { checkTimestampResponse }: V1Ports): void {
  try {
    checkTimestampResponse(bytes);
  } catch (error) {
    const detail = foreignDetail(error);
    if (detail === undefined) throw error;
    throw refused('ENTRY_PROPOSAL', `tsr verification error: ${detail}`, error);
  }
}
