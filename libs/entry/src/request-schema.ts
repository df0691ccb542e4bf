import { z } from 'zod';
import { EncodingError, hasLoneSurrogate, parseAnyBase64 } from '#libs/encoding';
import { keyDetailsNames } from './key-details.js';
import { MAX_ITEMS, protoName } from './proto-json.js';

// `parseCreateEntryRequest` reads by hand what this documents, and a property test holds the two together: each takes a
// good request in 3 µs, but of a bad one of four megabytes Zod notes every mistake, in seconds and hundreds of megabytes,
// where the parser stops at the first.

/** A message in ProtoJSON: each field in either spelling but not both, null as absent, no unknown ones; at most one of `oneOf`. */
function message<Shape extends Readonly<Record<string, z.ZodType>>>(
  shape: Shape,
  { oneOf = [] }: { readonly oneOf?: readonly (keyof Shape & string)[] } = {},
) {
  const spellings = Object.entries(shape).map(([name, field]) => ({ name, other: protoName(name), field }));
  const fields = spellings.flatMap(({ name, other, field }): [string, z.ZodType][] =>
    name === other
      ? [[name, field.nullish()]]
      : [
          [name, field.nullish()],
          [other, field.nullish().describe(`The same as ${name}`)],
        ],
  );
  const isOnce = (value: object) =>
    spellings.every(
      ({ name, other }) => name === other || !(Object.hasOwn(value, name) && Object.hasOwn(value, other)),
    );
  const isSet = (value: Readonly<Record<string, unknown>>, name: string) =>
    (value[name] ?? value[protoName(name)] ?? undefined) !== undefined;
  return z
    .strictObject(Object.fromEntries(fields))
    .refine(isOnce, { error: 'a field is given in both spellings' })
    .refine((value) => oneOf.filter((name) => isSet(value, name)).length < 2, {
      error: `more than one of ${oneOf.join(', ')} is set`,
    });
}

const bytes = z.string().refine(isBase64, { error: 'not base64' }).meta({ contentEncoding: 'base64' });
const text = z.string().refine((value) => !hasLoneSurrogate(value), { error: 'not valid Unicode' });

const verifier = message(
  {
    publicKey: message({ rawBytes: bytes.describe('DER SubjectPublicKeyInfo') }),
    x509Certificate: message({ rawBytes: bytes.describe('DER certificate') }),
    keyDetails: z.union([z.enum(keyDetailsNames), z.int32()]).describe('A name or number of PublicKeyDetails'),
  },
  { oneOf: ['publicKey', 'x509Certificate'] },
).meta({ id: 'Verifier', description: 'Either key or certificate' });

const hashedRekord = message({
  digest: bytes.describe('By the hash that keyDetails names'),
  signature: message({ content: bytes.describe('DER for ECDSA'), verifier }),
}).meta({ id: 'HashedRekordRequestV002' });

const dsse = message({
  envelope: message({
    payload: bytes,
    payloadType: text,
    signatures: z
      .array(message({ sig: bytes, keyid: text.describe('Not kept') }))
      .max(MAX_ITEMS)
      .describe('1 to 10'),
  }),
  verifiers: z.array(verifier).max(MAX_ITEMS).describe('1 to 10'),
}).meta({ id: 'DSSERequestV002', description: 'A former kind of entry, which a log may be set to refuse' });

/**
 * The JSON form of a `CreateEntryRequest` of Rekor v2: what `parseCreateEntryRequest` takes, or refuses for another reason than
 * `ENTRY_JSON`.
 * @see sigstore/rekor-tiles, api/proto/rekor/v2; ProtoJSON
 */
export const createEntryRequestSchema: z.ZodType = message(
  { hashedRekordRequestV002: hashedRekord, dsseRequestV002: dsse },
  { oneOf: ['hashedRekordRequestV002', 'dsseRequestV002'] },
).meta({
  id: 'CreateEntryRequest',
  description:
    'One of the two. As in all of ProtoJSON, names may be in snake_case, null is absent, and base64 is of either alphabet, padded or not.',
});

function isBase64(value: string): boolean {
  try {
    parseAnyBase64(value);
    return true;
  } catch (error) {
    if (error instanceof EncodingError) return false;
    throw error;
  }
}
