// How other Rekor logs have failed in operation, and that ours does not. What is about single requests stands in apps/log/src/rekor1-lessons.test.ts.
import { createHash, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseHex } from '#libs/encoding';
import { leafHash, verifyConsistency, verifyInclusion } from '#libs/merkle';
import { parseCheckpoint, parseNote } from '#libs/note';
import { sha256 } from '#libs/openssl';
import { openSqlStore } from '#libs/tlog';
import { startWorld, type World } from '../world/index.js';

const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const pem = Buffer.from(keys.publicKey.export({ type: 'spki', format: 'pem' })).toString('base64');
let made = 0;

/** A new entry, as a client proposes it. */
function proposal(): string {
  const artifact = Buffer.from(`artifact ${made++}`);
  const hash = { algorithm: 'sha256', value: createHash('sha256').update(artifact).digest('hex') };
  const content = sign('sha256', artifact, keys.privateKey).toString('base64');
  const spec = { data: { hash }, signature: { content, publicKey: { content: pem } } };
  return JSON.stringify({ apiVersion: '0.0.1', kind: 'hashedrekord', spec });
}

interface LogEntry {
  readonly body: string;
  readonly integratedTime: number;
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly checkpoint: string;
      readonly hashes: readonly string[];
      readonly logIndex: number;
      readonly rootHash: string;
      readonly treeSize: number;
    };
  };
}

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.close());

const post = (): Promise<Response> =>
  fetch(`${world.url}/api/v1/log/entries`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: proposal(),
  });

async function create(): Promise<{ id: string; entry: LogEntry }> {
  const response = await post();
  expect(response.status).toBe(201);
  const [[id, entry] = ['', undefined]] = Object.entries((await response.json()) as Record<string, LogEntry>);
  if (entry === undefined) throw new Error('The answer has no entry');
  return { id, entry };
}

const publicKey = async (): Promise<string> => (await fetch(`${world.url}/api/v1/log/publicKey`)).text();

/** The promise of an entry, checked with the platform alone. */
function isPromised({ body, integratedTime, logID, logIndex, verification }: LogEntry, key: string): boolean {
  const promise = JSON.stringify({ body, integratedTime, logID, logIndex });
  const signature = Buffer.from(verification.signedEntryTimestamp, 'base64');
  return verify('sha256', Buffer.from(promise), createPublicKey(key), signature);
}

/** Proof, root and checkpoint of one answer are of one tree. */
function checkProof({ body, verification: { inclusionProof } }: LogEntry): void {
  const { size, rootHash } = parseCheckpoint(parseNote(inclusionProof.checkpoint).text);
  expect(Number(size)).toBe(inclusionProof.treeSize);
  expect(Buffer.from(rootHash).toString('hex')).toBe(inclusionProof.rootHash);
  verifyInclusion(sha256, {
    index: BigInt(inclusionProof.logIndex),
    size,
    leafHash: leafHash(sha256, new Uint8Array(Buffer.from(body, 'base64'))),
    proof: inclusionProof.hashes.map(parseHex),
    root: rootHash,
  });
}

describe('Rekor, first shard, 2022-09 (rekor#1087): verifiers failed', () => {
  it('proof and head of each answer are of one tree, however it is read while it grows', async () => {
    const first = await create();
    let growing = true;
    const grow = async (): Promise<void> => {
      for (let round = 0; round < 40; round++) await create();
    };
    const writers = Promise.all([grow(), grow(), grow()]).finally(() => (growing = false));
    const sizes = new Set<number>();
    const read = async (path: string): Promise<void> => {
      while (growing) {
        const [entry] = Object.values((await (await fetch(world.url + path)).json()) as Record<string, LogEntry>);
        if (entry === undefined) throw new Error('The answer has no entry');
        checkProof(entry);
        sizes.add(entry.verification.inclusionProof.treeSize);
      }
    };
    await Promise.all([
      writers,
      read('/api/v1/log/entries?logIndex=0'),
      read(`/api/v1/log/entries/${first.id}`),
      read(`/api/v1/log/entries/${first.id.slice(16)}`),
    ]);
    expect(sizes.size).toBeGreaterThan(3);
  });

  it('two heads of the log are consistent by its own proof, and that proof is of this tree alone', async () => {
    const head = async () => {
      const info = (await (await fetch(`${world.url}/api/v1/log`)).json()) as Record<string, string>;
      return parseCheckpoint(parseNote(info['signedTreeHead'] ?? '').text);
    };
    const older = await head();
    await create();
    const newer = await head();
    const path = `/api/v1/log/proof?firstSize=${older.size}&lastSize=${newer.size}`;
    const { hashes } = (await (await fetch(world.url + path)).json()) as { hashes: string[] };
    const proof = hashes.map(parseHex);
    const claim = {
      first: older.size,
      second: newer.size,
      firstRoot: older.rootHash,
      secondRoot: newer.rootHash,
      proof,
    };
    verifyConsistency(sha256, claim);
    expect(() => verifyConsistency(sha256, { ...claim, firstRoot: newer.rootHash })).toThrow();
    expect((await fetch(`${world.url}${path}&treeID=1`)).status).toBe(400);
  });
});

describe('Rekor with a key in memory (scaffolding#358): a restart made a new one', () => {
  it('a restart keeps the key, and what was promised before it still holds', async () => {
    const before = await publicKey();
    const { id, entry } = await create();
    expect(isPromised(entry, before)).toBe(true);
    await world.restart();
    expect(await publicKey()).toBe(before);
    const [again] = Object.values(
      (await (await fetch(`${world.url}/api/v1/log/entries/${id}`)).json()) as Record<string, LogEntry>,
    );
    expect(again).toMatchObject({ body: entry.body, integratedTime: entry.integratedTime, logIndex: entry.logIndex });
    expect(isPromised(again!, before)).toBe(true);
  });

  it('a key that is gone is a refusal to start, not a new key', async () => {
    const other = await startWorld();
    try {
      await other.stop();
      await rm(join(other.folder, 'keys', 'log-v1.pem'));
      await expect(other.restart()).rejects.toMatchObject({ code: 'INSTANCE_KEY_MISSING' });
    } finally {
      await other.close();
    }
  });
});

// Last: it leaves the log halted.
describe('Sigstore, 2024-08 and 2026-08: a database that is broken, and nights of 502', () => {
  it('says 503 and when to come back, is not ready, tells nothing of its inside, and goes on to be read', async () => {
    const { id } = await create();
    expect((await fetch(`${world.url}/readyz`)).status).toBe(200);
    const store = await openSqlStore({ file: join(world.folder, 'chancery.db') });
    const transaction = await store.begin();
    await transaction.query(
      `UPDATE edge SET hashes = zeroblob(length(hashes)) WHERE tree = (SELECT id FROM tree WHERE name = 'log-v1')`,
    );
    await transaction.commit();
    await store.close();

    const refused = await post();
    expect(refused.status).toBe(503);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.text()).not.toMatch(/edge|sqlite|row|chancery\.db|\/src\//i);
    const ready = await fetch(`${world.url}/readyz`);
    expect([ready.status, await ready.text()]).toEqual([503, '{"status":"NOT_SERVING"}']);
    expect((await fetch(`${world.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${world.url}/api/v1/log/entries/${id}`)).status).toBe(200);
    expect(await (await fetch(`${world.url}/metrics`)).text()).toContain('chancery_tree_halted{tree="v1"} 1');
  });
});
