import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { encodeHex } from '#libs/encoding';
import { loadNobleCrypto } from '#libs/crypto';
import { opensslCrypto } from '#libs/openssl';
import { parseCertificate, parseCertificatePem, parseName } from '#libs/x509';
import { parseTimestampResponse, TimestampError, verifyTimestamp } from './index.js';

const nobleCrypto = await loadNobleCrypto();

// Tokens of Sigstore's staging authority and of a foreign one; see the SOURCE file beside them.
const folder = join(import.meta.dirname, '../../../test/vectors/timestamp');
const read = (name: string) => new Uint8Array(readFileSync(join(folder, name)));
const certChain = parseCertificatePem(readFileSync(join(folder, 'sigstage-chain.pem'), 'utf8'));
const start = new Date('2025-04-09T00:00:00Z');
const authorities = [{ certChain, validFor: { start } }];
const root = certChain.at(-1);
if (root === undefined) throw new Error('chain is empty');
const crypto = opensslCrypto;

describe.each([
  ['rekor2-happy-path', 1, true, '2025-06-12T12:02:20Z'],
  ['rekor2-timestamp-with-embedded-cert', 1, true, undefined],
  ['rekor2-timestamp-without-embedded-cert', 0, true, undefined],
  ['rekor2-dsse-happy-path', 0, false, '2026-05-13T19:23:33Z'],
])('%s', (name, certificates, hasNonce, time) => {
  const der = read(`${name}.tsr`);
  const signature = read(`${name}.sig`);

  test('verifies, also with the cryptography of browsers', async () => {
    for (const port of [opensslCrypto, nobleCrypto]) {
      const verified = await verifyTimestamp(der, { signature, authorities, crypto: port });
      expect(verified.certificate).toBe(certChain[0]);
      if (time !== undefined) expect(verified.genTime).toEqual(new Date(time));
    }
  });

  test('has the fields that Sigstore’s authority writes', () => {
    const parsed = parseTimestampResponse(der);
    expect(parsed).toMatchObject({
      status: 0,
      policy: '1.3.6.1.4.1.57264.2',
      accuracy: { seconds: 1, millis: 0, micros: 0 },
      ordering: false,
    });
    expect(parsed.certificates.length).toBe(certificates);
    expect(parsed.nonce !== undefined).toBe(hasNonce);
    expect(parsed.signer.signatureAlgorithm).toBe('1.2.840.10045.4.3.2');
  });

  test('verifies under the root alone only when it carries the certificate', async () => {
    const rootOnly = [{ certChain: [root], validFor: { start } }];
    const result = verifyTimestamp(der, { signature, authorities: rootOnly, crypto });
    if (certificates === 1) expect((await result).certificate.der).toEqual(certChain[0]?.der);
    else await expect(result).rejects.toThrow(expect.objectContaining({ code: 'TIMESTAMP_AUTHORITY_UNKNOWN' }));
  });
});

test('the first vector, byte by byte', () => {
  const parsed = parseTimestampResponse(read('rekor2-happy-path.tsr'));
  expect(encodeHex(parsed.tstInfo)).toBe(
    '3081ac02010106092b0601040183bf30023031300d060960864801650304020105000420' +
      '6ddf31609e2a6c814f8266aab75204b7a1f5e96d1bc07dde6ff39add8408cda2' +
      '0214559742c71edae5b645233a7ac43a8d033142a5ac' +
      '180f32303235303631323132303232305a3003020101' +
      '0209008f59f2afe69cc8a8a032a430302e31153013060355040a130c73696773746f72652e6465763115301306035504031' +
      '30c73696773746f72652d747361',
  );
  expect(parsed.serialNumber).toBe(0x559742c71edae5b645233a7ac43a8d033142a5acn);
  expect(parsed.nonce && encodeHex(parsed.nonce)).toBe('008f59f2afe69cc8a8');
  expect(parsed.signer.signedBytes.length).toBe(255);
  const messageDigest = parsed.signer.signedAttributes.get('1.2.840.113549.1.9.4');
  expect(messageDigest && encodeHex(messageDigest)).toBe(
    '042025e7cf91c04271fd58eb8c99be21646aeb66f1993c8f7c2f0d13dd981c75d75f',
  );
  const [embedded] = parsed.certificates;
  expect(embedded && encodeHex(crypto.hash('sha256', embedded))).toBe(
    '06f4ffe047feb35999b733b0d7a323501cfc18e4c03366a845d77536e74b2744',
  );
});

test('a token over another signature is rejected', async () => {
  const name = 'rekor2-timestamp-payload-mismatch_fail';
  const result = verifyTimestamp(read(`${name}.tsr`), { signature: read(`${name}.sig`), authorities, crypto });
  await expect(result).rejects.toThrow(expect.objectContaining({ code: 'TIMESTAMP_IMPRINT' }));
});

describe('a token of an authority that Sigstore does not know', () => {
  const name = 'rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail';
  const der = read(`${name}.tsr`);
  const signature = read(`${name}.sig`);

  test('is rejected, although it embeds its whole chain', async () => {
    const result = verifyTimestamp(der, { signature, authorities, crypto });
    await expect(result).rejects.toThrow(expect.objectContaining({ code: 'TIMESTAMP_AUTHORITY_UNKNOWN' }));
  });

  test('verifies under its own root: ordering set, no accuracy, RSA', async () => {
    const embedded = parseTimestampResponse(der).certificates.map(parseCertificate);
    const own = embedded.find(({ issuer, subject }) => encodeHex(issuer) === encodeHex(subject));
    if (own === undefined) throw new Error('no root embedded');
    expect(parseName(own.subject).text).toContain('Free TSA');
    const foreign = [{ certChain: [own], validFor: { start } }];
    const verified = await verifyTimestamp(der, { signature, authorities: foreign, crypto });
    expect(verified.timestamp).toMatchObject({ ordering: true, policy: '1.2.3.4.1', serialNumber: 0x3a7f1dn });
    expect(verified.timestamp.accuracy).toBeUndefined();
  });
});

test('a token outside the period of trust is rejected', async () => {
  const name = 'rekor2-happy-path';
  const ended = [{ certChain, validFor: { start, end: new Date('2025-06-01T00:00:00Z') } }];
  const result = verifyTimestamp(read(`${name}.tsr`), { signature: read(`${name}.sig`), authorities: ended, crypto });
  await expect(result).rejects.toThrow(expect.objectContaining({ code: 'TIMESTAMP_OUTSIDE_VALIDITY' }));
});

test('every change of one bit is rejected', async () => {
  const name = 'rekor2-dsse-happy-path';
  const der = read(`${name}.tsr`);
  const signature = read(`${name}.sig`);
  const accepted: number[] = [];
  for (let bit = 0; bit < der.length * 8; bit++) {
    const mutated = der.slice();
    mutated[bit >> 3] = (mutated[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    try {
      await verifyTimestamp(mutated, { signature, authorities, crypto });
      accepted.push(bit);
    } catch (error) {
      expect(error).toBeInstanceOf(TimestampError);
    }
  }
  // Two bits are not signed and leave a good token: status granted becomes granted with modifications, and the empty
  // set of certificates becomes an empty set of revocation lists.
  const status = 8;
  const emptyCertificates = encodeHex(der).indexOf('a000318201') / 2;
  expect(accepted).toEqual([status * 8, emptyCertificates * 8]);
});
