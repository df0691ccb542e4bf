// The Rekor v1 API over HTTP, on real trees: what is logged, what is found again, and the files that readers fetch.
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeHex, parseBase64, parseHex } from '#libs/encoding';
import {
  encodeTilePath,
  entryBundlePath,
  leafHash,
  parseEntryBundle,
  verifyConsistency,
  verifyInclusion,
} from '#libs/merkle';
import { ecdsaNoteVerifier, parseCheckpoint, parseNote, verifyCheckpoint } from '#libs/note';
import { opensslCrypto, sha256, verifySync } from '#libs/openssl';
import { recordKeysV1, recordKeysV2 } from '#libs/search';
import { hostname, type LogServer, startLogServer, treeId } from '../testing/log-server.js';
import {
  base64,
  certificate,
  dsse,
  envelope as envelopeOf,
  everyKind,
  hashedRekord,
  hexSha256,
  intoto1,
  intoto2,
  pemOf,
  type Proposal,
  publicPem,
  rekord,
  rfc3161,
  statement,
} from '../testing/proposals.js';

type Json = Record<string, unknown>;
interface LogEntry {
  attestation?: { data: string };
  body: string;
  integratedTime: number;
  logID: string;
  logIndex: number;
  verification: {
    inclusionProof: { checkpoint: string; hashes: string[]; logIndex: number; rootHash: string; treeSize: number };
    signedEntryTimestamp: string;
  };
}
interface LogInfo {
  inactiveShards: null;
  rootHash: string;
  signedTreeHead: string;
  treeID: string;
  treeSize: number;
}

let server: LogServer;
beforeAll(async () => {
  server = await startLogServer({ maxAttestation: 1000 });
});
afterAll(() => server.close());

const treeIdHex = '108e9186e8c5677a';
const origin = `${hostname} - ${treeId}`;

function post(path: string, body: unknown, base = server.url): Promise<Response> {
  return fetch(base + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

async function jsonOf<T>(response: Response, status = 200): Promise<T> {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  return JSON.parse(text) as T;
}
const get = async <T>(path: string): Promise<T> => jsonOf<T>(await fetch(server.url + path));

async function log(proposal: Proposal, base = server.url): Promise<{ id: string; entry: LogEntry }> {
  const response = await post('/api/v1/log/entries', proposal, base);
  return onlyEntry(await jsonOf<Record<string, LogEntry>>(response, 201));
}

function onlyEntry(map: Record<string, LogEntry>): { id: string; entry: LogEntry } {
  const [[id, entry] = [], ...rest] = Object.entries(map);
  if (id === undefined || entry === undefined || rest.length > 0) throw new Error('not one entry');
  return { id, entry };
}

/** Verifies everything that an answer claims. */
async function verifyEntry({ id, entry }: { id: string; entry: LogEntry }): Promise<void> {
  const { publicKey } = server.signer;
  const body = parseBase64(entry.body);
  const hash = leafHash(sha256, body);
  expect(id).toBe(treeIdHex + encodeHex(hash));
  expect(entry.logID).toBe(encodeHex(sha256(publicKey.spki)));
  const { inclusionProof: proof, signedEntryTimestamp } = entry.verification;
  const verifier = ecdsaNoteVerifier(hostname, publicKey, opensslCrypto);
  const checkpoint = await verifyCheckpoint(proof.checkpoint, [verifier], { origin });
  expect([Number(checkpoint.size), encodeHex(checkpoint.rootHash)]).toEqual([proof.treeSize, proof.rootHash]);
  expect(proof.logIndex).toBe(entry.logIndex);
  verifyInclusion(sha256, {
    index: BigInt(proof.logIndex),
    size: BigInt(proof.treeSize),
    leafHash: hash,
    proof: proof.hashes.map(parseHex),
    root: parseHex(proof.rootHash),
  });
  const { body: text, integratedTime, logID, logIndex } = entry;
  // RFC 8785 for four fields whose names are in order already.
  const promised = Buffer.from(JSON.stringify({ body: text, integratedTime, logID, logIndex }));
  const scheme = { kind: 'ecdsa', hash: 'sha256' } as const;
  expect(verifySync(publicKey, scheme, promised, parseBase64(signedEntryTimestamp))).toBe(true);
}

const withoutPromise = ({ verification: _, ...rest }: LogEntry) => rest;

describe('POST /api/v1/log/entries', () => {
  for (const [name, propose] of Object.entries(everyKind)) {
    it(`logs ${name}, with promise and proof`, async () => {
      const before = Math.floor(Date.now() / 1000);
      const logged = await log(propose());
      await verifyEntry(logged);
      expect(Object.keys(logged.entry)).toEqual(['body', 'integratedTime', 'logID', 'logIndex', 'verification']);
      expect(logged.entry.integratedTime).toBeGreaterThanOrEqual(before);
      expect(logged.entry.integratedTime).toBeLessThanOrEqual(Date.now() / 1000);
      const body = JSON.parse(Buffer.from(logged.entry.body, 'base64').toString()) as Json;
      expect(`${String(body['kind'])} ${String(body['apiVersion'])}`).toBe(name);
    });
  }

  it('answers 201 with Location, and with an ETag without quotes that is the key of the entry', async () => {
    const response = await post('/api/v1/log/entries', hashedRekord());
    const etag = response.headers.get('etag') ?? '';
    const { id } = onlyEntry(await jsonOf<Record<string, LogEntry>>(response, 201));
    expect(etag).toBe(id);
    expect(etag).toMatch(/^[0-9a-f]{80}$/);
    expect(response.headers.get('location')).toBe(`/api/v1/log/entries/${id}`);
  });

  it('the same entry again gets 409 and its place, also after a restart', async () => {
    const proposal = hashedRekord();
    const { id, entry } = await log(proposal);
    const conflict = async () => {
      const response = await post('/api/v1/log/entries', proposal);
      expect(response.headers.get('location')).toBe(`/api/v1/log/entries/${id}`);
      expect(await jsonOf(response, 409)).toEqual({
        code: 409,
        message: `an equivalent entry already exists in the transparency log with UUID ${id}`,
      });
    };
    await conflict();
    const size = (await get<LogInfo>('/api/v1/log')).treeSize;
    await server.restart();
    await conflict();
    expect((await get<LogInfo>('/api/v1/log')).treeSize).toBe(size);
    // What was promised is the same for ever.
    const again = onlyEntry(await get(`/api/v1/log/entries/${id}`));
    await verifyEntry(again);
    expect(withoutPromise(again.entry)).toEqual(withoutPromise(entry));
  });

  it('64 at once, half of them one entry: one wins, the others get an index each', async () => {
    const before = (await get<LogInfo>('/api/v1/log')).treeSize;
    const same = hashedRekord();
    const copies = Array.from({ length: 32 }, () => post('/api/v1/log/entries', same));
    const others = Array.from({ length: 32 }, () => log(hashedRekord()));
    const statuses = (await Promise.all(copies)).map(({ status }) => status).sort((a, b) => a - b);
    expect(statuses).toEqual([201, ...Array.from({ length: 31 }, () => 409)]);
    const logged = await Promise.all(others);
    for (const one of logged) await verifyEntry(one);
    expect((await get<LogInfo>('/api/v1/log')).treeSize).toBe(before + 33);
    expect(new Set(logged.map(({ entry }) => entry.logIndex)).size).toBe(32);
  });

  it('takes explicit nulls as absent, as sigstore-python sends them', async () => {
    const { spec, ...frame } = dsse();
    const nulls = { signatures: null, envelopeHash: null, payloadHash: null };
    await verifyEntry(await log({ ...frame, spec: { ...spec, ...nulls } }));
  });

  it('re-encodes the PEM of a key: other line ends make the same leaf', async () => {
    const artifact = Buffer.from('line ends');
    const { id } = await log(hashedRekord(artifact));
    const crlf = `\r\n${publicPem.replaceAll('\n', '\r\n')}\r\n`;
    const again = structuredClone(hashedRekord(artifact)) as Proposal & { spec: { signature: { content: string } } };
    // The signature is part of the leaf, and ECDSA makes another each time.
    const stored = onlyEntry(await get(`/api/v1/log/entries/${id}`)).entry.body;
    const body = JSON.parse(Buffer.from(stored, 'base64').toString()) as typeof again;
    Object.assign(again.spec.signature, {
      content: body.spec.signature.content,
      publicKey: { content: base64(crlf) },
    });
    const response = await post('/api/v1/log/entries', again);
    expect(response.status).toBe(409);
    expect(response.headers.get('location')).toContain(id);
  });
});

describe('GET /api/v1/log/entries', () => {
  it('by leaf hash, by entry ID, in any case, and by index', async () => {
    const logged = await log(hashedRekord());
    const { id, entry } = logged;
    const leaf = id.slice(16);
    for (const path of [
      `/api/v1/log/entries/${id}`,
      `/api/v1/log/entries/${leaf}`,
      `/api/v1/log/entries/${id.toUpperCase()}`,
      `/api/v1/log/entries/${leaf.toUpperCase()}`,
      `/api/v1/log/entries/${id}/`,
      `/api/v1/log//entries/${id}`,
      `/api/v1/log/entries?logIndex=${entry.logIndex}`,
      `/api/v1/log/entries/?logIndex=${entry.logIndex}`,
      `/api/v1/log/entries?logIndex=1&logIndex=${entry.logIndex}`,
    ]) {
      const response = await fetch(server.url + path);
      expectNoCache(response);
      const found = onlyEntry(await jsonOf<Record<string, LogEntry>>(response));
      expect(found.id).toBe(id);
      await verifyEntry(found);
      expect(withoutPromise(found.entry)).toEqual(withoutPromise(entry));
    }
  });

  it('what is not there is 404 without a body and without a type', async () => {
    const { id } = await log(hashedRekord());
    const otherTree = `${'1'.repeat(16)}${id.slice(16)}`;
    const otherLeaf = hexSha256('nothing');
    for (const path of [
      `/api/v1/log/entries/${otherTree}`,
      `/api/v1/log/entries/${otherLeaf}`,
      `/api/v1/log/entries/${treeIdHex}${otherLeaf}`,
      '/api/v1/log/entries?logIndex=999999999',
      `/api/v1/log/entries?logIndex=${Number.MAX_SAFE_INTEGER}`,
      '/api/v1/log/entries?logIndex=999999999999999999',
      '/api/v1/log/entries?logIndex=9223372036854775807',
      `/api/v1/log/entries?logIndex=%2B${'0'.repeat(100)}9223372036854775807`,
    ]) {
      const response = await fetch(server.url + path);
      expect([path, response.status]).toEqual([path, 404]);
      expect(response.headers.get('content-type')).toBeNull();
      expect(await response.text()).toBe('');
      expectNoCache(response);
    }
  });

  it('does not look at If-None-Match', async () => {
    const { id } = await log(hashedRekord());
    const headers = { 'if-none-match': id, 'if-modified-since': new Date(Date.now() + 1e6).toUTCString() };
    expect((await fetch(`${server.url}/api/v1/log/entries/${id}`, { headers })).status).toBe(200);
  });
});

function expectNoCache({ headers }: Response): void {
  expect(headers.get('cache-control')).toBe('no-cache, no-store, no-transform, must-revalidate, private, max-age=0');
  expect(headers.get('pragma')).toBe('no-cache');
  expect(headers.get('expires')).toBe('Thu, 01 Jan 1970 00:00:00 GMT');
  expect(headers.get('x-accel-expires')).toBe('0');
}

describe('POST /api/v1/log/entries/retrieve', () => {
  const retrieve = async (query: unknown, path = '/api/v1/log/entries/retrieve'): Promise<string[]> => {
    const found = await jsonOf<Record<string, LogEntry>[]>(await post(path, query));
    const entries = found.map(onlyEntry);
    for (const entry of entries) await verifyEntry(entry);
    return entries.map(({ id }) => id);
  };

  it('answers entry IDs, then leaf hashes, then proposals, then indexes; repeats what is asked twice', async () => {
    const proposal = hashedRekord();
    const logged = [
      await log(hashedRekord()),
      await log(hashedRekord()),
      await log(proposal),
      await log(hashedRekord()),
    ];
    const [a, b, c, d] = logged.map(({ id }) => id) as [string, string, string, string];
    const index = logged[3]?.entry.logIndex;
    const query = { entryUUIDs: [b.slice(16), a], entries: [proposal], logIndexes: [index, logged[0]?.entry.logIndex] };
    expect(await retrieve(query)).toEqual([a, b, c, d, a]);
    // sigstore-python puts a slash behind the path.
    expect(await retrieve(query, '/api/v1/log/entries/retrieve/')).toEqual([a, b, c, d, a]);
  });

  it('leaves out what is missing, and never says 404', async () => {
    const { id } = await log(hashedRekord());
    const missing = hexSha256('missing');
    const query = {
      entryUUIDs: [missing, treeIdHex + missing, `${'1'.repeat(16)}${id.slice(16)}`, id.toUpperCase()],
      logIndexes: [999_999_999],
      entries: [hashedRekord()],
    };
    expect(await retrieve(query)).toEqual([id]);
    const farOff = { logIndexes: [999_999_999, 2 ** 53, 2 ** 60, 2 ** 63] };
    for (const empty of [{}, { entryUUIDs: null, logIndexes: null, entries: null }, farOff]) {
      expect(await retrieve(empty)).toEqual([]);
    }
  });

  it('finds proposals of each kind, and stored forms', async () => {
    const proposals = Object.values(everyKind).map((propose) => propose());
    const ids: (string | undefined)[] = [];
    for (const proposal of proposals) {
      const response = await post('/api/v1/log/entries', proposal);
      expect([201, 409]).toContain(response.status);
      ids.push(response.headers.get('location')?.split('/').at(-1));
    }
    expect(await retrieve({ entries: proposals })).toEqual(ids);
    const stored = await Promise.all(
      ids.map(async (id) => {
        const { entry } = onlyEntry(await get<Record<string, LogEntry>>(`/api/v1/log/entries/${id}`));
        return JSON.parse(Buffer.from(entry.body, 'base64').toString()) as Proposal;
      }),
    );
    const lookups = stored.filter(({ kind }) => kind !== 'rekord');
    expect(await retrieve({ entries: lookups })).toEqual(ids.filter((_, i) => stored[i]?.kind !== 'rekord'));
  });
});

describe('the log', () => {
  it('GET /api/v1/log: what the newest checkpoint says', async () => {
    await log(hashedRekord());
    for (const path of ['/api/v1/log', '/api/v1/log/', '//api//v1/log', '/api/v1/log?stable=true']) {
      const response = await fetch(server.url + path);
      expectNoCache(response);
      const info = await jsonOf<LogInfo>(response);
      expect(Object.keys(info)).toEqual(['inactiveShards', 'rootHash', 'signedTreeHead', 'treeID', 'treeSize']);
      expect([info.inactiveShards, info.treeID]).toEqual([null, treeId.toString()]);
      const verifier = ecdsaNoteVerifier(hostname, server.signer.publicKey, opensslCrypto);
      const checkpoint = await verifyCheckpoint(info.signedTreeHead, [verifier], { origin });
      expect([Number(checkpoint.size), encodeHex(checkpoint.rootHash)]).toEqual([info.treeSize, info.rootHash]);
      // Four bytes of SHA-256 over the key, without its name; and no other signature, which Rekor's verifier would refuse.
      const { signatures } = parseNote(info.signedTreeHead);
      expect(signatures.map(({ keyId }) => encodeHex(keyId))).toEqual([
        encodeHex(sha256(server.signer.publicKey.spki)).slice(0, 8),
      ]);
    }
  });

  it('GET /api/v1/log/publicKey: PEM', async () => {
    for (const query of ['', `?treeID=${treeId}`]) {
      const response = await fetch(`${server.url}/api/v1/log/publicKey${query}`);
      expectNoCache(response);
      expect(response.headers.get('content-type')).toBe('application/x-pem-file');
      const pem = await response.text();
      expect(
        createHash('sha256')
          .update(Buffer.from(pem.split('\n').slice(1, -2).join(''), 'base64'))
          .digest('hex'),
      ).toBe(encodeHex(server.shard.logId));
      expect(pem).toMatch(/^-----BEGIN PUBLIC KEY-----\n[^-]+-----END PUBLIC KEY-----\n$/);
    }
  });

  it('GET /api/v1/log/proof: between any two sizes, with the newest root', async () => {
    const heads: { size: bigint; root: Uint8Array }[] = [];
    for (let i = 0; i < 5; i++) {
      const { inclusionProof } = (await log(hashedRekord())).entry.verification;
      heads.push({ size: BigInt(inclusionProof.treeSize), root: parseHex(inclusionProof.rootHash) });
    }
    const { treeSize, rootHash } = await get<LogInfo>('/api/v1/log');
    for (const [i, first] of heads.entries()) {
      for (const second of heads.slice(i)) {
        const proof = await get<{ rootHash: string; hashes: string[] }>(
          `/api/v1/log/proof?firstSize=${first.size}&lastSize=${second.size}&treeID=${treeId}`,
        );
        // That of the newest tree, whatever was asked: verifiers have their own.
        expect(proof.rootHash).toBe(rootHash);
        if (first === second) expect(proof.hashes).toEqual([]);
        verifyConsistency(sha256, {
          first: first.size,
          second: second.size,
          firstRoot: first.root,
          secondRoot: second.root,
          proof: proof.hashes.map(parseHex),
        });
      }
    }
    const { hashes } = await get<{ hashes: string[] }>(`/api/v1/log/proof?lastSize=${treeSize}`);
    const explicit = await get<{ hashes: string[] }>(`/api/v1/log/proof?firstSize=1&lastSize=${treeSize}`);
    expect(hashes).toEqual(explicit.hashes);
    const empty = await get<{ hashes: string[] }>(`/api/v1/log/proof?firstSize=&lastSize=${treeSize}&treeID=`);
    expect(empty.hashes).toEqual(explicit.hashes);
    expect((await fetch(`${server.url}/api/v1/log/publicKey?treeID=`)).status).toBe(200);
  });
});

describe('POST /api/v1/index/retrieve', () => {
  const search = async (query: unknown): Promise<string[]> => jsonOf(await post('/api/v1/index/retrieve', query));

  it('finds a hashedrekord by its hash in every spelling, at once', async () => {
    const artifact = Buffer.from('spellings');
    const { id } = await log(hashedRekord(artifact));
    const hex = hexSha256(artifact);
    for (const hash of [hex, hex.toUpperCase(), `sha256:${hex}`, `sha256:${hex.toUpperCase()}`]) {
      expect(await search({ hash })).toEqual([id]);
    }
    expect(await search({ hash: hexSha256('nothing') })).toEqual([]);
    expect(await search({ hash: hex.slice(0, 40) })).toEqual([]);
  });

  it('finds by key, in any PEM of it: kinds that index it bare, newest first, each once', async () => {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = pemOf(pair.publicKey);
    const ids: string[] = [];
    for (const text of ['one', 'two', 'three']) {
      ids.unshift((await log(hashedRekord(Buffer.from(text), pem, pair.privateKey))).id);
    }
    for (const content of [pem, `\n${pem.replaceAll('\n', '\r\n')}`]) {
      expect(await search({ publicKey: { format: 'x509', content: base64(content) } })).toEqual(ids);
    }
    expect(await search({ publicKey: { format: 'x509', content: base64(pem) }, hash: hexSha256('two') })).toEqual(ids);
    const both = { publicKey: { format: 'x509', content: base64(pem) }, hash: hexSha256('two'), operator: 'and' };
    expect(await search(both)).toEqual([ids[1]]);
    expect(await search({ ...both, hash: hexSha256('four') })).toEqual([]);
    expect(await search({ ...both, operator: 'or' })).toEqual(ids);
    expect(await search({ ...both, operator: null })).toEqual(ids);
  });

  it('finds dsse and intoto by payload, envelope where Rekor does, subject, material, and prefixed hash of the key', async () => {
    for (const [propose, byEnvelope] of [
      [dsse, true],
      [intoto1, true],
      [intoto2, false],
    ] as const) {
      const [subject, material] = [hexSha256(`subject of ${propose.name}`), hexSha256(`material of ${propose.name}`)];
      const payload = statement(subject, material);
      const proposal = propose(payload);
      const { id } = await log(proposal);
      expect(await search({ hash: subject })).toEqual([id]);
      expect(await search({ hash: material.slice(0, 40) })).toEqual([id]);
      expect(await search({ hash: hexSha256(payload) })).toEqual([id]);
      expect(await search({ hash: `sha256:${hexSha256(publicPem)}` })).toContain(id);
      const { content, proposedContent } = proposal.spec as Record<string, { envelope?: unknown } | undefined>;
      const envelope = (proposedContent ?? content)?.envelope;
      if (byEnvelope) expect(await search({ hash: hexSha256(String(envelope)) })).toEqual([id]);
      expect(await search({ publicKey: { format: 'x509', content: base64(publicPem) } })).not.toContain(id);
    }
  });

  it('finds rekord by the hash of its content, rfc3161 by that of its response', async () => {
    const content = Buffer.from('content of a rekord');
    expect(await search({ hash: hexSha256(content) })).toEqual([]);
    const { id } = await log(rekord(content));
    expect(await search({ hash: hexSha256(content) })).toEqual([id]);
    const { tsr } = rfc3161().spec as { tsr: { content: string } };
    expect(await search({ hash: hexSha256(Buffer.from(tsr.content, 'base64')) })).toHaveLength(1);
  });

  it('finds by the names in a certificate, in any case', async () => {
    const { pem, privateKey } = await certificate([
      { type: 'email', value: 'Somebody@Example.com' },
      { type: 'url', value: 'https://example.com/Workflow' },
      { type: 'dns', value: 'host.example.com' },
    ]);
    const { id } = await log(hashedRekord(Buffer.from('by a certificate'), pem, privateKey));
    for (const query of [
      { email: 'Somebody@Example.com' },
      { subject: 'somebody@example.com' },
      { subject: 'https://example.com/Workflow' },
      { subject: 'HTTPS://EXAMPLE.COM/WORKFLOW' },
      { subject: 'host.example.com' },
      { publicKey: { format: 'x509', content: base64(pem) } },
    ]) {
      expect(await search(query)).toEqual([id]);
    }
    expect(await search({ email: 'somebody@example.co' })).toEqual([]);
    expect(await search({ subject: 'example.com' })).toEqual([]);
  });

  it('asked for nothing, finds nothing', async () => {
    for (const query of [{}, { email: null, hash: null, publicKey: null, subject: null }, { operator: 'and' }]) {
      expect(await search(query)).toEqual([]);
    }
  });

  it('is still there after a restart', async () => {
    const artifact = Buffer.from('before the restart');
    const { id } = await log(hashedRekord(artifact));
    await server.restart();
    expect(await search({ hash: hexSha256(artifact) })).toEqual([id]);
  });
});

describe('attestations', () => {
  it('of intoto entries are kept and come with the entry, up to the size that is set', async () => {
    for (const propose of [intoto1, intoto2]) {
      const payload = statement();
      const { id, entry } = await log(propose(payload));
      expect(entry.attestation).toBeUndefined();
      const read = onlyEntry(await get<Record<string, LogEntry>>(`/api/v1/log/entries/${id}`));
      expect(Buffer.from(read.entry.attestation?.data ?? '', 'base64').toString()).toBe(payload);
      await verifyEntry(read);
      const [found] = await jsonOf<Record<string, LogEntry>[]>(
        await post('/api/v1/log/entries/retrieve', { entryUUIDs: [id] }),
      );
      expect(found?.[id]?.attestation).toEqual(read.entry.attestation);

      const long = JSON.stringify({ ...(JSON.parse(statement()) as Json), padding: 'x'.repeat(1000) });
      const other = await log(propose(long));
      expect(
        onlyEntry(await get<Record<string, LogEntry>>(`/api/v1/log/entries/${other.id}`)).entry.attestation,
      ).toBeUndefined();
    }
  });

  it('are not kept for dsse, and not at all unless that is set', async () => {
    const { id } = await log(dsse());
    expect(
      onlyEntry(await get<Record<string, LogEntry>>(`/api/v1/log/entries/${id}`)).entry.attestation,
    ).toBeUndefined();
    const plain = await startLogServer();
    try {
      const logged = await log(intoto2(), plain.url);
      const map = await jsonOf<Record<string, LogEntry>>(await fetch(`${plain.url}/api/v1/log/entries/${logged.id}`));
      expect(onlyEntry(map).entry.attestation).toBeUndefined();
    } finally {
      await plain.close();
    }
  });
});

describe('what is indexed', () => {
  it('is what follows from the records alone, for both trees', async () => {
    for (const propose of Object.values(everyKind)) await post('/api/v1/log/entries', propose());
    const { pem, privateKey } = await certificate([{ type: 'email', value: 'indexed@example.com' }]);
    await log(hashedRekord(Buffer.from('indexed certificate'), pem, privateKey));
    for (const body of [
      v2HashedRekord(pem, privateKey),
      v2HashedRekord(undefined, privateKey),
      v2Dsse(statement()),
      v2Dsse('{'),
    ]) {
      const response = await post('/api/v2/log/entries', body);
      expect(response.status, await response.text()).toBe(201);
    }
    for (const [tree, keysOf] of [
      [server.shard.tree, recordKeysV1],
      [server.v2, recordKeysV2],
    ] as const) {
      const { size } = tree.head();
      const records = await tree.readRecords(0n, size);
      for (const [i, record] of records.entries()) {
        const keys = [...keysOf(record)];
        expect(keys.length).toBeGreaterThan(0);
        for (const key of keys) {
          const { indexes } = await tree.findByKeys({ keys: [key], match: 'any', below: size, limit: 1000 });
          expect([key, indexes.includes(BigInt(i))]).toEqual([key, true]);
        }
      }
    }
  });

  it('for dsse on the v2 tree are also the subjects and materials of a statement that is not stored', async () => {
    const [subject, material] = [hexSha256('v2 subject'), hexSha256('v2 material').slice(0, 40)];
    await jsonOf(await post('/api/v2/log/entries', v2Dsse(statement(subject, material))), 201);
    const { v2 } = server;
    for (const key of [`sha256:${subject}`, `sha1:${material}`]) {
      const { indexes } = await v2.findByKeys({ keys: [key], match: 'any', below: v2.head().size, limit: 9 });
      expect(indexes).toEqual([v2.head().size - 1n]);
    }
  });

  it.each([
    '',
    '{',
    'null',
    '[]',
    '{"subject":1}',
    '{"subject":[{"digest":null}]}',
    '{"subject":[null]}',
    '{"predicate":{"materials":7}}',
  ])('a payload that is no statement is no reason to refuse its envelope: %s', async (payload) => {
    await jsonOf(await post('/api/v2/log/entries', v2Dsse(payload)), payload === '' ? 400 : 201);
    if (payload !== '') await log(dsse(payload));
  });
});

/** Entries of the other tree. */
function v2HashedRekord(pem: string | undefined, key: KeyObject): Json {
  const artifact = Buffer.from(`v2 entry ${counter++}`);
  const rawBytes = (text: string) => text.replace(/-----[A-Z ]+-----|\s/g, '');
  return {
    hashedRekordRequestV002: {
      digest: base64(createHash('sha256').update(artifact).digest()),
      signature: {
        content: base64(sign('sha256', artifact, key)),
        verifier: {
          ...(pem
            ? { x509Certificate: { rawBytes: rawBytes(pem) } }
            : { publicKey: { rawBytes: rawBytes(pemOf(createPublicKey(key))) } }),
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        },
      },
    },
  };
}

function v2Dsse(payload: string): Json {
  const envelope = JSON.parse(envelopeOf(payload)) as Json;
  return {
    dsseRequestV002: {
      envelope,
      verifiers: [
        {
          publicKey: { rawBytes: publicPem.replace(/-----[A-Z ]+-----|\s/g, '') },
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        },
      ],
    },
  };
}
let counter = 0;

describe('the read path of the v1 tree', () => {
  const total = 300;
  beforeAll(async () => {
    const { treeSize } = await get<LogInfo>('/api/v1/log');
    for (let left = total - treeSize; left > 0; left -= 30) {
      await Promise.all(Array.from({ length: Math.min(30, left) }, () => log(hashedRekord())));
    }
  });

  it('/api/v1/checkpoint is the signed head, never cached', async () => {
    const response = await fetch(`${server.url}/api/v1/checkpoint`);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-cache');
    const { size } = parseCheckpoint(parseNote(await response.text()).text);
    expect(Number(size)).toBe((await get<LogInfo>('/api/v1/log')).treeSize);
  });

  it('tiles, bundles and annexes, immutable, bundles compressed for who asks', async () => {
    const bytesOf = async (path: string, encoding?: string) => {
      const response = await fetch(`${server.url}/api/v1/${path}`, {
        headers: { 'accept-encoding': encoding ?? 'identity' },
      });
      expect(response.status, path).toBe(200);
      expect(response.headers.get('content-type')).toBe('application/octet-stream');
      expect(response.headers.get('cache-control')).toBe('public, max-age=604800, immutable');
      const isText = /entries|annex/.test(path);
      expect([path, response.headers.get('content-encoding')]).toEqual([path, encoding && isText ? 'gzip' : null]);
      return new Uint8Array(await response.arrayBuffer());
    };
    for (const [index, width] of [
      [0n, 256],
      [0n, 7],
      [1n, 44],
    ] as const) {
      const entries = parseEntryBundle(await bytesOf(entryBundlePath(index, width)), width);
      expect(entries).toHaveLength(width);
      const hashes = await bytesOf(encodeTilePath({ level: 0, index, width }));
      expect(encodeHex(hashes)).toBe(entries.map((entry) => encodeHex(leafHash(sha256, entry))).join(''));
      expect(await bytesOf(entryBundlePath(index, width), 'gzip')).toEqual(
        await bytesOf(entryBundlePath(index, width)),
      );
      const annex = await bytesOf(entryBundlePath(index, width, 'annex'));
      // Times and annexes, and at the end the digest of all before it.
      expect(encodeHex(annex.slice(-32))).toBe(encodeHex(sha256(annex.slice(0, -32))));
    }
    // The other tree has its own.
    const response = await fetch(`${server.url}/api/v2/tile/annex/000.p/1`);
    const other = new Uint8Array(await response.arrayBuffer());
    const ours = await bytesOf('tile/annex/000.p/1');
    expect(response.headers.get('cache-control')).toBe('public, max-age=604800, immutable');
    expect(encodeHex(other)).not.toBe(encodeHex(ours));
    expect(encodeHex(other.slice(-32))).toBe(encodeHex(sha256(other.slice(0, -32))));
  });

  it.each([
    ...[
      'tile/0/002',
      'tile/0/001.p/256',
      'tile/1/000',
      'tile/entries/001',
      'tile/annex/001',
      'tile/annex/001.p/0',
      'tile/annex/',
    ],
    ...[
      'tile/0/000/',
      'tile//0/000',
      'tile/0/../0/000',
      'tile/annex/../annex/000',
      'tile/annex/%30%30%30',
      'tile/data/000',
    ],
  ])('/api/v1/%s is not found', async (path) => {
    const { status, headers, body } = await raw(`/api/v1/${path}`);
    expect([status, JSON.parse(body)]).toEqual([404, { code: 404, message: 'no such tile' }]);
    // Found later, when the tree has grown: no cache may keep this.
    expect(headers['cache-control']).toBe('no-store');
  });

  /** `fetch` would clean the path. */
  function raw(path: string): Promise<{ status: number | undefined; headers: Record<string, unknown>; body: string }> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(server.url, { path }, (response) => {
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => (body += text));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
      });
      request.on('error', reject);
      request.end();
    });
  }
});
