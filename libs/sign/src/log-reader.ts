import { parseUtf8 } from '#libs/encoding';
import {
  encodeTilePath,
  entryBundlePath,
  inclusionNodes,
  leafHash,
  parseEntryBundle,
  proveInclusion,
  readNodesFromTiles,
  tileOfSize,
  TILE_WIDTH,
  tilesForNodes,
  verifyInclusion,
  type ProofNodes,
} from '#libs/merkle';
import {
  noteVerifier,
  parseCheckpoint,
  parseNote,
  verifyCheckpoint,
  type Checkpoint,
  type NoteVerifier,
} from '#libs/note';
import { opensslCrypto, sha256 } from '#libs/openssl';
import { isValidAt, type TlogInstance, type TrustedRoot } from '#libs/trust';
import { SignError } from './error.js';
import { callService, joinUrl, type HttpOptions } from './http.js';

/** Whom to believe about heads of logs. Without a trusted root proofs are checked against what the log itself says. */
export interface LogTrust {
  trustedRoot?: TrustedRoot;
  nowMs: number;
}

/** A log's head, with what is known about who signed it. */
export interface LogHead extends Checkpoint {
  /** The note as the log gave it. */
  note: string;
  /** The trusted log whose key signed; undefined when no trusted root was given and no signature was verified. */
  signedBy: TlogInstance | undefined;
}

/** Reads single entries of a log by its tiles, which a signer needs when the log answers that it has an entry already; each is proven against a head. */
export interface LogReader {
  /** The latest checkpoint. */
  readHead(): Promise<LogHead>;
  /** The entry's bytes and its inclusion proof (hashes from leaf to root), verified against `head`. */
  proveEntry(
    index: bigint,
    head: Checkpoint,
  ): Promise<{ body: Uint8Array; leafHash: Uint8Array; hashes: Uint8Array[] }>;
}

const MAX_CHECKPOINT_BYTES = 64 * 1024;
const MAX_TILE_BYTES = 256 * 32;
// 256 entries of at most 65 535 bytes, each behind two bytes of length.
const MAX_BUNDLE_BYTES = 256 * 65_537;
const HTTP_NOT_FOUND = 404;

/**
 * A reader of the log at a base URL (Rekor's API v2).
 *
 * Its methods throw SignError: `SIGN_LOG_CHECKPOINT`, `SIGN_LOG_PROOF`, `SIGN_RESPONSE_MALFORMED`, and those of `callService`.
 * @see C2SP tlog-tiles
 */
export function createLogReader(options: LogTrust & { url: string; http: HttpOptions }): LogReader {
  const read = async (path: string, maxBytes: number, accept: number[] = []) =>
    callService(
      { service: 'transparency log', url: joinUrl(options.url, `/api/v2/${path}`), maxBytes, accept },
      options.http,
    );

  /** A partial tile may be gone once the full one exists: a log need not keep it. */
  const readPartialOrFull = async (path: (width: number) => string, width: number, maxBytes: number) => {
    const response = await read(path(width), maxBytes, width < TILE_WIDTH ? [HTTP_NOT_FOUND] : []);
    if (response.status !== HTTP_NOT_FOUND) return { bytes: response.body, width };
    return { bytes: (await read(path(TILE_WIDTH), maxBytes)).body, width: TILE_WIDTH };
  };

  const readNodes = async (proof: ProofNodes, size: bigint) => {
    const tiles = new Map<string, Uint8Array>();
    await Promise.all(
      tilesForNodes(proof.flat(), size).map(async ({ level, index, width }) => {
        const { bytes } = await readPartialOrFull(
          (wide) => encodeTilePath({ level, index, width: wide }),
          width,
          MAX_TILE_BYTES,
        );
        tiles.set(`${level}/${index}`, bytes);
      }),
    );
    return readNodesFromTiles(sha256, (level, index) => {
      const tile = tiles.get(`${level}/${index}`);
      if (tile === undefined) throw new Error(`tile ${level}/${index} was not fetched`);
      return tile;
    });
  };

  return {
    async readHead() {
      const { body } = await read('checkpoint', MAX_CHECKPOINT_BYTES);
      return readCheckpoint(body, options);
    },

    async proveEntry(index, head) {
      return proven(`entry ${index}`, async () => {
        const nodes = inclusionNodes(index, head.size);
        const { index: bundleIndex, width } = tileOfSize(0, index / BigInt(TILE_WIDTH), head.size);
        const [readNode, bundle] = await Promise.all([
          readNodes(nodes, head.size),
          readPartialOrFull((wide) => entryBundlePath(bundleIndex, wide), width, MAX_BUNDLE_BYTES),
        ]);
        const body = parseEntryBundle(bundle.bytes, bundle.width)[Number(index % BigInt(TILE_WIDTH))];
        if (body === undefined) throw new Error('the bundle lacks it');
        const hashes = proveInclusion(sha256, index, head.size, readNode);
        const leaf = leafHash(sha256, body);
        verifyInclusion(sha256, { index, size: head.size, leafHash: leaf, proof: hashes, root: head.rootHash });
        return { body, leafHash: leaf, hashes };
      });
    },
  };
}

/**
 * Reads a checkpoint. With a trusted root, one of its logs that is valid now must have signed: name and origin are the host of its base URL.
 *
 * @throws SignError `SIGN_LOG_CHECKPOINT`
 * @see C2SP tlog-checkpoint; Rekor's v2 log specification
 */
export async function readCheckpoint(note: string | Uint8Array, { trustedRoot, nowMs }: LogTrust): Promise<LogHead> {
  try {
    const text = typeof note === 'string' ? note : parseUtf8(note);
    const checkpoint = parseCheckpoint(parseNote(text).text);
    if (trustedRoot === undefined) return { ...checkpoint, note: text, signedBy: undefined };
    const logs = trustedRoot.tlogs.filter(
      (log) => hostOf(log.baseUrl) === checkpoint.origin && isValidAt(log.validFor, new Date(nowMs)),
    );
    if (logs.length === 0) {
      throw new Error(
        `the trusted root has no log with the origin ${JSON.stringify(checkpoint.origin)} that is valid now`,
      );
    }
    const verifiers = logs.map((log) => logVerifier(checkpoint.origin, log));
    const { signatures } = await verifyCheckpoint(text, verifiers, { origin: checkpoint.origin });
    const signedBy = logs[verifiers.findIndex((verifier) => verifier === signatures[0]?.verifier)];
    if (signedBy === undefined) throw new Error('the signer is not one of the verifiers that were given');
    return { ...checkpoint, note: text, signedBy };
  } catch (cause) {
    throw new SignError(
      'SIGN_LOG_CHECKPOINT',
      `Cannot believe the checkpoint of the log: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      { cause, cure: 'Check that the trusted root has the key of this log' },
    );
  }
}

/** The four bytes that name a key in a note are the first of the log's id, unless the trusted root states them apart. */
function logVerifier(name: string, { publicKey, logId, checkpointKeyId }: TlogInstance): NoteVerifier {
  return noteVerifier(
    { kind: publicKey.kind, name, key: publicKey },
    opensslCrypto,
    checkpointKeyId ?? logId.slice(0, 4),
  );
}

/** The base URL of a log in a trusted root may lack the scheme. */
function hostOf(baseUrl: string): string | undefined {
  const url = baseUrl.includes('://') ? baseUrl : `https://${baseUrl}`;
  return URL.canParse(url) ? new URL(url).hostname : undefined;
}

async function proven<T>(what: string, prove: () => Promise<T>): Promise<T> {
  try {
    return await prove();
  } catch (cause) {
    if (cause instanceof SignError) throw cause;
    throw new SignError(
      'SIGN_LOG_PROOF',
      `Cannot prove ${what} from the log's tiles: ${cause instanceof Error ? cause.message : 'unreadable'}`,
      {
        cause,
        cure: 'If it persists, keep both checkpoints: a log that cannot prove what it signed is broken or lies',
      },
    );
  }
}
