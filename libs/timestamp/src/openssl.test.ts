import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodePem } from '#libs/encoding';
import type { CryptoPort } from '#libs/crypto';
import { opensslCrypto } from '#libs/openssl';
import { createTimestamper, encodeTimestampRequest, parseTimestampRequest } from './index.js';
import { makeAuthority, now } from '../../../test/vectors/timestamp/authority.js';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
if (!hasOpenssl) console.warn('skipped: no openssl on this machine to cross-check timestamps with');

// OpenSSL wants the signer's certificate to be valid at -attime, and knows no clock of ours.
const attime = String(Math.floor(now.getTime() / 1000));
const policy = '1.3.6.1.4.1.57264.2';

describe.skipIf(!hasOpenssl)('openssl ts', () => {
  const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
  const authority = makeAuthority();
  const common = {
    signer: authority.signer,
    chain: authority.chain,
    policy,
    acceptedPolicies: [policy, '1.2.3'],
    hash,
  };
  let folder = '';
  const path = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => execFileSync('openssl', ['ts', ...args], { encoding: 'utf8', stdio: 'pipe' });
  const issue = (query: Uint8Array, includeChain = false) =>
    createTimestamper({ ...common, includeChain }).issue(parseTimestampRequest(query), {
      now,
      serial: new Uint8Array(20).fill(0x81),
    });

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'timestamp-'));
    writeFileSync(path('data'), 'data to be stamped');
    writeFileSync(path('root.pem'), encodePem('CERTIFICATE', authority.root.der));
    writeFileSync(path('leaf.pem'), encodePem('CERTIFICATE', authority.leaf.der));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each([
    ['the leaf embedded', ['-cert', '-sha256'], false, []],
    ['the chain embedded', ['-cert', '-sha384'], true, []],
    ['nothing embedded', ['-sha512'], false, ['-untrusted', 'leaf.pem']],
    ['a policy and no nonce', ['-cert', '-no_nonce', '-tspolicy', '1.2.3'], false, []],
  ] as const)('-verify accepts the answer to its own -query: %s', (_, query, includeChain, extra) => {
    openssl('-query', '-data', path('data'), '-out', path('query'), ...query);
    writeFileSync(path('reply'), issue(new Uint8Array(readFileSync(path('query'))), includeChain));
    const untrusted = extra.map((word) => (word.endsWith('.pem') ? path(word) : word));
    const trust = ['-CAfile', path('root.pem'), '-attime', attime, ...untrusted];
    expect(openssl('-verify', '-queryfile', path('query'), '-in', path('reply'), ...trust)).toContain(
      'Verification: OK',
    );
    expect(openssl('-verify', '-data', path('data'), '-in', path('reply'), ...trust)).toContain('Verification: OK');
  });

  test('-verify rejects other data', () => {
    openssl('-query', '-data', path('data'), '-cert', '-out', path('query'));
    writeFileSync(path('reply'), issue(new Uint8Array(readFileSync(path('query')))));
    writeFileSync(path('other'), 'other data');
    const args = [
      '-verify',
      '-data',
      path('other'),
      '-in',
      path('reply'),
      '-CAfile',
      path('root.pem'),
      '-attime',
      attime,
    ];
    expect(() => openssl(...args)).toThrow('message imprint mismatch');
  });

  test('-reply -text reads every field as it was meant', () => {
    const imprint = { hash: 'sha256', digest: hash('sha256', new Uint8Array(readFileSync(path('data')))) } as const;
    const nonce = Uint8Array.of(0x12, 0x34);
    writeFileSync(path('reply'), issue(encodeTimestampRequest({ imprint, nonce, certReq: true })));
    const text = openssl('-reply', '-in', path('reply'), '-text');
    for (const line of [
      'Status: Granted.',
      `Policy OID: ${policy}`,
      'Hash Algorithm: sha256',
      `Serial number: 0x${'81'.repeat(20)}`,
      'Time stamp: Jun  1 12:00:00 2030 GMT',
      'Accuracy: 0x01 seconds, unspecified millis, unspecified micros',
      'Ordering: no',
      'Nonce: 0x1234',
      'TSA: DirName:/O=Example/CN=tsa',
    ]) {
      expect(text).toContain(line);
    }
  });

  test('-query -text reads our requests', () => {
    const imprint = { hash: 'sha384', digest: new Uint8Array(48).fill(1) } as const;
    writeFileSync(
      path('query'),
      encodeTimestampRequest({ imprint, nonce: Uint8Array.of(5), policy: '1.2.3', certReq: true }),
    );
    const text = openssl('-query', '-in', path('query'), '-text');
    for (const line of [
      'Version: 1',
      'Hash Algorithm: sha384',
      'Policy OID: 1.2.3',
      'Nonce: 0x05',
      'Certificate required: yes',
    ]) {
      expect(text).toContain(line);
    }
  });
});
