import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { changeObject, flipBit, TestLog, TestServer, writeObject } from '../../../libs/audit/testing/test-log.js';
import type { Terminal } from './config.js';
import { run } from './program.js';

// The logs here are of texts that are no entries of any kind: what entries say is for search.test.ts of the stack.
let folder: string;
let log: TestLog;
let server: TestServer;
let terminal: Terminal;
let out: string;
let err: string;
const at = (name: string) => join(folder, name);
const vkey = () => log.key.verifierKey;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-log-'));
  log = new TestLog().grow(300);
  server = new TestServer(log.objects());
  terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: { XDG_STATE_HOME: at('state') },
    fetch: server.fetch,
    now: () => Date.UTC(2026, 5, 1),
  };
});
afterEach(() => rm(folder, { recursive: true }));

const chancery = (...argv: string[]) => {
  out = '';
  err = '';
  return run(argv, terminal);
};
const tiles = (command: string, ...more: string[]) =>
  chancery('log', ...command.split(' '), '--tiles', 'http://log.example', '--verifier-key', vkey(), ...more);
const json = () => JSON.parse(out) as Record<string, unknown>;
const show = (next: TestLog): void => void (server.objects = next.objects());

describe('chancery log', () => {
  it('says what a log is, and whether anybody believed signed', async () => {
    expect(await tiles('info')).toBe(0);
    expect(out).toContain('tlog-tiles');
    expect(out).toContain('verified with the verifier key');
    expect(await chancery('log', 'info', '--tiles', 'http://log.example', '--json')).toBe(0);
    expect(json()).toMatchObject({
      origin: 'log.example',
      treeSize: '300',
      signatureVerified: false,
      verifierKey: null,
    });
  });

  it('takes a verifier key from a file', async () => {
    await writeFile(at('vkey'), `${vkey()}\n`);
    expect(await chancery('log', 'info', '--tiles', 'http://log.example', '--verifier-key', at('vkey'))).toBe(0);
    await writeFile(at('vkey'), 'x');
    expect(await chancery('log', 'info', '--tiles', 'http://log.example', '--verifier-key', at('vkey'))).toBe(3);
  });

  it('reads entries under both names of the command', async () => {
    for (const command of ['get', 'entry']) {
      expect(await tiles(`${command} 7`)).toBe(0);
      expect(Buffer.from(out, 'base64').toString()).toBe('entry 7');
    }
    expect(await tiles('get 300')).toBe(1);
  });

  it('reads a CT log and a folder', async () => {
    const ct = new TestLog('static-ct').grow(3);
    ct.write(at('ct'));
    expect(await chancery('log', 'get', '1', '--tiles', at('ct'), '--json')).toBe(0);
    expect(json()).toHaveProperty('tileLeaf');
    expect(await chancery('log', 'info', '--tiles', at('ct'))).toBe(0);
    expect(out).toContain('static-ct');
    expect(await chancery('log', 'info', '--tiles', at('nowhere'))).toBe(3);
  });

  it.each([
    ['neither', ['info']],
    ['both', ['info', '--tiles', 'x', '--url', 'http://x']],
    ['--log without --url', ['info', '--tiles', 'x', '--log', 'v1']],
    ['an unknown log', ['info', '--url', 'http://x', '--log', 'v3']],
    ['a URL that is none', ['info', '--url', 'x']],
    ['no --to', ['mirror', '--tiles', 'x']],
    ['two things to compare with', ['consistency', '--tiles', 'x', '--old', 'a', '--state', 'b']],
    ['nothing to search', ['search', '--url', 'http://x']],
    ['nobody to ask', ['search', '--email', 'a@b']],
    ['pages of a scan', ['search', '--scan', '--tiles', 'x', '--email', 'a@b', '--limit', '5']],
    ['a digest that is none', ['search', '--scan', '--tiles', 'x', '--digest', 'xyz']],
    ['two identities', ['tail', '--tiles', 'x', '--identity', 'a', '--san-regexp', 'b']],
    ['a bad expression', ['tail', '--tiles', 'x', '--san-regexp', '(']],
    ['no interval', ['tail', '--tiles', 'x', '--interval', '0']],
    ['too many threads', ['fsck', '--tiles', 'x', '--threads', '65']],
  ])('exits with 2 for %s', async (_, argv) => {
    expect(await chancery('log', ...argv)).toBe(2);
    expect(err).not.toBe('');
  });

  it('refuses another origin than the one that was asked for', async () => {
    expect(await tiles('checkpoint --origin log.example')).toBe(0);
    for (const command of ['checkpoint', 'fsck', 'consistency', `mirror --to ${at('m')}`]) {
      expect(await tiles(command, '--origin', 'other.example')).toBe(1);
    }
  });
});

describe('chancery log fsck', () => {
  it('says that a log is intact, and how fast it saw that', async () => {
    expect(await tiles('fsck')).toBe(0);
    expect(out).toContain('✓ intact: all 300 entries');
    expect(err).toMatch(/300 entries \(0 MB\) in .* entries\/s/);
    expect(await tiles('fsck', '--json')).toBe(0);
    expect(json()).toMatchObject({ ok: true, outcome: 'intact', entries: '300', problems: [] });
    expect(err).toBe('');
  });

  it('names the first bad byte', async () => {
    log.write(at('log'));
    changeObject(at('log'), 'tile/0/000', flipBit(770));
    expect(await chancery('log', 'fsck', '--tiles', at('log'))).toBe(1);
    expect(out).toContain('damaged, first tile/0/000, bytes 768 to 799 (log index 24): this hash is not the one');
    expect(out).toContain('not verified: give --trusted-root');
    expect(await chancery('log', 'fsck', '--tiles', at('log'), '--json')).toBe(1);
    expect(json()).toMatchObject({
      ok: false,
      problems: [{ object: 'tile/0/000', offset: 768, end: 800, logIndex: '24' }],
    });
  });

  it('cannot tell about what is unfinished elsewhere, nor about a log that is not there', async () => {
    for (const [path, bytes] of log.objects()) if (!path.includes('.p/')) writeObject(at('data'), path, bytes);
    expect(await chancery('log', 'fsck', '--tiles', at('data'))).toBe(6);
    expect(out).toContain('could not tell');
    server.answer = () => new Response('', { status: 404 });
    expect(await tiles('fsck')).toBe(6);
    expect(await tiles('fsck', '--json')).toBe(6);
    expect(json()).toMatchObject({ ok: false, error: { code: 'AUDIT_REFUSED' } });
  });

  it('has a bar on a terminal, and lines elsewhere', async () => {
    let now = 0;
    terminal.now = () => (now += 3000);
    expect(await tiles('fsck')).toBe(0);
    expect(err).toMatch(/^100 %, 300 of 300 entries checked/m);
    terminal.errColumns = 80;
    expect(await tiles('fsck')).toBe(0);
    expect(err).toContain('\r[##############################] 100 %');
    expect(err).toContain('\r\u001b[K');
  });
});

describe('chancery log consistency', () => {
  it('remembers, compares, and shows evidence that can be looked at again', async () => {
    expect(await tiles('consistency')).toBe(0);
    expect(out).toContain('First look at the log log.example');
    expect(existsSync(at('state/chancery/logs'))).toBe(true);
    show(log.grow(5));
    expect(await tiles('consistency')).toBe(0);
    expect(out).toBe('The log log.example has kept its first 300 entries; 5 came after them.\n');
    expect(await tiles('consistency', '--json')).toBe(0);
    expect(json()).toMatchObject({ ok: true, outcome: 'consistent', old: { treeSize: '305' }, hashes: [] });

    show(log.fork(304).grow(1, 'forged'));
    expect(await tiles('consistency', '--json')).toBe(1);
    const { kind, evidence } = json() as { kind: string; evidence: string };
    expect(kind).toBe('fork');
    expect(await tiles('consistency')).toBe(1);
    expect(err).toContain('INCONSISTENT (fork)');

    terminal.fetch = () => Promise.reject(new Error('no network'));
    expect(await chancery('log', 'consistency', '--evidence', evidence)).toBe(1);
    expect(out).toContain('the keys that the file itself names');
    expect(await chancery('log', 'consistency', '--evidence', evidence, '--verifier-key', vkey(), '--json')).toBe(1);
    expect(json()).toMatchObject({ outcome: 'inconsistent', kind: 'fork', signatures: 'trusted' });
    const text = await readFile(evidence, 'utf8');
    await writeFile(at('nothing'), text.replace('"fork"', '"rollback"'));
    expect(await chancery('log', 'consistency', '--evidence', at('nothing'))).toBe(6);
    await writeFile(at('nothing'), 'x');
    expect(await chancery('log', 'consistency', '--evidence', at('nothing'))).toBe(3);
  });

  it('has an exit code of its own for what it could not tell', async () => {
    expect(await tiles('consistency', '--state', at('s'))).toBe(0);
    show(new TestLog().grow(400));
    expect(await tiles('consistency', '--state', at('s'))).toBe(6);
    server.answer = () => new Response('', { status: 404 });
    expect(await tiles('consistency', '--state', at('s'))).toBe(6);
    expect(await tiles('consistency', '--state', at('s'), '--json')).toBe(6);
    expect(json()).toMatchObject({ ok: false, error: { code: 'AUDIT_REFUSED' } });
  });

  it('compares with a checkpoint that was kept', async () => {
    await writeFile(at('old'), log.note());
    show(log.fork(100).grow(500, 'forged'));
    expect(await tiles('consistency', '--old', at('old'))).toBe(1);
    expect(err).toContain('INCONSISTENT (rewritten)');
    await writeFile(at('other'), new TestLog('tlog-tiles', 'other.example').grow(1).note());
    expect(await chancery('log', 'consistency', '--tiles', 'http://log.example', '--old', at('other'))).toBe(1);
  });

  it('needs a place to remember', async () => {
    terminal.env = {};
    expect(await tiles('consistency')).toBe(2);
    terminal.env = { HOME: folder, XDG_STATE_HOME: 'relative' };
    expect(await tiles('consistency')).toBe(0);
    expect(existsSync(at('.local/state/chancery/logs'))).toBe(true);
  });
});

describe('chancery log mirror', () => {
  it('makes a copy that every command reads', async () => {
    expect(await tiles(`mirror --to ${at('m')}`)).toBe(0);
    expect(out).toContain('300 entries more, 300 in all');
    expect(await tiles(`mirror --to ${at('m')}`, '--json')).toBe(0);
    expect(json()).toMatchObject({ ok: true, from: '300', treeSize: '300', written: 0 });
    terminal.fetch = () => Promise.reject(new Error('no network'));
    for (const command of ['info', 'get 5', 'prove 299', 'fsck', 'tail']) {
      expect(await chancery('log', ...command.split(' '), '--tiles', at('m'), '--verifier-key', vkey())).toBe(0);
    }
  });

  it('refuses a log that forgot, and says where the evidence is', async () => {
    expect(await tiles(`mirror --to ${at('m')}`)).toBe(0);
    show(log.fork(200));
    expect(await tiles(`mirror --to ${at('m')}`)).toBe(1);
    const [, evidence = ''] = /Keep (\S+),/.exec(err) ?? [];
    expect(await chancery('log', 'consistency', '--evidence', evidence)).toBe(1);
  });
});

describe('chancery log tail', () => {
  const indexes = () =>
    out
      .trim()
      .split('\n')
      .filter(Boolean)
      .map((line) => Number(line.trim().split(/\s+/)[0]));

  it('shows the last ten entries, or those from an index on', async () => {
    expect(await tiles('tail')).toBe(0);
    expect(indexes()).toEqual([290, 291, 292, 293, 294, 295, 296, 297, 298, 299]);
    expect(await tiles('tail --from 298 --json')).toBe(0);
    const lines = out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines).toMatchObject([{ logIndex: '298', kind: 'unknown' }, { logIndex: '299' }]);
  });

  it('goes on from where it was, and follows until it is told to stop', async () => {
    const state = at('position.json');
    expect(await tiles('tail --from 298', '--state', state)).toBe(0);
    expect(indexes()).toEqual([298, 299]);
    show(log.grow(2));
    expect(await tiles('tail --from 0', '--state', state)).toBe(0);
    expect(indexes()).toEqual([300, 301]);

    const stop = new AbortController();
    terminal.stopSignal = () => stop.signal;
    terminal.err = (text) => {
      err += text;
      // It notes trouble, and is stopped while it waits.
      setTimeout(() => stop.abort(), 50);
    };
    server.answer = () => new Response('', { status: 404 });
    expect(await tiles('tail --follow', '--state', state)).toBe(0);
    expect(err).toContain('trying again');
    expect(indexes()).toEqual([]);
  });

  it('does not go on after a fork, nor from a position that somebody changed', async () => {
    const state = at('position.json');
    expect(await tiles('tail', '--state', state)).toBe(0);
    show(log.fork(299).grow(1, 'forged'));
    expect(await tiles('tail', '--state', state)).toBe(1);
    await writeFile(state, (await readFile(state, 'utf8')).replace('\\n300\\n', '\\n200\\n'));
    expect(await tiles('tail', '--state', state)).toBe(3);
  });
});

describe('chancery log search', () => {
  it('refuses an answer that is none', async () => {
    server.objects = new Map([['api/search', encodeUtf8('{}')]]);
    expect(await chancery('log', 'search', '--url', 'http://log.example', '--email', 'a@b')).toBe(4);
  });

  it('scans a log of anything, and finds nothing in it', async () => {
    expect(await tiles('search --scan --email a@b')).toBe(0);
    expect(err).toContain('0 of 300 entries');
    expect(await tiles('search --scan --log-index 5 --json')).toBe(0);
    expect(json()).toMatchObject({ ok: true, entries: [{ logIndex: '5' }] });
    expect(await tiles('search --scan --after 2026-01-01T00:00:00Z')).toBe(2);
  });

  it('does not say that nothing is there when not all could be read', async () => {
    log.write(at('log'));
    changeObject(at('log'), 'tile/entries/000', flipBit(770));
    expect(await chancery('log', 'search', '--scan', '--tiles', at('log'), '--email', 'a@b')).toBe(1);
    expect(err).toContain('entries may be missing here');
  });
});
