import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lookasidePath, openLookaside } from './lookaside.js';
import { parseImageName } from './reference.js';

const hex = 'a'.repeat(64);
const digest = `sha256:${hex}`;
const image = parseImageName('registry.example.com/ns/app:v1');
const code = (expected: string) => expect.objectContaining({ name: 'SimpleSigningError', code: expected }) as Error;
const object = (text: string) => new Uint8Array(Buffer.from(text));

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'lookaside-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('lookasidePath()', () => {
  it('has no host, and an equals sign in the digest', () => {
    expect(lookasidePath(image, digest, 1)).toBe(`ns/app@sha256=${hex}/signature-1`);
    expect(lookasidePath(parseImageName('busybox'), digest, 12)).toBe(`library/busybox@sha256=${hex}/signature-12`);
  });

  it.each([
    [{ host: 'registry.example.com', path: '../../etc' }, digest],
    [{ host: 'registry.example.com', path: 'a/../b' }, digest],
    [{ host: 'registry.example.com', path: '/etc' }, digest],
    [{ host: 'registry.example.com', path: 'a\0b' }, digest],
    [{ host: 'registry.example.com', path: 'A' }, digest],
    [{ host: 'registry.example.com', path: 'a%2f..%2fb' }, digest],
    [image, 'sha256:../../etc'],
    [image, `sha256:${hex}/../x`],
    [image, `../sha256:${hex}`],
    [image, ''],
  ])('refuses tricks: %j %s', (name, given) => {
    expect(() => lookasidePath(name, given, 1)).toThrow(code('SIMPLE_REFERENCE'));
  });
});

describe('openLookaside()', () => {
  it.each([
    '',
    '/srv/signatures',
    'file:/srv',
    'file:srv',
    'file://host/srv',
    'ftp://a.example/',
    'https://user:pass@a.example/',
    'https://a.example/?q',
    'https://a.example/#f',
    'file:///srv/../etc',
    'file:///srv/%2e%2e/etc',
    'file:///srv/%2f',
    'https://a.example/x/../y',
    'javascript:alert(1)',
  ])('refuses %j', (base) => {
    expect(() => openLookaside(base, { fetch })).toThrow(code('SIMPLE_LOOKASIDE_URL'));
  });
});

describe('a folder', () => {
  const open = () => openLookaside(pathToFileURL(folder).href, { fetch });
  const at = (number: number) => join(folder, lookasidePath(image, digest, number));

  it('gives back what was written, in order', async () => {
    expect(await open().read(image, digest)).toEqual([]);
    expect(await open().write(image, digest, object('one'))).toBe(at(1));
    expect(await open().write(image, digest, object('two'))).toBe(at(2));
    expect((await open().read(image, digest)).map((bytes) => Buffer.from(bytes).toString())).toEqual(['one', 'two']);
    expect(await open().read(image, `sha256:${'b'.repeat(64)}`)).toEqual([]);
    expect(readdirSync(join(at(1), '..')).sort()).toEqual(['signature-1', 'signature-2']);
  });

  it('stops at the first that is missing, and fills the gap', async () => {
    await open().write(image, digest, object('one'));
    writeFileSync(at(3), 'three');
    expect(await open().read(image, digest)).toHaveLength(1);
    rmSync(at(1));
    writeFileSync(at(2), 'two');
    expect(await open().read(image, digest)).toEqual([]);
    expect(await open().write(image, digest, object('new'))).toBe(at(1));
    expect(await open().read(image, digest)).toHaveLength(3);
  });

  it('loses nothing to forty writers at once', async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `signature of ${i}`);
    const paths = await Promise.all(texts.map((text) => open().write(image, digest, object(text))));
    expect(new Set(paths).size).toBe(40);
    const read = (await open().read(image, digest)).map((bytes) => Buffer.from(bytes).toString());
    expect([...read].sort()).toEqual([...texts].sort());
  });

  it('takes and gives no more than 128', async () => {
    mkdirSync(join(at(1), '..'), { recursive: true });
    for (let i = 1; i <= 128; i++) writeFileSync(at(i), 'x');
    expect(await open().read(image, digest)).toHaveLength(128);
    await expect(open().write(image, digest, object('x'))).rejects.toThrow(code('SIMPLE_LOOKASIDE'));
    writeFileSync(at(129), 'x');
    await expect(open().read(image, digest)).rejects.toThrow(code('SIMPLE_TOO_LARGE'));
  });

  it('refuses files that are large, and what is no file', async () => {
    mkdirSync(join(at(1), '..'), { recursive: true });
    writeFileSync(at(1), new Uint8Array(70_000));
    await expect(open().read(image, digest)).rejects.toThrow(code('SIMPLE_TOO_LARGE'));
    rmSync(at(1));
    mkdirSync(at(1));
    await expect(open().read(image, digest)).rejects.toThrow(code('SIMPLE_LOOKASIDE'));
    rmSync(at(1), { recursive: true });
    expect(spawnSync('mkfifo', [at(1)]).status).toBe(0);
    await expect(open().read(image, digest)).rejects.toThrow('it is not a file');
    await expect(open().write(image, digest, new Uint8Array(70_000))).rejects.toThrow(code('SIMPLE_TOO_LARGE'));
  });
});

describe('a web site', () => {
  let server: Server;
  let base: string;
  let answer: (path: string, response: ServerResponse) => void;
  const asked: string[] = [];
  beforeEach(async () => {
    asked.length = 0;
    server = createServer((request, response) => {
      asked.push(request.url ?? '');
      answer(request.url ?? '', response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });
  const open = (path = '/store') => openLookaside(base + path, { fetch, timeoutMs: 2000 });
  const missing = (response: ServerResponse) => void response.writeHead(404).end('no');

  it('is read as a folder that somebody published', async () => {
    await openLookaside(pathToFileURL(folder).href, { fetch }).write(image, digest, object('one'));
    answer = (path, response) => {
      const file = join(folder, path.replace('/store/', ''));
      try {
        response.end(readFileSync(file));
      } catch {
        missing(response);
      }
    };
    for (const path of ['/store', '/store/']) expect(await open(path).read(image, digest)).toHaveLength(1);
    expect(asked.slice(0, 2)).toEqual([
      `/store/ns/app@sha256=${hex}/signature-1`,
      `/store/ns/app@sha256=${hex}/signature-2`,
    ]);
  });

  it('has no signature where the first is missing, though the second is there', async () => {
    answer = (path, response) => (path.endsWith('-2') ? void response.end('two') : missing(response));
    expect(await open().read(image, digest)).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  it.each<[string, string, (response: ServerResponse) => void]>([
    [
      'an endless body',
      'SIMPLE_TOO_LARGE',
      (response) => {
        const chunk = Buffer.alloc(16_384);
        const pump = () => {
          while (!response.destroyed && response.write(chunk));
          response.once('drain', pump);
        };
        pump();
      },
    ],
    [
      'a large body that says so',
      'SIMPLE_TOO_LARGE',
      (response) => void response.writeHead(200, { 'content-length': '1000000000' }).write('x'),
    ],
    ['endless signatures', 'SIMPLE_TOO_LARGE', (response) => void response.end('x')],
    ['a body that never ends', 'SIMPLE_LOOKASIDE', (response) => void response.writeHead(200).write('x')],
    ['an error', 'SIMPLE_LOOKASIDE', (response) => void response.writeHead(500).end()],
    ['a refusal', 'SIMPLE_LOOKASIDE', (response) => void response.writeHead(403).end()],
    [
      'a circle of redirects',
      'SIMPLE_LOOKASIDE',
      (response) => void response.writeHead(302, { location: '/store/x' }).end(),
    ],
    [
      'a redirect to a file',
      'SIMPLE_LOOKASIDE',
      (response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
    ],
    [
      'a redirect with a password',
      'SIMPLE_LOOKASIDE',
      (response) => void response.writeHead(302, { location: `http://a:b@127.0.0.1/` }).end(),
    ],
    ['a broken connection', 'SIMPLE_LOOKASIDE', (response) => void response.destroy()],
  ])('refuses %s (%s), soon', async (_, expected, given) => {
    answer = (_path, response) => given(response);
    const begun = performance.now();
    await expect(open().read(image, digest)).rejects.toThrow(code(expected));
    expect(performance.now() - begun).toBeLessThan(10_000);
  });

  it('follows a redirect, but never from https to http', async () => {
    answer = (path, response) => {
      if (path === '/other') response.end('one');
      else if (path.endsWith('-1')) response.writeHead(302, { location: '/other' }).end();
      else missing(response);
    };
    expect(await open().read(image, digest)).toHaveLength(1);
    const secure = openLookaside('https://signatures.example', {
      fetch: async () => new Response(null, { status: 301, headers: { location: 'http://signatures.example/' } }),
    });
    await expect(secure.read(image, digest)).rejects.toThrow('not followed');
  });

  it('cannot be written', async () => {
    await expect(open().write(image, digest, object('x'))).rejects.toThrow(code('SIMPLE_LOOKASIDE'));
  });
});
