import { describe, expect, test } from 'vitest';
import type { Bundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { ISSUER, SAN, SmallSigstore, type Holder, type SignOptions } from '../../../test/world/small-sigstore.js';
import { artifactFromBytes, verifyBundle, type Policy } from './index.js';

// Two signings, A and B, of two artifacts. A bundle put together from parts of both must not verify, whichever part
// is foreign: otherwise somebody's public log entry, certificate or timestamp serves as anybody's.
const world = new SmallSigstore();
const identity: Policy = { kind: 'identity', san: SAN, issuer: ISSUER };
const artifacts = [encodeUtf8('artifact A'), encodeUtf8('artifact B')] as const;

const parts = ['certificate', 'signature', 'log entry', 'timestamp', 'artifact'] as const;
type Choice = readonly (0 | 1)[];

/** All ways to take each part from A (0) or B (1). */
const choices: Choice[] = Array.from({ length: 2 ** parts.length }, (_, bits) =>
  parts.map((_, i) => ((bits >> i) & 1) as 0 | 1),
);
const describeChoice = (choice: Choice) => choice.map((which, i) => `${parts[i]} ${'AB'[which]}`).join(', ');
const isDiagonal = (choice: Choice) => new Set(choice).size === 1;

function mix(
  bundles: readonly [Bundle, Bundle],
  [certificate = 0, signature = 0, entry = 0, timestamp = 0]: Choice,
): Bundle {
  return {
    ...bundles[0],
    material: bundles[certificate].material,
    content: bundles[signature].content,
    tlogEntries: bundles[entry].tlogEntries,
    timestamps: bundles[timestamp].timestamps,
  };
}

const kinds: [string, (artifact: Uint8Array, options: SignOptions) => Bundle][] = [
  ['message, Rekor v2', (artifact, options) => world.signMessage(artifact, { ...options, log: 'v2' })],
  ['message, Rekor v1', (artifact, options) => world.signMessage(artifact, { ...options, log: 'v1', timestamp: true })],
  ['DSSE, Rekor v2', (artifact, options) => world.signStatement(artifact, { ...options, log: 'v2' })],
  ['DSSE, Rekor v1', (artifact, options) => world.signStatement(artifact, { ...options, log: 'v1', timestamp: true })],
];

describe('CVE-2022-36056, CVE-2022-23649, CVE-2026-22703: only the diagonal verifies', () => {
  describe.each(kinds)('%s, two certificates of one identity', (_, sign) => {
    const bundles = [
      sign(artifacts[0], { holder: world.issue() }),
      sign(artifacts[1], { holder: world.issue() }),
    ] as const;
    test.each(choices.map((choice) => [describeChoice(choice), choice] as const))('%s', async (_, choice) => {
      const report = await verifyBundle({
        bundle: mix(bundles, choice),
        artifact: artifactFromBytes(artifacts[choice[4] ?? 0], opensslCrypto),
        trustedRoot: world.trustedRoot(),
        policy: identity,
        crypto: opensslCrypto,
      });
      expect(report.ok).toBe(isDiagonal(choice));
    });
  });

  // With one certificate for both, signature and certificate belong together in every mix.
  describe.each(kinds)('%s, one certificate', (_, sign) => {
    const holder: Holder = world.issue();
    const bundles = [sign(artifacts[0], { holder }), sign(artifacts[1], { holder })] as const;
    test.each(
      choices.filter(([certificate]) => certificate === 0).map((choice) => [describeChoice(choice), choice] as const),
    )('%s', async (_, choice) => {
      const report = await verifyBundle({
        bundle: mix(bundles, choice),
        artifact: artifactFromBytes(artifacts[choice[4] ?? 0], opensslCrypto),
        trustedRoot: world.trustedRoot(),
        policy: identity,
        crypto: opensslCrypto,
      });
      expect(report.ok).toBe(isDiagonal(choice.slice(1)));
    });
  });

  describe.each(kinds)('%s, two managed keys', (_, sign) => {
    const keys = [generateSigner(), generateSigner()] as const;
    const bundles = [sign(artifacts[0], { managedKey: keys[0] }), sign(artifacts[1], { managedKey: keys[1] })] as const;
    test.each(choices.map((choice) => [describeChoice(choice).replace('certificate', 'key'), choice] as const))(
      '%s',
      async (_, choice) => {
        const report = await verifyBundle({
          bundle: mix(bundles, choice),
          artifact: artifactFromBytes(artifacts[choice[4] ?? 0], opensslCrypto),
          trustedRoot: world.trustedRoot(),
          policy: { kind: 'key', publicKey: keys[choice[0] ?? 0].publicKey },
          crypto: opensslCrypto,
        });
        expect(report.ok).toBe(isDiagonal(choice));
      },
    );
  });
});
