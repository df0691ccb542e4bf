import { EncodingError, parseJson, type JsonValue } from '#libs/encoding';
import { EntryError } from './error.js';
import { indexKeys } from './v1-kind.js';
import type { BodyKeyPorts, ProposedKind, V1Contents, V1Ports } from './v1-proposal.js';
import { proposedKinds } from './v1.js';

// As for bodies in bundles: old entries hold more than new ones may.
const MAX_BODY_BYTES = 8 * 1024 * 1024;

/** A stored body of Rekor v1, and what it says. */
export interface V1Body extends V1Contents {
  readonly kind: string;
  readonly version: string;
}

/**
 * Reads a stored body of Rekor v1 of any kind that can be proposed here. Unlike `parseEntryBody` it knows `rekord`,
 * `rfc3161` and `intoto` 0.0.1, which no bundle holds, and says what all kinds have in common.
 * @throws EntryError `ENTRY_BODY_MALFORMED`
 */
export function parseV1Body(body: Uint8Array, hash: V1Ports['hash']): V1Body {
  const { row, spec } = readBody(body);
  const { kind, version } = row;
  return { kind, version, ...contentsOf(row, spec, hash) };
}

/**
 * The texts by which Rekor v1 finds an entry, as far as they follow from its stored body: with the `unloggedKeys` of the
 * proposal they are its `keys`.
 * @throws EntryError `ENTRY_BODY_MALFORMED`
 */
export function bodyKeys(body: Uint8Array, { hash, x509KeyOf }: BodyKeyPorts): string[] {
  const { row, spec } = readBody(body);
  const { verifiers, digests } = contentsOf(row, spec, hash);
  const keys = verifiers.map(({ format, content }) =>
    format === 'x509' ? x509KeyOf(content) : { canonical: content, subjects: [] },
  );
  return [...indexKeys(row.keyPrefix, keys, digests, hash)];
}

function readBody(body: Uint8Array): { row: ProposedKind; spec: JsonValue | undefined } {
  const json = jsonOf(body);
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw malformed('it is not an object');
  const { kind, apiVersion, spec } = json;
  const row =
    typeof kind === 'string' && typeof apiVersion === 'string' ? proposedKinds.get(kind)?.get(apiVersion) : undefined;
  if (row === undefined) throw malformed('kind and version are none of Rekor v1');
  return { row, spec };
}

function contentsOf(row: ProposedKind, spec: unknown, hash: V1Ports['hash']): V1Contents {
  try {
    return row.contents(spec, hash);
  } catch (error) {
    if (error instanceof EntryError) throw malformed(`it is no ${row.kind} ${row.version}`, error);
    throw error;
  }
}

function jsonOf(body: Uint8Array): JsonValue {
  try {
    return parseJson(body, { maxLength: MAX_BODY_BYTES });
  } catch (error) {
    if (error instanceof EncodingError) throw malformed('it is not JSON', error);
    throw error;
  }
}

function malformed(state: string, cause?: unknown): EntryError {
  return new EntryError('ENTRY_BODY_MALFORMED', `Cannot read entry body: ${state}`, { cause });
}
