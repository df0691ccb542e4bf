// The trust documents over HTTP: they must name exactly the keys that the services next to them use.
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePublicKey } from '#libs/crypto';
import { encodeBase64, encodeHex } from '#libs/encoding';
import { sha256 } from '#libs/openssl';
import { parseSigningConfig, parseTrustedRoot } from '#libs/trust';
import { type Certificate, parseCertificatePem } from '#libs/x509';
import { startWorld, type World } from '../../../test/world/index.js';
import { readTrustConfig } from './config.js';
import { type InstanceKeys, makeSigningConfig, makeTrustedRoot } from './documents.js';

const documents = ['/trust/trusted_root.json', '/trust/signing_config.v0.2.json'];

describe('GET /trust/…', () => {
  let world: World;
  let startedAt: Date;
  beforeAll(async () => {
    startedAt = new Date();
    world = await startWorld();
  });
  afterAll(() => world.close());

  const keyFile = (name: string) => readFile(join(world.folder, 'keys', name), 'utf8');
  const publicKeyOf = async (name: string) =>
    parsePublicKey(
      new Uint8Array(createPublicKey(createPrivateKey(await keyFile(name))).export({ type: 'spki', format: 'der' })),
    );
  const fingerprints = (chain: readonly Certificate[]) => chain.map(({ der }) => encodeHex(sha256(der)));

  it('trusted_root.json names the keys in use, since they were made, and no others', async () => {
    const text = await world.trustedRoot();
    const root = parseTrustedRoot(text);
    const { host, hostname } = new URL(world.url);

    expect(root.tlogs).toHaveLength(2);
    const [tlog, tlogV1] = root.tlogs;
    const logKey = await publicKeyOf('log.pem');
    expect(tlog?.publicKey.spki).toEqual(logKey.spki);
    expect(tlog?.keyDetails).toBe('PKIX_ED25519');
    expect(tlog?.baseUrl).toBe(world.url);
    // C2SP signed-note: the key id's hash over the name, not the hash of the key.
    const idInput = Buffer.concat([Buffer.from(`${hostname}\n\x01`), logKey.spki.slice(-32)]);
    expect(tlog?.logId).toEqual(sha256(idInput));

    // Rekor v1: the hash of the key, whatever the log is called.
    const logV1Key = await publicKeyOf('log-v1.pem');
    expect(tlogV1?.publicKey.spki).toEqual(logV1Key.spki);
    expect(tlogV1?.keyDetails).toBe('PKIX_ECDSA_P256_SHA_256');
    expect(tlogV1?.baseUrl).toBe(world.url);
    expect(tlogV1?.logId).toEqual(sha256(logV1Key.spki));

    expect(root.ctlogs).toHaveLength(1);
    const [ctlog] = root.ctlogs;
    const ctKey = await publicKeyOf('ct.pem');
    expect(ctlog?.publicKey.spki).toEqual(ctKey.spki);
    expect(ctlog?.keyDetails).toBe('PKIX_ECDSA_P256_SHA_256');
    expect(ctlog?.logId).toEqual(sha256(ctKey.spki));
    expect(ctlog?.baseUrl).toBe(`http://${host}/ct`);

    expect(root.certificateAuthorities).toHaveLength(1);
    const [ca] = root.certificateAuthorities;
    expect(fingerprints(ca?.certChain ?? [])).toEqual(fingerprints(parseCertificatePem(await keyFile('ca-chain.pem'))));
    expect(ca?.certChain[0]?.spki).toEqual((await publicKeyOf('ca.pem')).spki);

    expect(root.timestampAuthorities).toHaveLength(1);
    const [tsa] = root.timestampAuthorities;
    // Leaf included, unlike the CA's.
    expect(fingerprints(tsa?.certChain ?? [])).toEqual(
      fingerprints(parseCertificatePem(await keyFile('tsa-chain.pem'))),
    );
    expect(tsa?.certChain[0]?.spki).toEqual((await publicKeyOf('tsa.pem')).spki);

    for (const { validFor } of [tlog, tlogV1, ctlog, ca, tsa].filter((item) => item !== undefined)) {
      expect(Math.abs((validFor?.start?.getTime() ?? 0) - startedAt.getTime())).toBeLessThan(30_000);
      expect(validFor?.end).toBe(undefined);
    }
    // What leaves the process is public: no private key, and the bytes of the wire are base64, not hex.
    expect(text).not.toContain('PRIVATE');
    expect(text).toContain(encodeBase64(ctKey.spki));
  });

  it('signing_config.v0.2.json names the services, each where it answers', async () => {
    const response = await fetch(world.url + documents[1]);
    const config = parseSigningConfig(await response.text());
    expect(config.caUrls.map(({ url }) => url)).toEqual([world.url]);
    expect(config.oidcUrls.map(({ url }) => url)).toEqual([world.issuer]);
    expect(config.rekorTlogUrls.map(({ url, majorApiVersion }) => [url, majorApiVersion])).toEqual([
      [world.url, 2],
      [world.url, 1],
    ]);
    expect(config.tsaUrls.map(({ url }) => url)).toEqual([`${world.url}/api/v1/timestamp`]);
    expect((await fetch(`${config.caUrls[0]?.url}/api/v2/trustBundle`)).status).toBe(200);
    expect((await fetch(`${config.oidcUrls[0]?.url}/.well-known/openid-configuration`)).status).toBe(200);
    expect((await fetch(`${config.rekorTlogUrls[0]?.url}/checkpoint`)).status).toBe(200);
    expect((await fetch(`${config.tsaUrls[0]?.url}/certchain`)).status).toBe(200);
  });

  it('signing_config.v0.2.json?rekor=… names the log for clients of one version only', async () => {
    for (const version of [1, 2]) {
      const response = await fetch(`${world.url}${documents[1]}?rekor=${version}`);
      const config = parseSigningConfig(await response.text());
      expect(config.rekorTlogUrls.map(({ majorApiVersion }) => majorApiVersion)).toEqual([version]);
    }
    for (const wrong of ['3', '', '1&rekor=2', 'v1']) {
      const response = await fetch(`${world.url}${documents[1]}?rekor=${wrong}`);
      expect(response.status).toBe(400);
      expect(await response.text()).toMatch(/^Cannot give a signing config/);
    }
  });

  it('the certificates are those that the services hand out', async () => {
    const root = parseTrustedRoot(await world.trustedRoot());
    const served = await (await fetch(`${world.url}/api/v1/timestamp/certchain`)).text();
    const [tsa] = root.timestampAuthorities;
    expect(fingerprints(tsa?.certChain ?? [])).toEqual(fingerprints(parseCertificatePem(served)));
    const bundle = (await (await fetch(`${world.url}/api/v2/trustBundle`)).json()) as {
      chains: { certificates: string[] }[];
    };
    const chain = bundle.chains[0]?.certificates.map((pem) => new X509Certificate(pem).fingerprint256);
    expect(chain).toEqual(
      root.certificateAuthorities[0]?.certChain.map(({ der }) => new X509Certificate(der).fingerprint256),
    );
  });

  it('both are JSON that nobody keeps, and the same after a restart', async () => {
    const read = () => Promise.all(documents.map(async (path) => (await fetch(world.url + path)).text()));
    const before = await read();
    for (const path of documents) {
      const response = await fetch(world.url + path);
      expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
      expect(response.headers.get('cache-control')).toBe('no-cache');
      const head = await fetch(world.url + path, { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
    }
    await world.restart();
    expect(await read()).toEqual(before);
  });

  it('a log that has moved to another host keeps its name, which clients read from baseUrl', async () => {
    const root = parseTrustedRoot(await world.trustedRoot());
    const [tlog, ctlog, ca, tsa] = [
      root.tlogs[0],
      root.ctlogs[0],
      root.certificateAuthorities[0],
      root.timestampAuthorities[0],
    ];
    if (!tlog || !ctlog || !ca || !tsa) throw new Error('the trusted root is not complete');
    const keys: InstanceKeys = {
      url: 'https://new.example',
      since: new Date('2026-01-02T03:04:05Z'),
      ca: ca.certChain,
      ct: ctlog.publicKey,
      ctLogId: ctlog.logId,
      log: { publicKey: tlog.publicKey, origin: 'old.example', logId: tlog.logId },
      logV1: { publicKey: ctlog.publicKey, logId: ctlog.logId },
      tsa: tsa.certChain,
      oidcIssuers: [],
    };
    expect(parseTrustedRoot(makeTrustedRoot(keys)).tlogs[0]?.baseUrl).toBe('https://old.example');
    expect(parseSigningConfig(makeSigningConfig(keys)).rekorTlogUrls[0]?.url).toBe('https://new.example');
    // A chain without certificates is a mistake of ours, and must not become a document that trusts nobody.
    expect(() => makeTrustedRoot({ ...keys, tsa: [] })).toThrow('A certificate chain cannot be empty');
  });

  it('other methods get 405 with Allow, other paths 404', async () => {
    for (const path of documents) {
      for (const method of ['POST', 'PUT', 'DELETE']) {
        const response = await fetch(world.url + path, { method });
        expect(response.status).toBe(405);
        expect(response.headers.get('allow')).toBe('GET, HEAD');
        expect(await response.text()).toBe('method not allowed\n');
      }
    }
    for (const path of ['/trust/', '/trust/root.json', '/trust/trusted_root.json/', '/trust/keys/log.pem']) {
      const response = await fetch(world.url + path);
      expect([response.status, await response.text()]).toEqual([404, 'not found\n']);
    }
  });
});

describe('readTrustConfig()', () => {
  it('reports every problem at once', () => {
    expect(() => readTrustConfig({ CHANCERY_TRUST_PORT: '70000', CHANCERY_TRUST_COLOUR: 'red' })).toThrow(
      /COLOUR is not a setting.*PORT.*ROOT_FILE.*SIGNING_CONFIG_FILE/s,
    );
  });

  it('reads what it needs', () => {
    const config = readTrustConfig({
      CHANCERY_TRUST_ROOT_FILE: 'a',
      CHANCERY_TRUST_SIGNING_CONFIG_FILE: 'b',
      PATH: '/',
    });
    expect(config).toMatchObject({ CHANCERY_TRUST_HOST: '127.0.0.1', CHANCERY_TRUST_PORT: 8705 });
    expect(Object.isFrozen(config)).toBe(true);
  });
});
