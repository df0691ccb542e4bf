// The OpenAPI documents: what is checked in is what is served, it is OpenAPI 3.1, it names each route that there is and no other, and what the
// services really answer is what it says.
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import 'reflect-metadata';
import { format, resolveConfig } from 'prettier';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { type ApiOperation, type OpenApiDocument, serverOperations } from '#libs/nest';
import { caDocument, caOperations } from '../apps/ca/src/openapi.js';
import { ctDocument, ctOperations } from '../apps/ct/src/openapi.js';
import { logDocument, logOperations } from '../apps/log/src/openapi.js';
import { hashedRekord, hexSha256 } from '../apps/log/testing/proposals.js';
import { trustDocument, trustOperations } from '../apps/trust/src/openapi.js';
import { tsaDocument, tsaOperations } from '../apps/tsa/src/openapi.js';
import { newEntry } from './world/entries.js';
import { startWorld, type World } from './world/index.js';

interface Api {
  readonly document: OpenApiDocument;
  readonly operations: readonly ApiOperation[];
}
const apis: Readonly<Record<string, Api>> = {
  ca: { document: caDocument, operations: caOperations },
  ct: { document: ctDocument, operations: ctOperations },
  log: { document: logDocument, operations: logOperations },
  trust: { document: trustDocument, operations: trustOperations },
  tsa: { document: tsaDocument, operations: tsaOperations },
};
const names = Object.keys(apis);
const api = (name: string): Api => {
  const found = apis[name];
  if (found === undefined) throw new Error(`There is no document ${name}`);
  return found;
};
const root = join(import.meta.dirname, '..');

describe('the documents', () => {
  it.each(names)('%s: the checked-in copy is what the schemas say', async (name) => {
    const file = join(root, 'docs', 'openapi', `${name}.json`);
    const options = { ...(await resolveConfig(file)), filepath: file };
    const text = await format(JSON.stringify(api(name).document, undefined, 2), options);
    if (process.env['UPDATE_OPENAPI'] === '1') writeFileSync(file, text);
    expect(readFileSync(file, 'utf8'), 'to rewrite it: UPDATE_OPENAPI=1 npx vitest run test/openapi.test.ts').toBe(
      text,
    );
  });

  it.each(names)('%s: is OpenAPI 3.1', (name) => {
    // As a reader gets it: without what JSON cannot say.
    const document = openApi.parse(JSON.parse(JSON.stringify(api(name).document)));
    const referred = new Set(
      Array.from(JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g), ([, reference]) => reference),
    );
    const defined = Object.keys(document.components.schemas).map((schema) => `#/components/schemas/${schema}`);
    // Each reference leads somewhere, and no schema is there for nothing.
    expect([...referred].sort()).toEqual(defined.sort());
  });

  it.each(names)('%s: each operation has a summary, its own id, and an answer', (name) => {
    const { document, operations } = api(name);
    const all = [...operations, ...serverOperations(name)];
    const ids = Object.values(document.paths).flatMap((path) => Object.values(path).map((item) => item['operationId']));
    expect(ids.sort()).toEqual(all.map(({ operationId }) => operationId).sort());
    expect(new Set(ids).size).toBe(ids.length);
    for (const { summary, responses } of all) {
      expect(summary).toMatch(/^[A-Z0-9][^\n]{5,100}[^.\n]$/);
      expect(Object.keys(responses).some((status) => status.startsWith('2'))).toBe(true);
    }
  });

  it('are of the version of the whole', () => {
    const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    expect(names.map((name) => api(name).document.info.version)).toEqual(names.map(() => version));
  });
});

// --- What the services really do ---------------------------------------------------------------------------------------

interface Route {
  readonly method: string;
  readonly url: string;
}
interface Exchange {
  readonly api: string;
  /** Which operation is asked; the path, method and types come from its description. */
  readonly id: string;
  readonly status: number;
  readonly params?: Record<string, string>;
  readonly query?: Record<string, string>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly headers?: Record<string, string>;
}

let world: World;
const routes: Route[] = [];

interface FastifyInitialization {
  readonly fastify: {
    addHook(name: 'onRoute', hook: (route: { method: string | string[]; url: string }) => void): void;
  };
}

beforeAll(async () => {
  // Fastify tells of each instance it makes, before that has any route.
  const listen = (message: unknown): void =>
    (message as FastifyInitialization).fastify.addHook('onRoute', ({ method, url }) => {
      for (const one of [method].flat()) routes.push({ method: one, url });
    });
  subscribe('fastify.initialization', listen);
  world = await startWorld();
  unsubscribe('fastify.initialization', listen);
});
afterAll(() => world.close());

/** A request for a certificate by e-mail address. */
async function signingRequest(email: string) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    credentials: { oidcIdentityToken: await world.token({ email }) },
    publicKeyRequest: {
      publicKey: { algorithm: 'ECDSA', content: publicKey.export({ type: 'spki', format: 'pem' }).toString() },
      proofOfPossession: sign('sha256', Buffer.from(email), privateKey).toString('base64'),
    },
  };
}

/** `/tile/*` and `/issuer/:fingerprint`, as a description writes them; the name of what `*` stands for is its own business. */
const asTemplate = (url: string): string => url.replace(/:(\w+)/g, '{$1}').replace(/\*$/, '{*}');
const wildcards = (path: string, all: readonly string[]): string => {
  const open = path.replace(/\{\w+\}$/, '{*}');
  return all.includes(open) ? open : path;
};

describe('the routes', () => {
  const described = (): { method: string; path: string }[] =>
    names.flatMap((name) => [...api(name).operations, ...serverOperations(name)]);
  // HEAD comes with each GET; the development issuer is no service to build upon.
  const served = (): string[] => [
    ...new Set(
      routes
        .filter(({ method, url }) => method !== 'HEAD' && !url.startsWith('/dev/oidc'))
        .map(({ method, url }) => `${method} ${asTemplate(url)}`),
    ),
  ];

  it('are each in a document, and each document names only routes', () => {
    const templates = served().map((route) => route.replace(/^\S+ /, ''));
    const documented = new Set(described().map(({ method, path }) => `${method} ${wildcards(path, templates)}`));
    expect(served().length).toBeGreaterThan(20);
    expect(served().sort()).toEqual([...documented].sort());
  });

  it('have HEAD where they have GET', () => {
    const heads = new Set(routes.filter(({ method }) => method === 'HEAD').map(({ url }) => url));
    expect(routes.filter(({ method, url }) => method === 'GET' && !heads.has(url))).toEqual([]);
  });
});

describe('the services', () => {
  const asked = new Set<string>();

  /** Asks as the description says, and holds the answer against it. */
  async function exchange(given: Exchange): Promise<{ json: unknown; text: string; response: Response }> {
    const operation = [...api(given.api).operations, ...serverOperations(given.api)].find(
      ({ operationId }) => operationId === given.id,
    );
    if (operation === undefined) throw new Error(`${given.api} has no operation ${given.id}`);
    asked.add(`${given.api} ${given.id}`);
    const path = operation.path.replace(/\{(\w+)\}/g, (_, name: string) => given.params?.[name] ?? name);
    const query = given.query ? `?${new URLSearchParams(given.query).toString()}` : '';
    const raw = typeof given.body === 'string' || given.body instanceof Uint8Array;
    const response = await fetch(`${world.url}${path}${query}`, {
      method: operation.method,
      headers: {
        ...(given.body !== undefined && { 'content-type': given.contentType ?? 'application/json' }),
        ...given.headers,
      },
      ...(given.body !== undefined && { body: raw ? (given.body as string) : JSON.stringify(given.body) }),
    });
    const text = Buffer.from(await response.arrayBuffer()).toString('latin1');
    const what = `${operation.method} ${path}${query}: ${text.slice(0, 300)}`;
    expect(response.status, what).toBe(given.status);
    const answer = operation.responses[response.status];
    expect(answer, `status ${response.status} of ${operation.operationId} is not described`).toBeDefined();
    const type = (response.headers.get('content-type') ?? '').split(';')[0];
    const describedType = answer?.contentType ?? (answer?.schema && 'application/json');
    expect(type, what).toBe(describedType?.split(';')[0] ?? '');
    for (const name of Object.keys(answer?.headers ?? {}))
      expect([name, response.headers.has(name)]).toEqual([name, true]);
    if (answer?.schema === undefined) return { json: undefined, text, response };
    const json: unknown = JSON.parse(text);
    const parsed = answer.schema.safeParse(json);
    expect(parsed.error?.issues ?? [], what).toEqual([]);
    return { json, text, response };
  }
  const successes = (rows: readonly Omit<Exchange, 'status'>[]) =>
    Promise.all(rows.map((row) => exchange({ status: 200, ...row })));

  it.each(names)('%s: answer what every server does, and serve the document', async (name) => {
    await successes(['getLiveness', 'getReadiness', 'getMetrics', 'ping'].map((id) => ({ api: name, id })));
    const { json } = await exchange({ api: name, id: 'getOpenApi', status: 200 });
    expect(json).toEqual(JSON.parse(JSON.stringify(api(name).document)));
  });

  it('ca: answers as described', async () => {
    const body = await signingRequest('alice@example.com');
    await exchange({ api: 'ca', id: 'createSigningCertificate', status: 200, body });
    await successes(['getTrustBundle', 'getConfiguration', 'getRootCertificates'].map((id) => ({ api: 'ca', id })));
    for (const wrong of ['', '{', '[]', '{"credentials":7}', { ...body, credentials: {} }, 'x'.repeat(1 << 18)]) {
      await exchange({ api: 'ca', id: 'createSigningCertificate', status: 400, body: wrong });
      await exchange({ api: 'ca', id: 'createSigningCertificateLegacy', status: 400, body: wrong });
    }
    const { credentials, publicKeyRequest } = body;
    await exchange({
      api: 'ca',
      id: 'createSigningCertificateLegacy',
      status: 201,
      body: {
        publicKey: { content: Buffer.from(publicKeyRequest.publicKey.content).toString('base64') },
        signedEmailAddress: publicKeyRequest.proofOfPossession,
      },
      headers: { authorization: `Bearer ${credentials.oidcIdentityToken}` },
    });
  });

  it.each(['', '-under-prefix'])('ct: answers as described%s', async (suffix) => {
    const ct = { api: 'ct' };
    const issued = await exchange({
      api: 'ca',
      id: 'createSigningCertificate',
      status: 200,
      body: await signingRequest('bob@example.com'),
    });
    const { signedCertificateEmbeddedSct } = issued.json as {
      signedCertificateEmbeddedSct: { chain: { certificates: string[] } };
    };
    const chain = signedCertificateEmbeddedSct.chain.certificates.map((pem) => pem.replace(/-----[^-]+-----|\s/g, ''));
    await exchange({ ...ct, id: `add-chain${suffix}`, status: 200, body: { chain } });
    for (const wrong of [
      '',
      '{',
      '{}',
      '{"chain":[]}',
      '{"chain":["!"]}',
      '{"chain":[7]}',
      { chain: [...chain, ...chain] },
    ]) {
      await exchange({ ...ct, id: `add-chain${suffix}`, status: 400, body: wrong });
      await exchange({ ...ct, id: `add-pre-chain${suffix}`, status: 400, body: wrong });
    }
    await exchange({ ...ct, id: `add-pre-chain${suffix}`, status: 400, body: { chain } });

    const { json: head } = await exchange({ ...ct, id: `get-sth${suffix}`, status: 200 });
    const { tree_size: size } = head as { tree_size: number };
    const { json } = await exchange({
      ...ct,
      id: `get-entries${suffix}`,
      status: 200,
      query: { start: '0', end: '9' },
    });
    const leaf = (json as { entries: { leaf_input: string }[] }).entries[0]?.leaf_input ?? '';
    const hash = createHash('sha256').update('\0').update(Buffer.from(leaf, 'base64')).digest('base64');
    const query = (name: string, status: number, parameters: Record<string, string>) =>
      exchange({ ...ct, id: `${name}${suffix}`, status, query: parameters });
    await query('get-sth-consistency', 200, { first: '1', second: String(size) });
    await query('get-proof-by-hash', 200, { hash, tree_size: String(size) });
    await query('get-proof-by-hash', 404, { hash, tree_size: '999999' });
    await query('get-entry-and-proof', 200, { leaf_index: '0', tree_size: String(size) });
    await successes([{ ...ct, id: `get-roots${suffix}` }]);
    for (const [name, parameters] of [
      ['get-sth-consistency', { first: '1' }],
      ['get-sth-consistency', { first: '1', second: '999999' }],
      ['get-proof-by-hash', { hash: 'x', tree_size: '1' }],
      ['get-proof-by-hash', { hash, tree_size: '-1' }],
      ['get-entries', { start: '1', end: '0' }],
      ['get-entry-and-proof', { leaf_index: '5', tree_size: '5' }],
    ] as const) {
      await query(name, 400, parameters);
    }
  });

  it('ct: serves its files as described', async () => {
    const ct = { api: 'ct' };
    const { json } = await exchange({ ...ct, id: 'get-roots', status: 200 });
    const [certificate = ''] = (json as { certificates: string[] }).certificates;
    const fingerprint = createHash('sha256').update(Buffer.from(certificate, 'base64')).digest('hex');
    const { text } = await exchange({ ...ct, id: 'getCheckpoint', status: 200 });
    const width = text.split('\n')[1] ?? '';
    await successes([
      { ...ct, id: 'getLogDescription' },
      { ...ct, id: 'getTile', params: { tile: `0/000.p/${width}` } },
      { ...ct, id: 'getIssuer', params: { fingerprint } },
    ]);
    const data = { ...ct, id: 'getTile', params: { tile: `data/000.p/${width}` }, status: 200 };
    const packed = await exchange({ ...data, headers: { 'accept-encoding': 'gzip' } });
    const plain = await exchange({ ...data, headers: { 'accept-encoding': 'identity' } });
    expect([packed, plain].map(({ response }) => response.headers.get('content-encoding'))).toEqual(['gzip', null]);
    expect([packed, plain].map(({ response }) => response.headers.get('vary'))).toEqual(
      Array(2).fill('Accept-Encoding'),
    );
    expect(packed.text).toBe(plain.text);
    for (const tile of ['9/000', 'data/999', 'x'])
      await exchange({ ...ct, id: 'getTile', params: { tile }, status: 404 });
    await exchange({ ...ct, id: 'getIssuer', params: { fingerprint: '00' }, status: 404 });
  });

  it('tsa: answers as described', async () => {
    const tsa = { api: 'tsa' };
    const artifactHash = createHash('sha256').update('x').digest('base64');
    const body = { artifactHash, hashAlgorithm: 'sha256', nonce: 7 };
    const stamp = (status: number, more: Partial<Exchange>) =>
      exchange({ ...tsa, id: 'getTimestampResponse', status, body, ...more });
    await stamp(200, {});
    await stamp(400, { body: { ...body, hashAlgorithm: 'sha1' } });
    await stamp(400, { body: { ...body, nonce: '7' } });
    await stamp(400, { body: 'x', contentType: 'application/timestamp-query' });
    await stamp(400, { body: 'x'.repeat(2000) });
    await stamp(406, { headers: { accept: 'text/html' } });
    await stamp(415, { contentType: 'text/plain' });
    await stamp(422, { body: '' });
    await successes([
      { ...tsa, id: 'getTimestampCertChain' },
      { ...tsa, id: 'ping' },
    ]);
  });

  it('trust: answers as described', async () => {
    const trust = { api: 'trust' };
    await successes([
      { ...trust, id: 'getTrustedRoot' },
      { ...trust, id: 'getSigningConfig' },
      { ...trust, id: 'getSigningConfig', query: { rekor: '1' } },
      { ...trust, id: 'getSigningConfig', query: { rekor: '2' } },
    ]);
    await exchange({ ...trust, id: 'getSigningConfig', status: 400, query: { rekor: '3' } });
  });

  it('log: answers Rekor v2 as described', async () => {
    const log = { api: 'log' };
    await exchange({ ...log, id: 'createEntry', status: 201, body: newEntry().request });
    for (const body of ['', '{', '{}', '{"hashedRekordRequestV002":{}}', '{"unknown":1}']) {
      await exchange({ ...log, id: 'createEntry', status: 400, body });
    }
    await exchange({ ...log, id: 'createEntry', status: 413, body: 'x'.repeat((4 << 20) + 1) });
    for (const tree of ['V2', '']) {
      const { text } = await exchange({ ...log, id: `getCheckpoint${tree}`, status: 200 });
      const width = text.split('\n')[1] ?? '';
      await successes(
        ['0', 'entries', 'annex'].map((level) => ({
          ...log,
          id: `getTile${tree}`,
          params: { path: `${level}/000.p/${width}` },
        })),
      );
      await exchange({ ...log, id: `getTile${tree}`, status: 404, params: { path: '0/999' } });
    }
  });

  it('log: answers Rekor v1 as described', async () => {
    const log = { api: 'log' };
    const artifact = Buffer.from('an artifact');
    const proposal = hashedRekord(artifact);
    const { json } = await exchange({ ...log, id: 'createLogEntry', status: 201, body: proposal });
    const [entryUUID = ''] = Object.keys(json as object);
    await exchange({ ...log, id: 'createLogEntry', status: 409, body: proposal });
    await exchange({ ...log, id: 'createLogEntry', status: 400, body: '{' });
    await exchange({ ...log, id: 'createLogEntry', status: 422, body: '{}' });
    await exchange({ ...log, id: 'createLogEntry', status: 415, body: '{}', contentType: 'text/html' });
    await successes([
      { ...log, id: 'getLogInfo' },
      { ...log, id: 'getPublicKey' },
      { ...log, id: 'getLogProof', query: { lastSize: '1' } },
      { ...log, id: 'getLogEntryByIndex', query: { logIndex: '0' } },
      { ...log, id: 'getLogEntryByUUID', params: { entryUUID } },
      { ...log, id: 'searchLogQuery', body: { entryUUIDs: [entryUUID] } },
      { ...log, id: 'searchIndex', body: { hash: `sha256:${hexSha256(artifact)}` } },
      { ...log, id: 'home' },
      { ...log, id: 'getSwagger' },
    ]);
    await exchange({ ...log, id: 'getLogEntryByIndex', status: 404, query: { logIndex: '999' } });
    await exchange({ ...log, id: 'getLogEntryByIndex', status: 422, query: { logIndex: 'x' } });
    await exchange({ ...log, id: 'getLogEntryByUUID', status: 404, params: { entryUUID: '0'.repeat(64) } });
    await exchange({ ...log, id: 'getLogEntryByUUID', status: 422, params: { entryUUID: 'x' } });
    await exchange({ ...log, id: 'getLogProof', status: 422, query: { lastSize: '0' } });
    await exchange({ ...log, id: 'getLogProof', status: 400, query: { lastSize: '999' } });
    await exchange({ ...log, id: 'searchLogQuery', status: 422, body: { logIndexes: Array(11).fill(0) } });
    await exchange({ ...log, id: 'searchIndex', status: 422, body: { hash: 'x' } });
    await exchange({ ...log, id: 'getLogInfo', status: 406, headers: { accept: 'text/html' } });
    const { text } = await exchange({ ...log, id: 'getCheckpointV1', status: 200 });
    const path = `entries/000.p/${text.split('\n')[1]}`;
    await exchange({ ...log, id: 'getTileV1', status: 200, params: { path } });
    await exchange({ ...log, id: 'getTileV1', status: 404, params: { path: '0/999' } });
  });

  it('log: answers searches as described', async () => {
    const log = { api: 'log' };
    await exchange({ ...log, id: 'searchTrees', status: 200, query: { email: 'alice@example.com' } });
    await exchange({ ...log, id: 'searchTrees', status: 400, query: { unknown: 'x' } });
    await exchange({ ...log, id: 'searchTrees', status: 400, query: { email: 'a@example.com', cursor: 'x' } });
  });

  // Last: it looks at what the others asked.
  it('were asked for each operation', () => {
    const all = names.flatMap((name) =>
      [...api(name).operations, ...serverOperations(name)].map(({ operationId }) => `${name} ${operationId}`),
    );
    expect(all.filter((operation) => !asked.has(operation))).toEqual([]);
  });
});

// --- OpenAPI 3.1, as far as these documents use it: every name that is not listed is a mistake ---------------------------

const types = z.enum(['string', 'integer', 'number', 'boolean', 'object', 'array', 'null']);
/** JSON Schema 2020-12. */
const jsonSchema: z.ZodType = z.lazy(() =>
  z.strictObject({
    $ref: z
      .string()
      .regex(/^#\/components\/schemas\/\w+$/)
      .optional(),
    type: z.union([types, z.array(types).min(2)]).optional(),
    title: z.string().min(3).optional(),
    description: z.string().min(3).optional(),
    readOnly: z.boolean().optional(),
    writeOnly: z.boolean().optional(),
    examples: z.array(z.unknown()).optional(),
    default: z.unknown().optional(),
    enum: z.array(z.unknown()).min(1).optional(),
    const: z.unknown().optional(),
    pattern: z
      .string()
      .refine((text) => new RegExp(text, 'u') instanceof RegExp)
      .optional(),
    format: z.string().optional(),
    contentEncoding: z.literal('base64').optional(),
    minLength: z.int().min(0).optional(),
    maxLength: z.int().min(0).optional(),
    minimum: z.number().optional(),
    maximum: z.number().optional(),
    exclusiveMinimum: z.number().optional(),
    minItems: z.int().min(0).optional(),
    maxItems: z.int().min(0).optional(),
    items: jsonSchema.optional(),
    properties: z.record(z.string(), jsonSchema).optional(),
    propertyNames: jsonSchema.optional(),
    additionalProperties: z.union([z.literal(false), jsonSchema]).optional(),
    required: z.array(z.string()).min(1).optional(),
    allOf: z.array(jsonSchema).min(1).optional(),
    anyOf: z.array(jsonSchema).min(1).optional(),
    oneOf: z.array(jsonSchema).min(1).optional(),
    not: jsonSchema.optional(),
  }),
);
const mediaTypes = z.record(
  z.string().regex(/^[a-z]+\/[\w.+-]+(?:; ?[\w-]+=[\w-]+)?$/),
  z.strictObject({ schema: jsonSchema.optional() }),
);
const described = { description: z.string().min(3) };
const parameter = z
  .strictObject({
    name: z.string().min(1),
    in: z.enum(['path', 'query', 'header']),
    required: z.boolean(),
    description: z.string().min(3).optional(),
    schema: jsonSchema,
  })
  .refine((item) => item.in !== 'path' || item.required, { error: 'parameters in a path are required' });
const operation = z.strictObject({
  operationId: z.string().regex(/^[A-Za-z][\w-]*$/),
  summary: z.string().min(3),
  description: z.string().min(3).optional(),
  tags: z.array(z.string()).min(1),
  parameters: z.array(parameter).min(1).optional(),
  requestBody: z.strictObject({ required: z.literal(true), content: mediaTypes }).optional(),
  responses: z.record(
    z.string().regex(/^[1-5]\d\d$/),
    z.strictObject({
      ...described,
      headers: z.record(z.string(), z.strictObject({ ...described, schema: jsonSchema })).optional(),
      content: mediaTypes.optional(),
    }),
  ),
});
const openApi = z.strictObject({
  openapi: z.literal('3.1.0'),
  info: z.strictObject({ title: z.string().min(3), version: z.string().regex(/^\d+\.\d+\.\d+$/), ...described }),
  paths: z.record(
    z.string().regex(/^\/(?:[\w.-]+|\{\w+\}|\/)*$/),
    z.partialRecord(z.enum(['get', 'post', 'put', 'patch', 'delete']), operation),
  ),
  components: z.strictObject({ schemas: z.record(z.string().regex(/^[A-Z]\w*$/), jsonSchema) }),
});
