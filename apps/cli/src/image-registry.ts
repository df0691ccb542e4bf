import {
  credentialsFor,
  formatReference,
  loadCredentials,
  OciError,
  openRegistry,
  parseReference,
  repositoryOf,
  type Credential,
  type Credentials,
  type Descriptor,
  type ImageStore,
  type Reference,
  type RegistryStore,
} from '#libs/oci';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';
import { readInput } from './files.js';

/** The flags about registries; cosign's names. */
export interface RegistryFlags {
  allowHttpRegistry?: boolean;
  allowInsecureRegistry?: boolean;
  registryUsername?: string;
  registryPassword?: string;
  registryToken?: string;
  registryCacert?: string;
  registryClientCert?: string;
  registryClientKey?: string;
  registryServerName?: string;
  /** Milliseconds for everything together; undefined: as long as it takes. */
  timeout?: number;
  /** Ends every request; what {@link withDeadline} makes of the timeout. */
  signal?: AbortSignal;
}

/** The flags with the clock started, for a command that opens registries more than once. */
export function withDeadline<Flags extends RegistryFlags>(flags: Flags): Flags {
  if (flags.timeout === undefined || flags.signal !== undefined) return flags;
  return { ...flags, signal: AbortSignal.timeout(flags.timeout) };
}

/** An image in a registry, and where its signatures are. */
export interface OpenImage {
  reference: Reference;
  /** For people: the reference in full. */
  name: string;
  store: RegistryStore;
  /** The same, unless COSIGN_REPOSITORY says otherwise. */
  signatures: ImageStore;
  close(): Promise<void>;
}

const MAX_PEM_BYTES = 1024 * 1024;

/**
 * Opens the registry of an image. Nothing is sent yet.
 * @throws OciError `OCI_REFERENCE`; CliError `usage`, `unreadable`
 */
export async function openImage(terminal: Terminal, text: string, flags: RegistryFlags): Promise<OpenImage> {
  const reference = parseReference(text);
  const elsewhere = readElsewhere(terminal);
  const store = await openRepository(terminal, reference, flags);
  const signatures =
    elsewhere === undefined ? store : await openRepository(terminal, elsewhere, flagsFor(elsewhere, reference, flags));
  return {
    reference,
    name: formatReference(reference),
    store,
    signatures,
    close: async () => {
      await store.close();
      if (signatures !== store) await signatures.close();
    },
  };
}

/** The repository of signatures that COSIGN_REPOSITORY names; undefined if they are beside the image. */
function readElsewhere(terminal: Terminal): Reference | undefined {
  const text = terminal.env['COSIGN_REPOSITORY'];
  if (text === undefined || text === '') return undefined;
  const repository = parseReference(text);
  if (repository.tag !== undefined || repository.digest !== undefined) {
    throw new CliError('usage', 'Cannot use COSIGN_REPOSITORY: it must be a repository, without tag and digest');
  }
  return repository;
}

/** What signs in to the image's registry, and the certificate for it, is for no other. */
export function flagsFor({ registry }: Reference, image: Reference, flags: RegistryFlags): RegistryFlags {
  if (registry === image.registry) return flags;
  const { allowHttpRegistry, allowInsecureRegistry, registryCacert, signal } = flags;
  return {
    ...(signal !== undefined && { signal }),
    ...(allowHttpRegistry !== undefined && { allowHttpRegistry }),
    ...(allowInsecureRegistry !== undefined && { allowInsecureRegistry }),
    ...(registryCacert !== undefined && { registryCacert }),
  };
}

/** One repository. Nothing is sent yet. @throws CliError `usage`, `unreadable` */
export async function openRepository(
  terminal: Terminal,
  repository: Reference,
  flags: RegistryFlags,
): Promise<RegistryStore> {
  const pem = async (path: string | undefined, what: string): Promise<string | undefined> =>
    path === undefined ? undefined : Buffer.from(await readInput(path, what, MAX_PEM_BYTES)).toString('utf8');
  const caPem = await pem(flags.registryCacert, 'the CA certificate');
  const certPem = await pem(flags.registryClientCert, 'the client certificate');
  const keyPem = await pem(flags.registryClientKey, 'the client key');
  if ((certPem === undefined) !== (keyPem === undefined)) {
    throw new CliError(
      'usage',
      'Cannot use a client certificate: give both --registry-client-cert and --registry-client-key',
    );
  }
  const { registryServerName: serverName } = flags;
  return openRegistry({
    repository,
    credentials: readCredentials(terminal, repository, flags),
    ...(flags.allowHttpRegistry === true && { plainHttp: true }),
    ...(flags.allowInsecureRegistry === true && { insecureTls: true }),
    ...(caPem !== undefined && { caPem }),
    ...(certPem !== undefined && { certPem }),
    ...(keyPem !== undefined && { keyPem }),
    ...(serverName !== undefined && { serverName }),
    ...(flags.signal !== undefined && { signal: flags.signal }),
  });
}

/** What the flags say goes to this registry alone; else what Docker's and podman's files have. */
function readCredentials(terminal: Terminal, { registry }: Reference, flags: RegistryFlags): Credentials {
  const { registryUsername: username, registryPassword: password, registryToken: token } = flags;
  if ((username === undefined) !== (password === undefined) || (token !== undefined && username !== undefined)) {
    throw new CliError(
      'usage',
      'Cannot sign in to the registry: give --registry-username with --registry-password, or --registry-token',
    );
  }
  if (token !== undefined) return credentialsFor(registry, { kind: 'registry-token', token });
  if (username !== undefined && password !== undefined) {
    const credential: Credential = { kind: 'basic', username, password };
    return credentialsFor(registry, credential);
  }
  const home = terminal.env['HOME'];
  return loadCredentials({ env: terminal.env, ...(home !== undefined && { home }) });
}

/** The tag or digest to ask for: a digest if there is one, for a tag beside it says nothing more. */
export function wanted({ tag, digest }: Reference): string {
  return digest ?? tag ?? 'latest';
}

/**
 * What the reference means now. Asked once: from here on the digest is meant.
 * @throws CliError `noImage`; OciError
 */
export async function resolveImage({ store, reference, name }: OpenImage): Promise<Descriptor> {
  try {
    return await store.resolve(wanted(reference));
  } catch (cause) {
    if (!(cause instanceof OciError) || cause.code !== 'OCI_NOT_FOUND') throw cause;
    throw new CliError(
      'noImage',
      `Cannot find the image ${name}: the registry has no such ${reference.digest === undefined ? 'tag' : 'digest'}`,
      {
        cause,
        code: 'IMAGE_NOT_FOUND',
      },
    );
  }
}

/** `registry/repository@sha256:…`: the one way to name what was signed or verified. */
export function pinned({ registry, repository }: Reference, digest: string): string {
  return `${repositoryOf({ registry, repository })}@${digest}`;
}

/** Opens images, does something with them, and lets go of the connections whatever happens. */
export async function withImages<Result>(
  terminal: Terminal,
  texts: readonly string[],
  flags: RegistryFlags,
  work: (...images: OpenImage[]) => Promise<Result>,
): Promise<Result> {
  const registries = new Set(texts.map((text) => parseReference(text).registry));
  const { registryUsername, registryToken, registryClientKey } = flags;
  if (registries.size > 1 && [registryUsername, registryToken, registryClientKey].some((flag) => flag !== undefined)) {
    throw new CliError(
      'usage',
      `Cannot sign in with these flags: there are two registries, ${[...registries].join(' and ')}`,
      {
        cure: 'Keep the credentials of each in the file of Docker or podman',
      },
    );
  }
  const images: OpenImage[] = [];
  const bounded = withDeadline(flags);
  try {
    for (const text of texts) images.push(await openImage(terminal, text, bounded));
    return await work(...images);
  } finally {
    await Promise.all(images.map((image) => image.close()));
  }
}
