import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { JsonMessage, type JsonFault } from '#libs/bundle';
import { encodeUtf8, EncodingError, parseJson } from '#libs/encoding';
import { digestOf, isDigest, isTag, splitDigest, type Digest } from '#libs/oci';
import { reasonOf, TagError } from './error.js';
import type { Remembered, TagMemory } from './memory.js';
import { MAX_TAGS, type SnapshotEntry } from './statement.js';

const FORMAT = 'chancery-trusted-tags-state/v1';
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_LOGS = 32;
const LOCK_PATIENCE_MS = 5_000;
const LOCK_STALE_MS = 60_000;

/**
 * A folder with one file for each repository, named by the SHA-256 of its name. A file is replaced as a whole, and only under a lock that
 * looks again: two clients at once never go back.
 */
export function stateFolder(folder: string): TagMemory {
  const fileOf = (repository: string) => join(folder, `${splitDigest(digestOf(encodeUtf8(repository))).hex}.json`);
  return {
    read: (repository) => readState(fileOf(repository), repository),

    async write(repository, remembered) {
      const file = fileOf(repository);
      await mkdir(folder, { recursive: true, mode: 0o700 }).catch((cause: unknown) => {
        throw unusable(folder, cause);
      });
      const unlock = await lock(`${file}.lock`);
      try {
        const present = await readState(file, repository);
        await replace(file, encodeState(repository, present === undefined ? remembered : newer(present, remembered)));
      } finally {
        await unlock();
      }
    },

    async forget(repository) {
      const file = fileOf(repository);
      const isThere = await stat(file).then(
        () => true,
        () => false,
      );
      await rm(file, { force: true }).catch((cause: unknown) => {
        throw unusable(file, cause);
      });
      return isThere;
    },
  };
}

/**
 * The one with the higher version; the clock never goes back with either. What `given` was compared with may be older than what is there by now, so
 * that no tag is forgotten either, and none goes back: where it should have, the next verification objects.
 */
function newer(present: Remembered, given: Remembered): Remembered {
  const base = given.snapshot.version >= present.snapshot.version ? given : present;
  const latestTime = present.latestTime > given.latestTime ? present.latestTime : given.latestTime;
  const tags = new Map(base.tags.map((entry) => [entry.tag, entry]));
  for (const entry of [...present.tags, ...given.tags]) {
    const known = tags.get(entry.tag);
    if (known === undefined || entry.version > known.version) tags.set(entry.tag, entry);
  }
  return { ...base, tags: [...tags.values()], latestTime, firstSeen: present.firstSeen };
}

async function readState(file: string, repository: string): Promise<Remembered | undefined> {
  let bytes: Uint8Array;
  try {
    if ((await stat(file)).size > MAX_BYTES) throw new Error(`it has more than ${MAX_BYTES} bytes`);
    bytes = await readFile(file);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unusable(file, cause);
  }
  try {
    return parseState(bytes, repository);
  } catch (cause) {
    if (!(cause instanceof TagError || cause instanceof EncodingError)) throw cause;
    throw unusable(file, cause);
  }
}

function encodeState(repository: string, { snapshot, logs, latestTime, tags, firstSeen }: Remembered): string {
  const file = {
    format: FORMAT,
    repository,
    firstSeen: firstSeen.toISOString(),
    latestTime: latestTime.toISOString(),
    snapshot: { ...snapshot, issued: snapshot.issued.toISOString() },
    logs: logs.map(({ origin, index }) => ({ origin, index: index.toString() })),
    tags,
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

function parseState(bytes: Uint8Array, repository: string): Remembered {
  const refuse = (_: JsonFault, problem: string) => new TagError('TAGS_MALFORMED', problem);
  const file = new JsonMessage(parseJson(bytes), '', refuse);
  if (file.requiredString('format') !== FORMAT) throw file.fault('malformed', 'format', `is not ${FORMAT}`);
  if (file.requiredString('repository') !== repository) {
    throw file.fault('malformed', 'repository', 'is another than its name says');
  }
  const snapshot = file.requiredMessage('snapshot');
  return {
    snapshot: {
      version: Number(snapshot.count64('version')),
      statement: digestIn(snapshot, 'statement'),
      issued: timeIn(snapshot, 'issued'),
    },
    logs: file
      .messages('logs', MAX_LOGS)
      .map((log) => ({ origin: log.requiredString('origin'), index: log.count64('index') })),
    latestTime: timeIn(file, 'latestTime'),
    firstSeen: timeIn(file, 'firstSeen'),
    tags: file.messages('tags', MAX_TAGS).map(readEntry),
  };
}

function readEntry(entry: JsonMessage): SnapshotEntry {
  const tag = entry.requiredString('tag');
  const state = entry.requiredString('state');
  if (!isTag(tag)) throw entry.fault('malformed', 'tag', 'is not a tag');
  if (state !== 'current' && state !== 'revoked') throw entry.fault('malformed', 'state', 'is not current or revoked');
  return {
    tag,
    state,
    version: Number(entry.count64('version')),
    statement: digestIn(entry, 'statement'),
    digest: digestIn(entry, 'digest'),
  };
}

function digestIn(message: JsonMessage, name: string): Digest {
  const text = message.requiredString(name);
  if (!isDigest(text)) throw message.fault('malformed', name, 'is not a digest');
  return text;
}

function timeIn(message: JsonMessage, name: string): Date {
  const time = message.time(name);
  if (time === undefined) throw message.fault('malformed', name, 'is missing');
  return time;
}

/** Under the name there is either the old content or all of the new one, also after a power cut. */
async function replace(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw unusable(file, cause);
  }
}

/** One writer at a time. A lock whose owner died is broken after a minute; writing takes milliseconds. */
async function lock(file: string): Promise<() => Promise<void>> {
  for (const until = Date.now() + LOCK_PATIENCE_MS; ;) {
    try {
      await (await open(file, 'wx')).close();
      return () => rm(file, { force: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable(file, cause);
      const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }));
      // Also one of the future: it is from before somebody set the clock back.
      if (Math.abs(Date.now() - mtimeMs) > LOCK_STALE_MS) await rm(file, { force: true });
      else if (Date.now() > until) throw unusable(file, new Error('another process holds it'));
      else await new Promise((done) => setTimeout(done, 20));
    }
  }
}

function unusable(file: string, cause: unknown): TagError {
  return new TagError('TAGS_STATE', `Cannot use the state file ${file}: ${reasonOf(cause)}`, {
    cause,
    cure: 'It remembers what this client has seen. If it is lost, run `chancery tag forget`, and what is verified next is pinned anew',
  });
}
