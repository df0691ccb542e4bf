import { canonicalizeJson, encodeUtf8, parseJson, type JsonValue } from '#libs/encoding';
import { splitDigest, type Digest } from '#libs/oci';

/** The predicate type of a plain signature: it claims nothing but the digest. cosign's BUNDLE_SPEC. */
export const SIGN_PREDICATE_TYPE = 'https://sigstore.dev/cosign/sign/v1';

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';

/**
 * The in-toto statement of a signature, as bytes to sign. The subject has no name: the digest is what is signed.
 * @see sigstore/cosign: specs/BUNDLE_SPEC.md
 */
export function signatureStatement(digest: Digest, annotations: Readonly<Record<string, string>> = {}): Uint8Array {
  return encodeStatement(
    { ...subjectOf(digest), ...(Object.keys(annotations).length > 0 && { annotations }) },
    SIGN_PREDICATE_TYPE,
    {},
  );
}

/** The in-toto statement of an attestation, as bytes to sign. `name`: the repository, a hint that nothing checks. */
export function attestationStatement(
  digest: Digest,
  { name, predicateType, predicate }: { name?: string; predicateType: string; predicate: unknown },
): Uint8Array {
  return encodeStatement({ ...(name !== undefined && { name }), ...subjectOf(digest) }, predicateType, predicate);
}

function subjectOf(digest: Digest): object {
  const { algorithm, hex } = splitDigest(digest);
  return { digest: { [algorithm]: hex } };
}

/** RFC 8785, which writes integers of any size in full. */
function encodeStatement(subject: object, predicateType: string, predicate: unknown): Uint8Array {
  return encodeUtf8(canonicalizeJson({ _type: STATEMENT_TYPE, subject: [subject], predicateType, predicate }));
}

/**
 * The annotations that a statement's author signed for this digest. `payload`: the verified bytes of a statement.
 * Values that are not text are left out, for nothing can be asked of them.
 */
export function subjectAnnotations(payload: Uint8Array, digest: Digest): Record<string, string> {
  const { algorithm, hex } = splitDigest(digest);
  const statement = fieldsOf(parseJson(payload));
  const subjects = Array.isArray(statement['subject']) ? statement['subject'] : [];
  const subject = subjects.map(fieldsOf).find((item) => fieldsOf(item['digest'])[algorithm] === hex);
  return textsOf(fieldsOf(subject?.['annotations']));
}

/** The members of an object; of anything else none. */
export function fieldsOf(value: JsonValue | undefined): Record<string, JsonValue> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {};
}

export function textsOf(fields: Record<string, JsonValue>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, string] => typeof field[1] === 'string'),
  );
}
