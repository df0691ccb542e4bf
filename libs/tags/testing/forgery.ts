import { encodeBundle } from '#libs/bundle';
import { encodeUtf8 } from '#libs/encoding';
import {
  encodeSnapshot,
  encodeTagStatement,
  tagCheckIds,
  type SnapshotEntry,
  type SnapshotStatement,
  type TagCheckId,
  type TagReport,
  type TagStatement,
  type Written,
} from '#libs/tags';
import { expect } from 'vitest';
import { putBundle, putHead, putSnapshotRecord } from '../src/record.js';
import { DAY_MS, REPOSITORY, type TagWorld } from './tag-world.js';

/** Refused by this check, with every check before it passed or without anything to check. */
export function expectRefused({ ok, checks, failure, tags }: TagReport, by: TagCheckId): void {
  expect({ ok, by: failure?.check, code: failure?.code }).toEqual({
    ok: false,
    by,
    code: `TAGS_${by.toUpperCase().replaceAll('-', '_')}`,
  });
  expect(checks.filter(({ state }) => state === 'failed').map(({ id }) => id)).toEqual([by]);
  const before = tagCheckIds.slice(0, tagCheckIds.indexOf(by));
  for (const id of before) expect(checks.find((check) => check.id === id)?.detail).not.toMatch(/^not /);
  expect(failure?.cure).toBeTruthy();
  expect(tags).toBeUndefined();
}

export const seconds = (ms: number): Date => new Date(Math.floor(ms / 1000) * 1000);

/** How a snapshot lists it. */
export const entryOf = ({ value: { tag, state, version, digest }, id }: Written<TagStatement>): SnapshotEntry => ({
  ...{ tag, state, version, digest },
  statement: id,
});

type Publisher = string | Parameters<TagWorld['publisher']>[0];

/** Writes what no honest publisher writes. */
export interface Forger {
  /** A statement as a signer who means harm could write it. */
  readonly tagStatement: (change?: Partial<TagStatement>) => Written<TagStatement>;
  /** Publishes a snapshot as it is, with the statements. */
  readonly forge: (
    statements: Written<TagStatement>[],
    change?: Partial<SnapshotStatement>,
    signers?: { tags?: Publisher[]; snapshot?: string },
  ) => Promise<void>;
}

export function forgerIn(world: TagWorld): Forger {
  return {
    tagStatement: (change = {}) => {
      const issued = seconds(world.sigstore.now());
      const { digest, mediaType, size } = world.store.pushImage(change.tag ?? 'v1');
      return encodeTagStatement({
        repository: REPOSITORY,
        tag: 'v1',
        state: 'current',
        digest,
        mediaType,
        size,
        version: 1,
        previous: undefined,
        issued,
        from: issued,
        until: new Date(issued.getTime() + DAY_MS),
        threshold: 1,
        reason: undefined,
        ...change,
      });
    },
    forge: async (statements, change = {}, signers = {}) => {
      const issued = seconds(world.sigstore.now());
      const snapshot = encodeSnapshot({
        repository: REPOSITORY,
        version: 1,
        previous: undefined,
        merged: [],
        issued,
        until: new Date(issued.getTime() + DAY_MS),
        tags: statements.map(entryOf),
        ...change,
      });
      const layers = [];
      const signed = async (who: Publisher, { payload, id }: Written<unknown>) => {
        const { sign } = world.publisher(typeof who === 'string' ? { email: who } : who);
        return putBundle(world.store, id, encodeUtf8(encodeBundle(await sign(payload))));
      };
      layers.push(await signed(signers.snapshot ?? 'alice@example.com', snapshot));
      for (const statement of statements) {
        for (const who of signers.tags ?? ['alice@example.com']) layers.push(await signed(who, statement));
      }
      const id = { version: snapshot.value.version, statement: snapshot.id };
      await putHead(world.store, await putSnapshotRecord(world.store, id, layers));
    },
  };
}
