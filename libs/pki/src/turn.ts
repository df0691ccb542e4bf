import { setImmediate } from 'node:timers/promises';

/** Work goes on for about so long before others have their turn, milliseconds. */
const TURN = 10;
let begin = performance.now();

/**
 * Lets the event loop go round if nobody else has had a turn for long. Checking one signature takes a millisecond at most, but an entry may ask for a
 * hundred checks and a request for ten entries; as long as all of that only awaits what is there already, no other request would be read.
 */
export async function giveTurn(): Promise<void> {
  if (performance.now() - begin < TURN) return;
  await setImmediate();
  begin = performance.now();
}
