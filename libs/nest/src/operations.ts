import { z } from 'zod';
import type { ApiOperation } from './openapi.js';

const tags = ['server'];

export const statusSchema = z
  .object({ status: z.enum(['SERVING', 'NOT_SERVING']) })
  .meta({ id: 'ServerStatus', description: 'Whether the server serves, in the words of the gRPC health protocol.' });

/** What every server of this house answers beside its own API: `name` is that of its document. */
export function serverOperations(name: string): readonly ApiOperation[] {
  return [
    {
      method: 'GET',
      path: '/healthz',
      operationId: 'getLiveness',
      summary: 'Is the process alive?',
      tags,
      responses: { 200: { description: 'It is.', schema: statusSchema } },
    },
    {
      method: 'GET',
      path: '/readyz',
      operationId: 'getReadiness',
      summary: 'Would requests that write be served now?',
      tags,
      responses: {
        200: { description: 'They would.', schema: statusSchema },
        503: {
          description:
            'Not now, for instance because a log has stopped publishing. What can be read is served all the same.',
          schema: statusSchema,
          headers: { 'Retry-After': 'Seconds to wait before asking again.' },
        },
      },
    },
    {
      method: 'GET',
      path: '/ping',
      operationId: 'ping',
      summary: 'Does the server answer?',
      tags,
      responses: { 200: { description: 'A full stop.', contentType: 'text/plain' } },
    },
    {
      method: 'GET',
      path: '/metrics',
      operationId: 'getMetrics',
      summary: "The server's metrics",
      tags,
      responses: { 200: { description: "Prometheus' text format.", contentType: 'text/plain' } },
    },
    {
      method: 'GET',
      path: `/openapi/${name}.json`,
      operationId: 'getOpenApi',
      summary: 'This document',
      tags,
      responses: { 200: { description: 'OpenAPI 3.1.', schema: z.looseObject({ openapi: z.literal('3.1.0') }) } },
    },
  ];
}

/** The error body of grpc-gateway, see `grpcAnswer`. */
export const grpcErrorSchema = z
  .object({
    code: z.int().min(1).max(16).describe('A code of google.rpc.Code'),
    message: z.string(),
    details: z.array(z.unknown()),
  })
  .meta({ id: 'GatewayError', description: 'An error as a gRPC gateway words it.' });
