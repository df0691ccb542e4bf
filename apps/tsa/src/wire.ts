import { EncodingError, type JsonValue, parseJson } from '#libs/encoding';
import { parseTimestampJson, TimestampError, type TimestampRequest } from '#libs/timestamp';
import { z } from 'zod';

/** Bytes; what is longer is refused by its length alone. */
const jsonLimit = 1024;

/** The JSON form of a request (sigstore/timestamp-authority: openapi.yaml, JSONRequest). Unknown names are ignored. */
export const timestampJsonSchema = z
  .object({
    artifactHash: z.string().min(1).meta({ contentEncoding: 'base64', description: 'Digest, in padded base64' }),
    hashAlgorithm: z.string().describe('`sha256`, `sha384` or `sha512`, in any case'),
    certificates: z.boolean().nullish().describe('Whether the token shall carry the signing certificate'),
    nonce: z
      .custom<number | bigint>((value) => typeof value === 'bigint' || Number.isSafeInteger(value))
      .meta({ type: 'integer' })
      .nullish()
      .describe('Of any size; comes back in the token'),
    tsaPolicyOID: z.string().nullish().describe('Dotted; the policy to stamp under. Empty counts as absent'),
  })
  .meta({ id: 'TimestampJsonRequest' });

/** A request in JSON: its shape by the schema; what the digest, names and numbers in it mean, by the reader of its format. @throws TimestampError */
export function parseJsonRequest(body: Uint8Array): TimestampRequest {
  if (body.length <= jsonLimit) checkShape(body);
  return parseTimestampJson(body);
}

function checkShape(body: Uint8Array): void {
  let json: JsonValue;
  try {
    json = parseJson(body, { bigIntegers: true, maxDepth: 8 });
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw malformed('it is not JSON', cause);
  }
  const result = timestampJsonSchema.safeParse(json);
  if (!result.success) throw malformed(`${result.error.issues[0]?.path.join('.') || 'the whole'} is of another type`);
}

function malformed(state: string, cause?: unknown): TimestampError {
  return new TimestampError('TIMESTAMP_MALFORMED', `Cannot read timestamp request: ${state}`, { cause });
}
