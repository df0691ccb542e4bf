import { z } from 'zod';
import { EntryError, type SchemaViolation } from './error.js';

/**
 * How many signatures or verifiers an entry may have. Each verifier may be tried with each signature, so the work grows
 * with the square: 16 are at most 256 checks. More certificates than that do not fit into a stored body anyway.
 */
export const MAX_SIGNATURES = 16;

// Characters of base64 or JSON text. What ends up in the body is bounded again there, at 65535 bytes; before it is made
// canonical, a key may have comments and line ends around it that do not count.
const MAX_STORED_TEXT = 131_072;
const MAX_CONTENT_TEXT = 32 * 1024 * 1024;
const MAX_NAME = 1024;

/** Padded base64 of the standard alphabet; whether it is that, is found out when it is decoded. */
export const base64Text = (description: string) =>
  z.string().max(MAX_STORED_TEXT).describe(description).meta({ format: 'byte' });

/** The same for what is hashed but not stored. */
export const base64Content = (description: string) =>
  z.string().max(MAX_CONTENT_TEXT).describe(description).meta({ format: 'byte', writeOnly: true });

/** Text that is hashed but not stored. */
export const contentText = (description: string) =>
  z.string().max(MAX_CONTENT_TEXT).describe(description).meta({ writeOnly: true });

/** Short text that is stored as it is. */
export const nameText = (description: string) => z.string().max(MAX_NAME).describe(description);

// As a string, because its escapes are part of upstream's message.
const base64Pattern = new RegExp(
  String.raw`^(?:[A-Za-z0-9+\/]{4})*(?:[A-Za-z0-9+\/]{2}==|[A-Za-z0-9+\/]{3}=|[A-Za-z0-9+\/]{4})$`,
);

/** Base64 of a signature, which is stored as it came: one spelling only. */
export const signatureText = (description: string) =>
  z.string().max(MAX_STORED_TEXT, { abort: true }).regex(base64Pattern).describe(description);

/** `{algorithm: "sha256", value: <hex>}` */
export const sha256Field = (description: string) =>
  z
    .object({
      algorithm: z.enum(['sha256']).describe('The hashing function used to compute the hash value'),
      value: z
        .string()
        .max(64, { abort: true })
        .regex(/^[0-9a-fA-F]{64}$/)
        .describe('Hexadecimal'),
    })
    .describe(description);

export type Sha256Field = z.output<ReturnType<typeof sha256Field>>;

/**
 * What the schema makes of the value: members that it does not name are left out. The first violation is reported in the
 * words of go-openapi; schemas list their members in the order of the alphabet, as the reference looks at them.
 * @throws EntryError `ENTRY_SCHEMA`
 */
export function checkSchema<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const violation = violationOf(result.error, value);
  throw new EntryError('ENTRY_SCHEMA', `Cannot accept entry: ${violation.message}`, {
    // Rekor answers to those within `spec` like to any other mistake in an entry.
    detail: `validation failure list:\n${violation.message}`,
    schema: violation,
  });
}

/**
 * The first violation that a schema found in `root`, in the words of go-openapi. `place`: where `root` stood in the request.
 * @see go-openapi/errors, schema.go
 */
export function violationOf(
  error: z.ZodError,
  root: unknown,
  place: 'path' | 'query' | 'body' = 'body',
): SchemaViolation {
  const [issue] = error.issues;
  if (issue === undefined) throw new Error('Schema refused a value without saying why');
  const name = issue.path.map(String).join('.');
  const value = valueAt(root, issue.path);
  const where = `${name} in ${place}`.trimStart();
  if (value === undefined || value === null) return { code: 602, message: `${where} is required` };
  switch (issue.code) {
    case 'invalid_type': {
      const expected = issue.expected === 'int' || issue.expected === 'number' ? 'int64' : issue.expected;
      // Parameters are texts, whatever their type should be.
      return place === 'body' ? wrongType(where, expected, value) : unreadable(where, expected);
    }
    case 'invalid_value':
      if (typeof value !== 'string') return wrongType(where, 'string', value);
      return { code: 606, message: `${where} should be one of [${issue.values.map(String).join(' ')}]` };
    case 'too_big':
      return outOfBounds(where, issue.origin, { most: issue.maximum });
    case 'too_small':
      return outOfBounds(where, issue.origin, { least: issue.minimum });
    case 'invalid_format':
      if (issue.format !== 'regex') return unreadable(where, issue.format === 'base64' ? 'byte' : issue.format);
      return { code: 605, message: `${where} should match '${(issue.pattern ?? '').slice(1, -1)}'` };
    case 'unrecognized_keys':
      return { code: 616, message: `${name}.${issue.keys[0]?.slice(0, 40) ?? ''} in ${place} is a forbidden property` };
    default:
      throw new Error(`Schema has a rule without words: ${issue.code}`);
  }
}

function outOfBounds(where: string, origin: string, bound: { most: unknown } | { least: unknown }): SchemaViolation {
  const isMost = 'most' in bound;
  const limit = String(isMost ? bound.most : bound.least);
  switch (origin) {
    case 'array':
      return {
        code: isMost ? 611 : 612,
        message: `${where} should have at ${isMost ? 'most' : 'least'} ${limit} items`,
      };
    case 'string':
      return {
        code: isMost ? 603 : 604,
        message: `${where} should be at ${isMost ? 'most' : 'least'} ${limit} chars long`,
      };
    default:
      return {
        code: isMost ? 608 : 609,
        message: `${where} should be ${isMost ? 'less' : 'greater'} than or equal to ${limit}`,
      };
  }
}

/** A violation of the type that a value has. */
export function wrongType(where: string, expected: string, value: unknown): SchemaViolation {
  return { code: 601, message: `${where} must be of type ${expected}: "${jsonType(value)}"` };
}

/** Text that does not spell what it should. Upstream repeats it. */
function unreadable(where: string, expected: string): SchemaViolation {
  return { code: 601, message: `${where} must be of type ${expected}` };
}

function jsonType(value: unknown): string {
  return Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key]; // an object that has the key, as just checked
  }
  return value;
}
