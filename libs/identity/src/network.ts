import { isIP } from 'node:net';
import { IdentityError, quote } from './errors.js';

/** The bytes of an address: 4 or 16. */
type AddressBytes = Uint8Array;

interface Network {
  readonly bytes: AddressBytes;
  /** How many leading bits count. */
  readonly bits: number;
}

/** What may be reached although it is not public. */
export interface AllowedPrivate {
  readonly hosts: ReadonlySet<string>;
  readonly networks: readonly Network[];
}

/**
 * Reads a list of exceptions: exact host names, single addresses, or networks in CIDR notation without host bits.
 * @throws IdentityError `IDENTITY_CONFIG`, naming the entry
 */
export function parseAllowPrivate(entries: readonly string[]): AllowedPrivate {
  const hosts = new Set<string>();
  const networks: Network[] = [];
  for (const entry of entries) {
    const [address = '', length, ...rest] = entry.split('/');
    if (isIP(address) !== 0 && !address.includes('%') && rest.length === 0) {
      networks.push(parseNetwork(entry, address, length));
    } else if (length === undefined && isHostName(entry)) {
      hosts.add(plainHost(entry));
    } else {
      throw new IdentityError(
        'IDENTITY_CONFIG',
        `Cannot allow private address ${quote(entry)}: expected a host name, an address or a network like 10.0.0.0/8`,
      );
    }
  }
  return { hosts, networks };
}

function parseNetwork(entry: string, address: string, length: string | undefined): Network {
  const bytes = parseAddress(address);
  const all = bytes.length * 8;
  const bits = length === undefined ? all : Number(length);
  // 10.1.2.3/8 says two things: one address, and all of its network.
  if (
    (length !== undefined && !/^(0|[1-9]\d{0,2})$/.test(length)) ||
    bits > all ||
    !isWithin(bytes, { bytes: withoutHostBits(bytes, bits), bits: all })
  ) {
    throw new IdentityError(
      'IDENTITY_CONFIG',
      `Cannot allow private network ${quote(entry)}: expected an address and a prefix length of at most ${all}, with no bits set after the prefix`,
    );
  }
  return { bytes, bits };
}

/** A name as the URL parser leaves it: lower-cased, and nothing that it would read as an address (`0x7f.1`). */
function isHostName(text: string): boolean {
  const label = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?';
  if (text.length > 253 || !new RegExp(`^${label}(?:\\.${label})*\\.?$`, 'i').test(text)) return false;
  const url = `http://${text}/`;
  return URL.canParse(url) && new URL(url).hostname === text.toLowerCase();
}

/** A host name without the dot that marks the root (RFC 1034 §3.1). */
export function plainHost(host: string): string {
  return host.toLowerCase().replace(/\.$/, '');
}

/**
 * Why `address` must not be connected to for `host`: the kind of address it is, or undefined if it may.
 * `host`: as in a URL, an address in brackets or not. `address`: as the resolver gave it.
 */
export function refusedAddress(host: string, address: string, allowed: AllowedPrivate): string | undefined {
  const bytes = withoutMapping(parseAddress(address));
  const kind = kindOfAddress(bytes);
  if (kind === undefined || allowed.hosts.has(plainHost(host))) return undefined;
  return allowed.networks.some((network) => isWithin(bytes, mapped(network))) ? undefined : kind;
}

// IANA's special-purpose registries (RFC 6890 and its updates), and what clouds answer metadata and credentials at.
const special4: readonly (readonly [string, number, string])[] = [
  ['0.0.0.0', 8, 'unspecified'],
  ['10.0.0.0', 8, 'private'],
  ['100.64.0.0', 10, 'shared by carriers'], // RFC 6598; 100.100.100.200 is Alibaba's metadata service
  ['127.0.0.0', 8, 'loopback'],
  ['168.63.129.16', 32, 'cloud metadata'], // Azure's, in a range that is public otherwise
  ['169.254.0.0', 16, 'link-local'], // among them 169.254.169.254, everybody's metadata service
  ['172.16.0.0', 12, 'private'],
  ['192.0.0.0', 24, 'reserved'], // RFC 6890 §2.1; 192.0.0.192 is Oracle's metadata service
  ['192.0.2.0', 24, 'documentation'],
  ['192.88.99.0', 24, 'reserved'], // RFC 7526, relays of 6to4
  ['192.168.0.0', 16, 'private'],
  ['198.18.0.0', 15, 'benchmarking'],
  ['198.51.100.0', 24, 'documentation'],
  ['203.0.113.0', 24, 'documentation'],
  ['224.0.0.0', 4, 'multicast'],
  ['240.0.0.0', 4, 'reserved'], // the broadcast address too
];
const special6: readonly (readonly [string, number, string])[] = [
  ['::', 128, 'unspecified'],
  ['::1', 128, 'loopback'],
  ['fc00::', 7, 'private'], // among them fd00:ec2::254, Amazon's metadata service
  ['fe80::', 10, 'link-local'],
  ['ff00::', 8, 'multicast'],
  ['2001::', 23, 'reserved'], // RFC 2928: Teredo, ORCHID, benchmarking
  ['2001:db8::', 32, 'documentation'],
  ['3fff::', 20, 'documentation'], // RFC 9637
];
const specialNetworks = [...special4, ...special6].map(([address, bits, kind]) => ({
  bytes: parseAddress(address),
  bits,
  kind,
}));

/** Networks whose addresses stand for an IPv4 address, which begins at byte `at`. */
const embeddings: readonly (Network & { readonly at: number })[] = [
  { bytes: parseAddress('64:ff9b::'), bits: 96, at: 12 }, // NAT64, RFC 6052 §2.1
  { bytes: parseAddress('2002::'), bits: 16, at: 2 }, // 6to4, RFC 3056 §2
];
/** All that is assigned for use on the internet (RFC 4291 §2.4 and IANA's registry); the rest is reserved. */
const globalUnicast: Network = { bytes: parseAddress('2000::'), bits: 3 };
const MAPPED: Network = { bytes: parseAddress('::ffff:0:0'), bits: 96 }; // RFC 4291 §2.5.5.2

/** Undefined for a public address. `bytes`: not IPv4-mapped. */
function kindOfAddress(bytes: AddressBytes): string | undefined {
  const embedding = embeddings.find((network) => isWithin(bytes, network));
  if (embedding !== undefined) return kindOfAddress(bytes.subarray(embedding.at, embedding.at + 4));
  const found = specialNetworks.find((network) => isWithin(bytes, network));
  if (found !== undefined) return found.kind;
  return bytes.length === 16 && !isWithin(bytes, globalUnicast) ? 'reserved' : undefined;
}

/** The kernel reaches `::ffff:10.0.0.1` as 10.0.0.1. */
function withoutMapping(bytes: AddressBytes): AddressBytes {
  return isWithin(bytes, MAPPED) ? bytes.subarray(12) : bytes;
}

function mapped(network: Network): Network {
  return network.bits >= MAPPED.bits && isWithin(network.bytes, MAPPED)
    ? { bytes: network.bytes.subarray(12), bits: network.bits - MAPPED.bits }
    : network;
}

function isWithin(bytes: AddressBytes, network: Network): boolean {
  if (bytes.length !== network.bytes.length) return false;
  return withoutHostBits(bytes, network.bits).every((byte, i) => byte === network.bytes[i]);
}

function withoutHostBits(bytes: AddressBytes, bits: number): AddressBytes {
  return bytes.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - 8 * i))));
}

/** The bytes of an address in any text form that `isIP` admits; a zone (`%eth0`) is left out. */
function parseAddress(text: string): AddressBytes {
  if (isIP(text) === 4) return Uint8Array.from(text.split('.'), Number);
  if (isIP(text) !== 6) throw new Error(`Cannot read ${quote(text)}: it is no address`);
  const groups = (part: string): number[] =>
    part.split(':').flatMap((group) => {
      if (!group.includes('.')) return group === '' ? [] : [Number.parseInt(group, 16)];
      const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
      return [a * 256 + b, c * 256 + d];
    });
  const [head = '', tail] = text.replace(/%.*$/s, '').split('::');
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => 0);
  return Uint8Array.from([...first, ...zeros, ...last].flatMap((group) => [group >> 8, group & 0xff]));
}
