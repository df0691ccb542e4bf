import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { encodeBase64, encodeUtf8, type JsonValue } from '#libs/encoding';
import type { NotarySource } from '#libs/notary';

/** A key as Notary has it. */
export interface WriterKey {
  id: string;
  json: JsonValue;
  sign(message: Uint8Array): { method: string; sig: string };
}

const sha = (algorithm: string, bytes: Uint8Array | string) => createHash(algorithm).update(bytes).digest();
/** Enough for what is written here: no character needs an escape. */
export const canonicalText = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) =>
    one !== null && typeof one === 'object' && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );

export function makeKey(kind: 'ecdsa' | 'ed25519' | 'rsa' = 'ecdsa'): WriterKey {
  const pair =
    kind === 'ecdsa'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : kind === 'ed25519'
        ? generateKeyPairSync('ed25519')
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
  return keyOf(kind, encodeBase64(kind === 'ed25519' ? spki.subarray(-32) : spki), pair.privateKey);
}

/** `publicText`: base64 of the key, or of PEM with its certificate. */
export function keyOf(type: string, publicText: string, privateKey: KeyObject): WriterKey {
  const json = { keytype: type, keyval: { private: null, public: publicText } };
  return {
    id: sha('sha256', canonicalText(json)).toString('hex'),
    json,
    sign: (message) => {
      if (type.startsWith('ecdsa')) {
        const sig = sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
        return { method: 'ecdsa', sig: encodeBase64(sig) };
      }
      if (type === 'ed25519') return { method: 'eddsa', sig: encodeBase64(sign(null, message, privateKey)) };
      const sig = sign('sha256', message, { key: privateKey, padding: 6, saltLength: 32 }); // RSA_PKCS1_PSS_PADDING
      return { method: 'rsapss', sig: encodeBase64(sig) };
    },
  };
}

export interface RoleDraft {
  signed: Record<string, unknown>;
  keys: WriterKey[];
  /** Changes the file after signing. */
  after?: (file: { signed: Record<string, unknown>; signatures: Record<string, unknown>[] }) => void;
}

/** A repository that a test can change before it is signed. */
export interface Draft {
  root: RoleDraft;
  timestamp: RoleDraft;
  snapshot: RoleDraft;
  targets: RoleDraft;
  delegations: Record<string, RoleDraft>;
  /** Earlier versions of the root, signed. */
  olderRoots: Map<number, Uint8Array>;
  /** Changes what the snapshot says of the roles before it is signed. */
  changeMeta?: (meta: Record<string, { hashes: Record<string, string>; length: number }>) => void;
  /** Files that the server has instead of the right ones. */
  served: Map<string, Uint8Array>;
}

export const NOW_MS = Date.UTC(2026, 5, 1);
const EXPIRES = '2029-06-01T00:00:00.123456789Z';
export const TARGET = (fill: number, length = 528) => ({
  hashes: { sha256: encodeBase64(new Uint8Array(32).fill(fill)) },
  length,
});
const roleOf = (keys: WriterKey[], threshold = 1) => ({ keyids: keys.map(({ id }) => id), threshold });
export const keysOf = (keys: WriterKey[]) => Object.fromEntries(keys.map(({ id, json }) => [id, json]));

export function draftRepository(rootKeys: WriterKey[] = [makeKey()]): Draft {
  const [targets, snapshot, timestamp, releases] = [makeKey(), makeKey(), makeKey('ed25519'), makeKey()];
  const body = (type: string, more: object) => ({ _type: type, version: 1, expires: EXPIRES, ...more });
  return {
    root: {
      keys: rootKeys,
      signed: body('Root', {
        consistent_snapshot: false,
        keys: keysOf([...rootKeys, targets, snapshot, timestamp]),
        roles: {
          root: roleOf(rootKeys),
          targets: roleOf([targets]),
          snapshot: roleOf([snapshot]),
          timestamp: roleOf([timestamp]),
        },
      }),
    },
    timestamp: { keys: [timestamp], signed: body('Timestamp', { meta: {} }) },
    snapshot: { keys: [snapshot], signed: body('Snapshot', { meta: {} }) },
    targets: {
      keys: [targets],
      signed: body('Targets', {
        targets: { v1: TARGET(1), latest: TARGET(1) },
        delegations: {
          keys: keysOf([releases]),
          roles: [
            { name: 'targets/releases', paths: [''], ...roleOf([releases]) },
            { name: 'targets/alice', paths: ['v'], ...roleOf([releases]) },
          ],
        },
      }),
    },
    delegations: {
      'targets/releases': {
        keys: [releases],
        signed: body('Targets', {
          targets: { latest: TARGET(2), v2: TARGET(2) },
          delegations: { keys: {}, roles: [] },
        }),
      },
      'targets/alice': {
        keys: [releases],
        signed: body('Targets', { targets: { v2: TARGET(2) }, delegations: { keys: {}, roles: [] } }),
      },
    },
    olderRoots: new Map(),
    served: new Map(),
  };
}

export function signRole({ signed, keys, after }: RoleDraft): Uint8Array {
  const message = encodeUtf8(canonicalText(signed));
  const file = { signed, signatures: keys.map((key) => ({ keyid: key.id, ...key.sign(message) })) };
  after?.(file);
  return encodeUtf8(canonicalText(file));
}

export const metaOf = (bytes: Uint8Array) => ({
  hashes: { sha256: encodeBase64(sha('sha256', bytes)), sha512: encodeBase64(sha('sha512', bytes)) },
  length: bytes.length,
});

/** Signs everything from the leaves up, and serves it as a Notary server does. */
export function serve(draft: Draft): NotarySource & { files: Map<string, Uint8Array> } {
  const files = new Map<string, Uint8Array>();
  const put = (name: string, bytes: Uint8Array) => {
    files.set(name, bytes);
    files.set(`${name}.${sha('sha256', bytes).toString('hex')}`, bytes);
    return metaOf(bytes);
  };
  const meta: Record<string, ReturnType<typeof metaOf>> = { root: put('root', signRole(draft.root)) };
  for (const [name, role] of Object.entries(draft.delegations)) meta[name] = put(name, signRole(role));
  meta['targets'] = put('targets', signRole(draft.targets));
  draft.changeMeta?.(meta);
  const withMeta = (role: RoleDraft, said: object): RoleDraft => ({ ...role, signed: { ...role.signed, meta: said } });
  const snapshot = put('snapshot', signRole(withMeta(draft.snapshot, meta)));
  put('timestamp', signRole(withMeta(draft.timestamp, { snapshot })));
  for (const [version, bytes] of draft.olderRoots) files.set(`${version}.root`, bytes);
  // What replaces a role replaces it under its hash as well.
  for (const [name, bytes] of draft.served) {
    for (const known of [...files.keys()]) if (known === name || known.startsWith(`${name}.`)) files.set(known, bytes);
  }
  return { files, read: async (name) => files.get(name) };
}
