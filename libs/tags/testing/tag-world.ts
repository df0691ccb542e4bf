import { opensslCrypto } from '#libs/openssl';
import { chooseServices, sign, type SigningKey } from '#libs/sign';
import {
  policyOfOne,
  publishTags,
  verifyTags,
  type PublishContext,
  type Remembered,
  type TagContext,
  type TagMemory,
  type TagPolicy,
  type TagReport,
  type TagSigner,
} from '#libs/tags';
import { createWorld, type World } from '../../sign/testing/world.js';
import { memoryStore, type MemoryStore } from './memory-store.js';

export const DAY_MS = 86_400_000;
export const REPOSITORY = 'registry.example.com/ns/app';

/** Publishers, a registry and clients around a small Sigstore. */
export interface TagWorld {
  sigstore: World;
  store: MemoryStore;
  /** The usual publisher, or another who signs with an e-mail address or a key. */
  publisher(options?: Partial<PublishContext> & { email?: string; issuer?: string; key?: SigningKey }): PublishContext;
  /** A client with its memory. */
  client(options?: Partial<TagContext>): TagContext;
  /** Pushes an image and publishes it under the tag. */
  publish(tag: string, options?: Parameters<TagWorld['publisher']>[0] & { content?: string }): Promise<void>;
  verify(tags: string | string[], client?: TagContext): Promise<TagReport>;
}

export const signerOf = (email: string, more: Partial<TagSigner> = {}): TagSigner => ({
  name: email.split('@')[0] ?? email,
  is: { kind: 'identity', san: email, issuer: 'http://sign.example/oidc' },
  group: false,
  notBefore: undefined,
  notAfter: undefined,
  ...more,
});

export const policyOf = (signers: TagSigner[], threshold = 1): TagPolicy => ({
  snapshotSigners: signers,
  snapshotMaxAgeMs: undefined,
  rules: [{ match: '*', signers, threshold, maxAgeMs: undefined }],
});

export function memoryInMemory(): TagMemory & { readonly all: Map<string, Remembered> } {
  const all = new Map<string, Remembered>();
  return {
    all,
    read: async (repository) => all.get(repository),
    write: async (repository, remembered) => void all.set(repository, remembered),
    forget: async (repository) => all.delete(repository),
  };
}

export function createTagWorld(): TagWorld {
  const sigstore = createWorld();
  // An hour, so that tests need not be exact about the life of a certificate.
  sigstore.certificateSeconds = 600;
  const policy = policyOfOne({ kind: 'identity', san: 'alice@example.com', issuer: 'http://sign.example/oidc' });
  const store = memoryStore();
  const world: TagWorld = {
    sigstore,
    store,
    publisher: ({ email = 'alice@example.com', issuer: iss, key, ...options } = {}) => ({
      ...world.client(),
      store: world.store,
      memory: memoryInMemory(),
      tagLifetimeMs: 90 * DAY_MS,
      snapshotLifetimeMs: 14 * DAY_MS,
      pause: async () => undefined,
      random: () => 0.5,
      sign: (bytes) =>
        sign(
          { kind: 'statement', bytes },
          {
            services: chooseServices(sigstore.signingConfig, {
              now: new Date(sigstore.now()),
              managedKey: key !== undefined,
            }),
            ...(key === undefined
              ? { identityToken: sigstore.token({ email, ...(iss !== undefined && { iss }) }) }
              : { key }),
            trustedRoot: sigstore.trustedRoot,
            fetch: sigstore.fetch,
            now: sigstore.now,
          },
        ),
      ...options,
    }),
    client: (options = {}) => ({
      store: world.store,
      repository: REPOSITORY,
      policy,
      trustedRoot: sigstore.trustedRoot,
      crypto: opensslCrypto,
      now: sigstore.now,
      memory: memoryInMemory(),
      ...options,
    }),
    publish: async (tag, { content, ...options } = {}) => {
      const target = world.store.pushImage(tag, content);
      const init = !world.store.tagged.has('_trusted-tags');
      await publishTags(world.publisher({ init, ...options }), [{ kind: 'set', tag, target }]);
    },
    verify: (tags, client = world.client()) => verifyTags(client, typeof tags === 'string' ? [tags] : tags),
  };
  return world;
}
