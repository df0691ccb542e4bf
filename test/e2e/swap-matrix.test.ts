// Two signings, A and B, of two artifacts by one identity. A bundle put together from parts of both must not verify, whichever part is foreign: else
// somebody's public log entry, certificate or timestamp would serve as anybody's (CVE-2022-36056, CVE-2022-23649, CVE-2026-22703). All parts are made by
// the real services; libs/verify has the same matrix for older bundles and managed keys.
import { createHash } from 'node:crypto';
import { bundleFromJSON, type SerializedBundle } from '@sigstore/bundle';
import { TrustedRoot as StockTrustedRoot } from '@sigstore/protobuf-specs';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type ArtifactSource,
  type Bundle,
  encodeBundle,
  parseSigningConfig,
  parseTrustedRoot,
  sign,
  type SignOptions,
} from '../../apps/npm/src/sign.js';
import { verify } from '../../apps/npm/src/verify.js';
import { startWorld, type World } from '../world/index.js';

const email = 'alice@example.com';
const artifacts = [Buffer.from('artifact A'), Buffer.from('artifact B')] as const;
const parts = ['certificate', 'signature', 'log entry', 'timestamp', 'artifact'] as const;
type Choice = readonly (0 | 1)[];

/** All ways to take each part from A (0) or B (1). */
const choices: Choice[] = Array.from({ length: 2 ** parts.length }, (_, bits) =>
  parts.map((_, i) => ((bits >> i) & 1) as 0 | 1),
);
const named = choices.map(
  (choice) => [choice.map((which, i) => `${parts[i]} ${'AB'[which]}`).join(', '), choice] as const,
);
const isDiagonal = (choice: Choice) => new Set(choice).size === 1;

let world: World;
let trustedRoot: string;
let options: SignOptions;
beforeAll(async () => {
  world = await startWorld();
  trustedRoot = await world.trustedRoot();
  options = {
    signingConfig: parseSigningConfig(await (await fetch(`${world.url}/trust/signing_config.v0.2.json`)).text()),
    identityToken: await world.token({ email }),
    trustedRoot: parseTrustedRoot(trustedRoot),
  };
}, 120_000);
afterAll(() => world.close());

const kinds: readonly (readonly [string, (artifact: Buffer) => ArtifactSource])[] = [
  ['message bundles', (artifact) => artifact],
  ['DSSE bundles', (artifact) => ({ statement: statementAbout(artifact) })],
];
describe.each(kinds)('%s: only A and B as they were signed verify', (kind, source) => {
  let bundles: readonly [Bundle, Bundle];
  beforeAll(async () => {
    bundles = [await sign(source(artifacts[0]), options), await sign(source(artifacts[1]), options)];
  }, 120_000);

  test.each(named)('%s', async (_, choice) => {
    const artifact = artifacts[choice[4] ?? 0];
    const bundle = encodeBundle(mix(bundles, choice));
    const report = await verify(bundle, artifact, {
      trustedRoot: parseTrustedRoot(trustedRoot),
      identity: email,
      issuer: world.issuer,
    });
    expect(report.ok).toBe(isDiagonal(choice));
    const failed = report.checks.filter(({ state }) => state === 'failed');
    expect(failed.map(({ id }) => id)).toEqual(isDiagonal(choice) ? [] : [report.failure?.check]);
    for (const { detail, cure } of failed)
      expect([detail, cure]).toEqual([expect.stringMatching(/./), expect.any(String)]);

    // The stock verifier does not compare a statement's subjects with the artifact: that is its caller's.
    if (kind === 'DSSE bundles') expect(stockAccepts(bundle, undefined)).toBe(isDiagonal(choice.slice(0, 4)));
    else expect(stockAccepts(bundle, artifact)).toBe(isDiagonal(choice));
  });
});

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

function statementAbout(artifact: Buffer): Uint8Array {
  const digest = { sha256: createHash('sha256').update(artifact).digest('hex') };
  return Buffer.from(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'artifact', digest }],
      predicateType: 'https://example.com/predicate/v1',
      predicate: {},
    }),
  );
}

function stockAccepts(bundle: string, artifact: Buffer | undefined): boolean {
  const material = toTrustMaterial(StockTrustedRoot.fromJSON(JSON.parse(trustedRoot)));
  const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 });
  const entity = toSignedEntity(bundleFromJSON(JSON.parse(bundle) as SerializedBundle), artifact);
  try {
    verifier.verify(entity, { subjectAlternativeName: email, extensions: { issuer: world.issuer } });
    return true;
  } catch {
    return false;
  }
}
