/**
 * Jobs from one thread to another through shared memory, and their answers back. A message between threads costs its sender more than the jobs that
 * it brings cost to write: here a job is a few hundred bytes copied, and the other side is woken only if it sleeps.
 *
 * One thread writes jobs, one reads them, in order; job n has answer n. Layout: four counters, one byte for each answer on its way, then the ring,
 * in which a job is a 32-bit length and that many bytes in one piece, padded to a multiple of four.
 */

/** Bytes of jobs on their way. */
const RING_BYTES = 1 << 18;
/** A job is in one piece, and must find room behind any other. */
export const MAX_JOB_BYTES = RING_BYTES / 2 - 8;
/** Jobs on their way. */
const MAX_JOBS = 1 << 12;

// Counters only grow, and wrap around at 2^32: what matters is their difference.
const WRITTEN = 0;
const READ = 1;
const ANSWERED = 2;
/** 1 while the reader sleeps, or is about to. */
const ASLEEP = 3;
const COUNTERS = 4;

/** In place of a length: the next job is at the beginning of the ring. */
const WRAP = 0xffff_ffff;

interface Memory {
  readonly counters: Int32Array<SharedArrayBuffer>;
  readonly answers: Uint8Array<SharedArrayBuffer>;
  readonly ring: Uint8Array<SharedArrayBuffer>;
  readonly lengths: DataView<SharedArrayBuffer>;
}

export function createRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(COUNTERS * 4 + MAX_JOBS + RING_BYTES);
}

function memoryOf(shared: SharedArrayBuffer): Memory {
  const answersAt = COUNTERS * 4;
  const ringAt = answersAt + MAX_JOBS;
  return {
    counters: new Int32Array(shared, 0, COUNTERS),
    answers: new Uint8Array(shared, answersAt, MAX_JOBS),
    ring: new Uint8Array(shared, ringAt, RING_BYTES),
    lengths: new DataView(shared, ringAt, RING_BYTES),
  };
}

/** The asking side. */
export class JobWriter {
  readonly #memory: Memory;
  #written = 0;
  #jobs = 0;
  #taken = 0;

  constructor(shared: SharedArrayBuffer) {
    this.#memory = memoryOf(shared);
  }

  /** Whether there was room; if not, there will be when answers have been taken. A job has at most `MAX_JOB_BYTES`. */
  write(job: Uint8Array): boolean {
    const { counters, ring, lengths } = this.#memory;
    if (this.#jobs - this.#taken >= MAX_JOBS) return false;
    const bytes = placeOf(job.length);
    let at = this.#written & (RING_BYTES - 1);
    const skipped = at + bytes > RING_BYTES ? RING_BYTES - at : 0;
    const used = (this.#written - Atomics.load(counters, READ)) | 0;
    if (used + skipped + bytes > RING_BYTES) return false;
    if (skipped > 0) {
      lengths.setUint32(at, WRAP);
      at = 0;
    }
    lengths.setUint32(at, job.length);
    ring.set(job, at + 4);
    this.#written = (this.#written + skipped + bytes) | 0;
    this.#jobs++;
    // The store publishes the bytes above. The reader says that it sleeps before it looks a last time, so one of both sees the other.
    Atomics.store(counters, WRITTEN, this.#written);
    if (Atomics.load(counters, ASLEEP) === 1) Atomics.notify(counters, WRITTEN);
    return true;
  }

  /** Hands over the answers that have come since the last time, in the order of the jobs. */
  take(each: (answer: number) => void): void {
    const { counters, answers } = this.#memory;
    const answered = Atomics.load(counters, ANSWERED);
    while ((this.#taken | 0) !== answered) each(answers[this.#taken++ & (MAX_JOBS - 1)] ?? 0);
  }

  /** Resolves when there are answers to take. */
  async answered(): Promise<void> {
    const waiting = Atomics.waitAsync(this.#memory.counters, ANSWERED, this.#taken | 0);
    if (waiting.async) await waiting.value;
  }
}

/** The answering side. */
export class JobReader {
  readonly #memory: Memory;
  #read = 0;
  #answered = 0;

  constructor(shared: SharedArrayBuffer) {
    this.#memory = memoryOf(shared);
  }

  /** The next job, as a copy of its own: OpenSSL is not to read memory that another thread may write. Undefined if there is none. */
  next(): Uint8Array | undefined {
    const { counters, ring, lengths } = this.#memory;
    if (Atomics.load(counters, WRITTEN) === this.#read) return undefined;
    let at = this.#read & (RING_BYTES - 1);
    let length = lengths.getUint32(at);
    if (length === WRAP) {
      this.#read = (this.#read + RING_BYTES - at) | 0;
      at = 0;
      length = lengths.getUint32(at);
    }
    this.#read = (this.#read + placeOf(length)) | 0;
    return ring.slice(at + 4, at + 4 + length);
  }

  /** Answers the job that `next` gave last, with a byte. */
  answer(result: number): void {
    const { counters, answers } = this.#memory;
    answers[this.#answered & (MAX_JOBS - 1)] = result;
    this.#answered = (this.#answered + 1) | 0;
    Atomics.store(counters, READ, this.#read);
    Atomics.store(counters, ANSWERED, this.#answered);
    Atomics.notify(counters, ANSWERED);
  }

  /** Puts this thread to sleep until there is a job. */
  sleep(): void {
    const { counters } = this.#memory;
    Atomics.store(counters, ASLEEP, 1);
    Atomics.wait(counters, WRITTEN, this.#read);
    Atomics.store(counters, ASLEEP, 0);
  }
}

/** What a job of this length takes of the ring. */
function placeOf(length: number): number {
  return 4 + ((length + 3) & ~3);
}
