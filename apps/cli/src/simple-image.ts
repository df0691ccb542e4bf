import { readdir } from 'node:fs/promises';
import { arch } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { choosePlatform, legacyTag, listManifests } from '#libs/image';
import {
  loadCredentials,
  mediaTypes,
  OciError,
  openRegistry,
  parseDigest,
  parseReference,
  type RegistryStore,
} from '#libs/oci';
import {
  digestLike,
  formatImageName,
  lookasideToRead,
  lookasideToWrite,
  openLookaside,
  parseImageIdentity,
  parseRegistries,
  usesSigstoreAttachments,
  type ImageIdentity,
  type PolicyImage,
  type RegistriesConfig,
  type SigstoreAttachment,
} from '#libs/simple-signing';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';
import { exists, fileReason, readInput } from './files.js';

/** How to reach an image and its signatures; flags of several commands. */
export interface ImageFlags {
  /** The manifest from a file: no registry is asked. */
  manifest?: string;
  platform?: string;
  all?: boolean;
  'registries.d'?: string;
  lookaside?: string;
  allowHttpRegistry?: boolean;
  allowInsecureRegistry?: boolean;
  registryCacert?: string;
}

/** What a reference means, fetched. */
export interface OpenedImage {
  readonly name: ImageIdentity;
  /** The manifest that was asked for, or of an index those that are wanted. */
  readonly manifests: readonly ImageManifestBytes[];
  readonly isIndex: boolean;
  readonly registries: RegistriesConfig;
  /** Layers under the tag `sha256-<hex>.sig`. */
  attachments(manifestDigest: string): Promise<SigstoreAttachment[]>;
  close(): Promise<void>;
}

export interface ImageManifestBytes {
  readonly bytes: Uint8Array;
  readonly digest: string;
  /** Of an index, this one of its platforms. */
  readonly platform?: string;
  readonly index?: Uint8Array;
}

const MAX_MANIFEST = 4 * 1024 * 1024;
const MAX_CA = 1024 * 1024;
const MAX_REGISTRIES_FILE = 1024 * 1024;
const MAX_REGISTRIES_FILES = 1000;
const SIMPLE_SIGNING_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
const MAX_PAYLOAD = 64 * 1024;

/**
 * Fetches the manifest that a reference means, by the digest that the registry's tag has now. Of an index: which manifest podman
 * would run, for the platform asked for; `all`: the index and every manifest in it, as `skopeo copy --all` does.
 */
export async function openImage(terminal: Terminal, text: string, flags: ImageFlags): Promise<OpenedImage> {
  const name = parseImageIdentity(text.replace(/^docker:\/\//, ''));
  const registries = await readRegistries(terminal, flags['registries.d']);
  if (flags.manifest !== undefined) {
    const bytes = await readInput(flags.manifest, 'the manifest', MAX_MANIFEST);
    const manifests = [{ bytes, digest: digestLike('sha256:', bytes) }];
    return { name, manifests, isIndex: false, registries, attachments: async () => [], close: async () => undefined };
  }
  const store = await openStore(terminal, name, flags);
  try {
    const { manifests, isIndex } = await readManifests(store, name, flags);
    return {
      name,
      manifests,
      isIndex,
      registries,
      attachments: (digest) => readAttachments(store, digest),
      close: () => store.close(),
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

async function openStore(terminal: Terminal, name: ImageIdentity, flags: ImageFlags): Promise<RegistryStore> {
  const { env } = terminal;
  const { HOME: home } = env;
  const ca = flags.registryCacert;
  const caPem =
    ca === undefined ? undefined : Buffer.from(await readInput(ca, 'the CA certificates', MAX_CA)).toString('utf8');
  return openRegistry({
    repository: parseReference(formatImageName(name)),
    // As the tools do whose signatures these are.
    credentials: loadCredentials({ env, order: 'containers', ...(home !== undefined && { home }) }),
    ...(flags.allowHttpRegistry === true && { plainHttp: true }),
    ...(flags.allowInsecureRegistry === true && { insecureTls: true }),
    ...(caPem !== undefined && { caPem }),
  });
}

async function readManifests(
  store: RegistryStore,
  name: ImageIdentity,
  { platform, all }: ImageFlags,
): Promise<Pick<OpenedImage, 'manifests' | 'isIndex'>> {
  const top = await store.manifest(name.digest ?? name.tag ?? 'latest');
  const { digest } = top.descriptor;
  if (top.manifest.kind === 'image') return { manifests: [{ bytes: top.bytes, digest }], isIndex: false };
  if (all === true) {
    const manifests: ImageManifestBytes[] = [];
    for (const { descriptor, platform: of } of await listManifests(store, digest)) {
      const { bytes } = await store.manifest(descriptor);
      const within = descriptor.digest === digest ? {} : { index: top.bytes };
      manifests.push({ bytes, digest: descriptor.digest, ...within, ...(of !== undefined && { platform: of }) });
    }
    return { manifests, isIndex: true };
  }
  const wanted = platform ?? `linux/${architecture(arch())}`;
  const { bytes, descriptor } = await store.manifest(await choosePlatform(store, digest, wanted));
  return { manifests: [{ bytes, digest: descriptor.digest, platform: wanted, index: top.bytes }], isIndex: true };
}

/** Node's name of an architecture as Go and so images spell it. */
function architecture(name: string): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', ppc64: 'ppc64le' };
  return names[name] ?? name;
}

async function readAttachments(store: RegistryStore, manifestDigest: string): Promise<SigstoreAttachment[]> {
  const tag = legacyTag(parseDigest(manifestDigest), 'signature');
  const found = await store.manifest(tag).catch((error: unknown) => {
    if (error instanceof OciError && error.code === 'OCI_NOT_FOUND') return undefined;
    throw error;
  });
  if (found === undefined) return [];
  // Not passed over: podman reads no other kind, and refuses the image (containers/image: docker/docker_client.go, getSigstoreAttachmentManifest).
  if (found.manifest.kind !== 'image' || found.descriptor.mediaType !== mediaTypes.ociManifest) {
    throw new CliError(
      'failed',
      `Cannot read the signatures under ${tag}: it is ${found.descriptor.mediaType}, expected ${mediaTypes.ociManifest}`,
    );
  }
  const attachments: SigstoreAttachment[] = [];
  for (const layer of found.manifest.layers) {
    if (layer.mediaType !== SIMPLE_SIGNING_TYPE) continue;
    attachments.push({ payload: await store.blob(layer, MAX_PAYLOAD), annotations: layer.annotations ?? {} });
  }
  return attachments;
}

/** The folders and files that podman reads, in the order in which it looks: the first that exists. */
async function firstExisting(terminal: Terminal, name: string): Promise<string | undefined> {
  const { HOME: home } = terminal.env;
  const candidates = [...(home ? [join(home, '.config/containers', name)] : []), join('/etc/containers', name)];
  for (const path of candidates) if (await exists(path)) return path;
  return undefined;
}

/** `--policy`, else where podman has it. */
export async function policyPath(terminal: Terminal, given: string | undefined): Promise<string> {
  const path = given ?? (await firstExisting(terminal, 'policy.json'));
  if (path !== undefined) return path;
  throw new CliError('usage', 'Cannot evaluate a policy: there is none where podman has it, and --policy is missing');
}

async function readRegistries(terminal: Terminal, given: string | undefined): Promise<RegistriesConfig> {
  const folder = given ?? (await firstExisting(terminal, 'registries.d'));
  if (folder === undefined) return parseRegistries([]);
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => name.endsWith('.yaml')).sort();
  } catch (cause) {
    throw new CliError('unreadable', `Cannot read ${folder}: ${fileReason(cause)}`, { cause });
  }
  if (names.length > MAX_REGISTRIES_FILES) {
    throw new CliError('unreadable', `Cannot read ${folder}: ${names.length} files, at most ${MAX_REGISTRIES_FILES}`);
  }
  const paths = names.map((name) => join(folder, name));
  return parseRegistries(
    await Promise.all(
      paths.map(async (name) => ({ name, content: await readInput(name, 'the configuration', MAX_REGISTRIES_FILE) })),
    ),
  );
}

/** Where the signatures of an image are read; without any configuration where podman of this user would. */
export function lookasideBase(terminal: Terminal, image: OpenedImage, flags: ImageFlags): string | undefined {
  const { HOME: home } = terminal.env;
  const byDefault = home ? pathToFileURL(join(home, '.local/share/containers/sigstore')).href : undefined;
  return flags.lookaside ?? lookasideToRead(image.registries, image.name) ?? byDefault;
}

/** Where signatures are written. @throws CliError `usage` when nothing says it */
export function stagingBase(image: OpenedImage, flags: ImageFlags): string {
  const base = flags.lookaside ?? lookasideToWrite(image.registries, image.name);
  if (base !== undefined) return base;
  throw new CliError(
    'usage',
    `Cannot store the signature: nothing says where those of ${formatImageName(image.name)} are`,
    {
      cure: 'Give --lookaside file:///… or --output, or write lookaside-staging into a file of --registries.d',
    },
  );
}

/** What a policy is asked about; `given`: signature objects that are already at hand. */
export function policyImage(
  terminal: Terminal,
  image: OpenedImage,
  manifest: ImageManifestBytes,
  { flags, given }: { flags: ImageFlags; given?: readonly Uint8Array[] | undefined },
): PolicyImage {
  const { name, registries } = image;
  return {
    name,
    manifest: manifest.bytes,
    ...(manifest.index !== undefined && { index: manifest.index }),
    signatures: async () => {
      if (given !== undefined) return given;
      const base = lookasideBase(terminal, image, flags);
      return base === undefined ? [] : openLookaside(base, { fetch: terminal.fetch }).read(name, manifest.digest);
    },
    attachments: async () => (usesSigstoreAttachments(registries, name) ? image.attachments(manifest.digest) : []),
  };
}
