import { parseJson, parseUtf8 } from '#libs/encoding';
import { limited, type Authenticator, type Scope } from './auth.js';
import { collect } from './digest.js';
import { OciError, printable, quote } from './error.js';
import { isObject } from './manifest.js';
import { isOwnMachine, parseUrl } from './network.js';
import type { Answer, Transport } from './transport.js';

/** How patient requests are. */
export interface Patience {
  /** How often a request is tried at most when the registry fails or cannot be reached. */
  readonly attempts: number;
  /** For a small answer, whole, in milliseconds; content gets more by its size. */
  readonly timeoutMs: number;
  /** Ends early, in whatever way, once the signal says so. */
  readonly sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  /** From 0 up to 1. */
  readonly jitter: () => number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

export interface RegistryRequest {
  /** The action, for messages: `read manifest sha256:…`. */
  readonly action: string;
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly scopes: readonly Scope[];
  /** Where redirects may lead. What they lead to gets no credentials if it is another origin. Default: nowhere. */
  readonly redirects?: 'anywhere' | 'same-origin';
  /** How many bytes go over the wire: each gets time beside `timeoutMs`. */
  readonly bytes?: number;
  /** Whether it can be sent twice without harm. Default: all but POST and PATCH. */
  readonly isRepeatable?: boolean;
}

const MAX_REDIRECTS = 5;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 30_000;
/** Bytes a millisecond: slower than 16 kB a second is not worth waiting for. */
const SLOWEST = 16;
/** One request without credentials, one with, and one with what the second answer asked for. */
const MAX_AUTH_ROUNDS = 3;
const MAX_TIMEOUT_MS = 24 * 3_600_000;
const MAX_LOCATION = 16_384;
const ERROR_BODY_LIMIT = 16 * 1024;

/** Requests to one registry: authenticated, redirected, tried again. */
export class RegistryHttp {
  readonly #transport: Transport;
  readonly #origin: URL;
  readonly #authenticator: Authenticator;
  readonly #patience: Patience;
  readonly #signal: AbortSignal | undefined;

  constructor(options: {
    transport: Transport;
    origin: URL;
    authenticator: Authenticator;
    patience: Patience;
    signal: AbortSignal | undefined;
  }) {
    this.#transport = options.transport;
    this.#origin = options.origin;
    this.#authenticator = options.authenticator;
    this.#patience = options.patience;
    this.#signal = options.signal;
  }

  /**
   * Sends a request, again if the registry fails for a moment. Returns an answer of any other status than 401, 403, 429
   * and 5xx (but 501), with its body unread.
   * @throws OciError `OCI_NETWORK`, `OCI_UNAVAILABLE`, `OCI_UNAUTHORIZED`, `OCI_DENIED`, `OCI_REDIRECT`, and as `Authenticator`
   */
  async send(request: RegistryRequest): Promise<Answer> {
    const isRepeatable = request.isRepeatable ?? !['POST', 'PATCH'].includes(request.method);
    return this.#again(isRepeatable, () => this.#authenticated(request), request.action);
  }

  /**
   * `send`, for a whole answer of 200 and at most `limit` bytes; one that is in `accept` comes without its body.
   * @throws OciError `OCI_LIMIT`, and as `send` and `statusError`
   */
  async read(
    request: RegistryRequest & { readonly accept?: readonly number[] },
    limit: number,
  ): Promise<{ answer: Answer; bytes: Uint8Array }> {
    for (let attempt = 1; ; attempt++) {
      const answer = await this.send(request);
      if (request.accept?.includes(answer.status)) {
        await answer.discard();
        return { answer, bytes: new Uint8Array(0) };
      }
      if (answer.status !== 200) throw await statusError(request.action, answer);
      try {
        return { answer, bytes: await readBody(request.action, answer, limit) };
      } catch (error) {
        if (!isNetworkError(error) || attempt >= this.#patience.attempts) throw error;
        await this.pause(attempt);
      }
    }
  }

  /** Sends a request to a token service: no redirects, and no credentials but those in it. */
  ask({ url, headers, form }: { url: URL; headers: Readonly<Record<string, string>>; form?: string }): Promise<Answer> {
    const body = form === undefined ? undefined : new TextEncoder().encode(form);
    const send = (): Promise<Answer> =>
      this.#transport.exchange({
        method: form === undefined ? 'GET' : 'POST',
        url,
        headers: {
          accept: 'application/json',
          ...headers,
          ...(body && { 'content-type': 'application/x-www-form-urlencoded' }),
        },
        signal: this.#deadline(0),
        ...(body && { body }),
      });
    return this.#again(true, send, `get a token from ${url.host}`);
  }

  /** Waits before trying something again: longer each time, or as long as the registry asks for. */
  async pause(attempt: number, askedMs?: number): Promise<void> {
    this.#checkEnd();
    const { sleep, jitter } = this.#patience;
    const pauseMs = askedMs ?? FIRST_BACKOFF_MS * 2 ** (attempt - 1) * (0.5 + jitter());
    await sleep(Math.min(pauseMs, MAX_BACKOFF_MS), this.#signal);
    this.#checkEnd();
  }

  /** Nothing is tried again for somebody who no longer waits. */
  #checkEnd(): void {
    if (this.#signal?.aborted !== true) return;
    const cause: unknown = this.#signal.reason;
    const isLate = cause instanceof Error && cause.name === 'TimeoutError';
    const state = isLate ? 'the time that there was for all of it is over' : 'it was called off';
    throw new OciError('OCI_NETWORK', `Cannot reach ${this.#origin.host}: ${state}`, { cause });
  }

  async #again(isRepeatable: boolean, send: () => Promise<Answer>, action: string): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      const isLast = !isRepeatable || attempt >= this.#patience.attempts;
      let askedMs: number | undefined;
      try {
        const answer = await send();
        if (!isMomentary(answer.status)) return answer;
        if (isLast) throw await statusError(action, answer);
        askedMs = retryAfterMs(answer, this.#patience.now());
        await answer.discard();
      } catch (error) {
        if (isLast || !isNetworkError(error)) throw error;
      }
      await this.pause(attempt, askedMs);
    }
  }

  async #authenticated(request: RegistryRequest): Promise<Answer> {
    let header = await this.#authenticator.header(request.scopes);
    for (let round = 1; ; round++) {
      const answer = await this.#redirected(request, header);
      if (answer.status === 403) throw await statusError(request.action, answer);
      if (answer.status !== 401) return answer;
      // Whoever we were redirected to has no claim on credentials.
      if (answer.url.origin !== this.#origin.origin || round === MAX_AUTH_ROUNDS)
        throw await statusError(request.action, answer);
      const challenge = answer.header('www-authenticate');
      const next = await this.#authenticator.answer(challenge, request.scopes, header);
      if (next === undefined) throw await statusError(request.action, answer);
      await answer.discard();
      header = next;
    }
  }

  async #redirected(request: RegistryRequest, authorization: string | undefined): Promise<Answer> {
    const { method, headers = {}, body, bytes = 0 } = request;
    let { url } = request;
    let credentials = authorization === undefined ? {} : { authorization };
    const signal = this.#deadline(bytes + (body?.length ?? 0));
    for (let hops = 0; ; hops++) {
      const answer = await this.#transport.exchange({
        method,
        url,
        headers: { ...headers, ...credentials },
        signal,
        ...(body !== undefined && { body }),
      });
      if (![301, 302, 303, 307, 308].includes(answer.status)) return answer;
      await answer.discard();
      const target = this.#redirectTarget(request, answer, hops);
      // Once it has left, a request stays without: whoever we were sent to could send it back anywhere.
      if (target.origin !== this.#origin.origin) credentials = {};
      url = target;
    }
  }

  #redirectTarget({ action, redirects }: RegistryRequest, answer: Answer, hops: number): URL {
    const { url, status } = answer;
    const refuse = (state: string): OciError =>
      new OciError('OCI_REDIRECT', `Cannot ${action}: ${url.host} answered with a redirect, ${state}`, { status });
    const target = locationOf(answer);
    if (target === undefined) throw refuse('which leads nowhere');
    if (redirects === undefined) throw refuse('which is not followed here');
    if (hops === MAX_REDIRECTS) throw refuse(`the ${MAX_REDIRECTS + 1}th one`);
    if (target.protocol !== 'https:' && (target.protocol !== 'http:' || url.protocol === 'https:')) {
      throw refuse(`from ${url.protocol.slice(0, -1)} to ${target.protocol.slice(0, -1)}`);
    }
    if (target.username !== '' || target.password !== '') throw refuse('which has a user name in it');
    if (redirects === 'same-origin' && target.origin !== this.#origin.origin) {
      throw refuse(`which leads to ${quote(target.host)}`);
    }
    if (target.host !== url.host && isOwnMachine(target.hostname) && !isOwnMachine(this.#origin.hostname)) {
      throw refuse(`which leads to this machine, as ${quote(target.host)}`);
    }
    return target;
  }

  #deadline(bytes: number): AbortSignal {
    const milliseconds = Math.ceil(this.#patience.timeoutMs + bytes / SLOWEST);
    const own = AbortSignal.timeout(Math.min(milliseconds, MAX_TIMEOUT_MS));
    return this.#signal === undefined ? own : AbortSignal.any([own, this.#signal]);
  }
}

/** 501 is a registry's last word: it does not know how. */
function isMomentary(status: number): boolean {
  return status === 429 || (status >= 500 && status !== 501);
}

/** Where an answer sends us; undefined if it does not say. */
export function locationOf(answer: Answer): URL | undefined {
  const text = answer.header('location');
  return typeof text === 'string' && text.length <= MAX_LOCATION ? parseUrl(text, answer.url) : undefined;
}

/** Whether it may work the next time. */
export function isNetworkError(error: unknown): boolean {
  return error instanceof OciError && error.code === 'OCI_NETWORK';
}

/** The whole body. @throws OciError `OCI_LIMIT`, `OCI_NETWORK` */
export async function readBody(action: string, answer: Answer, limit: number): Promise<Uint8Array> {
  const tooLarge = (): OciError =>
    new OciError('OCI_LIMIT', `Cannot ${action}: the answer is larger than ${limit} bytes`);
  // The announced length is believed only when it is too large.
  const announced = answer.header('content-length');
  if (typeof announced === 'string' && Number(announced) > limit) {
    await answer.discard();
    throw tooLarge();
  }
  return collect(limited(answer.body, limit, tooLarge));
}

/** What an answer's status means; the registry's own words, if there are some, are quoted. Discards the answer. */
export async function statusError(action: string, answer: Answer): Promise<OciError> {
  const { status } = answer;
  const said = await errorMessage(answer);
  const message = `Cannot ${action}: ${answer.url.host} answered ${status}${said === undefined ? '' : `, ${said}`}`;
  if (status === 404) return new OciError('OCI_NOT_FOUND', message, { status });
  if (status === 401) {
    return new OciError('OCI_UNAUTHORIZED', message, {
      status,
      cure: 'Log in to the registry, or check the credentials',
    });
  }
  if (status === 403) {
    return new OciError('OCI_DENIED', message, { status, cure: 'Ask for the right to do this in this repository' });
  }
  if (isMomentary(status)) {
    return new OciError('OCI_UNAVAILABLE', message, { status, cure: 'Try again later' });
  }
  if (status === 405 || status === 501) return new OciError('OCI_UNSUPPORTED', message, { status });
  return new OciError('OCI_REFUSED', message, { status });
}

/** The first error of the body that the protocol wants (distribution-spec: spec.md, Error Codes). */
async function errorMessage(answer: Answer): Promise<string | undefined> {
  try {
    const bytes = await collect(limited(answer.body, ERROR_BODY_LIMIT, () => new Error('larger than an error is')));
    const json = parseJson(parseUtf8(bytes), { maxDepth: 16 });
    const errors = isObject(json) ? json['errors'] : undefined;
    const first = Array.isArray(errors) ? errors[0] : undefined;
    if (!isObject(first)) return undefined;
    const said = [first['code'], first['message']].filter((one) => typeof one === 'string').join(': ');
    return said === '' ? undefined : printable(said);
  } catch {
    await answer.discard();
    return undefined; // it said nothing that could be quoted; its status is the error
  }
}

/** `Retry-After`: seconds, or a date (RFC 9110 §10.2.3). */
function retryAfterMs(answer: Answer, nowMs: number): number | undefined {
  const value = answer.header('retry-after');
  if (typeof value !== 'string') return undefined;
  if (/^\d{1,6}$/.test(value)) return Number(value) * 1000;
  const until = value.endsWith(' GMT') ? Date.parse(value) : Number.NaN;
  return Number.isNaN(until) ? undefined : Math.max(0, until - nowMs);
}
