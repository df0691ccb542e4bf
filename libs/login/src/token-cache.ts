import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { link, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LoginError } from './error.js';
import type { Login, LoginSettings } from './options.js';

/**
 * Tokens of this login session, for whoever asked to keep them.
 *
 * The token is encrypted with AES-256-GCM; the ciphertext lies in the cache folder, the key (32 random bytes) in the runtime folder, which is in
 * memory, belongs to one user, and goes away with the last of their sessions. So a backup, a home folder on a file server or a stolen disk give
 * nothing. It does not protect from another program that runs as the same user while the session lasts: that one can read both.
 */
export interface TokenCache {
  /** The token kept for these settings, if it is good for another half minute at least. Whatever has expired or cannot be read is removed. */
  read(settings: LoginSettings): Promise<Login | undefined>;
  /** Keeps a token until it expires. */
  write(settings: LoginSettings, login: Login): Promise<void>;
  /** Removes all tokens and the key. Returns how many tokens there were. */
  clear(): Promise<number>;
}

export interface TokenCacheOptions {
  /** `XDG_RUNTIME_DIR`, and `XDG_CACHE_HOME` or `HOME`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly now: () => number;
  /** Told when a file was not what it should be. */
  readonly note: (message: string) => void;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const MAX_FILE_BYTES = 64 * 1024;
/** A token that is over before the certificate is asked for is worth nothing. */
const MIN_LIFETIME_MS = 30_000;
const NAME = /^[0-9a-f]{64}\.(\d{1,16})$/;

/**
 * Opens the cache; nothing is created before the first token is kept.
 * @throws LoginError `LOGIN_CACHE` if there is no place for the key that belongs to this session and this user alone
 * @see XDG Base Directory Specification
 */
export async function openTokenCache({ env, now, note }: TokenCacheOptions): Promise<TokenCache> {
  const runtime = env['XDG_RUNTIME_DIR'] ?? '';
  const home = env['XDG_CACHE_HOME'] || (env['HOME'] === undefined ? '' : join(env['HOME'], '.cache'));
  if (runtime === '' || !runtime.startsWith('/')) {
    throw refused('there is no XDG_RUNTIME_DIR, where its key could live for this session');
  }
  if (!home.startsWith('/')) throw refused('there is neither XDG_CACHE_HOME nor HOME');
  await checkPrivate(runtime, 'the runtime folder');
  const keyFolder = join(runtime, 'chancery');
  const keyPath = join(keyFolder, 'token-key');
  const folder = join(home, 'chancery', 'tokens');

  const remove = (name: string): Promise<void> => rm(join(folder, name), { force: true });
  const names = async (): Promise<string[]> => {
    const found = await readdir(folder).catch(absent);
    return (found ?? []).filter((name) => NAME.test(name) || name.startsWith('.'));
  };
  /** Nobody else clears them away: there is no daemon. The time is in the name, so that the key is not needed for it. */
  const removeExpired = async (): Promise<void> => {
    const over = (await names()).filter((name) => Number(NAME.exec(name)?.[1] ?? Infinity) <= now());
    await Promise.all(over.map(remove));
  };

  return {
    async read(settings) {
      await removeExpired();
      const slot = slotOf(settings);
      const name = (await names()).find((candidate) => candidate.startsWith(`${slot}.`));
      if (name === undefined) return undefined;
      const login = await unseal(name).catch(async (error: unknown) => {
        if (error instanceof LoginError) throw error;
        note('a cached token could not be read and was removed');
        await remove(name);
        return undefined;
      });
      return login !== undefined && login.expiresAt.getTime() - now() >= MIN_LIFETIME_MS ? login : undefined;
    },

    async write(settings, login) {
      await removeExpired();
      const slot = slotOf(settings);
      const name = `${slot}.${login.expiresAt.getTime()}`;
      const key = (await readKey()) ?? (await createKey());
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(name));
      const sealed = Buffer.concat([nonce, cipher.update(JSON.stringify(login)), cipher.final(), cipher.getAuthTag()]);
      const older = (await names()).filter((candidate) => candidate.startsWith(`${slot}.`) && candidate !== name);
      await writePrivate(folder, name, sealed);
      await Promise.all(older.map(remove));
    },

    async clear() {
      const found = await names();
      await Promise.all(found.map(remove));
      await rm(keyPath, { force: true });
      return found.filter((name) => NAME.test(name)).length;
    },
  };

  async function unseal(name: string): Promise<Login> {
    const key = await readKey();
    if (key === undefined) throw new Error('The key of an earlier session is gone');
    const sealed = await readPrivate(join(folder, name), MAX_FILE_BYTES);
    const nonce = sealed.subarray(0, NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      // The name: for whom the token is, and how long. A file that was moved or renamed does not open.
      .setAAD(Buffer.from(name))
      .setAuthTag(sealed.subarray(-TAG_BYTES));
    const text = Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
    const login = JSON.parse(text.toString('utf8')) as Omit<Login, 'expiresAt'> & { expiresAt: string }; // what `write` sealed
    return { ...login, expiresAt: new Date(login.expiresAt) };
  }

  async function readKey(): Promise<Buffer | undefined> {
    const status = await lstat(keyPath).catch(absent);
    if (status === undefined) return undefined;
    await checkPrivate(keyPath, 'the key of the token cache');
    const key = await readPrivate(keyPath, KEY_BYTES);
    if (key.length === KEY_BYTES) return key;
    note('the key of the token cache was damaged and was replaced');
    await rm(keyPath, { force: true });
    return undefined;
  }

  /** Under its name there is never a part of a key, and of two processes that make one the first wins. */
  async function createKey(): Promise<Buffer> {
    const temporary = `.${randomBytes(8).toString('hex')}`;
    await writePrivate(keyFolder, temporary, randomBytes(KEY_BYTES));
    try {
      await link(join(keyFolder, temporary), keyPath);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw unusable('make its key', error);
    } finally {
      await rm(join(keyFolder, temporary), { force: true });
    }
    const key = await readKey();
    if (key === undefined) throw refused('its key vanished while it was made');
    return key;
  }
}

/** All that decides whose token comes back. One file for each. */
function slotOf({ issuer, clientId, scopes, audience, connectorId, extra, flow }: LoginSettings): string {
  const binding = [
    'chancery token cache 1',
    issuer,
    clientId,
    [...(scopes ?? [])].sort(),
    audience ?? null,
    connectorId ?? null,
    Object.entries(extra ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)),
    // A person's token is the same person's however they signed in; a program's is not.
    flow === 'client-credentials',
  ];
  return createHash('sha256').update(JSON.stringify(binding)).digest('hex');
}

/** @throws LoginError `LOGIN_CACHE` if others than this user may read or change it */
async function checkPrivate(path: string, what: string): Promise<void> {
  const status = await lstat(path).catch((cause: unknown) => {
    throw unusable(`use ${what} ${path}`, cause);
  });
  if (status.uid !== process.getuid?.()) throw refused(`${what} ${path} belongs to another user`);
  if ((status.mode & 0o077) !== 0) throw refused(`${what} ${path} is open to other users`);
}

async function readPrivate(path: string, limit: number): Promise<Buffer> {
  const { size } = await lstat(path);
  if (size > limit) throw new Error('The file is too large');
  return readFile(path);
}

/** Under its name there is either nothing, the old content, or all of the new one. */
async function writePrivate(folder: string, name: string, content: Uint8Array): Promise<void> {
  const temporary = join(folder, `.${randomBytes(8).toString('hex')}`);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
    } finally {
      await file.close();
    }
    await rename(temporary, join(folder, name));
  } catch (cause) {
    await rm(temporary, { force: true });
    throw unusable('write to it', cause);
  }
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw unusable('look into it', error);
}

function unusable(action: string, cause: unknown): LoginError {
  const { code } = cause as NodeJS.ErrnoException;
  return new LoginError(
    'LOGIN_CACHE',
    `Cannot use the token cache: it was not possible to ${action} (${code ?? 'unknown reason'})`,
    {
      cause,
      cure: CURE,
    },
  );
}

function refused(state: string): LoginError {
  return new LoginError('LOGIN_CACHE', `Cannot use the token cache: ${state}`, { cure: CURE });
}

const CURE = 'Do without --cache-token, or run in a login session whose XDG_RUNTIME_DIR only you can read';
