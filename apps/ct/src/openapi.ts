import { type ApiOperation, type ApiResponse, openApiDocument, serverOperations } from '#libs/nest';
import { z } from 'zod';
import {
  addChainResponse,
  addChainSchema,
  consistencyQuery,
  consistencyResponse,
  descriptionResponse,
  entriesQuery,
  entriesResponse,
  entryAndProofQuery,
  entryAndProofResponse,
  proofByHashQuery,
  proofByHashResponse,
  rootsResponse,
  treeHeadResponse,
} from './wire.js';

const text = 'text/plain; charset=utf-8';
const retryAfter = { 'Retry-After': 'Seconds to wait before trying again.' };
const wrong: ApiResponse = { description: 'What is wrong: a reason phrase and a line of detail.', contentType: text };
const fault: ApiResponse = { description: 'A fault of the log, or it has stopped publishing.', contentType: text };
const missing: ApiResponse = { description: 'There is no such thing, or not yet.', contentType: text };

function submission(name: string, summary: string): ApiOperation {
  return {
    method: 'POST',
    path: name,
    operationId: name,
    summary,
    tags: ['submit'],
    body: addChainSchema,
    responses: {
      200: {
        description: 'In the log for good. Who submits it again gets the first time and index again.',
        schema: addChainResponse,
      },
      400: wrong,
      413: wrong,
      500: fault,
      503: { description: 'Not now.', contentType: text, headers: retryAfter },
    },
  };
}

function query(name: string, summary: string, operation: Pick<ApiOperation, 'params' | 'responses'>): ApiOperation {
  return { method: 'GET', path: name, operationId: name, summary, tags: ['rfc6962'], ...operation };
}

/** RFC 6962 §4, without the prefix. */
const rfc6962: readonly ApiOperation[] = [
  submission('add-chain', 'Log a certificate'),
  submission('add-pre-chain', 'Log a precertificate'),
  query('get-roots', 'The roots whose certificates are taken', {
    responses: { 200: { description: 'In no particular order.', schema: rootsResponse } },
  }),
  query('get-sth', 'The latest signed tree head', {
    responses: { 200: { description: 'The same head as the checkpoint.', schema: treeHeadResponse } },
  }),
  query('get-sth-consistency', 'Prove that one tree is the beginning of another', {
    params: { query: consistencyQuery },
    responses: { 200: { description: 'From leaf to root.', schema: consistencyResponse }, 400: wrong, 500: fault },
  }),
  query('get-proof-by-hash', 'Prove that a leaf is in a tree', {
    params: { query: proofByHashQuery },
    responses: {
      200: { description: 'From leaf to root.', schema: proofByHashResponse },
      400: wrong,
      404: missing,
      500: fault,
    },
  }),
  query('get-entries', 'Entries by their indexes', {
    params: { query: entriesQuery },
    responses: {
      200: {
        description: 'From `start` on, at most 1000; ranges are cut so that they end on a multiple of 1000.',
        schema: entriesResponse,
      },
      400: wrong,
      500: fault,
    },
  }),
  query('get-entry-and-proof', 'One entry, and the proof that it is in a tree', {
    params: { query: entryAndProofQuery },
    responses: { 200: { description: 'From leaf to root.', schema: entryAndProofResponse }, 400: wrong, 500: fault },
  }),
];

const files = { tags: ['static-ct'], method: 'GET' } as const;
const immutable = { 'Cache-Control': 'What is served once never changes.' };

/** C2SP static-ct-api, below the monitoring prefix. */
const staticCt: readonly ApiOperation[] = [
  {
    ...files,
    path: '/ct/checkpoint',
    operationId: 'getCheckpoint',
    summary: 'The latest signed tree head, as a note',
    responses: { 200: { description: 'C2SP static-ct-api, "Checkpoints".', contentType: text } },
  },
  {
    ...files,
    path: '/ct/log.v3.json',
    operationId: 'getLogDescription',
    summary: 'The log as lists of CT logs describe it',
    responses: { 200: { description: 'Key, id, merge delay and URL.', schema: descriptionResponse } },
  },
  {
    ...files,
    path: '/ct/tile/{tile}',
    operationId: 'getTile',
    summary: '256 hashes of one level, or the entries under one tile',
    description:
      'The only path parameter that contains slashes. Below `tile/`: `<level>/<index>` for hashes, `data/<index>` for entries; the index in groups of three digits, all but the last after an `x`; `.p/<width>` at the end when there are fewer than 256.',
    params: {
      path: z.object({
        tile: z
          .string()
          .regex(/^(?:[0-5]|data)(?:\/x\d{3})*\/\d{3}(?:\.p\/[1-9]\d{0,2})?$/)
          .describe('`0/x001/x234/067`, `data/000.p/12`'),
      }),
      header: z.object({ 'accept-encoding': z.string().optional().describe('`gzip`: entries come compressed') }),
    },
    responses: {
      200: {
        description: 'The bytes; entries compressed for who asks.',
        contentType: 'application/octet-stream',
        headers: immutable,
      },
      404: missing,
      500: fault,
      503: { description: 'Not now.', contentType: text, headers: retryAfter },
    },
  },
  {
    ...files,
    path: '/ct/issuer/{fingerprint}',
    operationId: 'getIssuer',
    summary: 'A certificate that entries name as issuer',
    params: {
      path: z.object({
        fingerprint: z
          .string()
          .regex(/^[0-9a-f]{64}$/)
          .describe('SHA-256 of the certificate, lower-case hex'),
      }),
    },
    responses: {
      200: { description: 'DER.', contentType: 'application/pkix-cert', headers: immutable },
      404: missing,
      500: fault,
    },
  },
];

/** The HTTP API of the CT log. Under `/ct` as its own host, and once more under that as the submission prefix which the log's origin names. */
export const ctOperations: readonly ApiOperation[] = [
  ...rfc6962.map((operation) => ({ ...operation, path: `/ct/v1/${operation.path}` })),
  ...rfc6962.map((operation) => ({
    ...operation,
    path: `/ct/ct/v1/${operation.path}`,
    operationId: `${operation.operationId}-under-prefix`,
  })),
  ...staticCt,
];

export const ctDocument = openApiDocument({
  title: 'Chancery CT log',
  version: '0.1.0',
  description:
    "A log of the authority's certificates: the API of RFC 6962, and the files of C2SP static-ct-api for whoever reads all of it. Wrong methods answer 405, unknown paths 404.",
  operations: [...ctOperations, ...serverOperations('ct')],
});
