import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { IssuedStore } from '../../ca/src/issued-store.js';
import type { Terminal } from './config.js';
import { run } from './program.js';

const now = Date.parse('2026-03-04T12:00:00Z');
let folder: string;
let file: string;
let store: IssuedStore;
let out: string;
let err: string;
const terminal: Terminal = {
  out: (text) => void (out += text),
  err: (text) => void (err += text),
  colours: { out: false, err: false },
  columns: undefined,
  env: {},
  fetch: () => Promise.reject(new Error('no network')),
  now: () => now,
};

/** Hour by hour until now; the last one by a person, the others by workflows. */
const count = 6;
const serialOf = (n: number): string => `0${n}`.repeat(20);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'chancery-cli-issued-'));
  file = join(folder, 'ca.db');
  // Open all the time, as by a CA that runs.
  store = await IssuedStore.open({ file, create: true });
  for (let n = 0; n < count; n++) {
    const isPerson = n === count - 1;
    await store.append({
      serial: serialOf(n),
      notBeforeMs: now - (count - n) * 3_600_000,
      identity: isPerson ? 'alice@example.com' : `https://github.com/o/r/.github/workflows/w.yml@refs/tags/v${n}`,
      sanKind: isPerson ? 'email' : 'uri',
      issuer: isPerson ? 'https://accounts.example' : 'https://token.actions.example',
      subject: `subject ${n}`,
      requestId: n === 2 ? 'evil\u001b[31m' : `request-${n}`,
      fingerprint: 'ab'.repeat(32),
      scts: [{ logId: 'cd'.repeat(32), timestampMs: now, ...(isPerson ? {} : { leafIndex: BigInt(n) }) }],
    });
  }
});
afterAll(async () => {
  await store.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => {
  out = '';
  err = '';
});

const issued = (...argv: string[]) => {
  out = '';
  err = '';
  return run(['ca', 'issued', ...argv], terminal);
};
const found = async (...argv: string[]): Promise<string[]> => {
  expect(await issued('--file', file, '--json', ...argv)).toBe(0);
  return (JSON.parse(out) as { certificates: { serial: string }[] }).certificates.map(({ serial }) => serial);
};
const serials = (...numbers: number[]) => numbers.map(serialOf);

describe('chancery ca issued', () => {
  it('prints a table, newest first', async () => {
    expect(await issued('--file', file, '--limit', '2')).toBe(0);
    const [head = '', first = '', second = '', ...rest] = out.split('\n');
    expect(head).toMatch(/^TIME +IDENTITY +ISSUER +SERIAL +CT +REQUEST$/);
    expect(first).toMatch(
      /^2026-03-04T11:00:00Z {2}alice@example\.com +https:\/\/accounts\.example +(05){20} {2}yes {2}request-5$/,
    );
    expect(second).toContain('2026-03-04T10:00:00Z');
    expect(rest).toEqual(['']);
    expect(err).toMatch(/^2 certificates; older ones with --before \d+-\d+\n$/);
  });

  it('prints JSON with everything that is known', async () => {
    expect(await issued('--file', file, '--json', '--serial', serialOf(4))).toBe(0);
    expect(JSON.parse(out)).toEqual({
      ok: true,
      certificates: [
        {
          serial: serialOf(4),
          notBefore: '2026-03-04T10:00:00.000Z',
          identity: 'https://github.com/o/r/.github/workflows/w.yml@refs/tags/v4',
          identityKind: 'uri',
          issuer: 'https://token.actions.example',
          subject: 'subject 4',
          requestId: 'request-4',
          fingerprint: 'ab'.repeat(32),
          scts: [{ logId: 'cd'.repeat(32), timestamp: '2026-03-04T12:00:00.000Z', leafIndex: '4' }],
        },
      ],
      next: null,
    });
    expect(err).toBe('');
  });

  it.each<[string, string[], number[]]>([
    ['all', [], [5, 4, 3, 2, 1, 0]],
    ['an identity', ['--identity', 'alice@example.com'], [5]],
    ['an issuer', ['--issuer', 'https://token.actions.example', '--limit', '2'], [4, 3]],
    ['a serial as others write it', ['--serial', `0x${'3:'.replace('3', '03').repeat(20).slice(1, -1)}`], [3]],
    ['a request', ['--request', 'request-1'], [1]],
    ['how long ago', ['--since', '150m'], [5, 4]],
    ['a time', ['--since', '2026-03-04T07:00:00Z', '--until', '2026-03-04T09:00:00+00:00'], [2, 1]],
    ['a date', ['--since', '2026-03-05'], []],
  ])('finds by %s', async (_name, flags, expected) => {
    expect(await found(...flags)).toEqual(serials(...expected));
  });

  it('goes through pages', async () => {
    const all: string[] = [];
    let before: string | null = null;
    do {
      all.push(...(await found('--limit', '4', ...(before === null ? [] : ['--before', before]))));
      before = (JSON.parse(out) as { next: string | null }).next;
    } while (before !== null);
    expect(all).toEqual(serials(5, 4, 3, 2, 1, 0));
  });

  it('prints nothing that drives a terminal', async () => {
    await issued('--file', file);
    expect(out).not.toContain('\u001b');
    await issued('--file', file, '--json');
    expect(out).not.toContain('\u001b');
  });

  it('reads the data folder of a service', async () => {
    expect(await issued('--data', folder, '--limit', '1')).toBe(0);
    expect(out).toContain('alice@example.com');
  });

  it.each<[string, string[], number, RegExp]>([
    ['a file that is not there', ['--file', '/nowhere/ca.db'], 3, /there is none/],
    ['two places', ['--file', 'a', '--data', 'b'], 2, /name two of them/],
    ['a time without zone', ['--file', 'x', '--since', '2026-03-04T10:00:00'], 2, /Cannot read --since/],
    ['a day that is none', ['--file', 'x', '--until', '2026-13-40'], 2, /Cannot read --until/],
    ['a serial that is no number', ['--file', 'x', '--serial', 'xyz'], 2, /expected up to 40 hexadecimal digits/],
    ['a cursor that is none', ['--file', 'x', '--before', '7'], 2, /--before/],
    ['no page', ['--file', 'x', '--limit', '0'], 2, /from 1 to 10000/],
  ])('refuses %s', async (_name, flags, exit, message) => {
    expect(await issued(...flags)).toBe(exit);
    expect(err).toMatch(message);
    expect(out).toBe('');
  });

  it('refuses a file of something else', async () => {
    const other = join(folder, 'other');
    await mkdir(other);
    await writeFile(join(other, 'ca.db'), 'no database'.repeat(100));
    expect(await issued('--data', other)).toBe(3);
    expect(err).toContain('damaged');
  });
});

describe('chancery ca', () => {
  it('explains its commands with examples', async () => {
    for (const [command, text] of [
      ['issued', '--identity alice@example.com --since 7d'],
      ['explain-token', '--config issuers.yaml token.txt'],
    ] as const) {
      out = '';
      expect(await run(['ca', command, '--help'], terminal)).toBe(0);
      expect(out).toContain(`$ chancery ca ${command}`);
      expect(out).toContain(text);
    }
  });
});
