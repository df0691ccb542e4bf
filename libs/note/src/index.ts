/**
 * Signed notes (C2SP signed-note) and what logs write in them: checkpoints (C2SP tlog-checkpoint), RFC 6962 tree
 * heads (C2SP static-ct-api), and the cosignatures of witnesses (C2SP tlog-cosignature). Reads, writes, signs and
 * verifies them.
 *
 * Not here: trees and proofs (`merkle`), which keys to trust (`trust`), and where a checkpoint is stored or served.
 *
 *     log2025-alpha1.rekor.sigstage.dev                 origin: the log's name
 *     736                                               tree size
 *     rs1YPY0ydAV0lxgfrq5pE4oRpUJwo3syeps5+eGUTDI=      root hash
 *
 *     — log2025-alpha1.rekor.sigstage.dev 8w1amdbj…     em dash, key name, base64 of key id and signature
 *
 *     const verifier = ed25519NoteVerifier(name, key, crypto);
 *     const { size, rootHash } = await verifyCheckpoint(text, [verifier], { origin: name });
 */
export { NoteError, type NoteErrorCode } from './error.js';
export {
  encodeNote,
  encodeSignatureLines,
  isKeyName,
  MAX_NOTE_LENGTH,
  MAX_NOTE_SIGNATURES,
  type Note,
  type NoteSignature,
  parseNote,
  parseSignatureLines,
} from './note.js';
export { type Checkpoint, encodeCheckpoint, parseCheckpoint } from './checkpoint.js';
export { encodeVerifierKey, type NoteKey, noteKeyHash, type NoteKeyKind, noteLogId, parseVerifierKey } from './key.js';
export {
  cosignatureSigner,
  ecdsaNoteSigner,
  ed25519NoteSigner,
  type NoteSigner,
  rfc6962NoteSigner,
  signNote,
  signText,
} from './sign.js';
export {
  cosignatureVerifier,
  ecdsaNoteVerifier,
  ed25519NoteVerifier,
  noteVerifier,
  type NoteVerifier,
  rfc6962NoteVerifier,
  rsaNoteVerifier,
  type VerifiedNote,
  type VerifiedSignature,
  verifyCheckpoint,
  verifyNote,
} from './verify.js';
export { type Cosignature, parseCosignature } from './cosignature.js';
export { encodeTreeHeadSignature, parseTreeHeadSignature, treeHeadInput, type TreeHeadSignature } from './tree-head.js';
