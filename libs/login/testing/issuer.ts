import { createHash, generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto';

/** A request as the issuer sees it. */
export interface IssuerCall {
  readonly method: string;
  readonly path: string;
  readonly form: URLSearchParams;
  readonly headers: Headers;
}

interface Pending {
  readonly challenge: string;
  readonly redirectUri: string;
  readonly nonce: string | undefined;
}

/** An issuer in memory that follows the protocol, unless a test changes what it says. */
export interface FakeIssuer {
  readonly issuer: string;
  readonly fetch: typeof globalThis.fetch;
  readonly calls: IssuerCall[];
  /** Milliseconds since 1970. */
  nowMs: number;
  /** Its discovery document. */
  metadata: Record<string, unknown>;
  /** What its tokens say; a test puts another function here. */
  claims: (usual: Record<string, unknown>) => Record<string, unknown>;
  /** The header of its tokens. */
  header: Record<string, unknown>;
  /** Who signs; its key set keeps the first. */
  signingKey: KeyObject;
  /** What the token endpoint answers besides. */
  tokenAnswer: (usual: Record<string, unknown>) => Record<string, unknown>;
  /** Parameters with which the browser comes back. */
  callback: (usual: Record<string, string>) => Record<string, string>;
  /** An answer instead of the usual one. */
  before: (call: IssuerCall) => Response | undefined | Promise<Response | undefined>;
  /** What a token endpoint says to a device, one after the other; then it gives the token. */
  deviceAnswers: string[];
  /** With which status it says so: RFC 6749 §5.2 has 400. */
  deviceStatus: number;
  /** Signs in and consents: where the browser goes next. */
  authorize(url: string): URL;
}

export const json = (value: unknown, status = 200): Response =>
  new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json' } });

export function createFakeIssuer(issuer = 'https://login.example'): FakeIssuer {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pending = new Map<string, Pending>();
  let device: { challenge: string } | undefined;

  const fake: FakeIssuer = {
    issuer,
    calls: [],
    nowMs: Date.now(),
    metadata: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      device_authorization_endpoint: `${issuer}/device`,
      jwks_uri: `${issuer}/jwks`,
      id_token_signing_alg_values_supported: ['ES256'],
      authorization_response_iss_parameter_supported: true,
    },
    claims: (usual) => usual,
    header: { alg: 'ES256', kid: 'one' },
    signingKey: privateKey,
    tokenAnswer: (usual) => usual,
    callback: (usual) => usual,
    before: () => undefined,
    deviceAnswers: [],
    deviceStatus: 400,
    authorize: (url) => {
      const query = new URL(url).searchParams;
      const code = randomBytes(16).toString('hex');
      pending.set(code, {
        challenge: query.get('code_challenge') ?? '',
        redirectUri: query.get('redirect_uri') ?? '',
        nonce: query.get('nonce') ?? undefined,
      });
      const callback = new URL(query.get('redirect_uri') ?? '');
      const answer = fake.callback({ code, state: query.get('state') ?? '', iss: issuer });
      callback.search = new URLSearchParams(answer).toString();
      return callback;
    },
    fetch: async (input, init) => {
      const url = new URL(input instanceof Request ? input.url : input);
      const call: IssuerCall = {
        method: init?.method ?? 'GET',
        path: `${url.origin}${url.pathname}`.replace(issuer, ''),
        form: new URLSearchParams(init?.body as URLSearchParams | undefined), // what the library sends
        headers: new Headers(init?.headers),
      };
      fake.calls.push(call);
      return (await fake.before(call)) ?? answerTo(call);
    },
  };
  return fake;

  function answerTo({ path, form }: IssuerCall): Response {
    switch (path) {
      case '/.well-known/openid-configuration':
        return json(fake.metadata);
      case '/jwks':
        return json({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' }] });
      case '/device':
        device = { challenge: form.get('code_challenge') ?? '' };
        return json({
          device_code: 'the-device-code',
          user_code: 'WDJB-MJHT',
          verification_uri: `${issuer}/activate`,
          verification_uri_complete: `${issuer}/activate?user_code=WDJB-MJHT`,
          expires_in: 600,
          interval: 5,
        });
      case '/token':
        return answerToken(form);
      default:
        return json({ error: 'not_found' }, 404);
    }
  }

  function answerToken(form: URLSearchParams): Response {
    const invalid = () => json({ error: 'invalid_grant', error_description: 'the grant is not good' }, 400);
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    switch (form.get('grant_type')) {
      case 'authorization_code': {
        const login = pending.get(form.get('code') ?? '');
        pending.delete(form.get('code') ?? '');
        if (login?.challenge !== challenge || login.redirectUri !== form.get('redirect_uri')) return invalid();
        return json(tokens(login.nonce === undefined ? {} : { nonce: login.nonce }));
      }
      case 'urn:ietf:params:oauth:grant-type:device_code': {
        const error = fake.deviceAnswers.shift();
        if (error !== undefined) return json({ error }, fake.deviceStatus);
        return device?.challenge === challenge ? json(tokens({})) : invalid();
      }
      case 'client_credentials':
        return json(fake.tokenAnswer({ access_token: token({ sub: 'a-program' }), token_type: 'Bearer' }));
      default:
        return json({ error: 'unsupported_grant_type' }, 400);
    }
  }

  function tokens(more: Record<string, unknown>): Record<string, unknown> {
    const accessToken = randomBytes(16).toString('hex');
    const half = createHash('sha256').update(accessToken).digest().subarray(0, 16).toString('base64url');
    const idToken = token({ sub: 'alice', email: 'alice@example.com', email_verified: true, at_hash: half, ...more });
    return fake.tokenAnswer({ access_token: accessToken, token_type: 'Bearer', id_token: idToken });
  }

  function token(more: Record<string, unknown>): string {
    const seconds = Math.floor(fake.nowMs / 1000);
    const claims = fake.claims({ iss: issuer, aud: 'sigstore', iat: seconds, exp: seconds + 600, ...more });
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part(fake.header)}.${part(claims)}`;
    if (fake.header['alg'] === 'none') return `${text}.`;
    const signature = sign('sha256', Buffer.from(text), { key: fake.signingKey, dsaEncoding: 'ieee-p1363' });
    return `${text}.${signature.toString('base64url')}`;
  }
}
