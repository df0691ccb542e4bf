import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { encodeUtf8, parseJson } from '#libs/encoding';
import { chooseServices, loadSigningKey } from '#libs/sign';
import { createWorld } from '../../sign/testing/world.js';
import { MemoryStore, pushImage, pushIndex, repository } from '../testing/small-registry.js';
import {
  attestationStatement,
  attestImage,
  parsePayload,
  encodePayload,
  signatureStatement,
  signImage,
  subjectAnnotations,
  verifyImage,
  type SignImageOptions,
} from './index.js';

function setup() {
  const services = createWorld();
  const { fetch, now, trustedRoot, signingConfig } = services;
  const store = new MemoryStore();
  const options: SignImageOptions = {
    fetch,
    now,
    trustedRoot,
    identityToken: services.token(),
    services: chooseServices(signingConfig, { now: new Date(now()) }),
    layout: 'bundle',
    repository,
  };
  return { services, store, options };
}

describe('signImage()', () => {
  it('signs, checks and stores as cosign expects it', async () => {
    const { services, store, options } = setup();
    const image = await pushImage(store, 'hello');
    const [signed] = await signImage(store, image, { ...options, annotations: { env: 'prod' } });
    expect(signed).toMatchObject({ target: image, layout: 'bundle', checked: true });
    const { manifest } = await store.manifest(signed?.manifest ?? '');
    const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    expect(manifest).toMatchObject({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: type,
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        size: 2,
        digest: 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
      },
      layers: [{ mediaType: type }],
      subject: { mediaType: image.mediaType, digest: image.digest, size: image.size },
      annotations: {
        'org.opencontainers.image.created': expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/) as string,
        'dev.sigstore.bundle.content': 'dsse-envelope',
        'dev.sigstore.bundle.predicateType': 'https://sigstore.dev/cosign/sign/v1',
      },
    });
    const report = await verifyImage(store, image.digest, {
      policy: { kind: 'identity', san: 'alice@example.com', issuer: 'http://sign.example/oidc' },
      trustedRoot: services.trustedRoot,
      layouts: ['bundle'],
      annotations: { env: 'prod' },
    });
    expect(report).toMatchObject({ ok: true });
    expect(parseJson(report.accepted[0]?.payload ?? new Uint8Array())).toEqual({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { sha256: image.digest.slice(7) }, annotations: { env: 'prod' } }],
      predicateType: 'https://sigstore.dev/cosign/sign/v1',
      predicate: {},
    });
  });

  it('signs an index and all in it with one certificate', async () => {
    const { services, store, options } = setup();
    const child = await pushImage(store, 'amd64');
    const index = await pushIndex(store, [[child, { os: 'linux', architecture: 'amd64' }]]);
    const signed = await signImage(store, index, { ...options, recursive: true });
    expect(signed.map(({ target }) => target.digest)).toEqual([index.digest, child.digest]);
    expect(services.calls.filter(({ path }) => path === '/api/v2/signingCert')).toHaveLength(1);
  });

  it('stores nothing when told so, and nothing that does not verify', async () => {
    const { store, options } = setup();
    const image = await pushImage(store, 'hello');
    const before = store.manifests.size;
    const [signed] = await signImage(store, image, { ...options, upload: false });
    expect(signed?.manifest).toBeUndefined();
    // The services are another instance's: their answers are refused, and were they not, the signature would be.
    const other = createWorld();
    await expect(signImage(store, image, { ...options, trustedRoot: other.trustedRoot })).rejects.toMatchObject({
      code: expect.stringMatching(/^SIGN_/) as string,
    });
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = loadSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const wrong = {
      ...key,
      signChunks: (chunks: Iterable<Uint8Array>) => key.signChunks([...chunks, encodeUtf8('!')]),
    };
    await expect(signImage(store, image, { ...options, key: wrong })).rejects.toThrow();
    expect(store.manifests.size).toBe(before);
  });

  it('stores nothing that our verifier refuses, whatever the services say', async () => {
    const { services, store, options } = setup();
    const image = await pushImage(store, 'hello');
    // The authority's time ends after it issued, and before the signature is stamped: each answer by itself is right.
    const end = new Date(services.now() + 1000);
    const { certificateAuthorities: authorities } = services.trustedRoot;
    const certificateAuthorities = authorities.map((one) => ({ ...one, validFor: { ...one.validFor, end } }));
    const fetch: typeof globalThis.fetch = (url, init) => {
      if ((url as string).includes('/api/v1/timestamp')) services.clock.nowMs += 60_000;
      return services.fetch(url, init);
    };
    const before = store.manifests.size;
    const trustedRoot = { ...services.trustedRoot, certificateAuthorities };
    await expect(signImage(store, image, { ...options, trustedRoot, fetch })).rejects.toMatchObject({
      code: 'IMAGE_SELF_CHECK',
    });
    expect(store.manifests.size).toBe(before);
  });

  it('has no legacy layout without a log that promises', async () => {
    const { store, options, services } = setup();
    const image = await pushImage(store, 'hello');
    await expect(signImage(store, image, { ...options, layout: 'legacy' })).rejects.toMatchObject({
      code: 'IMAGE_SERVICES',
    });
    expect(services.calls).toEqual([]);
  });
});

describe('attestImage()', () => {
  it('refuses a predicate that is not of its type, and the type of signatures, before anything is sent', async () => {
    const { store, options, services } = setup();
    const image = await pushImage(store, 'hello');
    for (const predicateType of ['https://slsa.dev/provenance/v1', 'https://sigstore.dev/cosign/sign/v1']) {
      await expect(attestImage(store, image, { ...options, predicateType, predicate: {} })).rejects.toMatchObject({
        code: 'IMAGE_PREDICATE',
      });
    }
    expect(services.calls).toEqual([]);
  });

  it('signs a whole statement as it is, if it is about this image', async () => {
    const { store, options } = setup();
    const image = await pushImage(store, 'hello');
    const other = await pushImage(store, 'other');
    const about = (digest: typeof image.digest) =>
      attestationStatement(digest, { predicateType: 'https://x/y', predicate: { n: 2n ** 60n } });
    const [signed] = await attestImage(store, image, { ...options, statement: about(image.digest) });
    const { content } = signed?.bundle ?? {};
    expect(content?.kind === 'dsse' && content.envelope.payload).toEqual(about(image.digest));
    expect(new TextDecoder().decode(about(image.digest))).toContain('1152921504606846976');
    for (const statement of [about(other.digest), encodeUtf8('{}')]) {
      await expect(attestImage(store, image, { ...options, statement })).rejects.toMatchObject({
        code: 'IMAGE_PREDICATE',
      });
    }
  });
});

describe('statements and payloads', () => {
  const digest = `sha256:${'a'.repeat(64)}` as const;
  const other = `sha256:${'b'.repeat(64)}` as const;

  it('keep annotations of the digest they are about, and of no other', () => {
    expect(subjectAnnotations(signatureStatement(digest, { a: 'b' }), digest)).toEqual({ a: 'b' });
    expect(subjectAnnotations(signatureStatement(digest, { a: 'b' }), other)).toEqual({});
    expect(
      subjectAnnotations(signatureStatement(`sha512:${'c'.repeat(128)}`, { a: 'b' }), `sha512:${'c'.repeat(128)}`),
    ).toEqual({ a: 'b' });
  });

  it('parsePayload() reads what encodePayload() wrote, and refuses the rest', () => {
    const payload = encodePayload(digest, { dockerReference: repository, annotations: { a: 'b' } });
    expect(parsePayload(payload)).toEqual({ dockerReference: repository, digest, annotations: { a: 'b' } });
    expect(parsePayload(encodePayload(digest, { dockerReference: '' })).annotations).toEqual({});
    const text = new TextDecoder().decode(payload);
    const wrong = [
      '',
      '{}',
      '[]',
      text.replace('cosign container', 'atomic container'),
      text.replace('docker-manifest-digest', 'x'),
      text.replace('"optional"', '"critical"'),
      text.slice(0, -1),
      `${text} x`,
    ];
    for (const bad of wrong) expect(() => parsePayload(encodeUtf8(bad)), bad).toThrow(/Cannot read signature payload/);
  });
});
