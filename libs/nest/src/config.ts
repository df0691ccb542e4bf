import type { ZodType } from 'zod';

/** Every problem of a configuration at once, one a line. */
export class ConfigError extends Error {
  readonly code = 'CONFIG_INVALID';

  constructor(readonly problems: readonly string[]) {
    super(`Cannot use the configuration: ${problems.join('; ')}`);
  }
}

/**
 * Reads a configuration from named settings (an environment, command line options), checks it against `schema`,
 * and returns it frozen. Settings that start with `prefix` but that the schema does not know are errors: what is
 * accepted must not be ignored.
 * @throws ConfigError with all problems
 */
export function readConfig<T>(
  schema: ZodType<T>,
  settings: Readonly<Record<string, string | undefined>>,
  options: { prefix: string; known: readonly string[] },
): Readonly<T> {
  const given = Object.entries(settings).filter(
    ([name, value]) => name.startsWith(options.prefix) && value !== undefined,
  );
  const unknown = given.filter(([name]) => !options.known.includes(name)).map(([name]) => `${name} is not a setting`);
  const result = schema.safeParse(Object.fromEntries(given));
  const wrong = result.success
    ? []
    : result.error.issues.map((issue) => `${issue.path.join('.') || 'configuration'}: ${issue.message}`);
  if (!result.success || unknown.length > 0) throw new ConfigError([...unknown, ...wrong]);
  return Object.freeze(result.data);
}
