import type * as Attach from './attach.js';
import type * as Clean from './clean.js';
import type * as Copy from './copy.js';
import type * as Save from './save.js';
import type * as Tree from './tree.js';

// Loaded when something is stored, removed or listed: whoever verifies would wait for it.

/** See {@link Attach.attachBundle}. */
export const attachBundle: typeof Attach.attachBundle = async (...given) =>
  (await import('./attach.js')).attachBundle(...given);

/** See {@link Attach.attachLayers}. */
export const attachLayers: typeof Attach.attachLayers = async (...given) =>
  (await import('./attach.js')).attachLayers(...given);

/** See {@link Clean.cleanImage}. */
export const cleanImage: typeof Clean.cleanImage = async (...given) =>
  (await import('./clean.js')).cleanImage(...given);

/** See {@link Copy.copyImage}. */
export const copyImage: typeof Copy.copyImage = async (...given) => (await import('./copy.js')).copyImage(...given);

/** See {@link Save.loadImage}. */
export const loadImage: typeof Save.loadImage = async (...given) => (await import('./save.js')).loadImage(...given);

/** See {@link Save.openSaved}. */
export const openSaved: typeof Save.openSaved = async (...given) => (await import('./save.js')).openSaved(...given);

/** See {@link Save.saveImage}. */
export const saveImage: typeof Save.saveImage = async (...given) => (await import('./save.js')).saveImage(...given);

/** See {@link Tree.listArtifacts}. */
export const listArtifacts: typeof Tree.listArtifacts = async (...given) =>
  (await import('./tree.js')).listArtifacts(...given);
