import type { Descriptor, Digest } from '#libs/oci';
import { TagError } from './error.js';
import type { VerifiedSnapshot } from './snapshot.js';
import type { SnapshotEntry, SnapshotId, SnapshotStatement, TagStatement, Written } from './statement.js';

/**
 * What a snapshot is made of: the tags, and where their bundles are. Publishers that know the same snapshots make the same of them, in whatever order
 * they came to know them.
 */
export interface Contents {
  readonly entries: ReadonlyMap<string, SnapshotEntry>;
  readonly layers: ReadonlyMap<Digest, readonly Descriptor[]>;
}

/** How a snapshot lists a statement. */
export function entryOf({ value: { tag, state, version, digest }, id }: Written<TagStatement>): SnapshotEntry {
  return { tag, state, version, statement: id, digest };
}

/** How snapshots name each other. */
export function idOf({ value: { version }, id }: Written<SnapshotStatement>): SnapshotId {
  return { version, statement: id };
}

/** What a snapshot that is there has. */
export function contentsOf({ statement, record }: VerifiedSnapshot): Contents {
  return {
    entries: new Map(statement.value.tags.map((entry) => [entry.tag, entry])),
    layers: record.bundles,
  };
}

/** Of each tag the highest version. Of two statements with one version all publishers take the same, without asking each other. */
export function union(all: readonly Contents[]): Contents {
  const entries = new Map<string, SnapshotEntry>();
  const layers = new Map<Digest, readonly Descriptor[]>();
  for (const contents of all) {
    for (const [tag, entry] of contents.entries) {
      const known = entries.get(tag);
      if (known === undefined || isAfter(entry, known)) entries.set(tag, entry);
    }
    for (const [id, found] of contents.layers) if (!layers.has(id)) layers.set(id, found);
  }
  return { entries, layers };
}

function isAfter(one: SnapshotEntry, other: SnapshotEntry): boolean {
  return one.version > other.version || (one.version === other.version && one.statement < other.statement);
}

/** Whether the second says all that the first does, or something newer. */
export function isCovered({ entries }: Contents, { entries: has }: Contents): boolean {
  return [...entries.values()].every((entry) => {
    const found = has.get(entry.tag);
    return found !== undefined && (found.statement === entry.statement || isAfter(found, entry));
  });
}

/**
 * That what we have to say was not overtaken by somebody who said something else.
 * @throws TagError `TAGS_CONFLICT`
 */
export function checkSurvival(ours: Contents, all: Contents): void {
  for (const { tag, version, statement } of ours.entries.values()) {
    const taken = all.entries.get(tag);
    if (taken === undefined || taken.statement === statement) continue;
    throw new TagError(
      'TAGS_CONFLICT',
      `Cannot publish ${tag}: another publisher made version ${taken.version} of it, which means ${taken.digest}, while we made version ${version}`,
      { cure: 'Look at `chancery tag history`; if it should still mean yours, publish it again' },
    );
  }
}
