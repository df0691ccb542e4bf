import { EncodingError, parseAnyBase64 } from '#libs/encoding';
import { z } from 'zod';

/**
 * A message as grpc-gateway reads it from JSON: names in camelCase or snake_case, null as absent, unknown names ignored. The schema names each field in
 * camelCase; one in both spellings is refused, also if one is null: a reader that took the other one would see another message.
 * @see ProtoJSON, "JSON Options" and "Null"
 */
export function protoMessage<Shape extends z.ZodRawShape>(shape: Shape) {
  const fields = Object.keys(shape).map((name) => ({
    name,
    snake: name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  }));
  return z.preprocess((value, context) => {
    // What is no object is left to the schema, to say so.
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
    const message = value as Readonly<Record<string, unknown>>;
    const read: Record<string, unknown> = {};
    for (const { name, snake } of fields) {
      const camel = Object.hasOwn(message, name);
      if (camel && snake !== name && Object.hasOwn(message, snake)) {
        context.addIssue({ code: 'custom', path: [name], message: 'is given twice' });
      }
      const content = message[camel ? name : snake] ?? undefined;
      if (content !== undefined) read[name] = content;
    }
    return read;
  }, z.object(shape));
}

/** Bytes in base64 of either alphabet. */
export const protoBytes = z
  .string()
  .meta({ contentEncoding: 'base64' })
  .transform((text, context) => {
    try {
      return parseAnyBase64(text);
    } catch (error) {
      if (!(error instanceof EncodingError)) throw error;
      context.addIssue({ code: 'custom', message: 'is not base64' });
      return z.NEVER;
    }
  });

/** What is wrong first, in a few words that name the field: never what it holds. */
export function describeProblem({ issues: [issue] }: z.ZodError): string {
  const name = issue?.path.at(-1);
  if (issue?.code === 'invalid_type') {
    const article = issue.expected === 'object' ? 'an' : 'a';
    return name === undefined
      ? 'the body is not a JSON object'
      : `${String(name)} must be ${article} ${issue.expected}`;
  }
  return name === undefined ? String(issue?.message) : `${String(name)} ${issue?.message}`;
}
