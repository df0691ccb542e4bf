import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import type { Descriptor } from '#libs/oci';
import { ISSUER, SAN } from '../../../test/world/small-sigstore.js';
import { MemoryStore, pushImage, smallSign, SmallSigstore, digestOf } from '../testing/small-registry.js';
import { legacyTag, verifyAttestations, verifyImage, type VerifyImageOptions } from './index.js';

// What others learnt. Elsewhere: CVE-2022-23649, -35929, -35930, -36056, -47633, CVE-2025-25204, CVE-2026-22703 and -39395 in verify.test.ts; CVE-2023-33957, -33958,
// -33959, -46737, CVE-2024-29902 and -29903, which are about registries, in libs/oci.
// CVE-2024-51491 (notation: a cache of CRLs on another file system ended the process) has no road here: no CRL is read or kept, and files are renamed within
// their folder.

const world = new SmallSigstore();
const layouts = ['bundle', 'legacy'] as const;
const demand = (more: Partial<VerifyImageOptions> = {}): VerifyImageOptions => ({
  policy: { kind: 'identity', san: SAN, issuer: ISSUER },
  trustedRoot: world.trustedRoot(),
  layouts,
  ...more,
});

describe.each(layouts)('CVE-2026-24122 (cosign), %s layout: a chain with one expired certificate', (layout) => {
  const expired = { notBefore: new Date('2026-01-02T00:00:00Z'), notAfter: new Date('2026-02-01T00:00:00Z') };
  const { root } = world;

  it('the leaf', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app');
    await smallSign(world, store, image, layout, { holder: world.issue(expired) });
    expect((await verifyImage(store, image.digest, demand())).candidates).toMatchObject([
      { state: 'rejected', check: 'certificate-chain' },
    ]);
  });

  it('the intermediate', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app');
    const intermediate = world.issueAuthority(root, { name: 'old', ...expired });
    await smallSign(world, store, image, layout, { holder: world.issue({ by: intermediate }) });
    const trustedRoot = world.trustedRoot();
    for (const ca of trustedRoot.certificateAuthorities) ca.certChain = [intermediate.certificate, root.certificate];
    expect((await verifyImage(store, image.digest, demand({ trustedRoot }))).candidates).toMatchObject([
      { state: 'rejected', check: 'certificate-chain' },
    ]);
  });
});

describe('CVE-2023-25656 (notation): signatures as large as whoever stored them likes', () => {
  const gigabyte = { digest: digestOf(encodeUtf8('never sent')), size: 1024 * 1024 * 1024 };

  it.each([
    ['a bundle', 'bundle', 'application/vnd.dev.sigstore.bundle.v0.3+json'],
    ['a payload', 'legacy', 'application/vnd.dev.cosign.simplesigning.v1+json'],
  ] as const)('%s of 1 GB is refused by what its descriptor says', async (_, layout, mediaType) => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app');
    const config = await store.putBlob(encodeUtf8('{}'));
    const { mediaType: type, digest, size } = image;
    const manifest = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config,
      layers: [{ mediaType, ...gigabyte }],
      ...(layout === 'bundle' && { artifactType: mediaType, subject: { mediaType: type, digest, size } }),
    };
    const tag = layout === 'bundle' ? undefined : legacyTag(digest, 'signature');
    await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifest.mediaType, tag);
    const blobs: Descriptor[] = [];
    store.blobStream = (descriptor) => {
      blobs.push(descriptor);
      throw new Error('it was fetched');
    };
    const limits = { bytes: Number.MAX_SAFE_INTEGER };
    const report = await verifyImage(store, image.digest, demand({ layouts: [layout], limits }));
    expect(report.candidates).toMatchObject([{ state: 'rejected', check: 'readable' }]);
    // Nor is it by the limit for all signatures together.
    expect(await verifyImage(store, image.digest, demand({ layouts: [layout] }))).toMatchObject({
      ok: false,
      incomplete: expect.stringContaining('bytes of signatures') as string,
    });
    expect(blobs).toEqual([]);
  });
});

describe('CVE-2024-56138 (notation): a timestamp of an authority that was withdrawn', () => {
  it.each(layouts)('counts for nothing, %s layout', async (layout) => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'app');
    await smallSign(world, store, image, layout);
    expect(await verifyImage(store, image.digest, demand())).toMatchObject({ ok: true });
    const trustedRoot = world.trustedRoot();
    // How Sigstore withdraws one: no revocation list, but an end in the trusted root, before the time in question.
    for (const tsa of trustedRoot.timestampAuthorities) tsa.validFor.end = new Date('2026-02-01T00:00:00Z');
    const report = await verifyImage(store, image.digest, demand({ trustedRoot }));
    expect(report.candidates).toMatchObject([{ state: 'rejected', check: 'timestamp' }]);
  });
});

it('a duplicated name in a signed payload is refused in the legacy layout, wherever it stands', async () => {
  const store = new MemoryStore();
  const image = await pushImage(store, 'app');
  const other = await pushImage(store, 'other');
  const manifest = (digest: string): string => `"docker-manifest-digest":"${digest}"`;
  const payload = (inner: string): string =>
    `{"critical":{"identity":{"docker-reference":"x"},"image":{${inner}},"type":"cosign container image signature"},"optional":null}`;
  await smallSign(world, store, image, 'legacy', {
    payload: encodeUtf8(payload(`${manifest(other.digest)},${manifest(image.digest)}`)),
  });
  expect((await verifyImage(store, image.digest, demand())).candidates).toMatchObject([
    { state: 'rejected', check: 'payload', reason: expect.stringContaining('not JSON') as string },
  ]);
});

it('an attestation about several subjects counts for each of them, and for no other digest of the same letters', async () => {
  const store = new MemoryStore();
  const [first, second, third] = [
    await pushImage(store, '1'),
    await pushImage(store, '2'),
    await pushImage(store, '3'),
  ];
  const hex = (one: Descriptor): string => one.digest.slice('sha256:'.length);
  const payload = encodeUtf8(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [
        { digest: { sha256: hex(first) } },
        { digest: { sha256: hex(second) } },
        // Of an algorithm that is not the image's, under its own letters.
        { digest: { sha512: hex(third), sha1: hex(third), SHA256: hex(third) }, name: third.digest },
      ],
      predicateType: 'https://example.com/p',
      predicate: {},
    }),
  );
  for (const one of [first, second, third]) {
    await smallSign(world, store, one, 'bundle', { payload, predicateType: 'https://example.com/p' });
    const report = await verifyAttestations(store, one.digest, demand({ predicateType: 'https://example.com/p' }));
    expect(report.ok, one.digest).toBe(one !== third);
  }
});

it('what a stranger wrote is quoted in a reason as far as a reader will read', async () => {
  const store = new MemoryStore();
  const image = await pushImage(store, 'app');
  const long = `https://example.com/${'x'.repeat(1_000_000)}`;
  await smallSign(world, store, image, 'bundle', { predicateType: long, predicate: {} });
  const asSignature = await verifyImage(store, image.digest, demand());
  const asAttestation = await verifyAttestations(
    store,
    image.digest,
    demand({ predicateType: 'https://example.com/' }),
  );
  const policy = { name: 'p', check: () => long };
  const asked = await verifyAttestations(store, image.digest, demand({ statementPolicies: [policy] }));
  for (const { candidates } of [asSignature, asAttestation, asked]) {
    const [candidate] = candidates;
    expect(candidate?.state).toMatch(/other|rejected/);
    expect(JSON.stringify(candidate).length).toBeLessThan(20_000);
  }
});
