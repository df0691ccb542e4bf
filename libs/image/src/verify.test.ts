import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBundle, type Bundle } from '#libs/bundle';
import { encodeUtf8, parseJson } from '#libs/encoding';
import { generateSigner } from '#libs/openssl';
import type { Descriptor } from '#libs/oci';
import type { Policy } from '#libs/verify';
import { ISSUER, SAN } from '../../../test/world/small-sigstore.js';
import { MemoryStore, pushImage, pushIndex, smallSign, SmallSigstore, digestOf } from '../testing/small-registry.js';
import {
  attachBundle,
  bundleOfLayer,
  ImageError,
  legacyTag,
  SIGN_PREDICATE_TYPE,
  signatureStatement,
  verifyAttestations,
  verifyImage,
  verifyImageRecursively,
  type Candidate,
  type ImageReport,
  type Layout,
  type VerifyImageOptions,
} from './index.js';

const world = new SmallSigstore();
const identity: Policy = { kind: 'identity', san: SAN, issuer: ISSUER };
const layouts = ['bundle', 'legacy'] as const;
const demand = (more: Partial<VerifyImageOptions> = {}): VerifyImageOptions => ({
  policy: identity,
  trustedRoot: world.trustedRoot(),
  layouts,
  ...more,
});

/** The check that objected to the one candidate there is. */
function objection({ candidates }: ImageReport): string {
  const [candidate, second] = candidates;
  if (candidate === undefined || second !== undefined) throw new Error(`${candidates.length} candidates`);
  return candidate.state === 'rejected' ? candidate.check : candidate.state;
}

async function signedImage(layout: Layout, options: Parameters<typeof smallSign>[4] = {}) {
  const store = new MemoryStore();
  const image = await pushImage(store, 'hello', '1.0');
  await smallSign(world, store, image, layout, options);
  return { store, image };
}

describe.each(layouts)('verifyImage(), %s layout', (layout) => {
  it('accepts a signature by the identity, and tells layout, signer and time', async () => {
    const { store, image } = await signedImage(layout, { annotations: { env: 'prod' } });
    const report = await verifyImage(store, image.digest, demand({ annotations: { env: 'prod' } }));
    expect(report).toMatchObject({ ok: true, digest: image.digest, layouts: [layout] });
    expect(report.accepted[0]?.report.signer).toMatchObject({ kind: 'certificate', san: SAN, issuer: ISSUER });
    expect(report.accepted[0]?.annotations).toEqual({ env: 'prod' });
    expect(report.accepted[0]?.report.times?.length).toBeGreaterThan(0);
  });

  it('accepts a signature by the key, and by any of several policies', async () => {
    const managedKey = generateSigner();
    const { store, image } = await signedImage(layout, { managedKey });
    const key: Policy = { kind: 'key', publicKey: managedKey.publicKey };
    expect(await verifyImage(store, image.digest, demand({ policy: key }))).toMatchObject({ ok: true });
    expect(await verifyImage(store, image.digest, demand({ policy: [identity, key] }))).toMatchObject({ ok: true });
    const other: Policy = { kind: 'key', publicKey: generateSigner().publicKey };
    const refused = await verifyImage(store, image.digest, demand({ policy: other }));
    expect(refused).toMatchObject({ ok: false, failure: 'none-matching' });
    expect(objection(refused)).toBe('log-binding');
  });

  it('tells a signature without a certificate from others', async () => {
    const { store, image } = await signedImage(layout, { managedKey: generateSigner() });
    expect(await verifyImage(store, image.digest, demand())).toMatchObject({ ok: false, failure: 'no-certificate' });
  });

  const wrong: Record<string, [Partial<VerifyImageOptions>, string]> = {
    'another identity': [{ policy: { ...identity, san: 'mallory@example.com' } }, 'certificate-identity'],
    'another issuer': [{ policy: { ...identity, issuer: 'https://evil.example' } }, 'certificate-issuer'],
    'an annotation with another value': [{ annotations: { env: 'test' } }, 'annotations'],
    'an annotation that is not there': [{ annotations: { toString: 'x' } }, 'annotations'],
    'a certificate that says less': [{ certificate: { buildTrigger: 'push' } }, 'certificate-extensions'],
    'another trusted root': [{ trustedRoot: new SmallSigstore('other').trustedRoot() }, 'log-key'],
  };
  it.each(Object.entries(wrong))('rejects for %s', async (_, [more, check]) => {
    const { store, image } = await signedImage(layout, { annotations: { env: 'prod' } });
    const report = await verifyImage(store, image.digest, demand(more));
    expect(report).toMatchObject({ ok: false, failure: 'none-matching', accepted: [] });
    expect(objection(report)).toBe(check);
  });

  it('rejects a signature of another image that was put here, whole and valid', async () => {
    const store = new MemoryStore();
    const good = await pushImage(store, 'good');
    const evil = await pushImage(store, 'evil');
    await smallSign(world, store, evil, layout, { about: good.digest });
    const report = await verifyImage(store, evil.digest, demand());
    expect(report.ok).toBe(false);
    expect(objection(report)).toBe(layout === 'bundle' ? 'artifact-digest' : 'payload');
  });

  it('CVE-2025-25204: nothing found is a failure', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'unsigned');
    const report = await verifyImage(store, image.digest, demand());
    expect(report).toMatchObject({ ok: false, failure: 'none-found', candidates: [] });
    expect(await verifyAttestations(store, image.digest, demand())).toMatchObject({ ok: false, failure: 'none-found' });
  });

  it('looks at no layout that was not named', async () => {
    const { store, image } = await signedImage(layout);
    const other = layouts.filter((one) => one !== layout);
    expect(await verifyImage(store, image.digest, demand({ layouts: other }))).toMatchObject({ failure: 'none-found' });
  });

  // Not a thousand in one manifest: 4 MiB is all that is read of one.
  const many = layout === 'bundle' ? 1000 : 400;
  it(`finds the one good among ${many}, in bounded time`, async () => {
    const { store, image } = await signedImage(layout);
    const [goodManifest] = [...store.manifests].slice(-1);
    if (goodManifest === undefined) throw new Error('no signature');
    // 999 by somebody else, the good one last.
    const stranger = world.issue({ san: 'mallory@example.com' });
    if (layout === 'bundle') {
      store.manifests.delete(goodManifest[0]);
      for (let i = 0; i < many - 1; i++) {
        await smallSign(world, store, image, layout, { holder: stranger, annotations: { i: String(i) } });
      }
      store.manifests.set(...goodManifest);
    } else {
      await smallSign(world, store, image, layout, { holder: stranger });
      const tag = legacyTag(image.digest, 'signature');
      const { manifest } = await store.manifest(tag);
      if (manifest.kind !== 'image') throw new Error('an index');
      const [good, bad] = manifest.layers;
      const layers = [...Array.from({ length: many - 1 }, () => bad), good];
      const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, ...manifest, kind: undefined, layers }));
      await store.putManifest(bytes, manifest.mediaType, tag);
    }
    const begun = performance.now();
    const report = await verifyImage(store, image.digest, demand());
    expect(performance.now() - begun).toBeLessThan(20_000);
    expect(report.ok).toBe(true);
    expect(report.candidates).toHaveLength(many);
    expect(report.candidates.filter(({ state }) => state === 'rejected')).toHaveLength(many - 1);
    const early = await verifyImage(store, image.digest, demand({ limits: { signatures: 10 } }));
    expect(early).toMatchObject({ ok: false, incomplete: 'more than 10 signatures' });
    const small = await verifyImage(store, image.digest, demand({ limits: { bytes: 200_000 } }));
    expect(small.incomplete).toBeDefined();
    let clock = 0;
    const slow = await verifyImage(store, image.digest, demand({ clock: () => (clock += 1000) }));
    expect(slow.incomplete).toMatch(/120 s/);
  }, 60_000);
});

describe('verifyImage()', () => {
  it('CVE-2022-35929, CVE-2022-35930: an attestation by the right signer is no signature', async () => {
    const { store, image } = await signedImage('bundle', { predicateType: 'https://spdx.dev/Document' });
    const report = await verifyImage(store, image.digest, demand());
    expect(report).toMatchObject({ ok: false, failure: 'none-found' });
    expect(report.candidates).toMatchObject([{ state: 'other', reason: expect.stringContaining('spdx') as string }]);
    // And a signature is no attestation, whichever type is asked for.
    const signed = await signedImage('bundle');
    for (const predicateType of [undefined, SIGN_PREDICATE_TYPE, 'https://spdx.dev/Document']) {
      const options = demand(predicateType === undefined ? {} : { predicateType });
      expect(await verifyAttestations(signed.store, signed.image.digest, options)).toMatchObject({ ok: false });
    }
  });

  it('CVE-2022-35929: an attestation of another type than asked for does not count, in either layout', async () => {
    for (const layout of layouts) {
      const { store, image } = await signedImage(layout, { predicateType: 'https://example.com/a' });
      const right = demand({ predicateType: 'https://example.com/a' });
      expect(await verifyAttestations(store, image.digest, right)).toMatchObject({ ok: true, layouts: [layout] });
      const wrong = demand({ predicateType: 'https://example.com/b' });
      expect(await verifyAttestations(store, image.digest, wrong)).toMatchObject({ ok: false, failure: 'none-found' });
    }
  });

  const malformed: Record<string, Uint8Array> = {
    'no JSON': encodeUtf8('{'),
    'no statement': encodeUtf8('{}'),
    'a list': encodeUtf8('[]'),
    'no subject': encodeUtf8(
      JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', predicateType: SIGN_PREDICATE_TYPE, subject: [] }),
    ),
    'two predicate types': encodeUtf8(
      `{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","predicateType":${JSON.stringify(SIGN_PREDICATE_TYPE)},"subject":[]}`,
    ),
  };
  it.each(Object.entries(malformed))('CVE-2026-39395: a signed payload with %s is rejected', async (_, payload) => {
    const { store, image } = await signedImage('bundle', { payload });
    const report = await verifyImage(store, image.digest, demand());
    expect(report).toMatchObject({ ok: false, failure: 'none-matching' });
    expect(objection(report)).toBe('statement');
    const legacy = await signedImage('legacy', { payload });
    expect(objection(await verifyImage(legacy.store, legacy.image.digest, demand()))).toBe('payload');
  });

  it('rejects a signature made with the payload of another purpose', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'hello');
    const payload = encodeUtf8(
      JSON.stringify({
        critical: {
          identity: { 'docker-reference': 'x' },
          image: { 'docker-manifest-digest': image.digest },
          type: 'atomic container signature',
        },
        optional: {},
      }),
    );
    await smallSign(world, store, image, 'legacy', { payload });
    expect(objection(await verifyImage(store, image.digest, demand()))).toBe('payload');
  });

  it('rejects a bundle over the manifest as a file: that is no statement about an image', async () => {
    const store = new MemoryStore();
    const image = await pushImage(store, 'hello');
    const { bytes } = await store.manifest(image.digest);
    await attachBundle(store, image, world.signMessage(bytes), { now: 0 });
    expect(objection(await verifyImage(store, image.digest, demand()))).toBe('predicate-type');
  });

  it('rejects what a registry lists as a referrer and is about another image', async () => {
    const { store, image } = await signedImage('bundle');
    const other = await pushImage(store, 'other');
    const listed = store.referrers.bind(store);
    store.referrers = () => listed(image.digest);
    const report = await verifyImage(store, other.digest, demand());
    expect(report).toMatchObject({ ok: false });
    expect(report.candidates).toMatchObject([
      { check: 'readable', reason: expect.stringContaining('refers to') as string },
    ]);
  });

  it('explains what cannot be read, and still finds the good one', async () => {
    const { store, image } = await signedImage('bundle');
    const text = encodeBundle(world.signStatement(new Uint8Array(), { payload: signatureStatement(image.digest) }));
    for (const bad of [text.slice(0, -10), '', text.replace('0.3', '0.9')]) {
      const layer = await store.putBlob(encodeUtf8(bad));
      const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
      const manifest = {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
        artifactType: type,
        config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(encodeUtf8('{}')), size: 2 },
        layers: [{ mediaType: type, digest: layer.digest, size: layer.size }],
        subject: { mediaType: image.mediaType, digest: image.digest, size: image.size },
      };
      await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifest.mediaType);
    }
    const report = await verifyImage(store, image.digest, demand());
    expect(report.ok).toBe(true);
    const unread = report.candidates.filter(
      (one): one is Candidate & { state: 'rejected' } => one.state === 'rejected',
    );
    expect(unread.map(({ check }) => check)).toEqual(['readable', 'readable', 'readable']);
    expect(unread.every(({ reason }) => reason.startsWith('Cannot '))).toBe(true);
  });

  it('CVE-2022-47633: verifies the digest it was given, whatever the tag means meanwhile', async () => {
    const { store, image } = await signedImage('bundle');
    const { digest } = await store.resolve('1.0');
    const evil = await pushImage(store, 'evil');
    store.before = () => void store.tagged.set('1.0', evil.digest);
    const report = await verifyImage(store, digest, demand());
    expect(report).toMatchObject({ ok: true, digest: image.digest });
    expect((await verifyImage(store, (await store.resolve('1.0')).digest, demand())).ok).toBe(false);
  });
});

// Two signings in the legacy layout, A and B: whichever annotation comes from the other one, the layer is refused.
describe('CVE-2022-36056, CVE-2022-23649, CVE-2026-22703: legacy layers put together from two', () => {
  const annotations = [
    'dev.cosignproject.cosign/signature',
    'dev.sigstore.cosign/certificate',
    'dev.sigstore.cosign/bundle',
    'dev.sigstore.cosign/rfc3161timestamp',
  ];
  const choices = Array.from({ length: 32 }, (_, bits) => Array.from({ length: 5 }, (_, i) => (bits >> i) & 1));
  const signer = generateSigner();
  for (const [kind, options] of [
    ['certificates', {}],
    ['one key', { managedKey: signer }],
  ] as const) {
    it.each(choices.map((choice) => [choice.map((one) => 'AB'[one]).join(''), choice] as const))(
      `${kind}: %s`,
      async (_, choice) => {
        const store = new MemoryStore();
        const images = [await pushImage(store, 'A'), await pushImage(store, 'B')] as const;
        const layers: (Descriptor | undefined)[] = [];
        for (const image of images) {
          await smallSign(world, store, image, 'legacy', { ...options });
          const { manifest } = await store.manifest(legacyTag(image.digest, 'signature'));
          if (manifest.kind !== 'image') throw new Error('an index');
          layers.push(manifest.layers[0]);
        }
        const at = (i: number) => layers[choice[i] ?? 0];
        const mixed = {
          ...at(4),
          annotations: Object.fromEntries(
            annotations.flatMap((name, i) => {
              const value = at(i)?.annotations?.[name];
              return value === undefined ? [] : [[name, value]];
            }),
          ),
        };
        const target = images[(choice[4] ?? 0) as 0 | 1];
        const tag = legacyTag(target.digest, 'signature');
        const { manifest } = await store.manifest(tag);
        const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, ...manifest, kind: undefined, layers: [mixed] }));
        await store.putManifest(bytes, manifest.mediaType, tag);
        const policy: Policy = kind === 'one key' ? { kind: 'key', publicKey: signer.publicKey } : identity;
        const report = await verifyImage(store, target.digest, demand({ policy }));
        // A key has no certificate that could be foreign.
        const matters = kind === 'one key' ? choice.filter((_, i) => i !== 1) : choice;
        expect(report.ok).toBe(new Set(matters).size === 1);
      },
    );
  }
});

describe('verifyImageRecursively()', () => {
  it('wants a signature of its own for every manifest, nested ones and BuildKit attestations too', async () => {
    const store = new MemoryStore();
    const amd64 = await pushImage(store, 'amd64');
    const arm64 = await pushImage(store, 'arm64');
    const provenance = await pushImage(store, 'buildkit');
    const inner = await pushIndex(store, [[arm64, { os: 'linux', architecture: 'arm64', variant: 'v8' }]]);
    const index = await pushIndex(
      store,
      [
        [amd64, { os: 'linux', architecture: 'amd64' }],
        [inner, { os: 'linux', architecture: 'arm64' }],
        [provenance, { os: 'unknown', architecture: 'unknown' }],
      ],
      'multi',
    );
    const all = [index, amd64, inner, arm64, provenance];
    for (const one of all) await smallSign(world, store, one, 'bundle');
    const whole = await verifyImageRecursively(store, index.digest, demand());
    expect(whole.ok).toBe(true);
    expect(whole.platforms.map(({ platform }) => platform)).toEqual([
      undefined,
      'linux/amd64',
      'linux/arm64',
      'linux/arm64/v8',
      'unknown',
    ]);
    for await (const { digest } of store.referrers(arm64.digest)) await store.deleteManifest(digest);
    const partly = await verifyImageRecursively(store, index.digest, demand());
    expect(partly.ok).toBe(false);
    expect(partly.platforms.filter(({ report }) => !report.ok).map(({ platform }) => platform)).toEqual([
      'linux/arm64/v8',
    ]);
  });

  it('stops at indexes that are too deep', async () => {
    const store = new MemoryStore();
    let at = await pushImage(store, 'deep');
    for (let i = 0; i < 6; i++) at = await pushIndex(store, [[at, { os: 'linux', architecture: 'amd64' }]]);
    await expect(verifyImageRecursively(store, at.digest, demand())).rejects.toThrow(/more than 4 levels/);
  });
});

describe('bundleOfLayer()', () => {
  it('takes any annotations: a bundle or its own error', () => {
    const names = ['signature', 'certificate', 'chain', 'bundle', 'rfc3161timestamp'];
    fc.assert(
      fc.property(
        fc.uint8Array(),
        fc.dictionary(fc.constantFrom(...names), fc.oneof(fc.string(), fc.json())),
        (bytes, some) => {
          const annotations = Object.fromEntries(
            Object.entries(some).map(([name, value]) => [
              name === 'signature' ? 'dev.cosignproject.cosign/signature' : `dev.sigstore.cosign/${name}`,
              value,
            ]),
          );
          for (const mediaType of ['application/vnd.dsse.envelope.v1+json', 'x']) {
            let bundle: Bundle | undefined;
            try {
              bundle = bundleOfLayer({ mediaType, bytes, annotations });
            } catch (error) {
              expect(error).toBeInstanceOf(ImageError);
            }
            if (bundle !== undefined) expect(bundle.version).toBe('0.1');
          }
        },
      ),
    );
  });

  it('is the inverse of layerOfBundle() but for the proof', async () => {
    const { store, image } = await signedImage('legacy');
    const { manifest } = await store.manifest(legacyTag(image.digest, 'signature'));
    const layer = manifest.kind === 'image' ? manifest.layers[0] : undefined;
    if (layer === undefined) throw new Error('no layer');
    const bundle = bundleOfLayer({
      mediaType: layer.mediaType,
      bytes: await store.blob(layer),
      annotations: layer.annotations ?? {},
    });
    // The root of the chain is a hint too many.
    expect(bundle.material).toMatchObject({ kind: 'certificate', certificates: { length: 2 } });
    expect(bundle.tlogEntries[0]).toMatchObject({ kind: 'hashedrekord', version: '0.0.1', logIndex: 1003n });
    expect(bundle.tlogEntries[0]?.inclusionProof).toBeUndefined();
    expect(bundle.timestamps).toHaveLength(1);
    expect(parseJson(await store.blob(layer))).toMatchObject({
      critical: { type: 'cosign container image signature' },
    });
  });
});
