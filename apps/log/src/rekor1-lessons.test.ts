// How other logs of this API have failed, by the numbers of their advisories: none of it may happen here.
import { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadProposals } from '#libs/entry';
import { type LogServer, startLogServer } from '../testing/log-server.js';
import { base64, everyKind, hexSha256, intoto2, publicPem } from '../testing/proposals.js';
import { type Reply, send } from '../testing/send.js';
import { rekorParams, searchIndexQuery, searchLogQuery } from './rekor1-request.js';

const { proposedKinds } = await loadProposals();

type Json = Record<string, unknown>;

let server: LogServer;
beforeAll(async () => {
  server = await startLogServer();
});
afterAll(() => server.close());

const json = { 'content-type': 'application/json' };
const post = (path: string, body: unknown): Promise<Reply> =>
  send(server.url, 'POST', path, {
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    headers: json,
  });

const entries = '/api/v1/log/entries';
const retrieve = '/api/v1/log/entries/retrieve';
const index = '/api/v1/index/retrieve';

type Place = readonly (string | number)[];

describe('the lessons of others', () => {
  /** Every place of a value that a schema names, arrays by their first item; whether the value has it or not. */
  function places(schema: z.ZodType): Place[] {
    return walk(z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }), []);
  }
  function walk(schema: z.core.JSONSchema.BaseSchema, path: Place): Place[] {
    const own = path.length > 0 ? [path] : [];
    const variants = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
    const inner = [
      ...variants.flatMap((variant) => (typeof variant === 'object' ? walk(variant, path).slice(own.length) : [])),
      ...Object.entries(schema.properties ?? {}).flatMap(([name, property]) =>
        typeof property === 'object' ? walk(property, [...path, name]) : [],
      ),
      ...(typeof schema.items === 'object' && !Array.isArray(schema.items) ? walk(schema.items, [...path, 0]) : []),
    ];
    return [...own, ...inner];
  }

  /** Every place that a value has. */
  function paths(value: unknown, path: Place = []): Place[] {
    const own = path.length > 0 ? [path] : [];
    if (typeof value !== 'object' || value === null) return own;
    return [
      ...own,
      ...Object.entries(value).flatMap(([name, item]) =>
        paths(item, [...path, Array.isArray(value) ? Number(name) : name]),
      ),
    ];
  }
  function change(value: unknown, path: Place, put: (parent: Json, name: string) => void): unknown {
    const copy = structuredClone(value);
    const parent = path
      .slice(0, -1)
      .reduce<Json>(
        (object, name, i) => (object[name] ??= typeof path[i + 1] === 'number' ? [] : {}) as Json,
        copy as Json,
      );
    put(parent, String(path.at(-1)));
    return copy;
  }
  const replacements: readonly unknown[] = [
    null,
    true,
    0,
    -1,
    1.5,
    1e300,
    '',
    'x!',
    'AAAA',
    '\u0000',
    '\ud800',
    [],
    [null],
    [{}],
    {},
    { x: 1 },
  ];

  /** Refused, or taken because the value does not matter; never a fault of ours. */
  async function survives(path: string, body: unknown): Promise<void> {
    const text = JSON.stringify(body);
    const reply = await post(path, text);
    expect([text.slice(0, 2000), reply.status, reply.body]).toEqual([
      text.slice(0, 2000),
      expect.any(Number),
      expect.any(String),
    ]);
    expect([200, 201, 400, 404, 409, 422], `${text.slice(0, 3000)} => ${reply.body}`).toContain(reply.status);
  }

  for (const [name, propose] of Object.entries(everyKind)) {
    it(`CVE-2023-33199, CVE-2026-23831, GHSA-843x: ${name} with each value dropped, null or of another type`, async () => {
      const proposal = propose();
      const kind = proposedKinds.get(proposal.kind)?.get(proposal.apiVersion);
      if (kind === undefined) throw new Error(`There is no kind ${name}`);
      const named = [['kind'], ['apiVersion'], ['spec'], ...places(kind.spec).map((path) => ['spec', ...path])];
      // The schema names all that the example has.
      const texts = new Set(named.map((path) => JSON.stringify(path)));
      expect(paths(proposal).filter((path) => !texts.has(JSON.stringify(path)))).toEqual([]);
      for (const path of named) {
        await survives(
          entries,
          change(proposal, path, (parent, key) => Reflect.deleteProperty(parent, key)),
        );
        for (const value of replacements) {
          const wrong = change(proposal, path, (parent, key) => (parent[key] = value));
          await survives(entries, wrong);
        }
        const nulled = change(proposal, path, (parent, key) => (parent[key] = null));
        await survives(retrieve, { entries: [nulled] });
      }
      // The envelope of dsse and intoto 0.0.1 is JSON in a text.
      const { proposedContent, content } = proposal.spec as Record<string, Json | undefined>;
      const holder = proposedContent ?? content;
      if (typeof holder?.['envelope'] === 'string') {
        const inner = JSON.parse(holder['envelope']) as Json;
        const place = proposedContent ? ['spec', 'proposedContent', 'envelope'] : ['spec', 'content', 'envelope'];
        for (const path of paths(inner)) {
          for (const value of [undefined, ...replacements]) {
            const wrong = JSON.stringify(change(inner, path, (parent, key) => (parent[key] = value)));
            await survives(
              entries,
              change(proposal, place, (parent, key) => (parent[key] = wrong)),
            );
          }
        }
      }
    });
  }

  it('CVE-2023-33199, GHSA-843x: both queries with each value dropped, null or of another type', async () => {
    const queries: [string, z.ZodType, unknown][] = [
      [retrieve, searchLogQuery, { entryUUIDs: [hexSha256('x')], logIndexes: [0], entries: [intoto2()] }],
      [
        index,
        searchIndexQuery,
        {
          email: 'a@example.com',
          subject: 'x',
          hash: hexSha256('x'),
          publicKey: { format: 'x509', content: base64(publicPem) },
          operator: 'and',
        },
      ],
    ];
    for (const [path, schema, query] of queries) {
      expect((await post(path, query)).status).toBe(200);
      for (const place of [...places(schema), ...paths(query)]) {
        await survives(
          path,
          change(query, place, (parent, key) => Reflect.deleteProperty(parent, key)),
        );
        for (const value of replacements)
          await survives(
            path,
            change(query, place, (parent, key) => (parent[key] = value)),
          );
      }
    }
  });

  it('GHSA-843x: each parameter absent, twice, empty, or of another type', async () => {
    const endpoints: [string, z.ZodObject][] = [
      [entries, rekorParams.byIndex],
      ['/api/v1/log/publicKey', rekorParams.publicKey],
      ['/api/v1/log/proof', rekorParams.proof],
    ];
    const values = [
      '',
      '0',
      '1',
      '-1',
      '+1',
      '1.5',
      '1e3',
      '0x1',
      '9'.repeat(30),
      'x',
      '%00',
      '%ff',
      '%20',
      '[]',
      'null',
      'true',
    ];
    for (const [path, schema] of endpoints) {
      const names = Object.keys(schema.shape);
      for (const name of names) {
        for (const value of values) {
          for (const query of [
            `${name}=${value}`,
            `${name}=${value}&${name}=1`,
            `${name}[]=${value}`,
            `${name}[x]=${value}`,
            name,
          ]) {
            const others = names.filter((other) => other !== name && other !== 'treeID').map((other) => `&${other}=1`);
            const { status, body } = await send(server.url, 'GET', `${path}?${query}${others.join('')}`);
            expect([200, 400, 404, 422], `${path}?${query} => ${body}`).toContain(status);
          }
        }
      }
    }
  });

  it('any JSON at all, and any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(entries, retrieve, index), fc.jsonValue({ maxDepth: 4 }), survives),
      { numRuns: 150 },
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(entries, retrieve, index),
        fc.uint8Array({ minLength: 1, maxLength: 200 }),
        async (path, bytes) => {
          expect([400, 422]).toContain((await post(path, bytes)).status);
        },
      ),
      { numRuns: 100 },
    );
    for (const path of [entries, retrieve, index]) {
      for (const text of [
        `${'['.repeat(200_000)}${']'.repeat(200_000)}`,
        `{"spec":${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}}`,
      ]) {
        expect([200, 400, 422]).toContain((await post(path, text)).status);
      }
      await survives(path, JSON.parse('{"__proto__":{"kind":"x"},"constructor":{"prototype":{}},"toString":1}'));
    }
  });

  it('any path and query', async () => {
    await fc.assert(
      fc.asyncProperty(fc.webPath(), fc.webQueryParameters(), async (path, query) => {
        for (const prefix of ['/api/v1/log', entries, '/api/v1/log/proof', '/api/v1/tile']) {
          const { status } = await send(server.url, 'GET', `${prefix}${path}?${query}`);
          expect([200, 400, 404, 405, 422]).toContain(status);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('CVE-2023-30551, CVE-2026-48702: a body that says it is compressed is not inflated', async () => {
    // 10 GB in 10 MB, and that in less than 100 kB: members of a gzip file may follow each other (RFC 1952 §2.2).
    const member = gzipSync(Buffer.alloc(16 << 20));
    const bomb = gzipSync(Buffer.concat(Array.from({ length: 640 }, () => member)));
    expect(bomb.length).toBeLessThan(100_000);
    const before = process.memoryUsage().rss;
    for (const path of [entries, retrieve, index]) {
      for (const encoding of ['gzip', 'deflate', 'br', 'gzip, gzip']) {
        const reply = await send(server.url, 'POST', path, {
          body: bomb,
          headers: { ...json, 'content-encoding': encoding },
        });
        expect(reply.status).toBe(400);
      }
    }
    for (const propose of Object.values(everyKind)) {
      const proposal = propose();
      for (const place of paths(proposal).filter((path) => path.at(-1) === 'content' || path.at(-1) === 'payload')) {
        await survives(
          entries,
          change(proposal, place, (parent, key) => (parent[key] = base64(bomb))),
        );
      }
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20);
  });

  it('CVE-2026-24117: no field of any request makes the server open a connection', async () => {
    const url = 'http://127.0.0.1:9/key.pem';
    const connect = Reflect.get(Socket.prototype, 'connect') as (...args: unknown[]) => Socket;
    const own = new URL(server.url).port;
    const opened: string[] = [];
    let ours = 0;
    Reflect.set(Socket.prototype, 'connect', function (this: Socket, ...args: unknown[]) {
      const [options] = args.flat() as { port?: unknown }[];
      if (String(options?.port) === own) ours++;
      else opened.push(JSON.stringify(args));
      return Reflect.apply(connect, this, args);
    });
    try {
      for (const publicKey of [
        { format: 'x509', url },
        { format: 'x509', url, content: base64(publicPem) },
        { format: 'x509', content: base64(url) },
        { format: 'pgp', content: base64(url) },
        { format: 'tuf', url },
      ]) {
        const { status } = await post(index, { publicKey });
        expect([400, 422]).toContain(status);
      }
      for (const query of [{ email: url }, { subject: url }, { hash: url }, { url }]) await survives(index, query);
      for (const propose of Object.values(everyKind)) {
        const proposal = propose();
        for (const path of paths(proposal)) {
          for (const value of [url, base64(url), { url }, { content: base64(url), url }]) {
            await survives(
              entries,
              change(proposal, path, (parent, key) => (parent[key] = value)),
            );
          }
        }
      }
      expect(opened).toEqual([]);
      // It would have been seen: this opens one, as nothing here has used `fetch` before.
      await fetch(`${server.url}/ping`);
      expect(ours).toBeGreaterThan(0);
    } finally {
      Reflect.set(Socket.prototype, 'connect', connect);
    }
  });
});
