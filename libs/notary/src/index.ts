/**
 * Reading the repositories of Notary v1, which Docker Content Trust is: what they say that tags mean, verified from a pinned root down.
 *
 * Not TUF 1.0: types have capitals, hashes and signatures are base64, ECDSA signatures are r ‖ s, keys are base64 of DER, of 32 bytes (Ed25519) or of
 * PEM certificates, and the files are called `targets/releases.<sha256>` and so on:
 *
 *   {"signed":{"_type":"Targets","delegations":{"keys":{},"roles":[]},"expires":"2029-11-21T22:36:39.44535765Z",
 *              "targets":{"v1":{"hashes":{"sha256":"aiudK3sP…"},"length":528}},"version":5},
 *    "signatures":[{"keyid":"9c62501e…","method":"ecdsa","sig":"mvaK70rS…"}]}
 *
 *     const repository = await readNotaryRepository({ gun, source, pin: { kind: 'hash', sha256: ['4323879e…'] }, crypto, nowMs: Date.now() });
 *     repository.tags;   // [{ tag: 'v1', digest: 'sha256:6a2b…', size: 528, role: 'targets', signers: [] }]
 *
 * Not here: writing such repositories, HTTP, and what takes their place (`tags`).
 */
export { NotaryError, type NotaryErrorCode } from './error.js';
export {
  readNotaryRepository,
  type NotaryRepository,
  type NotaryRole,
  type NotarySigner,
  type NotaryTarget,
  type ReadNotaryOptions,
} from './repository.js';
export { type NotaryPin, type NotarySource } from './root.js';
