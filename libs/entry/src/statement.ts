import { EncodingError, parseUtf8 } from '#libs/encoding';

const IN_TOTO = 'application/vnd.in-toto+json';

/**
 * What an in-toto statement is about, as search keys: `<algorithm>:<digest>`, in lower case, of its subjects and of the
 * materials of its predicate. Nothing of another payload type, or of what is no statement: a log takes any payload.
 * @see in-toto/attestation, spec/v1/statement.md; the materials are those of SLSA provenance 0.2
 */
export function statementKeys(payloadType: string, payload: Uint8Array): string[] {
  if (payloadType !== IN_TOTO) return [];
  const statement = statementOf(payload);
  const predicate = member(statement, 'predicate');
  return [...items(member(statement, 'subject')), ...items(member(predicate, 'materials'))].flatMap(digestsOf);
}

function statementOf(payload: Uint8Array): unknown {
  try {
    // Lenient on purpose: whoever consumes the statement may be, and would then miss it in a search.
    return JSON.parse(parseUtf8(payload));
  } catch (error) {
    if (error instanceof EncodingError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function digestsOf(item: unknown): string[] {
  const digest = member(item, 'digest');
  if (typeof digest !== 'object' || digest === null || Array.isArray(digest)) return [];
  return Object.entries(digest).flatMap(([algorithm, value]) =>
    typeof value === 'string' ? [`${algorithm}:${value}`.toLowerCase()] : [],
  );
}

function items(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Record<string, unknown>)[name]; // an object that has the name, as just checked
}
