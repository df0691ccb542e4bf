/** A hierarchical URI's scheme and host (RFC 3986 §3): what an identity may be compared by. */
export interface UriAuthority {
  /** Lower case, without the colon. */
  readonly scheme: string;
  /** As it is written, without the port. */
  readonly host: string;
}

const authority = /^([A-Za-z][A-Za-z0-9+.-]*):\/\/([^/?#]*)(?:[/?#]|$)/;
// One label or several of letters, digits and inner hyphens, or an IPv6 address in brackets; lower case, so that there is one spelling.
const label = '[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?';
const hostName = new RegExp(`^${label}(?:\\.${label})*$`);
const ipv6 = /^\[[0-9a-f:.]+\]$/;
const ipv4 = /^\d+(?:\.\d+){3}$/;

/**
 * The scheme and host of a URI; undefined if it has none. A user before the host is refused, since readers take it for the
 * host, and so are hosts in any spelling but the plain one: what a URL parser repairs, two parsers repair differently.
 */
export function parseAuthority(uri: string): UriAuthority | undefined {
  const match = authority.exec(uri);
  const [, scheme, rest] = match ?? [];
  if (scheme === undefined || rest === undefined) return undefined;
  const host = rest.replace(/:\d{1,5}$/, '');
  return isHost(host) ? { scheme: scheme.toLowerCase(), host } : undefined;
}

/** Whether this is a host name or an address in its plain spelling, in lower case. */
export function isHost(text: string): boolean {
  return text.length <= 253 && (hostName.test(text) || ipv6.test(text));
}

/** Labels under which country registries sell names, as in `co.uk`: two equal labels there say nothing about the owner. */
const registryLabels = new Set(
  'ac co com edu go gob gov gouv gv id info ltd me mil ne net nom or org plc sch web'.split(' '),
);

/**
 * Whether two hosts are under one owner, as far as their names tell: the same host, or the same last two labels. Fulcio's
 * rule, made safer where those two labels belong to a registry (`co.uk`, `com.au`): there the last three must be equal; and
 * addresses have no owner in their digits, so they must be the same. It cannot tell shared suffixes of other kinds
 * (`github.io`): it catches slips of whoever writes the configuration, who stays answerable for both names.
 * `issuerHost` may have wildcards: `*` in a label that is compared is equal to nothing but itself.
 */
export function haveOneOwner(host: string, issuerHost: string): boolean {
  if (host === issuerHost) return true;
  if ([host, issuerHost].some((name) => ipv4.test(name) || name.startsWith('['))) return false;
  const [labels, issuerLabels] = [host.split('.'), issuerHost.split('.')];
  const [second = '', top = ''] = labels.slice(-2);
  const compared = top.length === 2 && registryLabels.has(second) ? 3 : 2;
  if (labels.length < compared || issuerLabels.length < compared) return false;
  const tail = labels.slice(-compared).join('.');
  return !tail.includes('*') && tail === issuerLabels.slice(-compared).join('.');
}
