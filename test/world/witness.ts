/**
 * Two who remember everything they were told, and hold the logs to it: like a monitor, they see nothing but what goes over HTTP. Every method throws
 * (AssertionError) when a log breaks a promise.
 *
 *     const witness = new LogWitness(url, await world.trustedRoot());
 *     witness.remember(await append(url, entry), entry);
 *     await witness.check();   // after each restart: what is new since the last look
 *     await witness.checkAll();   // everything, from the first entry on
 */
import assert from 'node:assert/strict';
import { encodeHex, equalBytes, parseBase64 } from '#libs/encoding';
import {
  CompactRange,
  encodeTilePath,
  entryBundlePath,
  leafHash,
  parseEntryBundle,
  proveConsistency,
  readNodesFromTiles,
  TILE_WIDTH,
  tilesOfSize,
  verifyConsistency,
  verifyInclusion,
} from '#libs/merkle';
import { ed25519NoteVerifier, type NoteVerifier, verifyCheckpoint } from '#libs/note';
import { opensslCrypto, sha256 } from '#libs/openssl';
import { parseTrustedRoot, type TlogInstance } from '#libs/trust';
import {
  type Certificate,
  embeddedScts,
  parseCertificatePem,
  parseDigitallySigned,
  parseLeafIndex,
  type Sct,
  sctSignedInput,
  sthSignedInput,
  verifySct,
} from '#libs/x509';
import type { LogAnswer, PreparedEntry } from './entries.js';

/** A signed tree head: size and root, hex. */
interface Head {
  readonly size: bigint;
  readonly root: string;
}

/** Watches the transparency log. */
export class LogWitness {
  readonly #url: string;
  readonly #verifier: NoteVerifier;
  readonly #origin: string;
  /** Every head ever seen. Two of one size with different roots are the end of a log. */
  readonly #heads = new Map<bigint, Head>();
  readonly #notes = new Set<string>();
  /** Every acknowledged entry: leaf hash (hex) by log index. */
  readonly #acknowledged = new Map<bigint, string>();
  #uncheckedHeads: Head[] = [];
  #uncheckedIndexes: bigint[] = [];
  /** The entries as last read: leaf hashes (hex), the roots of all sizes (hex), and the tiles. */
  #leaves: string[] = [];
  #roots: string[] = [encodeHex(CompactRange.empty(sha256).root())];
  #range = CompactRange.empty(sha256);
  readonly #tiles = new Map<string, Uint8Array>();

  constructor(url: string, trustedRoot: string) {
    const [log] = parseTrustedRoot(trustedRoot).tlogs;
    assert(log !== undefined, 'The trusted root has no log');
    this.#url = url;
    // The log's name is the host without its port.
    this.#origin = new URL(url).hostname;
    this.#verifier = ed25519NoteVerifier(this.#origin, log.publicKey, opensslCrypto);
  }

  /** How many entries the log has acknowledged to us. */
  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** How many tree heads we have seen. */
  get heads(): number {
    return this.#heads.size;
  }

  /** How many entries the log had when we last looked. */
  get size(): number {
    return this.#leaves.length;
  }

  /** Takes a log's answer to an entry: from here on it must never be gone. The proof in it is verified at once. */
  async remember(answer: LogAnswer, entry: PreparedEntry): Promise<bigint> {
    const index = BigInt(answer.logIndex);
    const { checkpoint, treeSize, rootHash, hashes } = answer.inclusionProof;
    assert.deepEqual(parseBase64(answer.canonicalizedBody), entry.canonicalizedBody, `entry ${index} is another one`);
    const head = await this.#see(checkpoint.envelope);
    assert.equal(BigInt(treeSize), head.size);
    assert.equal(encodeHex(parseBase64(rootHash)), head.root);
    verifyInclusion(sha256, {
      index,
      size: head.size,
      leafHash: leafHash(sha256, entry.canonicalizedBody),
      proof: hashes.map(parseBase64),
      root: parseBase64(rootHash),
    });
    const leaf = encodeHex(leafHash(sha256, entry.canonicalizedBody));
    assert.equal(this.#acknowledged.get(index) ?? leaf, leaf, `index ${index} was acknowledged for two entries`);
    this.#acknowledged.set(index, leaf);
    this.#uncheckedIndexes.push(index);
    return index;
  }

  /** Reads what is new in the log, and compares it with everything we were told since the last check. */
  async check(): Promise<void> {
    // 1. The newest head, signed, and not behind any other.
    const { envelope, head: newest } = await this.#fetchHead();
    for (const { size } of this.#uncheckedHeads) {
      assert(size <= newest.size, `the log has ${newest.size} entries, but signed ${size} before`);
    }
    const before = BigInt(this.#leaves.length);
    assert(before <= newest.size, `the log has ${newest.size} entries, but had ${before}`);

    // 2. Its entries without a gap, those of the unfinished bundle again. They alone must lead to the root.
    for (let bundle = before / BigInt(TILE_WIDTH); bundle * BigInt(TILE_WIDTH) < newest.size; bundle++) {
      await this.#readBundle(bundle, newest.size);
    }
    assert.equal(BigInt(this.#leaves.length), newest.size);
    assert.equal(this.#roots.at(-1), newest.root, `the entries do not lead to the root in ${envelope}`);
    assert.equal(new Set(this.#leaves).size, this.#leaves.length, 'an entry is in the log twice');

    // 3. What was acknowledged is at its index.
    for (const index of this.#uncheckedIndexes) {
      assert.equal(this.#leaves[Number(index)], this.#acknowledged.get(index), `entry ${index} is gone`);
    }

    // 4. Every head is one of these entries and, by a proof from the tiles as they are served, a prefix of the newest.
    await this.#readTiles(newest.size, before);
    const readNode = readNodesFromTiles(sha256, (level, index) => {
      const tile = this.#tiles.get(`${level}/${index}`);
      assert(tile !== undefined, `tile ${level}/${index} is missing`);
      return tile;
    });
    for (const { size, root } of this.#uncheckedHeads) {
      assert.equal(this.#roots[Number(size)], root, `the head of size ${size} is not of these entries`);
      if (size === 0n) continue;
      verifyConsistency(sha256, {
        first: size,
        second: newest.size,
        firstRoot: bytes(root),
        secondRoot: bytes(newest.root),
        proof: proveConsistency(sha256, size, newest.size, readNode),
      });
    }
    // The newest stays: the next look must find it again.
    this.#uncheckedHeads = [newest];
    this.#uncheckedIndexes = [];
  }

  /** The same for everything we were ever told, over the whole log read anew. */
  async checkAll(): Promise<void> {
    this.#leaves = [];
    this.#roots = this.#roots.slice(0, 1);
    this.#range = CompactRange.empty(sha256);
    this.#tiles.clear();
    this.#uncheckedHeads = [...this.#heads.values()];
    this.#uncheckedIndexes = [...this.#acknowledged.keys()];
    await this.check();
  }

  async #fetchHead(): Promise<{ envelope: string; head: Head }> {
    const envelope = new TextDecoder().decode(await this.#get('checkpoint'));
    return { envelope, head: await this.#see(envelope) };
  }

  /** A checkpoint that the log gave away. */
  async #see(envelope: string): Promise<Head> {
    const { size, rootHash } = await verifyCheckpoint(envelope, [this.#verifier], { origin: this.#origin });
    const head = { size, root: encodeHex(rootHash) };
    if (this.#notes.has(envelope)) return head;
    this.#notes.add(envelope);
    assert.equal(this.#heads.get(size)?.root ?? head.root, head.root, `two heads of size ${size} differ`);
    this.#heads.set(size, head);
    this.#uncheckedHeads.push(head);
    return head;
  }

  async #readBundle(bundle: bigint, size: bigint): Promise<void> {
    const start = bundle * BigInt(TILE_WIDTH);
    const width = size - start < BigInt(TILE_WIDTH) ? Number(size - start) : TILE_WIDTH;
    const records = parseEntryBundle(await this.#get(entryBundlePath(bundle, width)), width);
    records.forEach((record, place) => {
      const index = Number(start) + place;
      const hash = leafHash(sha256, record);
      const leaf = encodeHex(hash);
      assert.equal(this.#leaves[index] ?? leaf, leaf, `entry ${index} has changed`);
      if (index < this.#leaves.length) return;
      this.#leaves.push(leaf);
      this.#range.append(hash);
      this.#roots.push(encodeHex(this.#range.root()));
    });
  }

  async #readTiles(size: bigint, from: bigint): Promise<void> {
    for (const tile of tilesOfSize(size, from)) {
      const hashes = await this.#get(encodeTilePath(tile));
      this.#tiles.set(`${tile.level}/${tile.index}`, hashes);
      if (tile.level > 0) continue;
      const start = Number(tile.index) * TILE_WIDTH;
      assert.equal(encodeHex(hashes), this.#leaves.slice(start, start + tile.width).join(''));
    }
  }

  async #get(path: string): Promise<Uint8Array> {
    return getBytes(`${this.#url}/api/v2/${path}`);
  }
}

/** Watches the log of certificates, through the calls of RFC 6962 §4. */
export class CtWitness {
  readonly #url: string;
  readonly #log: TlogInstance;
  readonly #issuer: Certificate;
  readonly #heads = new Map<bigint, Head & { timestampMs: bigint }>();
  readonly #certificates: { index: bigint; leaf: Uint8Array; sct: Sct }[] = [];
  #checkedHead: (Head & { timestampMs: bigint }) | undefined;
  #checkedCertificates = 0;

  constructor(url: string, trustedRoot: string) {
    const { ctlogs, certificateAuthorities } = parseTrustedRoot(trustedRoot);
    const issuer = certificateAuthorities[0]?.certChain[0];
    assert(ctlogs[0] !== undefined && issuer !== undefined, 'The trusted root has no CT log or no CA');
    this.#url = url;
    this.#log = ctlogs[0];
    this.#issuer = issuer;
  }

  /** How many certificates were issued to us. */
  get certificates(): number {
    return this.#certificates.length;
  }

  /** Takes a certificate: the log promised to have it, and at which index. */
  async remember(pem: string): Promise<void> {
    const [certificate] = parseCertificatePem(pem);
    assert(certificate !== undefined, 'there is no certificate');
    const [sct] = embeddedScts(certificate);
    assert(sct !== undefined, 'the certificate has no SCT');
    await verifySct(sct, certificate, this.#issuer, this.#log.publicKey, opensslCrypto);
    const index = parseLeafIndex(sct.extensions);
    assert(index !== undefined, 'the SCT does not say at which index the entry is');
    const leaf = sctSignedInput(sct, certificate, this.#issuer, opensslCrypto.hash);
    this.#certificates.push({ index, leaf, sct });
  }

  /** The tree has grown from the last head we saw, and holds every certificate issued since. */
  async check(): Promise<void> {
    await this.#checkSince(this.#checkedHead, this.#certificates.slice(this.#checkedCertificates));
    this.#checkedCertificates = this.#certificates.length;
  }

  /** The same for every head and every certificate, against the newest head. */
  async checkAll(): Promise<void> {
    for (const head of [...this.#heads.values()]) await this.#checkSince(head, []);
    await this.#checkSince(undefined, this.#certificates);
  }

  async #checkSince(
    before: (Head & { timestampMs: bigint }) | undefined,
    certificates: readonly { index: bigint; leaf: Uint8Array; sct: Sct }[],
  ): Promise<void> {
    const newest = await this.#fetchHead();
    if (before !== undefined && before.size > 0n) {
      assert(before.size <= newest.size, `the CT log has ${newest.size} entries, but signed ${before.size} before`);
      assert(before.timestampMs <= newest.timestampMs, "the CT log's time went back");
      const query = `first=${before.size}&second=${newest.size}`;
      const { consistency } = await this.#getJson<{ consistency: string[] }>(`get-sth-consistency?${query}`);
      verifyConsistency(sha256, {
        first: before.size,
        second: newest.size,
        firstRoot: bytes(before.root),
        secondRoot: bytes(newest.root),
        proof: consistency.map(parseBase64),
      });
    }
    this.#checkedHead = newest;
    for (const { index, leaf, sct } of certificates) {
      assert(index < newest.size, `certificate ${index} is gone`);
      assert(sct.timestampMs <= newest.timestampMs, 'a head is older than an entry it covers');
      const { leaf_input, audit_path } = await this.#getJson<{ leaf_input: string; audit_path: string[] }>(
        `get-entry-and-proof?leaf_index=${index}&tree_size=${newest.size}`,
      );
      assert(equalBytes(parseBase64(leaf_input), leaf), `entry ${index} of the CT log is another one`);
      verifyInclusion(sha256, {
        index,
        size: newest.size,
        leafHash: leafHash(sha256, leaf),
        proof: audit_path.map(parseBase64),
        root: bytes(newest.root),
      });
    }
  }

  async #fetchHead(): Promise<Head & { timestampMs: bigint }> {
    const sth = await this.#getJson<{
      tree_size: number;
      timestamp: number;
      sha256_root_hash: string;
      tree_head_signature: string;
    }>('get-sth');
    const rootHash = parseBase64(sth.sha256_root_hash);
    const head = { size: BigInt(sth.tree_size), root: encodeHex(rootHash), timestampMs: BigInt(sth.timestamp) };
    const { signature } = parseDigitallySigned(parseBase64(sth.tree_head_signature));
    const input = sthSignedInput({ timestampMs: head.timestampMs, size: head.size, rootHash });
    const scheme = { kind: 'ecdsa', hash: 'sha256' } as const;
    assert(await opensslCrypto.verify(this.#log.publicKey, scheme, input, signature), 'the head is not signed');
    const known = this.#heads.get(head.size);
    assert.equal(known?.root ?? head.root, head.root, `two heads of size ${head.size} differ`);
    this.#heads.set(head.size, head);
    return head;
  }

  async #getJson<T>(path: string): Promise<T> {
    return JSON.parse(new TextDecoder().decode(await getBytes(`${this.#url}/ct/v1/${path}`))) as T;
  }
}

async function getBytes(url: string): Promise<Uint8Array> {
  const response = await fetch(url);
  const body = new Uint8Array(await response.arrayBuffer());
  assert.equal(response.status, 200, `${url}: ${new TextDecoder().decode(body)}`);
  return body;
}

function bytes(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, 'hex'));
}
