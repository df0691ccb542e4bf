import { generateKeyPairSync, sign } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { giveTurn } from './turn.js';
import { x509KeyOf } from './x509.js';

/** Works on and on until the event loop has gone round three times; how often it worked, at most `most` times. */
async function untilThreeRounds(most: number, work: () => Promise<void>): Promise<number> {
  let rounds = 0;
  let isOver = false;
  const count = (): void => {
    rounds++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  let times = 0;
  for (; rounds < 3 && times < most; times++) await work();
  isOver = true;
  return times;
}

describe('giveTurn()', () => {
  it('waits for others now and then, not each time', async () => {
    const times = await untilThreeRounds(5_000_000, giveTurn);
    expect(times).toBeGreaterThan(10);
    expect(times).toBeLessThan(5_000_000);
  });

  it('others have their turn while many signatures are checked', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-521' });
    const key = x509KeyOf(encodeUtf8(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()));
    const message = encodeUtf8('message');
    const signature = sign('sha256', message, pair.privateKey);
    const times = await untilThreeRounds(1000, async () => {
      expect(await key.verify(message, signature)).toBe(true);
    });
    expect(times).toBeLessThan(1000);
  });
});
