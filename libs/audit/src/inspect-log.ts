import { Worker } from 'node:worker_threads';
import { TILE_WIDTH } from '#libs/merkle';
import { AuditError, type AuditErrorCode } from './error.js';
import { Inspector, type Findings } from './inspect.js';
import { inspectSource, type Places } from './inspect-objects.js';
import type { Layout } from './layout.js';
import { annexPath, MAX_ANNEX_BYTES, type LogSource } from './source.js';
import type { TextFilter } from './text-filter.js';

/** What a thread is started with. */
export interface ThreadSetting {
  folder: string;
  layout: Layout;
  size: bigint;
  filter: TextFilter | undefined;
}
/** What it is asked. */
export type ThreadOrder = Omit<Places, 'size'>;
/** What it answers, in the order of the orders. */
export type ThreadAnswer = { findings: Findings } | { failure: { code: AuditErrorCode | undefined; message: string } };

export interface InspectOptions {
  source: LogSource;
  layout: Layout;
  size: bigint;
  /** Picks entries: see `Findings.picked`. */
  filter: TextFilter | undefined;
  /** Threads, for a folder only; with 0 this thread does it. A thread needs compiled code. */
  threads: number;
  /** Stops between two places. */
  signal?: AbortSignal;
}

/** Bundles that a thread reads at once: half a second's work would make the bar jump, and few make hand-over cost. */
const FOLDER_PLACES = 16;
const URL_PLACES = 4;

/**
 * Reads all entries of a log and gives the findings of each stretch, as they come; the stretches tile the log, but in no order.
 * @throws AuditError as `LogSource.read`; `AUDIT_STOPPED` when the signal says so
 */
export async function* inspectLog(options: InspectOptions): AsyncGenerator<{ places: Places; findings: Findings }> {
  const { source, size, threads } = options;
  const bundles = (size + BigInt(TILE_WIDTH) - 1n) / BigInt(TILE_WIDTH);
  const step = source.folder === undefined ? URL_PLACES : FOLDER_PLACES;
  const stretches = (function* (): Generator<Places> {
    for (let first = 0n; first < bundles; first += BigInt(step)) {
      const left = bundles - first;
      yield { first, count: left < BigInt(step) ? Number(left) : step, size };
    }
  })();
  const readers =
    source.folder !== undefined && threads > 0
      ? threadReaders(options, source.folder)
      : await inlineReaders(options, source);
  try {
    yield* inAnyOrder(stretches, readers.readers, options.signal);
  } finally {
    await readers.close();
  }
}

type Reader = (places: Places) => Promise<Findings>;
interface Readers {
  readers: Reader[];
  close(): Promise<void>;
}

async function inlineReaders({ layout, filter, size }: InspectOptions, source: LogSource): Promise<Readers> {
  // Whoever has annexes has one beside the first bundle.
  const width = size < BigInt(TILE_WIDTH) ? Number(size) : TILE_WIDTH;
  const withAnnex =
    layout === 'tlog-tiles' && size > 0n && (await source.read(annexPath(0n, width), MAX_ANNEX_BYTES)) !== undefined;
  const inspector = new Inspector(layout, filter);
  const reader: Reader = (places) => inspectSource(inspector, source, places, withAnnex);
  // Each stretch is several requests, which the source lets through a few at a time.
  const readers = Array.from({ length: Math.max(2, Math.ceil(source.concurrency / URL_PLACES)) }, () => reader);
  return { readers, close: async () => undefined };
}

function threadReaders({ layout, size, filter, threads }: InspectOptions, folder: string): Readers {
  const setting: ThreadSetting = { folder, layout, size, filter };
  const workers = Array.from({ length: threads }, () => new ReadingThread(setting));
  return {
    // Two orders at a thread: one that it works on, and one that it finds when it is done.
    readers: workers.flatMap((worker) => [worker.read, worker.read]),
    close: async () => void (await Promise.all(workers.map((worker) => worker.close()))),
  };
}

class ReadingThread {
  readonly #worker: Worker;
  #waiting: { resolve: (findings: Findings) => void; reject: (error: Error) => void }[] = [];

  constructor(setting: ThreadSetting) {
    this.#worker = new Worker(new URL('./inspect-worker.js', import.meta.url), { workerData: setting });
    this.#worker.on('message', (answer: ThreadAnswer) => this.#settle(answer));
    this.#worker.on('error', (cause) => this.#lost(new Error('A reading thread failed', { cause })));
    this.#worker.on('exit', () => this.#lost(new Error('A reading thread ended')));
  }

  readonly read: Reader = ({ first, count }) =>
    new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#worker.postMessage({ first, count } satisfies ThreadOrder);
    });

  close(): Promise<unknown> {
    return this.#worker.terminate();
  }

  #settle(answer: ThreadAnswer): void {
    const next = this.#waiting.shift();
    if ('findings' in answer) next?.resolve(answer.findings);
    else {
      const { code, message } = answer.failure;
      next?.reject(code === undefined ? new Error(message) : new AuditError(code, message));
    }
  }

  #lost(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}

/** Hands the stretches to the readers, each of which has one at a time. */
async function* inAnyOrder(
  stretches: Iterator<Places>,
  readers: readonly Reader[],
  signal: AbortSignal | undefined,
): AsyncGenerator<{ places: Places; findings: Findings }> {
  type Done = { reader: Reader; places: Places; findings: Findings; key: object };
  const running = new Map<object, Promise<Done>>();
  const start = (reader: Reader): void => {
    const { done, value: places } = stretches.next() as IteratorResult<Places, undefined>;
    if (done === true) return;
    const key = {};
    const work = reader(places).then((findings) => ({ reader, places, findings, key }));
    // Whoever fails first is heard below; the others are not waited for any more.
    work.catch(() => undefined);
    running.set(key, work);
  };
  readers.forEach(start);
  while (running.size > 0) {
    if (signal?.aborted) throw new AuditError('AUDIT_STOPPED', 'Cannot go on: reading was stopped');
    const { reader, places, findings, key } = await Promise.race(running.values());
    running.delete(key);
    start(reader);
    yield { places, findings };
  }
}
