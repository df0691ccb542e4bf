import { createPrivateKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { beforeAll, describe, expect, test } from 'vitest';
import { encodePem } from '#libs/encoding';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import {
  basicConstraints,
  extendedKeyUsage,
  keyUsage,
  parseCertificatePem,
  parseName,
  subjectKeyId,
  authorityKeyId,
} from '#libs/x509';
import { AuthorityError, createAuthority, type CreatedAuthority, loadAuthority } from './authority.js';

const now = new Date('2026-03-04T05:06:07.890Z');
const later = new Date('2026-03-05T00:00:00Z');
let made: CreatedAuthority;
beforeAll(async () => {
  made = await createAuthority({ organization: 'example', commonName: 'example CA', now });
});

const load = (files: Partial<{ keyPem: string; chainPem: string; passphrase: string }> = {}, at = later) =>
  loadAuthority({ keyPem: made.keyPem, chainPem: made.chainPem, ...files }, at, opensslCrypto);

/** The pieces of `made`, so that one thing can be changed in a chain. */
interface Change {
  root?: peculiar.Extension[];
  issuing?: peculiar.Extension[];
  notAfter?: Date;
  curve?: string;
  signWithOther?: boolean;
  subject?: string;
}

const ca = (pathLength: number | undefined) => new peculiar.BasicConstraintsExtension(true, pathLength, true);
const certSign = new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.keyCertSign, true);
const codeSigning = new peculiar.ExtendedKeyUsageExtension(['1.3.6.1.5.5.7.3.3'], false);

/** A chain like that of createAuthority, with other extensions; the subject key identifiers are added. */
async function chainWith(change: Change): Promise<{ keyPem: string; chainPem: string; rootPem: string }> {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const [rootKeys, keys, otherKeys] = await Promise.all(
    [0, 1, 2].map(() => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])),
  );
  if (!rootKeys || !keys || !otherKeys) throw new Error('no keys');
  const common = { notBefore: now, notAfter: new Date('2030-01-01T00:00:00Z'), signingAlgorithm: algorithm };
  const root = await peculiar.X509CertificateGenerator.create({
    ...common,
    serialNumber: '01',
    subject: 'CN=root',
    issuer: 'CN=root',
    publicKey: rootKeys.publicKey,
    signingKey: rootKeys.privateKey,
    extensions: [
      ...(change.root ?? [ca(1), certSign]),
      await peculiar.SubjectKeyIdentifierExtension.create(rootKeys.publicKey),
    ],
  });
  const issuing = await peculiar.X509CertificateGenerator.create({
    ...common,
    ...(change.notAfter && { notAfter: change.notAfter }),
    serialNumber: '02',
    subject: change.subject ?? 'CN=issuing',
    issuer: 'CN=root',
    publicKey: keys.publicKey,
    signingKey: (change.signWithOther ? otherKeys : rootKeys).privateKey,
    extensions: change.issuing ?? [
      ca(0),
      certSign,
      codeSigning,
      await peculiar.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pem = (certificate: peculiar.X509Certificate) => encodePem('CERTIFICATE', new Uint8Array(certificate.rawData));
  return {
    keyPem: encodePem('PRIVATE KEY', new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))),
    chainPem: pem(issuing) + pem(root),
    rootPem: pem(root),
  };
}

describe('createAuthority()', () => {
  test('makes a root and a CA below it as the certificate specification has them', () => {
    const [issuing, root] = parseCertificatePem(made.chainPem);
    if (!issuing || !root) throw new Error('expected two certificates');
    expect(parseName(root.subject)).toMatchObject({ organization: 'example', commonName: 'example CA root' });
    expect(root.issuer).toEqual(root.subject);
    expect(basicConstraints(root)).toEqual({ ca: true, pathLength: 1 });
    expect(keyUsage(root)).toEqual(['keyCertSign', 'cRLSign']);
    expect(extendedKeyUsage(root)).toBeUndefined();
    expect(parseName(issuing.subject)).toMatchObject({ organization: 'example', commonName: 'example CA' });
    expect(basicConstraints(issuing)).toEqual({ ca: true, pathLength: 0 });
    expect(keyUsage(issuing)).toEqual(['keyCertSign', 'cRLSign']);
    expect(extendedKeyUsage(issuing)).toEqual({ oids: ['1.3.6.1.5.5.7.3.3'], critical: false });
    expect(authorityKeyId(issuing)).toEqual(subjectKeyId(root));
    expect(issuing.serialBytes).toHaveLength(20);
    expect(issuing.notBefore.toISOString()).toBe('2026-03-04T05:06:07.000Z');
    expect(issuing.notAfter.toISOString()).toBe('2035-03-04T05:06:07.000Z');
    expect(root.notAfter.toISOString()).toBe('2036-03-04T05:06:07.000Z');
    expect(createPrivateKey(made.rootKeyPem).asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  });

  test('makes P-384 on request, and it can be loaded', async () => {
    const larger = await createAuthority({ organization: 'o', commonName: 'c', now, keyType: 'P-384' });
    expect((await load(larger)).signer.scheme).toEqual({ kind: 'ecdsa', hash: 'sha384' });
  });
});

describe('loadAuthority()', () => {
  test('loads what createAuthority made, also within its first second', async () => {
    const authority = await load({}, now);
    expect(authority.chain).toHaveLength(2);
    expect(authority.issuer).toBe(authority.chain[0]);
  });

  test('loads a single self-signed root', async () => {
    const [, rootPem = ''] = made.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
    const authority = await load({ keyPem: made.rootKeyPem, chainPem: rootPem });
    expect(authority.chain).toHaveLength(1);
    await expect(load({ keyPem: made.rootKeyPem, chainPem: rootPem }, new Date('2037-01-01'))).rejects.toThrow(
      'the certificate is not valid now',
    );
  });

  test('loads an encrypted key with its passphrase, and says when it is missing', async () => {
    const keyPem = createPrivateKey(made.keyPem)
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' })
      .toString();
    expect((await load({ keyPem, passphrase: 'secret' })).chain).toHaveLength(2);
    await expect(load({ keyPem })).rejects.toThrow(/encrypted/);
    await expect(load({ keyPem, passphrase: 'other' })).rejects.toThrow(/passphrase/);
  });

  test('refuses a key of another certificate', async () => {
    const keyPem = generateSigner('P-256').exportPkcs8Pem();
    await expect(load({ keyPem })).rejects.toThrow(/public keys are not equal$/);
  });

  test.each([
    ['an empty chain', { chainPem: '' }],
    ['text after the chain', () => ({ chainPem: `${made.chainPem}garbage` })],
    ['a key as chain', () => ({ chainPem: made.keyPem })],
    ['an empty key', { keyPem: '' }],
    [
      'a curve without a name here',
      () => ({
        keyPem: generateKeyPairSync('ec', { namedCurve: 'secp224r1' })
          .privateKey.export({ type: 'pkcs8', format: 'pem' })
          .toString(),
      }),
    ],
  ])('refuses %s', async (_name, files) => {
    await expect(load(typeof files === 'function' ? files() : files)).rejects.toThrow(AuthorityError);
  });

  test('refuses a chain that is over, or has not begun', async () => {
    await expect(load({}, new Date('2035-03-05T00:00:00Z'))).rejects.toThrow(/no valid path/);
    await expect(load({}, new Date('2026-03-03T00:00:00Z'))).rejects.toThrow(/no valid path/);
  });

  test('refuses a chain in another order, and one with certificates that are not needed', async () => {
    const [issuing = '', root = ''] = made.chainPem.split(/(?<=-----END CERTIFICATE-----\n)/);
    await expect(load({ chainPem: root + issuing })).rejects.toThrow(AuthorityError);
    const { rootPem } = await chainWith({});
    await expect(load({ chainPem: issuing + rootPem + root })).rejects.toThrow(/not needed|path length/);
    await expect(load({ chainPem: issuing })).rejects.toThrow(AuthorityError);
  });

  test('accepts the chain that the next cases change', async () => {
    expect((await load(await chainWith({}))).chain).toHaveLength(2);
  });

  test.each<[string, RegExp, () => Change]>([
    [
      'a first certificate that is no CA',
      /certificate is not a CA: CN=issuing/,
      () => ({
        issuing: [new peculiar.BasicConstraintsExtension(false, undefined, true), certSign, codeSigning],
      }),
    ],
    ['a root that is no CA', /certificate is not a CA: CN=root/, () => ({ root: [certSign] })],
    [
      'a CA that may not sign certificates',
      /may not sign others: CN=issuing/,
      () => ({
        issuing: [ca(0), new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.cRLSign, true), codeSigning],
      }),
    ],
    [
      'an issuing CA without code signing',
      /must have extended key usage code signing/,
      () => ({
        issuing: [ca(0), certSign],
      }),
    ],
    [
      'an issuing CA without key identifier',
      /no subject key identifier/,
      () => ({
        issuing: [ca(0), certSign, codeSigning],
      }),
    ],
    [
      'a root that allows no CA below',
      /path length of CN=root is 0, but 1 CAs are below/,
      () => ({
        root: [ca(0), certSign],
      }),
    ],
    ['an issuing CA that is over', /no valid path/, () => ({ notAfter: new Date('2026-03-04T12:00:00Z') })],
    ['a root that did not sign', /no valid path/, () => ({ signWithOther: true })],
    ['an issuing CA without name', /has no subject/, () => ({ subject: '' })],
  ])('refuses %s', async (_name, message, change) => {
    await expect(load(await chainWith(change()))).rejects.toThrow(message);
  });
});
