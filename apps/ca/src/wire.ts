import { encodeUtf8, type JsonValue, parseJson } from '#libs/encoding';
import type { ResolvedIssuer } from '#libs/identity';
import { z } from 'zod';
import type { KeyProof } from './client-key.js';
import { CaError } from './errors.js';
import type { IssuedCertificate, SigningRequest } from './issue.js';
import { describeProblem, protoBytes, protoMessage } from './proto-json.js';

// The JSON of Fulcio's two APIs (fulcio.proto, fulcio_legacy.proto) as grpc-gateway reads and writes it.

/**
 * Far above any honest request: a token of at most 16 KiB and a certificate request of a few. What is larger is refused by its
 * length alone: reading a megabyte of dots costs more than refusing it, and anybody can send one.
 */
const BODY_LIMIT = 256 * 1024;

/** Body of `POST /api/v2/signingCert`. */
export const signingRequestSchema = protoMessage({
  credentials: protoMessage({
    oidcIdentityToken: z.string().optional().describe('Compact JWS. Empty counts as absent'),
  })
    .optional()
    .describe('Where a browser puts the token; other clients may send it in the Authorization header'),
  publicKeyRequest: protoMessage({
    publicKey: protoMessage({
      // Clients write names there that are not in the enum.
      algorithm: z.unknown().optional().describe('Has no effect: the key says of which algorithm it is'),
      content: z.string().optional().describe('PEM, SubjectPublicKeyInfo or PKCS#1'),
    }).optional(),
    proofOfPossession: protoBytes.optional().describe("Signature over the token's challenge claim, by the key"),
  }).optional(),
  certificateSigningRequest: protoBytes.optional().describe('PKCS#10 in PEM, in place of publicKeyRequest'),
})
  .refine(
    ({ publicKeyRequest, certificateSigningRequest }) =>
      publicKeyRequest === undefined || certificateSigningRequest === undefined,
    { error: 'publicKeyRequest and certificateSigningRequest exclude each other' },
  )
  .meta({
    id: 'CreateSigningCertificateRequest',
    description:
      'A key, or a certificate request, and the token of whom it shall be certified for. As in all of ProtoJSON, names may be in snake_case, null is absent, and unknown names are ignored.',
  });

/** Body of `POST /api/v1/signingCert`. */
export const legacyRequestSchema = protoMessage({
  publicKey: protoMessage({
    algorithm: z.unknown().optional().describe('Has no effect: the key says of which algorithm it is'),
    content: protoBytes.optional().describe('DER or PEM, SubjectPublicKeyInfo or PKCS#1'),
  }).optional(),
  signedEmailAddress: protoBytes.optional().describe("Signature over the token's challenge claim, by the key"),
  certificateSigningRequest: protoBytes.optional().describe('PKCS#10 in PEM; goes before publicKey'),
}).meta({
  id: 'LegacyCreateSigningCertificateRequest',
  description: 'A key, or a certificate request; the token stands in the Authorization header.',
});

const certificateChain = z.object({ certificates: z.array(z.string()).describe('PEM, leaf first, root last') });

export const signingResponseSchema = z
  .object({ signedCertificateEmbeddedSct: z.object({ chain: certificateChain }) })
  .meta({ id: 'SigningCertificate', description: 'The certificate, with its SCT in it, and those above it.' });

export const trustBundleSchema = z
  .object({
    chains: z.array(z.object({ certificates: z.array(z.string()).describe('PEM, issuing CA first, root last') })),
  })
  .meta({ id: 'TrustBundle' });

export const configurationSchema = z
  .object({
    issuers: z.array(
      z.object({
        issuerUrl: z.string().optional(),
        wildcardIssuerUrl: z.string().optional().describe('In place of issuerUrl: `*` stands for one label or segment'),
        audience: z.string(),
        challengeClaim: z.string().describe('What the proof of possession signs'),
        spiffeTrustDomain: z.string(),
        issuerType: z.string(),
        subjectDomain: z.string(),
        skipEmailVerification: z.boolean(),
      }),
    ),
  })
  .meta({ id: 'Configuration', description: 'Whose tokens are accepted.' });

/** Body of `POST /api/v2/signingCert`. @throws CaError `CA_REQUEST` */
export function parseSigningRequest(body: Uint8Array | undefined, authorization: string | undefined): SigningRequest {
  const request = parseBody(body, signingRequestSchema);
  const { publicKeyRequest } = request;
  const key: KeyProof | undefined = publicKeyRequest && {
    kind: 'public-key',
    publicKey: encodeUtf8(publicKeyRequest.publicKey?.content ?? ''),
    signature: publicKeyRequest.proofOfPossession ?? new Uint8Array(),
  };
  return {
    token: request.credentials?.oidcIdentityToken || bearer(authorization),
    key: keyProof(request.certificateSigningRequest, key),
  };
}

/** Body of `POST /api/v1/signingCert`. @throws CaError `CA_REQUEST`, `CA_KEY_MISSING` */
export function parseLegacyRequest(body: Uint8Array | undefined, authorization: string | undefined): SigningRequest {
  const { publicKey, signedEmailAddress, certificateSigningRequest } = parseBody(body, legacyRequestSchema);
  const proof: KeyProof | undefined = publicKey && {
    kind: 'public-key',
    publicKey: publicKey.content ?? new Uint8Array(),
    signature: signedEmailAddress ?? new Uint8Array(),
  };
  // No oneof here: the certificate request wins.
  const key = keyProof(certificateSigningRequest, proof);
  // In this API, and only in this one, a missing key is reported before the token is looked at.
  if (key.kind === 'missing') {
    const shown = 'the request has neither a public key nor a certificate request';
    throw new CaError('CA_KEY_MISSING', `Cannot certify key: ${shown}`, { shown });
  }
  return { token: bearer(authorization), key };
}

/** Answer of v2: PEM without final line feeds, leaf first, root last. */
export function encodeSigningResponse({ leaf, chain }: IssuedCertificate): string {
  const certificates = [leaf, ...chain].map((pem) => pem.trimEnd());
  return JSON.stringify({ signedCertificateEmbeddedSct: { chain: { certificates } } });
}

/** Answer of v1: one text of all certificates, without final line feed. */
export function encodeLegacyResponse({ leaf, chain }: IssuedCertificate): string {
  return [leaf, ...chain].map((pem) => pem.trimEnd()).join('\n');
}

/** `GET /api/v2/trustBundle`: one chain a CA, here with the final line feed of each PEM. */
export function encodeTrustBundle(chain: readonly string[]): string {
  return JSON.stringify({ chains: [{ certificates: chain }] });
}

/** `GET /api/v1/rootCert`: upstream puts a blank line between the certificates. */
export function encodeRootCertificates(chain: readonly string[]): string {
  return chain
    .map((pem) => `${pem}\n`)
    .join('')
    .trimEnd();
}

/** `GET /api/v2/configuration`: scalars are written even when they are empty. */
export function encodeConfiguration(issuers: readonly ResolvedIssuer[]): string {
  return JSON.stringify({
    issuers: issuers.map((issuer) => ({
      ...(issuer.wildcard ? { wildcardIssuerUrl: issuer.issuerUrl } : { issuerUrl: issuer.issuerUrl }),
      audience: issuer.clientId,
      challengeClaim: issuer.challengeClaim,
      spiffeTrustDomain: issuer.spiffeTrustDomain ?? '',
      issuerType: issuer.type,
      subjectDomain: issuer.subjectDomain ?? '',
      skipEmailVerification: issuer.skipEmailVerification ?? false,
    })),
  });
}

/** An empty certificate request counts as none, as a proto3 default does. */
function keyProof(csr: Uint8Array | undefined, key: KeyProof | undefined): KeyProof {
  if (csr !== undefined && csr.length > 0) return { kind: 'request', csr };
  return key ?? { kind: 'missing' };
}

/** The header without its first `Bearer `; a bare token is taken as well. */
function bearer(authorization: string | undefined): string | undefined {
  return authorization?.replace('Bearer ', '');
}

/** An empty body is an empty message. */
function parseBody<T>(body: Uint8Array | undefined, schema: z.ZodType<T>): T {
  const bytes = body ?? new Uint8Array();
  if (bytes.length > BODY_LIMIT) throw unreadable(`the body has ${bytes.length} bytes, the limit is ${BODY_LIMIT}`);
  let value: JsonValue = {};
  try {
    if (bytes.length > 0) value = parseJson(bytes);
  } catch (cause) {
    throw unreadable('the body is not JSON', { cause });
  }
  const result = schema.safeParse(value);
  if (!result.success) throw unreadable(describeProblem(result.error));
  return result.data;
}

function unreadable(shown: string, options: ErrorOptions = {}): CaError {
  return new CaError('CA_REQUEST', `Cannot read request: ${shown}`, { ...options, shown });
}
