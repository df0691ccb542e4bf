import { encodeBase64, encodeHex, equalBytes } from '#libs/encoding';
import { parseEntryBundlePath, parseTilePath } from '#libs/merkle';
import { parseNote } from '#libs/note';
import type { ObjectStore, Tree } from '#libs/tlog';
import { encodeExtraData, merkleTreeLeaf, parseTileLeaf, type TileLeaf } from '#libs/x509';
import type { z } from 'zod';
import { CtError } from './errors.js';
import type { AcceptedRoots } from './roots.js';
import type { consistencyQuery, entriesQuery, entryAndProofQuery, proofByHashQuery } from './wire.js';

/** Entries in one get-entries answer; longer ranges are cut so that they end on a multiple of it, which caches like. */
const maxEntries = 1000n;

/** The read side of RFC 6962 §4 and the files of C2SP static-ct-api, over one tree. */
export class ReadCtLog {
  readonly #issuers = new Map<string, Uint8Array>();

  constructor(
    private readonly options: {
      tree: Tree;
      roots: AcceptedRoots;
      issuers: ObjectStore;
      logId: Uint8Array;
      spki: Uint8Array;
      url: string;
    },
  ) {}

  /** §4.7 */
  roots(): unknown {
    return { certificates: this.options.roots.roots.map(({ der }) => encodeBase64(der)) };
  }

  /** §4.3. The signature is the checkpoint's own: one tree head, two spellings. */
  treeHead(): unknown {
    const { tree } = this.options;
    const head = tree.head();
    const origin = tree.origin;
    const signature = parseNote(head.note).signatures.find(({ name }) => name === origin)?.signature;
    if (signature === undefined) throw new Error('The checkpoint does not carry its own signature');
    // timestamp u64 ‖ DigitallySigned (C2SP static-ct-api, "Checkpoints")
    return {
      tree_size: Number(head.size),
      timestamp: Number(head.timestampMs),
      sha256_root_hash: encodeBase64(head.rootHash),
      tree_head_signature: encodeBase64(signature.subarray(8)),
    };
  }

  /** §4.4 */
  async consistency({ first, second }: z.output<typeof consistencyQuery>): Promise<unknown> {
    if (first > second) throw new CtError('CT_REQUEST', `first ${first} is greater than second ${second}`);
    if (first === 0n) return { consistency: [] };
    this.#needSize(second);
    if (first === second) return { consistency: [] };
    const proof = await this.options.tree.proveConsistency(first, second);
    return { consistency: proof.hashes.map(encodeBase64) };
  }

  /** §4.5 */
  async proofByHash({ hash, tree_size: size }: z.output<typeof proofByHashQuery>): Promise<unknown> {
    const { tree } = this.options;
    if (size < 1n) throw new CtError('CT_REQUEST', 'tree_size must be at least 1');
    const missing = (): CtError => new CtError('CT_NOT_FOUND', 'no such leaf in a tree of this size');
    const index = size > tree.head().size ? undefined : await tree.findIndex(hash);
    if (index === undefined || index >= size) throw missing();
    const proof = await tree.proveInclusion(index, size);
    // The index of the tree also knows entries by the digest of what was submitted, which is no leaf.
    if (!equalBytes(proof.leafHash, hash)) throw missing();
    return { leaf_index: Number(index), audit_path: proof.hashes.map(encodeBase64) };
  }

  /** §4.6. `full`: the range was served as (possibly) cut, so the answer never changes. */
  async entries({ start, end: asked }: z.output<typeof entriesQuery>): Promise<{ body: unknown; full: boolean }> {
    const { tree } = this.options;
    if (start > asked) throw new CtError('CT_REQUEST', `start ${start} is greater than end ${asked}`);
    const size = tree.head().size;
    if (start >= size)
      throw new CtError('CT_REQUEST', `need tree size: ${start + 1n} for entries but only got: ${size}`);
    let last = asked;
    if (asked - start + 1n >= maxEntries) last = start + maxEntries - 1n - ((start + maxEntries) % maxEntries);
    const end = last < size ? last : size - 1n;
    const records = await tree.readRecords(start, end + 1n);
    const entries = await Promise.all(records.map((record) => this.#entry(parseTileLeaf(record))));
    return { body: { entries }, full: end === last };
  }

  /** §4.8 */
  async entryAndProof({ leaf_index: index, tree_size: size }: z.output<typeof entryAndProofQuery>): Promise<unknown> {
    const { tree } = this.options;
    if (size === 0n || index >= size)
      throw new CtError('CT_REQUEST', `leaf_index ${index} is beyond tree_size ${size}`);
    this.#needSize(size);
    const [record] = await tree.readRecords(index, index + 1n);
    if (record === undefined) throw new Error(`Entry ${index} of the tree cannot be read`);
    const proof = await tree.proveInclusion(index, size);
    return { ...(await this.#entry(parseTileLeaf(record))), audit_path: proof.hashes.map(encodeBase64) };
  }

  /** The log's description as CT log lists have it. */
  description(): unknown {
    const { logId, spki, url } = this.options;
    // Entries are in the tree before their SCT is given: the merge delay is the least that lists can express.
    return { key: encodeBase64(spki), log_id: encodeBase64(logId), mmd: 1, url: `${url}/` };
  }

  checkpoint(): string {
    return this.options.tree.checkpoint();
  }

  /** A tile or data tile by its path below the monitoring prefix. @throws CtError `CT_NOT_FOUND`, MerkleError */
  async tile(path: string): Promise<Uint8Array> {
    const { tree } = this.options;
    const data = path.startsWith('tile/data/') ? parseEntryBundlePath(path, 'data') : undefined;
    const bytes = await (data ? tree.readBundle(data.index, data.width) : tree.readTile(parseTilePath(path)));
    if (bytes === undefined) throw new CtError('CT_NOT_FOUND', 'no such tile');
    return bytes;
  }

  /** `fingerprint`: SHA-256 of the certificate, lower-case hex. */
  async issuer(fingerprint: string): Promise<Uint8Array> {
    const known = this.#issuers.get(fingerprint);
    if (known !== undefined) return known;
    const bytes = /^[0-9a-f]{64}$/.test(fingerprint)
      ? await this.options.issuers.get(`issuer/${fingerprint}`)
      : undefined;
    if (bytes === undefined) throw new CtError('CT_NOT_FOUND', 'no such issuer');
    // Only certificates of accepted CAs get stored, so this stays small.
    this.#issuers.set(fingerprint, bytes);
    return bytes;
  }

  async #entry(leaf: TileLeaf): Promise<{ leaf_input: string; extra_data: string }> {
    const chain = await Promise.all(leaf.fingerprints.map((fingerprint) => this.issuer(encodeHex(fingerprint))));
    return {
      leaf_input: encodeBase64(merkleTreeLeaf(leaf)),
      extra_data: encodeBase64(
        encodeExtraData({ ...(leaf.precertificate && { precertificate: leaf.precertificate }), chain }),
      ),
    };
  }

  #needSize(size: bigint): void {
    const have = this.options.tree.head().size;
    if (size > have) throw new CtError('CT_REQUEST', `need tree size: ${size} for proof but only got: ${have}`);
  }
}
