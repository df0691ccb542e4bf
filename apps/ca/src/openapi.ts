import { type ApiOperation, type ApiResponse, grpcErrorSchema, openApiDocument, serverOperations } from '#libs/nest';
import { z } from 'zod';
import {
  configurationSchema,
  legacyRequestSchema,
  signingRequestSchema,
  signingResponseSchema,
  trustBundleSchema,
} from './wire.js';

const pemChain = 'application/pem-certificate-chain';
const refused: Readonly<Record<400 | 429 | 500, ApiResponse>> = {
  400: {
    description:
      'The request cannot be read or is too large, or its token, key or proof of possession is not accepted. There is no 401 or 403 here.',
    schema: grpcErrorSchema,
  },
  429: {
    description: 'The identity, or its issuer, has had as many certificates as this CA permits in a time.',
    schema: grpcErrorSchema,
    headers: { 'Retry-After': 'Seconds to wait before asking again.' },
  },
  500: {
    description: 'The certificate could not be logged, signed or recorded. A new request gets a new serial.',
    schema: grpcErrorSchema,
  },
};
const authorization = z.object({
  authorization: z.string().optional().describe('`Bearer <token>`: where the token is, if it is not in the body'),
});

/** The HTTP API of the certificate authority: Fulcio's. */
export const caOperations: readonly ApiOperation[] = [
  {
    method: 'POST',
    path: '/api/v2/signingCert',
    operationId: 'createSigningCertificate',
    summary: 'Exchange an identity token and a key for a short-lived certificate',
    tags: ['ca'],
    params: { header: authorization },
    body: signingRequestSchema,
    responses: { 200: { description: 'Issued, and logged.', schema: signingResponseSchema }, ...refused },
  },
  {
    method: 'GET',
    path: '/api/v2/trustBundle',
    operationId: 'getTrustBundle',
    summary: "The authority's certificates",
    tags: ['ca'],
    responses: { 200: { description: 'One chain for each CA.', schema: trustBundleSchema } },
  },
  {
    method: 'GET',
    path: '/api/v2/configuration',
    operationId: 'getConfiguration',
    summary: 'Whose identity tokens are accepted, and what the proof of possession signs',
    tags: ['ca'],
    responses: { 200: { description: 'The issuers, those with wildcards last.', schema: configurationSchema } },
  },
  {
    method: 'POST',
    path: '/api/v1/signingCert',
    operationId: 'createSigningCertificateLegacy',
    summary: 'Exchange an identity token and a key for a short-lived certificate, for older clients',
    tags: ['ca'],
    params: { header: authorization },
    body: legacyRequestSchema,
    responses: {
      201: { description: 'Issued, and logged: leaf first, root last.', contentType: pemChain },
      ...refused,
    },
  },
  {
    method: 'GET',
    path: '/api/v1/rootCert',
    operationId: 'getRootCertificates',
    summary: "The authority's certificates in PEM, for older clients",
    tags: ['ca'],
    responses: { 200: { description: 'Issuing CA first, root last.', contentType: pemChain } },
  },
];

export const caDocument = openApiDocument({
  title: 'Chancery certificate authority',
  version: '0.1.0',
  description:
    'Short-lived code signing certificates for holders of an OpenID Connect token, by the HTTP API of Sigstore Fulcio. Paths with another method answer 501, unknown ones 404.',
  operations: [...caOperations, ...serverOperations('ca')],
});
