import { createHash, generateKeyPairSync, type KeyObject, sign, webcrypto, X509Certificate } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  canonicalizeJson,
  encodeBase64,
  encodeBase64Url,
  encodePem,
  encodeUtf8,
  equalBytes,
  parseBase64,
} from '#libs/encoding';
import { createTokenVerifier, type IssuerConfig, issuerKinds } from '#libs/identity';
import { bootHttp, createLog, Metrics } from '#libs/nest';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import {
  basicConstraints,
  buildChain,
  ctHash,
  ctSignature,
  embeddedScts,
  encodeDigitallySigned,
  extendedKeyUsage,
  findExtension,
  fulcioExtensions,
  isPrecertificate,
  keyUsage,
  merkleTreeLeaf,
  oid,
  parseCertificate,
  parseCertificatePem,
  preTbs,
  subjectAltNames,
  type Certificate,
  verifySct,
} from '#libs/x509';
import { CaModule } from './app.module.js';
import { type CertificateAuthority, createAuthority, loadAuthority } from './authority.js';
import { clientAlgorithms, defaultClientAlgorithms } from './client-key.js';
import type { AddChainResponse, CtLog } from './ct-client.js';
import { CtLogs } from './ct-logs.js';
import { caShape } from './errors.js';
import { IssueCertificate } from './issue.js';
import { addCaMetrics } from './metrics.js';
import { IssuanceRates, parseRate } from './rate-limit.js';
import { IssuedError, type IssuedCertificateRecord } from './issued-store.js';

const start = new Date('2026-03-04T05:06:07.250Z');
const seconds = Math.floor(start.getTime() / 1000);
const GOOGLE = 'https://accounts.example';
const GITHUB = 'https://token.actions.example';

const issuers: IssuerConfig[] = [
  { issuerUrl: GOOGLE, wildcard: false, clientId: 'sigstore', type: 'email' },
  { issuerUrl: GITHUB, wildcard: false, clientId: 'sigstore', type: 'github-workflow' },
  {
    issuerUrl: 'https://dex.example/auth',
    wildcard: false,
    clientId: 'sigstore',
    type: 'email',
    issuerClaim: '$.federated_claims.connector_id',
  },
  { issuerUrl: 'https://user.example', wildcard: false, clientId: 'sigstore', type: 'name' },
  {
    issuerUrl: 'https://*.wild.example/x',
    wildcard: true,
    clientId: 'other',
    type: 'email',
    skipEmailVerification: true,
  },
];
const kinds: typeof issuerKinds = {
  ...issuerKinds,
  // A kind of the test, to reach names that no built-in kind makes.
  name: {
    challengeClaim: 'sub',
    fields: [],
    claims: () => ({ required: [], optional: [] }),
    principal: ({ issuer, subject }) => ({
      issuer,
      subject,
      challenge: subject,
      challengeClaim: 'sub',
      san: { kind: 'email', value: subject },
      extensions: {},
    }),
  },
};

// --- The fake edge: an issuer of tokens, and a CT log that signs -------------------------------------------------------

const oidcKey = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const fetchOidc = async (url: string): Promise<Response> => {
  const issuer = url.replace('/.well-known/openid-configuration', '');
  if (url.endsWith('/jwks'))
    return Response.json({ keys: [{ ...oidcKey.publicKey.export({ format: 'jwk' }), kid: 'k' }] });
  if (issuer === 'https://down.wild.example/x') return new Response('', { status: 502 });
  return Response.json({ issuer, jwks_uri: `${issuer}/jwks`, id_token_signing_alg_values_supported: ['ES256'] });
};

const part = (value: unknown): string => encodeBase64Url(encodeUtf8(JSON.stringify(value)));

function token(claims: Record<string, unknown> = {}, header: Record<string, unknown> = {}): string {
  const data = `${part({ alg: 'ES256', kid: 'k', ...header })}.${part({
    iss: GOOGLE,
    aud: 'sigstore',
    sub: '1234',
    exp: seconds + 60,
    email: 'ann@example.com',
    email_verified: true,
    ...claims,
  })}`;
  const signature = sign('sha256', Buffer.from(data), { key: oidcKey.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${data}.${encodeBase64Url(signature)}`;
}

const github: Record<string, string> = {
  iss: GITHUB,
  sub: 'repo:octo/app:ref:refs/heads/main',
  job_workflow_ref: 'octo/app/.github/workflows/build.yml@refs/heads/main',
  sha: 'aaaa',
  event_name: 'push',
  repository: 'octo/app',
  workflow: 'Release',
  ref: 'refs/heads/main',
  job_workflow_sha: 'bbbb',
  runner_environment: 'github-hosted',
  repository_id: '1001',
  repository_owner: 'octo',
  repository_owner_id: '2002',
  repository_visibility: 'public',
  workflow_ref: 'octo/app/.github/workflows/release.yml@refs/heads/main',
  workflow_sha: 'cccc',
  run_id: '3003',
  run_attempt: '4',
};

const ctSigner = generateSigner('P-256');
class FakeCt implements CtLog {
  readonly chains: (readonly Uint8Array[])[] = [];
  fail: Error | undefined;
  change: (answer: AddChainResponse) => AddChainResponse = (answer) => answer;
  clock = (): Date => start;
  signer = ctSigner;

  async addPreChain(chain: readonly Uint8Array[]): Promise<AddChainResponse> {
    this.chains.push(chain);
    if (this.fail !== undefined) throw this.fail;
    const [precertificate, issuer] = chain.map(parseCertificate);
    if (!precertificate || !issuer) throw new Error('expected a chain');
    const extensions = Uint8Array.of(0, 0, 5, 0, 0, 0, 0, 112);
    const timestampMs = BigInt(this.clock().getTime());
    const entry = { kind: 'precert', issuerKeyHash: sha256(issuer.spki), tbs: preTbs(precertificate) } as const;
    const signature = encodeDigitallySigned({
      hashAlgorithm: ctHash.sha256,
      signatureAlgorithm: ctSignature.ecdsa,
      signature: this.signer.sign(merkleTreeLeaf({ timestampMs, extensions, entry })),
    });
    return this.change({
      sct_version: 0,
      id: encodeBase64(sha256(this.signer.publicKey.spki)),
      timestamp: Number(timestampMs),
      extensions: encodeBase64(extensions),
      signature: encodeBase64(signature),
    });
  }
}

// --- The server ------------------------------------------------------------------------------------------------------

let base: string;
let authority: CertificateAuthority;
let ct: FakeCt;
let now: Date;
const logged: string[] = [];
let recorded: IssuedCertificateRecord[] = [];
let recordFailure: Error | undefined;
const closing: (() => Promise<void>)[] = [];

beforeAll(async () => {
  authority = await loadAuthority(
    await createAuthority({ organization: 'example', commonName: 'example CA', now: start }),
    start,
    opensslCrypto,
  );
  base = await serve();
});

const log = createLog({ format: 'json', now: () => now, write: (line) => logged.push(line) });
const record = {
  append: async (certificate: IssuedCertificateRecord): Promise<void> => {
    if (recordFailure !== undefined) throw recordFailure;
    recorded.push(certificate);
  },
};

/** Boots a CA; where it listens. */
async function serve(rates = new IssuanceRates({})): Promise<string> {
  const ctLogs = new CtLogs({
    logs: [{ name: 'ct', log: { addPreChain: (chain) => ct.addPreChain(chain) }, key: ctSigner.publicKey }],
    crypto: opensslCrypto,
    now: () => now,
    sleep: () => Promise.reject(new Error('one log is not timed')),
    report: log,
  });
  const flow = new IssueCertificate({
    issued: record,
    rates,
    authority,
    tokens: createTokenVerifier({ issuers, kinds, fetch: fetchOidc, now: () => now }),
    ctLogs,
    permitted: clientAlgorithms(defaultClientAlgorithms),
    crypto: opensslCrypto,
    now: () => now,
  });
  const metrics = new Metrics();
  addCaMetrics(metrics, { flow, ctLogs, rates });
  const app = await bootHttp(CaModule.register(flow), {
    host: '127.0.0.1',
    port: 0,
    shapes: [caShape],
    bodyLimit: 1 << 22,
    log,
    metrics,
  });
  closing.push(() => app.close());
  return app.getUrl();
}
afterAll(async () => {
  for (const close of closing) await close();
});
beforeEach(() => {
  ct = new FakeCt();
  now = start;
  logged.length = 0;
  recorded = [];
  recordFailure = undefined;
});

interface Key {
  publicKey: KeyObject;
  privateKey: KeyObject;
}
const pemOf = (key: Key): string => key.publicKey.export({ type: 'spki', format: 'pem' }).toString();
const proofBy = (key: Key, hash: string | null, text = 'ann@example.com'): string =>
  encodeBase64(sign(hash, Buffer.from(text), key.privateKey));

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const otherP256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' });
const p521 = generateKeyPairSync('ec', { namedCurve: 'P-521' });
const ed25519 = generateKeyPairSync('ed25519');
const rsa1024 = generateKeyPairSync('rsa', { modulusLength: 1024 });
const rsa2048 = generateKeyPairSync('rsa', { modulusLength: 2048 });

/** A good v2 request; `change` replaces members. */
function v2(change: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    credentials: { oidcIdentityToken: token() },
    publicKeyRequest: {
      publicKey: { algorithm: 'ECDSA', content: pemOf(p256) },
      proofOfPossession: proofBy(p256, 'sha256'),
    },
    ...change,
  };
}
const keyRequest = (key: Key, proof: string, algorithm: unknown = 'ECDSA') => ({
  publicKeyRequest: { publicKey: { algorithm, content: pemOf(key) }, proofOfPossession: proof },
});

async function post(path: string, body: unknown, headers: Record<string, string> = {}, at = base): Promise<Response> {
  return fetch(`${at}${path}`, {
    method: 'POST',
    body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
    headers,
  });
}

async function issued(response: Response): Promise<Certificate[]> {
  const body = (await response.json()) as {
    signedCertificateEmbeddedSct?: { chain: { certificates: string[] } };
    message?: string;
  };
  expect(body.message).toBeUndefined();
  expect(response.status).toBe(200);
  return (body.signedCertificateEmbeddedSct?.chain.certificates ?? []).flatMap((pem) => parseCertificatePem(pem));
}

async function leafOf(response: Response): Promise<Certificate> {
  const [leaf] = await issued(response);
  if (!leaf) throw new Error('no certificate');
  return leaf;
}

/** The whole answer of a refusal; nothing may have been issued. */
async function refusal(response: Response): Promise<{ status: number; code: number; message: string }> {
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  const body = (await response.json()) as { code: number; message: string; details: unknown };
  expect(body).toEqual({ code: body.code, message: body.message, details: [] });
  return { status: response.status, code: body.code, message: body.message };
}
/** Upstream's text, and then what is wrong: clients know the beginning. */
const invalid = (message: string, more?: string) => ({
  status: 400,
  code: 3,
  message:
    more === undefined
      ? expect.stringMatching(new RegExp(`^${message.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(: |; ).+`))
      : `${message}: ${more}`,
});
const badToken = invalid('There was an error processing the identity token');
const badKey = invalid('The public key supplied in the request could not be parsed');
const weakKey = invalid('The public key supplied in the request is insecure');
const badProof = invalid('The signature supplied in the request could not be verified');
const badCsr = invalid('The certificate signing request could not be parsed');
const badLog = { status: 500, code: 13, message: 'Error entering certificate in CTL' };

type RequestAlgorithm = webcrypto.EcKeyGenParams & webcrypto.RsaHashedKeyGenParams;

/** A certificate request, with WebCrypto and @peculiar/x509. */
async function csr(algorithm: { name: string }, extensions: peculiar.Extension[] = []): Promise<Uint8Array> {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  const keys = await webcrypto.subtle.generateKey(algorithm as RequestAlgorithm, true, ['sign', 'verify']);
  const request = await peculiar.Pkcs10CertificateRequestGenerator.create({
    name: 'CN=test',
    keys,
    signingAlgorithm: algorithm as RequestAlgorithm,
    extensions,
  });
  return new Uint8Array(request.rawData);
}
const csrPem = (der: Uint8Array, label = 'CERTIFICATE REQUEST') => encodeBase64(encodeUtf8(encodePem(label, der)));
const ecdsa = (curve: string, hash: string) => ({ name: 'ECDSA', namedCurve: curve, hash });
const rsaAlgorithm = (hash: string, name = 'RSASSA-PKCS1-v1_5') => ({
  name,
  hash,
  modulusLength: 2048,
  publicExponent: Uint8Array.of(1, 0, 1),
  ...(name === 'RSA-PSS' && { saltLength: 32 }),
});
const withCsr = (pem: string) => v2({ publicKeyRequest: undefined, certificateSigningRequest: pem });

describe('POST /api/v2/signingCert', () => {
  test('issues a certificate as the certificate specification has it', async () => {
    const response = await post('/api/v2/signingCert', v2());
    expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
    const text = await response.clone().text();
    expect(text).not.toContain('-----END CERTIFICATE-----\\n"');
    const [leaf, ...chain] = await issued(response);
    if (!leaf) throw new Error('no certificate');
    expect(chain.map(({ der }) => der)).toEqual(authority.chain.map(({ der }) => der));

    expect(encodeBase64(leaf.spki)).toBe(p256.publicKey.export({ type: 'spki', format: 'der' }).toString('base64'));
    expect(Buffer.from(leaf.subject).toString('hex')).toBe('3000');
    expect(leaf.notBefore.toISOString()).toBe('2026-03-04T05:06:07.000Z');
    expect(leaf.notAfter.getTime() - leaf.notBefore.getTime()).toBe(600_000);
    expect(keyUsage(leaf)).toEqual(['digitalSignature']);
    expect(extendedKeyUsage(leaf)).toEqual({ oids: ['1.3.6.1.5.5.7.3.3'], critical: false });
    expect(basicConstraints(leaf)).toBeUndefined();
    expect(subjectAltNames(leaf)).toEqual([{ kind: 'email', value: 'ann@example.com' }]);
    expect(findExtension(leaf, oid.subjectAltName)?.critical).toBe(true);
    expect(fulcioExtensions(leaf)).toEqual({ issuer: GOOGLE, subject: '1234' });
    expect(leaf.extensions.map((extension) => extension.oid)).toEqual([
      '2.5.29.15',
      '2.5.29.37',
      '2.5.29.14',
      '2.5.29.35',
      '2.5.29.17',
      ...[1, 8, 24].map((number) => `1.3.6.1.4.1.57264.1.${number}`),
      '1.3.6.1.4.1.11129.2.4.2',
    ]);
    const root = chain.at(-1);
    if (!root) throw new Error('no root');
    const path = await buildChain(
      leaf,
      { intermediates: chain, anchors: [root], time: start, extendedKeyUsage: oid.codeSigning },
      opensslCrypto,
    );
    expect(path).toHaveLength(3);
  });

  test('logs the precertificate with its chain, and embeds the SCT for the same bytes', async () => {
    const leaf = await leafOf(await post('/api/v2/signingCert', v2()));
    expect(ct.chains).toHaveLength(1);
    const [der = new Uint8Array(), ...rest] = ct.chains[0] ?? [];
    expect(rest).toEqual(authority.chain.map((certificate) => certificate.der));
    const precertificate = parseCertificate(der);
    expect(isPrecertificate(precertificate)).toBe(true);
    expect(isPrecertificate(leaf)).toBe(false);
    expect(precertificate.serialNumber).toBe(leaf.serialNumber);
    expect(equalBytes(preTbs(precertificate), preTbs(leaf))).toBe(true);
    const [sct, ...more] = embeddedScts(leaf);
    if (!sct) throw new Error('no SCT');
    expect(more).toEqual([]);
    expect(Buffer.from(sct.extensions).toString('hex')).toBe('0000050000000070');
    await verifySct(sct, leaf, authority.issuer, ctSigner.publicKey, opensslCrypto);
  });

  test('makes certificates that @peculiar/x509 and OpenSSL read back to the same fields', async () => {
    const [leaf] = await issued(await post('/api/v2/signingCert', v2()));
    if (!leaf) throw new Error('no certificate');
    const theirs = new peculiar.X509Certificate(new Uint8Array(leaf.der));
    expect(theirs.subject).toBe('');
    expect(theirs.issuer).toBe('O=example, CN=example CA');
    expect(theirs.notAfter).toEqual(leaf.notAfter);
    expect(BigInt(`0x${theirs.serialNumber}`)).toBe(leaf.serialNumber);
    expect(theirs.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
      { type: 'email', value: 'ann@example.com' },
    ]);
    const openssl = new X509Certificate(leaf.der);
    expect(openssl.verify(new X509Certificate(authority.issuer.der).publicKey)).toBe(true);
    expect(openssl.checkIssued(new X509Certificate(authority.issuer.der))).toBe(true);
    expect(openssl.subjectAltName).toBe('email:ann@example.com');
    // RFC 5280 §4.2.1.2, method 1: SHA-1 over the bits of the key.
    const point = leaf.spki.subarray(-65);
    expect(Buffer.from(findExtension(leaf, '2.5.29.14')?.value ?? []).toString('hex')).toBe(
      `0414${createHash('sha1').update(point).digest('hex')}`,
    );
  });

  test('never gives a serial twice, and each has its top bit clear', async () => {
    const leaves = await Promise.all(
      Array.from({ length: 20 }, async () => leafOf(await post('/api/v2/signingCert', v2()))),
    );
    expect(new Set(leaves.map((leaf) => leaf.serialNumber)).size).toBe(20);
    expect(leaves.every((leaf) => leaf.serialNumber > 0n && leaf.serialBytes.length <= 20)).toBe(true);
  });

  test('states every claim of a GitHub token', async () => {
    const body = v2({
      credentials: { oidcIdentityToken: token(github) },
      ...keyRequest(p256, proofBy(p256, 'sha256', github['sub'])),
    });
    const leaf = await leafOf(await post('/api/v2/signingCert', body));
    expect(subjectAltNames(leaf)).toEqual([
      { kind: 'uri', value: 'https://github.com/octo/app/.github/workflows/build.yml@refs/heads/main' },
    ]);
    expect(canonicalizeJson({ ...fulcioExtensions(leaf) })).toBe(
      canonicalizeJson({
        issuer: GITHUB,
        subject: 'repo:octo/app:ref:refs/heads/main',
        githubWorkflowTrigger: 'push',
        githubWorkflowSha: 'aaaa',
        githubWorkflowName: 'Release',
        githubWorkflowRepository: 'octo/app',
        githubWorkflowRef: 'refs/heads/main',
        buildSignerUri: 'https://github.com/octo/app/.github/workflows/build.yml@refs/heads/main',
        buildSignerDigest: 'bbbb',
        runnerEnvironment: 'github-hosted',
        sourceRepositoryUri: 'https://github.com/octo/app',
        sourceRepositoryDigest: 'aaaa',
        sourceRepositoryRef: 'refs/heads/main',
        sourceRepositoryIdentifier: '1001',
        sourceRepositoryOwnerUri: 'https://github.com/octo',
        sourceRepositoryOwnerIdentifier: '2002',
        buildConfigUri: 'https://github.com/octo/app/.github/workflows/release.yml@refs/heads/main',
        buildConfigDigest: 'cccc',
        buildTrigger: 'push',
        runInvocationUri: 'https://github.com/octo/app/actions/runs/3003/attempts/4',
        sourceRepositoryVisibilityAtSigning: 'public',
      }),
    );
    // 1 to 6 are bare bytes, 8 and above a DER UTF8String.
    const value = (number: number) => Buffer.from(findExtension(leaf, `1.3.6.1.4.1.57264.1.${number}`)?.value ?? []);
    expect(value(2).toString()).toBe('push');
    expect(value(20).toString('hex')).toBe(`0c04${Buffer.from('push').toString('hex')}`);
  });

  test('states the issuer behind a broker', async () => {
    const broker = token({
      iss: 'https://dex.example/auth',
      federated_claims: { connector_id: 'https://github.com/login/oauth' },
    });
    const leaf = await leafOf(await post('/api/v2/signingCert', v2({ credentials: { oidcIdentityToken: broker } })));
    expect(fulcioExtensions(leaf).issuer).toBe('https://github.com/login/oauth');
  });

  test.each<[string, Record<string, unknown>, Record<string, string>]>([
    ['the token in the Authorization header', { credentials: undefined }, { authorization: `Bearer ${token()}` }],
    ['a bare token in the header', { credentials: undefined }, { authorization: token() }],
    [
      'an empty token in the body and one in the header',
      { credentials: { oidcIdentityToken: '' } },
      { authorization: `Bearer ${token()}` },
    ],
    ['a token in the body and nonsense in the header', {}, { authorization: 'Bearer nonsense' }],
    [
      'snake_case names',
      {
        credentials: { oidc_identity_token: token() },
        publicKeyRequest: undefined,
        public_key_request: { public_key: { content: pemOf(p256) }, proof_of_possession: proofBy(p256, 'sha256') },
      },
      {},
    ],
    ['unknown fields', { extra: [1, { deep: null }], credentials: { oidcIdentityToken: token(), other: 1 } }, {}],
    ['null for the other way', { certificateSigningRequest: null }, {}],
    ['an Accept that JSON does not fit', {}, { accept: 'application/pem-certificate-chain' }],
    ['another Content-Type', {}, { 'content-type': 'text/weird' }],
    ['algorithm RSA, which is not in the enum', keyRequest(p256, proofBy(p256, 'sha256'), 'RSA'), {}],
    ['algorithm as a number', keyRequest(p256, proofBy(p256, 'sha256'), 2), {}],
    ['a URL-safe proof without padding', keyRequest(p256, encodeBase64Url(parseBase64(proofBy(p256, 'sha256')))), {}],
    ['a verified address as text', { credentials: { oidcIdentityToken: token({ email_verified: 'true' }) } }, {}],
  ])('accepts %s', async (_name, change, headers) => {
    await leafOf(await post('/api/v2/signingCert', v2(change), headers));
  });

  test('accepts a body without Content-Type', async () => {
    const status = await new Promise((resolve, reject) => {
      const request = httpRequest(`${base}/api/v2/signingCert`, { method: 'POST' }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.on('error', reject);
      request.end(JSON.stringify(v2()));
    });
    expect(status).toBe(200);
  });

  test.each<[string, Key, string | null]>([
    ['P-256', p256, 'sha256'],
    ['P-384', p384, 'sha384'],
    ['P-521', p521, 'sha512'],
    ['RSA 2048', rsa2048, 'sha256'],
    ['Ed25519', ed25519, null],
  ])('certifies a key of %s', async (_name, key, hash) => {
    const leaf = await leafOf(await post('/api/v2/signingCert', v2(keyRequest(key, proofBy(key, hash)))));
    expect(Buffer.from(leaf.spki).toString('hex')).toBe(
      key.publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
    );
  });

  test('certifies a PKCS#1 key, whose form in the certificate is SPKI', async () => {
    const content = rsa2048.publicKey.export({ type: 'pkcs1', format: 'pem' }).toString();
    const body = v2({ publicKeyRequest: { publicKey: { content }, proofOfPossession: proofBy(rsa2048, 'sha256') } });
    const leaf = await leafOf(await post('/api/v2/signingCert', body));
    expect(Buffer.from(leaf.spki)).toEqual(rsa2048.publicKey.export({ type: 'spki', format: 'der' }));
  });

  test.each<[string, Key, string]>([
    ['P-256', p256, 'sha256'],
    ['P-384', p384, 'sha384'],
    ['P-521', p521, 'sha512'],
  ])('takes a signature of %s in the form of IEEE P1363', async (_name, key, hash) => {
    const raw = sign(hash, Buffer.from('ann@example.com'), { key: key.privateKey, dsaEncoding: 'ieee-p1363' });
    await leafOf(await post('/api/v2/signingCert', v2(keyRequest(key, encodeBase64(raw)))));
  });

  test.each<[string, { name: string }]>([
    ['P-256', ecdsa('P-256', 'SHA-256')],
    ['P-384', ecdsa('P-384', 'SHA-384')],
    ['P-521', ecdsa('P-521', 'SHA-512')],
    ['RSA', rsaAlgorithm('SHA-256')],
  ])('certifies the key of a %s certificate request, and takes nothing else from it', async (_name, algorithm) => {
    const der = await csr(algorithm, [new peculiar.BasicConstraintsExtension(true, undefined, true)]);
    const leaf = await leafOf(await post('/api/v2/signingCert', withCsr(csrPem(der))));
    expect(subjectAltNames(leaf)).toEqual([{ kind: 'email', value: 'ann@example.com' }]);
    expect(basicConstraints(leaf)).toBeUndefined();
  });

  test('takes the older PEM label of certificate requests', async () => {
    const pem = csrPem(await csr(ecdsa('P-256', 'SHA-256')), 'NEW CERTIFICATE REQUEST');
    await leafOf(await post('/api/v2/signingCert', withCsr(pem)));
  });
});

describe('POST /api/v2/signingCert refuses, and issues nothing:', () => {
  /** Refused before anything was signed. */
  async function refused(body: unknown, headers: Record<string, string> = {}): Promise<unknown> {
    const answer = await refusal(await post('/api/v2/signingCert', body, headers));
    expect(ct.chains).toEqual([]);
    return answer;
  }
  const withToken = (value: string) => v2({ credentials: { oidcIdentityToken: value } });
  const unsigned = `${part({ alg: 'none' })}.${part({ iss: GOOGLE, aud: 'sigstore', sub: '1', exp: seconds + 60, email: 'ann@example.com', email_verified: true })}.`;

  test.each<[string, () => unknown]>([
    ['no token', () => v2({ credentials: undefined })],
    ['an empty body', () => ''],
    ['a token of two parts', () => withToken(token().split('.').slice(0, 2).join('.'))],
    ['a token of four parts', () => withToken(`${token()}.x`)],
    ['bad base64 in the token', () => withToken(`${part({ alg: 'ES256' })}.!!.x`)],
    ['bad JSON in the token', () => withToken(`${part({ alg: 'ES256' })}.${encodeBase64Url(encodeUtf8('{'))}.x`)],
    ['an expired token', () => withToken(token({ exp: seconds - 1 }))],
    ['a token for another audience', () => withToken(token({ aud: 'someone-else' }))],
    ['an unknown issuer', () => withToken(token({ iss: 'https://unknown.example' }))],
    ['an issuer that cannot be reached', () => withToken(token({ iss: 'https://down.wild.example/x', aud: 'other' }))],
    ['a token not valid yet', () => withToken(token({ nbf: seconds + 400 }))],
    ['an unverified address', () => withToken(token({ email_verified: false }))],
    ['a token without address', () => withToken(token({ email: undefined }))],
    ['an empty subject', () => withToken(token({ sub: '' }))],
    ['alg none', () => withToken(unsigned)],
    [
      'a signature over other claims',
      () => withToken([...token().split('.').slice(0, 2), token({ sub: '2' }).split('.')[2]].join('.')),
    ],
    ['an issuer claim that is missing', () => withToken(token({ iss: 'https://dex.example/auth' }))],
    ...Object.keys(github)
      .filter((name) => name !== 'iss')
      .map((name): [string, () => unknown] => [
        `a GitHub token without ${name}`,
        () => withToken(token({ ...github, [name]: undefined })),
      ]),
  ])('%s', async (_name, body) => {
    expect(await refused(body())).toEqual(badToken);
  });

  test('a token of a megabyte of dots, in less than 10 ms', async () => {
    const body = encodeUtf8(JSON.stringify(withToken('.'.repeat(1024 * 1024))));
    const once = async () => {
      const begin = performance.now();
      const answer = (await refused(body)) as { status: number; message: string };
      expect(answer.status).toBe(400);
      expect(answer.message).toMatch(/^request could not be read: the body has \d+ bytes, the limit is 262144$/);
      return performance.now() - begin;
    };
    // Other work on this machine must not decide, so the best of some counts.
    const times: number[] = [];
    for (let i = 0; i < 10; i++) times.push(await once());
    expect(Math.min(...times)).toBeLessThan(10);
  });

  test('a token just over 16 KiB, and the most dots that a body can hold', async () => {
    expect(await refused(withToken('.'.repeat(16 * 1024 + 1)))).toEqual(badToken);
    expect(await refused(withToken('.'.repeat(255 * 1024)))).toEqual(badToken);
  });

  test('the reason of a bad token only in the log, and never the token', async () => {
    const bad = token({ exp: seconds - 1 });
    await refused(withToken(bad));
    expect(logged.join()).toContain(
      'IDENTITY_EXPIRED: Cannot accept identity token: claim exp is 2026-03-04T05:06:06.000Z',
    );
    expect(logged.join()).not.toContain(bad.split('.')[1]);
    expect(logged.join()).not.toContain(bad.split('.')[2]);
  });

  const noKey = { publicKeyRequest: undefined };
  const keyText = (content: unknown) => ({
    publicKeyRequest: { publicKey: { content }, proofOfPossession: proofBy(p256, 'sha256') },
  });
  const p224 = generateKeyPairSync('ec', { namedCurve: 'secp224r1' });
  const k256 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
  const x25519 = generateKeyPairSync('x25519');
  const pss = generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 });

  test.each<[string, () => Record<string, unknown>, unknown]>([
    ['neither key nor request', () => noKey, badKey],
    ['an empty certificate request', () => ({ ...noKey, certificateSigningRequest: '' }), badKey],
    ['an empty key', () => keyText(''), badKey],
    ['a key request without key', () => ({ publicKeyRequest: {} }), badKey],
    ['a garbage key', () => keyText('garbage'), badKey],
    ['a PEM of garbage', () => keyText('-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'), badKey],
    ['two keys', () => keyText(pemOf(p256) + pemOf(p256)), badKey],
    ['a private key', () => keyText(p256.privateKey.export({ type: 'pkcs8', format: 'pem' })), badKey],
    ['RSA 1024 with a good proof', () => keyRequest(rsa1024, proofBy(rsa1024, 'sha256')), weakKey],
    ['RSA 1024 with a bad proof', () => keyRequest(rsa1024, 'AAAA'), weakKey],
    ['RSA with exponent 3', () => keyRequest(pss, proofBy(pss, 'sha256')), weakKey],
    ['P-224', () => keyRequest(p224, proofBy(p224, 'sha256')), weakKey],
    ['secp256k1', () => keyRequest(k256, proofBy(k256, 'sha256')), weakKey],
    ['X25519', () => keyRequest(x25519, 'AAAA'), weakKey],
    ['an empty proof', () => keyRequest(p256, ''), badProof],
    ['a garbage proof', () => keyRequest(p256, 'AAAA'), badProof],
    ['a proof by another key', () => keyRequest(p256, proofBy(otherP256, 'sha256')), badProof],
    ['a proof over another text', () => keyRequest(p256, proofBy(p256, 'sha256', 'eve@example.com')), badProof],
    ['a proof over sub instead of email', () => keyRequest(p256, proofBy(p256, 'sha256', '1234')), badProof],
    [
      'a proof over the text with a line feed',
      () => keyRequest(p256, proofBy(p256, 'sha256', 'ann@example.com\n')),
      badProof,
    ],
    ['SHA-256 with P-521', () => keyRequest(p521, proofBy(p521, 'sha256')), badProof],
    ['SHA-256 with P-384', () => keyRequest(p384, proofBy(p384, 'sha256')), badProof],
    ['SHA-512 with RSA', () => keyRequest(rsa2048, proofBy(rsa2048, 'sha512')), badProof],
    ['64 zero bytes for a proof', () => keyRequest(p256, encodeBase64(new Uint8Array(64))), badProof],
  ])('%s', async (_name, change, answer) => {
    expect(await refused(v2(change()))).toEqual(answer);
  });

  test('a proof by RSASSA-PSS', async () => {
    const signature = sign('sha256', Buffer.from('ann@example.com'), { key: rsa2048.privateKey, padding: 6 });
    expect(await refused(v2(keyRequest(rsa2048, encodeBase64(signature), 'RSA_PSS')))).toEqual(badProof);
  });

  test('an algorithm that is not permitted, after the proof was checked', async () => {
    const wrong = await refused(withCsr(csrPem(await csr(ecdsa('P-256', 'SHA-384')))));
    const permitted = `permitted: ${defaultClientAlgorithms.join(', ')}`;
    expect(wrong).toEqual(invalid('signing algorithm not permitted', `*ecdsa.PublicKey, SHA-384; ${permitted}`));
    const large = await refused(withCsr(csrPem(await csr(rsaAlgorithm('SHA-512')))));
    expect(large).toEqual(invalid('signing algorithm not permitted', `*rsa.PublicKey, SHA-512; ${permitted}`));
  });

  test('a certificate request by RSASSA-PSS or with SHA-1', async () => {
    expect(await refused(withCsr(csrPem(await csr(rsaAlgorithm('SHA-256', 'RSA-PSS')))))).toEqual(
      invalid('unrecognized signature algorithm: SHA256-RSAPSS'),
    );
    expect(await refused(withCsr(csrPem(await csr(rsaAlgorithm('SHA-1')))))).toEqual(
      invalid('unrecognized signature algorithm: SHA1-RSA'),
    );
  });

  test('a certificate request whose signature is wrong', async () => {
    const der = await csr(ecdsa('P-256', 'SHA-256'));
    const last = der.length - 1;
    const broken = der.slice();
    broken[last] = (broken[last] ?? 0) ^ 1;
    expect(await refused(withCsr(csrPem(broken)))).toEqual(badProof);
    // Another name under the same signature.
    const renamed = Buffer.from(der);
    renamed.write('evil', renamed.indexOf('test'));
    expect(await refused(withCsr(csrPem(renamed)))).toEqual(badProof);
  });

  test('a certificate request with a weak key', async () => {
    const weak = { ...rsaAlgorithm('SHA-256'), modulusLength: 1024 };
    const der = await csr(weak);
    expect(await refused(withCsr(csrPem(der)))).toEqual(weakKey);
  });

  test.each<[string, () => Promise<string>]>([
    ['garbage', async () => encodeBase64(encodeUtf8('garbage'))],
    ['bytes that are no text', async () => encodeBase64(Uint8Array.of(0xff, 0xfe))],
    ['DER without PEM', async () => encodeBase64(await csr(ecdsa('P-256', 'SHA-256')))],
    ['another PEM label', async () => csrPem(await csr(ecdsa('P-256', 'SHA-256')), 'CERTIFICATE')],
    ['a PEM of garbage', async () => csrPem(Uint8Array.of(1, 2, 3))],
    [
      'bytes after the request',
      async () => csrPem(Buffer.concat([await csr(ecdsa('P-256', 'SHA-256')), Buffer.of(0)])),
    ],
  ])('%s for a certificate request', async (_name, pem) => {
    expect(await refused(withCsr(await pem()))).toEqual(badCsr);
  });

  test.each<[string, unknown]>([
    ['text', 'not json'],
    ['a list', '[]'],
    ['null', 'null'],
    ['JSON with something after it', `${JSON.stringify(v2())}x`],
    ['a member twice', JSON.stringify(v2()).replace('{', '{"credentials":{},')],
    ['both names of a member', v2({ credentials: { oidcIdentityToken: token(), oidc_identity_token: token() } })],
    ['both members of the oneof', v2({ certificateSigningRequest: 'AAAA' })],
    ['both, one of them empty', v2({ certificateSigningRequest: '' })],
    ['a token that is a number', v2({ credentials: { oidcIdentityToken: 7 } })],
    ['credentials that are text', v2({ credentials: 'token' })],
    ['a key that is text', v2({ publicKeyRequest: 'key' })],
    ['a content that is an object', v2({ publicKeyRequest: { publicKey: { content: {} } } })],
    ['a proof that is no base64', v2(keyRequest(p256, '****'))],
    ['bytes that are no UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['JSON of 100 levels', `${'['.repeat(100)}${']'.repeat(100)}`],
    ['more than 4 MiB', `"${'x'.repeat(4 * 1024 * 1024)}"`],
  ])('%s for a body', async (_name, body) => {
    const answer = (await refused(body)) as { status: number; code: number };
    expect([answer.status, answer.code]).toEqual([400, 3]);
  });

  test('the identity that cannot be written into a certificate', async () => {
    const body = v2({
      credentials: { oidcIdentityToken: token({ iss: 'https://user.example', sub: 'änn@example.com' }) },
      ...keyRequest(p256, proofBy(p256, 'sha256', 'änn@example.com')),
    });
    expect(await refused(body)).toEqual(
      invalid('the identity cannot be embedded in a certificate', 'the name is not printable ASCII'),
    );
  });

  test('the weak key before the bad signature, and the bad token before both', async () => {
    const both = keyRequest(rsa1024, 'AAAA');
    expect(await refused(v2(both))).toEqual(weakKey);
    expect(await refused(v2({ ...both, credentials: { oidcIdentityToken: 'x' } }))).toEqual(badToken);
  });
});

describe('a refusal explains itself', () => {
  interface Line {
    message: string;
    requestId?: string;
    [field: string]: unknown;
  }
  const refusedLine = (): Line => {
    const lines = logged.map((line) => JSON.parse(line) as Line).filter(({ requestId }) => requestId !== undefined);
    expect(lines).toHaveLength(1);
    return lines[0] as Line; // the length says so
  };
  const withClaims = (claims: Record<string, unknown>) => v2({ credentials: { oidcIdentityToken: token(claims) } });

  test.each<[string, () => unknown, string]>([
    ['the audience', () => withClaims({ aud: 'foo' }), 'audience is "foo", this CA expects "sigstore"'],
    ['a missing claim', () => withClaims({ iss: GITHUB, ...github, sha: undefined }), 'claim sha is missing'],
    ['no token', () => v2({ credentials: undefined }), 'token'],
  ])('%s: what was found and what was expected', async (_name, body, more) => {
    const { message } = await refusal(await post('/api/v2/signingCert', body()));
    expect(message).toMatch(/^There was an error processing the identity token: /);
    expect(message).toContain(more);
  });

  test.each<[string, () => Record<string, unknown>, string]>([
    [
      'the proof of an e-mail address',
      () => keyRequest(p256, proofBy(otherP256, 'sha256')),
      "proof of possession must be a signature by this key (ecdsa-sha2-256-nistp256) over the value of the token's claim email",
    ],
    [
      'the proof of a workflow',
      () => ({ ...keyRequest(p384, proofBy(p384, 'sha384')), credentials: { oidcIdentityToken: token(github) } }),
      "proof of possession must be a signature by this key (ecdsa-sha2-384-nistp384) over the value of the token's claim sub",
    ],
  ])('%s: over which claim, not over which value', async (_name, change, more) => {
    const { message } = await refusal(await post('/api/v2/signingCert', v2(change())));
    expect(message).toBe(`The signature supplied in the request could not be verified: ${more}`);
  });

  test.each<[string, () => Record<string, unknown>, string]>([
    [
      'no key',
      () => ({ publicKeyRequest: undefined }),
      'the request has neither a public key nor a certificate request',
    ],
    ['a weak key', () => keyRequest(rsa1024, 'AAAA'), 'expected ECDSA on P-256, P-384 or P-521, RSA of 2048'],
    [
      'a garbage key',
      () => ({ publicKeyRequest: { publicKey: { content: 'x' } } }),
      'expected one SubjectPublicKeyInfo',
    ],
    ['a garbage request', () => withCsr('AAAA'), 'it is not PEM'],
  ])('%s', async (_name, change, more) => {
    const { message } = await refusal(await post('/api/v2/signingCert', v2(change())));
    expect(message).toContain(`: ${more}`);
  });

  test('the request id of the answer is that of the log line, which says more and never the token', async () => {
    const sent = token({ aud: 'foo' });
    const response = await post('/api/v2/signingCert', v2({ credentials: { oidcIdentityToken: sent } }));
    const requestId = response.headers.get('x-request-id');
    const { message } = await refusal(response);
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(refusedLine()).toMatchObject({
      severity: 'warn',
      message: 'request refused',
      requestId,
      status: 400,
      code: 'IDENTITY_AUDIENCE',
      clientMessage: message,
      claimedIssuer: GOOGLE,
    });
    for (const piece of sent.split('.')) {
      expect(logged.join()).not.toContain(piece);
      expect(message).not.toContain(piece);
    }
  });

  test('the log line names whom a verified token was of', async () => {
    const body = v2(keyRequest(p256, proofBy(otherP256, 'sha256')));
    const response = await post('/api/v2/signingCert', body, { 'x-request-id': 'my-request-1' });
    expect(response.headers.get('x-request-id')).toBe('my-request-1');
    const line = refusedLine();
    expect(line).toMatchObject({
      requestId: 'my-request-1',
      code: 'CA_PROOF',
      issuer: GOOGLE,
      identity: 'ann@example.com',
    });
    expect(line).not.toHaveProperty('claimedIssuer');
    expect(logged.join()).not.toContain(token().split('.')[1]);
  });

  test('a fault of ours names the request and who met it, in our log alone', async () => {
    ct.fail = new Error('secret detail');
    const response = await post('/api/v2/signingCert', v2());
    const requestId = response.headers.get('x-request-id');
    expect(await refusal(response)).toEqual(badLog);
    const lines = logged.map((line) => JSON.parse(line) as Line);
    expect(lines.find(({ message }) => message === 'request failed')).toMatchObject({
      requestId,
      code: 'CA_LOG',
      clientMessage: 'Error entering certificate in CTL',
      identity: 'ann@example.com',
      error: expect.stringContaining('secret detail'),
    });
  });

  test('an issuer that is made up cannot break the log line', async () => {
    await post('/api/v2/signingCert', withClaims({ iss: `https://evil.example/\n\u202e${'x'.repeat(300)}` }));
    const { claimedIssuer } = refusedLine();
    expect(claimedIssuer).toMatch(/^https:\/\/evil\.example\/\?\?x{100,180}$/);
  });

  test('CVE-2025-66506 (GHSA-f83f): a megabyte of dots is refused at once', async () => {
    const started = performance.now();
    for (const headers of [{}, { authorization: `Bearer ${'.'.repeat(30_000)}` }]) {
      const body = headers.authorization ? '{}' : v2({ credentials: { oidcIdentityToken: '.'.repeat(1 << 20) } });
      expect((await post('/api/v2/signingCert', body, headers)).status).toBe(400);
    }
    expect(performance.now() - started).toBeLessThan(500);
  });
});

describe('the issuing record', () => {
  test('has every certificate before it leaves', async () => {
    const response = await post('/api/v2/signingCert', v2(), { 'x-request-id': 'req-7' });
    const leaf = await leafOf(response);
    const [sct] = embeddedScts(leaf);
    expect(recorded).toEqual([
      {
        serial: Buffer.from(leaf.serialBytes).toString('hex').padStart(40, '0'),
        notBeforeMs: leaf.notBefore.getTime(),
        identity: 'ann@example.com',
        sanKind: 'email',
        issuer: GOOGLE,
        subject: '1234',
        requestId: 'req-7',
        fingerprint: Buffer.from(sha256(leaf.der)).toString('hex'),
        scts: [{ logId: Buffer.from(sct?.logId ?? []).toString('hex'), timestampMs: start.getTime(), leafIndex: 112n }],
      },
    ]);
  });

  test('has those of v1 too, and nothing of what was refused', async () => {
    const body = {
      publicKey: { content: encodeBase64(encodeUtf8(pemOf(p256))) },
      signedEmailAddress: proofBy(p256, 'sha256'),
    };
    expect((await post('/api/v1/signingCert', body, { authorization: `Bearer ${token()}` })).status).toBe(201);
    await post('/api/v2/signingCert', v2(keyRequest(p256, proofBy(otherP256, 'sha256'))));
    expect(recorded).toHaveLength(1);
  });

  test('cannot be written: nothing is issued, the answer says when to come back, and not why', async () => {
    recordFailure = new IssuedError('ISSUED_STORE', 'Cannot record certificate: SQLITE_FULL: disk is full');
    const response = await post('/api/v2/signingCert', v2());
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await refusal(response)).toEqual({
      status: 503,
      code: 14,
      message: 'error communicating with CA backend',
    });
    // The precertificate is in the log: that is all that there is.
    expect(ct.chains).toHaveLength(1);
    expect(logged.join()).toContain('disk is full');
  });

  test('is damaged: nothing is issued, and nobody is told to come back in seconds', async () => {
    recordFailure = new IssuedError('ISSUED_CORRUPT', 'Cannot record certificate: it is damaged');
    const response = await post('/api/v2/signingCert', v2());
    expect(response.headers.get('retry-after')).toBeNull();
    expect(await refusal(response)).toMatchObject({ status: 500, code: 13 });
  });
});

describe('rates', () => {
  const tokenOf = (email: string) => ({
    credentials: { oidcIdentityToken: token({ email }) },
    ...keyRequest(p256, proofBy(p256, 'sha256', email)),
  });

  test('of an identity and of an issuer: 429 with code 8 and Retry-After in whole seconds', async () => {
    const at = await serve(new IssuanceRates({ perIdentity: parseRate('2/1m'), perIssuer: parseRate('3/1m') }));
    const ask = async (email: string) => post('/api/v2/signingCert', v2(tokenOf(email)), {}, at);
    expect([(await ask('ann@example.com')).status, (await ask('ann@example.com')).status]).toEqual([200, 200]);
    const third = await ask('ann@example.com');
    expect(third.headers.get('retry-after')).toBe('30');
    expect(await refusal(third)).toEqual({
      status: 429,
      code: 8,
      message: 'rate limit exceeded: this CA permits 2/1m for each identity, try again in 30 s',
    });
    expect((await ask('bob@example.com')).status).toBe(200);
    const fifth = await ask('eve@example.com');
    expect([fifth.status, fifth.headers.get('retry-after')]).toEqual([429, '20']);
    expect((await refusal(fifth)).message).toContain('3/1m for each issuer');
    now = new Date(start.getTime() + 20_000);
    expect((await ask('eve@example.com')).status).toBe(200);
    // Nothing was signed or logged for what was refused.
    expect(ct.chains).toHaveLength(4);
    const metrics = await (await fetch(`${at}/metrics`)).text();
    expect(metrics).toContain('chancery_ca_rate_limited_total{scope="identity"} 1');
    expect(metrics).toContain('chancery_ca_rate_limited_total{scope="issuer"} 1');
    expect(metrics).toContain('chancery_ca_refusals_total{code="CA_RATE"} 2');
    expect(metrics).toContain('chancery_ca_certificates_total 4');
    expect(metrics).toContain('chancery_ca_ct_log_working{log="ct"} 1');
  });

  test('are not used up by who has no token, or not the key', async () => {
    const at = await serve(new IssuanceRates({ perIdentity: parseRate('1/1h') }));
    const bad: Record<string, unknown>[] = [
      { credentials: { oidcIdentityToken: token({ exp: seconds - 1 }) } },
      { credentials: { oidcIdentityToken: `${token().slice(0, -4)}AAAA` } },
      keyRequest(p256, proofBy(otherP256, 'sha256')),
      keyRequest(rsa1024, 'AAAA'),
      { publicKeyRequest: undefined },
    ];
    for (const change of bad) expect((await post('/api/v2/signingCert', v2(change), {}, at)).status).toBe(400);
    expect((await post('/api/v2/signingCert', v2(), {}, at)).status).toBe(200);
    expect((await post('/api/v2/signingCert', v2(), {}, at)).status).toBe(429);
  });
});

describe('when the CT log', () => {
  const attempt = async () => refusal(await post('/api/v2/signingCert', v2()));
  const corrupt = (text: string): string => {
    const bytes = parseBase64(text).slice();
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    return encodeBase64(bytes);
  };

  test('fails, nothing is issued and nothing leaks', async () => {
    ct.fail = new Error('secret detail at /some/path');
    expect(await attempt()).toEqual(badLog);
    expect(logged.join()).toContain('secret detail');
  });

  test.each<[string, (answer: AddChainResponse) => AddChainResponse]>([
    ['signs something else', (answer) => ({ ...answer, signature: corrupt(answer.signature) })],
    ['says another time', (answer) => ({ ...answer, timestamp: answer.timestamp + 1 })],
    ['leaves its extensions out', (answer) => ({ ...answer, extensions: '' })],
    ['says another log id', (answer) => ({ ...answer, id: encodeBase64(new Uint8Array(32)) })],
    ['says a short log id', (answer) => ({ ...answer, id: 'AAAA' })],
    ['says version 2', (answer) => ({ ...answer, sct_version: 1 })],
    ['says a fraction of a millisecond', (answer) => ({ ...answer, timestamp: answer.timestamp + 0.5 })],
    ['answers no base64', (answer) => ({ ...answer, signature: '***' })],
    ['answers an empty signature', (answer) => ({ ...answer, signature: '' })],
    [
      'names another hash',
      (answer) => ({
        ...answer,
        signature: encodeBase64(Uint8Array.of(2, ...parseBase64(answer.signature).subarray(1))),
      }),
    ],
  ])('%s, the certificate is not issued', async (_name, change) => {
    ct.change = change;
    expect(await attempt()).toEqual(badLog);
  });

  test('is another log, the certificate is not issued', async () => {
    ct.signer = generateSigner('P-256');
    expect(await attempt()).toEqual(badLog);
  });

  test('is fine but our CA has expired, nothing is issued', async () => {
    now = new Date('2040-01-01T00:00:00Z');
    const body = v2({ credentials: { oidcIdentityToken: token({ exp: now.getTime() / 1000 + 60 }) } });
    expect(await refusal(await post('/api/v2/signingCert', body))).toEqual({
      status: 500,
      code: 13,
      message: 'error communicating with CA backend',
    });
    expect(ct.chains).toEqual([]);
  });
});

describe('POST /api/v1/signingCert', () => {
  const v1 = (change: Record<string, unknown> = {}) => ({
    publicKey: { content: encodeBase64(encodeUtf8(pemOf(p256))), algorithm: 'ecdsa' },
    signedEmailAddress: proofBy(p256, 'sha256'),
    ...change,
  });
  const bearer = () => ({ authorization: `Bearer ${token()}` });
  const attempt = (body: unknown, headers: Record<string, string> = bearer()) =>
    post('/api/v1/signingCert', body, headers);

  test('answers 201 with the chain in PEM, without SCT header', async () => {
    const response = await attempt(v1());
    expect(response.status).toBe(201);
    expect(response.headers.get('content-type')).toBe('application/pem-certificate-chain');
    expect(response.headers.get('sct')).toBeNull();
    const text = await response.text();
    expect(text.endsWith('-----END CERTIFICATE-----')).toBe(true);
    expect(text).not.toContain('\n\n');
    const [leaf, ...chain] = parseCertificatePem(text);
    expect(leaf && embeddedScts(leaf)).toHaveLength(1);
    expect(chain).toHaveLength(2);
  });

  test('takes a key in DER, and a certificate request before a key', async () => {
    const der = encodeBase64(p256.publicKey.export({ type: 'spki', format: 'der' }));
    expect((await attempt(v1({ publicKey: { content: der } }))).status).toBe(201);
    const request = csrPem(await csr(ecdsa('P-256', 'SHA-256')));
    expect((await attempt(v1({ certificateSigningRequest: request, publicKey: { content: 'AAAA' } }))).status).toBe(
      201,
    );
  });

  test('does not take a token from the body', async () => {
    expect(await refusal(await attempt({ ...v1(), credentials: { oidcIdentityToken: token() } }, {}))).toEqual(
      badToken,
    );
  });

  test('reports a missing key before a missing token', async () => {
    expect(await refusal(await attempt({}, {}))).toEqual(badKey);
    expect(await refusal(await attempt(v1({ publicKey: {} }), {}))).toEqual(badToken);
    expect(await refusal(await attempt(v1({ publicKey: {} })))).toEqual(badKey);
  });

  test('words errors as v2 does', async () => {
    expect(await refusal(await attempt(v1({ signedEmailAddress: undefined })))).toEqual(badProof);
    expect((await refusal(await attempt('{'))).code).toBe(3);
    expect(ct.chains).toEqual([]);
  });
});

describe('what anybody may read', () => {
  test('GET /api/v2/trustBundle gives the chain, each PEM with its line feed', async () => {
    const response = await fetch(`${base}/api/v2/trustBundle`);
    expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
    const body = (await response.json()) as { chains: { certificates: string[] }[] };
    expect(Object.keys(body)).toEqual(['chains']);
    expect(body.chains).toHaveLength(1);
    expect(body.chains[0]?.certificates.every((pem) => pem.endsWith('-----END CERTIFICATE-----\n'))).toBe(true);
    expect(body.chains[0]?.certificates.flatMap((pem) => parseCertificatePem(pem).map(({ der }) => der))).toEqual(
      authority.chain.map(({ der }) => der),
    );
  });

  test('GET /api/v1/rootCert gives the same chain with a blank line between', async () => {
    const response = await fetch(`${base}/api/v1/rootCert`);
    expect(response.headers.get('content-type')).toBe('application/pem-certificate-chain');
    const text = await response.text();
    expect(text.split('-----END CERTIFICATE-----\n\n-----BEGIN CERTIFICATE-----')).toHaveLength(2);
    expect(text.endsWith('-----END CERTIFICATE-----')).toBe(true);
    expect(parseCertificatePem(text).map(({ der }) => der)).toEqual(authority.chain.map(({ der }) => der));
  });

  test('GET /api/v2/configuration lists exact issuers in order, then wildcards', async () => {
    const response = await fetch(`${base}/api/v2/configuration`);
    const common = {
      audience: 'sigstore',
      challengeClaim: 'email',
      spiffeTrustDomain: '',
      issuerType: 'email',
      subjectDomain: '',
      skipEmailVerification: false,
    };
    expect(await response.json()).toEqual({
      issuers: [
        { issuerUrl: GOOGLE, ...common },
        { issuerUrl: 'https://dex.example/auth', ...common },
        { issuerUrl: GITHUB, ...common, challengeClaim: 'sub', issuerType: 'github-workflow' },
        { issuerUrl: 'https://user.example', ...common, challengeClaim: 'sub', issuerType: 'name' },
        { wildcardIssuerUrl: 'https://*.wild.example/x', ...common, audience: 'other', skipEmailVerification: true },
      ],
    });
  });

  test.each([
    ['GET', '/api/v2/signingCert'],
    ['PUT', '/api/v2/signingCert'],
    ['POST', '/api/v2/trustBundle'],
    ['DELETE', '/api/v2/configuration'],
    ['GET', '/api/v1/signingCert'],
    ['POST', '/api/v1/rootCert'],
  ])('%s %s is 501', async (method, path) => {
    expect(await refusal(await fetch(`${base}${path}`, { method }))).toEqual({
      status: 501,
      code: 12,
      message: 'Method Not Allowed',
    });
  });

  test.each(['/api/v2/signingCert/x', '/api/v2/trustBundles', '/api/v1/rootCert/'])('GET %s is 404', async (path) => {
    expect(await refusal(await fetch(`${base}${path}`))).toEqual({ status: 404, code: 5, message: 'Not Found' });
  });

  test('answers carry CORS headers, and a preflight does not allow Authorization', async () => {
    const response = await post('/api/v2/signingCert', v2(), { origin: 'https://app.example' });
    expect(response.headers.get('access-control-allow-origin')).toBe('*');
    const preflight = await fetch(`${base}/api/v2/signingCert`, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
    });
    expect(preflight.headers.get('access-control-allow-headers')?.toLowerCase()).not.toContain('authorization');
  });
});
