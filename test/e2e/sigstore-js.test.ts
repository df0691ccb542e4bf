// The stock Sigstore client for npm, unchanged, against our services; each verifier over each signer's bundles.
import { bundleFromJSON, bundleToJSON, type SerializedBundle } from '@sigstore/bundle';
import { SigningConfig, TrustedRoot } from '@sigstore/protobuf-specs';
import { bundleBuilderFromSigningConfig } from '@sigstore/sign';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { sign as sigstoreSign } from 'sigstore';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBundle, parseSigningConfig, parseTrustedRoot, sign } from '../../apps/npm/src/sign.js';
import { verify } from '../../apps/npm/src/verify.js';
import { gitHubClaims, startWorld, type World } from '../world/index.js';

const artifact = Buffer.from('hello, world\n');
const artifactSha256 = '853ff93762a06ddbf722c4ebe9ddd66d8f63ddaea97f521c3ecc20da7c976020';
const statement = Buffer.from(
  JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'hello.txt', digest: { sha256: artifactSha256 } }],
    predicateType: 'https://example.com/predicate/v1',
    predicate: { built: true },
  }),
);
const inToto = 'application/vnd.in-toto+json';
const alice = { email: 'alice@example.com' };

describe('sigstore-js', () => {
  let world: World;
  let trustedRoot: string;
  let signingConfig: string;

  beforeAll(async () => {
    world = await startWorld();
    trustedRoot = await world.trustedRoot();
    signingConfig = await (await fetch(`${world.url}/trust/signing_config.v0.2.json`)).text();
  });
  afterAll(() => world.close());

  /** Signs with the stock client, told about us by our signing config alone. */
  async function stockSign(kind: 'messageSignature' | 'dsseEnvelope', claims: object): Promise<SerializedBundle> {
    const token = await world.token({ ...claims });
    const builder = bundleBuilderFromSigningConfig({
      signingConfig: SigningConfig.fromJSON(JSON.parse(signingConfig)),
      identityProvider: { getToken: async () => token },
      bundleType: kind,
      fetchOptions: { timeout: 20_000 },
    });
    const bundle = await builder.create(
      kind === 'dsseEnvelope' ? { data: statement, type: inToto } : { data: artifact },
    );
    return bundleToJSON(bundle);
  }

  /** Verifies with the stock client, told about us by our trusted root alone. */
  function stockVerify(bundle: unknown, data: Buffer | undefined, san: string): void {
    const material = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(trustedRoot)));
    const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 });
    verifier.verify(toSignedEntity(bundleFromJSON(bundle), data), {
      subjectAlternativeName: san,
      extensions: { issuer: world.issuer },
    });
  }

  function ourVerify(bundle: unknown, san: string) {
    return verify(JSON.stringify(bundle), artifact, {
      trustedRoot: parseTrustedRoot(trustedRoot),
      identity: san,
      issuer: world.issuer,
    });
  }

  const bundles = {
    'their message bundle': () => stockSign('messageSignature', alice),
    'their DSSE bundle': () => stockSign('dsseEnvelope', alice),
    'our message bundle': async () => ourSign(artifact),
    'our DSSE bundle': async () => ourSign({ statement }),
  };

  async function ourSign(source: Parameters<typeof sign>[0]): Promise<unknown> {
    const bundle = await sign(source, {
      signingConfig: parseSigningConfig(signingConfig),
      identityToken: await world.token(alice),
      trustedRoot: parseTrustedRoot(trustedRoot),
    });
    return JSON.parse(encodeBundle(bundle));
  }

  for (const [name, make] of Object.entries(bundles)) {
    it(`${name} is accepted by both verifiers, and refused by both for another identity`, async () => {
      const bundle = await make();
      const data = name.includes('DSSE') ? undefined : artifact;
      stockVerify(bundle, data, 'alice@example.com');
      expect(() => stockVerify(bundle, data, 'mallory@example.com')).toThrow(/identity/i);

      const report = await ourVerify(bundle, 'alice@example.com');
      expect(report.checks.filter(({ state }) => state === 'failed')).toEqual([]);
      expect(report.ok).toBe(true);
      const refused = await ourVerify(bundle, 'mallory@example.com');
      expect(refused.ok).toBe(false);
      expect(refused.checks.find(({ state }) => state === 'failed')?.id).toBe('certificate-identity');
    });
  }

  it('signs as a GitHub workflow', async () => {
    const bundle = await stockSign('messageSignature', gitHubClaims);
    const san = `https://github.com/${gitHubClaims.job_workflow_ref}`;
    stockVerify(bundle, artifact, san);
    const report = await ourVerify(bundle, san);
    expect(report.ok).toBe(true);
    expect(report.signer).toMatchObject({
      kind: 'certificate',
      extensions: {
        sourceRepositoryUri: 'https://github.com/octo-org/octo-repo',
        runInvocationUri: 'https://github.com/octo-org/octo-repo/actions/runs/12345678901/attempts/2',
      },
    });
  });

  it('the top-level package gets certificate and timestamp', async () => {
    const bundle = await sigstoreSign(artifact, {
      fulcioURL: world.url,
      tsaServerURL: world.url,
      tlogUpload: false,
      identityToken: await world.token(alice),
      timeout: 20_000,
    });
    expect(bundle.verificationMaterial.timestampVerificationData?.rfc3161Timestamps).toHaveLength(1);
    const material = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(trustedRoot)));
    const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 1, timestampThreshold: 1 });
    verifier.verify(toSignedEntity(bundleFromJSON(bundle), artifact), { subjectAlternativeName: 'alice@example.com' });
  });
});
