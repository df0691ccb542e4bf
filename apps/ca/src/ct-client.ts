import { encodeBase64, parseJson, type JsonValue } from '#libs/encoding';
import { CaError } from './errors.js';

/** What a CT log answers to add-pre-chain (RFC 6962 §4.1); the strings are base64. */
export interface AddChainResponse {
  readonly sct_version: number;
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly timestamp: number;
  readonly extensions: string;
  /** DigitallySigned in the TLS presentation language. */
  readonly signature: string;
}

/** Where precertificates go. */
export interface CtLog {
  /** `chain`: DER, the precertificate first, the root last. `signal`: nobody waits any more. Nothing in the answer is believed yet. */
  addPreChain(chain: readonly Uint8Array[], signal?: AbortSignal): Promise<AddChainResponse>;
}

export interface HttpCtLogOptions {
  /** Submission prefix of the log, without `/ct/v1` and without trailing slash. */
  readonly url: string;
  readonly fetch: (url: string, init: RequestInit) => Promise<Response>;
  /** Waits; ends early, without error, when the signal fires. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** For all attempts together. Below the minute that servers and proxies give a request. Default 45 s. */
  readonly deadlineMs?: number;
}

const DEADLINE_MS = 45_000;
const ATTEMPTS = 6;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;
/** An SCT is a few hundred bytes. */
const ANSWER_LIMIT = 16 * 1024;
/** "Try again": too slow, too many, not now. Any other answer is final. */
const PASSING = new Set([408, 429, 503]);

/**
 * A CT log over HTTP. The same precertificate is offered again while the log is busy or out of reach, with longer and longer pauses,
 * until the deadline: a precertificate that was logged without our hearing of it is recognised by the log, so that
 * repeating is harmless; a new serial is for the client's next request.
 */
export function httpCtLog(options: HttpCtLogOptions): CtLog {
  const url = `${options.url}/ct/v1/add-pre-chain`;
  return {
    async addPreChain(chain, stop) {
      const body = JSON.stringify({ chain: chain.map(encodeBase64) });
      const deadline = AbortSignal.timeout(options.deadlineMs ?? DEADLINE_MS);
      const signal = stop === undefined ? deadline : AbortSignal.any([deadline, stop]);
      let last: unknown;
      for (let attempt = 0; attempt < ATTEMPTS && !signal.aborted; attempt++) {
        let askedPauseMs: number | undefined;
        try {
          const response = await options.fetch(url, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body,
            signal,
            redirect: 'error',
          });
          const text = await readText(response);
          if (response.status === 200) return readAnswer(text);
          last = new Error(`status ${response.status}`);
          if (!PASSING.has(response.status)) break;
          askedPauseMs = retryAfterMs(response.headers.get('retry-after'));
        } catch (error) {
          if (error instanceof CaError) throw error;
          last = error;
        }
        const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** attempt, LONGEST_PAUSE_MS);
        await options.sleep(Math.max(pauseMs, askedPauseMs ?? 0), signal);
      }
      const state = deadline.aborted ? 'no answer before the deadline' : 'it refused or could not be reached';
      throw new CaError('CA_LOG', `Cannot submit precertificate to ${options.url}: ${state}`, { cause: last });
    },
  };
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (response.body !== null) {
    // The types of the DOM do not know that Node's streams can be iterated.
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      length += chunk.length;
      if (length > ANSWER_LIMIT)
        throw new CaError('CA_LOG', `Cannot read the CT log's answer: over ${ANSWER_LIMIT} bytes`);
      chunks.push(chunk);
    }
  }
  return Buffer.concat(chunks).toString('utf8');
}

function readAnswer(text: string): AddChainResponse {
  let value: JsonValue;
  try {
    value = parseJson(text);
  } catch (cause) {
    throw new CaError('CA_LOG', "Cannot read the CT log's answer: it is not JSON", { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new CaError('CA_LOG', "Cannot read the CT log's answer: it is not an object");
  }
  const { sct_version, id, timestamp, extensions = '', signature } = value;
  const complete =
    typeof sct_version === 'number' &&
    typeof id === 'string' &&
    typeof timestamp === 'number' &&
    typeof extensions === 'string' &&
    typeof signature === 'string';
  if (!complete) throw new CaError('CA_LOG', "Cannot read the CT log's answer: a member is missing or of another type");
  return { sct_version, id, timestamp, extensions, signature };
}

/** Seconds only: a log that names a date would have to share our clock. */
function retryAfterMs(header: string | null): number | undefined {
  return header !== null && /^\d{1,4}$/.test(header) ? Number(header) * 1000 : undefined;
}
