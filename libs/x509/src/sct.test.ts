import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { derNull, derOctetString, parseBase64 } from '#libs/encoding';
import { parsePublicKey, parseRsaPublicKey, type PublicKey, type Signer } from '#libs/crypto';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { type Certificate, type Extension, parseCertificate, parseCertificatePem } from './certificate.js';
import { encodeLeafIndex, encodeSct, encodeSctList, parseSctList, type Sct } from './ct.js';
import { oid } from './oid.js';
import { isPrecertificate, poisonValue, preTbs } from './precert.js';
import { ctEntry, embeddedScts, sctSignedInput, verifySct } from './sct.js';
import { authority, encodeExtension, extension, forge } from './testing.js';

const vectors = join(import.meta.dirname, '../../../test/vectors/x509');
interface Trust {
  readonly certificateAuthorities: readonly { readonly certificates: readonly string[] }[];
  readonly ctlogs: readonly { readonly publicKey: string; readonly logId: string }[];
}
const trust = (name: string) => JSON.parse(readFileSync(join(vectors, `trust-${name}.json`), 'utf8')) as Trust;
const leafOf = (name: string) =>
  parseCertificatePem(readFileSync(join(vectors, `leaf-${name}.pem`), 'utf8'))[0] as Certificate; // each file has one
const hash = (algorithm: 'sha256', data: Uint8Array) => opensslCrypto.hash(algorithm, data);

function issuerAndLog(leaf: Certificate, name: string): { issuer: Certificate; key: PublicKey; sct: Sct } {
  const { certificateAuthorities, ctlogs } = trust(name);
  const [sct] = embeddedScts(leaf);
  if (!sct) throw new Error('Cannot test: no SCT');
  const issuer = certificateAuthorities
    .flatMap(({ certificates }) => certificates.map((der) => parseCertificate(parseBase64(der))))
    .find(({ subject }) => Buffer.compare(subject, leaf.issuer) === 0);
  const log = ctlogs.find(({ logId }) => Buffer.compare(parseBase64(logId), sct.logId) === 0);
  if (!issuer || !log) throw new Error('Cannot test: no issuer or log');
  return { issuer, key: parsePublicKey(parseBase64(log.publicKey)), sct };
}

describe('SCTs of real certificates', () => {
  it.each([
    ['happy-path-v0.1', 'public-good'],
    ['happy-path-v0.3-new-mediaType', 'public-good'],
    ['rekor2-happy-path', 'rekor2'],
    ['intoto-with-custom-trust-root', 'custom'],
  ])('%s: the SCT verifies', async (name, root) => {
    const leaf = leafOf(name);
    const { issuer, key, sct } = issuerAndLog(leaf, root);
    await expect(verifySct(sct, leaf, issuer, key, opensslCrypto)).resolves.toBeUndefined();
  });

  it('does not verify for another certificate, issuer, log, or a changed SCT', async () => {
    const leaf = leafOf('happy-path-v0.1');
    const { issuer, key, sct } = issuerAndLog(leaf, 'public-good');
    const other = leafOf('happy-path-v0.3-new-mediaType');
    const otherIssuer = authority('other', generateSigner()).certificate;
    const invalid = expect.objectContaining({ code: 'X509_SCT_INVALID' }) as Error;
    await expect(verifySct(sct, other, issuer, key, opensslCrypto)).rejects.toThrow(invalid);
    await expect(verifySct(sct, leaf, otherIssuer, key, opensslCrypto)).rejects.toThrow(invalid);
    await expect(verifySct(sct, leaf, issuer, generateSigner().publicKey, opensslCrypto)).rejects.toThrow(invalid);
    const changes: Partial<Sct>[] = [
      { timestampMs: sct.timestampMs + 1n },
      { extensions: encodeLeafIndex(1n) },
      { hashAlgorithm: 5 },
      { signatureAlgorithm: 1 },
      { signature: sct.signature.with(-1, (sct.signature.at(-1) ?? 0) ^ 1) },
      { signature: new Uint8Array() },
      { logId: sct.logId.with(0, (sct.logId[0] ?? 0) ^ 1) },
    ];
    for (const change of changes) {
      await expect(verifySct({ ...sct, ...change }, leaf, issuer, key, opensslCrypto)).rejects.toThrow(invalid);
    }
  });

  it('invalid-ct-key_fail: no log of that trusted root is the one of the SCT, or its key does not fit', async () => {
    const leaf = leafOf('happy-path-v0.1');
    const { issuer, sct } = issuerAndLog(leaf, 'public-good');
    for (const { publicKey } of trust('invalid-ct-key').ctlogs) {
      const der = parseBase64(publicKey);
      // The wrong key is an RSA key in PKCS#1 form, which a SubjectPublicKeyInfo is not.
      const key = publicKey.startsWith('MFk') ? parsePublicKey(der) : parseRsaPublicKey(der);
      await expect(verifySct(sct, leaf, issuer, key, opensslCrypto)).rejects.toMatchObject({
        code: 'X509_SCT_INVALID',
      });
    }
  });
});

const signer = generateSigner();
const ca = authority('ca', signer);
const poison = { oid: oid.poison, critical: true, value: poisonValue };

/** An SCT by a log with this key. */
function promise(log: Signer, certificate: Certificate, extensions: Uint8Array = new Uint8Array()): Sct {
  const stated = { timestampMs: 1000n, extensions };
  const signature = log.sign(sctSignedInput(stated, certificate, ca.certificate, hash));
  const logId = hash('sha256', log.publicKey.spki);
  return { version: 0, logId, ...stated, hashAlgorithm: 4, signatureAlgorithm: 3, signature };
}

function leafWith(...extensions: (Extension | Uint8Array)[]): Certificate {
  return parseCertificate(forge({ issuer: ca.certificate.subject, spki: signer.publicKey.spki, signer, extensions }));
}

describe('verifySct()', () => {
  const log = generateSigner();

  it('takes a precertificate, the certificate made of it, and a plain certificate', async () => {
    const precertificate = leafWith(extension.digitalSignature, poison);
    const sct = promise(log, precertificate, encodeLeafIndex(112n));
    await verifySct(sct, precertificate, ca.certificate, log.publicKey, opensslCrypto);
    const list = { oid: oid.sctList, critical: false, value: encodeSctList([encodeSct(sct)]) };
    const final = leafWith(extension.digitalSignature, list);
    expect(embeddedScts(final)).toEqual([sct]);
    await verifySct(sct, final, ca.certificate, log.publicKey, opensslCrypto);
    const plain = leafWith(extension.digitalSignature);
    expect(ctEntry(plain, ca.certificate, hash)).toEqual({ kind: 'x509', certificate: plain.der });
    await verifySct(promise(log, plain), plain, ca.certificate, log.publicKey, opensslCrypto);
    await expect(verifySct(sct, plain, ca.certificate, log.publicKey, opensslCrypto)).rejects.toMatchObject({
      code: 'X509_SCT_INVALID',
    });
  });

  it('refuses a log key that RFC 6962 does not allow', async () => {
    const plain = leafWith(extension.digitalSignature);
    const edwards = generateSigner('ed25519');
    await expect(
      verifySct(promise(edwards, plain), plain, ca.certificate, edwards.publicKey, opensslCrypto),
    ).rejects.toMatchObject({
      code: 'X509_SCT_INVALID',
    });
  });

  it('gives the same answer a hundred times', async () => {
    const plain = leafWith(extension.digitalSignature);
    const sct = promise(log, plain);
    for (let i = 0; i < 100; i++) await verifySct(sct, plain, ca.certificate, log.publicKey, opensslCrypto);
    expect(parseSctList(encodeSctList([encodeSct(sct)]))).toEqual([sct]);
  });
});

describe('isPrecertificate()', () => {
  it('knows one by its poison, and refuses half a poison', () => {
    expect(isPrecertificate(leafWith(extension.digitalSignature))).toBe(false);
    expect(isPrecertificate(leafWith(poison))).toBe(true);
    for (const bad of [
      { ...poison, critical: false },
      { ...poison, value: new Uint8Array() },
      { ...poison, value: derOctetString(derNull()) },
    ]) {
      expect(() => isPrecertificate(leafWith(bad))).toThrow(expect.objectContaining({ code: 'X509_POISON' }));
      expect(() => preTbs(leafWith(bad))).toThrow(expect.objectContaining({ code: 'X509_POISON' }));
    }
  });
});

describe('preTbs()', () => {
  const list = {
    oid: oid.sctList,
    critical: false,
    value: encodeSctList([encodeSct(promise(signer, leafWith(extension.digitalSignature)))]),
  };
  const bare = leafWith(extension.digitalSignature, extension.ca()).tbs;

  it.each([
    ['at the end', leafWith(extension.digitalSignature, extension.ca(), poison)],
    ['in the middle', leafWith(extension.digitalSignature, poison, extension.ca())],
    ['in front', leafWith(poison, extension.digitalSignature, extension.ca())],
    ['SCT list at the end', leafWith(extension.digitalSignature, extension.ca(), list)],
    ['SCT list in front', leafWith(list, extension.digitalSignature, extension.ca())],
  ])('%s: leaves exactly the certificate that never had it', (_, certificate) => {
    expect(preTbs(certificate)).toEqual(bare);
  });

  it('drops the field with its last extension', () => {
    expect(preTbs(leafWith(poison))).toEqual(leafWith().tbs);
  });

  it('takes the poison alone out of a precertificate that has an SCT list as well, unless asked otherwise', () => {
    const both = leafWith(list, poison);
    expect(preTbs(both)).toEqual(leafWith(list).tbs);
    expect(preTbs(both, 'sct-list')).toEqual(leafWith(poison).tbs);
  });

  it('refuses a certificate without the extension', () => {
    const malformed = expect.objectContaining({ code: 'X509_MALFORMED' }) as Error;
    expect(() => preTbs(leafWith(extension.digitalSignature))).toThrow(malformed);
    expect(() => preTbs(leafWith())).toThrow(malformed);
    expect(() => preTbs(leafWith(poison), 'sct-list')).toThrow(malformed);
    expect(() => preTbs(leafWith(list), 'poison')).toThrow(malformed);
  });

  it('refuses two of them, which already the certificate parser does', () => {
    const malformed = expect.objectContaining({ code: 'X509_MALFORMED' }) as Error;
    const twice = forge({ spki: signer.publicKey.spki, signer, extensions: [poison, encodeExtension(poison)] });
    expect(() => parseCertificate(twice)).toThrow(malformed);
    // A hand-made value, as no parser gives it: the splice looks for itself.
    const certificate = leafWith(poison, extension.ca());
    const tbs = parseTbs(twice);
    expect(() => preTbs({ ...certificate, tbs })).toThrow(malformed);
  });

  it('keeps every byte of real certificates but those of the extension and its lengths', () => {
    for (const name of ['happy-path-v0.1', 'rekor2-happy-path', 'intoto-with-custom-trust-root']) {
      const leaf = leafOf(name);
      const text = Buffer.from(leaf.tbs).toString('latin1');
      const rest = Buffer.from(preTbs(leaf)).toString('latin1');
      const value = leaf.extensions.find((found) => found.oid === oid.sctList);
      const whole = Buffer.from(encodeExtension(value as Extension)).toString('latin1'); // verified above: it has one
      // The list is last in all of them, so what remains is the tail of the headers and a prefix.
      const before = text.slice(0, text.indexOf(whole));
      expect(rest.endsWith(before.slice(before.indexOf('\xa3\x82') + 8))).toBe(true);
      expect(rest.length).toBe(text.length - whole.length);
    }
  });
});

/** The TBSCertificate of a certificate that the parser refuses; both headers are four bytes long here. */
function parseTbs(der: Uint8Array): Uint8Array {
  const inner = der.subarray(4);
  return inner.subarray(0, 4 + (((inner[2] ?? 0) << 8) | (inner[3] ?? 0)));
}
