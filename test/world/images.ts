/**
 * Stories of images: the command line in this process, images to push, other people's tools where they are installed, and what a
 * registry's owner could do to signatures in the legacy layout.
 *
 *     const cli = commandLine(folder);
 *     const { digest } = await pushImage(`${registry.host}/ns/app`, 'some text', '1.0');
 *     await cli(['image', 'sign', `${registry.host}/ns/app@${digest}`, '--layout', 'legacy', '--url', world.url]);
 *     const [layer] = await readLegacy(`${registry.host}/ns/app`, digest, '.sig');
 *     await writeLegacy(`${registry.host}/ns/app`, digest, '.sig', [{ ...layer, payload: 'another' }]);
 */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodePem, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { mediaTypes, openRegistry, parseReference, type Descriptor, type RegistryStore } from '#libs/oci';
import { parseTrustedRoot } from '#libs/trust';
import type { Terminal } from '../../apps/cli/src/config.js';
import { run as chancery } from '../../apps/cli/src/program.js';
import type { Ran } from './process.js';

/** Runs commands of ours in this process, at home in that folder, with `secret` for the password of every key. */
export function commandLine(home: string) {
  return async (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> => {
    let out = '';
    let err = '';
    const terminal: Terminal = {
      out: (text) => void (out += text),
      err: (text) => void (err += text),
      colours: { out: false, err: false },
      columns: undefined,
      env: { HOME: home, COSIGN_PASSWORD: 'secret', ...env },
      fetch: globalThis.fetch,
      now: Date.now,
    };
    return { exit: await chancery(args, terminal), out, err };
  };
}

/**
 * The command for that major version of cosign, or undefined: what `TEST_COSIGN<major>` says, or a `cosign` on the path under
 * one of the names by which several live side by side.
 */
export function findCosign(major: number): string | undefined {
  const given = process.env[`TEST_COSIGN${major}`];
  const names = [...(given === undefined ? [] : [given]), `cosign${major}`, `cosign-v${major}`, 'cosign'];
  return names.find((name) => {
    const { error, stdout } = spawnSync(name, ['version'], { encoding: 'utf8' });
    return error === undefined && new RegExp(`GitVersion:\\s+v${major}\\.`).test(stdout);
  });
}

/** Pushes an image whose only layer is that text. */
export async function pushImage(repository: string, text: string, tag?: string): Promise<Descriptor> {
  return withStore(repository, async (store) => {
    const settings = { architecture: 'amd64', os: 'linux', config: { Labels: { text } } };
    const rootfs = { type: 'layers', diff_ids: [] };
    const config = await store.putBlob(encodeUtf8(JSON.stringify({ ...settings, rootfs })));
    const layer = await store.putBlob(encodeUtf8(text));
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: layer.digest, size: layer.size }],
    };
    return (await store.putManifest(encodeUtf8(JSON.stringify(manifest)), mediaTypes.ociManifest, tag)).descriptor;
  });
}

/** Pushes an index of such images, one for each architecture of Linux. */
export async function pushIndex(
  repository: string,
  tag: string,
  architectures: readonly string[],
): Promise<Descriptor> {
  const manifests: object[] = [];
  for (const architecture of architectures) {
    const { mediaType, digest, size } = await pushImage(repository, `${tag} ${architecture}`);
    manifests.push({ mediaType, digest, size, platform: { os: 'linux', architecture } });
  }
  const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
  return withStore(repository, async (store) => (await store.putManifest(bytes, mediaTypes.ociIndex, tag)).descriptor);
}

/** One layer of a manifest under `sha256-<hex>.sig` or `.att`. */
export interface StoredLayer {
  /** What is signed: a payload, or an envelope. */
  readonly payload: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** What lies under the image's legacy tag. */
export function readLegacy(repository: string, digest: string, suffix: '.sig' | '.att'): Promise<StoredLayer[]> {
  return withStore(repository, async (store) => {
    const { manifest } = await store.manifest(legacyTag(digest, suffix));
    if (manifest.kind !== 'image') throw new Error('An index lies under a legacy tag');
    const layers = [];
    for (const layer of manifest.layers) {
      layers.push({ payload: parseUtf8(await store.blob(layer, 1 << 24)), annotations: layer.annotations ?? {} });
    }
    return layers;
  });
}

/** Puts these layers, and no others, under the image's legacy tag, as anybody can who may write to the registry. */
export function writeLegacy(
  repository: string,
  digest: string,
  suffix: '.sig' | '.att',
  layers: readonly StoredLayer[],
  manifestType: string = mediaTypes.ociManifest,
): Promise<void> {
  const mediaType =
    suffix === '.sig' ? 'application/vnd.dev.cosign.simplesigning.v1+json' : 'application/vnd.dsse.envelope.v1+json';
  return withStore(repository, async (store) => {
    const described = [];
    for (const { payload, annotations } of layers) {
      const blob = await store.putBlob(encodeUtf8(payload));
      described.push({ mediaType, digest: blob.digest, size: blob.size, annotations });
    }
    const rootfs = { type: 'layers', diff_ids: described.map((layer) => layer.digest) };
    const config = await store.putBlob(encodeUtf8(JSON.stringify({ architecture: '', os: '', config: {}, rootfs })));
    const manifest = {
      schemaVersion: 2,
      mediaType: manifestType,
      config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
      layers: described,
    };
    await store.putManifest(encodeUtf8(JSON.stringify(manifest)), manifestType, legacyTag(digest, suffix));
  });
}

function legacyTag(digest: string, suffix: string): string {
  return digest.replace(':', '-') + suffix;
}

async function withStore<T>(repository: string, work: (store: RegistryStore) => Promise<T>): Promise<T> {
  const store = openRegistry({ repository: parseReference(repository) });
  try {
    return await work(store);
  } finally {
    await store.close();
  }
}

/** Writes the keys of a trusted root as files, and returns the environment that tells cosign of them where it reads no trusted root. */
export async function exportLegacyTrust(folder: string, trustedRoot: string): Promise<Record<string, string>> {
  const { certificateAuthorities, tlogs, ctlogs, timestampAuthorities } = parseTrustedRoot(trustedRoot);
  const certificates = (chains: { certChain: { der: Uint8Array }[] }[]) =>
    chains.flatMap(({ certChain }) => certChain.map(({ der }) => encodePem('CERTIFICATE', der))).join('');
  const keys = (logs: { publicKey: { kind: string; spki: Uint8Array } }[]) =>
    logs
      .filter(({ publicKey }) => publicKey.kind === 'ecdsa')
      .map(({ publicKey }) => encodePem('PUBLIC KEY', publicKey.spki))
      .join('');
  const files = {
    SIGSTORE_ROOT_FILE: certificates(certificateAuthorities),
    SIGSTORE_REKOR_PUBLIC_KEY: keys(tlogs),
    SIGSTORE_CT_LOG_PUBLIC_KEY_FILE: keys(ctlogs),
    SIGSTORE_TSA_CERTIFICATE_FILE: certificates(timestampAuthorities),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, `${name}.pem`), text);
  return Object.fromEntries(Object.keys(files).map((name) => [name, join(folder, `${name}.pem`)]));
}
