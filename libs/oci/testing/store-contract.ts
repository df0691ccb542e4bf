import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { digestOf, emptyConfig, mediaTypes, type Descriptor, type Digest, type ImageStore } from '../src/index.js';

/** An image without layers; `name` makes it another one. */
export function imageBytes(name: string, more: object = {}): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: emptyConfig.descriptor,
      layers: [],
      annotations: { name },
      ...more,
    }),
  );
}

/** An artifact that refers to `subject`. */
export function referrerBytes(subject: Descriptor, name: string, artifactType = 'application/vnd.test'): Uint8Array {
  const { mediaType, digest, size } = subject;
  return imageBytes(name, { artifactType, subject: { mediaType, digest, size } });
}

/** `size` bytes that no other name has, in pieces. */
export function content(
  name: string,
  size: number,
): { descriptor: Descriptor; stream: () => AsyncIterable<Uint8Array> } {
  const piece = createHash('sha512').update(name).digest();
  const pieces = function* (): Generator<Uint8Array> {
    const chunk = new Uint8Array(65_536);
    for (let i = 0; i < chunk.length; i++) chunk[i] = piece[i % piece.length] ?? 0;
    for (let left = size; left > 0; left -= chunk.length) yield chunk.subarray(0, Math.min(left, chunk.length));
  };
  const hash = createHash('sha256');
  for (const chunk of pieces()) hash.update(chunk);
  const digest: Digest = `sha256:${hash.digest('hex')}`;
  return {
    descriptor: { mediaType: 'application/octet-stream', digest, size },
    stream: async function* () {
      yield* pieces();
    },
  };
}

export async function listAll<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** What every store does. `open`: an empty one. */
export function storeContract(
  name: string,
  open: () => Promise<{ store: ImageStore; close: () => Promise<void> }>,
): void {
  describe(`an image store: ${name}`, () => {
    let store: ImageStore;
    let close: () => Promise<void>;
    beforeAll(async () => {
      ({ store, close } = await open());
      await store.putBlob(emptyConfig.bytes);
    });
    afterAll(() => close());

    const push = async (image: string, tag?: string): Promise<Descriptor> =>
      (await store.putManifest(imageBytes(image), mediaTypes.ociManifest, tag)).descriptor;

    it('keeps a blob, and gives it back', async () => {
      const bytes = encodeUtf8('a blob');
      const descriptor = await store.putBlob(bytes, { mediaType: 'text/plain' });
      expect(descriptor).toEqual({ mediaType: 'text/plain', digest: digestOf(bytes), size: 6 });
      expect(await store.hasBlob(descriptor)).toBe(true);
      expect(await store.blob(descriptor)).toEqual(bytes);
      expect(await store.putBlob(bytes)).toMatchObject({ digest: descriptor.digest });
      expect(await store.blob(await store.putBlob(new Uint8Array(0)))).toEqual(new Uint8Array(0));
    });

    it('keeps a stream of several chunks', async () => {
      const { descriptor, stream } = content('several chunks', 3_000_000);
      await store.putBlob({ descriptor, stream });
      const hash = createHash('sha256');
      for await (const chunk of store.blobStream(descriptor)) hash.update(chunk);
      expect(`sha256:${hash.digest('hex')}`).toBe(descriptor.digest);
    });

    it.each([
      ['other content', { digest: digestOf(encodeUtf8('other')) }, 'OCI_DIGEST'],
      ['one byte more', { size: 2_999_999 }, 'OCI_SIZE'],
      ['one byte less', { size: 3_000_001 }, 'OCI_SIZE'],
    ])('keeps no stream that has %s than its descriptor', async (_, wrong, code) => {
      const { descriptor, stream } = content('wrong', 3_000_000);
      const said: Descriptor = { ...descriptor, ...wrong };
      await expect(store.putBlob({ descriptor: said, stream })).rejects.toMatchObject({ code });
      expect(await store.hasBlob(descriptor)).toBe(false);
      expect(await store.hasBlob(said)).toBe(false);
    });

    it('has no blob that nobody put there', async () => {
      const { descriptor } = content('nobody', 10);
      expect(await store.hasBlob(descriptor)).toBe(false);
      await expect(store.blob(descriptor)).rejects.toMatchObject({ code: 'OCI_NOT_FOUND' });
      await expect(store.manifest(descriptor.digest)).rejects.toMatchObject({ code: 'OCI_NOT_FOUND' });
      await expect(store.resolve('nothing')).rejects.toMatchObject({ code: 'OCI_NOT_FOUND' });
    });

    it('reads no more than it may', async () => {
      const descriptor = await store.putBlob(encodeUtf8('twelve bytes'));
      await expect(store.blob(descriptor, 11)).rejects.toMatchObject({ code: 'OCI_LIMIT' });
      await expect(store.blob({ ...descriptor, size: 11 })).rejects.toMatchObject({ code: 'OCI_SIZE' });
      await expect(store.blob({ ...descriptor, size: 13 })).rejects.toMatchObject({ code: 'OCI_SIZE' });
    });

    it('keeps a manifest under its tag and its digest', async () => {
      const bytes = imageBytes('tagged');
      const descriptor = await push('tagged', 'v1');
      expect(descriptor).toEqual({ mediaType: mediaTypes.ociManifest, digest: digestOf(bytes), size: bytes.length });
      expect(await store.resolve('v1')).toEqual(descriptor);
      expect(await store.resolve(descriptor.digest)).toEqual(descriptor);
      const { bytes: read, manifest } = await store.manifest(descriptor);
      expect(read).toEqual(bytes);
      expect(manifest).toMatchObject({ kind: 'image', layers: [], annotations: { name: 'tagged' } });
      await expect(store.manifest({ ...descriptor, size: 1 })).rejects.toMatchObject({ code: 'OCI_SIZE' });
      await expect(store.manifest({ ...descriptor, mediaType: mediaTypes.ociIndex })).rejects.toMatchObject({
        code: 'OCI_MANIFEST',
      });
    });

    it('moves a tag, and keeps what it meant before', async () => {
      const first = await push('first', 'moving');
      const second = await push('second', 'moving');
      expect(await store.resolve('moving')).toEqual(second);
      expect(await store.resolve(first.digest)).toEqual(first);
      expect(await listAll(store.tags())).toContain('moving');
    });

    it('gives one manifest several tags', async () => {
      const both = await push('both', 'one');
      await push('both', 'two');
      expect([await store.resolve('one'), await store.resolve('two')]).toEqual([both, both]);
    });

    it('keeps an index', async () => {
      const child = await push('a platform');
      const index = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: [{ ...child, platform: { os: 'linux', architecture: 'arm64' } }],
      };
      const { descriptor } = await store.putManifest(encodeUtf8(JSON.stringify(index)), mediaTypes.ociIndex, 'multi');
      expect((await store.manifest('multi')).manifest).toMatchObject({ kind: 'index', manifests: index.manifests });
      expect(descriptor.mediaType).toBe(mediaTypes.ociIndex);
    });

    it('keeps no manifest under another digest', async () => {
      const bytes = imageBytes('misnamed');
      const other = digestOf(encodeUtf8('other'));
      await expect(store.putManifest(bytes, mediaTypes.ociManifest, other)).rejects.toMatchObject({
        code: 'OCI_DIGEST',
      });
      await expect(store.putManifest(bytes, mediaTypes.ociIndex)).rejects.toMatchObject({ code: 'OCI_MANIFEST' });
    });

    it('finds what refers to a manifest, all of it or of one type', async () => {
      const subject = await push('with referrers', 'subject');
      expect(await listAll(store.referrers(subject.digest))).toEqual([]);
      const a = referrerBytes(subject, 'a', 'application/a');
      const b = referrerBytes(subject, 'b', 'application/b');
      for (const bytes of [a, b, a]) await store.putManifest(bytes, mediaTypes.ociManifest);
      const found = await listAll(store.referrers(subject.digest));
      expect(found.map(({ digest }) => digest).sort()).toEqual([digestOf(a), digestOf(b)].sort());
      expect(await listAll(store.referrers(subject.digest, { artifactType: 'application/b' }))).toEqual([
        {
          mediaType: mediaTypes.ociManifest,
          digest: digestOf(b),
          size: b.length,
          artifactType: 'application/b',
          annotations: { name: 'b' },
        },
      ]);
      expect(await listAll(store.referrers(subject.digest, { artifactType: 'application/c' }))).toEqual([]);
    });

    it('finds what refers to what refers', async () => {
      const subject = await push('chain');
      const { descriptor } = await store.putManifest(referrerBytes(subject, 'a signature'), mediaTypes.ociManifest);
      const { descriptor: second } = await store.putManifest(
        referrerBytes(descriptor, 'of it'),
        mediaTypes.ociManifest,
      );
      expect(await listAll(store.referrers(descriptor.digest))).toMatchObject([{ digest: second.digest }]);
      expect(await listAll(store.referrers(subject.digest))).toMatchObject([{ digest: descriptor.digest }]);
    });

    it('deletes a manifest, and lists it no longer', async () => {
      const subject = await push('signed', 'signed');
      const kept = await store.putManifest(referrerBytes(subject, 'kept'), mediaTypes.ociManifest);
      const gone = await store.putManifest(referrerBytes(subject, 'gone'), mediaTypes.ociManifest);
      await store.deleteManifest(gone.descriptor.digest);
      expect(await listAll(store.referrers(subject.digest))).toMatchObject([{ digest: kept.descriptor.digest }]);
      await expect(store.manifest(gone.descriptor.digest)).rejects.toMatchObject({ code: 'OCI_NOT_FOUND' });
      await expect(store.deleteManifest(gone.descriptor.digest)).rejects.toMatchObject({ code: 'OCI_NOT_FOUND' });
      await store.deleteManifest(kept.descriptor.digest);
      expect(await listAll(store.referrers(subject.digest))).toEqual([]);
    });

    it('loses no referrer of writers at the same time', async () => {
      const subject = await push('by many');
      const names = Array.from({ length: 6 }, (_, i) => `writer ${i}`);
      await Promise.all(names.map((one) => store.putManifest(referrerBytes(subject, one), mediaTypes.ociManifest)));
      const found = await listAll(store.referrers(subject.digest));
      expect(found.map(({ annotations }) => annotations?.['name']).sort()).toEqual(names);
    });

    it.each(['../v1', 'a/b', '', 'sha256:../../etc', 'a b', 'x'.repeat(129)])('looks for no %j', async (reference) => {
      await expect(store.manifest(reference)).rejects.toMatchObject({ code: 'OCI_REFERENCE' });
    });
  });
}
