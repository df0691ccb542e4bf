import { describe, expect, it, test } from 'vitest';
import { z } from 'zod';
import { type ApiOperation, bootHttp, createLog, OpenApiController, openApiDocument } from './index.js';

const thing = z
  .object({ name: z.string().transform((name) => name.length), other: z.int().min(0).optional() })
  .meta({ id: 'Thing', description: 'A thing.' });
const operation: ApiOperation = {
  method: 'POST',
  path: '/things/{name}',
  operationId: 'makeThing',
  summary: 'Make a thing',
  params: {
    path: z.object({
      name: z
        .string()
        .regex(/^[a-z]+$/)
        .describe('Its name'),
    }),
    query: z.object({ size: z.string(), colour: z.enum(['red', 'blue']).optional() }),
  },
  body: thing,
  responses: {
    201: { description: 'Made.', schema: z.array(thing), headers: { Location: 'Where it is.' } },
    400: { description: 'Not made.', contentType: 'text/plain' },
    404: { description: 'Not there.' },
  },
};
const describeAll = (...operations: ApiOperation[]) =>
  openApiDocument({ title: 'Things', version: '1', description: 'All about things.', operations });

describe('openApiDocument()', () => {
  it('writes operations, with named schemas as components', () => {
    expect(describeAll(operation)).toEqual({
      openapi: '3.1.0',
      info: { title: 'Things', version: '1', description: 'All about things.' },
      paths: {
        '/things/{name}': {
          post: {
            operationId: 'makeThing',
            summary: 'Make a thing',
            parameters: [
              {
                name: 'name',
                in: 'path',
                required: true,
                description: 'Its name',
                schema: { type: 'string', pattern: '^[a-z]+$' },
              },
              { name: 'size', in: 'query', required: true, schema: { type: 'string' } },
              { name: 'colour', in: 'query', required: false, schema: { type: 'string', enum: ['red', 'blue'] } },
            ],
            requestBody: {
              required: true,
              content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } },
            },
            responses: {
              201: {
                description: 'Made.',
                headers: { Location: { description: 'Where it is.', schema: { type: 'string' } } },
                content: {
                  'application/json': { schema: { type: 'array', items: { $ref: '#/components/schemas/Thing' } } },
                },
              },
              400: { description: 'Not made.', content: { 'text/plain': {} } },
              404: { description: 'Not there.' },
            },
          },
        },
      },
      components: {
        schemas: {
          Thing: {
            type: 'object',
            description: 'A thing.',
            properties: {
              name: { type: 'string' },
              other: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER },
            },
            required: ['name'],
          },
        },
      },
    });
  });

  it('knows bodies of several types', () => {
    const body = [{ contentType: 'application/timestamp-query' }, { contentType: 'application/json', schema: thing }];
    expect(describeAll({ ...operation, body }).paths).toMatchObject({
      '/things/{name}': {
        post: {
          requestBody: {
            content: {
              'application/timestamp-query': {},
              'application/json': { schema: { $ref: '#/components/schemas/Thing' } },
            },
          },
        },
      },
    });
  });

  const other = { ...operation, operationId: 'other', path: '/x', params: {} };
  test.each<[string, ApiOperation[], RegExp]>([
    ['an id twice', [operation, { ...other, operationId: 'makeThing' }], /id makeThing/],
    [
      'an operation twice',
      [operation, { ...operation, operationId: 'b' }],
      /POST \/things\/\{name\} is described twice/,
    ],
    ['a path without its parameters', [{ ...operation, params: {} }], /parameters in the path/],
    ['parameters that are not in the path', [{ ...operation, path: '/x' }], /parameters in the path/],
    ['two schemas of one name', [operation, { ...other, body: z.object({}).meta({ id: 'Thing' }) }], /id Thing/],
    ['bigints', [{ ...other, body: z.object({ a: z.bigint() }) }], /bigint/],
    ['dates', [{ ...other, body: z.array(z.date()) }], /date/],
  ])('refuses %s', (_name, operations, message) => {
    expect(() => describeAll(...operations)).toThrow(message);
  });
});

describe('OpenApiController', () => {
  it('serves each document under its name', async () => {
    const log = createLog({ format: 'json', now: () => new Date(), write: () => undefined });
    const document = describeAll(operation);
    const controllers = [OpenApiController.register('a', document), OpenApiController.register('b', describeAll())];
    const server = await bootHttp(
      { module: class Server {}, controllers },
      { host: '127.0.0.1', port: 0, shapes: [], bodyLimit: 100, log },
    );
    try {
      const url = await server.getUrl();
      const response = await fetch(`${url}/openapi/a.json`);
      expect(response.headers.get('content-type')).toMatch(/^application\/json/);
      expect(await response.json()).toEqual(JSON.parse(JSON.stringify(document)));
      expect(await (await fetch(`${url}/openapi/b.json`)).json()).toMatchObject({ paths: {} });
      expect((await fetch(`${url}/openapi/c.json`)).status).toBe(404);
    } finally {
      await server.close();
    }
  });
});
