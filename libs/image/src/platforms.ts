import type { Descriptor, Digest, ImageStore, Platform } from '#libs/oci';
import { ImageError } from './error.js';

/** An index, or one of the manifests in it. */
export interface PlatformManifest {
  descriptor: Descriptor;
  /** As the index says; `unknown` for manifests that describe another one. */
  platform?: string;
}

// An index for every platform that Go supports has 50 manifests, and as many of BuildKit's attestations.
const MAX_MANIFESTS = 1000;
const MAX_DEPTH = 4;

/**
 * An image's manifest and, if it is an index, every manifest in it and in the indexes in it, each once: the attestation manifests of BuildKit too.
 * @throws ImageError `IMAGE_LIMIT`
 */
export async function listManifests(store: ImageStore, reference: string): Promise<PlatformManifest[]> {
  const found = new Map<Digest, PlatformManifest>();
  const visit = async (at: string | Descriptor, depth: number, platform: string | undefined): Promise<void> => {
    const { descriptor, manifest } = await store.manifest(at);
    if (found.has(descriptor.digest)) return;
    if (found.size >= MAX_MANIFESTS) {
      throw new ImageError('IMAGE_LIMIT', `Cannot list the platforms of ${reference}: more than ${MAX_MANIFESTS}`);
    }
    found.set(descriptor.digest, { descriptor, ...(platform !== undefined && { platform }) });
    if (manifest.kind !== 'index') return;
    if (depth >= MAX_DEPTH) {
      throw new ImageError(
        'IMAGE_LIMIT',
        `Cannot list the platforms of ${reference}: indexes in more than ${MAX_DEPTH} levels`,
      );
    }
    for (const child of manifest.manifests) {
      // Listed again and again, it is fetched once all the same.
      if (found.has(child.digest)) continue;
      await visit(child, depth + 1, child.platform && describePlatform(child.platform));
    }
  };
  await visit(reference, 0, undefined);
  return [...found.values()];
}

/** `linux/arm64/v8` */
export function describePlatform({ os, architecture, variant }: Platform): string {
  return os === 'unknown' ? 'unknown' : [os, architecture, variant].filter((part) => part).join('/');
}

/**
 * The manifest of one platform (`os/architecture[/variant]`) in an index.
 * @throws ImageError `IMAGE_LIMIT` if the index has none, or several
 */
export async function choosePlatform(store: ImageStore, reference: string, platform: string): Promise<Descriptor> {
  const fits = ({ platform: one }: PlatformManifest) => one === platform || one?.startsWith(`${platform}/`) === true;
  const all = await listManifests(store, reference);
  const [first, second] = all.filter(fits);
  if (first === undefined || second !== undefined) {
    const known = [...new Set(all.flatMap((one) => one.platform ?? []))].join(', ') || 'none';
    throw new ImageError(
      'IMAGE_LIMIT',
      `Cannot choose ${platform} of ${reference}: it has ${first === undefined ? 'none' : 'several'}`,
      { cure: `Its platforms are ${known}` },
    );
  }
  return first.descriptor;
}
