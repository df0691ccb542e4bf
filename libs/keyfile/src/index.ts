/**
 * Private keys in files, encrypted with a password, in the format that cosign writes: PEM around JSON around a secretbox.
 *
 *     -----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----        (ENCRYPTED COSIGN PRIVATE KEY before cosign 2)
 *     {"kdf":{"name":"scrypt","params":{"N":65536,"r":8,"p":1},"salt":"<32 bytes>"},
 *      "cipher":{"name":"nacl/secretbox","nonce":"<24 bytes>"},"ciphertext":"<16 bytes more than the key>"}
 *
 *     const pem = encryptKeyFile(pkcs8Der, 'correct horse', { random: randomBytes });
 *     decryptKeyFile(pem, 'correct horse');   // the same PKCS#8 DER
 *
 * The password's scrypt output is the key of the box; a file cannot ask for more work than cosign does itself. Not here: what key is inside,
 * asking for passwords, and files.
 */
export { KeyFileError, type KeyFileErrorCode } from './error.js';
export { decryptKeyFile, encryptKeyFile, isKeyFile, type EncryptOptions } from './key-file.js';
