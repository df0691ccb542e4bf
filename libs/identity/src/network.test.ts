import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IdentityError } from './errors.js';
import { parseAllowPrivate, refusedAddress } from './network.js';

const nothing = parseAllowPrivate([]);

describe('refusedAddress()', () => {
  test.each<[string, string]>([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'unspecified'],
    ['10.0.0.1', 'private'],
    ['100.64.0.1', 'shared by carriers'],
    ['100.100.100.200', 'shared by carriers'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['168.63.129.16', 'cloud metadata'],
    ['169.254.169.254', 'link-local'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['192.0.0.192', 'reserved'],
    ['192.0.2.1', 'documentation'],
    ['192.88.99.1', 'reserved'],
    ['192.168.1.1', 'private'],
    ['198.18.0.1', 'benchmarking'],
    ['198.19.255.255', 'benchmarking'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['224.0.0.1', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'reserved'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['::127.0.0.1', 'reserved'],
    ['::ffff:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['::ffff:a9fe:a9fe', 'link-local'],
    ['::ffff:0:127.0.0.1', 'reserved'],
    ['64:ff9b::127.0.0.1', 'loopback'],
    ['64:ff9b::a00:1', 'private'],
    ['64:ff9b:1::1', 'reserved'],
    ['100::1', 'reserved'],
    ['2001::1', 'reserved'],
    ['2001:db8::1', 'documentation'],
    ['2002:7f00:1::', 'loopback'],
    ['2002:c0a8:101::1', 'private'],
    ['3fff::1', 'documentation'],
    ['5f00::1', 'reserved'],
    ['fc00::1', 'private'],
    ['fd00:ec2::254', 'private'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local'],
    ['fec0::1', 'reserved'],
    ['ff02::1', 'multicast'],
  ])('refuses %s, which is %s', (address, kind) => {
    expect(refusedAddress('name.example', address, nothing)).toBe(kind);
    expect(refusedAddress('name.example', address, parseAllowPrivate(['Name.Example']))).toBe(undefined);
  });

  test.each([
    ...['1.1.1.1', '9.255.255.255', '11.0.0.0', '100.63.255.255', '100.128.0.0', '172.15.255.255', '172.32.0.0'],
    ...['169.253.255.255', '168.63.129.17', '192.0.1.0', '223.255.255.255', '2606:4700::1111', '2400:cb00::1'],
    ...['64:ff9b::1.1.1.1', '2002:101:101::1', '::ffff:1.1.1.1', '2001:200::1'],
  ])('lets %s pass', (address) => {
    expect(refusedAddress('name.example', address, nothing)).toBe(undefined);
  });

  test.each<[string[], string, boolean]>([
    [['10.0.0.0/8'], '10.255.0.1', true],
    [['10.0.0.0/8'], '::ffff:10.255.0.1', true],
    [['::ffff:10.0.0.0/104'], '10.255.0.1', true],
    [['10.0.0.0/8'], '11.0.0.1', true], // public anyway
    [['10.0.0.0/9'], '10.128.0.1', false],
    [['10.0.0.0/8'], '64:ff9b::10.0.0.1', false],
    [['10.0.0.1'], '10.0.0.1', true],
    [['10.0.0.1'], '10.0.0.2', false],
    [['fd00::/8'], 'fd12::1', true],
    [['fd00::/8'], 'fc00::1', false],
    [['::1'], '0::1', true],
    [['0.0.0.0/0'], '127.0.0.1', true],
    [['0.0.0.0/0'], '::1', false],
    [['example'], '10.0.0.1', false],
    [['sub.name.example'], '10.0.0.1', false],
    [['name.example.'], '10.0.0.1', true],
  ])('with %j allowed: %s, %s', (entries, address, passes) => {
    expect(refusedAddress('name.example', address, parseAllowPrivate(entries)) === undefined).toBe(passes);
  });

  test('never throws for an address, and agrees on each spelling of IPv4', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const hex = address
          .split('.')
          .map((part) => Number(part).toString(16).padStart(2, '0'))
          .join('');
        const kind = refusedAddress('a', address, nothing);
        expect(refusedAddress('a', `::ffff:${address}`, nothing)).toBe(kind);
        expect(refusedAddress('a', `::ffff:${hex.slice(0, 4)}:${hex.slice(4)}`, nothing)).toBe(kind);
        expect(refusedAddress('a', `64:ff9b::${address}`, nothing)).toBe(kind);
        expect(refusedAddress('a', `2002:${hex.slice(0, 4)}:${hex.slice(4)}::`, nothing)).toBe(kind);
      }),
    );
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        const kind = refusedAddress('a', address, nothing);
        return kind === undefined || kind.length > 0;
      }),
    );
  });
});

describe('parseAllowPrivate()', () => {
  test.each([
    ...['', ' ', '10.0.0.0/33', '10.0.0.0/-1', '10.0.0.0/08', '10.0.0.0/', '10.0.0.1/8', '10.0.0.0/8/8', '/8'],
    ...['fd00::1/8', 'fd00::/129', '[::1]', 'fe80::1%eth0', '*.example', 'https://idp.example', 'idp.example:443'],
    ...[
      '0x7f.1',
      '127.1',
      '2130706433',
      'idp.example/path',
      'ïdp.example',
      'a..b',
      '-a.example',
      'a b',
      'a'.repeat(64),
    ],
  ])('refuses %j', (entry) => {
    expect(() => parseAllowPrivate([entry])).toThrow(IdentityError);
    expect(() => parseAllowPrivate([entry])).toThrow(/^Cannot allow private (address|network) "/);
  });

  test('reads any text, or throws its own error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.domain(), fc.ipV6(), fc.ipV4()), (entry) => {
        try {
          const { hosts, networks } = parseAllowPrivate([entry]);
          return hosts.size + networks.length === 1;
        } catch (error) {
          return error instanceof IdentityError;
        }
      }),
    );
  });
});
