import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRing, JobReader, JobWriter, MAX_JOB_BYTES } from './job-ring.js';

function ring(): { writer: JobWriter; reader: JobReader } {
  const shared = createRing();
  return { writer: new JobWriter(shared), reader: new JobReader(shared) };
}

/** Compared as a whole: a matcher would look at each of a hundred thousand bytes. */
const same = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a === undefined || b === undefined ? a === b : Buffer.from(a).equals(b);

function taken(writer: JobWriter): number[] {
  const answers: number[] = [];
  writer.take((answer) => answers.push(answer));
  return answers;
}

describe('the ring of jobs', () => {
  it('is a queue: jobs come out as they went in, answers in the order of the jobs, whatever is done when', () => {
    const action = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('write' as const), length: fc.nat(60_000) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('write' as const), length: fc.nat(9) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('answer' as const) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const) }) },
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
        const { writer, reader } = ring();
        let [number, used, answered] = [0, 0, 0];
        const queued: Uint8Array[] = [];
        const expected: number[] = [];
        for (const step of actions) {
          if (step.do === 'write') {
            const job = new Uint8Array(step.length).fill(number++);
            const written = writer.write(job);
            // Half of the ring is always enough for one more.
            if (used + step.length <= MAX_JOB_BYTES / 2) expect(written).toBe(true);
            if (!written) continue;
            queued.push(job);
            used += step.length + 8;
          } else if (step.do === 'answer') {
            const job = reader.next();
            expect(same(job, queued.shift())).toBe(true);
            if (job === undefined) continue;
            used -= job.length + 8;
            reader.answer(answered & 0xff);
            expected.push(answered++ & 0xff);
          } else {
            expect(taken(writer)).toEqual(expected.splice(0));
          }
        }
      }),
    );
  });

  it('takes the longest job wherever the last one ended', () => {
    const { writer, reader } = ring();
    for (let round = 0; round < 50; round++) {
      for (const length of [round * 37, MAX_JOB_BYTES]) {
        const job = new Uint8Array(length).fill(round);
        expect(writer.write(job)).toBe(true);
        expect(same(reader.next(), job)).toBe(true);
        reader.answer(round);
        expect(taken(writer)).toEqual([round]);
      }
    }
  });

  it('refuses more jobs than it has answers for, until answers are taken', () => {
    const { writer, reader } = ring();
    let written = 0;
    while (writer.write(new Uint8Array(1))) written++;
    expect(written).toBe(4096);
    expect(reader.next()).toHaveLength(1);
    reader.answer(7);
    expect(writer.write(new Uint8Array(1))).toBe(false);
    expect(taken(writer)).toEqual([7]);
    expect(writer.write(new Uint8Array(1))).toBe(true);
  });

  it('gives copies: a job is not changed by those that come later', () => {
    const { writer, reader } = ring();
    writer.write(Uint8Array.of(1, 2, 3));
    const job = reader.next();
    reader.answer(0);
    for (let at = 0; at < 5; at++) {
      writer.write(new Uint8Array(MAX_JOB_BYTES));
      reader.next();
      reader.answer(0);
    }
    expect(job).toEqual(Uint8Array.of(1, 2, 3));
  });

  it('answered() resolves when there is something to take, also if it was there before', async () => {
    const { writer, reader } = ring();
    writer.write(new Uint8Array(1));
    const waiting = writer.answered();
    reader.next();
    reader.answer(1);
    await waiting;
    await writer.answered();
    expect(taken(writer)).toEqual([1]);
  });
});
