import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeHex, encodeUtf8, parseJson, type JsonValue } from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import { AuditError, reasonOf } from './error.js';
import { listFolder, makeFolder, writeDurably } from './files.js';
import { folderSource } from './source.js';
import { claimedSigner, readCheckpoint, type LogHead, type LogKey, type LogTrust } from './trust.js';

/** What an auditor remembers of a log: the newest checkpoint that was verified, as the log signed it. */
export interface LogState {
  head: LogHead;
  /** The key that signed, if it was verified: the log is held to it even when no trust is given later. */
  key: LogKey | undefined;
  /** Where the log was read. */
  locations: string[];
  firstSeen: Date;
  lastChecked: Date;
}

const FORMAT = 'chancery-log-state/v1';
const MAX_STATE_BYTES = 1 << 18;
const MAX_LOCATIONS = 100;
const LOCK_PATIENCE_MS = 5_000;
const LOCK_STALE_MS = 60_000;

/** Whether what a file says of a log is about the one at hand. */
export type IsRelevant = (state: { note: string; locations: string[] }) => boolean;

/** How a log is told from others: by its origin and the name and id of its key. */
export function identityOf({ origin, note, signedBy }: LogHead): string {
  if (signedBy === undefined) {
    const { name, keyId } = claimedSigner(note);
    return `${origin}\n${name}+${keyId}`;
  }
  return `${origin}\n${signedBy.verifierKey.slice(0, signedBy.verifierKey.indexOf('+'))}+${signedBy.keyId}`;
}

/**
 * A folder with one file a log. What a file says is verified again each time: the note by its signature.
 */
export class StateFolder {
  constructor(readonly folder: string) {}

  /**
   * All that is remembered. Each note is verified by `trust`, or if there is none by the key that it was pinned with.
   * @throws AuditError `AUDIT_STATE` if a file is not what was written, `AUDIT_FOLDER`
   */
  async load(trust: LogTrust, isOf: IsRelevant): Promise<LogState[]> {
    const names = (await listFolder(this.folder)).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
    const states: LogState[] = [];
    for (const name of names) {
      const state = await this.#read(name, trust, isOf);
      if (state !== undefined) states.push(state);
    }
    return states;
  }

  /**
   * Remembers a head, unless what is there is newer by now: another auditor may have been faster.
   * @throws AuditError `AUDIT_FOLDER`
   */
  async save(state: LogState): Promise<void> {
    await makeFolder(this.folder);
    const name = fileName(state.head);
    const file = join(this.folder, name);
    const unlock = await lock(`${file}.lock`);
    try {
      // Not verified again: whatever is larger is left alone, and judged by who loads it.
      const present = await this.#read(name, { nowMs: 0 }, () => true, false);
      if (present !== undefined && present.head.size > state.head.size) return;
      await writeDurably(file, encodeState(state));
    } finally {
      await unlock();
    }
  }

  async #read(name: string, trust: LogTrust, isOf: IsRelevant, isVerified = true): Promise<LogState | undefined> {
    const bytes = await folderSource(this.folder).read(name, MAX_STATE_BYTES);
    if (bytes === undefined) return undefined;
    try {
      const { note, key, ...rest } = parseState(bytes);
      const claimed = await readCheckpoint(note, { nowMs: trust.nowMs });
      if (!isOf({ note, locations: rest.locations })) return undefined;
      const hasTrust = trust.trustedRoot !== undefined || trust.logKeys !== undefined;
      const believed = hasTrust || key === undefined ? trust : { ...trust, logKeys: [key] };
      const head = isVerified ? await readCheckpoint(note, believed) : claimed;
      if (fileName(head) !== name) throw new Error('it is of another log than its name says');
      return { ...rest, key, head };
    } catch (cause) {
      throw new AuditError('AUDIT_STATE', `Cannot use the state file ${join(this.folder, name)}: ${reasonOf(cause)}`, {
        cause,
        cure: 'Somebody changed it, or the keys to believe are others than when it was written. Compare it with a copy; without it the log is pinned anew',
      });
    }
  }
}

function fileName(head: LogHead): string {
  return `${encodeHex(sha256(encodeUtf8(identityOf(head))))}.json`;
}

function encodeState({ head, key, locations, firstSeen, lastChecked }: LogState): string {
  const file = {
    format: FORMAT,
    origin: head.origin,
    key: key ?? null,
    locations,
    firstSeen: firstSeen.toISOString(),
    lastChecked: lastChecked.toISOString(),
    checkpoint: head.note,
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

function parseState(bytes: Uint8Array): Omit<LogState, 'head'> & { note: string } {
  const file = parseJson(bytes);
  if (!isObject(file) || file['format'] !== FORMAT) throw new Error(`its format is not ${FORMAT}`);
  const { checkpoint, locations, key } = file;
  if (typeof checkpoint !== 'string') throw new Error('it has no checkpoint');
  if (!Array.isArray(locations) || locations.length > MAX_LOCATIONS) throw new Error('it has no list of locations');
  return {
    note: checkpoint,
    key: key === null ? undefined : parseKey(key),
    locations: locations.map((one) => {
      if (typeof one !== 'string') throw new Error('a location is no text');
      return one;
    }),
    firstSeen: parseTime(file['firstSeen']),
    lastChecked: parseTime(file['lastChecked']),
  };
}

function parseKey(value: JsonValue | undefined): LogKey {
  const key = isObject(value) ? value : {};
  const { verifierKey, keyId } = key;
  if (typeof verifierKey !== 'string' || typeof keyId !== 'string' || !/^[0-9a-f]{8}$/.test(keyId)) {
    throw new Error('its key is malformed');
  }
  return { verifierKey, keyId };
}

function parseTime(value: JsonValue | undefined): Date {
  const time = typeof value === 'string' ? new Date(value) : new Date(Number.NaN);
  if (Number.isNaN(time.getTime())) throw new Error('a time is malformed');
  return time;
}

function isObject(value: JsonValue | undefined): value is { [name: string]: JsonValue } {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Only one auditor at a time writes a log's file. A lock whose owner died is broken after a minute. */
async function lock(file: string): Promise<() => Promise<void>> {
  for (const until = Date.now() + LOCK_PATIENCE_MS; ;) {
    try {
      await (await open(file, 'wx')).close();
      return () => rm(file, { force: true });
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST')
        throw new AuditError('AUDIT_FOLDER', `Cannot lock ${file}: ${reasonOf(cause)}`, { cause });
      const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() }));
      if (Date.now() - mtimeMs > LOCK_STALE_MS) await rm(file, { force: true });
      else if (Date.now() > until)
        throw new AuditError('AUDIT_FOLDER', `Cannot lock ${file}: another audit holds it`, {
          cause,
          cure: 'Wait for the other audit, or remove the file if there is none',
        });
      else await new Promise((done) => setTimeout(done, 50));
    }
  }
}
