import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeUtf8 } from '#libs/encoding';
import { checkContent, digestOf, OciError } from './index.js';

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

describe('digestOf()', () => {
  it('knows the digests of nothing', () => {
    expect(digestOf(new Uint8Array(0))).toBe('sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    expect(digestOf(new Uint8Array(0), 'sha512')).toMatch(/^sha512:cf83e1357eefb8bd[0-9a-f]{112}$/);
  });
});

describe('checkContent()', () => {
  it('property: passes on what is right, and never the end of what is wrong', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 }),
        fc.constantFrom('right', 'digest', 'larger', 'smaller'),
        async (chunks, wrong) => {
          const whole = concatBytes(...chunks);
          const size = whole.length + (wrong === 'larger' ? 1 : wrong === 'smaller' ? -1 : 0);
          const digest = digestOf(wrong === 'digest' ? encodeUtf8('something else than twenty bytes') : whole);
          const got: Uint8Array[] = [];
          const read = (async () => {
            for await (const chunk of checkContent(stream(chunks), { digest, size }, 'it')) got.push(chunk);
          })();
          if (wrong === 'right') {
            await read;
            expect(concatBytes(...got)).toEqual(whole);
          } else {
            await expect(read).rejects.toBeInstanceOf(OciError);
            expect(concatBytes(...got).length).toBeLessThan(Math.max(whole.length, 1));
          }
        },
      ),
    );
  });

  it('stops at the first byte too many, without waiting for the end', async () => {
    let given = 0;
    const endless = async function* (): AsyncGenerator<Uint8Array> {
      for (;;) {
        given++;
        yield new Uint8Array(10);
      }
    };
    const read = async (): Promise<void> => {
      for await (const _ of checkContent(endless(), { digest: digestOf(new Uint8Array(25)), size: 25 }, 'it'));
    };
    await expect(read()).rejects.toMatchObject({
      code: 'OCI_SIZE',
      message: 'Cannot use it: it is larger than 25 bytes',
    });
    expect(given).toBe(3);
  });
});
