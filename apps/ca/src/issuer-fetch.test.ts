import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createTokenVerifier, type IssuerConfig } from '#libs/identity';
import { createLog } from '#libs/nest';
import { encodeBase64Url, encodeUtf8 } from '#libs/encoding';
import { caIssuerFetch } from './issuer-fetch.js';

let server: Server;
let port: number;
const asked: string[] = [];
beforeAll(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.statusCode = 404;
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});
afterAll(() => new Promise((resolve) => server.close(resolve)));

/** Sends a token of `issuer` to a verifier; how many requests reached the private server. */
async function requests(
  issuer: string,
  configured: Partial<IssuerConfig>[],
  allowPrivate: string[] = [],
): Promise<number> {
  const issuers = configured.map((config) => ({
    issuerUrl: issuer,
    wildcard: false,
    clientId: 'sigstore',
    type: 'email',
    ...config,
  }));
  const log = createLog({ format: 'json', now: () => new Date(), write: () => undefined });
  const fetch = caIssuerFetch({ issuers, allowPrivate, log });
  const part = (value: object): string => encodeBase64Url(encodeUtf8(JSON.stringify(value)));
  const token = `${part({ alg: 'RS256', kid: 'k' })}.${part({ iss: issuer, sub: '1', aud: 'sigstore', exp: 4e9 })}.AAAA`;
  asked.length = 0;
  try {
    const verifier = createTokenVerifier({ issuers, fetch, now: () => new Date() });
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: 'IDENTITY_DISCOVERY' });
  } finally {
    await fetch.close();
  }
  return asked.length;
}

describe('caIssuerFetch()', () => {
  test('an issuer that is configured by its private address may be there', async () => {
    expect(await requests(`http://127.0.0.1:${port}/oidc`, [{}])).toBeGreaterThan(0);
  });

  test('a wildcard that matches a private address does not make it allowed', async () => {
    const wildcard = { issuerUrl: `http://127.0.0.1:${port}/*`, wildcard: true };
    expect(await requests(`http://127.0.0.1:${port}/oidc`, [wildcard])).toBe(0);
  });

  test('another issuer is not allowed to be where that one is', async () => {
    const own = { issuerUrl: `http://127.0.0.1:${port}/oidc` };
    const wildcard = { issuerUrl: `http://127.0.0.1:${port}/other/*`, wildcard: true };
    expect(await requests(`http://127.0.0.1:${port}/other/x`, [own, wildcard])).toBe(0);
    expect(await requests(`http://127.0.0.1:${port}/other/x`, [own, wildcard], ['127.0.0.0/8'])).toBeGreaterThan(0);
  });
});
