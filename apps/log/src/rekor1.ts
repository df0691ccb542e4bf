import type { CryptoPort, SignatureAlgorithm } from '#libs/crypto';
import { type V1Ports, type VerifyDigest } from '#libs/entry';
import { pkiFormats } from '#libs/pki';
import { parseTimestampResponse } from '#libs/timestamp';
import type { ObjectStore } from '#libs/tlog';
import { HomePage, type HomeLink, logLinks } from './home.js';
import { ReadTiles } from './read-tiles.js';
import { Attestations } from './rekor1-attestations.js';
import { CreateLogEntry } from './rekor1-create.js';
import { SearchRekorIndex } from './rekor1-index.js';
import type { RekorShard } from './rekor1-log.js';
import { ReadRekorLog } from './rekor1-read.js';

export interface RekorV1Options {
  readonly shard: RekorShard;
  readonly hash: CryptoPort['hash'];
  /** Verifies what clients send, beside the thread that serves if there is another. */
  readonly verifyDigest: VerifyDigest;
  /** Which signature algorithms `hashedrekord` entries may use. */
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Where statements of `intoto` entries are kept, and up to how many bytes. Without it they are not kept. */
  readonly attestations?: { readonly objects: ObjectStore; readonly maxBytes: number };
  /** What the home page names, where more is served than the log. */
  readonly links?: readonly HomeLink[];
}

/** The flows of Rekor v1. */
export interface RekorV1Parts {
  readonly create: CreateLogEntry;
  readonly read: ReadRekorLog;
  readonly index: SearchRekorIndex;
  readonly tiles: ReadTiles;
  readonly home: HomePage;
}

/** Rekor v1 over one tree. */
export function composeRekorV1(options: RekorV1Options): RekorV1Parts {
  const { shard, hash, verifyDigest, algorithms, attestations: kept, links = logLinks } = options;
  const ports: V1Ports = {
    pki: pkiFormats,
    verifyDigest,
    hash,
    algorithms,
    checkTimestampResponse: (bytes) => void parseTimestampResponse(bytes),
  };
  const attestations = kept && new Attestations(kept.objects, kept.maxBytes);
  return {
    create: new CreateLogEntry({ shard, ports, ...(attestations && { attestations }) }),
    read: new ReadRekorLog({ shard, ports, ...(attestations && { attestations }) }),
    index: new SearchRekorIndex(shard),
    tiles: new ReadTiles(shard.tree),
    home: new HomePage(links),
  };
}
