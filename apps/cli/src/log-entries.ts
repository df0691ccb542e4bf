import { encodeBase64, encodeHex } from '#libs/encoding';
import type { Layout, LoggedEntry } from '#libs/audit';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { ctFacts, entryFacts, parseAnnexKeys, SearchError, type EntryFacts } from '#libs/search';
import { X509Error } from '#libs/x509';
import { printable } from './style.js';

/** An entry as it is shown: what it says, and where it is. */
export interface ShownEntry {
  index: bigint;
  facts: EntryFacts;
  /** When the log says that it took the entry; logs without annexes do not say. */
  timestampMs: bigint | undefined;
  /** What is hashed: the canonical body, or the MerkleTreeLeaf of a CT log. */
  leaf: Uint8Array;
}

/** Reads what an entry says. Never throws: what cannot be understood is of kind `unknown`. */
export function readEntry(layout: Layout, { index, record, annex }: LoggedEntry): ShownEntry {
  if (layout === 'static-ct') {
    try {
      const facts = ctFacts(record);
      return { index, facts, timestampMs: facts.timestampMs, leaf: facts.leaf };
    } catch (error) {
      if (!(error instanceof X509Error)) throw error;
    }
  }
  const facts = entryFacts(record, annex === undefined ? [] : annexKeys(annex.bytes));
  return { index, facts, timestampMs: annex?.timestampMs, leaf: record };
}

/** One line for programs; the names are those of `GET /api/search`. */
export function entryJson({ index, facts, timestampMs, leaf }: ShownEntry): object {
  const { kind, version, identities, issuer, repository, workflow, digests, subjects } = facts;
  return {
    logIndex: index,
    leafHash: encodeHex(leafHash(sha256, leaf)),
    integratedTime: timestampMs === undefined ? null : new Date(Number(timestampMs)).toISOString(),
    kind,
    apiVersion: version,
    identities: identities.map(({ kind: of, value }) => ({ kind: of, value })),
    ...(issuer !== undefined && { issuer }),
    ...(repository !== undefined && { repository }),
    ...(workflow !== undefined && { workflow }),
    digests,
    subjects,
    keyFingerprints: facts.keyFingerprints,
    certificateFingerprints: facts.certificateFingerprints,
    body: encodeBase64(leaf),
  };
}

/** What a person is shown of an entry, in columns. */
export interface EntryRow {
  tree?: string;
  logIndex: string;
  time: string | null;
  kind: string;
  identities: readonly { value: string }[];
  issuer?: string | undefined;
  digests: readonly string[];
  keyFingerprints: readonly string[];
}

/** The row of an entry. */
export function entryRow({ index, facts, timestampMs }: ShownEntry): EntryRow {
  const { kind, identities, issuer, digests, keyFingerprints } = facts;
  const time = timestampMs === undefined ? null : new Date(Number(timestampMs)).toISOString();
  return { logIndex: index.toString(), time, kind, identities, issuer, digests, keyFingerprints };
}

/** One line for people: index, time, kind, who, and of what. */
export function entryLine({
  tree,
  logIndex,
  time,
  kind,
  identities,
  issuer,
  digests,
  keyFingerprints,
}: EntryRow): string {
  const [key] = keyFingerprints;
  const names = identities.map(({ value }) => value);
  const who = names.length > 0 ? [...new Set(names)].join(', ') : key === undefined ? '–' : `key ${key.slice(0, 16)}…`;
  const parts = [
    ...(tree === undefined ? [] : [tree.padEnd(2)]),
    logIndex.padStart(9),
    (time ?? '–').padEnd(24),
    kind.padEnd(13),
    issuer === undefined ? who : `${who} (${issuer})`,
    digests[0] ?? '',
  ];
  return `${printable(parts.join('  ').trimEnd())}\n`;
}

/** Another log may keep something else in its annexes. */
function annexKeys(annex: Uint8Array): string[] {
  try {
    return parseAnnexKeys(annex);
  } catch (error) {
    if (error instanceof SearchError) return [];
    throw error;
  }
}
