import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { concatBytes } from '#libs/encoding';
import { quoted, reasonOf, SimpleSigningError } from './error.js';
import { MAX_OBJECT } from './message.js';
import { type ImageName, isDigest, parseImageName, repositoryName } from './reference.js';

/** As many as containers/image reads of one image. */
const MAX_SIGNATURES = 128;
const MAX_REDIRECTS = 5;
const DEFAULT_TIMEOUT_MS = 30_000;

/** A folder or web site of signatures, as registries.d names it. */
export interface Lookaside {
  readonly base: string;
  /**
   * The signature objects of an image: `signature-1` and on, until one is missing. Nothing about them has been verified.
   * @throws SimpleSigningError `SIMPLE_LOOKASIDE`, `SIMPLE_TOO_LARGE`
   */
  read(image: ImageName, manifestDigest: string): Promise<Uint8Array[]>;
  /**
   * Stores a signature object under the next free number, whole or not at all, however many write at the same time.
   * @returns where it is
   * @throws SimpleSigningError `SIMPLE_LOOKASIDE`, also for a web site, which can only be read
   */
  write(image: ImageName, manifestDigest: string, object: Uint8Array): Promise<string>;
}

export interface LookasideOptions {
  /** The platform's `fetch`, for web sites. */
  readonly fetch: typeof globalThis.fetch;
  /** Milliseconds for one signature. Default 30 000. */
  readonly timeoutMs?: number;
}

/**
 * Opens a lookaside storage by its URL: `file:///srv/signatures`, `https://signatures.example.com/store`, or `http:`.
 * @throws SimpleSigningError `SIMPLE_LOOKASIDE_URL`
 */
export function openLookaside(base: string, options: LookasideOptions): Lookaside {
  const url = parseBase(base);
  return url.protocol === 'file:' ? openFolder(base, url) : openSite(base, url, options);
}

function parseBase(base: string): URL {
  const bad = (state: string) =>
    new SimpleSigningError('SIMPLE_LOOKASIDE_URL', `Cannot use lookaside storage ${quoted(base)}: ${state}`);
  // `file:store` and `file:/store` are read by URL parsers, and not by those of others.
  const url = /^[a-z]+:\/\//.test(base) && URL.canParse(base) ? new URL(base) : undefined;
  if (url === undefined || !['file:', 'http:', 'https:'].includes(url.protocol)) {
    throw bad('it must start with file:///, https:// or http://');
  }
  if (url.username !== '' || url.password !== '') throw bad('it must have no user name and no password');
  if (url.search !== '' || url.hash !== '') throw bad('it must have no query and no fragment');
  if (url.protocol === 'file:' && url.host !== '')
    throw bad('a folder has no host: write file:/// and its absolute path');
  if (/(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i.test(base.slice(base.indexOf('://') + 3)))
    throw bad('its path has a part "." or ".."');
  if (/%(?:2f|5c|00)/i.test(url.pathname)) throw bad('its path has an escaped separator');
  return url;
}

/**
 * Where a signature is below the base: `namespace/name@sha256=<hex>/signature-1`. The host is not in it: the base belongs to
 * one registry.
 * @throws SimpleSigningError `SIMPLE_REFERENCE` if the name or digest is malformed, so that no part of it can lead elsewhere
 * @see containers/image: docs/signature-protocols.md
 */
export function lookasidePath(image: ImageName, manifestDigest: string, number: number): string {
  const name = repositoryName(image);
  // Whoever made the value need not have got it from our parser.
  if (repositoryName(parseImageName(name)) !== name || !isDigest(manifestDigest)) {
    throw new SimpleSigningError(
      'SIMPLE_REFERENCE',
      `Cannot find signatures of ${quoted(name)}: its name or digest is malformed`,
    );
  }
  return `${image.path}@${manifestDigest.replace(':', '=')}/signature-${number}`;
}

type ReadOne = (path: string) => Promise<Uint8Array | undefined>;

async function readAll(image: ImageName, manifestDigest: string, readOne: ReadOne): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  for (;;) {
    const object = await readOne(lookasidePath(image, manifestDigest, found.length + 1));
    if (object === undefined) return found;
    if (found.length === MAX_SIGNATURES) {
      throw new SimpleSigningError(
        'SIMPLE_TOO_LARGE',
        `Cannot read signatures of ${repositoryName(image)}: more than ${MAX_SIGNATURES}`,
      );
    }
    found.push(object);
  }
}

function openFolder(base: string, url: URL): Lookaside {
  const root = fileURLToPath(url);
  return {
    base,
    read: (image, manifestDigest) => readAll(image, manifestDigest, (path) => readFileBounded(join(root, path))),
    async write(image, manifestDigest, object) {
      if (object.length > MAX_OBJECT) throw tooLarge(root);
      const first = join(root, lookasidePath(image, manifestDigest, 1));
      const temporary = join(dirname(first), `.signature.${randomBytes(8).toString('hex')}`);
      try {
        await mkdir(dirname(first), { recursive: true });
        const file = await open(temporary, 'wx', 0o644);
        try {
          await file.writeFile(object);
          // Before it gets its name: else a power cut may leave the name with no content.
          await file.sync();
        } finally {
          await file.close();
        }
        return await publish(temporary, root, image, manifestDigest);
      } catch (cause) {
        if (cause instanceof SimpleSigningError) throw cause;
        throw new SimpleSigningError('SIMPLE_LOOKASIDE', `Cannot write ${dirname(first)}: ${reasonOf(cause)}`, {
          cause,
        });
      } finally {
        await rm(temporary, { force: true });
      }
    },
  };
}

/** Gives the finished file the first name that is free. A link fails if somebody was faster, and then the next number is tried: no gap, no overwriting. */
async function publish(temporary: string, root: string, image: ImageName, manifestDigest: string): Promise<string> {
  for (let number = 1; number <= MAX_SIGNATURES; number++) {
    const path = join(root, lookasidePath(image, manifestDigest, number));
    try {
      await link(temporary, path);
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  throw new SimpleSigningError(
    'SIMPLE_LOOKASIDE',
    `Cannot write signature: ${repositoryName(image)} has ${MAX_SIGNATURES} already`,
  );
}

async function readFileBounded(path: string): Promise<Uint8Array | undefined> {
  try {
    // A pipe in place of the file must not make us wait for a writer.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new SimpleSigningError('SIMPLE_LOOKASIDE', `Cannot read ${path}: it is not a file`);
      if (status.size > MAX_OBJECT) throw tooLarge(path);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof SimpleSigningError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new SimpleSigningError('SIMPLE_LOOKASIDE', `Cannot read ${path}: ${code ?? reasonOf(cause)}`, { cause });
  }
}

function openSite(base: string, url: URL, { fetch, timeoutMs = DEFAULT_TIMEOUT_MS }: LookasideOptions): Lookaside {
  const prefix = url.href.replace(/\/$/, '');
  return {
    base,
    // `@` and `=` stand for themselves in a path (RFC 3986 §3.3); nothing else in it needs an escape.
    read: (image, manifestDigest) => readAll(image, manifestDigest, (path) => get(new URL(`${prefix}/${path}`))),
    write: async () => {
      throw new SimpleSigningError(
        'SIMPLE_LOOKASIDE',
        `Cannot write to ${base}: a web site can only be read; write to a folder (lookaside-staging) and publish that`,
      );
    },
  };

  async function get(address: URL): Promise<Uint8Array | undefined> {
    const signal = AbortSignal.timeout(timeoutMs);
    try {
      const response = await follow(address, signal);
      if (response.status === 404) {
        await response.body?.cancel();
        return undefined;
      }
      if (response.status !== 200) {
        await response.body?.cancel();
        throw unreadable(address, `it answered ${response.status}`);
      }
      return await readBody(address, response);
    } catch (cause) {
      if (cause instanceof SimpleSigningError) throw cause;
      const reason = signal.aborted ? `no complete answer within ${timeoutMs / 1000} s` : networkReason(cause);
      throw unreadable(address, reason, cause);
    }
  }

  /** Signatures prove themselves, and no credentials are sent: only the way back to plain HTTP is barred. */
  async function follow(address: URL, signal: AbortSignal): Promise<Response> {
    let at = address;
    for (let hops = 0; ; hops++) {
      const response = await fetch(at.href, { redirect: 'manual', signal, headers: { accept: '*/*' } });
      const location = response.headers.get('location');
      if (response.status < 300 || response.status >= 400 || response.status === 304 || location === null)
        return response;
      await response.body?.cancel();
      if (hops === MAX_REDIRECTS) throw unreadable(address, `more than ${MAX_REDIRECTS} redirects`);
      const next = URL.canParse(location, at.href) ? new URL(location, at) : undefined;
      const allowed =
        next !== undefined && (next.protocol === 'https:' || (next.protocol === 'http:' && at.protocol === 'http:'));
      if (!allowed || next.username !== '')
        throw unreadable(address, 'it redirects to an address that is not followed');
      at = next;
    }
  }
}

async function readBody(address: URL, response: Response): Promise<Uint8Array> {
  if (Number(response.headers.get('content-length') ?? 0) > MAX_OBJECT) {
    await response.body?.cancel();
    throw tooLarge(address.href);
  }
  if (response.body === null) return new Uint8Array();
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return concatBytes(...chunks);
    length += value.length;
    if (length > MAX_OBJECT) {
      await reader.cancel();
      throw tooLarge(address.href);
    }
    chunks.push(value);
  }
}

/** `fetch` says only "fetch failed"; why is in the cause. */
function networkReason(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  return reasonOf(cause ?? error);
}

function unreadable(address: URL, state: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_LOOKASIDE', `Cannot read ${address.href}: ${state}`, { cause });
}

function tooLarge(where: string): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_TOO_LARGE', `Cannot use signature ${where}: more than ${MAX_OBJECT} bytes`);
}
