import { parseBase64, parseHex, parseJson, type JsonValue } from '#libs/encoding';
import { leafHash, verifyInclusion } from '#libs/merkle';
import { parseCheckpoint, parseNote } from '#libs/note';
import { sha256 } from '#libs/openssl';
import { AuditError, reasonOf } from './error.js';
import { answered, createHttpReader, parseLogUrl, type HttpOptions } from './http.js';
import type { ProvableLog } from './prove.js';
import type { ProvenEntry } from './tiles.js';
import { readCheckpoint, type LogHead, type LogTrust } from './trust.js';

/** A Rekor v1 log by its own API: for those that serve no tiles. */
export interface RekorLog extends ProvableLog {
  /**
   * An entry by its log index, which counts through all shards, with its proof under a head of its shard.
   * @throws AuditError `AUDIT_RANGE` if there is none, `AUDIT_PROOF`, and as `readCheckpoint`
   */
  proveEntry(logIndex: bigint, trust: LogTrust): Promise<ProvenEntry & { head: LogHead; indexInTree: bigint }>;
}

const MAX_LOG_BYTES = 1 << 20;
const MAX_ENTRY_BYTES = 1 << 25;
const MAX_HASHES = 64;
const HTTP_NOT_FOUND = 404;

/**
 * Rekor's API v1 at a base URL: `/api/v1/log`, `/api/v1/log/proof`, `/api/v1/log/entries`.
 * @throws AuditError `AUDIT_URL`
 * @see Rekor's openapi.yaml
 */
export function rekorLog(baseUrl: string, http: HttpOptions): RekorLog {
  const location = parseLogUrl(baseUrl).href.replace(/\/+$/, '');
  const reader = createHttpReader(http);
  const get = async (path: string, maxBytes: number): Promise<{ status: number; json: JsonValue }> => {
    const url = `${location}${path}`;
    const { status, body } = await reader.get(url, maxBytes);
    if (status === HTTP_NOT_FOUND && path.startsWith('/api/v1/log/entries')) return { status, json: null };
    if (status < 200 || status >= 300) {
      throw new AuditError('AUDIT_REFUSED', `Cannot read ${url}: ${answered(status, body)}`, {
        status,
        cure: 'Check that the URL is the base of a Rekor v1 log',
      });
    }
    try {
      return { status, json: parseJson(body, { bigIntegers: true }) };
    } catch (cause) {
      throw new AuditError('AUDIT_RESPONSE', `Cannot read the answer of ${url}: it is not JSON`, { cause });
    }
  };
  const malformed = (what: string, cause?: unknown): AuditError =>
    new AuditError('AUDIT_RESPONSE', `Cannot read the answer of ${location}: ${what}`, { cause });

  return {
    location,

    async readNotes() {
      const { json } = await get('/api/v1/log', MAX_LOG_BYTES);
      const log = field(json, malformed);
      const inactive = log['inactiveShards'] ?? [];
      if (!Array.isArray(inactive)) throw malformed('inactiveShards is no list');
      return [log, ...inactive.map((shard) => field(shard, malformed))].map((shard) =>
        text(shard['signedTreeHead'], 'signedTreeHead', malformed),
      );
    },

    async proveConsistency(first, second) {
      // The origin of such a checkpoint ends in the id of its tree.
      const treeId = / - ([0-9]{1,19})$/.exec(second.origin)?.[1];
      const path =
        `/api/v1/log/proof?firstSize=${first.size}&lastSize=${second.size}` +
        (treeId === undefined ? '' : `&treeID=${treeId}`);
      const { json } = await get(path, MAX_LOG_BYTES);
      return { hashes: hashList(field(json, malformed)['hashes'], malformed), objects: [] };
    },

    async proveEntry(logIndex, trust) {
      const { status, json } = await get(`/api/v1/log/entries?logIndex=${logIndex}`, MAX_ENTRY_BYTES);
      if (status === HTTP_NOT_FOUND) {
        throw new AuditError('AUDIT_RANGE', `Cannot read entry ${logIndex}: ${location} has none with that log index`);
      }
      const [entry, ...more] = Object.values(field(json, malformed));
      if (entry === undefined || more.length > 0) throw malformed('it does not have exactly one entry');
      const given = field(entry, malformed);
      const verification = field(given['verification'] ?? null, malformed);
      const proof = field(verification['inclusionProof'] ?? null, malformed);
      const head = await readCheckpoint(text(proof['checkpoint'], 'checkpoint', malformed), trust);
      const record = decode(text(given['body'], 'body', malformed), parseBase64, 'body', malformed);
      const indexInTree = BigInt(integer(proof['logIndex'], 'logIndex', malformed));
      const leaf = leafHash(sha256, record);
      const hashes = hashList(proof['hashes'], malformed);
      if (BigInt(integer(given['logIndex'], 'logIndex', malformed)) !== logIndex) {
        throw new AuditError(
          'AUDIT_PROOF',
          `Cannot believe ${location}: it answered with another entry than ${logIndex}`,
        );
      }
      try {
        verifyInclusion(sha256, {
          index: indexInTree,
          size: head.size,
          leafHash: leaf,
          proof: hashes,
          root: head.rootHash,
        });
      } catch (cause) {
        throw new AuditError('AUDIT_PROOF', `Cannot believe ${location}: ${reasonOf(cause)}`, { cause });
      }
      return { record, leafHash: leaf, hashes, head, indexInTree };
    },
  };
}

/** Whether two notes are of one shard: of one log's trees each has an origin of its own. */
export function originOf(note: string): string | undefined {
  try {
    return parseCheckpoint(parseNote(note).text).origin;
  } catch {
    return undefined; // who reads it for its content will hear why
  }
}

type Malformed = (what: string, cause?: unknown) => AuditError;

function field(value: JsonValue, malformed: Malformed): Readonly<Record<string, JsonValue>> {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw malformed('an object is missing');
  return value;
}

function text(value: JsonValue | undefined, name: string, malformed: Malformed): string {
  if (typeof value !== 'string') throw malformed(`${name} is no text`);
  return value;
}

function integer(value: JsonValue | undefined, name: string, malformed: Malformed): number | bigint {
  if (typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))) {
    if (value >= 0) return value;
  }
  throw malformed(`${name} is no whole number`);
}

function hashList(value: JsonValue | undefined, malformed: Malformed): Uint8Array[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_HASHES) throw malformed('hashes is no list of at most 64');
  return value.map((one) => decode(text(one, 'a hash', malformed), parseHex, 'a hash', malformed));
}

function decode(value: string, parse: (text: string) => Uint8Array, name: string, malformed: Malformed): Uint8Array {
  try {
    return parse(value);
  } catch (cause) {
    throw malformed(`${name} cannot be decoded`, cause);
  }
}
