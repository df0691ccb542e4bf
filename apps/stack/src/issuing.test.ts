// The CA of the stack: its issuing record, what a data folder must have, further CT logs, rates.
import { generateKeyPairSync, sign } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeBase64, parseBase64 } from '#libs/encoding';
import { createLog } from '#libs/nest';
import { generateSigner, sha256 } from '#libs/openssl';
import { parseTrustedRoot } from '#libs/trust';
import {
  ctHash,
  ctSignature,
  embeddedScts,
  encodeDigitallySigned,
  merkleTreeLeaf,
  parseCertificate,
  parseCertificatePem,
  preTbs,
} from '#libs/x509';
import { freePort } from '../../../test/world/index.js';
import { readStackConfig } from './config.js';
import { searchIssued } from './main.js';
import { exportTrust, type RunningStack, startStack } from './stack.js';

const now = () => new Date();
const lines: string[] = [];
const log = createLog({ format: 'json', now, write: (line) => void lines.push(line) });

let temporary: string;
/** A data folder with one certificate, that nobody changes. */
let original: string;
let port: number;

const configOf = (data: string, environment: Record<string, string> = {}) =>
  readStackConfig({ data, port: String(port), dev: true }, { CHANCERY_VERIFY_THREADS: '0', ...environment });
const start = (data: string, environment?: Record<string, string>): Promise<RunningStack> =>
  startStack(configOf(data, environment), log, now);

/** Starts, does something, and stops again. */
async function running<T>(
  data: string,
  work: (url: string) => Promise<T>,
  environment?: Record<string, string>,
): Promise<T> {
  const stack = await start(data, environment);
  try {
    return await work(stack.url);
  } finally {
    await stack.close();
  }
}

let copies = 0;
async function copy(): Promise<string> {
  const folder = join(temporary, `copy${++copies}`);
  await cp(original, folder, { recursive: true });
  return folder;
}

async function ask(url: string, email = 'alice@example.com'): Promise<Response> {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const claims = JSON.stringify({ email, email_verified: true });
  const response = await fetch(`${url}/dev/oidc/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: claims,
  });
  const { id_token: oidcIdentityToken } = (await response.json()) as { id_token: string };
  return fetch(`${url}/api/v2/signingCert`, {
    method: 'POST',
    body: JSON.stringify({
      credentials: { oidcIdentityToken },
      publicKeyRequest: {
        publicKey: { content: keys.publicKey.export({ type: 'spki', format: 'pem' }) },
        proofOfPossession: sign('sha256', Buffer.from(email), keys.privateKey).toString('base64'),
      },
    }),
  });
}

async function certificate(url: string, email?: string) {
  const response = await ask(url, email);
  const body = (await response.json()) as {
    message?: string;
    signedCertificateEmbeddedSct: { chain: { certificates: string[] } };
  };
  expect(body.message).toBeUndefined();
  const [leaf] = body.signedCertificateEmbeddedSct.chain.certificates.flatMap((pem) => parseCertificatePem(pem));
  if (leaf === undefined) throw new Error('no certificate');
  return { leaf, requestId: response.headers.get('x-request-id') };
}

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'chancery-issuing-'));
  port = await freePort();
  original = join(temporary, 'original');
  await running(original, (url) => certificate(url));
});
afterAll(() => rm(temporary, { recursive: true, force: true }));
beforeEach(() => {
  lines.length = 0;
});

const manifestOf = async (data: string) =>
  JSON.parse(await readFile(join(data, 'instance.json'), 'utf8')) as Record<string, unknown>;
const writeManifest = (data: string, manifest: object) =>
  writeFile(join(data, 'instance.json'), JSON.stringify(manifest));
const dropRecord = async (data: string) => {
  for (const end of ['', '-wal', '-shm']) await rm(join(data, `ca.db${end}`), { force: true });
};
const identities = async (data: string) =>
  (await searchIssued({ data }, { limit: 10 })).records.map(({ identity }) => identity);

describe('the issuing record of an instance', () => {
  it('has every certificate, can be read while the instance runs, and outlives it', async () => {
    const data = await copy();
    await running(data, async (url) => {
      const { leaf, requestId } = await certificate(url, 'bob@example.com');
      const { records } = await searchIssued({ data }, { limit: 10 });
      expect(records).toMatchObject([
        {
          identity: 'bob@example.com',
          issuer: `http://127.0.0.1:${port}/dev/oidc`,
          requestId,
          serial: Buffer.from(leaf.serialBytes).toString('hex').padStart(40, '0'),
          fingerprint: Buffer.from(sha256(leaf.der)).toString('hex'),
          // Where it is in the CT log: after the one that was there.
          scts: [{ leafIndex: 1n }],
        },
        { identity: 'alice@example.com' },
      ]);
    });
    expect(await identities(data)).toEqual(['bob@example.com', 'alice@example.com']);
    expect(await identities(data)).toHaveLength(2);
    await expect(searchIssued({ file: join(data, 'none.db') }, { limit: 1 })).rejects.toMatchObject({
      code: 'ISSUED_MISSING',
    });
  });

  it('that is gone is a refusal to start', async () => {
    const data = await copy();
    await dropRecord(data);
    await expect(start(data)).rejects.toMatchObject({
      code: 'INSTANCE_RECORD_MISSING',
      message: expect.stringContaining('restore it from a backup'),
    });
    // What the message offers: to go on without it, on purpose.
    const { issuingRecord: _, ...manifest } = await manifestOf(data);
    await writeManifest(data, manifest);
    await running(data, (url) => certificate(url));
    expect(await identities(data)).toHaveLength(1);
  });

  it('of another instance, or a damaged one, is a refusal to start', async () => {
    const data = await copy();
    const other = join(temporary, `other${++copies}`);
    await running(other, () => Promise.resolve());
    await dropRecord(data);
    await cp(join(other, 'ca.db'), join(data, 'ca.db'));
    await expect(start(data)).rejects.toMatchObject({ code: 'INSTANCE_RECORD_FOREIGN' });
    await writeFile(join(data, 'ca.db'), 'no database'.repeat(1000));
    await expect(start(data)).rejects.toMatchObject({ code: 'ISSUED_CORRUPT' });
  });

  it('is made, and said so, in an instance that is older than issuing records', async () => {
    const data = await copy();
    const { issuingRecord: _, ...manifest } = await manifestOf(data);
    await writeManifest(data, manifest);
    await dropRecord(data);
    await running(data, (url) => certificate(url));
    expect(lines.join()).toContain('THE ISSUING RECORD IS NEW');
    expect((await manifestOf(data))['issuingRecord']).toMatch(/^[0-9a-f]{32}$/);
    lines.length = 0;
    await running(data, () => Promise.resolve());
    expect(lines.join()).not.toContain('THE ISSUING RECORD');
    await dropRecord(data);
    await expect(start(data)).rejects.toMatchObject({ code: 'INSTANCE_RECORD_MISSING' });
  });

  it('that a crash left unnamed is taken by the next start', async () => {
    const data = await copy();
    const { issuingRecord, ...manifest } = await manifestOf(data);
    await writeManifest(data, manifest);
    await running(data, () => Promise.resolve());
    expect((await manifestOf(data))['issuingRecord']).toBe(issuingRecord);
  });
});

describe('further CT logs', () => {
  const signer = generateSigner('P-256');
  let server: Server;
  let logUrl: string;
  /** What the other log does. */
  let works: boolean;
  let asked: number;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        asked++;
        if (!works) {
          response.writeHead(500).end();
          return;
        }
        const { chain } = JSON.parse(Buffer.concat(chunks).toString()) as { chain: string[] };
        const [precertificate, issuer] = chain.map((der) => parseCertificate(parseBase64(der)));
        if (!precertificate || !issuer) throw new Error('no chain');
        const timestamp = Date.now();
        const entry = { kind: 'precert', issuerKeyHash: sha256(issuer.spki), tbs: preTbs(precertificate) } as const;
        const signed = merkleTreeLeaf({ timestampMs: BigInt(timestamp), extensions: new Uint8Array(), entry });
        const signature = encodeDigitallySigned({
          hashAlgorithm: ctHash.sha256,
          signatureAlgorithm: ctSignature.ecdsa,
          signature: signer.sign(signed),
        });
        const id = encodeBase64(sha256(signer.publicKey.spki));
        response.end(
          JSON.stringify({ sct_version: 0, id, timestamp, extensions: '', signature: encodeBase64(signature) }),
        );
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    logUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/log`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));
  beforeEach(() => {
    works = true;
    asked = 0;
  });

  const pem = () =>
    `-----BEGIN PUBLIC KEY-----\n${Buffer.from(signer.publicKey.spki).toString('base64')}\n-----END PUBLIC KEY-----\n`;
  async function settings(data: string, more: object = {}): Promise<Record<string, string>> {
    const file = `${data}-logs.json`;
    await writeFile(file, JSON.stringify([{ url: logUrl, key: pem(), ...more }]));
    return { CHANCERY_CT_LOGS: file };
  }
  const logIds = (scts: readonly { logId: Uint8Array }[]) => scts.map(({ logId }) => encodeBase64(logId));

  it('give a second SCT where two are demanded, and stand in the trusted root', async () => {
    const data = await copy();
    const environment = { ...(await settings(data)), CHANCERY_CT_MIN: '2' };
    const root = await running(
      data,
      async (url) => {
        const trustedRoot = await (await fetch(`${url}/trust/trusted_root.json`)).text();
        const { leaf } = await certificate(url);
        const ids = parseTrustedRoot(trustedRoot).ctlogs.map(({ logId }) => encodeBase64(logId));
        expect(ids).toHaveLength(2);
        expect(logIds(embeddedScts(leaf)).sort()).toEqual(ids.sort());
        const [newest] = (await searchIssued({ data }, { limit: 1 })).records;
        expect(newest?.scts.map(({ leafIndex }) => leafIndex === undefined)).toEqual([false, true]);
        return trustedRoot;
      },
      environment,
    );
    const exported = await exportTrust(configOf(data, environment), now);
    expect(exported.trustedRoot).toBe(root);
    // The same file for one that is retired: still believed, no longer asked.
    asked = 0;
    await running(
      data,
      async (url) => {
        const { leaf } = await certificate(url);
        expect(embeddedScts(leaf)).toHaveLength(1);
        expect(await (await fetch(`${url}/trust/trusted_root.json`)).text()).toBe(root);
      },
      await settings(data, { retired: true }),
    );
    expect(asked).toBe(0);
  });

  it("Let's Encrypt 2018-11-30: one that is down stops nothing, is left alone, and is said at once", async () => {
    const data = await copy();
    works = false;
    await running(
      data,
      async (url) => {
        const scts = embeddedScts((await certificate(url)).leaf);
        expect(scts).toHaveLength(1);
        // The other one's answer comes when it comes.
        await expect.poll(() => lines.join()).toContain('CT log failed');
        for (let n = 0; n < 3; n++) await certificate(url);
        expect(asked).toBe(1);
        const metrics = await (await fetch(`${url}/metrics`)).text();
        expect(metrics).toContain('chancery_ca_ct_log_working{log="own"} 1');
        expect(metrics).toContain(`chancery_ca_ct_log_working{log="${logUrl}"} 0`);
        expect(metrics).toContain(`chancery_ca_ct_log_failures_total{log="${logUrl}"} 1`);
      },
      await settings(data),
    );
  });

  it('nothing is issued where two SCTs are demanded and one cannot be had', async () => {
    const data = await copy();
    works = false;
    await running(
      data,
      async (url) => {
        const response = await ask(url);
        expect(response.status).toBe(500);
        expect(await response.json()).toEqual({ code: 13, message: 'Error entering certificate in CTL', details: [] });
      },
      { ...(await settings(data)), CHANCERY_CT_MIN: '2' },
    );
    expect(await identities(data)).toEqual(['alice@example.com']);
  });

  it('are not demanded where there are none', async () => {
    const data = await copy();
    await expect(start(data, { CHANCERY_CT_MIN: '2' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('2 SCTs of 1 CT logs'),
    });
  });
});

describe('rates', () => {
  it('are off unless they are set', async () => {
    const data = await copy();
    await running(
      data,
      async (url) => {
        const statuses = [];
        for (let n = 0; n < 3; n++) statuses.push((await ask(url)).status);
        const other = await ask(url, 'bob@example.com');
        expect([...statuses, other.status]).toEqual([200, 200, 429, 200]);
      },
      { CHANCERY_CA_RATE_PER_IDENTITY: '2/1h' },
    );
    expect(() => configOf(data, { CHANCERY_CA_RATE_PER_IDENTITY: 'many' })).toThrow('for example 60/1m');
  });
});
