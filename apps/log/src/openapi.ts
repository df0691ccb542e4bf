import { loadProposals } from '#libs/entry';
import { type ApiOperation, type ApiResponse, grpcErrorSchema, openApiDocument, serverOperations } from '#libs/nest';
import { z } from 'zod';
import { searchOperations } from './search.openapi.js';
import { maxQueryItems, rekorParams, searchIndexQuery, searchLogQuery } from './rekor1-request.js';

const { createEntryRequestSchema, proposedEntrySchema } = await loadProposals();

const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const base64 = z.base64();
const decimal = z.string().regex(/^[0-9]+$/);

// ---- Rekor v1 ----

const rekorError = z
  .object({
    code: z
      .int()
      .describe('The HTTP status; of 422 a number from 601 on that says which rule of the schema was broken'),
    message: z.string(),
  })
  .meta({ id: 'RekorError' });

const logEntry = z
  .object({
    attestation: z
      .object({ data: base64 })
      .optional()
      .describe('The statement of an intoto entry, if it is kept; no signature of the log covers it'),
    body: base64.describe('The canonical entry: what is hashed into the tree'),
    integratedTime: z.int().describe('Seconds since 1970'),
    logID: hex64.describe("SHA-256 of the log key's SubjectPublicKeyInfo"),
    logIndex: z.int().min(0),
    verification: z.object({
      inclusionProof: z.object({
        checkpoint: z.string().describe('Signed note over tree size and root hash'),
        hashes: z.array(hex64).describe('From leaf to root'),
        logIndex: z.int().min(0).describe('In the tree that the proof is about'),
        rootHash: hex64,
        treeSize: z.int().min(1),
      }),
      signedEntryTimestamp: base64.describe(
        "The log's signature over body, integratedTime, logID and logIndex as canonical JSON (RFC 8785)",
      ),
    }),
  })
  .meta({ id: 'LogEntry' });
const logEntries = z
  .record(z.string(), logEntry)
  .describe('One entry under its ID: tree ID (16 hex digits) and leaf hash (64)');

const logInfo = z
  .object({
    inactiveShards: z.null(),
    rootHash: hex64,
    signedTreeHead: z.string().describe('Checkpoint: `<hostname> - <tree ID>`, size, root hash, signature'),
    treeID: decimal,
    treeSize: z.int().min(0),
  })
  .meta({ id: 'LogInfo' });

const consistencyProof = z
  .object({ hashes: z.array(hex64), rootHash: hex64.describe('Of the newest tree, whatever was asked') })
  .meta({ id: 'ConsistencyProof' });

const rekorErrors = {
  400: { description: 'The request cannot be served as it is.', schema: rekorError },
  406: { description: 'Accept excludes what is answered.', schema: rekorError },
  413: { description: 'The body is too large.', schema: rekorError },
  415: { description: 'The body is not declared to be JSON.', schema: rekorError },
  422: { description: 'Body or parameters do not match their schema.', schema: rekorError },
  500: { description: 'A fault of the server; why is said in its own log alone.', schema: rekorError },
  503: {
    description: 'The log cannot take or read entries now.',
    schema: rekorError,
    headers: { 'Retry-After': 'Seconds to wait before trying again.' },
  },
} as const satisfies Record<number, ApiResponse>;
const { 413: _tooLarge, 415: _mediaType, ...readErrors } = rekorErrors;
const noEntry: ApiResponse = { description: 'There is no such entry. No body.' };

const rekor1: readonly ApiOperation[] = [
  {
    method: 'GET',
    path: '/api/v1/log',
    operationId: 'getLogInfo',
    summary: 'Size, root hash and checkpoint of the Rekor v1 tree',
    tags: ['rekor-v1'],
    responses: { 200: { description: 'As published last.', schema: logInfo }, 406: rekorErrors[406] },
  },
  {
    method: 'GET',
    path: '/api/v1/log/publicKey',
    operationId: 'getPublicKey',
    summary: 'The key of checkpoints and signed entry timestamps',
    tags: ['rekor-v1'],
    params: { query: rekorParams.publicKey },
    responses: {
      200: { description: 'SubjectPublicKeyInfo in PEM.', contentType: 'application/x-pem-file' },
      ...readErrors,
    },
  },
  {
    method: 'GET',
    path: '/api/v1/log/proof',
    operationId: 'getLogProof',
    summary: 'Proof that one tree is the beginning of another',
    tags: ['rekor-v1'],
    params: { query: rekorParams.proof },
    responses: { 200: { description: 'Verify it with roots you hold.', schema: consistencyProof }, ...readErrors },
  },
  {
    method: 'POST',
    path: '/api/v1/log/entries',
    operationId: 'createLogEntry',
    summary: 'Log an entry',
    description: 'Answered when the entry is in the tree for good.',
    tags: ['rekor-v1'],
    body: proposedEntrySchema,
    responses: {
      201: {
        description: 'Logged.',
        schema: logEntries,
        headers: { Location: 'Where the entry is.', ETag: 'The ID of the entry, without quotes.' },
      },
      409: {
        description: 'The same entry is in the log already.',
        schema: rekorError,
        headers: { Location: 'Where the entry is.' },
      },
      ...rekorErrors,
    },
  },
  {
    method: 'GET',
    path: '/api/v1/log/entries',
    operationId: 'getLogEntryByIndex',
    summary: 'An entry by its log index',
    tags: ['rekor-v1'],
    params: { query: rekorParams.byIndex },
    responses: { 200: { description: 'The entry.', schema: logEntries }, 404: noEntry, ...readErrors },
  },
  {
    method: 'GET',
    path: '/api/v1/log/entries/{entryUUID}',
    operationId: 'getLogEntryByUUID',
    summary: 'An entry by its ID or leaf hash',
    tags: ['rekor-v1'],
    params: { path: rekorParams.entry },
    responses: { 200: { description: 'The entry.', schema: logEntries }, 404: noEntry, ...readErrors },
  },
  {
    method: 'POST',
    path: '/api/v1/log/entries/retrieve',
    operationId: 'searchLogQuery',
    summary: `Up to ${maxQueryItems} entries by ID, leaf hash, log index, or as they were proposed`,
    tags: ['rekor-v1'],
    body: searchLogQuery.extend({ entries: z.array(proposedEntrySchema).min(1).max(maxQueryItems).nullish() }),
    responses: {
      200: { description: 'What was found; the rest is left out.', schema: z.array(logEntries) },
      ...rekorErrors,
    },
  },
  {
    method: 'POST',
    path: '/api/v1/index/retrieve',
    operationId: 'searchIndex',
    summary: 'IDs of entries by e-mail address, subject, public key or hash',
    description: 'Newest first, the 100,000 newest at most. Compare each entry with what you look for.',
    tags: ['rekor-v1'],
    body: searchIndexQuery,
    responses: {
      200: { description: 'Entry IDs.', schema: z.array(z.string().regex(/^[0-9a-f]{80}$/)) },
      ...rekorErrors,
    },
  },
  {
    method: 'GET',
    path: '/',
    operationId: 'home',
    summary: 'What is served here, for people',
    tags: ['rekor-v1'],
    responses: { 200: { description: 'The page.', contentType: 'text/html' } },
  },
  {
    method: 'GET',
    path: '/swagger.json',
    operationId: 'getSwagger',
    summary: 'This document, where clients of Rekor v1 look for it',
    tags: ['rekor-v1'],
    responses: { 200: { description: 'OpenAPI 3.1.', schema: z.looseObject({ openapi: z.literal('3.1.0') }) } },
  },
];

// ---- Rekor v2 ----

const transparencyLogEntry = z
  .object({
    logIndex: decimal,
    logId: z.object({ keyId: base64 }),
    kindVersion: z.object({ kind: z.string(), version: z.string() }),
    integratedTime: z.literal('0'),
    inclusionPromise: z.null(),
    inclusionProof: z.object({
      logIndex: decimal,
      rootHash: base64,
      treeSize: decimal,
      hashes: z.array(base64),
      checkpoint: z.object({ envelope: z.string() }),
    }),
    canonicalizedBody: base64,
  })
  .meta({ id: 'TransparencyLogEntry' });

const rekor2: readonly ApiOperation[] = [
  {
    method: 'POST',
    path: '/api/v2/log/entries',
    operationId: 'createEntry',
    summary: 'Log an entry',
    description: 'Answered when the entry is in the tree for good. The same entry again gets the receipt of the first.',
    tags: ['rekor-v2'],
    body: createEntryRequestSchema,
    responses: {
      201: { description: 'Logged.', schema: transparencyLogEntry },
      400: { description: 'The entry is refused.', schema: grpcErrorSchema },
      409: {
        description: 'The entry is in the log already, and this log is set to say so.',
        schema: grpcErrorSchema,
        headers: { 'x-log-index': 'Where.' },
      },
      413: { description: 'The body is too large.', schema: grpcErrorSchema },
      500: { description: 'A fault of the server.', schema: grpcErrorSchema },
      503: {
        description: 'The log cannot take entries now.',
        schema: grpcErrorSchema,
        headers: { 'Retry-After': 'Seconds to wait before trying again.' },
      },
    },
  },
];

// ---- tiles of both ----

const tilePath = z.object({
  path: z
    .string()
    .describe(
      '`0/x001/067` for hashes, `entries/x001/067` for entries, `annex/x001/067` for their times; `.p/<width>` if not full',
    ),
});

function tileOperations(prefix: string, name: string, error: z.ZodType, tag: string): readonly ApiOperation[] {
  return [
    {
      method: 'GET',
      path: `${prefix}/checkpoint`,
      operationId: `getCheckpoint${name}`,
      summary: 'The newest checkpoint, a signed note',
      tags: [tag],
      responses: { 200: { description: 'C2SP tlog-checkpoint.', contentType: 'text/plain' } },
    },
    {
      method: 'GET',
      path: `${prefix}/tile/{path}`,
      operationId: `getTile${name}`,
      summary: 'A tile of hashes, a bundle of entries, or what lies beside it (C2SP tlog-tiles)',
      tags: [tag],
      params: { path: tilePath },
      responses: {
        200: { description: 'Never changes.', contentType: 'application/octet-stream' },
        404: { description: 'Not in the tree, or not yet.', schema: error },
      },
    },
  ];
}

/** The HTTP API of the transparency log: Rekor's, version 1 and 2, and the tiles of both trees. */
export const logOperations: readonly ApiOperation[] = [
  ...rekor1,
  ...tileOperations('/api/v1', 'V1', rekorError, 'rekor-v1'),
  ...rekor2,
  ...tileOperations('/api/v2', 'V2', grpcErrorSchema, 'rekor-v2'),
  ...tileOperations('', '', grpcErrorSchema, 'rekor-v2'),
  ...searchOperations,
];

export const logDocument = openApiDocument({
  title: 'Chancery transparency log',
  version: '0.1.0',
  description:
    'Signed statements that anyone can find and nobody can take back. Rekor v1 and Rekor v2 write to a tree each; every tree is served as C2SP tiles.',
  operations: [...logOperations, ...serverOperations('log')],
});
