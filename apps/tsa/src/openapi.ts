import { type ApiResponse, type ApiOperation, openApiDocument, serverOperations } from '#libs/nest';
import { z } from 'zod';
import { timestampJsonSchema } from './wire.js';

const timestampError = z
  .object({ code: z.int().describe('The HTTP status, or 602 for a missing body'), message: z.string() })
  .meta({ id: 'TimestampError' });
const token: ApiResponse = {
  description: 'RFC 3161 TimeStampResp, granted. Which of the two statuses it comes with is set per server.',
  contentType: 'application/timestamp-reply',
};

/** The HTTP API of the timestamp authority. */
export const tsaOperations: readonly ApiOperation[] = [
  {
    method: 'POST',
    path: '/api/v1/timestamp',
    operationId: 'getTimestampResponse',
    summary: 'Have a digest timestamped',
    tags: ['tsa'],
    params: {
      header: z.object({
        accept: z.string().optional().describe('What excludes application/timestamp-reply is refused'),
      }),
    },
    body: [
      // TimeStampReq in DER.
      { contentType: 'application/timestamp-query' },
      { contentType: 'application/json', schema: timestampJsonSchema },
    ],
    responses: {
      200: token,
      201: token,
      400: {
        description: 'The request cannot be read or is too large, or its hash, policy or extensions are not taken.',
        schema: timestampError,
      },
      406: { description: 'Nothing that Accept names is available.', schema: timestampError },
      415: { description: 'The body is of another type.', schema: timestampError },
      422: { description: 'There is no body.', schema: timestampError },
      500: { description: 'A fault of the server.', schema: timestampError },
    },
  },
  {
    method: 'GET',
    path: '/api/v1/timestamp/certchain',
    operationId: 'getTimestampCertChain',
    summary: "The authority's certificates",
    tags: ['tsa'],
    responses: {
      200: {
        description: 'PEM: signing certificate first, root last.',
        contentType: 'application/pem-certificate-chain',
      },
    },
  },
];

export const tsaDocument = openApiDocument({
  title: 'Chancery timestamp authority',
  version: '0.1.0',
  description:
    "RFC 3161 timestamps, by the HTTP API of Sigstore's timestamp authority. Wrong methods answer 405, unknown paths 404.",
  operations: [...tsaOperations, ...serverOperations('tsa')],
});
