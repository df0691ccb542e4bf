/**
 * A CI system as far as identities go: an OIDC issuer on this machine with a signing key of its own, and the endpoint at which a job of GitHub Actions
 * asks for its token.
 *
 *     const issuer = await startCiIssuer({ claims: gitHubClaims });
 *     issuer.token({ audience: 'sigstore' });      // what GitLab puts into a variable of the job
 *     issuer.requestUrl, issuer.requestToken       // what GitHub puts into its environment
 */
import { createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { type AddressInfo } from 'node:net';

export interface CiIssuer {
  /** The tokens' `iss`. */
  readonly url: string;
  /** ACTIONS_ID_TOKEN_REQUEST_URL: with a query already, as there. */
  readonly requestUrl: string;
  /** ACTIONS_ID_TOKEN_REQUEST_TOKEN. */
  readonly requestToken: string;
  /** The tokens it has given, oldest first. */
  readonly given: readonly string[];
  token(options: { readonly audience: string; readonly claims?: Readonly<Record<string, unknown>> }): string;
  close(): Promise<void>;
}

export async function startCiIssuer(options: {
  readonly claims: Readonly<Record<string, unknown>>;
}): Promise<CiIssuer> {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'ci-1', alg: 'RS256', use: 'sig' };
  const requestToken = randomBytes(24).toString('base64url');
  const given: string[] = [];

  const token: CiIssuer['token'] = ({ audience, claims = {} }) => {
    const now = Math.floor(Date.now() / 1000);
    const times = { iat: now, nbf: now - 5, exp: now + 300, jti: randomBytes(8).toString('hex') };
    const body = [
      { alg: 'RS256', typ: 'JWT', kid: jwk.kid },
      { iss: url, aud: audience, ...times, ...options.claims, ...claims },
    ]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.');
    const made = `${body}.${createSign('RSA-SHA256').update(body).sign(privateKey).toString('base64url')}`;
    given.push(made);
    return made;
  };

  const answer = ({ url: path = '/', headers }: IncomingMessage): object | undefined => {
    const { pathname, searchParams } = new URL(path, url);
    if (pathname === '/.well-known/openid-configuration') {
      return {
        issuer: url,
        jwks_uri: `${url}/keys`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['RS256'],
      };
    }
    if (pathname === '/keys') return { keys: [jwk] };
    const isAllowed = /^bearer (.*)$/i.exec(headers.authorization ?? '')?.[1] === requestToken;
    if (pathname === '/token' && isAllowed && searchParams.get('api-version') === '2.0') {
      const value = token({ audience: searchParams.get('audience') ?? url });
      return { count: value.length, value };
    }
    return undefined;
  };
  const server = createServer((request, response) => {
    const body = answer(request);
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body ?? { message: 'not found' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    requestUrl: `${url}/token?api-version=2.0`,
    requestToken,
    given,
    token,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
