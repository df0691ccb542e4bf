import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { answerJson, answerRedirect, type IssuerServer, makeTls, startIssuer } from '../testing/issuer-server.js';
import type { IssuerConfig } from './config.js';
import { createIssuerFetch, type IssuerFetch, type IssuerFetchOptions } from './fetch.js';
import { type IdentityError } from './index.js';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((each) => each.close()));
});

async function start(options: Parameters<typeof startIssuer>[0] = {}): Promise<IssuerServer> {
  const server = await startIssuer(options);
  server.routes.set('/', answerJson({}));
  open.push(server);
  return server;
}

function make(options: Partial<IssuerFetchOptions> = {}): IssuerFetch {
  const fetch = createIssuerFetch({ issuers: [], ...options });
  open.push(fetch);
  return fetch;
}

const config = (issuerUrl: string, more: Partial<IssuerConfig> = {}): IssuerConfig => ({
  issuerUrl,
  wildcard: false,
  clientId: 'sigstore',
  type: 'email',
  ...more,
});

/** Asks, and reads the answer. */
async function ask(fetch: IssuerFetch, url: string, issuer: IssuerConfig = config('https://issuer.example')) {
  const signal = new AbortController().signal;
  const source = { issuer: issuer.issuerUrl, config: issuer };
  const response = await fetch(url, { redirect: 'manual', headers: { accept: 'application/json' }, signal }, source);
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body ?? []) chunks.push(chunk);
  return { status: response.status, headers: response.headers, body: Buffer.concat(chunks).toString() };
}

describe('createIssuerFetch()', () => {
  test('connects to a private address only if its host or network is allowed', async () => {
    const server = await start();
    await expect(ask(make(), server.url)).rejects.toThrow(
      /^"localhost", which is "(127\.0\.0\.1|::1)", is a loopback address, and neither it nor its network is allowed$/,
    );
    await expect(ask(make({ allowPrivate: ['10.0.0.0/8', 'other.example'] }), server.url)).rejects.toThrow(/loopback/);
    expect(server.connections()).toBe(0);
    for (const entry of ['localhost', 'LOCALHOST.']) {
      expect((await ask(make({ allowPrivate: [entry] }), server.url)).status).toBe(200);
    }
    expect((await ask(make({ allowPrivate: ['127.0.0.0/8'] }), `http://127.0.0.1:${server.port}/`)).status).toBe(200);
  });

  test.each([
    '127.0.0.1',
    '127.1',
    '0x7f.1',
    '0177.0.0.1',
    '2130706433',
    '0x7f000001',
    '127.0.0.1.',
    '１２７.0.0.1',
    '0',
  ])('refuses the literal %s before it connects', async (literal) => {
    const server = await start();
    await expect(ask(make(), `http://${literal}:${server.port}/`)).rejects.toThrow(
      /^"(127\.0\.0\.1|0\.0\.0\.0)" is a (loopback|unspecified) address/,
    );
    expect(server.connections()).toBe(0);
  });

  test.each([
    ...['::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '::', 'fe80::1', '64:ff9b::7f00:1', '2002:7f00:1::'],
    ...['fd00:ec2::254'],
  ])('refuses the literal [%s]', async (literal) => {
    await expect(ask(make(), `http://[${literal}]/`)).rejects.toThrow(/ address, and neither it nor its network/);
  });

  test('CVE-2026-49478: refuses a public name that resolves to a private address, also beside a public one', async () => {
    const server = await start();
    for (const addresses of [['127.0.0.1'], ['::1'], ['::ffff:127.0.0.1'], ['93.184.216.34', '127.0.0.1']]) {
      const fetch = make({ lookup: async () => addresses });
      await expect(ask(fetch, `http://issuer.example:${server.port}/`)).rejects.toThrow(/^"issuer.example", which is /);
    }
    expect(server.connections()).toBe(0);
  });

  test('DNS rebinding: connects to the very address that was checked, and checks each time', async () => {
    const server = await start();
    // The first stands for a public address.
    const answers = [['127.0.0.1'], ['127.0.0.2']];
    let lookups = 0;
    const fetch = make({ allowPrivate: ['127.0.0.1'], lookup: async () => answers[lookups++] ?? [] });
    expect((await ask(fetch, `http://issuer.example:${server.port}/`)).status).toBe(200);
    expect({ lookups, address: server.asked[0]?.address }).toEqual({ lookups: 1, address: '127.0.0.1' });
    await expect(ask(fetch, `http://issuer.example:${server.port}/`)).rejects.toThrow(/"127.0.0.2", is a loopback/);
    expect(server.connections()).toBe(1);
  });

  test('tries the next address of a host that has several', async () => {
    const server = await start();
    const fetch = make({ allowPrivate: ['127.0.0.0/8', '::1'], lookup: async () => ['::1', '127.0.0.1'] });
    expect((await ask(fetch, `http://issuer.example:${server.port}/`)).status).toBe(200);
  });

  test.each<[string, string[]]>([
    ['no address', []],
    ['something else', ['localhost']],
  ])('refuses a lookup that gives %s', async (_name, addresses) => {
    await expect(ask(make({ lookup: async () => addresses }), 'http://issuer.example/')).rejects.toThrow(/address/);
  });

  test('refuses bad exceptions and certificates when it is made', () => {
    const codeOf = (options: Partial<IssuerFetchOptions>) => {
      try {
        createIssuerFetch({ issuers: [], ...options });
        return 'accepted';
      } catch (error) {
        return (error as IdentityError).code;
      }
    };
    expect(codeOf({ allowPrivate: ['*.example'] })).toBe('IDENTITY_CONFIG');
    expect(codeOf({ issuers: [config('https://a.example', { caCert: 'nonsense' })] })).toBe('IDENTITY_CONFIG');
    const empty = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    expect(codeOf({ issuers: [config('https://a.example', { caCert: empty })] })).toBe('IDENTITY_CONFIG');
  });

  test('does not follow redirects, and asks for no compression', async () => {
    const [server, other] = [await start(), await start()];
    let headers: object = {};
    server.routes.set('/', (request, response) => {
      headers = request.headers;
      answerRedirect(other.url)(request, response);
    });
    const { status, headers: answered } = await ask(make({ allowPrivate: ['localhost'] }), server.url);
    expect({ status, location: answered.get('location') }).toEqual({ status: 302, location: other.url });
    expect(other.connections()).toBe(0);
    expect(Object.keys(headers).sort()).toEqual(['accept', 'connection', 'host']);
  });

  test('does not use the proxies of the environment', async () => {
    const [server, proxy] = [await start(), await start()];
    for (const name of ['HTTP_PROXY', 'http_proxy', 'ALL_PROXY']) vi.stubEnv(name, proxy.url);
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    try {
      expect((await ask(make({ allowPrivate: ['localhost'] }), server.url)).status).toBe(200);
      expect(proxy.connections()).toBe(0);
    } finally {
      vi.unstubAllEnvs();
    }
  });

  test('refuses headers over 16 KiB, and stops at a body over 1 MiB', async () => {
    const server = await start();
    const fetch = make({ allowPrivate: ['localhost'] });
    server.routes.set('/head', (_, response) => void response.setHeader('x', 'x'.repeat(17_000)).end());
    server.routes.set('/body', (_, response) => void response.end(Buffer.alloc(1024 * 1024 + 1)));
    await expect(ask(fetch, `${server.url}/head`)).rejects.toThrow(/[Hh]eaders? [Oo]verflow/);
    await expect(ask(fetch, `${server.url}/body`)).rejects.toThrow(/max size/);
  });

  test('gives up on a server that says nothing, and on a body that stops', async () => {
    const server = await start();
    const fetch = make({ allowPrivate: ['localhost'], timeouts: { idleMs: 50 } });
    server.routes.set('/nothing', () => undefined);
    server.routes.set('/half', (_, response) => void response.writeHead(200).write('{'));
    await expect(ask(fetch, `${server.url}/nothing`)).rejects.toThrow(/[Tt]imeout/);
    await expect(ask(fetch, `${server.url}/half`)).rejects.toThrow(/[Tt]imeout/);
  });

  test('opens four connections to a host, the next wait', async () => {
    const server = await start();
    const waiting: (() => void)[] = [];
    server.routes.set('/', (_, response) => void waiting.push(() => response.end('{}')));
    const fetch = make({ allowPrivate: ['localhost'] });
    const all = Array.from({ length: 6 }, () => ask(fetch, server.url));
    await vi.waitFor(() => expect(waiting.length).toBe(4), { interval: 2 });
    expect(server.connections()).toBe(4);
    waiting.splice(0).forEach((finish) => finish());
    await vi.waitFor(() => expect(waiting.length).toBe(2), { interval: 2 });
    waiting.splice(0).forEach((finish) => finish());
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
  });

  test('close() ends what is under way, and nothing begins after it', async () => {
    const server = await start();
    const fetch = make({ allowPrivate: ['localhost'] });
    server.routes.set('/', () => void fetch.close());
    await expect(ask(fetch, server.url)).rejects.toThrow();
    await expect(ask(fetch, server.url)).rejects.toThrow(/closed/);
  });
});

describe('roots of an issuer', () => {
  let tls: Awaited<ReturnType<typeof makeTls>>;
  let foreign: Awaited<ReturnType<typeof makeTls>>;
  beforeAll(async () => {
    [tls, foreign] = [await makeTls('localhost'), await makeTls('localhost')];
  });

  test('hold for that issuer alone', async () => {
    const server = await start({ tls });
    const own = config(server.url, { caCert: tls.root });
    const other = config('https://other.example', { caCert: foreign.root });
    const fetch = make({ issuers: [own, other, config('https://third.example')], allowPrivate: ['localhost'] });
    expect((await ask(fetch, server.url, own)).status).toBe(200);
    for (const issuer of [other, config('https://third.example')]) {
      await expect(ask(fetch, server.url, issuer)).rejects.toThrow(/certificate/);
    }
    expect((await ask(fetch, server.url, own)).status).toBe(200);
  });

  test('do not stand in for the name', async () => {
    const server = await start({ tls, host: 'other.example' });
    const own = config(server.url, { caCert: tls.root });
    const fetch = make({ issuers: [own], allowPrivate: ['other.example'], lookup: async () => ['127.0.0.1'] });
    await expect(ask(fetch, server.url, own)).rejects.toThrow(/altnames|does not match/);
    expect(server.asked).toEqual([]);
  });

  test('TLS 1.1 is refused', async () => {
    const server = await start({
      tls: { ...tls, minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
    });
    const own = config(server.url, { caCert: tls.root });
    const fetch = make({ issuers: [own], allowPrivate: ['localhost'] });
    await expect(ask(fetch, server.url, own)).rejects.toThrow(/protocol|version/i);
  });

  test('a server that never finishes the handshake is given up on', async () => {
    const mute = createServer((socket) => void socket.on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const fetch = make({ allowPrivate: ['127.0.0.1'], timeouts: { connectMs: 50 } });
    const { port } = mute.address() as AddressInfo;
    await expect(ask(fetch, `https://127.0.0.1:${port}/`)).rejects.toThrow(/[Tt]imeout/);
    mute.close();
  });
});

describe('the credential of a pod', () => {
  const CLUSTER = 'https://kubernetes.default.svc';
  let tls: Awaited<ReturnType<typeof makeTls>>;
  beforeAll(async () => {
    tls = await makeTls('kubernetes.default.svc', 'localhost');
  });

  async function cluster(
    options: {
      files?: Record<string, string | Error>;
      host?: string;
      issuer?: Partial<IssuerConfig>;
      others?: IssuerConfig[];
    } = {},
  ) {
    const server = await start({ tls, host: options.host ?? 'kubernetes.default.svc' });
    const issuer = config(server.url, { type: 'kubernetes', ...options.issuer });
    const files: Record<string, string | Error> = { '/ca': tls.root, '/token': 'pod-token\n', ...options.files };
    const warnings: string[] = [];
    const fetch = make({
      issuers: [issuer, ...(options.others ?? [config(CLUSTER, { type: 'kubernetes' })])],
      lookup: async () => ['127.0.0.1'],
      warn: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
      kubernetes: {
        caFile: '/ca',
        tokenFile: '/token',
        readFile: async (path) => {
          const content = files[path];
          if (typeof content === 'string') return content;
          throw content ?? Object.assign(new Error(`ENOENT ${path}`), { code: 'ENOENT' });
        },
      },
    });
    return { server, issuer, fetch, files, warnings };
  }

  test('goes to the cluster, at its private address, and is read again each time', async () => {
    const { server, issuer, fetch, files } = await cluster();
    expect((await ask(fetch, server.url, issuer)).status).toBe(200);
    files['/token'] = 'second-token';
    expect((await ask(fetch, server.url, issuer)).status).toBe(200);
    expect(server.asked.map(({ authorization }) => authorization)).toEqual(['Bearer pod-token', 'Bearer second-token']);
  });

  test("the cluster's roots are read again each time", async () => {
    const { server, issuer, fetch, files } = await cluster({ files: { '/ca': (await makeTls('x.example')).root } });
    await expect(ask(fetch, server.url, issuer)).rejects.toThrow(/certificate/);
    files['/ca'] = tls.root;
    expect((await ask(fetch, server.url, issuer)).status).toBe(200);
  });

  test('goes to a directly configured Kubernetes issuer of another name', async () => {
    const { server, issuer, fetch } = await cluster({ host: 'localhost' });
    expect((await ask(fetch, server.url, issuer)).status).toBe(200);
    expect(server.asked[0]?.authorization).toBe('Bearer pod-token');
  });

  test.each([
    ['another host', (port: number) => `https://other.example:${port}/`],
    ['a host that begins alike', (port: number) => `https://kubernetes.default.svc.evil.example:${port}/`],
    ['another port', () => 'https://kubernetes.default.svc:1/'],
    ['plain HTTP', (port: number) => `http://kubernetes.default.svc:${port}/`],
  ])('CVE-2026-49478: a request of the cluster to %s fails, and nothing is sent', async (_name, url) => {
    const { server, issuer, fetch } = await cluster();
    await expect(ask(fetch, url(server.port), issuer)).rejects.toThrow(/must not get the credential of the pod/);
    expect(server.connections()).toBe(0);
  });

  test.each<[string, Parameters<typeof cluster>[0]]>([
    ['an issuer that a wildcard matched', { issuer: { wildcard: true } }],
    ['an issuer of another type', { issuer: { type: 'email' } }],
    ['an issuer where no cluster is configured', { others: [] }],
    [
      'an issuer where the cluster is a wildcard',
      { others: [config(CLUSTER, { wildcard: true, type: 'kubernetes' })] },
    ],
  ])('is not for %s, nor are the roots and the private address', async (_name, options) => {
    const { server, issuer, fetch } = await cluster({ ...options, host: 'localhost' });
    await expect(ask(fetch, server.url, issuer)).rejects.toThrow(/is a loopback address/);
    const allowed = make({ issuers: [issuer], allowPrivate: ['localhost'] });
    await expect(ask(allowed, server.url, issuer)).rejects.toThrow(/certificate/);
    expect(server.asked).toEqual([]);
  });

  test('is never sent over plain HTTP', async () => {
    const server = await start();
    const issuer = config(server.url, { type: 'kubernetes' });
    const readFile = async (path: string) => (path === '/ca' ? tls.root : 'pod-token');
    const fetch = make({
      issuers: [issuer, config(CLUSTER)],
      allowPrivate: ['localhost'],
      kubernetes: { readFile },
    });
    await expect(ask(fetch, server.url, issuer)).rejects.toThrow(/must not get the credential/);
    expect(server.connections()).toBe(0);
  });

  test('may be missing, which is said; its roots may not', async () => {
    const gone = Object.assign(new Error('ENOENT'), { code: 'ENOENT' });
    const { server, issuer, fetch, files, warnings } = await cluster({ files: { '/token': gone } });
    expect((await ask(fetch, server.url, issuer)).status).toBe(200);
    expect(server.asked[0]?.authorization).toBe(undefined);
    expect(warnings).toEqual(['the pod has no service account token {"file":"/token"}']);
    files['/ca'] = gone;
    await expect(ask(fetch, server.url, issuer)).rejects.toThrow('ENOENT');
  });

  test.each<[string, Record<string, string | Error>]>([
    ['an empty token file', { '/token': '\n' }],
    ['a token file with two lines', { '/token': 'a\nb' }],
    ['a token file that cannot be read', { '/token': Object.assign(new Error('EACCES'), { code: 'EACCES' }) }],
    ['a file of roots without any', { '/ca': 'nonsense' }],
  ])('%s is an error, which does not quote it', async (_name, files) => {
    const { server, issuer, fetch } = await cluster({ files });
    await expect(ask(fetch, server.url, issuer)).rejects.toThrow(/holds no token|EACCES|no certificate/);
    expect(server.connections()).toBe(0);
  });
});
