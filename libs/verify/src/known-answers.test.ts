import fc from 'fast-check';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { loadNobleCrypto, parsePublicKeyPem } from '#libs/crypto';
import { parseHex } from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { parseTrustedRoot } from '#libs/trust';
import { artifactFromDigest, verifyBundle, type Policy, type VerifyInput } from './index.js';

const nobleCrypto = await loadNobleCrypto();

const vectors = `${import.meta.dirname}/../../../test/vectors/bundle`;
const read = (name: string) => readFileSync(`${vectors}/${name}`, 'utf8');

/** What the conformance suite signs, and as whom. */
const artifact = artifactFromDigest(
  'sha256',
  parseHex('a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf'),
);
const beacon: Policy = {
  kind: 'identity',
  san: 'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main',
  issuer: 'https://token.actions.githubusercontent.com',
};

function verify(bundle: VerifyInput['bundle'], root: string, policy: Policy = beacon) {
  return verifyBundle({ bundle, artifact, trustedRoot: parseTrustedRoot(read(root)), policy, crypto: opensslCrypto });
}

describe('verifyBundle() accepts what the public and the staging instance signed', () => {
  test.each([
    ['happy-path-v0.1.json', 'trusted-root-public-good.json'],
    ['happy-path-v0.2.json', 'trusted-root-public-good.json'],
    ['happy-path-v0.3-new-mediaType.json', 'trusted-root-public-good.json'],
    ['happy-path-intoto-in-dsse-v3.json', 'trusted-root-public-good.json'],
    ['happy-path-v0.1.json', 'trusted-root-with-nulls.json'],
    ['rekor2-dsse-happy-path.json', 'trusted-root-staging.json'],
  ])('%s with %s', async (bundle, root) => {
    const report = await verify(read(bundle), root);
    expect(report.failure).toBeUndefined();
    expect(report.signer).toMatchObject({ san: beacon.san, issuer: beacon.issuer });
  });

  test('with the cryptography of a browser', async () => {
    const report = await verifyBundle({
      bundle: read('happy-path-v0.3-new-mediaType.json'),
      artifact,
      trustedRoot: parseTrustedRoot(read('trusted-root-public-good.json')),
      policy: beacon,
      crypto: nobleCrypto,
    });
    expect(report.failure).toBeUndefined();
  });

  test('a managed key', async () => {
    const policy: Policy = { kind: 'key', publicKey: parsePublicKeyPem(read('managed-key.pub')) };
    expect(
      (await verify(read('managed-key-happy-path.json'), 'trusted-root-public-good.json', policy)).failure,
    ).toBeUndefined();
  });
});

test('whatever value stands in any one place of a bundle, the answer is a report', async () => {
  const trustedRoot = parseTrustedRoot(read('trusted-root-public-good.json'));
  const original = JSON.parse(read('happy-path-v0.3-new-mediaType.json'));
  const places: string[][] = [];
  (function walk(value: unknown, path: string[]) {
    if (path.length > 0) places.push(path);
    if (typeof value === 'object' && value !== null) {
      for (const [key, child] of Object.entries(value)) walk(child, [...path, key]);
    }
  })(original, []);
  // Values of the right form as well, which come further than nonsense does.
  const values = fc.oneof(
    fc.jsonValue({ maxDepth: 1 }),
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes).toString('base64')),
    fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64')),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }).map(String),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...places), values, async (path, value) => {
      const json = structuredClone(original);
      const parent = path.slice(0, -1).reduce((at, key) => at[key], json);
      parent[path.at(-1) ?? ''] = value;
      const report = await verifyBundle({
        bundle: JSON.stringify(json),
        artifact,
        trustedRoot,
        policy: beacon,
        crypto: opensslCrypto,
      });
      expect(report.ok).toBe(report.failure === undefined);
    }),
    { numRuns: 400 },
  );
});
