import { z } from 'zod';
import { encodeBase64, encodeHex } from '#libs/encoding';
import { type SearchAnswer, type Completeness } from './search.js';
import { treeNames } from './query.js';
import type { FoundEntry } from './walk.js';

const decimal = z.string().regex(/^(0|[1-9][0-9]*)$/);
const hex32 = z.string().regex(/^[0-9a-f]{64}$/);

/** An answer in JSON: numbers of entries are decimal strings, hashes hex, bodies base64. */
export const searchAnswerSchema = z.strictObject({
  entries: z
    .array(
      z.strictObject({
        tree: z.enum(treeNames),
        logIndex: decimal.describe('Index in this tree'),
        uuid: z.string().describe('Entry ID of Rekor v1, or the leaf hash'),
        leafHash: hex32.describe('SHA-256 of a zero byte and the body'),
        integratedTime: z.iso.datetime({ precision: 3 }),
        kind: z
          .string()
          .describe(
            'hashedrekord, dsse, intoto, rekord, rfc3161; x509_entry or precert_entry of a log of certificates',
          ),
        apiVersion: z.string(),
        identities: z
          .array(z.strictObject({ kind: z.enum(['email', 'uri', 'dns', 'ip', 'username', 'name']), value: z.string() }))
          .describe('Whom certificates and keys name; the log has not checked who issued them'),
        issuer: z.string().optional(),
        repository: z.string().optional(),
        workflow: z.string().optional(),
        digests: z.array(z.string()).describe('<algorithm>:<hex>'),
        subjects: z.array(z.string()).describe('<algorithm>:<hex>'),
        keyFingerprints: z.array(hex32).describe('SHA-256 of each SubjectPublicKeyInfo'),
        certificateFingerprints: z.array(hex32).describe('SHA-256 of each certificate'),
        body: z.base64().describe('What is hashed: the canonical body, or the MerkleTreeLeaf of RFC 6962'),
      }),
    )
    .describe('Newest first'),
  complete: z.array(
    z.strictObject({
      tree: z.enum(treeNames),
      origin: z.string(),
      treeSize: decimal.describe('Of the first so many entries no matching one is left out, counting all pages'),
      rootHash: hex32.describe('Root of the tree of these entries'),
      checkpoint: z.string().describe('The newest signed checkpoint, of this size or a larger one'),
      consistency: z.array(hex32).describe('Proof that the tree of treeSize is a prefix of that of the checkpoint'),
    }),
  ),
  next: z.string().nullable().describe('Cursor of the next page; null if there is none'),
});

export type SearchAnswerJson = z.infer<typeof searchAnswerSchema>;

/** Writes an answer down as `searchAnswerSchema` has it. */
export function encodeSearchAnswer({ entries, complete, next }: SearchAnswer): SearchAnswerJson {
  return { entries: entries.map(encodeEntry), complete: complete.map(encodeCompleteness), next: next ?? null };
}

function encodeEntry({ tree, logIndex, uuid, leafHash, facts }: FoundEntry): SearchAnswerJson['entries'][number] {
  const { issuer, repository, workflow } = facts;
  return {
    tree,
    logIndex: String(logIndex),
    uuid,
    leafHash: encodeHex(leafHash),
    integratedTime: new Date(Number(facts.timestampMs)).toISOString(),
    kind: facts.kind,
    apiVersion: facts.version,
    identities: facts.identities.map(({ kind, value }) => ({ kind, value })),
    ...(issuer !== undefined && { issuer }),
    ...(repository !== undefined && { repository }),
    ...(workflow !== undefined && { workflow }),
    digests: [...facts.digests],
    subjects: [...facts.subjects],
    keyFingerprints: [...facts.keyFingerprints],
    certificateFingerprints: [...facts.certificateFingerprints],
    body: encodeBase64(facts.leaf),
  };
}

function encodeCompleteness(part: Completeness): SearchAnswerJson['complete'][number] {
  const { tree, origin, treeSize, rootHash, checkpoint, consistency } = part;
  return {
    tree,
    origin,
    treeSize: String(treeSize),
    rootHash: encodeHex(rootHash),
    checkpoint,
    consistency: consistency.map(encodeHex),
  };
}
