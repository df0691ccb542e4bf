import { parseJson, parseUtf8 } from '#libs/encoding';
import { AuditError } from './error.js';

/** How to reach logs; every field has a test double. */
export interface HttpOptions {
  /** The platform's `fetch`. */
  fetch: typeof globalThis.fetch;
  /** Waits between attempts, in milliseconds; the default is a timer. */
  sleep?: (milliseconds: number) => Promise<void>;
  /** Uniform in [0, 1): spreads the retries of many auditors; the default is `Math.random`, nothing secret depends on it. */
  jitter?: () => number;
  /** Milliseconds since 1970, for a `Retry-After` that is a date. Default `Date.now`. */
  now?: () => number;
  /** Milliseconds that one attempt may take, from connecting to the last byte of the answer. Default 30 000. */
  timeoutMs?: number;
  /** Attempts in all. Default 5. */
  attempts?: number;
  /** Requests at one time. Default 8: logs limit their readers, and are right to. */
  concurrency?: number;
}

/** A whole answer: 2xx, or 4xx for the caller to judge. */
export interface HttpAnswer {
  status: number;
  body: Uint8Array;
}

/** Reads from one log. */
export interface HttpReader {
  /** How many requests are worth having under way. */
  readonly concurrency: number;
  /**
   * GETs a URL; `maxBytes` bounds the body after decompression.
   * @throws AuditError `AUDIT_NETWORK`, `AUDIT_REDIRECT`, `AUDIT_UNAVAILABLE`, `AUDIT_TOO_LARGE`
   */
  get(url: string, maxBytes: number): Promise<HttpAnswer>;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_ATTEMPTS = 5;
const DEFAULT_CONCURRENCY = 8;
const FIRST_BACKOFF_MS = 500;
// A log may ask for more patience than an audit has; beyond this the attempt is made anyway.
const MAX_BACKOFF_MS = 60_000;

/** A reader with time-outs, retries (connection failures, 429 and 5xx, with growing pauses or what `Retry-After` asks for) and few requests at a time. */
export function createHttpReader(options: HttpOptions): HttpReader {
  const attempts = options.attempts ?? DEFAULT_ATTEMPTS;
  const concurrency = options.concurrency ?? DEFAULT_CONCURRENCY;
  const sleep = options.sleep ?? ((milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds)));
  const jitter = options.jitter ?? Math.random;
  const limit = limiter(concurrency);

  const get = async (url: string, maxBytes: number): Promise<HttpAnswer> => {
    for (let attempt = 1; ; attempt++) {
      let failure: AuditError;
      let pauseMs = FIRST_BACKOFF_MS * 2 ** (attempt - 1) * (0.5 + jitter());
      try {
        const { status, body, headers } = await attemptOnce(url, maxBytes, options);
        if (status !== 429 && status < 500) return { status, body };
        failure = new AuditError('AUDIT_UNAVAILABLE', `Cannot read ${url}: ${answered(status, body)}`, {
          status,
          cure: 'Try again later: the log is overloaded or does not work',
        });
        pauseMs = retryAfterMs(headers, (options.now ?? Date.now)()) ?? pauseMs;
      } catch (error) {
        if (!(error instanceof AuditError) || error.code !== 'AUDIT_NETWORK') throw error;
        failure = error;
      }
      if (attempt >= attempts) throw failure;
      await sleep(Math.min(pauseMs, MAX_BACKOFF_MS));
    }
  };
  return { concurrency, get: (url, maxBytes) => limit(() => get(url, maxBytes)) };
}

/**
 * The URL of a log: http or https, no user name, no query, no fragment.
 * @throws AuditError `AUDIT_URL`
 */
export function parseLogUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new AuditError('AUDIT_URL', 'Cannot read the log: its URL must start with https:// or http://');
  }
  if (url.username !== '' || url.password !== '' || url.hash !== '' || url.search !== '') {
    throw new AuditError('AUDIT_URL', 'Cannot read the log: its URL must have no user name, query or fragment');
  }
  return url;
}

/** What a service said with a status that is no success, fit to print. */
export function answered(status: number, body: Uint8Array): string {
  const said = serviceMessage(body);
  return `the log answered ${status}${said === undefined ? '' : `: ${said}`}`;
}

async function attemptOnce(
  url: string,
  maxBytes: number,
  options: HttpOptions,
): Promise<HttpAnswer & { headers: Headers }> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await options.fetch(url, { redirect: 'manual', signal });
    if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
      discard(response.body?.cancel());
      // What another host serves would be audited under this log's name.
      throw new AuditError('AUDIT_REDIRECT', `Cannot read ${url}: the log answered with a redirect`, {
        status: response.status,
        cure: 'Use the final URL',
      });
    }
    return { status: response.status, headers: response.headers, body: await readBody(url, maxBytes, response) };
  } catch (cause) {
    if (cause instanceof AuditError) throw cause;
    const reason = signal.aborted ? `no complete answer within ${timeoutMs / 1000} s` : networkReason(cause);
    throw new AuditError('AUDIT_NETWORK', `Cannot reach ${url}: ${reason}`, {
      cause,
      cure: 'Check the URL, the network and that the log is running',
    });
  }
}

/** Reads the body up to the limit; the length a server announces is only believed when it is too large. */
async function readBody(url: string, maxBytes: number, response: Response): Promise<Uint8Array> {
  const tooLarge = () =>
    new AuditError('AUDIT_TOO_LARGE', `Cannot read ${url}: the answer has more than ${maxBytes} bytes`, {
      cure: 'Check that the URL is a log',
    });
  if (Number(response.headers.get('content-length') ?? 0) > maxBytes) {
    discard(response.body?.cancel());
    throw tooLarge();
  }
  if (response.body === null) return new Uint8Array(0);
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > maxBytes) {
      discard(reader.cancel());
      throw tooLarge();
    }
    chunks.push(value);
  }
  const body = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

/** What is not read any more is not waited for either: a server might not let go. */
function discard(cancelled: Promise<void> | undefined): void {
  cancelled?.catch(() => undefined);
}

/** `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). */
function retryAfterMs(headers: Headers, nowMs: number): number | undefined {
  const value = headers.get('retry-after');
  if (value === null) return undefined;
  if (/^\d{1,6}$/.test(value)) return Number(value) * 1000;
  const until = value.endsWith(' GMT') ? Date.parse(value) : Number.NaN;
  return Number.isNaN(until) ? undefined : Math.max(0, until - nowMs);
}

/** The `message` of an error body (or a short plain text): one line, at most 300 characters; undefined if there is none. */
function serviceMessage(body: Uint8Array): string | undefined {
  let text: string;
  try {
    text = parseUtf8(body.subarray(0, 4096));
  } catch {
    return undefined; // not text: nothing to quote
  }
  try {
    const json = parseJson(text);
    if (json !== null && typeof json === 'object' && !Array.isArray(json) && typeof json['message'] === 'string') {
      text = json['message'];
    }
  } catch {
    // Plain text is quoted as it is, unless it is a web page.
    if (/^\s*</.test(text)) return undefined;
  }
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ').trim();
  return line === '' ? undefined : line.slice(0, 300);
}

/** `fetch failed` says nothing; its cause says `ECONNREFUSED`. */
function networkReason(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return 'the connection failed';
}

/** At most `most` at a time, the rest in order of arrival. */
function limiter(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running < most) running++;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The place goes to the next one at once, so that nobody comes in between.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
