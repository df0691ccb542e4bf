import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import {
  artifactTypeOf,
  digestOf,
  emptyConfig,
  encodeDescriptor,
  mediaTypes,
  OciError,
  parseManifest,
} from './index.js';

const { ociManifest, ociIndex, dockerManifest, dockerList } = mediaTypes;
const config = { mediaType: mediaTypes.ociConfig, digest: digestOf(encodeUtf8('config')), size: 6 };
const layer = {
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest: digestOf(encodeUtf8('layer')),
  size: 5,
};
const image = { schemaVersion: 2, mediaType: ociManifest as string, config, layers: [layer] };
const index = { schemaVersion: 2, mediaType: ociIndex as string, manifests: [{ ...layer, mediaType: ociManifest }] };
const parse = (value: unknown, type?: string) => parseManifest(encodeUtf8(JSON.stringify(value)), type);

describe('parseManifest()', () => {
  it('reads an image of OCI and of Docker', () => {
    expect(parse(image)).toEqual({ kind: 'image', mediaType: ociManifest, config, layers: [layer] });
    expect(parse({ ...image, mediaType: dockerManifest })).toMatchObject({ kind: 'image', mediaType: dockerManifest });
    expect(parse({ ...image, mediaType: undefined }, ociManifest)).toMatchObject({ kind: 'image' });
  });

  it('reads an index of OCI and of Docker, with platforms', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '1' };
    const manifests = [{ ...layer, platform }];
    expect(parse({ ...index, manifests })).toEqual({ kind: 'index', mediaType: ociIndex, manifests });
    expect(parse({ ...index, mediaType: dockerList })).toMatchObject({ kind: 'index', mediaType: dockerList });
    expect(parse({ ...index, manifests: null })).toMatchObject({ manifests: [] });
  });

  it('reads an artifact with its subject', () => {
    const artifact = {
      ...image,
      artifactType: 'application/x',
      subject: layer,
      annotations: { a: 'b', __proto__: 'c' },
    };
    expect(parse(artifact)).toMatchObject({ artifactType: 'application/x', subject: layer, annotations: { a: 'b' } });
  });

  it('reads members that it does not know, and checks data that is inline', () => {
    const data = encodeBase64(emptyConfig.bytes);
    expect(parse({ ...image, future: 1, config: { ...emptyConfig.descriptor, data } })).toMatchObject({
      config: { data: emptyConfig.bytes },
    });
  });

  it.each<[string, object, string?]>([
    ['no schema version', { ...image, schemaVersion: undefined }],
    ['schema version 1', { ...image, schemaVersion: 1 }],
    ['another media type than it was sent as', image, ociIndex],
    ['a media type of neither', { ...image, mediaType: 'application/json' }],
    ["a media type that is a name of Object's", { ...image, mediaType: 'constructor' }],
    ['no media type at all', { ...image, mediaType: undefined }],
    ['both layers and manifests (CVE-2021-41190)', { ...image, manifests: [] }],
    ['both manifests and layers (CVE-2021-41190)', { ...index, layers: [] }],
    ['a manifest of schema 1 inside', { ...image, fsLayers: [] }],
    ['no config', { ...image, config: undefined }],
    ['layers that are no list', { ...image, layers: {} }],
    ['a layer that is no descriptor', { ...image, layers: [1] }],
    ['a layer without a digest', { ...image, layers: [{ ...layer, digest: undefined }] }],
    ['a digest that climbs', { ...image, layers: [{ ...layer, digest: 'sha256:../../../etc/passwd' }] }],
    ['a digest of md5', { ...image, layers: [{ ...layer, digest: `md5:${'0'.repeat(32)}` }] }],
    ['a negative size', { ...image, layers: [{ ...layer, size: -1 }] }],
    ['a size that is not whole', { ...image, layers: [{ ...layer, size: 1.5 }] }],
    ['a size beyond 2^53', { ...image, layers: [{ ...layer, size: 2 ** 60 }] }],
    ['a size that is text', { ...image, layers: [{ ...layer, size: '5' }] }],
    ['no media type of a layer', { ...image, layers: [{ ...layer, mediaType: '' }] }],
    ['a media type with a new line', { ...image, layers: [{ ...layer, mediaType: 'a/b\nc' }] }],
    ['annotations that are a list', { ...image, annotations: [] }],
    ['an annotation that is a number', { ...image, annotations: { a: 1 } }],
    ['a subject that is text', { ...image, subject: layer.digest }],
    ['an artifactType that is a number', { ...image, artifactType: 1 }],
    ['inline data of another size', { ...image, config: { ...config, data: encodeBase64(encodeUtf8('confi')) } }],
    ['inline data of another digest', { ...image, config: { ...config, data: encodeBase64(encodeUtf8('Config')) } }],
    ['inline data that is no base64', { ...image, config: { ...config, data: '***' } }],
    ['URLs that are no list', { ...image, layers: [{ ...layer, urls: 'x' }] }],
    ['a platform that is text', { ...index, manifests: [{ ...layer, platform: 'linux' }] }],
    ['a list', []],
  ])('refuses %s', (_, value, type) => {
    expect(() => parse(value, type)).toThrow(expect.objectContaining({ code: 'OCI_MANIFEST' }) as Error);
  });

  it.each([
    ['text that is not JSON', '{'],
    ['a member twice', '{"schemaVersion":2,"schemaVersion":2}'],
    ['bytes after the end', '{} x'],
    ['17 levels', `{"schemaVersion":2,"x":${'['.repeat(17)}${']'.repeat(17)}}`],
  ])('refuses %s', (_, text) => {
    expect(() => parseManifest(encodeUtf8(text), ociManifest)).toThrow(
      expect.objectContaining({ code: 'OCI_MANIFEST' }) as Error,
    );
  });

  it('reads 4096 layers, and not one more', () => {
    expect(parse({ ...image, layers: Array(4096).fill(layer) })).toMatchObject({ kind: 'image' });
    expect(() => parse({ ...image, layers: Array(4097).fill(layer) })).toThrow(
      expect.objectContaining({ code: 'OCI_LIMIT' }) as Error,
    );
  });

  it('refuses more than 4 MiB, and more values than fit in memory, before it reads them', () => {
    const padded = { ...image, annotations: { a: 'x'.repeat(4 * 1024 * 1024) } };
    expect(() => parse(padded)).toThrow(expect.objectContaining({ code: 'OCI_LIMIT' }) as Error);
    const text = `{"schemaVersion":2,"layers":[${'{},'.repeat(1_000_000)}{}]}`;
    expect(() => parseManifest(encodeUtf8(text), ociManifest)).toThrow(
      expect.objectContaining({ code: 'OCI_LIMIT' }) as Error,
    );
    // Commas and brackets inside of text are none.
    expect(parse({ ...image, annotations: { a: `${'{[,'.repeat(100_000)}\\"` } })).toMatchObject({ kind: 'image' });
  });

  it('property: any bytes are read or refused with OciError', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(encodeUtf8)), (bytes) => {
        try {
          parseManifest(bytes, ociManifest);
        } catch (error) {
          expect(error).toBeInstanceOf(OciError);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('property: a member dropped or replaced is read or refused with OciError', () => {
    const whole = { ...image, subject: layer, annotations: { a: 'b' }, artifactType: 'x' };
    const value = fc.oneof(
      fc.constant(undefined),
      fc.constant(null),
      fc.integer(),
      fc.string(),
      fc.constant([]),
      fc.constant({}),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(whole)),
        fc.constantFrom(...Object.keys(layer)),
        value,
        (name, inner, other) => {
          for (const changed of [
            { ...whole, [name]: other },
            { ...whole, layers: [{ ...layer, [inner]: other }] },
          ]) {
            try {
              parse(changed);
            } catch (error) {
              expect(error).toBeInstanceOf(OciError);
            }
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('encodeDescriptor()', () => {
  it('writes what parseManifest() read', () => {
    const all = {
      ...layer,
      artifactType: 'a/b',
      annotations: { a: 'b' },
      platform: { os: 'linux', architecture: 'amd64' },
      urls: ['https://x.example/'],
    };
    const read = parse({ ...image, layers: [all] });
    expect(read.kind === 'image' && read.layers[0] && encodeDescriptor(read.layers[0])).toEqual(all);
  });
});

describe('artifactTypeOf()', () => {
  it("is the manifest's, or else its config's", () => {
    expect(artifactTypeOf(parse({ ...image, artifactType: 'a/b' }))).toBe('a/b');
    expect(artifactTypeOf(parse({ ...image, artifactType: '' }))).toBe(mediaTypes.ociConfig);
    expect(artifactTypeOf(parse(index))).toBeUndefined();
  });
});

describe('emptyConfig', () => {
  it('is two bytes, with the digest that the specification prints', () => {
    expect(emptyConfig.descriptor.digest).toBe(
      'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a',
    );
  });
});
