export type LogFields = Readonly<Record<string, string | number | bigint | boolean | undefined>>;

/** Writes one line an event: a constant message, and fields named in the field's words. Never a token, key or whole body. */
export interface Log {
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

/**
 * A log that writes JSON lines, or plain text where a person reads along.
 * `write` receives whole lines with their line feed.
 */
export function createLog(options: { format: 'json' | 'text'; now: () => Date; write: (line: string) => void }): Log {
  const put = (severity: string, message: string, fields: LogFields = {}): void => {
    const time = options.now().toISOString();
    if (options.format === 'text') {
      const rest = Object.entries(fields).filter(([, value]) => value !== undefined);
      const text = rest.map(([key, value]) => ` ${key}=${quoteIfNeeded(String(value))}`).join('');
      options.write(`${time.slice(11, 19)} ${severity === 'info' ? '' : `${severity}: `}${message}${text}\n`);
      return;
    }
    const printable = Object.entries(fields).map(([key, value]) => [
      key,
      typeof value === 'bigint' ? value.toString() : value,
    ]);
    options.write(`${JSON.stringify({ time, severity, message, ...Object.fromEntries(printable) })}\n`);
  };
  return {
    info: (message, fields) => put('info', message, fields),
    warn: (message, fields) => put('warn', message, fields),
    error: (message, fields) => put('error', message, fields),
  };
}

function quoteIfNeeded(value: string): string {
  return /^[\w.:/@+-]*$/.test(value) ? value : JSON.stringify(value);
}
