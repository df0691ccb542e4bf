import { type ApiOperation, openApiDocument, serverOperations } from '#libs/nest';
import { z } from 'zod';

const timeRange = z
  .object({ start: z.iso.datetime().optional(), end: z.iso.datetime().optional() })
  .describe('From start to end, both included');
const distinguishedName = z.object({ organization: z.string().optional(), commonName: z.string().optional() });
const rawBytes = z.object({ rawBytes: z.base64() });
const authority = z.object({
  subject: distinguishedName,
  uri: z.string(),
  certChain: z.object({ certificates: z.array(rawBytes) }),
  validFor: timeRange,
});
const transparencyLog = z.object({
  baseUrl: z.string(),
  hashAlgorithm: z.literal('SHA2_256'),
  publicKey: rawBytes.extend({ keyDetails: z.string(), validFor: timeRange }),
  logId: z.object({ keyId: z.base64() }),
});

export const trustedRootSchema = z
  .object({
    mediaType: z.literal('application/vnd.dev.sigstore.trustedroot+json;version=0.1'),
    tlogs: z.array(transparencyLog),
    certificateAuthorities: z.array(authority),
    ctlogs: z.array(transparencyLog),
    timestampAuthorities: z.array(authority),
  })
  .meta({ id: 'TrustedRoot', description: 'dev.sigstore.trustroot.v1.TrustedRoot' });

const service = z.object({
  url: z.string(),
  majorApiVersion: z.int(),
  validFor: timeRange,
  operator: z.string(),
});
const selection = z.object({ selector: z.enum(['ANY', 'ALL', 'EXACT']), count: z.int().optional() });

export const signingConfigSchema = z
  .object({
    mediaType: z.literal('application/vnd.dev.sigstore.signingconfig.v0.2+json'),
    caUrls: z.array(service),
    oidcUrls: z.array(service),
    rekorTlogUrls: z.array(service),
    rekorTlogConfig: selection,
    tsaUrls: z.array(service),
    tsaConfig: selection,
  })
  .meta({ id: 'SigningConfig', description: 'dev.sigstore.trustroot.v1.SigningConfig' });

/** The HTTP API of the trust root. */
export const trustOperations: readonly ApiOperation[] = [
  {
    method: 'GET',
    path: '/trust/trusted_root.json',
    operationId: 'getTrustedRoot',
    summary: 'Whose signatures to believe',
    tags: ['trust'],
    responses: { 200: { description: 'For verifiers.', schema: trustedRootSchema } },
  },
  {
    method: 'GET',
    path: '/trust/signing_config.v0.2.json',
    operationId: 'getSigningConfig',
    summary: 'Which services to sign with',
    tags: ['trust'],
    params: {
      query: z.object({
        rekor: z.enum(['1', '2']).optional().describe('Offer this version of Rekor only. Default: all there are'),
      }),
    },
    responses: {
      200: { description: 'For signers.', schema: signingConfigSchema },
      400: { description: 'There is no such version here.', contentType: 'text/plain; charset=utf-8' },
    },
  },
];

export const trustDocument = openApiDocument({
  title: 'Chancery trust root',
  version: '0.1.0',
  description: 'The documents that Sigstore clients are configured with. Wrong methods answer 405, unknown paths 404.',
  operations: [...trustOperations, ...serverOperations('trust')],
});
