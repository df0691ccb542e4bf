import { BlockList, isIP } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/** Answers for the machine itself, or for its cloud's metadata, whoever asks. */
const ownMachine = new BlockList();
ownMachine.addSubnet('127.0.0.0', 8, 'ipv4');
ownMachine.addSubnet('0.0.0.0', 8, 'ipv4');
ownMachine.addSubnet('169.254.0.0', 16, 'ipv4');
ownMachine.addAddress('168.63.129.16', 'ipv4'); // Azure's metadata service
ownMachine.addAddress('100.100.100.200', 'ipv4'); // Alibaba's
ownMachine.addAddress('::', 'ipv6');
ownMachine.addAddress('::1', 'ipv6');
ownMachine.addSubnet('fe80::', 10, 'ipv6');
ownMachine.addAddress('fd00:ec2::254', 'ipv6'); // Amazon's

/** RFC 1918, RFC 4193, RFC 6598. */
const privateNetworks = new BlockList();
privateNetworks.addSubnet('10.0.0.0', 8, 'ipv4');
privateNetworks.addSubnet('172.16.0.0', 12, 'ipv4');
privateNetworks.addSubnet('192.168.0.0', 16, 'ipv4');
privateNetworks.addSubnet('100.64.0.0', 10, 'ipv4');
privateNetworks.addSubnet('fc00::', 7, 'ipv6');

/** Whether a URL's host name is the machine itself: an address, or a name that RFC 6761 §6.3 reserves. */
export function isLoopback(hostname: string): boolean {
  return isLocalName(hostname) || isIn(loopback, hostname);
}

/** Whether a URL's host is the machine itself or what only machines next to it reach without asking. */
export function isOwnMachine(hostname: string): boolean {
  return isLocalName(hostname) || isIn(ownMachine, hostname);
}

/** Whether a URL's host is an address that is not public; names are not looked up. */
export function isInside(hostname: string): boolean {
  return isOwnMachine(hostname) || isIn(privateNetworks, hostname);
}

function isLocalName(hostname: string): boolean {
  return /(?:^|\.)localhost\.?$/i.test(hostname);
}

function isIn(list: BlockList, hostname: string): boolean {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  const family = isIP(address);
  // An IPv4 address that is mapped into IPv6 is found by the list itself.
  return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/** A URL, maybe relative to another; undefined if it is none. */
export function parseUrl(text: string, base?: URL): URL | undefined {
  return URL.canParse(text, base?.href) ? new URL(text, base) : undefined;
}
