import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { algorithmForKey, findAlgorithm, matchesKey, parsePublicKey, signatureAlgorithms } from './index.js';

const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve });
const rsa = (modulusLength: number) => generateKeyPairSync('rsa', { modulusLength });
const parsed = ({ publicKey }: ReturnType<typeof ec>) =>
  parsePublicKey(publicKey.export({ type: 'spki', format: 'der' }));

const keys = {
  'P-256': parsed(ec('P-256')),
  'P-384': parsed(ec('P-384')),
  'P-521': parsed(ec('P-521')),
  'RSA-1024': parsed(rsa(1024)),
  'RSA-2048': parsed(rsa(2048)),
  'RSA-3072': parsed(rsa(3072)),
  Ed25519: parsed(generateKeyPairSync('ed25519')),
};

describe('signatureAlgorithms', () => {
  it('has the numbers and names of the registry', () => {
    expect(signatureAlgorithms.map((row) => [row.number, row.keyDetails, row.flag, row.hashName])).toEqual([
      [5, 'PKIX_ECDSA_P256_SHA_256', 'ecdsa-sha2-256-nistp256', 'SHA2_256'],
      [12, 'PKIX_ECDSA_P384_SHA_384', 'ecdsa-sha2-384-nistp384', 'SHA2_384'],
      [13, 'PKIX_ECDSA_P521_SHA_512', 'ecdsa-sha2-512-nistp521', 'SHA2_512'],
      [7, 'PKIX_ED25519', 'ed25519', 'SHA2_512'],
      [8, 'PKIX_ED25519_PH', 'ed25519-ph', 'SHA2_512'],
      [9, 'PKIX_RSA_PKCS1V15_2048_SHA256', 'rsa-sign-pkcs1-2048-sha256', 'SHA2_256'],
      [10, 'PKIX_RSA_PKCS1V15_3072_SHA256', 'rsa-sign-pkcs1-3072-sha256', 'SHA2_256'],
      [11, 'PKIX_RSA_PKCS1V15_4096_SHA256', 'rsa-sign-pkcs1-4096-sha256', 'SHA2_256'],
      [16, 'PKIX_RSA_PSS_2048_SHA256', 'rsa-sign-pss-2048-sha256', 'SHA2_256'],
      [17, 'PKIX_RSA_PSS_3072_SHA256', 'rsa-sign-pss-3072-sha256', 'SHA2_256'],
      [18, 'PKIX_RSA_PSS_4096_SHA256', 'rsa-sign-pss-4096-sha256', 'SHA2_256'],
      [19, 'PKIX_ECDSA_P384_SHA_256', 'ecdsa-sha2-256-nistp384', 'SHA2_256'],
      [20, 'PKIX_ECDSA_P521_SHA_256', 'ecdsa-sha2-256-nistp521', 'SHA2_256'],
      [1, 'PKCS1_RSA_PKCS1V5', undefined, 'SHA2_256'],
      [2, 'PKCS1_RSA_PSS', undefined, 'SHA2_256'],
      [3, 'PKIX_RSA_PKCS1V5', undefined, 'SHA2_256'],
      [4, 'PKIX_RSA_PSS', undefined, 'SHA2_256'],
    ]);
  });

  it('is found by name and by number', () => {
    for (const row of signatureAlgorithms) {
      expect(findAlgorithm(row.keyDetails)).toBe(row);
      expect(findAlgorithm(row.number)).toBe(row);
    }
  });
});

describe('findAlgorithm()', () => {
  it.each([0, 6, 14, 21, -5, 5.5, 'PUBLIC_KEY_DETAILS_UNSPECIFIED', 'ML_DSA_65', '5', '', '__proto__'])(
    'knows nothing of %s',
    (keyDetails) => {
      expect(findAlgorithm(keyDetails)).toBeUndefined();
    },
  );
});

describe('algorithmForKey()', () => {
  it.each([
    ['P-256', 'PKIX_ECDSA_P256_SHA_256'],
    ['P-384', 'PKIX_ECDSA_P384_SHA_384'],
    ['P-521', 'PKIX_ECDSA_P521_SHA_512'],
    ['RSA-2048', 'PKIX_RSA_PKCS1V15_2048_SHA256'],
    ['RSA-3072', 'PKIX_RSA_PKCS1V15_3072_SHA256'],
    ['Ed25519', 'PKIX_ED25519'],
  ] as const)('of %s is %s', (name, keyDetails) => {
    expect(algorithmForKey(keys[name]).keyDetails).toBe(keyDetails);
  });

  it('has none for another RSA size', () => {
    expect(() => algorithmForKey(keys['RSA-1024'])).toThrow(
      expect.objectContaining({ code: 'CRYPTO_KEY_UNSUPPORTED' }),
    );
  });
});

describe('matchesKey()', () => {
  const row = (keyDetails: string) => findAlgorithm(keyDetails) ?? expect.unreachable('not in the registry');

  it.each([
    ['PKIX_ECDSA_P256_SHA_256', ['P-256']],
    ['PKIX_ECDSA_P384_SHA_256', ['P-384']],
    ['PKIX_RSA_PSS_2048_SHA256', ['RSA-2048']],
    ['PKIX_RSA_PKCS1V5', ['RSA-1024', 'RSA-2048', 'RSA-3072']],
    ['PKIX_ED25519_PH', ['Ed25519']],
  ] as const)('%s is for %s', (keyDetails, names) => {
    const matching = Object.entries(keys).filter(([, key]) => matchesKey(row(keyDetails), key));
    expect(matching.map(([name]) => name)).toEqual(names);
  });
});
