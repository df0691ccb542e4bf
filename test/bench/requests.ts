import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { encodePem } from '#libs/encoding';
import { loadSigner, opensslCrypto } from '#libs/openssl';
import { encodeTimestampRequest } from '#libs/timestamp';
import { encodeFulcioExtensions, parseCertificatePem, prepareCertificate } from '#libs/x509';
import { createAuthority } from '../../apps/ca/src/authority.js';
import type { KindToken } from './issuers.js';
import { wireRequest } from './load.js';

const json = 'application/json';

/** One signature with a key and a certificate of its own, as clients make them. */
interface Signed {
  /** SHA-256 of the artifact. */
  readonly digest: Buffer;
  /** DER */
  readonly signature: Buffer;
  /** DER. The log reads the key out of it and checks nothing else: a precertificate has all that it needs. */
  readonly certificate: Buffer;
}

/** Gives signatures by certificates of an authority made for this run; `email` by number. */
export async function signatureSource(
  email: (n: number) => string = () => 'bench@example.com',
): Promise<(n: number) => Signed> {
  const now = new Date(Math.floor(Date.now() / 1000) * 1000);
  const authority = await createAuthority({ organization: 'bench', commonName: 'bench', now });
  const issuer = parseCertificatePem(authority.chainPem)[0];
  if (issuer === undefined) throw new Error('No certificate');
  const caSigner = loadSigner(authority.keyPem);
  return (n) => {
    const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const artifact = randomBytes(32);
    const serial = randomBytes(20);
    // Twenty bytes, whatever falls: 0x40 to 0x7f in front, so that no sign bit and no leading zero changes the length.
    serial[0] = 0x40 | ((serial[0] ?? 0) & 0x3f);
    const prepared = prepareCertificate(
      {
        issuer,
        serial,
        notBefore: now,
        notAfter: new Date(now.getTime() + 600_000),
        spki: new Uint8Array(keys.publicKey.export({ type: 'spki', format: 'der' })),
        san: { kind: 'email', value: email(n) },
        extensions: encodeFulcioExtensions({ issuer: 'https://issuer.example.com', subject: email(n) }),
        signatureScheme: caSigner.scheme,
      },
      opensslCrypto.hash,
    );
    return {
      digest: createHash('sha256').update(artifact).digest(),
      signature: sign('sha256', artifact, keys.privateKey),
      certificate: Buffer.from(prepared.signPrecertificate(caSigner)),
    };
  };
}

/** Log entries for Rekor v2. */
export async function entryRequests(count: number): Promise<Buffer[]> {
  const source = await signatureSource();
  return Array.from({ length: count }, (_, n) => {
    const { digest, signature, certificate } = source(n);
    const body = {
      hashedRekordRequestV002: {
        digest: digest.toString('base64'),
        signature: {
          content: signature.toString('base64'),
          verifier: {
            x509Certificate: { rawBytes: certificate.toString('base64') },
            keyDetails: 'PKIX_ECDSA_P256_SHA_256',
          },
        },
      },
    };
    return wireRequest({ path: '/api/v2/log/entries', body: Buffer.from(JSON.stringify(body)), contentType: json });
  });
}

/** Log entries for Rekor v1. */
export async function rekor1Requests(count: number): Promise<Buffer[]> {
  const source = await signatureSource();
  return Array.from({ length: count }, (_, n) => {
    const { digest, signature, certificate } = source(n);
    const body = {
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: { hash: { algorithm: 'sha256', value: digest.toString('hex') } },
        signature: {
          content: signature.toString('base64'),
          publicKey: { content: Buffer.from(encodePem('CERTIFICATE', certificate)).toString('base64') },
        },
      },
    };
    return wireRequest({ path: '/api/v1/log/entries', body: Buffer.from(JSON.stringify(body)), contentType: json });
  });
}

/** A token of the development issuer. */
export async function developmentToken(url: string): Promise<KindToken> {
  const email = 'bench@example.com';
  const response = await fetch(`${url}/dev/oidc/token`, { method: 'POST', body: JSON.stringify({ email }) });
  const { id_token: token } = (await response.json()) as { id_token: string };
  return { token, challenge: email };
}

/** Certificate requests with one token, each for a key of its own. */
export function certificateRequests(count: number, { token, challenge }: KindToken): Buffer[] {
  return Array.from({ length: count }, () => {
    const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const body = {
      credentials: { oidcIdentityToken: token },
      publicKeyRequest: {
        publicKey: {
          algorithm: 'ECDSA',
          content: encodePem('PUBLIC KEY', keys.publicKey.export({ type: 'spki', format: 'der' })),
        },
        proofOfPossession: sign('sha256', Buffer.from(challenge), keys.privateKey).toString('base64'),
      },
    };
    return wireRequest({ path: '/api/v2/signingCert', body: Buffer.from(JSON.stringify(body)), contentType: json });
  });
}

export function timestampRequests(count: number): Buffer[] {
  return Array.from({ length: count }, () =>
    wireRequest({
      path: '/api/v1/timestamp',
      body: encodeTimestampRequest({
        imprint: { hash: 'sha256', digest: new Uint8Array(randomBytes(32)) },
        certReq: true,
      }),
      contentType: 'application/timestamp-query',
    }),
  );
}
