import { equalBytes } from '#libs/encoding';
import { HASH_LENGTH } from '#libs/merkle';

/** Hashes of which some may be unknown. */
export interface Row {
  bytes: Uint8Array;
  known: (at: number) => boolean;
}

/** So many positions are tried in every combination of stored and computed; among more only one exchanged. */
const MAX_COMBINED = 10;

/** The row that is right, made of stored and computed hashes; as many stored ones as possible. */
export function choose(stored: Row, computed: Row, isRight: (row: Uint8Array) => boolean): Uint8Array | undefined {
  const count = stored.bytes.length / HASH_LENGTH;
  const base = new Uint8Array(stored.bytes);
  const doubtful: number[] = [];
  for (let at = 0; at < count; at++) {
    if (!stored.known(at)) {
      if (!computed.known(at)) return undefined;
      base.set(hashAt(computed.bytes, at), at * HASH_LENGTH);
    } else if (computed.known(at) && !equalBytes(hashAt(stored.bytes, at), hashAt(computed.bytes, at)))
      doubtful.push(at);
  }
  const exchanged = (places: readonly number[]): Uint8Array => {
    const row = new Uint8Array(base);
    for (const at of places) row.set(hashAt(computed.bytes, at), at * HASH_LENGTH);
    return row;
  };
  for (const places of combinations(doubtful)) {
    const row = exchanged(places);
    if (isRight(row)) return row;
  }
  return undefined;
}

/** Sets of positions to exchange: none, all, one, all but one; of few positions every set. */
function* combinations(places: readonly number[]): Generator<readonly number[]> {
  yield [];
  if (places.length === 0) return;
  yield places;
  if (places.length > MAX_COMBINED) {
    for (const place of places) yield [place];
    for (const place of places) yield places.filter((other) => other !== place);
    return;
  }
  for (let set = 1; set < (1 << places.length) - 1; set++) yield places.filter((_, at) => ((set >> at) & 1) === 1);
}

/** Rows one after the other, as one. */
export function concatRows(rows: readonly Row[]): Row {
  const bytes = new Uint8Array(rows.reduce((length, row) => length + row.bytes.length, 0));
  const known: boolean[] = [];
  let at = 0;
  for (const row of rows) {
    bytes.set(row.bytes, at);
    at += row.bytes.length;
    for (let i = 0; i < row.bytes.length / HASH_LENGTH; i++) known.push(row.known(i));
  }
  return { bytes, known: (place) => known[place] === true };
}

/** One hash of a row, as a view. */
export function hashAt(row: Uint8Array, at: number): Uint8Array {
  return row.subarray(at * HASH_LENGTH, (at + 1) * HASH_LENGTH);
}
