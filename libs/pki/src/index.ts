/**
 * Public keys and detached signatures in the four formats that Rekor v1 takes: `x509`, `pgp`, `minisign`, `ssh`. Each
 * reads a key into its canonical bytes, its subjects and a function that verifies, and a signature into its canonical
 * bytes, so that the same key and signature always make the same log entry.
 *
 * Not here: trust. No key server is asked, no expiry looked at beyond what upstream does, no chain leads to anybody's
 * root. Log entries are in `entry`, certificates in `x509`.
 *
 * ```ts
 * const key = await pkiFormats.minisign.parseKey(encodeUtf8('RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3'));
 * await key.verify(message, signature); // true or false
 * ```
 */
export { PkiError, type PkiErrorCode } from './error.js';
export { findPkiFormat, pkiFormats } from './formats.js';
export { x509KeyOf } from './x509.js';
