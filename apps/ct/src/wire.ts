import { EncodingError, type JsonValue, parseBase64, parseJson } from '#libs/encoding';
import { z } from 'zod';
import { CtError } from './errors.js';

// The JSON of RFC 6962 §4, and the query parameters of its GETs. The messages end up in answers.

const base64 = z.string().meta({ contentEncoding: 'base64' }).transform(readBase64());

/** `error`: what to say in place of why the text is no base64. */
function readBase64(error?: string) {
  return (text: string, context: z.core.$RefinementCtx<string>): Uint8Array => {
    try {
      return parseBase64(text);
    } catch (cause) {
      if (!(cause instanceof EncodingError)) throw cause;
      context.addIssue({ code: 'custom', message: error ?? cause.message });
      return z.NEVER;
    }
  };
}

/** Body of add-chain and add-pre-chain: unknown names are ignored. */
export const addChainSchema = z
  .object({
    chain: z
      .array(base64)
      .min(1)
      .describe('DER in base64: the certificate first, then its issuers; the root may be left out'),
  })
  .meta({ id: 'AddChainRequest' });

/** RFC 6962 §4.1, with the extension of C2SP static-ct-api. */
export const addChainResponse = z
  .object({
    sct_version: z.literal(0),
    id: z.base64().describe("SHA-256 of the log key's SubjectPublicKeyInfo"),
    timestamp: z.int().describe('Milliseconds since 1970'),
    extensions: z.base64().describe('CtExtensions with the leaf index'),
    signature: z.base64().describe('DigitallySigned'),
  })
  .meta({ id: 'AddChainResponse', description: 'A signed certificate timestamp.' });

/** §4.3 */
export const treeHeadResponse = z
  .object({
    tree_size: z.int().min(0),
    timestamp: z.int().describe('Milliseconds since 1970'),
    sha256_root_hash: z.base64(),
    tree_head_signature: z.base64().describe('DigitallySigned'),
  })
  .meta({ id: 'SignedTreeHead' });

const hashes = z.array(z.base64());
const entry = z.object({
  leaf_input: z.base64().describe('MerkleTreeLeaf'),
  extra_data: z.base64().describe('The certificates above it; first the precertificate, if the entry is of one'),
});

/** §4.4 to §4.8 */
export const consistencyResponse = z.object({ consistency: hashes }).meta({ id: 'ConsistencyProof' });
export const proofByHashResponse = z
  .object({ leaf_index: z.int().min(0), audit_path: hashes })
  .meta({ id: 'InclusionProof' });
export const entriesResponse = z.object({ entries: z.array(entry) }).meta({ id: 'Entries' });
export const rootsResponse = z
  .object({ certificates: z.array(z.base64()).describe('DER in base64') })
  .meta({ id: 'AcceptedRoots' });
export const entryAndProofResponse = entry.extend({ audit_path: hashes }).meta({ id: 'EntryAndProof' });

/** What lists of CT logs say of one. */
export const descriptionResponse = z
  .object({
    key: z.base64().describe('SubjectPublicKeyInfo'),
    log_id: z.base64(),
    mmd: z.int().describe('Maximum merge delay, seconds'),
    url: z.string(),
  })
  .meta({ id: 'LogDescription' });

const numberParameter = (name: string) =>
  z
    .string({ error: wanted(name) })
    .regex(/^\d{1,19}$/, { error: wanted(name) })
    .transform(BigInt);
const wanted = (name: string): string => `parameter ${name} must be a number of at least 0`;
const wantedHash = 'parameter hash must be the base64 of 32 bytes';

export const consistencyQuery = z.object({
  first: numberParameter('first').describe('Size of the smaller tree'),
  second: numberParameter('second').describe('Size of the larger tree'),
});
export const proofByHashQuery = z.object({
  hash: z
    .string({ error: wantedHash })
    .regex(/^[A-Za-z0-9+/]{43}=$/, { abort: true, error: wantedHash })
    .transform(readBase64(wantedHash))
    .describe('Leaf hash'),
  tree_size: numberParameter('tree_size').describe('Of the tree that the proof is for, at least 1'),
});
export const entriesQuery = z.object({
  start: numberParameter('start').describe('Index of the first entry'),
  end: numberParameter('end').describe('Index of the last entry; fewer may come'),
});
export const entryAndProofQuery = z.object({
  leaf_index: numberParameter('leaf_index'),
  tree_size: numberParameter('tree_size'),
});

/** DER, the certificate first. @throws CtError `CT_REQUEST` */
export function parseChainBody(body: Uint8Array | undefined): Uint8Array[] {
  let json: JsonValue;
  try {
    json = parseJson(body ?? new Uint8Array());
  } catch (cause) {
    throw new CtError('CT_REQUEST', 'request body is not JSON', { cause });
  }
  const result = addChainSchema.safeParse(json);
  if (result.success) return result.data.chain;
  // A path that ends in a number leads to one certificate.
  const inChain = typeof result.error.issues[0]?.path.at(-1) === 'number';
  throw new CtError('CT_REQUEST', inChain ? 'chain must be base64 strings' : 'chain is empty', { cause: result.error });
}

/** The parameters that `schema` names, once they are right. @throws CtError `CT_REQUEST` */
export function parseQuery<T>(schema: z.ZodType<T>, query: unknown): T {
  const result = schema.safeParse(query);
  if (result.success) return result.data;
  throw new CtError('CT_REQUEST', result.error.issues[0]?.message ?? 'parameters cannot be read');
}
