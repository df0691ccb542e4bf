import { z } from 'zod';
import { loadProposals } from '#libs/entry';
import { RekorError, RekorSchemaError } from './rekor1-errors.js';

const { violationOf } = await loadProposals();

/** Leaf hash, or entry ID. */
const entryUuid = z
  .string()
  .regex(/^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$/)
  .describe('leaf hash (64 hex digits), or entry ID: tree ID and leaf hash (80)');
const treeId = z
  .string()
  .regex(/^[0-9]+$/)
  .describe('tree ID, decimal');

/** Items of one kind, and of all three together, in one query for entries. */
export const maxQueryItems = 10;

/** The parameters of paths and query strings. Of a parameter that comes twice the last one counts. */
export const rekorParams = {
  entry: z.object({ entryUUID: entryUuid }),
  byIndex: z.object({ logIndex: integer(z.int().min(0)) }),
  publicKey: z.object({ treeID: last(treeId).optional() }),
  proof: z.object({
    firstSize: integer(z.int().min(1)).optional().describe('1 if absent'),
    lastSize: integer(z.int().min(1)),
    treeID: last(treeId).optional(),
  }),
};

/** The bodies of the two queries. `null` is as good as nothing. */
export const searchLogQuery = z.object({
  entryUUIDs: z.array(entryUuid).min(1).max(maxQueryItems).nullish(),
  logIndexes: z.array(z.int().min(0)).min(1).max(maxQueryItems).nullish(),
  entries: z
    .array(z.unknown())
    .min(1)
    .max(maxQueryItems)
    .nullish()
    .describe('proposed entries, as for POST /api/v1/log/entries'),
});

export const searchIndexQuery = z.object({
  email: z.email({ pattern: /^[^\s@]+@[^\s@]+$/ }).nullish(),
  subject: z.string().min(1).max(512).nullish().describe('any subject of a key or certificate'),
  // Strict: a key that the server should fetch from a `url` must not be taken for no key at all.
  publicKey: z
    .strictObject({
      format: z.enum(['pgp', 'x509', 'minisign', 'ssh', 'tuf']),
      content: z.base64().nullish(),
    })
    .nullish(),
  hash: z
    .string()
    .regex(/^(sha512:)?[0-9a-fA-F]{128}$|^(sha256:)?[0-9a-fA-F]{64}$|^(sha1:)?[0-9a-fA-F]{40}$/)
    .nullish(),
  operator: z.enum(['and', 'or']).nullish().describe('`or` if absent'),
});

const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * The value of a JSON body; `name` is what Rekor calls the parameter.
 * @throws RekorError `REKOR_REQUEST`; RekorSchemaError without a body
 */
export function parseRekorBody(body: Uint8Array | undefined, name: string): unknown {
  if (body === undefined || body.length === 0) {
    throw new RekorSchemaError({ code: 602, message: `${name} in body is required` });
  }
  try {
    return JSON.parse(utf8.decode(body));
  } catch (cause) {
    throw new RekorError('REKOR_REQUEST', `parsing ${name} body from "" failed, because it is not JSON`, { cause });
  }
}

/** @throws RekorSchemaError with the first thing that is wrong, as go-openapi words and numbers it */
export function checkRekor<T>(schema: z.ZodType<T>, value: unknown, place: 'path' | 'query' | 'body'): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new RekorSchemaError(violationOf(result.error, value, place));
}

function last<T extends z.ZodType>(schema: T) {
  return z.preprocess((value: unknown) => (Array.isArray(value) ? (value as unknown[]).at(-1) : value), schema);
}

/** A parameter that is a whole number in 64 bits. Beyond 2^53 no tree reaches, so it may as well be that. */
function integer(schema: z.ZodType<number>) {
  return last(
    z.preprocess(
      (text: unknown) =>
        typeof text === 'string' && /^[+-]?[0-9]{1,18}$/.test(text)
          ? Math.max(Math.min(Number(text), Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER)
          : text,
      schema,
    ),
  );
}
