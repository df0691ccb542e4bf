import type { z } from 'zod';
import { canonicalizeJson, encodeHex, encodeUtf8, EncodingError, parseBase64 } from '#libs/encoding';
import { EntryError, refused, tooLarge } from './error.js';
import type { PkiFormat, PkiKey } from './pki.js';
import type { ProposedKind, ProposeOptions, V1Contents, V1Ports, V1Proposal } from './v1-proposal.js';
import { checkSearchKeys } from './search-keys.js';
import { checkSchema, type Sha256Field } from './v1-schema.js';

/** Tiles frame each entry with a 16-bit length (C2SP tlog-tiles). */
const MAX_BODY_BYTES = 65_535;

/** What a kind finds out about a proposal; the rest of a `V1Proposal` follows from it. */
export interface ProvenEntry {
  readonly body: Uint8Array;
  readonly keys: readonly PkiKey[];
  readonly digests: readonly string[];
  /** What finds the entry beyond keys, their subjects and digests. */
  readonly extraKeys?: readonly string[];
  readonly attestation?: V1Proposal['attestation'];
  /** Whether `bodyKeys` finds the subjects of the keys again. Default true. */
  readonly subjectsFollow?: boolean;
}

/** A row of the table of kinds: the schema is checked here, so that a kind sees only what fits it. */
export function proposedKind<Schema extends z.ZodType>(definition: {
  readonly kind: string;
  readonly version: string;
  readonly spec: Schema;
  readonly keyPrefix: '' | 'sha256:';
  readonly prove: (spec: z.output<Schema>, ports: V1Ports, options: ProposeOptions) => Promise<ProvenEntry>;
  readonly read: (spec: z.output<Schema>, hash: V1Ports['hash']) => V1Contents;
}): ProposedKind {
  const { kind, version, spec: schema, keyPrefix, prove, read } = definition;
  return {
    kind,
    version,
    spec: schema,
    keyPrefix,
    async propose(spec, ports, options) {
      const proven = await prove(checkSchema(schema, spec), ports, options);
      return proposal({ kind, version, keyPrefix }, proven, ports.hash);
    },
    contents: (spec, hash) => read(checkSchema(schema, spec), hash),
  };
}

function proposal(
  { kind, version, keyPrefix }: Pick<ProposedKind, 'kind' | 'version' | 'keyPrefix'>,
  proven: ProvenEntry,
  hash: V1Ports['hash'],
): V1Proposal {
  const { body, keys, digests, extraKeys = [], attestation, subjectsFollow = true } = proven;
  const inBody = subjectsFollow ? keys : keys.map(({ canonical }) => ({ canonical, subjects: [] }));
  const logged = indexKeys(keyPrefix, inBody, digests, hash);
  const unlogged = new Set<string>();
  for (const key of subjectsFollow ? extraKeys : [...keys.flatMap(({ subjects }) => subjects), ...extraKeys]) {
    const text = key.toLowerCase();
    if (!logged.has(text)) unlogged.add(text);
  }
  checkSearchKeys(logged, unlogged);
  return {
    kind,
    version,
    body,
    keys: [...logged, ...unlogged],
    unloggedKeys: [...unlogged],
    certificates: keys.flatMap(({ certificate }) => (certificate === undefined ? [] : [certificate])),
    publicKeys: keys.flatMap(({ publicKey }) => (publicKey === undefined ? [] : [publicKey])),
    ...(attestation === undefined ? {} : { attestation }),
  };
}

/** The texts that Rekor v1 writes into its index for these keys and digests. */
export function indexKeys(
  keyPrefix: string,
  keys: readonly Pick<PkiKey, 'canonical' | 'subjects'>[],
  digests: readonly string[],
  hash: V1Ports['hash'],
): Set<string> {
  const texts = new Set<string>();
  for (const { canonical, subjects } of keys) {
    texts.add(keyPrefix + encodeHex(hash('sha256', canonical)));
    for (const subject of subjects) texts.add(subject.toLowerCase());
  }
  for (const digest of digests) texts.add(digest);
  return texts;
}

/**
 * The canonical body of an entry.
 * @throws EntryError `ENTRY_TOO_LARGE`, `ENTRY_PROPOSAL` for text that UTF-8 cannot carry
 */
export function canonicalBody(kind: string, version: string, spec: object): Uint8Array {
  try {
    return boundedBody(encodeUtf8(canonicalizeJson({ apiVersion: version, kind, spec })));
  } catch (error) {
    if (error instanceof EncodingError) throw refused('ENTRY_PROPOSAL', 'text is not valid Unicode', error);
    throw error;
  }
}

/** @throws EntryError `ENTRY_TOO_LARGE` */
export function boundedBody(body: Uint8Array): Uint8Array {
  if (body.length > MAX_BODY_BYTES) {
    throw tooLarge(`canonical entry has ${body.length} bytes, at most ${MAX_BODY_BYTES} can be stored`);
  }
  return body;
}

/**
 * Bytes of a base64 field.
 * @throws EntryError `ENTRY_PROPOSAL`
 */
export function decodeBase64(what: string, text: string): Uint8Array {
  try {
    return parseBase64(text);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw refused('ENTRY_PROPOSAL', `failed parsing base64 data for ${what}`, error);
  }
}

/**
 * UTF-8 of a text field.
 * @throws EntryError `ENTRY_PROPOSAL`
 */
export function asBytes(what: string, text: string): Uint8Array {
  try {
    return encodeUtf8(text);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw refused('ENTRY_PROPOSAL', `${what} is not valid Unicode`, error);
  }
}

/**
 * Reads a public key.
 * @throws EntryError `ENTRY_PKI`
 */
export async function readKey(format: PkiFormat, bytes: Uint8Array, prefix = ''): Promise<PkiKey> {
  try {
    // Most formats are synchronous, and a turn of the event loop costs more than reading some keys.
    const key = format.parseKey(bytes);
    return key instanceof Promise ? await key : key;
  } catch (error) {
    throw pkiError(error, prefix);
  }
}

/** What the error of another library says of keys, signatures or timestamps; anything else is a mistake of ours. */
export function pkiError(error: unknown, prefix = ''): unknown {
  const detail = foreignDetail(error);
  return detail === undefined ? error : refused('ENTRY_PKI', prefix + detail, error);
}

/** The words of an error that carries the code of a library, unlike those of the platform. */
export function foreignDetail(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  if (error.code.startsWith('ERR_') || error instanceof EntryError) return undefined;
  return 'detail' in error && typeof error.detail === 'string' ? error.detail : error.message;
}

/** The SHA-256 of bytes as a field of an entry. */
export function sha256Of(hash: V1Ports['hash'], bytes: Uint8Array): Sha256Field {
  return { algorithm: 'sha256', value: encodeHex(hash('sha256', bytes)) };
}

/** `algorithm:value` of a hash field, as an index key. */
export function digestText({ algorithm, value }: { readonly algorithm: string; readonly value: string }): string {
  return `${algorithm}:${value.toLowerCase()}`;
}

/** A refusal to log what can only be looked up. */
export function notInsertable(state: string): EntryError {
  return refused('ENTRY_NOT_INSERTABLE', `entry not insertable into log: ${state}`);
}
