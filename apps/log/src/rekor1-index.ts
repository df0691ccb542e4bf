import { encodeHex, EncodingError, parseBase64 } from '#libs/encoding';
import { TILE_WIDTH } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { findPkiFormat, PkiError } from '#libs/pki';
import { RekorError } from './rekor1-errors.js';
import { entryIdOf, type RekorShard } from './rekor1-log.js';
import { checkRekor, parseRekorBody, searchIndexQuery } from './rekor1-request.js';

/** Most entry IDs of an answer: 8 MB. */
const maxResults = 100_000;
/** Most rows of the index that one search looks at, in steps between which other requests get their turn. */
const maxRounds = 100;
const rowsPerRound = 20_000;

const prefixByDigits: Readonly<Record<number, string>> = { 40: 'sha1:', 64: 'sha256:', 128: 'sha512:' };

/**
 * POST /api/v1/index/retrieve: the IDs of entries with an e-mail address, subject, public key or hash of theirs; with any of what is asked, or with
 * `and` all of it. Upstream answers however many there are, unordered. Here they come newest first, and no more than the 100,000 newest: an answer has
 * no pages, and nobody may make us build one without a bound. The same holds for the two million index rows of one key that a search looks at.
 * Who wants all of them uses `GET /api/search`, which pages, or the tiles.
 *
 * The index suggests: it knows the keys by eight bytes of their SHA-256. So an answer may name an entry that does not match, at odds of 2^-64, and whoever
 * fetches entries by these IDs has to compare them with what they looked for anyway, as with any Rekor.
 */
export class SearchRekorIndex {
  constructor(private readonly shard: RekorShard) {}

  /** @throws RekorError, RekorSchemaError, TlogError */
  async search(body: Uint8Array | undefined): Promise<string[]> {
    const query = checkRekor(searchIndexQuery, parseRekorBody(body, 'query'), 'body');
    const { hash, publicKey, email, subject } = query;
    const keys = [
      ...(hash ? [prefixed(hash)] : []),
      ...(publicKey ? [await keyHash(publicKey)] : []),
      ...[email, subject].filter((name) => typeof name === 'string'),
    ].map((key) => key.toLowerCase());
    if (keys.length === 0) return [];
    const indexes = await this.#find(keys, query.operator === 'and' ? 'all' : 'any');
    return this.#entryIds(indexes);
  }

  /** Newest first. */
  async #find(keys: readonly string[], match: 'all' | 'any'): Promise<bigint[]> {
    const { tree } = this.shard;
    const found: bigint[] = [];
    let below = tree.head().size;
    // Rather no answer than one that keeps silent about entries.
    if ((await tree.indexedSize()) < below)
      throw new RekorError('REKOR_INDEX', 'unexpected result from searching index');
    for (let round = 0; round < maxRounds && below > 0n && found.length < maxResults; round++) {
      const limit = maxResults - found.length;
      const { indexes, reached } = await tree.findByKeys({ keys, match, below, limit, scan: rowsPerRound });
      // Entry by entry: an argument list has not room for a hundred thousand.
      for (const index of indexes) found.push(index);
      below = reached;
    }
    return found;
  }

  /** The leaf hashes come from the tiles: no entry need be read to be named. */
  async #entryIds(indexes: readonly bigint[]): Promise<string[]> {
    const { tree, treeId } = this.shard;
    const width = BigInt(TILE_WIDTH);
    const { size } = tree.head();
    const ids: string[] = [];
    let tile: { index: bigint; bytes: Uint8Array } | undefined;
    for (const index of indexes) {
      const at = index / width;
      if (tile?.index !== at) {
        const rest = size - at * width;
        const bytes = await tree.readTile({ level: 0, index: at, width: rest < width ? Number(rest) : TILE_WIDTH });
        if (bytes === undefined) throw new Error(`Cannot read the tile of entry ${index}: it is beyond the tree`);
        tile = { index: at, bytes };
      }
      const start = Number(index % width) * 32;
      ids.push(entryIdOf(treeId, tile.bytes.subarray(start, start + 32)));
    }
    return ids;
  }
}

function prefixed(hash: string): string {
  return hash.includes(':') ? hash : `${prefixByDigits[hash.length] ?? ''}${hash}`;
}

/** As entries with bare keys are indexed: the SHA-256 of the canonical key in hex, without `sha256:`. */
async function keyHash({ format, content }: { format: string; content?: string | null | undefined }): Promise<string> {
  try {
    const key = await findPkiFormat(format).parseKey(base64Bytes(content ?? ''));
    return encodeHex(sha256(key.canonical));
  } catch (error) {
    if (error instanceof PkiError) throw new RekorError('REKOR_REQUEST', error.searchDetail, { cause: error });
    throw error;
  }
}

/** No bytes, and so no key, for what the schema lets pass: base64 whose last bits say nothing. */
function base64Bytes(text: string): Uint8Array {
  try {
    return parseBase64(text);
  } catch (error) {
    if (error instanceof EncodingError) return new Uint8Array();
    throw error;
  }
}
