import type { CryptoPort } from '#libs/crypto';
import { encodeHex, equalBytes, type JsonValue } from '#libs/encoding';
import { NotaryError } from './error.js';
import {
  objectOf,
  parseKeys,
  parseRole,
  parseRoleKeys,
  parseVouched,
  quote,
  verifySignatures,
  type RoleKey,
  type RoleKeys,
  type SignedRole,
  type Vouched,
} from './metadata.js';
import { checkExpiry, commonName, readRoot, type NotaryPin, type NotarySource } from './root.js';

export interface ReadNotaryOptions {
  /** The repository's full name, as it was published: `registry.example.com/ns/app`. */
  readonly gun: string;
  readonly source: NotarySource;
  readonly pin: NotaryPin;
  readonly crypto: CryptoPort;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  /** Versions of roles that were seen before: older ones are refused. */
  readonly seen?: ReadonlyMap<string, number>;
}

/** Somebody whose key signs. */
export interface NotarySigner {
  readonly keyId: string;
  readonly kind: string;
  /** Of the certificate, where the key is in one. */
  readonly name: string | undefined;
  readonly notAfter: Date | undefined;
}

/** A role that was verified. */
export interface NotaryRole {
  readonly name: string;
  readonly version: number;
  readonly expires: Date;
  readonly threshold: number;
  /** Those whose signatures it has, of those who may sign. */
  readonly signedBy: readonly NotarySigner[];
  readonly keys: readonly NotarySigner[];
  /** Of a delegation: how names of its tags may begin. */
  readonly paths: readonly string[] | undefined;
}

/** What a tag means, by one role's word. */
export interface NotaryTarget {
  readonly tag: string;
  readonly digest: `sha256:${string}`;
  readonly size: number;
  readonly role: string;
}

/** A Notary repository, verified to the end. */
export interface NotaryRepository {
  readonly gun: string;
  readonly root: { readonly version: number; readonly from: number; readonly pinned: NotarySigner };
  readonly roles: readonly NotaryRole[];
  /** All that any role says. */
  readonly targets: readonly NotaryTarget[];
  /** What Docker would pull: what `targets/releases` says of a tag, else `targets`; no other role counts. By tag. */
  readonly tags: readonly (NotaryTarget & { readonly signers: readonly string[] })[];
}

const MAX_TIMESTAMP_BYTES = 64 * 1024;
const MAX_ROLE_BYTES = 16 * 1024 * 1024;
const MAX_DELEGATIONS = 200;
const MAX_DEPTH = 8;
const MAX_TARGETS = 100_000;

/**
 * Reads a repository as a client of Notary would, and verifies all of it: root by the pin, timestamp, snapshot, targets and every delegation by the
 * keys, hashes, lengths and expiries that the role above them states. What cannot be verified is an error, not left out.
 *
 * @throws NotaryError; whatever the source throws
 */
export async function readNotaryRepository(options: ReadNotaryOptions): Promise<NotaryRepository> {
  const { source, crypto, gun } = options;
  const roles: NotaryRole[] = [];
  const accept = async (role: SignedRole, keys: RoleKeys, paths?: readonly string[]): Promise<void> => {
    const ids = await verifySignatures(role, keys, crypto);
    checkExpiry(role, options.nowMs);
    checkVersion(role, options.seen);
    roles.push(describe(role, keys, ids, paths));
  };

  // 1. Root, by the pin.
  const { root, from, pinned } = await readRoot(options);
  await accept(root.role, root.keys.root);

  // 2. Timestamp: what is the newest snapshot.
  const timestamp = parseRole('timestamp', await mustRead(source, 'timestamp', MAX_TIMESTAMP_BYTES));
  await accept(timestamp, root.keys.timestamp);
  // 3. Snapshot: what belongs together.
  const snapshot = await readVouched(options, 'snapshot', metaOf(timestamp));
  await accept(snapshot, root.keys.snapshot);
  const meta = metaOf(snapshot);
  checkVouched('root', root.role.bytes, vouchedFor('root', meta), crypto);

  // 4. Targets, and whom they name, and whom those name.
  const targets = await readVouched(options, 'targets', meta);
  await accept(targets, root.keys.targets);
  const found: NotaryTarget[] = readTargets(targets, undefined);
  const waiting = readDelegations(targets, undefined, crypto);
  const seen = new Set<string>();
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const { name, keys, paths } = next;
    if (seen.has(name) || seen.size >= MAX_DELEGATIONS || name.split('/').length > MAX_DEPTH) {
      throw new NotaryError(
        'NOTARY_LIMIT',
        `Cannot read delegation ${name}: it is there twice, or there are too many`,
        {
          role: name,
        },
      );
    }
    seen.add(name);
    // Named before it has signed anything: there is nothing to read, and the snapshot says so.
    if (!Object.hasOwn(meta, name)) continue;
    const role = await readVouched(options, name, meta);
    await accept(role, keys, paths);
    found.push(...readTargets(role, paths));
    waiting.push(...readDelegations(role, paths, crypto));
  }
  for (const name of Object.keys(meta)) {
    if (name === 'root' || name === 'targets' || seen.has(name)) continue;
    throw new NotaryError('NOTARY_DELEGATION', `Cannot believe the snapshot: nobody delegates to ${quote(name)}`, {
      role: 'snapshot',
    });
  }
  return {
    gun,
    root: { version: root.role.version, from, pinned: signerOf(pinned) },
    roles,
    targets: found,
    tags: resolveTags(found),
  };
}

function resolveTags(found: readonly NotaryTarget[]): NotaryRepository['tags'] {
  const of = (role: string) => new Map(found.filter((one) => one.role === role).map((one) => [one.tag, one]));
  const winning = new Map([...of('targets'), ...of('targets/releases')]);
  // By tag and digest: a repository may have a hundred thousand, and looking for each among all would take hours.
  const vouching = new Map<string, string[]>();
  for (const { tag, digest, role } of found) {
    if (!isSignerRole(role)) continue;
    const key = `${digest} ${tag}`;
    const roles = vouching.get(key) ?? [];
    roles.push(role.slice('targets/'.length));
    vouching.set(key, roles);
  }
  return [...winning.values()]
    .sort((a, b) => (a.tag < b.tag ? -1 : 1))
    .map((target) => ({
      ...target,
      // Docker's own reading: other roles that say the same are who vouched for it.
      signers: vouching.get(`${target.digest} ${target.tag}`) ?? [],
    }));
}

function isSignerRole(role: string): boolean {
  return role !== 'targets' && role !== 'targets/releases';
}

function checkVersion({ name, version }: SignedRole, seen: ReadonlyMap<string, number> | undefined): void {
  const before = seen?.get(name);
  if (before === undefined || version >= before) return;
  throw new NotaryError(
    'NOTARY_VERSION',
    `Cannot believe role ${name}: it has version ${version}, seen before: ${before}`,
    {
      role: name,
      cure: 'The server shows an old state',
    },
  );
}

type Meta = { readonly [name: string]: JsonValue };

function metaOf(role: SignedRole): Meta {
  return objectOf(
    role.signed['meta'],
    () => new NotaryError('NOTARY_FORMAT', `Cannot read role ${role.name}: it has no meta`, { role: role.name }),
  );
}

function vouchedFor(name: string, meta: Meta): Vouched {
  const refuse = (state: string) =>
    new NotaryError('NOTARY_FORMAT', `Cannot read what is said of role ${name}: ${state}`, { role: name });
  if (!Object.hasOwn(meta, name)) throw refuse('nothing is said');
  return parseVouched(meta[name], refuse);
}

/** Fetches by hash, so that a publication in between changes nothing, and holds what comes to it. */
async function readVouched({ source, crypto }: ReadNotaryOptions, name: string, meta: Meta): Promise<SignedRole> {
  const vouched = vouchedFor(name, meta);
  if (vouched.length > MAX_ROLE_BYTES) {
    throw new NotaryError('NOTARY_LIMIT', `Cannot read role ${name}: it has ${vouched.length} bytes`, { role: name });
  }
  const bytes = await mustRead(source, `${name}.${encodeHex(vouched.sha256)}`, vouched.length);
  checkVouched(name, bytes, vouched, crypto);
  return parseRole(name, bytes);
}

function checkVouched(name: string, bytes: Uint8Array, vouched: Vouched, crypto: CryptoPort): void {
  const { sha256, sha512, length } = vouched;
  const isSame =
    bytes.length === length &&
    equalBytes(crypto.hash('sha256', bytes), sha256) &&
    (sha512 === undefined || equalBytes(crypto.hash('sha512', bytes), sha512));
  if (isSame) return;
  throw new NotaryError(
    'NOTARY_HASH',
    `Cannot believe role ${name}: it is not the one of ${length} bytes and SHA-256 ${encodeHex(sha256)} that was signed for`,
    { role: name },
  );
}

async function mustRead(source: NotarySource, name: string, maxBytes: number): Promise<Uint8Array> {
  const bytes = await source.read(name, maxBytes);
  if (bytes !== undefined) return bytes;
  const [role = name] = name.split('.');
  throw new NotaryError('NOTARY_NOT_FOUND', `Cannot read role ${role}: the server does not have it`, { role });
}

/** @throws NotaryError `NOTARY_DELEGATION` for a name that the role may not speak about */
function readTargets(role: SignedRole, paths: readonly string[] | undefined): NotaryTarget[] {
  const refuse = (state: string) =>
    new NotaryError('NOTARY_FORMAT', `Cannot read the targets of role ${role.name}: ${state}`, { role: role.name });
  const targets = objectOf(role.signed['targets'], () => refuse('it has none'));
  const names = Object.keys(targets);
  if (names.length > MAX_TARGETS) {
    throw new NotaryError('NOTARY_LIMIT', `Cannot read role ${role.name}: it has ${names.length} targets`, {
      role: role.name,
    });
  }
  return names.map((tag) => {
    if (paths !== undefined && !paths.some((path) => tag.startsWith(path))) {
      throw new NotaryError(
        'NOTARY_DELEGATION',
        `Cannot believe role ${role.name}: it may not speak about ${quote(tag)}`,
        {
          role: role.name,
        },
      );
    }
    const { sha256, length } = parseVouched(targets[tag], refuse);
    return { tag, digest: `sha256:${encodeHex(sha256)}`, size: length, role: role.name };
  });
}

interface Delegation {
  readonly name: string;
  readonly keys: RoleKeys;
  readonly paths: readonly string[];
}

/** Whom a role names to speak for it: directly below it, about no more than itself. */
function readDelegations(role: SignedRole, within: readonly string[] | undefined, crypto: CryptoPort): Delegation[] {
  const refuse = (state: string) =>
    new NotaryError('NOTARY_FORMAT', `Cannot read the delegations of role ${role.name}: ${state}`, { role: role.name });
  const delegations = role.signed['delegations'];
  if (delegations === undefined || delegations === null) return [];
  const { keys, roles } = objectOf(delegations, () => refuse('they are not an object'));
  const known = parseKeys(keys, role.name, crypto.hash);
  if (roles === null) return [];
  if (!Array.isArray(roles)) throw refuse('they have no roles');
  return roles.map((one) => {
    const fields = objectOf(one, () => refuse('a role is not an object'));
    const { name, paths } = fields;
    if (typeof name !== 'string' || !/^targets(?:\/[-a-z0-9_]+)+$/.test(name) || parentOf(name) !== role.name) {
      throw refuse('a role is not directly below');
    }
    // No paths: nothing that it may speak about yet.
    if (paths !== undefined && paths !== null && !Array.isArray(paths))
      throw refuse('the paths of a role are not a list');
    const own = (paths ?? []).map((path) => {
      if (typeof path !== 'string') throw refuse('a path is not a text');
      return path;
    });
    const allowed = within === undefined ? own : own.filter((path) => within.some((outer) => path.startsWith(outer)));
    return { name, keys: parseRoleKeys(fields, name, known), paths: allowed };
  });
}

function parentOf(name: string): string {
  return name.slice(0, name.lastIndexOf('/'));
}

function describe(
  { name, version, expires }: SignedRole,
  { keys, threshold }: RoleKeys,
  ids: readonly string[],
  paths: readonly string[] | undefined,
): NotaryRole {
  const all = keys.map(signerOf);
  return {
    name,
    version,
    expires,
    threshold,
    keys: all,
    signedBy: all.filter(({ keyId }) => ids.includes(keyId)),
    paths,
  };
}

function signerOf({ keyId, publicKey, certificates: [leaf] }: RoleKey): NotarySigner {
  return {
    keyId,
    kind: publicKey.kind,
    name: leaf && commonName(leaf),
    notAfter: leaf?.notAfter,
  };
}
