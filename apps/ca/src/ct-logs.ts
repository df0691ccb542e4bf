import type { CryptoPort, PublicKey } from '#libs/crypto';
import { encodeHex, EncodingError, equalBytes, parseBase64 } from '#libs/encoding';
import { ConfigError, describe, type Log } from '#libs/nest';
import { merkleTreeLeaf, parseDigitallySigned, type Sct, sctScheme, X509Error } from '#libs/x509';
import type { AddChainResponse, CtLog } from './ct-client.js';
import { CaError } from './errors.js';

/** A CT log that precertificates are submitted to. */
export interface KnownCtLog {
  /** For our log and metrics: the log's URL, or a word of ours. */
  readonly name: string;
  readonly log: CtLog;
  /** The key that its SCTs are verified with: P-256, or RSA of at least 2048 bits. */
  readonly key: PublicKey;
}

export interface CtLogsOptions {
  readonly logs: readonly KnownCtLog[];
  /** How many SCTs a certificate needs; it gets exactly as many. Default 1, which is all that some clients can read. */
  readonly minimum?: number;
  readonly crypto: CryptoPort;
  readonly now: () => Date;
  /** Waits; ends early, without error, when the signal fires. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly report: Log;
  /** A log that has not answered by then has failed, though its answer is still taken. Default 5 s. */
  readonly patienceMs?: number;
}

/** A precertificate, and what its logs sign. */
export interface Submission {
  /** DER, the precertificate first, the root last. */
  readonly chain: readonly Uint8Array[];
  /** SHA-256 of the issuer's SubjectPublicKeyInfo as it stands in its certificate (RFC 6962 §3.2). */
  readonly issuerKeyHash: Uint8Array;
  /** The precertificate's TBSCertificate without poison. */
  readonly tbs: Uint8Array;
}

/** How a log does. */
export interface CtLogState {
  readonly name: string;
  /** Its last answer was good. Else it is left alone, but for a try now and then. */
  readonly working: boolean;
  readonly failures: number;
  readonly scts: number;
}

const PATIENCE_MS = 5_000;
const FIRST_REST_MS = 10_000;
const LONGEST_REST_MS = 300_000;

/**
 * Several CT logs, of which any `minimum` suffice: all are asked at once, and the first answers that hold make the certificate. A log that fails, lies
 * or is slow is left alone for a while, longer each time, and then tried with one precertificate; unless without it too few would be left, then it is asked
 * as if nothing had been, also when another one fails in the middle of a request. The first failure is reported, not the last: when too few are left it is too late.
 */
export class CtLogs {
  readonly minimum: number;
  readonly #logs: readonly LogHealth[];
  readonly #options: CtLogsOptions;

  /** @throws ConfigError if the logs can never give that many SCTs */
  constructor(options: CtLogsOptions) {
    const { logs, minimum = 1 } = options;
    if (!Number.isInteger(minimum) || minimum < 1 || minimum > logs.length) {
      throw new ConfigError([`CT logs: ${minimum} SCTs are demanded of ${logs.length} logs`]);
    }
    this.#options = options;
    this.minimum = minimum;
    this.#logs = logs.map((log) => new LogHealth(log, options));
    // Two SCTs of one log are one promise (RFC 6962 §3.3 wants several logs).
    const ids = new Set(this.#logs.map(({ logId }) => encodeHex(logId)));
    if (ids.size !== logs.length) throw new ConfigError(['CT logs: two of them have the same key']);
  }

  /** How each log does now. */
  states(): readonly CtLogState[] {
    return this.#logs.map((log) => log.state());
  }

  /**
   * Submits a precertificate. The SCTs are verified, each of another log, in the order of the logs.
   * @throws CaError `CA_LOG` if fewer than `minimum` logs gave one
   */
  async submit(submission: Submission): Promise<readonly Sct[]> {
    const [only, ...others] = this.#logs;
    // No race and no timers where there is nothing to choose.
    if (only && others.length === 0) return [await this.#ask(only, submission, undefined)];
    return this.#race(submission);
  }

  async #race(submission: Submission): Promise<readonly Sct[]> {
    const nowMs = this.#options.now().getTime();
    const isEnough = this.#logs.filter((log) => !log.resting).length >= this.minimum;
    const asked = new Set(this.#logs.filter((log) => !log.resting || log.takeTrial(nowMs) || !isEnough));
    /** Those of which an answer can still be hoped for, or is there. */
    const hopeful = new Set(asked);
    const scts = new Map<LogHealth, Sct>();
    const failures: unknown[] = [];
    // What is not needed any more is still waited for until it is too slow: a late answer shows that a log works.
    const settled = new AbortController();
    // Ends, for every submission does: requests to other servers have a deadline, and no log is asked twice.
    await new Promise<void>((resolve) => {
      const ask = (log: LogHealth): void => {
        const lostHope = (): void => {
          hopeful.delete(log);
          if (hopeful.size >= this.minimum || settled.signal.aborted) return;
          // Those that are left alone may work by now: this certificate would have nothing to lose.
          const left = this.#logs.filter((other) => !asked.has(other));
          for (const other of left) {
            asked.add(other);
            hopeful.add(other);
          }
          left.forEach(ask);
        };
        this.#ask(log, submission, { settled: settled.signal, tooSlow: lostHope })
          .then(
            (sct) => {
              scts.set(log, sct);
              // It may have been given up as too slow.
              hopeful.add(log);
            },
            (error: unknown) => {
              failures.push(error);
              lostHope();
            },
          )
          .finally(() => {
            if (scts.size >= this.minimum || scts.size + failures.length === asked.size) resolve();
          });
      };
      [...asked].forEach(ask);
    });
    settled.abort();
    const found = this.#logs.flatMap((log) => scts.get(log) ?? []).slice(0, this.minimum);
    if (found.length === this.minimum) return found;
    throw new CaError('CA_LOG', `Cannot log precertificate: ${found.length} SCTs of ${this.minimum} that are needed`, {
      cause: new Error(failures.map(describe).join(' | ')),
    });
  }

  /**
   * One log's SCT. `race`: `settled` fires when the answer is not needed any more; `tooSlow` is told when there is none in time.
   * @throws CaError `CA_LOG`
   */
  async #ask(
    log: LogHealth,
    submission: Submission,
    race: { settled: AbortSignal; tooSlow: () => void } | undefined,
  ): Promise<Sct> {
    const { crypto, now } = this.#options;
    const answered = new AbortController();
    const patience = race && this.#watch(log, { ...race, answered: answered.signal });
    try {
      const sct = readSct(await submitTo(log.known, submission.chain, patience?.stop));
      await verify(sct, log, submission, crypto);
      log.succeeded();
      return sct;
    } catch (error) {
      if (!patience?.isOver()) log.failed(now().getTime(), error);
      throw error;
    } finally {
      answered.abort();
    }
  }

  /** A log that is too slow has failed; its answer is still waited for, but only as long as it is needed. */
  #watch(
    log: LogHealth,
    { answered, settled, tooSlow }: { answered: AbortSignal; settled: AbortSignal; tooSlow: () => void },
  ): { stop: AbortSignal; isOver: () => boolean } {
    const { now, sleep, patienceMs = PATIENCE_MS } = this.#options;
    const stop = new AbortController();
    let isOver = false;
    void sleep(patienceMs, answered).then(() => {
      if (answered.aborted) return;
      isOver = true;
      log.failed(now().getTime(), new Error(`no answer in ${patienceMs} ms`));
      tooSlow();
      if (settled.aborted) stop.abort();
      else settled.addEventListener('abort', () => !answered.aborted && stop.abort(), { once: true });
    });
    return { stop: stop.signal, isOver: () => isOver };
  }
}

/** A log and how it did lately. */
class LogHealth {
  readonly logId: Uint8Array;
  #failures = 0;
  #scts = 0;
  /** How often it was left alone since it last worked; 0 is one that works. */
  #rests = 0;
  #restsUntilMs = 0;
  /** One precertificate is on its way to see whether it works again. */
  #onTrial = false;
  readonly #report: Log;

  constructor(
    readonly known: KnownCtLog,
    { crypto, report }: CtLogsOptions,
  ) {
    this.logId = crypto.hash('sha256', known.key.spki);
    this.#report = report;
  }

  get resting(): boolean {
    return this.#rests > 0;
  }

  state(): CtLogState {
    return { name: this.known.name, working: !this.resting, failures: this.#failures, scts: this.#scts };
  }

  /** Whether one that rests may be tried now; while it is, nobody else may. */
  takeTrial(nowMs: number): boolean {
    if (this.#onTrial || nowMs < this.#restsUntilMs) return false;
    this.#onTrial = true;
    return true;
  }

  succeeded(): void {
    this.#scts++;
    this.#onTrial = false;
    if (!this.resting) return;
    this.#rests = 0;
    this.#report.info('CT log works again', { ctLog: this.known.name });
  }

  failed(nowMs: number, error: unknown): void {
    this.#failures++;
    // What was under way when it failed, and what is sent because nothing else is left, makes the rest no longer and is no news.
    if (this.resting && !this.#onTrial) return;
    this.#onTrial = false;
    const restMs = Math.min(FIRST_REST_MS * 2 ** this.#rests, LONGEST_REST_MS);
    this.#rests++;
    this.#restsUntilMs = nowMs + restMs;
    this.#report.warn('CT log failed', { ctLog: this.known.name, restMs, error: describe(error) });
  }
}

async function submitTo(
  { log }: KnownCtLog,
  chain: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<AddChainResponse> {
  try {
    return await log.addPreChain(chain, signal);
  } catch (cause) {
    if (cause instanceof CaError) throw cause;
    throw new CaError('CA_LOG', 'Cannot submit precertificate: the CT log failed', { cause });
  }
}

/** That the log promised to include exactly this precertificate, in its own name. @see RFC 6962 §3.2 */
async function verify(sct: Sct, log: LogHealth, submission: Submission, crypto: CryptoPort): Promise<void> {
  const { timestampMs, extensions } = sct;
  const { issuerKeyHash, tbs } = submission;
  const { key } = log.known;
  const input = merkleTreeLeaf({ timestampMs, extensions, entry: { kind: 'precert', issuerKeyHash, tbs } });
  if (!equalBytes(sct.logId, log.logId)) {
    throw new CaError('CA_LOG', "Cannot use SCT: its log id is not that of the CT log's key");
  }
  if (!(await crypto.verify(key, sctScheme(sct, key), input, sct.signature))) {
    throw new CaError('CA_LOG', "Cannot use SCT: its signature over this precertificate is not by the CT log's key");
  }
}

function readSct(response: AddChainResponse): Sct {
  if (response.sct_version !== 0 || !Number.isSafeInteger(response.timestamp) || response.timestamp < 0) {
    throw new CaError('CA_LOG', "Cannot read the CT log's answer: version or timestamp is not that of an SCT");
  }
  try {
    return {
      version: 0,
      logId: parseBase64(response.id),
      timestampMs: BigInt(response.timestamp),
      // Opaque, and part of what is signed: carried as it came.
      extensions: parseBase64(response.extensions),
      ...parseDigitallySigned(parseBase64(response.signature)),
    };
  } catch (cause) {
    if (!(cause instanceof EncodingError) && !(cause instanceof X509Error)) throw cause;
    throw new CaError('CA_LOG', "Cannot read the CT log's answer: a member is not base64 or not a signature", {
      cause,
    });
  }
}
