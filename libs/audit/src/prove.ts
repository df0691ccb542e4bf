import { encodeHex, equalBytes, parseUtf8 } from '#libs/encoding';
import {
  consistencyNodes,
  emptyRoot,
  encodeTilePath,
  MerkleError,
  nodeHash,
  proveConsistency,
  readNodesFromTiles,
  tilesForNodes,
  verifyConsistency,
} from '#libs/merkle';
import type { Checkpoint } from '#libs/note';
import { sha256 } from '#libs/openssl';
import { AuditError, reasonOf } from './error.js';
import { MAX_TILE_BYTES, readPartialOrFull, type LogSource } from './source.js';

/** A log that shows its heads and proves that one came after the other: by its tiles, or by an API of its own. */
export interface ProvableLog {
  readonly location: string;
  /**
   * The newest checkpoints as they are served: that of the tree that grows first, then those of trees that came before it, if the log has such shards.
   * @throws AuditError as `LogSource.readNote`
   */
  readNotes(): Promise<string[]>;
  /**
   * What should prove that the first tree is a prefix of the second, both of this log and not empty, the first smaller. Not verified.
   * @throws AuditError
   */
  proveConsistency(first: Checkpoint, second: Checkpoint): Promise<LogProof>;
}

/** A proof as a log gave it, and the objects that it was built from. */
export interface LogProof {
  hashes: Uint8Array[];
  objects: { path: string; sha256: string }[];
}

/** Whether a newer head follows an older one, and if not, what shows it. */
export type Comparison = { kind: 'consistent'; hashes: Uint8Array[] } | Contradiction;

/** What two heads of one log do not agree in. */
export interface Contradiction {
  /**
   * `fork`: two roots for one size; `rewritten`: the proof leads to the newer root, but from another older one; both show that the log signed two
   * histories. `rollback`: the log showed less than before. `unproven`: what the log gave as a proof is none.
   */
  kind: 'fork' | 'rewritten' | 'rollback' | 'unproven';
  explanation: string;
  proof?: FailedProof;
}

/** A proof that fails, and the roots that it leads to, where it leads to any. */
export interface FailedProof extends LogProof {
  firstRoot: Uint8Array | undefined;
  secondRoot: Uint8Array | undefined;
}

/** A log by its tiles. */
export function tilesLog(source: LogSource): ProvableLog {
  return {
    location: source.location,
    readNotes: async () => [textOf(await source.readNote(), source.location)],
    proveConsistency: async (first, second) => {
      const tiles = new Map<string, Uint8Array>();
      const objects: LogProof['objects'] = [];
      const nodes = consistencyNodes(first.size, second.size).flat();
      await Promise.all(
        tilesForNodes(nodes, second.size).map(async ({ level, index, width }) => {
          const pathOf = (wide: number) => encodeTilePath({ level, index, width: wide });
          const found = await readPartialOrFull(source, pathOf, width, MAX_TILE_BYTES);
          if (found === undefined) {
            throw new AuditError('AUDIT_MISSING', `Cannot read ${pathOf(width)}: it is not at ${source.location}`, {
              cure: 'A log must serve all that its newest checkpoint covers',
            });
          }
          tiles.set(`${level}/${index}`, found.bytes);
          objects.push({ path: found.path, sha256: encodeHex(sha256(found.bytes)) });
        }),
      );
      try {
        const readNode = readNodesFromTiles(sha256, (level, index) => {
          const tile = tiles.get(`${level}/${index}`);
          if (tile === undefined) throw new Error(`tile ${level}/${index} was not read ahead`);
          return tile;
        });
        return { hashes: proveConsistency(sha256, first.size, second.size, readNode), objects };
      } catch (cause) {
        if (!(cause instanceof MerkleError)) throw cause;
        throw new AuditError(
          'AUDIT_TILES',
          `Cannot prove anything from the tiles of ${source.location}: ${cause.message}`,
          {
            cause,
            cure: 'Run `log fsck` to find out which bytes are wrong',
          },
        );
      }
    },
  };
}

/**
 * Whether `newer` is a later head of the log whose head `older` is. Both are of one origin; whether they are signed is for the caller to know.
 * @throws AuditError if it cannot be told, as `ProvableLog.proveConsistency`
 */
export async function compareHeads(log: ProvableLog, older: Checkpoint, newer: Checkpoint): Promise<Comparison> {
  if (newer.size === older.size) {
    if (equalBytes(newer.rootHash, older.rootHash)) return { kind: 'consistent', hashes: [] };
    const explanation = `there are two roots for size ${older.size}: ${encodeHex(older.rootHash)} before, ${encodeHex(newer.rootHash)} now`;
    return { kind: 'fork', explanation };
  }
  if (newer.size < older.size) {
    const explanation = `the log showed ${older.size} entries before, and shows ${newer.size} now`;
    return { kind: 'rollback', explanation };
  }
  if (older.size === 0n) {
    // RFC 9162 §2.1.4: nothing to prove about an empty tree, but its root must be the one of the empty tree.
    if (equalBytes(older.rootHash, emptyRoot(sha256))) return { kind: 'consistent', hashes: [] };
    return { kind: 'rewritten', explanation: 'the older root is not that of a log without entries' };
  }
  const proof = await log.proveConsistency(older, newer);
  return checkProof(older, newer, proof);
}

/** Judges a proof of consistency. */
export function checkProof(older: Checkpoint, newer: Checkpoint, proof: LogProof): Comparison {
  const { hashes } = proof;
  try {
    verifyConsistency(sha256, {
      first: older.size,
      second: newer.size,
      firstRoot: older.rootHash,
      secondRoot: newer.rootHash,
      proof: hashes,
    });
    return { kind: 'consistent', hashes };
  } catch (cause) {
    if (!(cause instanceof MerkleError)) throw cause;
    const roots = cause.code === 'MERKLE_ROOT_MISMATCH' ? rootsOf(older, newer, hashes) : undefined;
    const shown: FailedProof = { ...proof, firstRoot: roots?.first, secondRoot: roots?.second };
    if (roots !== undefined && equalBytes(roots.second, newer.rootHash)) {
      const explanation = `the tree of size ${newer.size} has other first ${older.size} entries: their root is ${encodeHex(roots.first)}, and was ${encodeHex(older.rootHash)}`;
      return { kind: 'rewritten', explanation, proof: shown };
    }
    return { kind: 'unproven', explanation: reasonOf(cause), proof: shown };
  }
}

/** The roots that a proof of the right length leads to. @see RFC 9162 §2.1.4.2 */
function rootsOf(
  { size: first, rootHash }: Checkpoint,
  { size: second }: Checkpoint,
  hashes: readonly Uint8Array[],
): { first: Uint8Array; second: Uint8Array } {
  let at = first;
  let last = second;
  for (; (at & 1n) === 0n; at >>= 1n, last = (last + 1n) >> 1n);
  at -= 1n;
  last -= 1n;
  const [seed = rootHash, ...siblings] = at === 0n ? [rootHash, ...hashes] : hashes;
  let [a, b] = [seed, seed];
  for (const sibling of siblings) {
    if ((at & 1n) === 1n || at === last) {
      a = nodeHash(sha256, sibling, a);
      b = nodeHash(sha256, sibling, b);
      for (; (at & 1n) === 0n && at !== 0n; at >>= 1n, last >>= 1n);
    } else b = nodeHash(sha256, b, sibling);
    at >>= 1n;
    last >>= 1n;
  }
  return { first: a, second: b };
}

/** @throws AuditError `AUDIT_CHECKPOINT` if the bytes are no text */
export function textOf(bytes: Uint8Array, location: string): string {
  try {
    return parseUtf8(bytes);
  } catch (cause) {
    throw new AuditError('AUDIT_CHECKPOINT', `Cannot believe the checkpoint of ${location}: it is not text`, { cause });
  }
}
