/**
 * The login of a company: a certified OpenID Connect provider that we did not write, as a real HTTP server on this machine, with pages that a
 * real browser can drive.
 *
 *     const company = await startCompanyLogin();
 *     // whose tokens a CA believes: company.fulcioConfig
 *     // the pages: #email and #sign-in, then #allow or #deny; for devices #confirm
 *     const callback = await company.signInOverHttp(authorizationUrl, { email: 'alice@example.com' });
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { importJWK, SignJWT, type JWK_RSA_Private } from 'jose';
import type { Configuration, Provider } from 'oidc-provider';

export interface CompanyLogin {
  readonly issuer: string;
  /** Fulcio's configuration for a CA that believes this login, JSON. */
  readonly fulcioConfig: string;
  /** A token as this login would sign it, with any claims. */
  sign(claims: Record<string, unknown>): Promise<string>;
  /**
   * What a browser does with these pages, without one: signs in and answers the question for consent. Returns where the browser is sent in the
   * end, which is not visited; for a device, the last page of this server.
   */
  signInOverHttp(url: string, answers: { email: string; consent?: 'allow' | 'deny' }): Promise<URL>;
  close(): Promise<void>;
}

const KEY_ID = 'company';
const EMAIL = /^[^\s@<>"]{1,64}@[^\s@<>"]{1,190}$/;

export async function startCompanyLogin(): Promise<CompanyLogin> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = {
    ...(privateKey.export({ format: 'jwk' }) as JWK_RSA_Private),
    kty: 'RSA' as const,
    kid: KEY_ID,
    alg: 'RS256',
    use: 'sig',
  };
  const provider = await makeProvider(issuer, configuration(jwk));
  const serve = provider.callback();
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (!(request.url ?? '').startsWith('/interaction/')) return void serve(request, response);
    interact(provider, request, response).catch((error: unknown) => {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(String(error));
    });
  });
  return {
    issuer,
    fulcioConfig: JSON.stringify({
      OIDCIssuers: { [issuer]: { IssuerURL: issuer, ClientID: 'sigstore', Type: 'email' } },
    }),
    sign: async (claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: KEY_ID }).sign(await importJWK(jwk, 'RS256')),
    signInOverHttp: (url, answers) => signInOverHttp(issuer, url, answers),
    close: () => close(server),
  };
}

function configuration(jwk: JWK_RSA_Private & { kty: 'RSA' }): Configuration {
  return {
    clients: [
      {
        client_id: 'sigstore',
        // RFC 8252: a program on the person's machine, which can keep no secret and chooses its port when it starts.
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://localhost/auth/callback', 'http://127.0.0.1/auth/callback'],
        grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
        response_types: ['code'],
      },
    ],
    jwks: { keys: [jwk] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    // The certificate authority sees the ID token alone, so the address must be in it.
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: id, email_verified: true }),
    }),
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    ttl: {
      AccessToken: 600,
      AuthorizationCode: 60,
      DeviceCode: 600,
      Grant: 600,
      IdToken: 600,
      Interaction: 600,
      Session: 600,
    },
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: false },
      deviceFlow: {
        enabled: true,
        userCodeInputSource: (ctx, form) => {
          ctx.body = page('Enter the code', `${form}<button id="continue" form="op.deviceInputForm">Continue</button>`);
        },
        userCodeConfirmSource: (ctx, form, _client, _device, code) => {
          ctx.body = page(
            'Is this your code?',
            `<p id="code">${code}</p>${form}
            <button id="confirm" form="op.deviceConfirmForm">It is mine</button>
            <button id="abort" form="op.deviceConfirmForm" name="abort" value="yes">It is not</button>`,
          );
        },
        successSource: (ctx) => {
          ctx.body = page('Done', '<p id="done">You may go back to your device.</p>');
        },
      },
    },
  };
}

/** The company's own pages: who are you, and may this program know. */
async function interact(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { prompt, params, session, grantId, uid } = await provider.interactionDetails(request, response);
  if (request.method !== 'POST') {
    const form =
      prompt.name === 'login'
        ? `<label>E-mail <input id="email" name="email" type="email" required></label> <button id="sign-in">Sign in</button>`
        : `<p>${String(params['client_id'])} wants to know who you are.</p>
           <button id="allow" name="consent" value="allow">Allow</button> <button id="deny" name="consent" value="deny">Deny</button>`;
    response
      .writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
      .end(page('Company login', `<form method="post" action="/interaction/${uid}">${form}</form>`));
    return;
  }
  const answers = new URLSearchParams(await readText(request));
  if (prompt.name === 'login') {
    const email = answers.get('email') ?? '';
    if (!EMAIL.test(email)) throw new Error('That is no e-mail address');
    return provider.interactionFinished(request, response, { login: { accountId: email } });
  }
  if (answers.get('consent') !== 'allow') {
    const refusal = { error: 'access_denied', error_description: 'The person said no' };
    return provider.interactionFinished(request, response, refusal, { mergeWithLastSubmission: false });
  }
  const found = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const grant =
    found ?? new provider.Grant({ accountId: session?.accountId ?? '', clientId: String(params['client_id']) });
  grant.addOIDCScope(String(params['scope']));
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title><h1>${title}</h1>${body}</html>\n`;
}

async function readText(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

async function signInOverHttp(
  issuer: string,
  url: string,
  { email, consent = 'allow' }: { email: string; consent?: 'allow' | 'deny' },
): Promise<URL> {
  const cookies = new Map<string, string>();
  let next: { url: URL; form?: URLSearchParams } = { url: new URL(url) };
  let isAnswered = false;
  // A sign-in has about six steps; one that goes round in circles is broken.
  for (let step = 0; step < 20; step++) {
    const response = await fetch(next.url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(next.form && { method: 'POST', body: next.form }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name = '', value = ''] = (cookie.split(';', 1)[0] ?? '').split(/=(.*)/s);
      cookies.set(name, value);
    }
    const html = await response.text();
    const location = response.headers.get('location');
    if (location !== null) {
      const target = new URL(location, next.url);
      if (target.origin !== issuer) return target;
      next = { url: target };
      continue;
    }
    const action = /<form[^>]* action="([^"]*)"/.exec(html)?.[1];
    if (response.status !== 200 || action === undefined || isAnswered) return next.url;
    const hidden = [...html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
    const form = new URLSearchParams(hidden.map(([, name = '', value = '']): [string, string] => [name, value]));
    if (html.includes('name="email"')) form.set('email', email);
    if (html.includes('name="consent"')) {
      form.set('consent', consent);
      isAnswered = true;
    }
    next = { url: new URL(action, next.url), form };
  }
  throw new Error('The sign-in does not end');
}

/** It warns that its memory is no database, which is the point here, and that it would like a newer Node. */
async function makeProvider(issuer: string, configuration: Configuration): Promise<Provider> {
  const { info, warn } = console;
  console.info = console.warn = () => undefined;
  try {
    const oidcProvider = await import('oidc-provider');
    return new oidcProvider.Provider(issuer, configuration);
  } finally {
    Object.assign(console, { info, warn });
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
