import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, encodeUtf8 } from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import { flipBit, temporaryFolders, TestLog, TestServer } from '../testing/test-log.js';
import {
  checkConsistency,
  checkEvidence,
  tilesLog,
  urlSource,
  type ConsistencyVerdict,
  type Evidence,
  type LogTrust,
} from './index.js';

const folders = temporaryFolders();
let log: TestLog;
let server: TestServer;
let folder: string;
let trust: LogTrust;
beforeEach(() => {
  log = new TestLog().grow(300);
  server = new TestServer(log.objects());
  folder = folders.make();
  trust = { logKeys: [log.key], nowMs: Date.parse('2026-06-01T00:00:00Z') };
});
afterEach(folders.removeAll);

const check = (more: Partial<LogTrust> = {}, url = 'http://log.example'): Promise<ConsistencyVerdict> => {
  const source = urlSource(url, { ...server.http, attempts: 2 });
  trust = { ...trust, nowMs: trust.nowMs + 60_000 };
  return checkConsistency({ log: tilesLog(source), trust: { ...trust, ...more }, folder });
};
/** Without anybody to believe. */
const checkUntrusting = (url = 'http://log.example'): Promise<ConsistencyVerdict> => {
  const source = urlSource(url, { ...server.http, attempts: 2 });
  return checkConsistency({ log: tilesLog(source), trust: { nowMs: trust.nowMs }, folder });
};
const show = (next: TestLog): void => void (server.objects = next.objects());
const stateFile = (): string => {
  const [name] = readdirSync(folder).filter((one) => /^[0-9a-f]{64}\.json$/.test(one));
  return join(folder, name ?? 'none');
};
const remembered = (): string => (JSON.parse(readFileSync(stateFile(), 'utf8')) as { checkpoint: string }).checkpoint;
const evidenceOf = (verdict: ConsistencyVerdict): Uint8Array => {
  if (verdict.outcome !== 'inconsistent') throw new Error(`it was ${verdict.outcome}`);
  return new Uint8Array(readFileSync(verdict.evidence));
};

describe('checkConsistency()', () => {
  it('remembers a log at the first look, and later proves that it only grew', async () => {
    expect(await check()).toMatchObject({ outcome: 'pinned', head: { size: 300n } });
    expect(await check()).toMatchObject({ outcome: 'consistent', hashes: [] });
    show(log.grow(400));
    expect(await check()).toMatchObject({
      outcome: 'consistent',
      head: { size: 700n },
      previous: { head: { size: 300n } },
    });
    expect(remembered()).toBe(log.note());
    expect(readdirSync(folder)).toHaveLength(1);
  });

  it('follows a log from nothing on', async () => {
    const empty = new TestLog();
    trust = { ...trust, logKeys: [empty.key] };
    show(empty);
    expect(await check()).toMatchObject({ outcome: 'pinned' });
    show(empty.grow(3));
    expect(await check()).toMatchObject({ outcome: 'consistent', hashes: [] });
  });

  it('sees two roots for one size, signed by the log', async () => {
    await check();
    show(log.fork(299).grow(1, 'forged'));
    const verdict = await check();
    expect(verdict).toMatchObject({ outcome: 'inconsistent', kind: 'fork' });
    expect(remembered()).toBe(log.note());
    expect(await checkEvidence(evidenceOf(verdict), { nowMs: 0 })).toMatchObject({
      holds: true,
      signatures: 'own keys',
    });
    expect(await checkEvidence(evidenceOf(verdict), trust)).toMatchObject({ holds: true, signatures: 'trusted' });
  });

  it('sees a history that was rewritten, and keeps the proof of it', async () => {
    await check();
    show(log.fork(200).grow(500, 'forged'));
    const verdict = await check();
    expect(verdict).toMatchObject({ outcome: 'inconsistent', kind: 'rewritten' });
    const evidence = JSON.parse(Buffer.from(evidenceOf(verdict)).toString()) as Evidence;
    expect(evidence).toMatchObject({ kind: 'rewritten', keys: [log.key], log: 'http://log.example' });
    expect(evidence.older).toEqual({ note: log.note(), seen: '2026-06-01T00:01:00.000Z' });
    expect(evidence.newer.seen).toBe('2026-06-01T00:02:00.000Z');
    expect(evidence.objects?.map(({ path }) => path)).toContain('tile/1/000.p/2');
    expect(evidence.proof?.secondRoot).toBe(encodeHex(log.fork(200).grow(500, 'forged').root()));
    expect(await checkEvidence(evidenceOf(verdict), trust)).toMatchObject({ holds: true });
  });

  it('sees a log that shrank', async () => {
    show(log.fork(300).grow(10));
    await check();
    show(log);
    const verdict = await check();
    expect(verdict).toMatchObject({ outcome: 'inconsistent', kind: 'rollback' });
    expect(remembered()).toContain('\n310\n');
    expect(await checkEvidence(evidenceOf(verdict), trust)).toMatchObject({ holds: true });
  });

  it('sees another log, or another key, in its place', async () => {
    await check();
    const other = new TestLog('tlog-tiles', 'other.example').grow(400);
    show(other);
    const foreign = await check({ logKeys: [log.key, other.key] });
    expect(foreign).toMatchObject({ outcome: 'inconsistent', kind: 'foreign' });
    expect(await checkEvidence(evidenceOf(foreign), { nowMs: 0 })).toMatchObject({ holds: true });
    const successor = new TestLog().grow(400);
    show(successor);
    expect(await check({ logKeys: [log.key, successor.key] })).toMatchObject({
      outcome: 'inconsistent',
      kind: 'foreign',
    });
    expect(remembered()).toBe(log.note());
  });

  it('holds two addresses of one log against each other', async () => {
    await check();
    show(log.fork(299).grow(1, 'for others'));
    expect(await check({}, 'http://mirror.example')).toMatchObject({ outcome: 'inconsistent', kind: 'fork' });
  });

  it('keeps apart logs that are not the same', async () => {
    await check();
    const other = new TestLog().grow(5);
    show(other);
    expect(await check({ logKeys: [other.key] }, 'http://elsewhere.example')).toMatchObject({ outcome: 'pinned' });
    expect(readdirSync(folder)).toHaveLength(2);
  });

  it('takes a proof that is none for what it is', async () => {
    await check();
    log.grow(300);
    const objects = log.objects();
    objects.set('tile/1/000.p/2', flipBit(3)(objects.get('tile/1/000.p/2') ?? new Uint8Array()));
    server.objects = objects;
    const verdict = await check();
    expect(verdict).toMatchObject({ outcome: 'inconsistent', kind: 'unproven' });
    expect(await checkEvidence(evidenceOf(verdict), trust)).toMatchObject({ holds: true });
  });

  it.each([
    ['the log cannot be reached', () => (server.answer = () => Promise.reject(new Error('down'))), 'AUDIT_NETWORK'],
    ['it is overloaded', () => (server.answer = () => new Response('', { status: 503 })), 'AUDIT_UNAVAILABLE'],
    [
      'tiles are missing',
      () => (server.objects = new Map([['checkpoint', encodeUtf8(log.grow(300).note())]])),
      'AUDIT_MISSING',
    ],
    ['nobody believed signed', () => show(new TestLog().grow(400)), 'AUDIT_SIGNER'],
    [
      'a tile is cut off',
      () => {
        log.grow(300);
        show(log);
        server.answer = (path) => (path.startsWith('tile/0') ? new Response('short') : undefined);
      },
      'AUDIT_TILES',
    ],
  ])('cannot tell when %s, and remembers what it knew', async (_, happen, code) => {
    await check();
    const before = remembered();
    happen();
    await expect(check()).rejects.toMatchObject({ code });
    expect(remembered()).toBe(before);
  });

  it('does not believe a checkpoint with a forged signature', async () => {
    await check();
    server.objects = new Map([['checkpoint', encodeUtf8(log.note().replace('\n300\n', '\n301\n'))]]);
    await expect(check()).rejects.toMatchObject({ code: 'AUDIT_CHECKPOINT' });
  });

  it('holds a log to the key it was pinned with when nobody is to be believed', async () => {
    await check();
    expect(await checkUntrusting()).toMatchObject({ outcome: 'consistent', head: { signedBy: log.key } });
    show(new TestLog().grow(400));
    await expect(checkUntrusting()).rejects.toMatchObject({ code: 'AUDIT_SIGNER' });
  });

  it('compares also what nobody verified, and says so', async () => {
    expect(await checkUntrusting()).toMatchObject({ outcome: 'pinned', head: { signedBy: undefined } });
    show(log.fork(200).grow(500, 'forged'));
    const verdict = await checkUntrusting();
    expect(verdict).toMatchObject({ outcome: 'inconsistent', kind: 'rewritten' });
    expect(await checkEvidence(evidenceOf(verdict), { nowMs: 0 })).toMatchObject({ signatures: 'not verified' });
  });

  it.each([
    ['a smaller size', (text: string) => text.replace('\\n300\\n', '\\n200\\n')],
    [
      'another root',
      (text: string) => text.replace(/\\n[A-Za-z0-9+/]{43}=/, `\\n${Buffer.alloc(32).toString('base64')}`),
    ],
    ['no JSON', (text: string) => text.slice(1)],
    ['another format', (text: string) => text.replace('/v1', '/v2')],
    ['no time', (text: string) => text.replace(/"firstSeen": "[^"]*"/, '"firstSeen": "x"')],
    ['the checkpoint of another log', () => JSON.stringify({ format: 'x' })],
  ])('notices that somebody wrote %s into the state', async (_, tamper) => {
    await check();
    writeFileSync(stateFile(), tamper(readFileSync(stateFile(), 'utf8')));
    await expect(check()).rejects.toMatchObject({ code: 'AUDIT_STATE' });
    await expect(checkUntrusting()).rejects.toMatchObject({ code: 'AUDIT_STATE' });
  });

  it('notices a state that was signed with another key', async () => {
    await check();
    const impostor = new TestLog().grow(100);
    const state = JSON.parse(readFileSync(stateFile(), 'utf8')) as Record<string, unknown>;
    writeFileSync(stateFile(), JSON.stringify({ ...state, checkpoint: impostor.note(), key: impostor.key }));
    await expect(check()).rejects.toMatchObject({ code: 'AUDIT_STATE' });
    // Without trust only the file's name tells: it is of another key.
    await expect(checkUntrusting()).rejects.toMatchObject({ code: 'AUDIT_STATE' });
  });

  it('never overwrites what another audit learned in the meantime', async () => {
    await check();
    log.grow(100);
    const objects = log.objects();
    const later = log.fork(400).grow(100);
    server.objects = objects;
    // While this audit fetches its proof, another one comes further.
    let raced = false;
    server.answer = async (path) => {
      if (!path.startsWith('tile/') || raced) return undefined;
      raced = true;
      server.objects = later.objects();
      const source = urlSource('http://log.example', server.http);
      await checkConsistency({ log: tilesLog(source), trust, folder });
      server.objects = objects;
      return undefined;
    };
    expect(await check()).toMatchObject({ outcome: 'consistent', head: { size: 400n } });
    expect(remembered()).toBe(later.note());
  });

  it('breaks a lock whose owner died, and waits for one that is alive', async () => {
    await check();
    writeFileSync(`${stateFile()}.lock`, '');
    show(log.grow(1));
    setTimeout(() => rmSync(`${stateFile()}.lock`), 100);
    expect(await check()).toMatchObject({ outcome: 'consistent' });
    expect(existsSync(`${stateFile()}.lock`)).toBe(false);
  });

  it('says when the folder cannot be written', async () => {
    rmSync(folder, { recursive: true });
    writeFileSync(folder, 'a file');
    await expect(check()).rejects.toMatchObject({ code: 'AUDIT_FOLDER' });
    rmSync(folder);
    mkdirSync(folder);
  });
});

describe('checkEvidence()', () => {
  let fork: Evidence;
  beforeEach(async () => {
    await check();
    show(log.fork(200).grow(500, 'forged'));
    fork = JSON.parse(Buffer.from(evidenceOf(await check())).toString()) as Evidence;
  });
  const again = (evidence: unknown, by: LogTrust = { nowMs: 0 }) =>
    checkEvidence(encodeUtf8(JSON.stringify(evidence)), by);

  it('does not hold when its notes are good and agree', async () => {
    const newer = { ...fork.newer, note: fork.older.note };
    for (const kind of ['fork', 'rewritten', 'unproven', 'rollback', 'foreign']) {
      expect(await again({ ...fork, newer, kind })).toMatchObject({ holds: false });
    }
  });

  it('does not hold when its proof proves, or shows something else', async () => {
    const grown = log.fork(300).grow(100);
    const hashes = grown.consistency(300n, 400n).map((hash) => encodeHex(hash));
    const honest = { ...fork, newer: { ...fork.newer, note: grown.note() }, proof: { ...fork.proof, hashes } };
    expect(await again(honest)).toMatchObject({ holds: false });
    expect(await again({ ...honest, kind: 'unproven' })).toMatchObject({ holds: false });
    expect(await again({ ...fork, kind: 'fork' })).toMatchObject({ holds: false });
  });

  it('does not hold when a note does not verify by the keys in it', async () => {
    const impostor = new TestLog().grow(700, 'forged');
    expect(await again({ ...fork, newer: { ...fork.newer, note: impostor.note() } })).toMatchObject({ holds: false });
    await expect(again(fork, { logKeys: [impostor.key], nowMs: 0 })).rejects.toMatchObject({ code: 'AUDIT_SIGNER' });
  });

  it.each([
    ['no JSON', 'x'],
    ['another format', '{"format":"x"}'],
    ['a list', '[]'],
    ['no kind', () => JSON.stringify({ ...fork, kind: 'guilty' })],
    ['no note', () => JSON.stringify({ ...fork, older: {} })],
    ['a hash that is none', () => JSON.stringify({ ...fork, proof: { ...fork.proof, hashes: ['00'] } })],
    [
      'too many hashes',
      () => JSON.stringify({ ...fork, proof: { ...fork.proof, hashes: Array(300).fill('0'.repeat(64)) } }),
    ],
    ['too many bytes', () => ' '.repeat((1 << 20) + 1)],
  ] as [string, string | (() => string)][])('refuses %s', async (_, text) => {
    const bytes = encodeUtf8(typeof text === 'string' ? text : text());
    await expect(checkEvidence(bytes, { nowMs: 0 })).rejects.toMatchObject({ code: 'AUDIT_EVIDENCE' });
  });

  it('knows the hash of every tile that was used', () => {
    const tile = server.objects.get('tile/1/000.p/2') ?? new Uint8Array();
    expect(fork.objects).toContainEqual({ path: 'tile/1/000.p/2', sha256: encodeHex(sha256(tile)) });
  });
});
