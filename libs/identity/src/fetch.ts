import { X509Certificate } from 'node:crypto';
import { lookup as systemLookup } from 'node:dns/promises';
import { readFile as readSystemFile } from 'node:fs/promises';
import { isIP, type LookupFunction } from 'node:net';
import * as tls from 'node:tls';
import { Agent, buildConnector } from 'undici';
import type { IssuerConfig } from './config.js';
import { IdentityError, quote } from './errors.js';
import { type AllowedPrivate, parseAllowPrivate, plainHost, refusedAddress } from './network.js';
import type { Fetch, FetchResponse, KeySource } from './provider.js';

export interface IssuerFetchOptions {
  /** All that are configured: whether there is a cluster around us is one of them. */
  readonly issuers: readonly IssuerConfig[];
  /** Exact host names, single addresses and networks (`10.0.0.0/8`) that may be reached although they are not public. */
  readonly allowPrivate?: readonly string[];
  /** The addresses of a host name. Default: those that the system resolves it to. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
  /** Where a pod finds its cluster's roots and its own credential. Default: the paths that Fulcio reads. */
  readonly kubernetes?: {
    readonly tokenFile?: string;
    readonly caFile?: string;
    readonly readFile?: (path: string) => Promise<string>;
  };
  /** Told of what does not stop a fetch: a message, and its fields. */
  readonly warn?: (message: string, fields: Readonly<Record<string, string>>) => void;
  /** For connecting, and between two reads, in milliseconds. The whole has the caller's own deadline. */
  readonly timeouts?: { readonly connectMs?: number; readonly idleMs?: number };
}

/** Closes what is open; fetches under way fail. */
export type IssuerFetch = Fetch & { close(): Promise<void> };

const KUBERNETES_ISSUER = 'https://kubernetes.default.svc';
const KUBERNETES_CA_FILE = '/var/run/fulcio/ca.crt';
const KUBERNETES_TOKEN_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/token';
const CREDENTIAL_LIMIT = 64 * 1024;

const CONNECT_TIMEOUT_MS = 5_000;
const IDLE_TIMEOUT_MS = 10_000;
const CONNECTIONS_PER_HOST = 4;
const HEADER_LIMIT = 16 * 1024;
/** Beside the readers' own, smaller limits. */
const BODY_LIMIT = 1024 * 1024;

/**
 * Makes the fetch for discovery documents and keys. Where they are is partly chosen by strangers: by who sends a token of
 * a wildcard issuer, and by providers in their documents. So:
 * - it connects to public addresses only, unless the host or network is in `allowPrivate`. What is checked is the very
 *   address of the connection: a name that resolves to something else a moment later gains nothing;
 * - redirects are left to the caller, environment proxies are not used, nothing is kept open between two requests;
 * - an issuer's own roots (`caCert`) hold for that issuer alone, beside the usual ones; TLS is 1.2 or newer;
 * - a Kubernetes issuer gets the cluster's roots and the pod's credential, at its own origin over https and nowhere else:
 *   a request of it to another origin fails. It must be configured by its exact name, beside
 *   `https://kubernetes.default.svc`, which says that there is a cluster around us; then its host may be private too.
 * @throws IdentityError `IDENTITY_CONFIG` on an entry of `allowPrivate`, or a `caCert` that is none
 */
export function createIssuerFetch(options: IssuerFetchOptions): IssuerFetch {
  const { kubernetes = {}, timeouts = {} } = options;
  const readFile = kubernetes.readFile ?? ((path: string) => readSystemFile(path, 'utf8'));
  const resolve = options.lookup ?? resolveBySystem;
  const allowed = parseAllowPrivate(options.allowPrivate ?? []);
  const inCluster = options.issuers.some(({ issuerUrl, wildcard }) => !wildcard && issuerUrl === KUBERNETES_ISSUER);
  // By roots, and by issuer: the configuration bounds both.
  const agents = new Map<string, Agent>();
  const clusterAgents = new Map<string, { readonly roots: string; readonly agent: Agent }>();
  for (const { caCert, issuerUrl } of options.issuers) {
    if (caCert === undefined) continue;
    try {
      checkRoots(caCert);
    } catch (cause) {
      throw new IdentityError(
        'IDENTITY_CONFIG',
        `Cannot use the CA certificate of issuer ${quote(issuerUrl)}: it is not PEM`,
        {
          cause,
        },
      );
    }
  }

  function makeAgent(roots: string, exceptions: AllowedPrivate): Agent {
    const base = buildConnector({
      lookup: checkedLookup(resolve, exceptions),
      secureContext: secureContext(roots),
      timeout: timeouts.connectMs ?? CONNECT_TIMEOUT_MS,
    });
    const idleMs = timeouts.idleMs ?? IDLE_TIMEOUT_MS;
    return new Agent({
      connect: (target, callback) => {
        // Names are checked as they are resolved; an address in the URL is never looked up.
        const { hostname } = target;
        const kind = isIP(hostname) === 0 ? undefined : refusedAddress(hostname, hostname, exceptions);
        if (kind === undefined) base(target, callback);
        else callback(refusal(hostname, hostname, kind), null);
      },
      connections: CONNECTIONS_PER_HOST,
      headersTimeout: idleMs,
      bodyTimeout: idleMs,
      maxHeaderSize: HEADER_LIMIT,
      maxResponseSize: BODY_LIMIT,
    });
  }

  function agentFor(roots: string): Agent {
    let agent = agents.get(roots);
    if (agent === undefined) agents.set(roots, (agent = makeAgent(roots, allowed)));
    return agent;
  }

  /** The agent and the headers that only this issuer's requests have. */
  async function clusterAccess(config: IssuerConfig): Promise<{ agent: Agent; headers: Record<string, string> }> {
    // Both files are read each time: the kubelet replaces them while we run.
    const [clusterRoots, token] = await Promise.all([readFile(kubernetes.caFile ?? KUBERNETES_CA_FILE), readToken()]);
    const roots = `${config.caCert ?? ''}\n${clusterRoots}`;
    const known = clusterAgents.get(config.issuerUrl);
    let agent = known?.agent;
    if (agent === undefined || known?.roots !== roots) {
      checkRoots(clusterRoots);
      // Its host is in the configuration by name, and the API server of a cluster never has a public address.
      const host = plainHost(new URL(config.issuerUrl).hostname);
      void agent?.close();
      agent = makeAgent(roots, { ...allowed, hosts: new Set([...allowed.hosts, host]) });
      clusterAgents.set(config.issuerUrl, { roots, agent });
    }
    return { agent, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } };
  }

  async function readToken(): Promise<string | undefined> {
    const tokenFile = kubernetes.tokenFile ?? KUBERNETES_TOKEN_FILE;
    let text: string;
    try {
      text = (await readFile(tokenFile)).trim();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      options.warn?.('the pod has no service account token', { file: tokenFile });
      return undefined;
    }
    // Not quoted: it is a credential.
    if (text.length > CREDENTIAL_LIMIT || !/^[\x21-\x7e]+$/.test(text)) throw new Error(`${tokenFile} holds no token`);
    return text;
  }

  let closed = false;
  const issuerFetch: Fetch = async (url, init, { config }: KeySource) => {
    if (closed) throw new Error('the fetch was closed');
    const target = new URL(url);
    let agent: Agent;
    let headers: Readonly<Record<string, string>> = init.headers;
    if (inCluster && config.type === 'kubernetes' && !config.wildcard) {
      const { origin, protocol } = new URL(config.issuerUrl);
      if (target.origin !== origin || protocol !== 'https:') {
        throw new Error(
          `${quote(target.origin)} must not get the credential of the pod, which is for ${quote(origin)}`,
        );
      }
      const access = await clusterAccess(config);
      agent = access.agent;
      headers = { ...headers, ...access.headers };
    } else {
      agent = agentFor(config.caCert ?? '');
    }
    const { signal } = init;
    signal.throwIfAborted();
    const response = await agent.request({
      origin: target.origin,
      path: `${target.pathname}${target.search}`,
      method: 'GET',
      headers,
      signal,
      reset: true, // closes the connection afterwards
    });
    // Heard by whoever reads; without a listener it would end the process when nobody does.
    response.body.on('error', () => undefined);
    return {
      status: response.statusCode,
      headers: { get: (name) => singleHeader(response.headers[name]) },
      body: response.body,
    } satisfies FetchResponse;
  };
  return Object.assign(issuerFetch, {
    close: async () => {
      closed = true;
      const open = [...agents.values(), ...[...clusterAgents.values()].map(({ agent }) => agent)];
      await Promise.all(open.map((agent) => agent.destroy()));
    },
  });
}

async function resolveBySystem(host: string): Promise<readonly string[]> {
  return (await systemLookup(host, { all: true })).map(({ address }) => address);
}

/**
 * What `net.connect` asks for addresses, and then connects to those and no others. One that is refused spoils the name: a
 * public name has no business pointing inside.
 */
function checkedLookup(resolve: (host: string) => Promise<readonly string[]>, allowed: AllowedPrivate): LookupFunction {
  return (host, options, callback) => {
    const find = async () => {
      const addresses = (await resolve(host)).map((address) => ({ address, family: isIP(address) }));
      for (const { address, family } of addresses) {
        const kind = family === 0 ? 'not an' : refusedAddress(host, address, allowed);
        if (kind !== undefined) throw refusal(host, address, kind);
      }
      const wanted = [0, undefined, 'IPv4', 'IPv6'].includes(options.family)
        ? addresses
        : addresses.filter(({ family }) => family === options.family);
      const [first] = wanted;
      if (first === undefined) throw new Error(`${quote(host)} has no address`);
      return { wanted, first };
    };
    find().then(
      ({ wanted, first }) => {
        if (options.all === true) callback(null, wanted);
        else callback(null, first.address, first.family);
      },
      (error: unknown) => callback(error as NodeJS.ErrnoException, ''),
    );
  };
}

function refusal(host: string, address: string, kind: string): Error {
  const what = plainHost(host) === address ? quote(host) : `${quote(host)}, which is ${quote(address)},`;
  return new Error(`${what} is a ${kind} address, and neither it nor its network is allowed`);
}

/** The usual roots, and `roots` (PEM) beside them. Made once: reading a hundred certificates takes longer than a handshake. */
function secureContext(roots: string): tls.SecureContext {
  const minVersion = 'TLSv1.2';
  if (roots.trim() === '') return tls.createSecureContext({ minVersion });
  return tls.createSecureContext({ minVersion, ca: [...usualRoots(), roots] });
}

/** Node would leave out what it cannot read. */
function checkRoots(pem: string): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error('there is no certificate in it');
  for (const block of blocks) void new X509Certificate(block);
}

/** Where Node can tell, with those of NODE_EXTRA_CA_CERTS. */
function usualRoots(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  return getCACertificates?.('default') ?? tls.rootCertificates;
}

function singleHeader(value: string | string[] | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
