import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { CryptoPort } from '#libs/crypto';
import { concatBytes, encodeHex, encodeUtf8 } from '#libs/encoding';
import {
  CompactRange,
  encodeEntryBundle,
  encodeTilePath,
  entryBundlePath,
  leafHash,
  proveConsistency,
  proveInclusion,
  TILE_HEIGHT,
  tilesOfSize,
} from '#libs/merkle';
import { ed25519NoteSigner, encodeCheckpoint, encodeVerifierKey, signNote, type NoteSigner } from '#libs/note';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import { encodeTileLeaf, merkleTreeLeaf, parseTileLeaf } from '#libs/x509';
import { parseLogKey, type Layout, type LogKey } from '../src/index.js';

const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);

/** A small log of its own making: entries in memory, signed by a key of its own, written as files for any of its sizes. */
export class TestLog {
  readonly entries: Uint8Array[] = [];
  readonly key: LogKey;
  readonly signer: NoteSigner;
  /** Certificates that the entries of a CT log refer to. */
  readonly issuers = [encodeUtf8('an issuer'), encodeUtf8('a root')];
  #nodes = new Map<string, Uint8Array>();
  #tree = CompactRange.empty(sha256);

  constructor(
    readonly layout: Layout = 'tlog-tiles',
    readonly origin = 'log.example',
    signer?: { signer: NoteSigner; key: LogKey },
  ) {
    const made = generateSigner('ed25519');
    this.signer = signer?.signer ?? ed25519NoteSigner(origin, made, hash);
    const vkey = () => encodeVerifierKey({ kind: 'ed25519', name: origin, key: made.publicKey }, hash);
    this.key = signer?.key ?? parseLogKey(vkey());
  }

  /** A log with the same key and the first `size` entries, which goes its own way. */
  fork(size: number): TestLog {
    const fork = new TestLog(this.layout, this.origin, { signer: this.signer, key: this.key });
    for (const entry of this.entries.slice(0, size)) fork.add(entry);
    return fork;
  }

  get size(): bigint {
    return this.#tree.size;
  }

  add(record: Uint8Array): void {
    const leaf = this.layout === 'static-ct' ? merkleTreeLeaf(parseTileLeaf(record)) : record;
    this.entries.push(record);
    this.#tree.append(leafHash(sha256, leaf), (level, index, node) => this.#nodes.set(`${level}/${index}`, node));
  }

  grow(count: number, what = 'entry'): this {
    for (let i = 0; i < count; i++) this.add(this.make(`${what} ${this.entries.length}`));
    return this;
  }

  make(text: string): Uint8Array {
    if (this.layout === 'tlog-tiles') return encodeUtf8(text);
    const isPrecert = text.length % 2 === 0;
    return encodeTileLeaf({
      timestampMs: 1_700_000_000_000n,
      extensions: new Uint8Array(8),
      entry: isPrecert
        ? { kind: 'precert', issuerKeyHash: sha256(encodeUtf8(text)), tbs: encodeUtf8(`tbs of ${text}`) }
        : { kind: 'x509', certificate: encodeUtf8(`certificate of ${text}`) },
      ...(isPrecert && { precertificate: encodeUtf8(`precertificate of ${text}`) }),
      fingerprints: this.issuers.map((issuer) => sha256(issuer)),
    });
  }

  node = (level: number, index: bigint): Uint8Array => {
    const node = this.#nodes.get(`${level}/${index}`);
    if (node === undefined) throw new Error(`no node ${level}/${index}`);
    return node;
  };

  root(size: bigint = this.size): Uint8Array {
    const tree = CompactRange.empty(sha256);
    for (let i = 0n; i < size; i++) tree.append(this.node(0, i));
    return tree.root();
  }

  /** The signed checkpoint of a size; of the whole log if not said. */
  note(size: bigint = this.size, rootHash = size === this.size ? this.#tree.root() : this.root(size)): string {
    return signNote(encodeCheckpoint({ origin: this.origin, size, rootHash, extensions: [] }), [this.signer]);
  }

  consistency(first: bigint, second: bigint): Uint8Array[] {
    return proveConsistency(sha256, first, second, this.node);
  }

  inclusion(index: bigint, size: bigint): Uint8Array[] {
    return proveInclusion(sha256, index, size, this.node);
  }

  /** All objects that the log has at its size, by path. */
  objects({ annex = false }: { annex?: boolean } = {}): Map<string, Uint8Array> {
    const objects = new Map<string, Uint8Array>();
    for (const tile of tilesOfSize(this.size)) {
      const { level, index, width } = tile;
      const first = index * 256n;
      const hashes = Array.from({ length: width }, (_, at) => this.node(level * TILE_HEIGHT, first + BigInt(at)));
      objects.set(encodeTilePath(tile), concatBytes(...hashes));
      if (level > 0) continue;
      const records = this.entries.slice(Number(first), Number(first) + width);
      const name = this.layout === 'static-ct' ? 'data' : 'entries';
      const bundle = this.layout === 'static-ct' ? concatBytes(...records) : encodeEntryBundle(records);
      objects.set(entryBundlePath(index, width, name), bundle);
      if (annex) objects.set(entryBundlePath(index, width).replace('entries', 'annex'), annexOf(records));
    }
    if (this.layout === 'static-ct') {
      for (const issuer of this.issuers) objects.set(`issuer/${encodeHex(sha256(issuer))}`, issuer);
    }
    objects.set('checkpoint', encodeUtf8(this.note()));
    return objects;
  }

  /** Writes all objects over what is in the folder. */
  write(folder: string, options: { annex?: boolean } = {}): string {
    for (const [path, bytes] of this.objects(options)) writeObject(folder, path, bytes);
    return folder;
  }
}

function annexOf(records: readonly Uint8Array[]): Uint8Array {
  const heads = records.map((record) => {
    const head = new Uint8Array(10 + (record.length % 5));
    new DataView(head.buffer).setBigUint64(0, 1_700_000_000_000n);
    new DataView(head.buffer).setUint16(8, record.length % 5);
    return head;
  });
  const bytes = concatBytes(...heads);
  return concatBytes(bytes, sha256(bytes));
}

export function writeObject(folder: string, path: string, bytes: Uint8Array | string): void {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, bytes);
}

/** Changes an object in place. */
export function changeObject(folder: string, path: string, change: (bytes: Uint8Array) => Uint8Array): void {
  writeObject(folder, path, change(new Uint8Array(readFileSync(join(folder, path)))));
}

export const flipBit =
  (at: number, bit = 0) =>
  (bytes: Uint8Array): Uint8Array => {
    bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
    return bytes;
  };

/** Folders that are gone after the test. */
export function temporaryFolders(): { make: () => string; removeAll: () => void } {
  const folders: string[] = [];
  return {
    make: () => {
      const folder = mkdtempSync(join(tmpdir(), 'audit-'));
      folders.push(folder);
      return folder;
    },
    removeAll: () => {
      for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A web server of objects without a network. `answer` may say something else for a path; undefined: the object. */
export class TestServer {
  readonly requests: string[] = [];
  answer: (path: string) => Response | undefined | Promise<Response | undefined> = () => undefined;

  constructor(public objects: ReadonlyMap<string, Uint8Array>) {}

  readonly fetch: typeof globalThis.fetch = async (input) => {
    const path = new URL(input instanceof Request ? input.url : input).pathname.slice(1);
    this.requests.push(path);
    const said = await this.answer(path);
    if (said !== undefined) return said;
    const bytes = this.objects.get(path);
    return bytes === undefined ? new Response('Not Found', { status: 404 }) : new Response(bytes.slice());
  };

  get http(): { fetch: typeof globalThis.fetch; sleep: () => Promise<void> } {
    return { fetch: this.fetch, sleep: async () => undefined };
  }
}
