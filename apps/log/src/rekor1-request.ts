import { z } from 'zod';
import { loadProposals } from '#libs/entry';
import { hasTooManyValues } from './body-bounds.js';
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

/** The parameters of paths and query strings. */
export const rekorParams = {
  entry: z.object({ entryUUID: entryUuid }),
  byIndex: z.object({ logIndex: integer(z.int().min(0)) }),
  publicKey: z.object({ treeID: treeId.optional() }),
  proof: z.object({
    firstSize: integer(z.int().min(1)).optional().describe('1 if absent'),
    lastSize: integer(z.int().min(1)),
    treeID: treeId.optional(),
  }),
};

/** The bodies of the two queries. `null` is as good as nothing. */
export const searchLogQuery = z.object({
  entryUUIDs: z.array(entryUuid).min(1).max(maxQueryItems).nullish(),
  logIndexes: z
    .array(z.preprocess(inTree, z.int().min(0)))
    .min(1)
    .max(maxQueryItems)
    .nullish(),
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
  const failed = `parsing ${name} body from "" failed, because`;
  if (hasTooManyValues(body)) throw new RekorError('REKOR_REQUEST', `${failed} it has too many values`);
  try {
    return JSON.parse(utf8.decode(body));
  } catch (cause) {
    throw new RekorError('REKOR_REQUEST', `${failed} it is not JSON`, { cause });
  }
}

/** @throws RekorSchemaError with the first thing that is wrong, as go-openapi words and numbers it */
export function checkRekor<T>(schema: z.ZodType<T>, given: unknown, place: 'path' | 'query' | 'body'): T {
  const value = place === 'query' ? givenParameters(given) : given;
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new RekorSchemaError(violationOf(result.error, value, place));
}

/** Of a parameter that comes twice the last one counts, and an empty one is none: so reads the code that go-swagger generates for Rekor. */
function givenParameters(query: unknown): unknown {
  const last = Object.entries(Object(query) as Record<string, unknown>).map(([name, value]): [string, unknown] => [
    name,
    Array.isArray(value) ? value.at(-1) : value,
  ]);
  return Object.fromEntries(last.filter(([, value]) => value !== ''));
}

/** A parameter that is a whole number in 64 bits. */
function integer(schema: z.ZodType<number>) {
  return z.preprocess((text: unknown) => (isInt64(text) ? inTree(Number(text)) : text), schema);
}

function isInt64(text: unknown): text is string {
  if (typeof text !== 'string' || !/^[+-]?0*[0-9]{1,19}$/.test(text)) return false;
  const value = BigInt(text.replace('+', ''));
  return BigInt.asIntN(64, value) === value;
}

/** Beyond 2^53 no tree reaches, so any number of 64 bits there may as well be that: it is found nowhere. JSON has rounded it already. */
function inTree(value: unknown): unknown {
  if (!Number.isInteger(value)) return value;
  const number = value as number; // as just checked
  return Math.abs(number) <= 2 ** 63
    ? Math.min(Math.max(number, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)
    : value;
}
