import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { LoginError, quoted } from './error.js';
import { isLoopback } from './issuer.js';
import { type Page, pageHeaders, refusedPage, welcomePage } from './pages.js';

const DEFAULT_REDIRECT_URL = 'http://localhost:0/auth/callback';
/** A port may be free at 127.0.0.1 and taken at ::1. */
const PORT_ATTEMPTS = 8;
/** What a browser sends has a few hundred bytes of code and state. */
const MAX_REQUEST_BYTES = 16 * 1024;

/** Where the browser comes back to. */
export interface CallbackServer {
  /** With the port that was found. */
  readonly redirectUri: string;
  /**
   * The parameters of the first request to the redirect URI, and no later one. The browser gets its page when `settle` is called.
   */
  readonly answer: Promise<CallbackAnswer>;
  close(): Promise<void>;
}

export interface CallbackAnswer {
  readonly parameters: URLSearchParams;
  /** Tells the person how it went; resolves when the page is out. */
  settle(succeeded: boolean): Promise<void>;
}

/**
 * Listens for the browser on this machine alone: on 127.0.0.1 and, where there is one, on ::1, because which of them `localhost` is
 * the browser decides.
 * @throws LoginError `LOGIN_SETTINGS`, `LOGIN_PORT`
 * @see RFC 8252 §7.3, §8.3
 */
export async function listenForCallback(redirectUrl = DEFAULT_REDIRECT_URL): Promise<CallbackServer> {
  const url = parseRedirectUrl(redirectUrl);
  let arrived: (answer: CallbackAnswer) => void;
  const answer = new Promise<CallbackAnswer>((resolve) => (arrived = resolve));
  let isTaken = false;
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const target = requestTarget(request, url);
    if (target === undefined || isTaken) {
      response.writeHead(404, { 'content-type': 'text/plain', 'cache-control': 'no-store' }).end('not found\n');
      return;
    }
    isTaken = true;
    arrived({
      parameters: target.searchParams,
      settle: (succeeded) => sendPage(response, succeeded ? welcomePage : refusedPage),
    });
  };
  const servers = await listen(url, handle);
  return {
    redirectUri: url.href,
    answer,
    close: async () => {
      await Promise.all(
        servers.map((server) => {
          const closed = new Promise((resolve) => server.close(resolve));
          server.closeAllConnections();
          return closed;
        }),
      );
    },
  };
}

function parseRedirectUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (
    url === undefined ||
    url.protocol !== 'http:' ||
    !isLoopback(url) ||
    url.search !== '' ||
    url.hash !== '' ||
    url.username !== '' ||
    url.password !== ''
  ) {
    throw new LoginError(
      'LOGIN_SETTINGS',
      `Cannot let the browser come back to ${quoted(text)}: it is not a page of this machine`,
      {
        cure: 'Use http://localhost:<port>/<path> as --oidc-redirect-url; port 0 is any free one',
      },
    );
  }
  return url;
}

/** Only `GET` of our path at our own name: what any other page can make a browser ask for here is not for us. */
function requestTarget({ method, url, headers }: IncomingMessage, ours: URL): URL | undefined {
  if (method !== 'GET' || headers.host !== ours.host || url?.startsWith('/') !== true) return undefined;
  if (!URL.canParse(url, ours.href)) return undefined;
  const target = new URL(url, ours.href);
  return target.origin === ours.origin && target.pathname === ours.pathname ? target : undefined;
}

function sendPage(response: ServerResponse, page: Page): Promise<void> {
  return new Promise((resolve) => {
    // Whether or not the browser is still there: the sign-in does not depend on the page.
    response.once('close', resolve);
    response.writeHead(page.status, pageHeaders).end(page.html);
  });
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** Sets the port of `url` to the one found. */
async function listen(url: URL, handle: Handler): Promise<Server[]> {
  const wanted = Number(url.port === '' ? 80 : url.port);
  const addresses = url.hostname === 'localhost' ? ['127.0.0.1', '::1'] : [url.hostname.replace(/^\[(.*)\]$/, '$1')];
  for (let attempt = 1; ; attempt++) {
    const servers: Server[] = [];
    try {
      let port = wanted;
      for (const [place, address] of addresses.entries()) {
        const server = await listenAt(address, port, handle).catch((error: NodeJS.ErrnoException) => {
          // No IPv6 here; then `localhost` is not ::1 either.
          if (place > 0 && (error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT')) return undefined;
          throw error;
        });
        if (server === undefined) continue;
        servers.push(server);
        port = (server.address() as AddressInfo).port; // not a pipe: listenAt gave it a port
      }
      url.port = String(port);
      return servers;
    } catch (cause) {
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
      const { code } = cause as NodeJS.ErrnoException;
      // Somebody else at ::1 would get the browser and the code. With a free choice, choose again.
      if (wanted === 0 && code === 'EADDRINUSE' && attempt < PORT_ATTEMPTS) continue;
      throw new LoginError(
        'LOGIN_PORT',
        `Cannot listen for the browser on port ${wanted} of ${url.hostname}: ${code ?? 'unknown reason'}`,
        {
          cause,
          cure: 'Stop what uses the port, or choose another with --oidc-redirect-url (port 0 is any free one)',
        },
      );
    }
  }
}

function listenAt(host: string, port: number, handle: Handler): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ maxHeaderSize: MAX_REQUEST_BYTES, keepAlive: false }, handle);
    server.once('error', reject);
    server.listen({ host, port, exclusive: true, ipv6Only: true }, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}
