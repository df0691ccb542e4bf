import { z } from 'zod';
import type { ApiOperation } from '#libs/nest';
import { searchAnswerSchema, searchParameters } from '#libs/search';

const errorSchema = z
  .object({ code: z.string().describe('Stable: for programs'), message: z.string().describe('For people') })
  .meta({ id: 'SearchError', description: 'Why a search was not answered.' });

/** What `GET /api/search` is, for the OpenAPI document of the log. */
export const searchOperations: readonly ApiOperation[] = [
  {
    method: 'GET',
    path: '/api/search',
    operationId: 'searchTrees',
    summary: 'Entries of all trees by what they say',
    description:
      'Everything that is given must hold; what is about a signer must hold of one and the same certificate or key. Case never counts. Newest first. ' +
      'Each answer names, per tree, the size and root up to which nothing was left out.',
    tags: ['search'],
    params: { query: searchParameters },
    responses: {
      200: { description: 'A page of entries', schema: searchAnswerSchema },
      400: {
        description: 'SEARCH_QUERY: a parameter is wrong, unknown or missing; SEARCH_CURSOR: no cursor of this query',
        schema: errorSchema,
      },
      503: {
        description: 'SEARCH_INDEX: the index is being rebuilt; SEARCH_UNAVAILABLE: the log cannot be read now',
        schema: errorSchema,
        headers: { 'Retry-After': 'Seconds to wait before asking again.' },
      },
    },
  },
];
