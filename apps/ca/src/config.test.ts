import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readCaConfig, requireBroker } from './config.js';
import { readCtLogsFile } from './ct-logs-file.js';

const keys = { CHANCERY_CA_KEY_FILE: 'key.pem', CHANCERY_CA_CHAIN_FILE: 'chain.pem' };
const ct = { CHANCERY_CA_CT_URL: 'https://ct.example/2026/', CHANCERY_CA_CT_KEY_FILE: 'ct.pem' };

describe('readCaConfig()', () => {
  test('gives what is so by default', () => {
    expect(readCaConfig({ ...keys, ...ct })).toMatchObject({
      CHANCERY_CA_CT_URL: 'https://ct.example/2026',
      CHANCERY_CA_CT_MIN: 1,
      CHANCERY_CA_CREATE: false,
      CHANCERY_CA_OIDC_PRIVATE: [],
    });
  });

  test('reads rates and lists', () => {
    const config = readCaConfig({
      ...keys,
      CHANCERY_CA_CT_LOGS_FILE: 'logs.yaml',
      CHANCERY_CA_CT_MIN: '2',
      CHANCERY_CA_RATE_PER_IDENTITY: '60/1m',
      CHANCERY_CA_OIDC_PRIVATE: 'keycloak.internal, 10.0.0.0/8,,fd00::/8',
    });
    expect(config.CHANCERY_CA_RATE_PER_IDENTITY).toEqual({ count: 60, windowMs: 60_000, text: '60/1m' });
    expect(config.CHANCERY_CA_RATE_PER_ISSUER).toBeUndefined();
    expect([config.CHANCERY_CA_OIDC_MAX_TOKEN_AGE, config.CHANCERY_CA_OIDC_UPSTREAM_ISSUERS]).toEqual([
      undefined,
      undefined,
    ]);
    const brokered = {
      CHANCERY_CA_OIDC_MAX_TOKEN_AGE: '10m',
      CHANCERY_CA_OIDC_UPSTREAM_ISSUERS: 'https://github.com/login/oauth, https://accounts.google.com',
    };
    expect(readCaConfig({ ...keys, ...ct, ...brokered })).toMatchObject({
      CHANCERY_CA_OIDC_MAX_TOKEN_AGE: 600_000,
      CHANCERY_CA_OIDC_UPSTREAM_ISSUERS: ['https://github.com/login/oauth', 'https://accounts.google.com'],
    });
    expect(config.CHANCERY_CA_OIDC_PRIVATE).toEqual(['keycloak.internal', '10.0.0.0/8', 'fd00::/8']);
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['no CT log', keys, /there is no CT log/],
    ['a CT log without its key', { ...keys, CHANCERY_CA_CT_URL: 'https://ct.example' }, /belong together/],
    [
      'the key of no CT log',
      { ...keys, CHANCERY_CA_CT_KEY_FILE: 'x', CHANCERY_CA_CT_LOGS_FILE: 'y' },
      /belong together/,
    ],
    ['no SCT at all', { ...keys, ...ct, CHANCERY_CA_CT_MIN: '0' }, /CHANCERY_CA_CT_MIN/],
    [
      'a rate without window',
      { ...keys, ...ct, CHANCERY_CA_RATE_PER_ISSUER: '60' },
      /CHANCERY_CA_RATE_PER_ISSUER: must be/,
    ],
    ['an age without unit', { ...keys, ...ct, CHANCERY_CA_OIDC_MAX_TOKEN_AGE: '600' }, /for example 10m/],
    [
      'an empty list of upstream issuers',
      { ...keys, ...ct, CHANCERY_CA_OIDC_UPSTREAM_ISSUERS: ' ,' },
      /names no issuer/,
    ],
    ['an unknown setting', { ...keys, ...ct, CHANCERY_CA_RATE: '60/1m' }, /CHANCERY_CA_RATE is not a setting/],
  ])('refuses %s', (_name, settings, message) => {
    expect(() => readCaConfig(settings)).toThrow(message);
  });
});

test('requireBroker() refuses upstream issuers where nobody names any', () => {
  const issuer = { issuerUrl: 'https://a.example', wildcard: false, clientId: 'c', type: 'email' };
  const broker = { ...issuer, issuerClaim: '$.federated_claims.connector_id' };
  expect(() => requireBroker('X', ['https://b.example'], [issuer])).toThrow(
    'X: no configured issuer has an issuer claim',
  );
  requireBroker('X', ['https://b.example'], [issuer, broker]);
  requireBroker('X', undefined, [issuer]);
});

describe('readCtLogsFile()', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'chancery-ct-logs-'));
    await mkdir(join(folder, 'keys'));
    await writeFile(join(folder, 'keys', 'a.pem'), pem('P-256'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));
  const pem = (namedCurve: string) =>
    generateKeyPairSync('ec', { namedCurve }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const rsaPem = (modulusLength: number) =>
    generateKeyPairSync('rsa', { modulusLength }).publicKey.export({ type: 'spki', format: 'pem' }).toString();
  async function read(text: string) {
    await writeFile(join(folder, 'logs'), text);
    return readCtLogsFile('CT_LOGS', join(folder, 'logs'));
  }

  test('reads YAML and JSON, keys in place or in files beside it', async () => {
    const yaml =
      '- url: https://ct.example/2026/\n  keyFile: keys/a.pem\n- url: https://old.example\n  keyFile: keys/a.pem\n  retired: true\n';
    expect(await read(yaml)).toMatchObject([
      { url: 'https://ct.example/2026', retired: false, key: { kind: 'ecdsa' } },
      { url: 'https://old.example', retired: true },
    ]);
    expect(await read(JSON.stringify([{ url: 'http://ct.example', key: rsaPem(2048) }]))).toMatchObject([
      { url: 'http://ct.example', key: { kind: 'rsa' } },
    ]);
  });

  test.each<[string, () => string, RegExp]>([
    ['no list', () => '{}', /the list/],
    ['an empty list', () => '[]', /the list/],
    ['neither JSON nor YAML', () => '[', /neither JSON nor YAML/],
    [
      'a field that it does not know',
      () => JSON.stringify([{ url: 'https://a', key: pem('P-256'), since: 1 }]),
      /since/,
    ],
    ['no URL', () => JSON.stringify([{ url: 'ct.example', key: pem('P-256') }]), /0\.url/],
    ['no key', () => JSON.stringify([{ url: 'https://ct.example' }]), /needs one of keyFile and key/],
    [
      'two keys',
      () => JSON.stringify([{ url: 'https://a', key: pem('P-256'), keyFile: 'keys/a.pem' }]),
      /needs one of/,
    ],
    [
      'a key file that is not there',
      () => JSON.stringify([{ url: 'https://a', keyFile: 'no.pem' }]),
      /cannot read .*ENOENT/,
    ],
    ['a key that is none', () => JSON.stringify([{ url: 'https://a', key: 'x' }]), /not a public key in PEM/],
    [
      'P-384, which no SCT is signed with',
      () => JSON.stringify([{ url: 'https://a', key: pem('P-384') }]),
      /neither P-256 nor RSA/,
    ],
    ['RSA of 1024 bits', () => JSON.stringify([{ url: 'https://a', key: rsaPem(1024) }]), /neither P-256 nor RSA/],
  ])('refuses %s', async (_name, text, message) => {
    await expect(read(text())).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(message),
    });
  });

  test('says when the file is not there', async () => {
    await expect(readCtLogsFile('CT_LOGS', join(folder, 'none'))).rejects.toThrow(/CT_LOGS: cannot read .* \(ENOENT\)/);
  });
});
