import { z } from 'zod';
import { EntryError, refused } from './error.js';
import { dsse1 } from './v1-dsse.js';
import { hashedRekord1 } from './v1-hashedrekord.js';
import { intoto1 } from './v1-intoto-001.js';
import { intoto2 } from './v1-intoto-002.js';
import type { ProposedKind, ProposeOptions, V1Ports, V1Proposal } from './v1-proposal.js';
import { rekord1 } from './v1-rekord.js';
import { rfc3161 } from './v1-rfc3161.js';
import { violationOf, wrongType } from './v1-schema.js';

const rows = [hashedRekord1, dsse1, intoto1, intoto2, rekord1, rfc3161] as const;

/** Every kind of entry of Rekor v1 that is read here, by its name and version. */
export const proposedKinds: ReadonlyMap<string, ReadonlyMap<string, ProposedKind>> = new Map(
  rows.map(({ kind }) => [kind, new Map(rows.filter((row) => row.kind === kind).map((row) => [row.version, row]))]),
);

/** Kinds that Rekor v1 has besides: a server may leave them out. */
const kindsLeftOut: ReadonlySet<string> = new Set(['alpine', 'cose', 'helm', 'jar', 'rpm', 'tuf']);

/** @see semver.org, "Is there a suggested regular expression"; in upstream's OpenAPI document the pattern of `apiVersion` */
const semanticVersion =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$/;

/** What every proposal has around its `spec`. */
const frame = z.strictObject({
  kind: z.string().max(64),
  apiVersion: z.string().max(64, { abort: true }).regex(semanticVersion),
  spec: z.looseObject({}),
});

const schemas = rows.map(({ kind, version, spec }) =>
  z
    .strictObject({
      kind: z.literal(kind).describe('The kind of entry'),
      apiVersion: z.literal(version).describe('The version of the kind'),
      spec,
    })
    .meta({ title: `${kind} ${version}` }),
);

/** A proposed entry of any kind, made from the table: the schema of the request body. */
export const proposedEntrySchema: z.ZodType = z
  .union(schemas)
  .meta({ id: 'ProposedEntry', title: 'ProposedEntry', description: 'An entry as a client proposes it to Rekor v1' });

/**
 * Proves a proposed entry of Rekor v1 and makes of it what the log stores: `{kind, apiVersion, spec}` as parsed JSON, in
 * which an explicit null is the same as nothing. The first thing wrong with it is reported.
 *
 * Of the errors, those with a `detail` are what Rekor answers with 400 and `error processing entry: <detail>`; those with
 * a `schema` alone are 422 with that object as the body.
 * @throws EntryError `ENTRY_SCHEMA`, `ENTRY_KIND`, `ENTRY_VERSION`, `ENTRY_PROPOSAL`, `ENTRY_PKI`, `ENTRY_SIGNATURE`,
 * `ENTRY_NOT_INSERTABLE`, `ENTRY_TOO_LARGE`
 * @see sigstore/rekor, pkg/types/entries.go
 */
export async function proposeEntry(json: unknown, ports: V1Ports, options: ProposeOptions): Promise<V1Proposal> {
  const { kind, apiVersion, spec } = readFrame(json);
  const row = proposedKinds.get(kind)?.get(apiVersion);
  if (row === undefined) {
    const state = `${kind} implementation for version '${apiVersion}' not found`;
    throw refused('ENTRY_VERSION', `${state}: unable to locate entry for version ${apiVersion}`);
  }
  return row.propose(spec, ports, options);
}

function readFrame(json: unknown): z.output<typeof frame> {
  if (json === undefined || json === null) throw outside(602, 'proposedEntry in body is required');
  if (typeof json !== 'object' || Array.isArray(json)) {
    const { code, message } = wrongType('proposedEntry in body', 'object', json);
    throw outside(code, message);
  }
  const result = frame.safeParse(json);
  const kind: unknown = 'kind' in json ? json.kind : undefined;
  if (typeof kind === 'string' && !proposedKinds.has(kind)) throw unknownKind(kind);
  if (result.success) return result.data;
  const { code, message } = violationOf(result.error, json);
  throw outside(code, message);
}

function unknownKind(kind: string): EntryError {
  if (kind === '') return outside(602, 'kind in body is required');
  if (kindsLeftOut.has(kind)) {
    return refused('ENTRY_KIND', `entry kind '${kind}' is not enabled for submission on this server`);
  }
  const message = `invalid kind value: ${JSON.stringify(kind.slice(0, 64))}`;
  return new EntryError('ENTRY_KIND', `Cannot accept entry: ${message}`, { schema: { code: 422, message } });
}

/** A violation outside of `spec`. */
function outside(code: number, message: string): EntryError {
  return new EntryError('ENTRY_SCHEMA', `Cannot accept entry: ${message}`, { schema: { code, message } });
}
