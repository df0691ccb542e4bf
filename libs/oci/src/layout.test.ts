import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { hasDockerRegistry, startDockerRegistry } from '../../../test/world/registry.js';
import { content, imageBytes, listAll, referrerBytes } from '../testing/store-contract.js';
import {
  digestOf,
  mediaTypes,
  openLayout,
  openRegistry,
  parseReference,
  splitDigest,
  type Descriptor,
  type Digest,
  type ImageStore,
} from './index.js';

const { ociIndex, ociManifest } = mediaTypes;
let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'layout-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const open = () => openLayout(folder, { create: true });
const indexFile = () => join(folder, 'index.json');
const readIndex = () =>
  JSON.parse(readFileSync(indexFile(), 'utf8')) as { manifests: { digest: string; annotations?: object }[] };
const blobFile = (digest: Digest) => join(folder, 'blobs', 'sha256', splitDigest(digest).hex);
const writeIndex = (manifests: unknown, more: object = {}) =>
  writeFileSync(indexFile(), JSON.stringify({ schemaVersion: 2, mediaType: ociIndex, manifests, ...more }));

describe('openLayout()', () => {
  it('makes a layout as the specification wants it, and opens it again', async () => {
    const store = await open();
    await store.putManifest(imageBytes('x'), ociManifest, 'v1');
    expect(JSON.parse(readFileSync(join(folder, 'oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' });
    expect(readIndex().manifests).toEqual([
      {
        mediaType: ociManifest,
        digest: digestOf(imageBytes('x')),
        size: imageBytes('x').length,
        annotations: { 'org.opencontainers.image.ref.name': 'v1' },
      },
    ]);
    expect(await (await openLayout(folder)).resolve('v1')).toBeDefined();
    expect(await (await open()).resolve('v1')).toBeDefined();
    expect(readdirSync(folder).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
  });

  it.each<[string, () => void]>([
    ['an empty folder', () => undefined],
    ['no folder', () => rmSync(folder, { recursive: true })],
    ['a file', () => (rmSync(folder, { recursive: true }), writeFileSync(folder, ''))],
    ['another version', () => writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"2.0.0"}')],
    ['no version', () => writeFileSync(join(folder, 'oci-layout'), '{}')],
    [
      'a link in place of the blobs',
      () => (
        writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}'),
        symlinkSync('/etc', join(folder, 'blobs'))
      ),
    ],
    [
      'a link in place of those of one algorithm',
      () => (
        writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}'),
        mkdirSync(join(folder, 'blobs')),
        symlinkSync('/etc', join(folder, 'blobs', 'sha256'))
      ),
    ],
    ['a link in place of oci-layout', () => symlinkSync('/etc/passwd', join(folder, 'oci-layout'))],
  ])('refuses %s', async (_, make) => {
    make();
    await expect(openLayout(folder)).rejects.toMatchObject({ code: 'OCI_LAYOUT' });
  });
});

describe('openLayout() that may create', () => {
  it('makes nothing behind a link that stands where its blobs would', async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'elsewhere-'));
    try {
      symlinkSync(elsewhere, join(folder, 'blobs'));
      await expect(open()).rejects.toMatchObject({
        code: 'OCI_LAYOUT',
        message: expect.stringContaining('blobs is not a folder') as string,
      });
      expect(readdirSync(elsewhere)).toEqual([]);
    } finally {
      rmSync(elsewhere, { recursive: true });
    }
  });

  it('takes no folder with something else in it', async () => {
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    await expect(open()).rejects.toMatchObject({
      code: 'OCI_LAYOUT',
      cure: expect.stringContaining('empty') as string,
    });
    expect(readdirSync(folder)).toEqual(['notes.txt']);
  });

  it('goes on with a folder that a crash left half made', async () => {
    mkdirSync(join(folder, 'blobs', 'sha256'), { recursive: true });
    writeFileSync(join(folder, 'oci-layout.0a1b2c.tmp'), '{');
    await expect(open()).resolves.toBeDefined();
  });
});

describe('a layout', () => {
  it('adds annotations to what it lists, and through no link', async () => {
    const store = await open();
    const { descriptor } = await store.putManifest(imageBytes('x'), ociManifest, 'v1');
    await store.putManifest(imageBytes('y'), ociManifest, 'v2');
    symlinkSync(join(folder, 'oci-layout'), `${indexFile()}.annotated`);
    await store.annotate(({ digest }) => (digest === descriptor.digest ? { kind: 'x' } : undefined));
    expect(readIndex().manifests.map(({ annotations }) => annotations)).toEqual([
      { 'org.opencontainers.image.ref.name': 'v1', kind: 'x' },
      { 'org.opencontainers.image.ref.name': 'v2' },
    ]);
    expect(JSON.parse(readFileSync(join(folder, 'oci-layout'), 'utf8'))).toEqual({ imageLayoutVersion: '1.0.0' });
  });

  it('writes no index.json that it could not read again', async () => {
    const store = await open();
    const { descriptor: subject } = await store.putManifest(imageBytes('x'), ociManifest, 'v1');
    const manifest = JSON.parse(new TextDecoder().decode(referrerBytes(subject, 'large'))) as object;
    const large = (name: string) =>
      encodeUtf8(JSON.stringify({ ...manifest, annotations: { [name]: 'x'.repeat(3_000_000) } }));
    await store.putManifest(large('a'), ociManifest);
    await expect(store.putManifest(large('b'), ociManifest)).rejects.toMatchObject({ code: 'OCI_LIMIT' });
    expect(await store.resolve('v1')).toMatchObject({ digest: subject.digest });
  });

  it('asks what refers to what without reading every manifest each time', async () => {
    const store = await open();
    const { descriptor: subject } = await store.putManifest(imageBytes('x'), ociManifest, 'v1');
    const { descriptor: other } = await store.putManifest(imageBytes('y'), ociManifest, 'v2');
    const { descriptor: referrer } = await store.putManifest(referrerBytes(subject, 'r'), ociManifest);
    expect(await listAll(store.referrers(subject.digest))).toMatchObject([{ digest: referrer.digest }]);
    // Read once, known from then on; what counts is read again.
    rmSync(blobFile(other.digest));
    expect(await listAll(store.referrers(subject.digest))).toMatchObject([{ digest: referrer.digest }]);
    rmSync(blobFile(referrer.digest));
    await expect(listAll(store.referrers(subject.digest))).rejects.toMatchObject({ code: 'OCI_NOT_FOUND' });
  });

  it('lists referrers, and what is put by its digest, but not the parts of an index', async () => {
    const store = await open();
    const { descriptor: part } = await store.putManifest(imageBytes('part'), ociManifest);
    const { descriptor: root } = await store.putManifest(imageBytes('root'), ociManifest, digestOf(imageBytes('root')));
    const { descriptor: signature } = await store.putManifest(referrerBytes(part, 'signature'), ociManifest);
    expect((await store.listed()).map(({ digest }) => digest)).toEqual([root.digest, signature.digest]);
    expect(await listAll(store.referrers(part.digest))).toMatchObject([{ digest: signature.digest }]);
  });

  it('keeps in index.json what others wrote there', async () => {
    const store = await open();
    const theirs = {
      mediaType: 'application/x',
      digest: digestOf(encodeUtf8('theirs')),
      size: 6,
      future: 1,
      annotations: { kind: 'x' },
    };
    writeIndex([theirs], { annotations: { a: 'b' } });
    await store.putManifest(imageBytes('ours'), ociManifest, 'ours');
    expect(readIndex()).toMatchObject({ manifests: [theirs, {}], annotations: { a: 'b' } });
    expect(await listAll(store.referrers(digestOf(imageBytes('ours'))))).toEqual([]);
  });

  it('reads nothing that is not what it is called', async () => {
    const store = await open();
    const blob = await store.putBlob(encodeUtf8('a blob'));
    const { descriptor } = await store.putManifest(imageBytes('x'), ociManifest, 'v1');
    writeFileSync(blobFile(blob.digest), 'A blob');
    writeFileSync(blobFile(descriptor.digest), Buffer.from(imageBytes('y')));
    await expect(store.blob(blob)).rejects.toMatchObject({ code: 'OCI_DIGEST' });
    await expect(store.manifest('v1')).rejects.toMatchObject({ code: 'OCI_DIGEST' });
    writeFileSync(blobFile(blob.digest), 'a longer blob');
    await expect(store.blob(blob)).rejects.toMatchObject({ code: 'OCI_SIZE' });
    expect(await store.hasBlob(blob)).toBe(false);
    writeFileSync(blobFile(descriptor.digest), Buffer.alloc(5_000_000));
    await expect(store.manifest('v1')).rejects.toMatchObject({ code: 'OCI_LIMIT' });
    // Writing it again repairs it.
    await store.putBlob(encodeUtf8('a blob'));
    expect(await store.blob(blob)).toEqual(encodeUtf8('a blob'));
  });

  it('follows no link, and waits for no pipe', async () => {
    const store = await open();
    const secret = join(folder, 'secret');
    writeFileSync(secret, 'a secret');
    const descriptor: Descriptor = { mediaType: 'text/plain', digest: digestOf(encodeUtf8('a secret')), size: 8 };
    symlinkSync(secret, blobFile(descriptor.digest));
    await expect(store.blob(descriptor)).rejects.toMatchObject({ code: 'OCI_LAYOUT' });
    expect(await store.hasBlob(descriptor)).toBe(false);
    rmSync(blobFile(descriptor.digest));
    execFileSync('mkfifo', [blobFile(descriptor.digest)]);
    await expect(store.blob(descriptor)).rejects.toMatchObject({ code: 'OCI_LAYOUT' });
    rmSync(indexFile());
    symlinkSync('/etc/passwd', indexFile());
    await expect(store.manifest('v1')).rejects.toMatchObject({ code: 'OCI_LAYOUT' });
    // What is written replaces a link; it does not go through it.
    rmSync(blobFile(descriptor.digest));
    symlinkSync(secret, blobFile(descriptor.digest));
    await store.putBlob(encodeUtf8('a secret'));
    expect(await store.blob(descriptor)).toEqual(encodeUtf8('a secret'));
  });

  it.each<[string, unknown, object, string]>([
    [
      'a digest that climbs',
      [{ mediaType: ociManifest, digest: 'sha256:../../../etc/passwd', size: 1 }],
      {},
      'OCI_MANIFEST',
    ],
    ['no list', {}, {}, 'OCI_MANIFEST'],
    ['another schema version', [], { schemaVersion: 1 }, 'OCI_LAYOUT'],
    [
      'too many entries',
      Array(4097).fill({ mediaType: ociManifest, digest: digestOf(encodeUtf8('x')), size: 1 }),
      {},
      'OCI_LIMIT',
    ],
    [
      'one tag for two',
      ['a', 'b'].map((name) => ({
        mediaType: ociManifest,
        digest: digestOf(encodeUtf8(name)),
        size: 1,
        annotations: { 'org.opencontainers.image.ref.name': 'v1' },
      })),
      {},
      'OCI_LAYOUT',
    ],
  ])('refuses an index.json with %s', async (_, manifests, more, code) => {
    const store = await open();
    writeIndex(manifests, more);
    await expect(store.manifest('v1')).rejects.toMatchObject({ code });
  });

  it('leaves nothing behind of what was not right, or broke off', async () => {
    const store = await open();
    const { descriptor, stream } = content('wrong', 1000);
    const broken = async function* () {
      yield* stream();
      throw new Error('broke off');
    };
    await expect(store.putBlob({ descriptor, stream: broken })).rejects.toMatchObject({ code: 'OCI_LAYOUT' });
    await expect(store.putBlob({ descriptor: { ...descriptor, size: 999 }, stream })).rejects.toMatchObject({
      code: 'OCI_SIZE',
    });
    expect(readdirSync(join(folder, 'blobs', 'sha256'))).toEqual([]);
  });

  it('is written by one after the other', async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, open));
    await Promise.all(stores.map((store, i) => store.putManifest(imageBytes(`${i}`), ociManifest, `t${i}`)));
    expect(await listAll((await open()).tags())).toHaveLength(8);
    expect(existsSync(`${indexFile()}.lock`)).toBe(false);
  });

  it('breaks a lock whose owner died', async () => {
    const store = await open();
    writeFileSync(`${indexFile()}.lock`, '');
    utimesSync(`${indexFile()}.lock`, 0, 0);
    await expect(store.putManifest(imageBytes('x'), ociManifest, 'v1')).resolves.toBeDefined();
  });
});

const hasSkopeo = spawnSync('skopeo', ['--version']).status === 0;
if (!hasSkopeo) console.warn('skopeo is not installed: its tests are skipped');

describe.skipIf(!hasSkopeo || !hasDockerRegistry)('skopeo', () => {
  /** An image that it takes for one. */
  async function pushImage(store: ImageStore, tag: string): Promise<Digest> {
    const layer = await store.putBlob(Buffer.alloc(1024), { mediaType: 'application/vnd.oci.image.layer.v1.tar' });
    const settings = {
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
      config: {},
    };
    const config = await store.putBlob(encodeUtf8(JSON.stringify(settings)), { mediaType: mediaTypes.ociConfig });
    const image = { schemaVersion: 2, mediaType: ociManifest, config, layers: [layer] };
    return (await store.putManifest(encodeUtf8(JSON.stringify(image)), ociManifest, tag)).descriptor.digest;
  }
  const skopeo = (...args: string[]): string => {
    const { status, stdout, stderr } = spawnSync('skopeo', ['--insecure-policy', '--tmpdir', folder, ...args], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(stderr);
    return stdout;
  };

  it('copies from our layouts and to them, and from and to registries that we write and read', async () => {
    const registry = await startDockerRegistry();
    const remote = openRegistry({ repository: parseReference(`${registry.host}/ns/app`) });
    try {
      const digest = await pushImage(await openLayout(join(folder, 'ours'), { create: true }), 'v1');
      expect(JSON.parse(skopeo('inspect', '--raw', `oci:${join(folder, 'ours')}:v1`))).toMatchObject({
        mediaType: ociManifest,
      });
      skopeo(
        'copy',
        '--preserve-digests',
        '--dest-tls-verify=false',
        `oci:${join(folder, 'ours')}:v1`,
        `docker://${registry.host}/ns/app:v1`,
      );
      expect((await remote.resolve('v1')).digest).toBe(digest);
      await pushImage(remote, 'v2');
      skopeo(
        'copy',
        '--preserve-digests',
        '--src-tls-verify=false',
        `docker://${registry.host}/ns/app:v2`,
        `oci:${join(folder, 'theirs')}:v2`,
      );
      const theirs = await openLayout(join(folder, 'theirs'));
      expect((await theirs.resolve('v2')).digest).toBe(digest);
      const { manifest } = await theirs.manifest('v2');
      if (manifest.kind !== 'image' || manifest.layers[0] === undefined) throw new Error('it is not the image');
      expect(await theirs.blob(manifest.layers[0])).toHaveLength(1024);
    } finally {
      await remote.close();
      await registry.close();
    }
  });
});
