import { mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stateFolder, type Remembered, type SnapshotEntry } from './index.js';

const REPOSITORY = 'registry.example.com/ns/app';
const statement = `sha256:${'5'.repeat(64)}` as const;
const remembered = (version: number, latest = '2026-06-01T12:00:00.000Z'): Remembered => ({
  snapshot: { version, statement, issued: new Date('2026-06-01T12:00:00Z') },
  logs: [{ origin: 'log.example', index: 2n ** 60n }],
  latestTime: new Date(latest),
  tags: [{ tag: 'v1', state: 'current', version: 1, statement, digest: statement }],
  firstSeen: new Date('2026-06-01T11:00:00Z'),
});

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tags-state-'));
});
afterEach(() => rmSync(folder, { recursive: true }));
const fileIn = () => join(folder, readdirSync(folder).find((name) => name.endsWith('.json')) ?? '');

describe('stateFolder()', () => {
  it('gives back what was put in, for each repository its own', async () => {
    const state = stateFolder(join(folder, 'made', 'when-needed'));
    expect(await state.read(REPOSITORY)).toBeUndefined();
    await state.write(REPOSITORY, remembered(3));
    expect(await state.read(REPOSITORY)).toEqual(remembered(3));
    expect(await state.read(`${REPOSITORY}2`)).toBeUndefined();
    expect(await state.forget(REPOSITORY)).toBe(true);
    expect(await state.forget(REPOSITORY)).toBe(false);
    expect(await state.read(REPOSITORY)).toBeUndefined();
  });

  it('never goes back, in version or time, whoever writes last', async () => {
    const state = stateFolder(folder);
    await Promise.all([5, 9, 3, 7].map((version) => stateFolder(folder).write(REPOSITORY, remembered(version))));
    expect((await state.read(REPOSITORY))?.snapshot.version).toBe(9);
    await state.write(REPOSITORY, remembered(9, '2026-06-02T00:00:00.000Z'));
    await state.write(REPOSITORY, remembered(8, '2026-06-01T00:00:00.000Z'));
    expect((await state.read(REPOSITORY))?.latestTime).toEqual(new Date('2026-06-02'));
    expect(readdirSync(folder)).toHaveLength(1);
    expect(statSync(fileIn()).mode & 0o077).toBe(0);
  });

  it('forgets no tag and lets none go back, though what is written was compared with an older state', async () => {
    const tag = (name: string, version: number) => ({ ...remembered(1).tags[0], tag: name, version }) as SnapshotEntry;
    await stateFolder(folder).write(REPOSITORY, { ...remembered(2), tags: [tag('a', 2), tag('b', 1)] });
    await stateFolder(folder).write(REPOSITORY, { ...remembered(3), tags: [tag('a', 1), tag('c', 1)] });
    const state = await stateFolder(folder).read(REPOSITORY);
    expect(state?.snapshot.version).toBe(3);
    expect(new Map(state?.tags.map((entry) => [entry.tag, entry.version]))).toEqual(
      new Map([
        ['a', 2],
        ['b', 1],
        ['c', 1],
      ]),
    );
  });

  it('cannot be written where nothing can be, and says so', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(stateFolder(join(folder, 'file', 'state')).write(REPOSITORY, remembered(1))).rejects.toMatchObject({
      code: 'TAGS_STATE',
    });
  });

  it.each([
    ['long ago', -120_000],
    ['before somebody set the clock back', 3_600_000],
  ])('breaks a lock whose owner died %s', async (_, age) => {
    const state = stateFolder(folder);
    await state.write(REPOSITORY, remembered(1));
    const lock = `${fileIn()}.lock`;
    writeFileSync(lock, '');
    const long = new Date(Date.now() + age);
    utimesSync(lock, long, long);
    await state.write(REPOSITORY, remembered(2));
    expect((await state.read(REPOSITORY))?.snapshot.version).toBe(2);
  });

  it.each([
    ['empty', ''],
    ['not JSON', 'hello'],
    ['of another format', '{"format":"v2"}'],
    ['of another repository', undefined],
  ])('a file that is %s is an error, not a first use', async (_, text) => {
    const state = stateFolder(folder);
    await state.write(REPOSITORY, remembered(1));
    const file = fileIn();
    if (text === undefined) {
      await state.write('registry.example.com/other', remembered(1));
      const other =
        readdirSync(folder)
          .map((name) => join(folder, name))
          .find((name) => name !== file) ?? '';
      writeFileSync(file, await import('node:fs').then(({ readFileSync }) => readFileSync(other)));
    } else writeFileSync(file, text);
    await expect(state.read(REPOSITORY)).rejects.toMatchObject({ code: 'TAGS_STATE' });
    await expect(state.write(REPOSITORY, remembered(2))).rejects.toMatchObject({ code: 'TAGS_STATE' });
  });
});
