import { X509Certificate } from 'node:crypto';
import * as http from 'node:http';
import * as https from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import * as tls from 'node:tls';
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
/** Connections are kept no longer without use: the other side may close them at the moment we ask again. */
const KEEP_MS = 4_000;

/**
 * Connections to one registry, and others for whoever it sends us to: those have neither its client certificate nor its
 * exceptions. Redirects and environment proxies are not followed, nothing is decompressed.
 *
 * By Node's own client: one with more to it takes longer to load than an image takes to verify.
 */
export class Transport {
  readonly #options: TransportOptions;
  /** With what was given; undefined if that is nothing. */
  readonly #own: tls.SecureContext | undefined;
  readonly #others: tls.SecureContext | undefined;
  readonly #agents = new Map<string, http.Agent>();
  readonly #underWay = new Set<http.ClientRequest>();
  #closed = false;

  /** @throws OciError `OCI_CREDENTIALS` if the certificates cannot be used */
  constructor(options: TransportOptions) {
    this.#options = options;
    const { caPem, certPem, keyPem } = options.tls;
    // Before anything is sent: what cannot be used should not look like a network that fails.
    if (caPem !== undefined || certPem !== undefined || keyPem !== undefined) {
      this.#own = secureContext({ caPem, certPem, keyPem });
    }
    if (caPem !== undefined) this.#others = secureContext({ caPem });
  }

  /**
   * One request and the head of its answer.
   * @throws OciError `OCI_NETWORK`, `OCI_LIMIT`
   */
  async exchange(exchange: Exchange): Promise<Answer> {
    const { url } = exchange;
    let response: http.IncomingMessage;
    try {
      if (this.#closed) throw new Broken('the store was closed');
      exchange.signal.throwIfAborted();
      response = await this.#request(exchange);
    } catch (cause) {
      throw networkError(url, cause);
    }
    return {
      status: response.statusCode ?? 0,
      url,
      header: (name) => {
        const values = response.headersDistinct[name];
        return values?.length === 1 ? values[0] : values;
      },
      body: readChunks(url, response),
      discard: () => discard(response),
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    // Each by itself: those that wait for a connection belong to no agent's socket, and would get a new one.
    for (const request of this.#underWay) request.destroy(new Broken('the store was closed'));
    for (const agent of this.#agents.values()) agent.destroy();
  }

  #request({ method, url, headers, body, signal }: Exchange): Promise<http.IncomingMessage> {
    const { connectMs, idleMs } = this.#options;
    const isTls = url.protocol === 'https:';
    return new Promise((resolve, reject) => {
      // Not the URL as it is: a user name in it would become a header.
      const request = (isTls ? https : http).request({
        method,
        host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
        port: url.port === '' ? (isTls ? 443 : 80) : url.port,
        path: `${url.pathname}${url.search}`,
        headers: { 'user-agent': 'chancery', 'accept-encoding': 'identity', ...headers },
        agent: this.#agentFor(url),
        timeout: idleMs,
        maxHeaderSize: HEADER_LIMIT,
      });
      this.#underWay.add(request);
      let response: http.IncomingMessage | undefined;
      const abort = (reason: unknown): void => {
        const error = reason instanceof Error ? reason : new Broken('it was called off');
        // Through the answer, so that whoever reads it hears the reason.
        (response ?? request).destroy(error);
      };
      const onAbort = (): void => abort(signal.reason);
      signal.addEventListener('abort', onAbort);
      request
        .on('error', reject)
        .on('socket', (socket) => {
          if (!socket.connecting) return;
          const timer = setTimeout(() => request.destroy(new Broken('no connection in time')), connectMs);
          const stop = (): void => clearTimeout(timer);
          socket.once(isTls ? 'secureConnect' : 'connect', stop);
          request.once('close', stop);
        })
        .on('timeout', () => {
          // Bytes that wait to be read are no silence of the other side.
          if (response !== undefined && response.readableLength > 0) request.socket?.setTimeout(idleMs);
          else abort(new Broken('nothing came for too long'));
        })
        .on('upgrade', (_, socket) => {
          // Nobody else hears of this connection any more.
          socket.on('error', () => undefined).destroy();
          reject(new Broken('it answered in another protocol'));
        })
        .on('response', (answer) => {
          response = answer;
          // Heard by whoever reads; without a listener it would end the process when nobody does.
          answer.on('error', () => undefined);
          resolve(answer);
        })
        .on('close', () => {
          this.#underWay.delete(request);
          signal.removeEventListener('abort', onAbort);
        })
        .end(body);
    });
  }

  /** Made when it is needed: most registries redirect to nobody, and on this machine there is no TLS. */
  #agentFor(url: URL): http.Agent {
    const isOwn = url.origin === this.#options.origin;
    const whose = `${isOwn ? 'own' : 'others'} ${url.protocol}`;
    let agent = this.#agents.get(whose);
    if (agent === undefined) {
      const { lookup, insecureTls, tls } = this.#options;
      const context = isOwn ? this.#own : this.#others;
      const options = {
        keepAlive: true,
        maxSockets: CONNECTIONS,
        timeout: KEEP_MS,
        ...(lookup !== undefined && { lookup: lookupBy(lookup) }),
      };
      agent =
        url.protocol === 'https:'
          ? new https.Agent({
              ...options,
              minVersion: MIN_TLS,
              ...(context !== undefined && { secureContext: context }),
              ...(isOwn && insecureTls && { rejectUnauthorized: false }),
              ...(isOwn && tls.serverName !== undefined && { servername: tls.serverName }),
            })
          : new http.Agent(options);
      this.#agents.set(whose, agent);
    }
    return agent;
  }
}

/** An exchange that we ended ourselves; the message is the reason. */
class Broken extends Error {}

async function* readChunks(url: URL, stream: AsyncIterable<unknown>): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of stream) yield chunk as Uint8Array; // without an encoding, chunks are bytes
  } catch (cause) {
    throw cause instanceof OciError ? cause : networkError(url, cause);
  }
}

async function discard(response: http.IncomingMessage): Promise<void> {
  if (response.destroyed) return;
  const timer = setTimeout(() => response.destroy(), DISCARD_MS);
  let size = 0;
  try {
    // What ends the loop early ends the connection too.
    for await (const chunk of response) {
      size += (chunk as Uint8Array).length; // as in `readChunks`
      if (size > DISCARD_LIMIT) break;
    }
  } catch {
    // A failure while throwing away is none.
  } finally {
    clearTimeout(timer);
  }
}

function networkError(url: URL, cause: unknown): OciError {
  const reason = reasonOf(cause);
  if (reason === 'HPE_HEADER_OVERFLOW') {
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

/** The outer error may say nothing where its cause says `ECONNREFUSED`. */
function reasonOf(error: unknown): string {
  if (error instanceof Broken) return error.message;
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
