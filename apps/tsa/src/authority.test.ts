// Loading a chain: each rule is broken once, by certificates that are otherwise those of a working authority.
import { webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodePem } from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { extendedKeyUsage, keyUsage, parseCertificatePem } from '#libs/x509';
import { createTimestampAuthority, loadTimestampAuthority } from './authority.js';

const timeStamping = '1.3.6.1.5.5.7.3.8';
const codeSigning = '1.3.6.1.5.5.7.3.3';
const now = new Date('2026-03-04T05:06:07Z');
const day = 86_400_000;
const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
type Keys = Awaited<ReturnType<typeof newKeys>>;
const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);

let rootKeys: Keys;
let intermediateKeys: Keys;
let leafKeys: Keys;

beforeAll(async () => {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  [rootKeys, intermediateKeys, leafKeys] = await Promise.all([newKeys(), newKeys(), newKeys()]);
});

interface Change {
  extensions?: peculiar.Extension[];
  notBefore?: Date;
  notAfter?: Date;
  signingKey?: webcrypto.CryptoKey;
  issuer?: string;
}

async function certificate(
  subject: string,
  publicKey: webcrypto.CryptoKey,
  issuer: string,
  signingKey: webcrypto.CryptoKey,
  change: Change & { extensions: peculiar.Extension[] },
): Promise<string> {
  const made = await peculiar.X509CertificateGenerator.create({
    serialNumber: '0102',
    subject,
    issuer: change.issuer ?? issuer,
    notBefore: change.notBefore ?? new Date(now.getTime() - day),
    notAfter: change.notAfter ?? new Date(now.getTime() + day),
    publicKey,
    signingKey: change.signingKey ?? signingKey,
    signingAlgorithm: algorithm,
    extensions: change.extensions,
  });
  return `${made.toString('pem')}\n`;
}

const ca = () => new peculiar.BasicConstraintsExtension(true, undefined, true);
const eku = (usages = [timeStamping], critical = true) => new peculiar.ExtendedKeyUsageExtension(usages, critical);
const signs = () => new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.digitalSignature, true);

const root = (change: Change = {}) =>
  certificate('CN=root', rootKeys.publicKey, 'CN=root', rootKeys.privateKey, { extensions: [ca()], ...change });
const intermediate = (change: Change = {}) =>
  certificate('CN=between', intermediateKeys.publicKey, 'CN=root', rootKeys.privateKey, {
    extensions: [ca(), eku()],
    ...change,
  });
const leaf = (change: Change = {}) =>
  certificate('CN=signing', leafKeys.publicKey, 'CN=between', intermediateKeys.privateKey, {
    extensions: [signs(), eku()],
    ...change,
  });

async function keyPem(keys = leafKeys): Promise<string> {
  return encodePem('PRIVATE KEY', new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)));
}

async function load(certificates: Promise<string>[], options: { key?: string; now?: Date } = {}) {
  const chainPem = (await Promise.all(certificates)).join('');
  return loadTimestampAuthority(
    { keyPem: options.key ?? (await keyPem()), chainPem },
    options.now ?? now,
    opensslCrypto,
  );
}

async function refused(certificates: Promise<string>[], reason: string, options?: { key?: string; now?: Date }) {
  await expect(load(certificates, options)).rejects.toMatchObject({
    code: 'TSA_AUTHORITY',
    message: `Cannot use the timestamp authority's chain: ${reason}`,
  });
}

const onlyTimestamping = 'certificate must have extended key usage timestamping set to sign timestamping certificates';
const noPath = 'no valid path from leaf to root';

describe('loadTimestampAuthority()', () => {
  it('takes a chain of three, and of two', async () => {
    expect((await load([leaf(), intermediate(), root()])).chain).toHaveLength(3);
    const direct = { issuer: 'CN=root', signingKey: rootKeys.privateKey };
    const { chain, signer } = await load([leaf(direct), root()]);
    expect(chain.map(({ notAfter }) => notAfter.getTime() > now.getTime())).toEqual([true, true]);
    expect(signer.publicKey.spki).toEqual(chain[0]?.spki);
  });

  it('takes a root that lists the usage or none, and refuses one that lists others', async () => {
    await load([leaf(), intermediate(), root({ extensions: [ca(), eku([codeSigning, timeStamping], false)] })]);
    await refused([leaf(), intermediate(), root({ extensions: [ca(), eku([codeSigning])] })], noPath);
  });

  it('refuses no certificate, and one alone', async () => {
    await refused([], 'certificate chain must contain a leaf certificate');
    await refused([keyPem()], 'certificate chain must contain a leaf certificate');
    await refused([leaf()], 'certificate chain must contain at least two certificates');
    await refused([root()], 'certificate chain must contain at least two certificates');
  });

  it('refuses an issuer that is no CA', async () => {
    const noCa = [eku()];
    await refused(
      [leaf(), intermediate({ extensions: noCa }), root()],
      'certificate is not a CA certificate: CN=between',
    );
    await refused([leaf(), intermediate(), root({ extensions: noCa })], 'certificate is not a CA certificate: CN=root');
  });

  it('refuses a signing certificate that is a CA', async () => {
    const reason = 'leaf certificate must be an end-entity certificate, not a CA';
    await refused([leaf({ extensions: [ca(), signs(), eku()] }), intermediate(), root()], reason);
  });

  it('refuses a signing certificate without the usage, with a second one, and one that is not critical', async () => {
    const chain = (extensions: peculiar.Extension[]) => [
      leaf({ extensions: [signs(), ...extensions] }),
      intermediate(),
      root(),
    ];
    await refused(chain([]), onlyTimestamping);
    await refused(chain([eku([codeSigning])]), onlyTimestamping);
    await refused(chain([eku([timeStamping, codeSigning])]), 'certificate should only contain one EKU');
    // An unknown one counts as well.
    await refused(chain([eku([timeStamping, '1.2.3.4.5'])]), 'certificate should only contain one EKU');
    await refused(chain([eku([timeStamping], false)]), 'certificate must set EKU to critical');
  });

  it('refuses an intermediate without the usage', async () => {
    await refused([leaf(), intermediate({ extensions: [ca()] }), root()], onlyTimestamping);
    await refused([leaf(), intermediate({ extensions: [ca(), eku([codeSigning])] }), root()], onlyTimestamping);
  });

  it('refuses a key that is not that of the signing certificate', async () => {
    const reason = 'leaf certificate and signing key do not match';
    await refused([leaf(), intermediate(), root()], reason, { key: await keyPem(rootKeys) });
  });

  it('refuses a chain that has expired, is not valid yet, or whose signatures are not its own', async () => {
    const past = { notAfter: new Date(now.getTime() - 1000) };
    const future = { notBefore: new Date(now.getTime() + 1000) };
    for (const change of [past, future]) {
      await refused([leaf(change), intermediate(), root()], noPath);
      await refused([leaf(), intermediate(change), root()], noPath);
    }
    const foreign = { signingKey: (await newKeys()).privateKey };
    await refused([leaf(foreign), intermediate(), root()], noPath);
    await refused([leaf(), intermediate(foreign), root()], noPath);
    await refused([leaf({ issuer: 'CN=else' }), intermediate(), root()], noPath);
  });

  it('refuses the order root first', async () => {
    await refused([root(), intermediate(), leaf()], 'certificate is not a CA certificate: CN=signing');
  });

  it('refuses what is no key or no certificate at all', async () => {
    await expect(load([leaf(), intermediate(), root()], { key: 'x' })).rejects.toMatchObject({
      code: expect.stringMatching(/^(CRYPTO|ENCODING)_/),
    });
    await expect(
      load([Promise.resolve('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n')]),
    ).rejects.toMatchObject({
      code: expect.stringMatching(/^(X509|ENCODING)_/),
    });
  });
});

describe('createTimestampAuthority()', () => {
  it('makes what loadTimestampAuthority() takes, from the moment it is made', async () => {
    const made = await createTimestampAuthority({ organization: 'org', commonName: 'tsa', now });
    const { chain } = await loadTimestampAuthority(made, now, opensslCrypto);
    const [signing, anchor] = chain;
    if (!signing || !anchor) throw new Error('the chain is not of two');
    expect(keyUsage(signing)).toEqual(['digitalSignature']);
    expect(extendedKeyUsage(signing)).toEqual({ oids: [timeStamping], critical: true });
    expect(signing.notBefore).toEqual(now);
    expect(signing.notAfter.getTime()).toBeLessThan(anchor.notAfter.getTime());
    expect(parseCertificatePem(made.chainPem)).toHaveLength(2);
    // Each time other keys.
    const again = await createTimestampAuthority({ organization: 'org', commonName: 'tsa', now });
    expect(again.keyPem).not.toBe(made.keyPem);
    await expect(
      loadTimestampAuthority({ keyPem: again.keyPem, chainPem: made.chainPem }, now, opensslCrypto),
    ).rejects.toMatchObject({ code: 'TSA_AUTHORITY' });
  });
});
