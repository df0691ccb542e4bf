import { parseJson, parseUtf8, type JsonValue } from '#libs/encoding';
import { SignError } from './error.js';

/** How to reach services; every field has a test double. */
export interface HttpOptions {
  /** The platform's `fetch`. */
  fetch: typeof globalThis.fetch;
  /** Waits between attempts, in milliseconds; the default is a timer. */
  sleep?: (milliseconds: number) => Promise<void>;
  /** Uniform in [0, 1): spreads retries of many clients; the default is `Math.random`, nothing secret depends on it. */
  jitter?: () => number;
  /** Milliseconds that one attempt may take, from connecting to the last byte of the answer. Default 30 000. */
  timeoutMs?: number;
  /** Attempts in all. Default 4. */
  attempts?: number;
}

/** One call of a service. */
export interface ServiceRequest {
  /** What is called, for messages: `certificate authority`, `log`. */
  service: string;
  url: string;
  method?: 'GET' | 'POST';
  headers?: Record<string, string>;
  body?: Uint8Array | string;
  /** Bytes of the answer's body that are read at most. */
  maxBytes: number;
  /** Statuses other than 2xx that the caller wants to see instead of an error. */
  accept?: readonly number[];
}

/** An answer whose body was read completely. */
export interface ServiceResponse {
  status: number;
  headers: Headers;
  body: Uint8Array;
}

const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_ATTEMPTS = 4;
const FIRST_BACKOFF_MS = 500;
// A service may ask for more patience than a build has; beyond this the attempt is made anyway.
const MAX_BACKOFF_MS = 30_000;

/**
 * Calls a service: 30 seconds an attempt; connection failures, 429 and 5xx are tried again with growing pauses (or what
 * `Retry-After` asks for); redirects are refused, because they would carry an identity token to a host nobody chose.
 *
 * @throws SignError `SIGN_URL`, `SIGN_NETWORK`, `SIGN_REDIRECT`, `SIGN_REFUSED`, `SIGN_UNAVAILABLE`, `SIGN_RESPONSE_TOO_LARGE`
 */
export async function callService(request: ServiceRequest, options: HttpOptions): Promise<ServiceResponse> {
  const attempts = options.attempts ?? DEFAULT_ATTEMPTS;
  const sleep = options.sleep ?? ((milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds)));
  const jitter = options.jitter ?? Math.random;
  parseServiceUrl(request.url, request.service);

  for (let attempt = 1; ; attempt++) {
    let failure: SignError;
    let pauseMs = FIRST_BACKOFF_MS * 2 ** (attempt - 1) * (0.5 + jitter());
    try {
      const response = await attemptOnce(request, options);
      if ((response.status >= 200 && response.status < 300) || request.accept?.includes(response.status))
        return response;
      failure = statusError(request, response);
      if (failure.code !== 'SIGN_UNAVAILABLE') throw failure;
      pauseMs = retryAfterMs(response.headers) ?? pauseMs;
    } catch (error) {
      if (!(error instanceof SignError) || (error.code !== 'SIGN_NETWORK' && error.code !== 'SIGN_UNAVAILABLE'))
        throw error;
      failure = error;
    }
    if (attempt >= attempts) throw failure;
    await sleep(Math.min(pauseMs, MAX_BACKOFF_MS));
  }
}

/**
 * Reads the answer as JSON. Integers beyond 2^53 stay exact.
 * @throws SignError `SIGN_RESPONSE_MALFORMED`
 */
export function parseJsonResponse(service: string, response: ServiceResponse): JsonValue {
  try {
    return parseJson(response.body, { bigIntegers: true });
  } catch (cause) {
    throw new SignError('SIGN_RESPONSE_MALFORMED', `Cannot read the answer of the ${service}: it is not JSON`, {
      cause,
      cure: 'Check that the URL is the service itself and not a web page in front of it',
    });
  }
}

/**
 * The URL of a service: http or https, no user name, no fragment.
 * @throws SignError `SIGN_URL`
 */
export function parseServiceUrl(text: string, service: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw new SignError('SIGN_URL', `Cannot call the ${service}: its URL must start with https:// or http://`);
  }
  if (url.username !== '' || url.password !== '' || url.hash !== '') {
    throw new SignError('SIGN_URL', `Cannot call the ${service}: its URL must have neither a user name nor a fragment`);
  }
  return url;
}

/** Appends `path` (which starts with a slash) to a base URL that may or may not end in one. */
export function joinUrl(base: string, path: string): string {
  return base.replace(/\/+$/, '') + path;
}

async function attemptOnce(request: ServiceRequest, options: HttpOptions): Promise<ServiceResponse> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await options.fetch(request.url, {
      method: request.method ?? 'GET',
      redirect: 'manual',
      signal,
      ...(request.headers && { headers: request.headers }),
      // A view is a body, but the types of fetch want one over an ArrayBuffer of its own.
      ...(request.body !== undefined && {
        body: typeof request.body === 'string' ? request.body : request.body.slice(),
      }),
    });
    if (response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400)) {
      await response.body?.cancel();
      throw new SignError(
        'SIGN_REDIRECT',
        `Cannot call the ${request.service}: ${request.url} answered with a redirect`,
        {
          cure: 'Use the final URL; redirects are refused so that a token cannot be sent on to another host',
          status: response.status,
        },
      );
    }
    return { status: response.status, headers: response.headers, body: await readBody(request, response) };
  } catch (cause) {
    if (cause instanceof SignError) throw cause;
    const reason = signal.aborted ? `no complete answer within ${timeoutMs / 1000} s` : networkReason(cause);
    throw new SignError('SIGN_NETWORK', `Cannot reach the ${request.service} at ${request.url}: ${reason}`, {
      cause,
      cure: 'Check the URL, the network and that the service is running',
    });
  }
}

/** Reads the body up to the limit; the length a server announces is only believed when it is too large. */
async function readBody(request: ServiceRequest, response: Response): Promise<Uint8Array> {
  const tooLarge = () =>
    new SignError(
      'SIGN_RESPONSE_TOO_LARGE',
      `Cannot read the answer of the ${request.service}: more than ${request.maxBytes} bytes`,
    );
  if (Number(response.headers.get('content-length') ?? 0) > request.maxBytes) {
    await response.body?.cancel();
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
    if (length > request.maxBytes) {
      await reader.cancel();
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

function statusError(request: ServiceRequest, response: ServiceResponse): SignError {
  const said = serviceMessage(response.body);
  const message = `the service answered ${response.status}${said === undefined ? '' : `: ${said}`}`;
  if (response.status === 429 || response.status >= 500) {
    return new SignError('SIGN_UNAVAILABLE', `Cannot use the ${request.service} at ${request.url}: ${message}`, {
      status: response.status,
      cure: 'Try again later, or look at the health of the service',
    });
  }
  return new SignError('SIGN_REFUSED', `Cannot use the ${request.service} at ${request.url}: ${message}`, {
    status: response.status,
  });
}

/** The `message` of a service's error body (or a short plain text), made fit to print; undefined if there is none. */
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
  return printable(text);
}

/** One line, at most 300 characters, nothing that could drive a terminal, and never a token that a service echoed. */
export function printable(text: string): string | undefined {
  const line = text
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .replace(/eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]*)*/g, '(token removed)')
    .trim();
  if (line === '') return undefined;
  return line.length > 300 ? `${line.slice(0, 300)}…` : line;
}

/** `Retry-After` in seconds (RFC 9110 §10.2.3); the date form is rare and the usual pause does for it. */
function retryAfterMs(headers: Headers): number | undefined {
  const value = headers.get('retry-after');
  return value !== null && /^\d{1,6}$/.test(value) ? Number(value) * 1000 : undefined;
}

/** `fetch failed` says nothing; its cause says `ECONNREFUSED`. */
function networkReason(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return 'the connection failed';
}
