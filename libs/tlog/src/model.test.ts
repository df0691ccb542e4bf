import fc from 'fast-check';
import { expect, test } from 'vitest';
import { annexedEntriesFormat } from './annexed-entry.js';
import { TestLog } from './test-log.js';

/** What may happen to a log, beside a list of texts in which nothing appears twice. */
type Step =
  | { kind: 'add'; texts: number[]; frontEnd: number }
  | { kind: 'restart' }
  | { kind: 'wait'; ms: number }
  | { kind: 'drop' | 'reindex'; frontEnd: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      texts: fc.oneof(
        fc.array(fc.integer({ min: 0, max: 900 }), { maxLength: 12 }),
        // A run that fills a bundle now and then.
        fc
          .tuple(fc.integer({ min: 0, max: 700 }), fc.integer({ min: 1, max: 200 }))
          .map(([start, length]) => Array.from({ length }, (_, n) => start + n)),
      ),
      frontEnd: fc.integer({ min: 0, max: 1 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom('drop' as const, 'reindex' as const),
      frontEnd: fc.integer({ min: 0, max: 1 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: -5000, max: 5000 }) }),
  },
);

test(
  'a log is a list without duplicates, whatever the batches, restarts, clocks and front ends',
  { timeout: 240_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const { log, tree } = await TestLog.create({ format: annexedEntriesFormat });
        const model: string[] = [];
        let frontEnds = [tree, await log.open()];
        let lastTime = 0n;
        /** As long as nobody dropped it, or after it was rebuilt. */
        let indexed = true;
        try {
          for (const step of steps) {
            if (step.kind === 'wait') log.nowMs += step.ms;
            if (step.kind === 'restart') frontEnds = [await log.restart({ scrubShare: 1 }), await log.open()];
            if (step.kind === 'drop') {
              await frontEnds[step.frontEnd]!.dropIndex();
              indexed = model.length === 0;
            }
            if (step.kind === 'reindex') {
              await frontEnds[step.frontEnd]!.reindex({ keysOf: (record) => log.keysOf(log.textOf(record)) });
              indexed = true;
            }
            if (step.kind !== 'add') continue;
            const texts = step.texts.map(String);
            const chosen = frontEnds[step.frontEnd]!;
            const receipts = await log.addAll(chosen, texts);
            texts.forEach((text, at) => {
              const known = model.indexOf(text);
              expect(receipts[at]).toMatchObject({
                index: BigInt(known < 0 ? model.length : known),
                duplicate: known >= 0,
              });
              if (known < 0) model.push(text);
            });
            expect((await chosen.refresh()).size).toBe(BigInt(model.length));
            expect(chosen.head().timestampMs).toBeGreaterThanOrEqual(lastTime);
            lastTime = chosen.head().timestampMs;
          }
          for (const each of frontEnds) {
            await each.refresh();
            await log.check(each);
            expect(await each.indexedSize()).toBe(indexed ? BigInt(model.length) : 0n);
            await each.reindex({ keysOf: (record) => log.keysOf(log.textOf(record)) });
            await log.checkIndex(each);
            indexed = true;
          }
        } finally {
          await log.remove();
        }
      }),
      { numRuns: 25 },
    );
  },
);
