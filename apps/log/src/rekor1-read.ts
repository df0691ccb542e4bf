import { encodePem, encodeHex, parseHex } from '#libs/encoding';
import { EntryError, loadProposals, type ProposeOptions, type V1Ports } from '#libs/entry';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { parseAnnexedEntry } from '#libs/tlog';
import type { Attestations } from './rekor1-attestations.js';
import { RekorError } from './rekor1-errors.js';
import { encodeLogEntry, type LogEntry, type RekorShard } from './rekor1-log.js';
import { checkRekor, maxQueryItems, parseRekorBody, rekorParams, searchLogQuery } from './rekor1-request.js';

const { FailedChecks, proposeEntry } = await loadProposals();

/** How many checks of signatures may fail for all proposals of one query: ten of five signatures each, in any order, fail a hundred times. */
const maxFailedChecks = 128;

export interface ReadRekorLogOptions {
  readonly shard: RekorShard;
  readonly ports: V1Ports;
  readonly attestations?: Attestations;
}

type EntryMap = Readonly<Record<string, LogEntry>>;

/** The read side of Rekor v1. Methods take what came with the request, and throw RekorError or RekorSchemaError if that is wrong. */
export class ReadRekorLog {
  constructor(private readonly options: ReadRekorLogOptions) {}

  /** GET /api/v1/log */
  info(): unknown {
    const { tree, treeId } = this.options.shard;
    const { size, rootHash, note } = tree.head();
    return {
      inactiveShards: null,
      rootHash: encodeHex(rootHash),
      signedTreeHead: note,
      treeID: treeId.toString(),
      treeSize: Number(size),
    };
  }

  /** GET /api/v1/log/publicKey: PEM. */
  publicKey(query: unknown): string {
    const { signer, treeId } = this.options.shard;
    const { treeID } = checkRekor(rekorParams.publicKey, query, 'query');
    if (treeID !== undefined && readTreeId(treeID, 10) !== treeId) throw new RekorError('REKOR_REQUEST', 'Bad Request');
    return encodePem('PUBLIC KEY', signer.publicKey.spki);
  }

  /** GET /api/v1/log/proof. `rootHash` is that of the newest tree, whatever `lastSize` is: verifiers bring their own roots. */
  async proof(query: unknown): Promise<unknown> {
    const { tree, treeId } = this.options.shard;
    const { firstSize = 1, lastSize, treeID } = checkRekor(rekorParams.proof, query, 'query');
    if (firstSize > lastSize) {
      throw new RekorError('REKOR_REQUEST', `firstSize(${firstSize}) must be less than lastSize(${lastSize})`);
    }
    if (treeID !== undefined) {
      const id = readTreeId(treeID, 10);
      if (id === undefined) throw new RekorError('REKOR_REQUEST', `invalid tree ID specified: ${treeID.slice(0, 100)}`);
      if (id !== treeId) throw new RekorError('REKOR_REQUEST', `no log range found for tree ID ${id}`);
    }
    const { size, rootHash } = tree.head();
    if (BigInt(lastSize) > size) {
      throw new RekorError(
        'REKOR_REQUEST',
        `the tree size requested(${lastSize}) was greater than what is currently observable(${size})`,
      );
    }
    const hashes =
      firstSize === lastSize ? [] : (await tree.proveConsistency(BigInt(firstSize), BigInt(lastSize))).hashes;
    return { hashes: hashes.map(encodeHex), rootHash: encodeHex(rootHash) };
  }

  /** GET /api/v1/log/entries?logIndex=. Undefined if there is no such entry. */
  async byIndex(query: unknown): Promise<EntryMap | undefined> {
    return this.#atIndex(BigInt(checkRekor(rekorParams.byIndex, query, 'query').logIndex));
  }

  /** GET /api/v1/log/entries/{entryUUID}. Undefined if there is no such entry. */
  async byUuid(params: unknown): Promise<EntryMap | undefined> {
    const { entryUUID } = checkRekor(rekorParams.entry, params, 'path');
    if (entryUUID.length === 80) {
      const id = readTreeId(entryUUID.slice(0, 16), 16);
      if (id === undefined) {
        throw new RekorError('REKOR_REQUEST', `validation error: invalid tree ID in entry ID ${entryUUID}`);
      }
      if (id !== this.options.shard.treeId) return undefined;
    }
    return this.#withLeafHash(parseHex(entryUUID.slice(-64)));
  }

  /**
   * POST /api/v1/log/entries/retrieve: at most ten entries by entry ID, by leaf hash, by what was proposed, and by index; answered in this order. What
   * is not in the log is left out, so answers do not stand beside what was asked.
   */
  async retrieve(body: Uint8Array | undefined): Promise<EntryMap[]> {
    const query = checkRekor(searchLogQuery, parseRekorBody(body, 'entry'), 'body');
    const uuids = query.entryUUIDs ?? [];
    const proposed = query.entries ?? [];
    const indexes = query.logIndexes ?? [];
    if (uuids.length + proposed.length + indexes.length > maxQueryItems) {
      throw new RekorError('REKOR_UNPROCESSABLE', `more than max allowed ${maxQueryItems} entries in request`);
    }
    const byId = uuids.filter((uuid) => uuid.length === 80).filter((uuid) => this.#isOurs(uuid));
    const byHash = uuids.filter((uuid) => uuid.length === 64);
    const hashes = [...byId, ...byHash].map((uuid) => parseHex(uuid.slice(-64)));
    // One after the other: each may cost several verifications, and other requests wait for the same threads.
    const failedChecks = new FailedChecks(maxFailedChecks);
    for (const entry of proposed) hashes.push(await this.#proposedLeafHash(entry, { insert: false, failedChecks }));
    const found: (EntryMap | undefined)[] = [];
    for (const hash of hashes) found.push(await this.#withLeafHash(hash));
    for (const index of indexes) found.push(await this.#atIndex(BigInt(index)));
    return found.filter((entry) => entry !== undefined);
  }

  /** Is this the ID of an entry of our shard, if of any? @throws RekorError for what cannot be an ID */
  #isOurs(entryId: string): boolean {
    const id = readTreeId(entryId.slice(0, 16), 16);
    if (id === undefined) throw new RekorError('REKOR_REQUEST', `invalid entryID ${entryId}`);
    return id === this.options.shard.treeId;
  }

  async #proposedLeafHash(entry: unknown, options: ProposeOptions): Promise<Uint8Array> {
    try {
      const { body } = await proposeEntry(entry, this.options.ports, options);
      return leafHash(sha256, body);
    } catch (error) {
      // Worded without what stands before it when an entry is created.
      if (error instanceof EntryError && error.detail !== undefined) {
        throw new RekorError('REKOR_REQUEST', error.detail, { cause: error });
      }
      throw error;
    }
  }

  async #withLeafHash(hash: Uint8Array): Promise<EntryMap | undefined> {
    const index = await this.options.shard.tree.findIndex(hash);
    return index === undefined ? undefined : this.#atIndex(index);
  }

  async #atIndex(index: bigint): Promise<EntryMap | undefined> {
    const { shard, attestations } = this.options;
    if (index >= shard.tree.head().size) return undefined;
    const receipt = await shard.tree.receipt(index);
    const statement = await attestations?.find(parseAnnexedEntry(receipt.record).entry);
    const { id, entry } = encodeLogEntry(shard, receipt, statement);
    return { [id]: entry };
  }
}

/** A tree ID, 1 to 2^63-1; undefined for any other number. */
function readTreeId(digits: string, base: 10 | 16): bigint | undefined {
  if (digits.length > 40) return undefined;
  const id = BigInt(base === 16 ? `0x${digits}` : digits);
  return id >= 1n && id < 1n << 63n ? id : undefined;
}
