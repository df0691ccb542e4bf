import { describe, expect, it } from 'vitest';
import { everythingOf, failureOf, fakeMachine, makeToken, startService, type Answer } from '../testing/ambient.js';
import { ambientToken, type AmbientProviderName, type SignErrorCode } from './index.js';

const METADATA = 'http://169.254.169.254';
const google = { 'metadata-flavor': 'Google' };

/** A provider that asks a service: what surrounds it, and what the service answers and sees when all is well. */
interface Place {
  name: AmbientProviderName;
  /** Where it runs, told apart from other ways of the same provider. */
  title: string;
  audience?: string;
  env: (url: string) => Record<string, string>;
  routes?: (url: string) => Record<string, string>;
  answer: (token: string) => Answer;
  /** As `answer`, but with the value empty. */
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: unknown;
  secret?: string;
  cure: RegExp;
}

const json = (value: unknown): Answer => ({
  body: JSON.stringify(value),
  headers: { 'content-type': 'application/json' },
});
const APP = 'api://chancery';
const FIXED = 'api://AzureADTokenExchange';

const places: Place[] = [
  {
    name: 'github-actions',
    title: 'GitHub Actions',
    env: (url) => ({
      GITHUB_ACTIONS: 'true',
      ACTIONS_ID_TOKEN_REQUEST_URL: `${url}/idtoken?api-version=2.0`,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'Gq7x-request-secret',
    }),
    answer: (value) => json({ count: 1, value }),
    method: 'GET',
    path: '/idtoken?api-version=2.0&audience=sigstore',
    headers: { authorization: 'bearer Gq7x-request-secret' },
    secret: 'Gq7x-request-secret',
    cure: /`permissions: id-token: write`/,
  },
  {
    name: 'buildkite',
    title: "Buildkite, the agent's API",
    env: (url) => ({
      BUILDKITE: 'true',
      BUILDKITE_AGENT_ENDPOINT: `${url}/v3/`,
      BUILDKITE_AGENT_ACCESS_TOKEN: 'Bq7x-agent-secret',
      BUILDKITE_JOB_ID: '0184990a-477b-4fa8-9968-496074483cee',
    }),
    answer: (token) => json({ token }),
    method: 'POST',
    path: '/v3/jobs/0184990a-477b-4fa8-9968-496074483cee/oidc/tokens',
    headers: { authorization: 'Token Bq7x-agent-secret', 'content-type': 'application/json' },
    body: { audience: 'sigstore' },
    secret: 'Bq7x-agent-secret',
    cure: /`buildkite-agent oidc request-token --audience sigstore`.*`mount-buildkite-agent: true`/,
  },
  {
    name: 'google',
    title: 'Google Cloud',
    env: () => ({ K_SERVICE: 'job' }),
    routes: (url) => ({ [METADATA]: url }),
    answer: (body) => ({ body, headers: google }),
    method: 'GET',
    path: '/computeMetadata/v1/instance/service-accounts/default/identity?audience=sigstore&format=full',
    headers: { 'metadata-flavor': 'Google' },
    cure: /^Attach a service account to the instance/,
  },
  {
    name: 'azure',
    title: 'Azure Pipelines',
    audience: FIXED,
    env: (url) => ({
      TF_BUILD: 'True',
      SYSTEM_OIDCREQUESTURI: `${url}/_apis/oidctoken`,
      SYSTEM_ACCESSTOKEN: 'Pq7x-access-secret',
    }),
    answer: (oidcToken) => json({ oidcToken }),
    method: 'POST',
    path: '/_apis/oidctoken?api-version=7.1-preview.1',
    headers: { authorization: 'Bearer Pq7x-access-secret', 'x-tfs-fedauthredirect': 'Suppress' },
    secret: 'Pq7x-access-secret',
    cure: /`env: SYSTEM_ACCESSTOKEN: \$\(System\.AccessToken\)`/,
  },
  {
    name: 'azure',
    title: 'Azure, managed identity of a service',
    audience: APP,
    env: (url) => ({
      IDENTITY_ENDPOINT: `${url}/msi/token`,
      IDENTITY_HEADER: 'Iq7x-header-secret',
      AZURE_CLIENT_ID: 'f5b52a2c-0000-4000-8000-000000000001',
    }),
    answer: (access_token) => json({ access_token, expires_on: '1', token_type: 'Bearer' }),
    method: 'GET',
    path: '/msi/token?api-version=2019-08-01&resource=api%3A%2F%2Fchancery&client_id=f5b52a2c-0000-4000-8000-000000000001',
    headers: { 'x-identity-header': 'Iq7x-header-secret' },
    secret: 'Iq7x-header-secret',
    cure: /^Assign a managed identity/,
  },
  {
    name: 'azure',
    title: 'Azure, managed identity of a virtual machine',
    audience: APP,
    env: () => ({}),
    routes: (url) => ({ [METADATA]: url }),
    answer: (access_token) => json({ access_token }),
    method: 'GET',
    path: '/metadata/identity/oauth2/token?api-version=2018-02-01&resource=api%3A%2F%2Fchancery',
    headers: { metadata: 'true' },
    cure: /^Assign a managed identity/,
  },
];

describe.each(places)('$title', (place) => {
  const audience = place.audience ?? 'sigstore';
  const good = makeToken({ aud: audience });

  /** Asks the place, whose service answers so. */
  async function ask(answer: Answer, options: { timeoutMs?: number; env?: Record<string, string> } = {}) {
    const service = await startService(() => answer);
    const machine = fakeMachine({
      audience,
      env: { ...place.env(service.url), ...options.env },
      routes: place.routes?.(service.url) ?? {},
      timeoutMs: options.timeoutMs ?? 5_000,
    });
    return { ...service, work: ambientToken(machine.environment, { only: place.name }), outgoing: machine.outgoing };
  }

  it('gives the token that the service answers, for the right question', async () => {
    const { work, seen } = await ask(place.answer(good));
    expect(await work).toEqual({ provider: place.name, token: good });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ method: place.method, path: place.path, headers: place.headers });
    if (place.body !== undefined) expect(JSON.parse(seen[0]?.body ?? '')).toEqual(place.body);
  });

  it.each([401, 403, 404])('refused with %i, says what to add, and does not ask again', async (status) => {
    const { work, seen } = await ask({ ...place.answer(good), status });
    const failure = await failureOf(work);
    expect(failure).toMatchObject({ code: 'SIGN_REFUSED', status, provider: place.name });
    expect(failure.cure).toMatch(place.cure);
    expect(seen).toHaveLength(1);
  });

  it('asks three times when the service is broken', async () => {
    const { work, seen } = await ask({ ...place.answer(good), status: 500 });
    const failure = await failureOf(work);
    expect(failure).toMatchObject({ code: 'SIGN_UNAVAILABLE', status: 500, provider: place.name });
    expect(failure.cure).not.toBeUndefined();
    expect(seen).toHaveLength(3);
  });

  it.each<[string, Answer, SignErrorCode]>([
    ['for another audience', place.answer(makeToken({ aud: 'someone-else' })), 'SIGN_TOKEN_AUDIENCE'],
    ['without an audience', place.answer(makeToken({ aud: undefined })), 'SIGN_TOKEN_AUDIENCE'],
    ['that is none', place.answer('opaque'), 'SIGN_TOKEN_MALFORMED'],
    ['without a subject', place.answer(makeToken({ aud: audience, sub: undefined })), 'SIGN_TOKEN_MALFORMED'],
  ])('refuses a token %s, with the cure', async (_, answer, code) => {
    const failure = await failureOf((await ask(answer)).work);
    expect(failure).toMatchObject({ code, provider: place.name });
    expect(failure.cure).toMatch(place.name === 'google' ? /audience "sigstore"/ : place.cure);
  });

  it('names both audiences', async () => {
    const failure = await failureOf((await ask(place.answer(makeToken({ aud: 'someone-else' })))).work);
    expect(failure.message).toContain(`its audience is "someone-else", wanted is "${audience}"`);
  });

  it('refuses an empty value', async () => {
    const failure = await failureOf((await ask(place.answer(''))).work);
    expect(failure.code).toBe(place.name === 'google' ? 'SIGN_TOKEN_MISSING' : 'SIGN_RESPONSE_MALFORMED');
    expect(failure.cure).not.toBeUndefined();
  });

  it.each([
    ['a web page', '<html>sign in</html>'],
    ['no value', '{}'],
    ['a value that is no text', '{"value":1,"token":1,"oidcToken":1,"access_token":1}'],
    ['an array', '[]'],
    ['null', 'null'],
    ['the same member twice', '{"value":"a","value":"b"}'],
  ])('refuses an answer that is %s', async (_, body) => {
    const failure = await failureOf((await ask({ headers: google, body })).work);
    const code = place.name === 'google' ? 'SIGN_TOKEN_MALFORMED' : 'SIGN_RESPONSE_MALFORMED';
    expect(failure).toMatchObject({ code, provider: place.name });
    expect(everythingOf(failure)).not.toContain('sign in');
  });

  it.each<[string, Answer]>([
    ['that is huge', { headers: google, body: 'x'.repeat(64 * 1024 + 1) }],
    [
      'that announces to be huge',
      { headers: { ...google, 'content-length': '1000000000' }, body: { stream: 'stall' } },
    ],
    ['without end', { headers: google, body: { stream: 'endless' } }],
  ])('stops reading an answer %s', async (_, answer) => {
    expect(await failureOf((await ask(answer)).work)).toMatchObject({
      code: 'SIGN_RESPONSE_TOO_LARGE',
      provider: place.name,
    });
  });

  it('does not wait for an answer that stalls', async () => {
    const failure = await failureOf(
      (await ask({ headers: google, body: { stream: 'stall' } }, { timeoutMs: 50 })).work,
    );
    expect(failure).toMatchObject({ code: 'SIGN_NETWORK', provider: place.name });
  });

  it('refuses a redirect, so that nothing goes to another host', async () => {
    const elsewhere = await startService(() => place.answer(good));
    const { work } = await ask({ status: 307, headers: { ...google, location: `${elsewhere.url}/stolen` } });
    expect(await failureOf(work)).toMatchObject({ code: 'SIGN_REDIRECT', provider: place.name });
    expect(elsewhere.seen).toEqual([]);
  });

  it('says that nobody answers', async () => {
    const machine = fakeMachine({
      audience,
      env: place.env('http://127.0.0.1:1'),
      routes: place.routes?.('http://127.0.0.1:1') ?? {},
    });
    const failure = await failureOf(ambientToken(machine.environment, { only: place.name }));
    expect(failure).toMatchObject({ code: 'SIGN_NETWORK', provider: place.name });
  });
});

describe.each(places.filter(({ secret }) => secret !== undefined))('the credential of $title', (place) => {
  const secret = place.secret as string;
  const audience = place.audience ?? 'sigstore';

  it('stays out of messages, whatever the service repeats, and wherever a long answer is cut', async () => {
    const token = makeToken();
    const answers = [`${secret} ${token}`, ...[...secret].map((_, at) => `${'p'.repeat(300 - at)}${secret} more`)];
    let said = '';
    const service = await startService(() => ({ status: 403, body: JSON.stringify({ message: said }) }));
    const { environment } = fakeMachine({ audience, env: place.env(service.url) });
    for (said of answers) {
      const shown = everythingOf(await failureOf(ambientToken(environment, { only: place.name })));
      expect(shown).not.toContain(secret.slice(0, 6));
      expect(shown).not.toContain(token.slice(0, 12));
    }
    expect(service.seen).toHaveLength(answers.length);
  });

  it('is not sent if it would break out of its header', async () => {
    const service = await startService(() => place.answer(makeToken({ aud: audience })));
    const env = place.env(service.url);
    const variable = Object.entries(env).find(([, value]) => value === secret)?.[0] as string;
    const { environment } = fakeMachine({ audience, env: { ...env, [variable]: 'line-one\r\nline-two: x' } });
    const failure = await failureOf(ambientToken(environment, { only: place.name }));
    expect(failure.code).toBe('SIGN_TOKEN_MISSING');
    expect(everythingOf(failure)).not.toContain('line-');
    expect(service.seen).toEqual([]);
  });
});

describe('Google Cloud, impersonating', () => {
  const env = { GOOGLE_SERVICE_ACCOUNT_NAME: 'signer@project.iam.gserviceaccount.com' };
  const good = makeToken();

  async function ask(metadata: Answer, credentials: Answer, more: Record<string, string> = {}) {
    const first = await startService(() => ({ ...metadata, headers: { ...google, ...metadata.headers } }));
    const second = await startService(() => credentials);
    const routes = { [METADATA]: first.url, 'https://iamcredentials.googleapis.com': second.url };
    const { environment } = fakeMachine({ env: { ...env, ...more }, routes });
    return { first, second, work: ambientToken(environment) };
  }
  const access = json({ access_token: 'ya29.machine-secret', expires_in: 3599, token_type: 'Bearer' });

  it("asks for the machine's access token, and with it for the other account's identity token", async () => {
    const { first, second, work } = await ask(access, json({ token: good }));
    expect(await work).toEqual({ provider: 'google-impersonation', token: good });
    expect(first.seen.map(({ path }) => path)).toEqual([
      '/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform',
    ]);
    expect(second.seen).toMatchObject([
      {
        method: 'POST',
        path: '/v1/projects/-/serviceAccounts/signer@project.iam.gserviceaccount.com:generateIdToken',
        headers: { authorization: 'Bearer ya29.machine-secret' },
        body: '{"audience":"sigstore","includeEmail":true}',
      },
    ]);
  });

  it.each<[string, Answer, Answer, SignErrorCode]>([
    ['the account may not', access, { status: 403, body: 'ya29.machine-secret may not' }, 'SIGN_REFUSED'],
    ['there is no such account', access, { status: 404 }, 'SIGN_REFUSED'],
    ['the machine has no account', { status: 404 }, json({ token: good }), 'SIGN_REFUSED'],
    ['the metadata server is broken', { status: 500 }, json({ token: good }), 'SIGN_UNAVAILABLE'],
    ['the access token is absent', json({}), json({ token: good }), 'SIGN_RESPONSE_MALFORMED'],
    ['the access token breaks lines', json({ access_token: 'a\nb: c' }), json({ token: good }), 'SIGN_TOKEN_MISSING'],
    ['the token is absent', access, json({}), 'SIGN_RESPONSE_MALFORMED'],
    ['the token is for others', access, json({ token: makeToken({ aud: 'x' }) }), 'SIGN_TOKEN_AUDIENCE'],
  ])('fails if %s', async (_, metadata, credentials, code) => {
    const failure = await failureOf((await ask(metadata, credentials)).work);
    expect(failure).toMatchObject({ code, provider: 'google-impersonation' });
    if (code !== 'SIGN_UNAVAILABLE') {
      expect(failure.cure).toBe(
        'Grant roles/iam.serviceAccountOpenIdTokenCreator on signer@project.iam.gserviceaccount.com to the service account that this machine runs as',
      );
    }
    expect(everythingOf(failure)).not.toContain('ya29');
  });

  it.each(['a/../../b', 'a?x=1', '../x', 'a b', 'x'.repeat(257)])(
    'does not ask anyone about an account called %j',
    async (GOOGLE_SERVICE_ACCOUNT_NAME) => {
      const { first, second, work } = await ask(access, json({ token: good }), { GOOGLE_SERVICE_ACCOUNT_NAME });
      expect((await failureOf(work)).code).toBe('SIGN_TOKEN_MISSING');
      expect([...first.seen, ...second.seen]).toEqual([]);
    },
  );

  it('refuses an access token from what is no metadata server', async () => {
    const { work, second } = await ask({ ...access, headers: { 'metadata-flavor': 'google' } }, json({ token: good }));
    expect((await failureOf(work)).code).toBe('SIGN_RESPONSE_MALFORMED');
    expect(second.seen).toEqual([]);
  });
});

describe('Google Cloud, the metadata server', () => {
  it.each<[string, Record<string, string>]>([
    ['without Metadata-Flavor', {}],
    ['with another Metadata-Flavor', { 'metadata-flavor': 'Azure' }],
  ])('is not believed %s', async (_, headers) => {
    const { url } = await startService(() => ({ headers, body: makeToken() }));
    const { environment } = fakeMachine({ env: { GCE_METADATA_HOST: url.slice('http://'.length) } });
    const failure = await failureOf(ambientToken(environment));
    expect(failure).toMatchObject({ code: 'SIGN_RESPONSE_MALFORMED', provider: 'google' });
    expect(failure.message).toContain('Metadata-Flavor');
  });

  it('is where GCE_METADATA_HOST says', async () => {
    const { url } = await startService(() => ({ headers: google, body: `${makeToken()}\n` }));
    const { environment } = fakeMachine({ env: { GCE_METADATA_HOST: url.slice('http://'.length) } });
    expect(await ambientToken(environment)).toEqual({ provider: 'google', token: makeToken() });
  });

  it.each(['http://127.0.0.1', 'host/path', 'a@b', 'host:port', 'a b', '[::1', 'host#x', 'host:99999'])(
    'is not at GCE_METADATA_HOST=%j',
    async (GCE_METADATA_HOST) => {
      const { environment, outgoing } = fakeMachine({ env: { GCE_METADATA_HOST } });
      expect(await failureOf(ambientToken(environment))).toMatchObject({ code: 'SIGN_URL', provider: 'google' });
      expect(outgoing).toEqual([]);
    },
  );

  const PRODUCT = '/sys/class/dmi/id/product_name';
  const answers = async () => ({
    [METADATA]: (await startService(() => ({ headers: google, body: makeToken() }))).url,
  });

  it.each(['Google\n', 'Google Compute Engine\n'])('is asked where the firmware says %j', async (product) => {
    const { environment } = fakeMachine({ files: { [PRODUCT]: product }, routes: await answers() });
    expect(await ambientToken(environment)).toMatchObject({ provider: 'google' });
  });

  it.each<[string, Record<string, string | Error>, Record<string, string>]>([
    ['another firmware', { [PRODUCT]: 'Virtual Machine' }, { K_SERVICE: 'x' }],
    ['no firmware and no sign of Cloud Run', {}, {}],
    ['firmware that may not be read', { [PRODUCT]: new Error('EACCES') }, {}],
  ])('is not asked with %s', async (_, files, env) => {
    const { environment, outgoing } = fakeMachine({ files, env, routes: await answers() });
    expect(await ambientToken(environment)).toBeUndefined();
    expect(outgoing).toEqual([]);
  });

  it('decides about Cloud Run, which hides its firmware', async () => {
    for (const variable of ['K_SERVICE', 'CLOUD_RUN_JOB']) {
      const { environment } = fakeMachine({ env: { [variable]: 'x' }, routes: await answers() });
      expect(await ambientToken(environment)).toMatchObject({ provider: 'google' });
    }
  });

  it.each<[string, Answer | undefined]>([
    ['nobody answers', undefined],
    ['somebody else answers', { body: makeToken() }],
    ['it refuses', { status: 404, headers: google }],
  ])('is not there if %s', async (_, answer) => {
    const routes = answer === undefined ? {} : { [METADATA]: (await startService(() => answer)).url };
    const { environment, outgoing } = fakeMachine({ env: { K_SERVICE: 'knative' }, routes });
    expect(await ambientToken(environment)).toBeUndefined();
    expect(outgoing).toHaveLength(1);
  });
});

describe('where a credential may go', () => {
  const urls: [string, 'loopback' | 'link-local' | 'refused'][] = [
    ['http://127.0.0.1:1/x', 'loopback'],
    ['http://127.8.9.10:1/x', 'loopback'],
    ['http://localhost:1/x', 'loopback'],
    ['http://[::1]:1/x', 'loopback'],
    ['http://0x7f.1:1/x', 'loopback'],
    ['http://169.254.129.2:1/x', 'link-local'],
    ['http://[fe80::1]:1/x', 'link-local'],
    ['http://example.com/x', 'refused'],
    ['http://10.0.0.1/x', 'refused'],
    ['http://127.0.0.1.example.com/x', 'refused'],
    ['http://localhost.example.com/x', 'refused'],
    ['http://169.254.169.254.example.com/x', 'refused'],
    ['http://0.0.0.0:1/x', 'refused'],
    ['http://[fec0::1]:1/x', 'refused'],
    ['http://user:pass@127.0.0.1:1/x', 'refused'],
    ['https://user:pass@example.com/x', 'refused'],
    ['https://example.com/x#fragment', 'refused'],
    ['ftp://127.0.0.1/x', 'refused'],
    ['file:///etc/passwd', 'refused'],
    ['/x', 'refused'],
    ['not a url', 'refused'],
  ];
  const askers: [AmbientProviderName, string, Record<string, string>, 'loopback' | 'link-local'][] = [
    ['github-actions', 'ACTIONS_ID_TOKEN_REQUEST_URL', { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 's' }, 'loopback'],
    ['azure', 'SYSTEM_OIDCREQUESTURI', { SYSTEM_ACCESSTOKEN: 's' }, 'loopback'],
    ['buildkite', 'BUILDKITE_AGENT_ENDPOINT', { BUILDKITE_AGENT_ACCESS_TOKEN: 's', BUILDKITE_JOB_ID: 'j' }, 'loopback'],
    ['azure', 'IDENTITY_ENDPOINT', { IDENTITY_HEADER: 's' }, 'link-local'],
    ['azure', 'AZURE_POD_IDENTITY_AUTHORITY_HOST', {}, 'link-local'],
  ];

  it.each(askers)(
    '%s: %s is https, or http to a host without a network between',
    async (only, variable, env, plain) => {
      for (const [url, kind] of [...urls, ['https://example.com/x', 'loopback'] as const]) {
        const asked: string[] = [];
        const { environment } = fakeMachine({ env: { ...env, [variable]: url } });
        environment.http.fetch = (input) => {
          asked.push(input as string);
          return Promise.reject(new TypeError('fetch failed'));
        };
        const { code } = await failureOf(ambientToken(environment, { only }));
        const allowed = kind === 'loopback' || (kind === 'link-local' && plain === 'link-local');
        expect([url, code, asked.length > 0]).toEqual([url, allowed ? 'SIGN_NETWORK' : 'SIGN_URL', allowed]);
      }
    },
  );
});
