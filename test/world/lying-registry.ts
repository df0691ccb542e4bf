/**
 * A registry that lies, by one lie at a time: what honest clients of a dishonest registry must see through.
 *
 *     const registry = await startLyingRegistry();
 *     registry.lie = lies.endlessBody(/\/manifests\//);
 */
import type { ServerResponse } from 'node:http';
import { TestRegistry, type AskedRequest, type TestRegistryOptions } from './registry.js';

/** Answers a request instead of the registry; false leaves it to the registry. */
export type Lie = (asked: AskedRequest, response: ServerResponse) => boolean | Promise<boolean>;

export class LyingRegistry extends TestRegistry {
  /** What it does to requests; undefined: it is honest. */
  lie: Lie | undefined;

  constructor(options: TestRegistryOptions) {
    super({
      ...options,
      intercept: async (asked, response) =>
        (await options.intercept?.(asked, response)) === true || ((await this.lie?.(asked, response)) ?? false),
    });
  }
}

/** Starts a registry that is honest until it is told to lie. */
export function startLyingRegistry(options: TestRegistryOptions = {}): Promise<LyingRegistry> {
  return new LyingRegistry(options).start();
}

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

/** The lies; `path`: which requests get them. */
export const lies = {
  /** Other content than was asked for, or than the tag means. */
  otherContent:
    (
      path: RegExp,
      body: Uint8Array | string,
      mediaType = MANIFEST,
      headers: Readonly<Record<string, string>> = {},
    ): Lie =>
    (asked, response) => {
      if (!path.test(asked.path)) return false;
      response.writeHead(200, { 'content-type': mediaType, ...headers }).end(asked.method === 'HEAD' ? '' : body);
      return true;
    },

  /** A body without end, as fast as it is read. `prefix`: what it starts with. */
  endlessBody:
    (path: RegExp, mediaType = MANIFEST, prefix = '{"schemaVersion":2,"x":"'): Lie =>
    (asked, response) => {
      if (!path.test(asked.path)) return false;
      response.writeHead(200, { 'content-type': mediaType });
      response.write(prefix);
      const chunk = Buffer.alloc(64 * 1024, 'a');
      const more = (): void => {
        while (!response.destroyed && response.write(chunk));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
      return true;
    },

  /** A manifest with so many layers, each as short as JSON allows: a million fit in 3 MB. */
  manyLayers: (path: RegExp, count = 1_000_000): Lie =>
    lies.otherContent(
      path,
      `{"schemaVersion":2,"mediaType":"${MANIFEST}","config":{},"layers":[${'{},'.repeat(count - 1)}{}]}`,
    ),

  /** A body of `size` bytes, of zeros, said to be that long. */
  hugeBody:
    (path: RegExp, size: number, mediaType = 'application/octet-stream'): Lie =>
    (asked, response) => {
      if (!path.test(asked.path)) return false;
      response.writeHead(200, { 'content-type': mediaType, 'content-length': size });
      if (asked.method === 'HEAD') {
        response.end();
        return true;
      }
      const chunk = Buffer.alloc(256 * 1024);
      let left = size;
      const more = (): void => {
        while (left > 0 && !response.destroyed) {
          const piece = chunk.subarray(0, Math.min(left, chunk.length));
          left -= piece.length;
          if (!response.write(piece)) return void response.once('drain', more);
        }
        response.end();
      };
      more();
      return true;
    },

  /** A redirect. */
  redirect:
    (path: RegExp, location: (asked: AskedRequest) => string, status = 307): Lie =>
    (asked, response) => {
      if (!path.test(asked.path)) return false;
      response.writeHead(status, { location: location(asked), 'content-length': 0 }).end();
      return true;
    },

  /** A challenge, whatever is sent. */
  challenge:
    (path: RegExp, challenge: string): Lie =>
    (asked, response) => {
      if (!path.test(asked.path)) return false;
      response.writeHead(401, { 'www-authenticate': challenge, 'content-length': 0 }).end();
      return true;
    },

  /** A list of referrers, as the registry would like it to be. */
  referrers: (descriptors: readonly object[]): Lie =>
    lies.otherContent(
      /\/referrers\//,
      JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: descriptors }),
      INDEX,
    ),

  /** No referrers: neither by the API nor by the fallback tag. */
  hidesReferrers: (): Lie => (asked, response) => {
    if (/\/referrers\//.test(asked.path)) return lies.referrers([])(asked, response);
    if (!/\/manifests\/sha256-[0-9a-f]{64}/.test(asked.path)) return false;
    response.writeHead(404, { 'content-length': 0 }).end();
    return true;
  },

  /** Pages without end, each pointing to the next. */
  endlessPages: (): Lie => {
    let page = 0;
    return (asked, response) => {
      if (!/\/(?:referrers|tags)\//.test(asked.path)) return false;
      const { pathname } = new URL(asked.path, 'http://registry');
      response.setHeader('link', `<${pathname}?page=${++page}>; rel="next"`);
      response.writeHead(200, { 'content-type': INDEX });
      response.end('{"schemaVersion":2,"manifests":[],"tags":[]}');
      return true;
    };
  },

  /** The first `count` requests get this status, or have their connection closed if it is 0. */
  failing: (path: RegExp, count: number, status = 503, headers: Readonly<Record<string, string>> = {}): Lie => {
    let left = count;
    return (asked, response) => {
      if (!path.test(asked.path) || left-- <= 0) return false;
      if (status === 0) response.destroy();
      else response.writeHead(status, { 'content-length': 0, ...headers }).end();
      return true;
    };
  },

  /** One lie after the other, until one answers. */
  all:
    (...several: readonly Lie[]): Lie =>
    async (asked, response) => {
      for (const lie of several) if (await lie(asked, response)) return true;
      return false;
    },
} as const;
