import type { CryptoPort } from '#libs/crypto';
import { encodeHex, equalBytes } from '#libs/encoding';
import { buildChain, parseCertificate, parseName, X509Error, type Certificate } from '#libs/x509';
import { NotaryError } from './error.js';
import {
  objectOf,
  parseKeys,
  parseRole,
  parseRoleKeys,
  verifySignatures,
  type RoleKey,
  type RoleKeys,
  type SignedRole,
} from './metadata.js';

/** Where a repository's roles are read: a server, or a folder. `name` without `.json`: `root`, `3.root`, `targets/releases.<hex>`. */
export interface NotarySource {
  /** At most `maxBytes`; undefined if there is none. */
  read(name: string, maxBytes: number): Promise<Uint8Array | undefined>;
}

/**
 * What makes a root believed.
 * - `hash`: hex, the id of one of its keys, as Docker's `trust_pinning.certs` has it, or the SHA-256 of a certificate.
 * - `certificate`: its certificates, DER.
 * - `ca`: certificates of an authority that issued its certificates for this repository.
 * - `root`: a root that is believed already, as `root.json` of a client has it; newer ones must follow from it.
 * - `first-use`: whatever the server shows. Only for who says so.
 */
export type NotaryPin =
  | { readonly kind: 'hash'; readonly sha256: readonly string[] }
  | { readonly kind: 'certificate'; readonly certificates: readonly Uint8Array[] }
  | { readonly kind: 'ca'; readonly certificates: readonly Uint8Array[] }
  | { readonly kind: 'root'; readonly bytes: Uint8Array }
  | { readonly kind: 'first-use' };

/** A root, and whom it names. */
export interface Root {
  readonly role: SignedRole;
  readonly keys: Readonly<Record<'root' | 'targets' | 'snapshot' | 'timestamp', RoleKeys>>;
}

export interface TrustedNotaryRoot {
  readonly root: Root;
  /** The version at which trust began, and every version from there on was followed. */
  readonly from: number;
  /** The root key that fits the pin. */
  readonly pinned: RoleKey;
}

export interface RootOptions {
  readonly gun: string;
  readonly source: NotarySource;
  readonly pin: NotaryPin;
  readonly crypto: CryptoPort;
  readonly nowMs: number;
}

export const MAX_ROOT_BYTES = 1024 * 1024;
const MAX_ROTATIONS = 256;

/**
 * The newest root, from one that fits the pin. If the pin is that of an older root, each version from there on must be signed by the one before
 * and by itself.
 *
 * @throws NotaryError `NOTARY_NOT_FOUND`, `NOTARY_PIN`, `NOTARY_ROTATION`, `NOTARY_SIGNATURE`, `NOTARY_VERSION`, `NOTARY_EXPIRED`, `NOTARY_FORMAT`,
 * `NOTARY_LIMIT`
 */
export async function readRoot(options: RootOptions): Promise<TrustedNotaryRoot> {
  const { source, gun, crypto, nowMs } = options;
  const bytes = await source.read('root', MAX_ROOT_BYTES);
  if (bytes === undefined) {
    throw new NotaryError('NOTARY_NOT_FOUND', `Cannot read ${gun}: the server does not have it`, { role: 'root' });
  }
  const newest = parseRoot(bytes, crypto);
  await verifySignatures(newest.role, newest.keys.root, crypto);

  // 1. Where trust begins: in the newest root, or in one before it, back to the pinned one.
  const chain = [newest];
  let pinned = await findPinned(newest, options);
  while (pinned === undefined) {
    const [oldest] = chain as [Root];
    const version = oldest.role.version - 1;
    const older =
      version < 1 || chain.length > MAX_ROTATIONS ? undefined : await source.read(`${version}.root`, MAX_ROOT_BYTES);
    if (older === undefined) {
      throw new NotaryError(
        'NOTARY_PIN',
        `Cannot believe ${gun}: none of its roots fits what is pinned; ${describeRoot(newest)}`,
        {
          role: 'root',
          cure: 'Check what is pinned with the owner of the repository, in another way than through this server',
        },
      );
    }
    const root = parseRoot(older, crypto);
    if (root.role.version !== version) throw wrongVersion(root, version);
    chain.unshift(root);
    pinned = await findPinned(root, options);
  }

  // 2. From there on, each by the word of the one before, and by its own.
  const [first] = chain as [Root];
  await verifySignatures(first.role, first.keys.root, crypto);
  for (let i = 1; i < chain.length; i++) {
    const [before, after] = [chain[i - 1], chain[i]] as [Root, Root];
    await verifySignatures(after.role, after.keys.root, crypto);
    try {
      await verifySignatures(after.role, before.keys.root, crypto);
    } catch (cause) {
      if (!(cause instanceof NotaryError)) throw cause;
      throw new NotaryError(
        'NOTARY_ROTATION',
        `Cannot believe version ${after.role.version} of the root: version ${before.role.version} did not sign it`,
        { role: 'root', cause },
      );
    }
  }

  // 3. What counts is the newest: it must hold now, and be for this repository.
  checkExpiry(newest.role, nowMs);
  await checkCertificates(newest, options);
  return { root: newest, from: first.role.version, pinned };
}

/** @throws NotaryError `NOTARY_EXPIRED` */
export function checkExpiry({ name, expires }: SignedRole, nowMs: number): void {
  if (nowMs <= expires.getTime()) return;
  throw new NotaryError('NOTARY_EXPIRED', `Cannot believe role ${name}: it expired at ${expires.toISOString()}`, {
    role: name,
    cure: 'Its owner has to sign it again',
  });
}

function parseRoot(bytes: Uint8Array, crypto: CryptoPort): Root {
  const role = parseRole('root', bytes);
  const keys = parseKeys(role.signed['keys'], 'root', crypto.hash);
  const roles = objectOf(
    role.signed['roles'],
    () => new NotaryError('NOTARY_FORMAT', 'Cannot read role root: it has no roles', { role: 'root' }),
  );
  const of = (name: string) => parseRoleKeys(roles[name], name, keys);
  return {
    role,
    keys: { root: of('root'), targets: of('targets'), snapshot: of('snapshot'), timestamp: of('timestamp') },
  };
}

/**
 * The root key that fits the pin and signed this root. That it is listed is not enough: anybody can write a root that lists it, beside a key of
 * their own that signs.
 */
async function findPinned(root: Root, options: RootOptions): Promise<RoleKey | undefined> {
  const { pin, crypto } = options;
  const { keys } = root.keys.root;
  // The very same file, not just the same keys: what follows must follow from it.
  if (pin.kind === 'root') return equalBytes(root.role.bytes, pin.bytes) ? keys[0] : undefined;
  for (const key of keys) {
    if (await fits(key, options)) {
      try {
        await verifySignatures(root.role, { keys: [key], threshold: 1 }, crypto);
        return key;
      } catch (error) {
        if (!(error instanceof NotaryError)) throw error;
      }
    }
  }
  return undefined;
}

async function fits(key: RoleKey, { gun, pin, crypto, nowMs }: RootOptions): Promise<boolean> {
  const [leaf] = key.certificates;
  switch (pin.kind) {
    case 'hash':
      return (
        pin.sha256.includes(key.keyId) ||
        (leaf !== undefined && pin.sha256.includes(encodeHex(crypto.hash('sha256', leaf.der))))
      );
    case 'certificate':
      return leaf !== undefined && pin.certificates.some((der) => equalBytes(der, leaf.der));
    case 'ca':
      return isIssuedBy(key, pin.certificates, gun, crypto, nowMs);
    default:
      return pin.kind === 'first-use';
  }
}

async function isIssuedBy(
  { certificates }: RoleKey,
  authorities: readonly Uint8Array[],
  gun: string,
  crypto: CryptoPort,
  nowMs: number,
): Promise<boolean> {
  const [leaf, ...intermediates] = certificates;
  // An authority has many customers: only what it issued for this repository is about it.
  if (leaf === undefined || commonName(leaf) !== gun) return false;
  try {
    const anchors = authorities.map((der) => parseCertificate(der));
    await buildChain(leaf, { intermediates, anchors, time: new Date(nowMs) }, crypto);
    return true;
  } catch (error) {
    if (error instanceof X509Error) return false;
    throw error;
  }
}

/**
 * Root certificates are made for one repository, which is their name, and end. Where there are any, those that are for this one and valid now must
 * have signed, as many as it takes: that one is listed beside a key that signed says nothing.
 * @see notaryproject/notary: trustpinning/certs.go, ValidateRoot
 */
async function checkCertificates({ role, keys }: Root, { gun, nowMs, crypto }: RootOptions): Promise<void> {
  const now = new Date(nowMs);
  const certified = keys.root.keys.flatMap((key) => key.certificates.slice(0, 1).map((leaf) => ({ key, leaf })));
  if (certified.length === 0) return;
  const named = certified.filter(({ leaf }) => commonName(leaf) === gun);
  if (named.length === 0) {
    const names = certified.map(({ leaf }) => commonName(leaf)).join(', ');
    throw new NotaryError('NOTARY_PIN', `Cannot believe the root: its certificate is for ${names}, not for ${gun}`, {
      role: 'root',
      cure: 'Ask for the repository by the name that it was published under',
    });
  }
  const valid = named.filter(({ leaf: { notBefore, notAfter } }) => notBefore <= now && now <= notAfter);
  if (valid.length === 0) {
    throw new NotaryError('NOTARY_EXPIRED', 'Cannot believe the root: its certificate is not valid now', {
      role: 'root',
    });
  }
  await verifySignatures(role, { keys: valid.map(({ key }) => key), threshold: keys.root.threshold }, crypto);
}

/** The common name of a certificate's subject. */
export function commonName({ subject }: Certificate): string {
  try {
    return parseName(subject).commonName ?? '';
  } catch (error) {
    if (error instanceof X509Error) return '';
    throw error;
  }
}

function describeRoot({ role, keys }: Root): string {
  return `version ${role.version} has the keys ${keys.root.keys.map(({ keyId }) => keyId).join(', ')}`;
}

function wrongVersion({ role }: Root, version: number): NotaryError {
  return new NotaryError('NOTARY_VERSION', `Cannot believe the root: version ${version} says it is ${role.version}`, {
    role: 'root',
  });
}
