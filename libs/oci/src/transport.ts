import { X509Certificate } from 'node:crypto';
import { isIP, type LookupFunction } from 'node:net';
import * as tls from 'node:tls';
import { Agent, type buildConnector, type Dispatcher } from 'undici';
import { OciError } from './error.js';

/** How to trust a registry, and how to be trusted by it. All PEM. */
export interface TlsOptions {
  /** Roots beside the usual ones. */
  readonly caPem?: string;
  /** A client certificate with its chain, and its key. For the registry alone, nobody it redirects to. */
  readonly certPem?: string;
  readonly keyPem?: string;
  /** The name the registry's certificate has, if not its host. */
  readonly serverName?: string;
}

export interface TransportOptions {
  /** Scheme, host and port of the registry. */
  readonly origin: string;
  readonly tls: TlsOptions;
  /** Takes any certificate of the registry. */
  readonly insecureTls: boolean;
  readonly connectMs: number;
  readonly idleMs: number;
  /** The addresses of a host name. Default: those that the system resolves it to. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

export interface Exchange {
  readonly method: string;
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal;
}

/** An answer whose body is still to be read, or to be discarded. */
export interface Answer {
  readonly status: number;
  readonly url: URL;
  /** All values of a header field. */
  header(name: string): string | readonly string[] | undefined;
  readonly body: AsyncIterable<Uint8Array>;
  /** Ends the answer without reading it; a short rest is read so that the connection can be used again. */
  discard(): Promise<void>;
}

const MIN_TLS = 'TLSv1.2';
const HEADER_LIMIT = 32 * 1024;
const CONNECTIONS = 8;
const DISCARD_LIMIT = 16 * 1024;
const DISCARD_MS = 1_000;

/**
 * Connections to one registry, and others for whoever it sends us to: those have neither its client certificate nor its
 * exceptions. Redirects and environment proxies are not followed, nothing is decompressed.
 */
export class Transport {
  readonly #options: TransportOptions;
  /** With what was given; undefined if that is nothing. */
  readonly #own: buildConnector.BuildOptions | undefined;
  readonly #others: buildConnector.BuildOptions | undefined;
  readonly #agents = new Map<'own' | 'others', Agent>();
  #closed = false;

  /** @throws OciError `OCI_CREDENTIALS` if the certificates cannot be used */
  constructor(options: TransportOptions) {
    this.#options = options;
    const { caPem, certPem, keyPem } = options.tls;
    // Before anything is sent: what cannot be used should not look like a network that fails.
    if (caPem !== undefined || certPem !== undefined || keyPem !== undefined) {
      this.#own = { secureContext: secureContext({ caPem, certPem, keyPem }) };
    }
    if (caPem !== undefined) this.#others = { secureContext: secureContext({ caPem }) };
  }

  /**
   * One request and the head of its answer.
   * @throws OciError `OCI_NETWORK`, `OCI_LIMIT`
   */
  async exchange({ method, url, headers, body, signal }: Exchange): Promise<Answer> {
    if (this.#closed) throw new OciError('OCI_NETWORK', `Cannot reach ${url.host}: the store was closed`);
    const agent = this.#agentFor(url);
    let response: Dispatcher.ResponseData;
    try {
      signal.throwIfAborted();
      response = await agent.request({
        origin: url.origin,
        path: `${url.pathname}${url.search}`,
        method: method,
        headers: { 'user-agent': 'chancery', 'accept-encoding': 'identity', ...headers },
        signal,
        ...(body !== undefined && { body }),
      });
    } catch (cause) {
      throw networkError(url, cause);
    }
    const { statusCode, headers: fields, body: stream } = response;
    // Heard by whoever reads; without a listener it would end the process when nobody does.
    stream.on('error', () => undefined);
    return {
      status: statusCode,
      url,
      header: (name) => fields[name],
      body: readChunks(url, stream),
      discard: async () => {
        await stream.dump({ limit: DISCARD_LIMIT, signal: AbortSignal.timeout(DISCARD_MS) }).catch(() => undefined); // a failure while throwing away is none
      },
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()));
  }

  /** Made when it is needed: most registries redirect to nobody, and on this machine there is no TLS. */
  #agentFor(url: URL): Agent {
    const whose = url.origin === this.#options.origin ? 'own' : 'others';
    let agent = this.#agents.get(whose);
    if (agent === undefined) {
      const { connectMs, idleMs, lookup, insecureTls, tls } = this.#options;
      agent = new Agent({
        connect: {
          minVersion: MIN_TLS,
          timeout: connectMs,
          ...(whose === 'own' ? this.#own : this.#others),
          ...(lookup !== undefined && { lookup: lookupBy(lookup) }),
          ...(whose === 'own' && insecureTls && { rejectUnauthorized: false }),
          ...(whose === 'own' && tls.serverName !== undefined && { servername: tls.serverName }),
        },
        connections: CONNECTIONS,
        headersTimeout: idleMs,
        bodyTimeout: idleMs,
        maxHeaderSize: HEADER_LIMIT,
        pipelining: 1,
      });
      this.#agents.set(whose, agent);
    }
    return agent;
  }
}

async function* readChunks(url: URL, stream: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array; // undici's bodies are of bytes
  } catch (cause) {
    throw cause instanceof OciError ? cause : networkError(url, cause);
  }
}

function networkError(url: URL, cause: unknown): OciError {
  const reason = reasonOf(cause);
  if (reason === 'UND_ERR_HEADERS_OVERFLOW') {
    return new OciError(
      'OCI_LIMIT',
      `Cannot read the answer of ${url.host}: its head is larger than ${HEADER_LIMIT} bytes`,
      { cause },
    );
  }
  return new OciError('OCI_NETWORK', `Cannot reach ${url.host}: ${reason}`, {
    cause,
    cure: 'Check the name of the registry, the network and that the registry is running',
  });
}

/** `fetch failed` says nothing; its cause says `ECONNREFUSED`. */
function reasonOf(error: unknown): string {
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    if (at.name === 'TimeoutError') return 'it took too long';
    const code = (at as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return 'the connection failed';
}

function lookupBy(resolve: (host: string) => Promise<readonly string[]>): LookupFunction {
  return (host, options, callback) => {
    resolve(host).then(
      (addresses) => {
        const all = addresses.map((address) => ({ address, family: isIP(address) }));
        const [first] = all;
        if (options.all === true) callback(null, all);
        else if (first === undefined) callback(new Error('the host has no address'), '');
        else callback(null, first.address, first.family);
      },
      (error: unknown) => callback(error as NodeJS.ErrnoException, ''),
    );
  };
}

function secureContext(options: {
  caPem: string | undefined;
  certPem?: string | undefined;
  keyPem?: string | undefined;
}): tls.SecureContext {
  const { caPem, certPem, keyPem } = options;
  try {
    return tls.createSecureContext({
      minVersion: MIN_TLS,
      ...(caPem !== undefined && { ca: [...usualRoots(), ...parseRoots(caPem)] }),
      ...(certPem !== undefined && { cert: certPem }),
      ...(keyPem !== undefined && { key: keyPem }),
    });
  } catch (cause) {
    throw new OciError(
      'OCI_CREDENTIALS',
      'Cannot use the certificates for TLS: they are not PEM, or do not fit their key',
      {
        cause,
      },
    );
  }
}

/** One by one: Node would leave out what it cannot read. */
function parseRoots(pem: string): string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) throw new Error('there is no certificate in it');
  for (const block of blocks) void new X509Certificate(block);
  return blocks;
}

/** Where Node can tell, with those of NODE_EXTRA_CA_CERTS. */
function usualRoots(): readonly string[] {
  const { getCACertificates } = tls as { getCACertificates?: (type: 'default') => string[] };
  return getCACertificates?.('default') ?? tls.rootCertificates;
}
