import type * as Sign from './sign.js';

// Loaded when something is signed: whoever verifies would wait for the clients of all services.

/** See {@link Sign.signImage}. */
export const signImage: typeof Sign.signImage = async (...given) => (await import('./sign.js')).signImage(...given);

/** See {@link Sign.attestImage}. */
export const attestImage: typeof Sign.attestImage = async (...given) =>
  (await import('./sign.js')).attestImage(...given);
