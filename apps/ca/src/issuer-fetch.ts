import { isIP } from 'node:net';
import { createIssuerFetch, type Fetch, type IssuerConfig } from '#libs/identity';
import type { Log } from '#libs/nest';

/** How discovery documents and keys of issuers are fetched; `close` ends what is under way. */
export type CaIssuerFetch = Fetch & { close(): Promise<void> };

/**
 * The fetch of a CA: to public addresses, and to `allowPrivate`. An issuer that is itself configured by an address (`http://127.0.0.1:8700/dev/oidc`), or
 * as localhost, is allowed to be there, it alone: whoever wrote that down meant it. A name never is, whatever it resolves to.
 */
export function caIssuerFetch(options: {
  readonly issuers: readonly IssuerConfig[];
  readonly allowPrivate: readonly string[];
  readonly log: Log;
}): CaIssuerFetch {
  const { issuers, allowPrivate, log } = options;
  const make = (hosts: readonly string[]) =>
    createIssuerFetch({ issuers, allowPrivate: hosts, warn: (message, fields) => log.warn(message, fields) });
  const common = make(allowPrivate);
  const own = new Map(
    issuers.flatMap(({ issuerUrl, wildcard }) => {
      const host = wildcard ? undefined : addressIn(issuerUrl);
      return host === undefined ? [] : [[issuerUrl, make([...allowPrivate, host])] as const];
    }),
  );
  const fetch: Fetch = (url, init, source) => (own.get(source.config.issuerUrl) ?? common)(url, init, source);
  return Object.assign(fetch, {
    close: async () => {
      await Promise.all([common, ...own.values()].map((each) => each.close()));
    },
  });
}

/** The host of a URL if it is an address, or this machine by its name. */
function addressIn(url: string): string | undefined {
  const host = URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, '') : '';
  return isIP(host) !== 0 || host === 'localhost' ? host : undefined;
}
