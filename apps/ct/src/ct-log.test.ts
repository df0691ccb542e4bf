// The CT log over HTTP, inside the real stack: RFC 6962 §4, the policy of submissions, and the files of C2SP static-ct-api.
// Certificates are made by @peculiar/x509 under the CA's own key, so no code of ours writes what the log reads.
import { createPrivateKey, createPublicKey, sign, type KeyObject, webcrypto } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parsePublicKey, type PublicKey } from '#libs/crypto';
import {
  derBitString,
  DerReader,
  derSequence,
  derTag,
  encodeBase64,
  encodeHex,
  equalBytes,
  parseBase64,
  parseDer,
} from '#libs/encoding';
import {
  CompactRange,
  emptyRoot,
  encodeTilePath,
  leafHash,
  proveConsistency,
  verifyConsistency,
  verifyInclusion,
} from '#libs/merkle';
import { parseCheckpoint, parseNote, rfc6962NoteVerifier, treeHeadInput, verifyNote } from '#libs/note';
import { opensslCrypto, sha256, verifySync } from '#libs/openssl';
import {
  type Certificate,
  ctEntry,
  encodeLeafIndex,
  merkleTreeLeaf,
  parseCertificate,
  parseCertificatePem,
  parseDataTile,
  parseDigitallySigned,
  parseExtraData,
  parseLeafIndex,
  parseMerkleTreeLeaf,
  preTbs,
  verifySct,
} from '#libs/x509';
import { startWorld, type World } from '../../../test/world/index.js';

const poisonOid = '1.3.6.1.4.1.11129.2.4.3';
const codeSigning = '1.3.6.1.5.5.7.3.3';
const asn1Null = Uint8Array.of(5, 0);
const poison = (value = asn1Null, critical = true) => new peculiar.Extension(poisonOid, critical, value);

interface AddChainResponse {
  sct_version: number;
  id: string;
  timestamp: number;
  extensions: string;
  signature: string;
}
interface TreeHead {
  tree_size: number;
  timestamp: number;
  sha256_root_hash: string;
  tree_head_signature: string;
}
interface Entry {
  leaf_input: string;
  extra_data: string;
}

let world: World;
let caKey: KeyObject;
let caSigningKey: webcrypto.CryptoKey;
/** The CA's chain: issuing certificate, root. */
let issuer: Certificate;
let root: Certificate;
let logKey: PublicKey;

const p256 = { name: 'ECDSA', namedCurve: 'P-256' };
const newKeys = () => webcrypto.subtle.generateKey(p256, true, ['sign', 'verify']);

beforeAll(async () => {
  peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);
  world = await startWorld();
  const keys = join(world.folder, 'keys');
  caKey = createPrivateKey(await readFile(join(keys, 'ca.pem')));
  const pkcs8 = caKey.export({ type: 'pkcs8', format: 'der' });
  caSigningKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, p256, true, ['sign']);
  const [first, second, ...more] = parseCertificatePem(await readFile(join(keys, 'ca-chain.pem'), 'utf8'));
  if (!first || !second || more.length > 0) throw new Error('the chain is not of two certificates');
  issuer = first;
  root = second;
  const ctKey = createPublicKey(createPrivateKey(await readFile(join(keys, 'ct.pem'))));
  logKey = parsePublicKey(ctKey.export({ type: 'spki', format: 'der' }));
});
afterAll(() => world.close());

const prefixes = ['/ct/v1', '/ct/ct/v1'];

async function getJson<T>(path: string): Promise<T> {
  const response = await fetch(`${world.url}${path}`);
  const text = await response.text();
  expect(response.status, text).toBe(200);
  expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  return JSON.parse(text) as T;
}

const treeHead = () => getJson<TreeHead>('/ct/v1/get-sth');
const size = async () => (await treeHead()).tree_size;

function post(name: 'add-chain' | 'add-pre-chain', body: string | Uint8Array, prefix = '/ct/v1'): Promise<Response> {
  return fetch(`${world.url}${prefix}/${name}`, { method: 'POST', body: Buffer.from(body) });
}

const chainBody = (chain: readonly Uint8Array[]) => JSON.stringify({ chain: chain.map(encodeBase64) });

async function add(name: 'add-chain' | 'add-pre-chain', chain: readonly Uint8Array[]): Promise<AddChainResponse> {
  const response = await post(name, chainBody(chain));
  const text = await response.text();
  expect(response.status, text).toBe(200);
  return JSON.parse(text) as AddChainResponse;
}

/** The error answer of a CT front end: reason phrase and detail, each on a line. */
async function expectError(response: Response, status: number, detail: RegExp = /./): Promise<void> {
  const phrase: Record<number, string> = {
    400: 'Bad Request',
    404: 'Not Found',
    405: 'Method Not Allowed',
    413: 'Request Entity Too Large',
  };
  const body = await response.text();
  expect(response.status, body).toBe(status);
  expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');
  const [first, second, rest, ...more] = body.split('\n');
  expect([first, rest, more.length]).toEqual([phrase[status], '', 0]);
  expect(second).toMatch(detail);
}

async function refused(name: 'add-chain' | 'add-pre-chain', chain: readonly Uint8Array[], detail?: RegExp) {
  const before = await size();
  await expectError(await post(name, chainBody(chain)), 400, detail);
  expect(await size()).toBe(before);
}

/** A certificate like those of the CA, under its key if no other is given. */
async function makeCertificate(
  options: {
    extensions?: peculiar.Extension[];
    usages?: string[];
    issuerName?: string;
    signingKey?: webcrypto.CryptoKey;
    hash?: string;
    notAfter?: Date;
  } = {},
): Promise<Uint8Array> {
  const keys = await newKeys();
  const certificate = await peculiar.X509CertificateGenerator.create({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)))
      .toString('hex')
      .replace(/^./, '1'),
    subject: '',
    issuer: options.issuerName ?? new peculiar.X509Certificate(Buffer.from(issuer.der)).subject,
    notBefore: new Date(Date.now() - 60_000),
    notAfter: options.notAfter ?? new Date(Date.now() + 540_000),
    publicKey: keys.publicKey,
    signingKey: options.signingKey ?? caSigningKey,
    signingAlgorithm: { name: 'ECDSA', hash: options.hash ?? 'SHA-256' },
    extensions: [
      new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.digitalSignature, true),
      ...((options.usages ?? [codeSigning]).length > 0
        ? [new peculiar.ExtendedKeyUsageExtension(options.usages ?? [codeSigning])]
        : []),
      new peculiar.SubjectAlternativeNameExtension([{ type: 'email', value: 'a@example.com' }], true),
      ...(options.extensions ?? []),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

/** `template` with this serial number, signed again: cheap enough for a thousand. */
function withSerial(template: Certificate, serial: number): Uint8Array {
  const tbs = Uint8Array.from(template.tbs);
  const at = template.serialBytes.byteOffset - template.tbs.byteOffset;
  new DataView(tbs.buffer).setUint32(at + 4, serial);
  const certificate = new DerReader(parseDer(template.der), derTag.sequence);
  certificate.next();
  const algorithm = certificate.next().bytes;
  return derSequence(tbs, algorithm, derBitString(sign('sha256', tbs, caKey)));
}

describe('the empty log', () => {
  it('signs a tree head of size 0 with the hash of nothing as its root', async () => {
    const head = await treeHead();
    expect(head.tree_size).toBe(0);
    expect(head.sha256_root_hash).toBe(encodeBase64(emptyRoot(sha256)));
    expectTreeHeadSignature(head);
  });

  it('has no entries, no tiles, and no proofs but empty ones', async () => {
    await expectError(await fetch(`${world.url}/ct/v1/get-entries?start=0&end=0`), 400, /need tree size: 1 .* got: 0/);
    await expectError(await fetch(`${world.url}/ct/tile/0/000.p/1`), 404);
    expect(await getJson('/ct/v1/get-sth-consistency?first=0&second=0')).toEqual({ consistency: [] });
    const anyHash = encodeURIComponent(encodeBase64(new Uint8Array(32)));
    await expectError(await fetch(`${world.url}/ct/v1/get-proof-by-hash?hash=${anyHash}&tree_size=1`), 404);
    await expectError(await fetch(`${world.url}/ct/v1/get-proof-by-hash?hash=${anyHash}&tree_size=0`), 400);
    await expectError(await fetch(`${world.url}/ct/v1/get-entry-and-proof?leaf_index=0&tree_size=0`), 400);
  });
});

describe('add-chain and add-pre-chain', () => {
  for (const [number, prefix] of prefixes.entries()) {
    it(`${prefix}/add-pre-chain gives an SCT whose signed input is the leaf that is logged`, async () => {
      const precert = await makeCertificate({ extensions: [poison()] });
      const answer = await post('add-pre-chain', chainBody([precert, issuer.der, root.der]), prefix);
      expect(answer.status).toBe(200);
      const sct = (await answer.json()) as AddChainResponse;
      expect(Object.keys(sct).sort()).toEqual(['extensions', 'id', 'sct_version', 'signature', 'timestamp']);
      expect(sct.sct_version).toBe(0);
      expect(sct.id).toBe(encodeBase64(sha256(logKey.spki)));
      expect(Math.abs(Date.now() - sct.timestamp)).toBeLessThan(60_000);
      // 00 0005 and the index in five bytes.
      const index = await size();
      expect(sct.extensions).toBe(encodeBase64(encodeLeafIndex(BigInt(index - 1))));
      expect(encodeHex(parseBase64(sct.extensions))).toBe(`000005000000000${number}`);

      // DigitallySigned: SHA-256, ECDSA, a signature in DER with a two-byte length.
      const signed = parseDigitallySigned(parseBase64(sct.signature));
      expect([signed.hashAlgorithm, signed.signatureAlgorithm]).toEqual([4, 3]);
      const [entry] = await entriesOf(index - 1, index - 1);
      const leaf = parseBase64(entry?.leaf_input ?? '');
      expect(verifySync(logKey, { kind: 'ecdsa', hash: 'sha256' }, leaf, signed.signature)).toBe(true);
      const certificate = parseCertificate(precert);
      const timestampMs = BigInt(sct.timestamp);
      const extensions = parseBase64(sct.extensions);
      expect(leaf).toEqual(
        merkleTreeLeaf({ timestampMs, extensions, entry: ctEntry(certificate, issuer, opensslCrypto.hash) }),
      );
      await verifySct(
        { version: 0, logId: parseBase64(sct.id), timestampMs, extensions, ...signed },
        certificate,
        issuer,
        logKey,
        opensslCrypto,
      );
      expect(parseExtraData('precert', parseBase64(entry?.extra_data ?? ''))).toEqual({
        precertificate: precert,
        chain: [issuer.der, root.der],
      });
    });
  }

  it('add-chain logs the certificate itself', async () => {
    const der = await makeCertificate();
    const sct = await add('add-chain', [der, issuer.der, root.der]);
    const index = (await size()) - 1;
    const [entry] = await entriesOf(index, index);
    const leaf = parseMerkleTreeLeaf(parseBase64(entry?.leaf_input ?? ''));
    expect(leaf.entry).toEqual({ kind: 'x509', certificate: der });
    expect(leaf.timestampMs).toBe(BigInt(sct.timestamp));
    expect(parseLeafIndex(leaf.extensions)).toBe(BigInt(index));
    expect(parseExtraData('x509', parseBase64(entry?.extra_data ?? ''))).toEqual({ chain: [issuer.der, root.der] });
  });

  it('the logged TBSCertificate is that of the certificate with the SCT list in the place of the poison', async () => {
    // One key, one serial, one time: only the last extension differs.
    const keys = await newKeys();
    const [precert, final] = await Promise.all(
      [poison(), new peculiar.Extension('1.3.6.1.4.1.11129.2.4.2', false, Uint8Array.of(4, 2, 0, 0))].map((last) =>
        peculiar.X509CertificateGenerator.create({
          serialNumber: '0102030405060708',
          subject: '',
          issuer: new peculiar.X509Certificate(Buffer.from(issuer.der)).subject,
          notBefore: new Date(1_700_000_000_000),
          notAfter: new Date(1_700_000_600_000),
          publicKey: keys.publicKey,
          signingKey: caSigningKey,
          signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
          extensions: [new peculiar.ExtendedKeyUsageExtension([codeSigning]), last],
        }),
      ),
    );
    if (!precert || !final) throw new Error('nothing to compare');
    await add('add-pre-chain', [new Uint8Array(precert.rawData), issuer.der]);
    const index = (await size()) - 1;
    const [entry] = await entriesOf(index, index);
    const leaf = parseMerkleTreeLeaf(parseBase64(entry?.leaf_input ?? ''));
    expect(leaf.entry).toEqual({
      kind: 'precert',
      issuerKeyHash: sha256(issuer.spki),
      tbs: preTbs(parseCertificate(new Uint8Array(final.rawData))),
    });
  });

  it('takes a chain without its root, and one of a certificate that has expired', async () => {
    const before = await size();
    await add('add-chain', [await makeCertificate(), issuer.der]);
    await add('add-chain', [await makeCertificate({ notAfter: new Date(Date.now() - 30_000) }), issuer.der]);
    expect(await size()).toBe(before + 2);
  });

  it('a repeated submission gets the first time and index, and adds nothing', async () => {
    const precert = await makeCertificate({ extensions: [poison()] });
    const first = await add('add-pre-chain', [precert, issuer.der, root.der]);
    const after = await treeHead();
    // Also with another chain to the same root, and through the other prefix.
    const again = await add('add-pre-chain', [precert, issuer.der]);
    const other = (await (
      await post('add-pre-chain', chainBody([precert, issuer.der, root.der]), '/ct/ct/v1')
    ).json()) as AddChainResponse;
    for (const repeated of [again, other]) {
      expect([repeated.timestamp, repeated.extensions]).toEqual([first.timestamp, first.extensions]);
      const sct = {
        version: 0 as const,
        logId: parseBase64(repeated.id),
        timestampMs: BigInt(repeated.timestamp),
        extensions: parseBase64(repeated.extensions),
        ...parseDigitallySigned(parseBase64(repeated.signature)),
      };
      await verifySct(sct, parseCertificate(precert), issuer, logKey, opensslCrypto);
    }
    expect((await treeHead()).tree_size).toBe(after.tree_size);
    await expectError(await post('add-pre-chain', chainBody([precert, root.der, issuer.der])), 400);
  });

  it('concurrent submissions of one certificate become one entry', async () => {
    const der = await makeCertificate();
    const before = await size();
    const answers = await Promise.all(Array.from({ length: 8 }, () => add('add-chain', [der, issuer.der])));
    expect(new Set(answers.map(({ timestamp, extensions }) => `${timestamp} ${extensions}`)).size).toBe(1);
    expect(await size()).toBe(before + 1);
  });

  it('ignores unknown members and the Content-Type', async () => {
    const chain = [await makeCertificate(), issuer.der].map(encodeBase64);
    const response = await fetch(`${world.url}/ct/v1/add-chain`, {
      method: 'POST',
      headers: { 'content-type': 'text/html' },
      body: JSON.stringify({ chain, note: 1 }),
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^application\/json\b/);
  });
});

describe('what the log refuses', () => {
  const mismatch = /^cert \/ precert mismatch$/;
  const noPath = /^no RFC compliant path to root found/;

  it('a precertificate on add-chain, and a certificate on add-pre-chain', async () => {
    const precert = await makeCertificate({ extensions: [poison()] });
    await refused('add-chain', [precert, issuer.der], mismatch);
    await refused('add-pre-chain', [await makeCertificate(), issuer.der], mismatch);
  });

  const poisons: Record<string, peculiar.Extension[]> = {
    'that is not critical': [poison(asn1Null, false)],
    'whose value is not NULL': [poison(Uint8Array.of(4, 0))],
    'whose value is NULL and more': [poison(Uint8Array.of(5, 0, 0))],
    'that occurs twice': [poison(), poison()],
  };
  for (const [name, extensions] of Object.entries(poisons)) {
    it(`a poison ${name}, on either endpoint`, async () => {
      const der = await makeCertificate({ extensions });
      await refused('add-pre-chain', [der, issuer.der]);
      await refused('add-chain', [der, issuer.der]);
    });
  }

  it('an extra certificate, in each place', async () => {
    const leaf = await makeCertificate();
    const stranger = await makeCertificate();
    for (const chain of [
      [leaf, stranger, issuer.der, root.der],
      [leaf, issuer.der, stranger, root.der],
      [leaf, issuer.der, root.der, stranger],
      [leaf, leaf, issuer.der, root.der],
      [leaf, issuer.der, issuer.der, root.der],
      [leaf, issuer.der, root.der, root.der],
    ]) {
      await refused('add-chain', chain, noPath);
    }
  });

  it('certificates in another order, and without the one between', async () => {
    const leaf = await makeCertificate();
    await refused('add-chain', [leaf, root.der, issuer.der], noPath);
    await refused('add-chain', [issuer.der, leaf, root.der]);
    await refused('add-chain', [leaf, root.der], noPath);
    await refused('add-chain', [leaf], noPath);
  });

  it('a chain to a root that is not accepted', async () => {
    const keys = await newKeys();
    const name = new peculiar.X509Certificate(Buffer.from(root.der)).subject;
    const foreign = await peculiar.X509CertificateGenerator.createSelfSigned({
      name,
      keys,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [new peculiar.BasicConstraintsExtension(true, 1, true)],
    });
    const leaf = await makeCertificate({ signingKey: keys.privateKey, issuerName: name });
    await refused('add-chain', [leaf, new Uint8Array(foreign.rawData)], noPath);
    await refused('add-chain', [leaf], noPath);
  });

  it("a signature by another key under the CA's name", async () => {
    const { privateKey } = await newKeys();
    await refused('add-chain', [await makeCertificate({ signingKey: privateKey }), issuer.der], noPath);
  });

  it('a certificate under another name signed by the CA', async () => {
    await refused('add-chain', [await makeCertificate({ issuerName: 'CN=Somebody' }), issuer.der], noPath);
  });

  it('a certificate issued by one that is no CA', async () => {
    // Each holder of a certificate has a key, and could issue without end below it.
    const keys = await newKeys();
    const holder = await peculiar.X509CertificateGenerator.create({
      serialNumber: '01020304',
      subject: 'CN=holder',
      issuer: new peculiar.X509Certificate(Buffer.from(issuer.der)).subject,
      publicKey: keys.publicKey,
      signingKey: caSigningKey,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [new peculiar.ExtendedKeyUsageExtension([codeSigning])],
    });
    const below = await makeCertificate({ issuerName: 'CN=holder', signingKey: keys.privateKey });
    await refused('add-chain', [below, new Uint8Array(holder.rawData), issuer.der, root.der], noPath);
  });

  it('a leaf that is not for code signing', async () => {
    const eku = /extended key usage/;
    await refused('add-chain', [await makeCertificate({ usages: ['1.3.6.1.5.5.7.3.1'] }), issuer.der], eku);
    await refused('add-chain', [await makeCertificate({ usages: [] }), issuer.der], eku);
  });

  it('a signature over SHA-1', async () => {
    await refused('add-chain', [await makeCertificate({ hash: 'SHA-1' }), issuer.der]);
  });

  it('a chain longer than any', async () => {
    const leaf = await makeCertificate();
    await refused('add-chain', [leaf, ...Array.from({ length: 8 }, () => issuer.der)], /at most 8/);
  });

  it('a certificate with bytes after it', async () => {
    const der = await makeCertificate();
    await refused('add-chain', [Uint8Array.of(...der, 0), issuer.der], /^certificate cannot be parsed$/);
  });

  const bodies: Record<string, string> = {
    nothing: '',
    'not JSON': '{"chain":',
    'not UTF-8': '\xff',
    'a list': '[]',
    null: 'null',
    'no chain': '{}',
    'an empty chain': '{"chain":[]}',
    'a chain of null': '{"chain":null}',
    'a chain that is a string': '{"chain":"AAAA"}',
    'a chain of numbers': '{"chain":[1]}',
    'a chain that is not base64': '{"chain":["%%%"]}',
    'base64 without its padding': '{"chain":["AA"]}',
    'a chain of empty strings': '{"chain":[""]}',
    'deep nesting': `{"chain":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
  };
  for (const [name, body] of Object.entries(bodies)) {
    it(`a body of ${name}`, async () => {
      const before = await size();
      for (const endpoint of ['add-chain', 'add-pre-chain'] as const) {
        await expectError(await post(endpoint, Buffer.from(body, 'latin1')), 400);
      }
      expect(await size()).toBe(before);
    });
  }

  it('a body over the limit, with 413', async () => {
    const filler = 'A'.repeat(5 << 20);
    await expectError(await post('add-chain', `{"chain":["${filler}"]}`), 413);
  });

  it('other methods, with 405', async () => {
    for (const prefix of prefixes) {
      for (const name of ['add-chain', 'add-pre-chain']) {
        for (const method of ['GET', 'PUT', 'DELETE']) {
          const response = await fetch(`${world.url}${prefix}/${name}`, { method });
          expect(response.headers.get('allow')).toBe('POST');
          await expectError(response, 405, new RegExp(`^method not allowed: ${method}$`));
        }
      }
      for (const name of ['get-roots', 'get-sth', 'get-sth-consistency', 'get-proof-by-hash', 'get-entries']) {
        const response = await fetch(`${world.url}${prefix}/${name}`, { method: 'POST', body: '{}' });
        await expectError(response, 405, /^method not allowed: POST$/);
      }
    }
    for (const path of ['checkpoint', 'log.v3.json', 'tile/0/000', 'issuer/00']) {
      await expectError(await fetch(`${world.url}/ct/${path}`, { method: 'POST', body: '{}' }), 405);
    }
  });

  it('unknown paths, with 404', async () => {
    for (const path of ['/ct/v1/get-nothing', '/ct/v1/', '/ct/v2/get-sth', '/ct/', '/ct/ct/ct/v1/get-sth']) {
      await expectError(await fetch(`${world.url}${path}`), 404);
    }
  });
});

/** Runs `work` on each item, a few at a time. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}

/** The status of a path exactly as written: fetch would tidy it. */
function rawStatus(path: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(world.url, { path }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
}

async function entriesOf(start: number, end: number): Promise<Entry[]> {
  const { entries } = await getJson<{ entries: Entry[] }>(`/ct/v1/get-entries?start=${start}&end=${end}`);
  return entries;
}

function expectTreeHeadSignature(head: TreeHead): void {
  const signed = parseDigitallySigned(parseBase64(head.tree_head_signature));
  expect([signed.hashAlgorithm, signed.signatureAlgorithm]).toEqual([4, 3]);
  const rootHash = parseBase64(head.sha256_root_hash);
  const input = treeHeadInput({ size: BigInt(head.tree_size), rootHash }, BigInt(head.timestamp));
  expect(input).toHaveLength(50);
  expect(verifySync(logKey, { kind: 'ecdsa', hash: 'sha256' }, input, signed.signature)).toBe(true);
}

describe('a log of more than a thousand entries', () => {
  const total = 1030;
  /** Leaf hashes, and the root of each size, by the reference tree of this test. */
  const leaves: Uint8Array[] = [];
  const roots: Uint8Array[] = [];
  const nodes = new Map<string, Uint8Array>();
  const heads: TreeHead[] = [];

  beforeAll(async () => {
    const template = parseCertificate(await makeCertificate({ extensions: [poison()] }));
    const serials = Array.from({ length: total - (await size()) }, (_, serial) => serial);
    await eachOf(serials, async (serial) => {
      await add('add-pre-chain', [withSerial(template, serial), issuer.der]);
      if (serial % 50 === 0) heads.push(await treeHead());
    });
    heads.push(await treeHead());
    const range = CompactRange.empty(sha256);
    roots.push(emptyRoot(sha256));
    while (leaves.length < total) {
      for (const { leaf_input } of await entriesOf(leaves.length, total - 1)) {
        const hash = leafHash(sha256, parseBase64(leaf_input));
        leaves.push(hash);
        range.append(hash, (level, index, node) => void nodes.set(`${level}/${index}`, node));
        roots.push(range.root());
      }
    }
  }, 120_000);

  const rootOf = (treeSize: number): Uint8Array => roots[treeSize] ?? new Uint8Array();

  it('get-sth: each head seen while it grew has the root of its size, and time never went back', () => {
    let time = 0;
    for (const head of heads.sort((a, b) => a.tree_size - b.tree_size)) {
      expect(head.sha256_root_hash).toBe(encodeBase64(rootOf(head.tree_size)));
      expectTreeHeadSignature(head);
      expect(head.timestamp).toBeGreaterThanOrEqual(time);
      time = head.timestamp;
    }
    expect(heads.at(-1)?.tree_size).toBe(total);
  });

  it('no entry is younger than the tree head that covers it', async () => {
    const [last] = await entriesOf(total - 1, total - 1);
    const { timestampMs } = parseMerkleTreeLeaf(parseBase64(last?.leaf_input ?? ''));
    expect(BigInt((await treeHead()).timestamp)).toBeGreaterThanOrEqual(timestampMs);
  });

  const pairs = Array.from({ length: 70 }, (_, n) =>
    Array.from({ length: n + 1 }, (_, m) => [m, n + 1] as const),
  ).flat();

  it('get-sth-consistency: every pair of sizes up to 70', { timeout: 120_000 }, async () => {
    await eachOf(pairs, async ([m, second]) => {
      const first = m + 1;
      const { consistency } = await getJson<{ consistency: string[] }>(
        `/ct/v1/get-sth-consistency?first=${first}&second=${second}`,
      );
      verifyConsistency(sha256, {
        first: BigInt(first),
        second: BigInt(second),
        firstRoot: rootOf(first),
        secondRoot: rootOf(second),
        proof: consistency.map(parseBase64),
      });
    });
  });

  it('get-entry-and-proof: every entry in every tree up to 70', { timeout: 120_000 }, async () => {
    await eachOf(pairs, async ([index, treeSize]) => {
      const answer = await getJson<Entry & { audit_path: string[] }>(
        `/ct/v1/get-entry-and-proof?leaf_index=${index}&tree_size=${treeSize}`,
      );
      verifyInclusion(sha256, {
        index: BigInt(index),
        size: BigInt(treeSize),
        leafHash: leafHash(sha256, parseBase64(answer.leaf_input)),
        proof: answer.audit_path.map(parseBase64),
        root: rootOf(treeSize),
      });
      if (treeSize === 1) expect(answer.audit_path).toEqual([]);
    });
  });

  const byHash = (hash: Uint8Array, treeSize: number | string): string =>
    `/ct/v1/get-proof-by-hash?hash=${encodeURIComponent(encodeBase64(hash))}&tree_size=${treeSize}`;

  it('get-proof-by-hash: finds each leaf by its Merkle leaf hash, in trees that have it', async () => {
    const some = [
      [0, 1],
      [0, total],
      [69, 70],
      [255, 256],
      [255, total],
      [256, 257],
      [total - 1, total],
    ] as const;
    await eachOf([...some, ...pairs.filter(([, treeSize]) => treeSize === 70)], async ([index, treeSize]) => {
      const leaf = leaves[index] ?? new Uint8Array();
      const answer = await getJson<{ leaf_index: number; audit_path: string[] }>(byHash(leaf, treeSize));
      expect(answer.leaf_index).toBe(index);
      const proof = answer.audit_path.map(parseBase64);
      const claim = { index: BigInt(index), size: BigInt(treeSize), leafHash: leaf, proof, root: rootOf(treeSize) };
      verifyInclusion(sha256, claim);
      if (treeSize === 1) expect(answer.audit_path).toEqual([]);
    });
    const { headers } = await fetch(world.url + byHash(leaves[0] ?? new Uint8Array(), 2));
    expect(headers.get('cache-control')).toBe('public, max-age=86400');
  });

  it('get-proof-by-hash: 404 for a hash not in the tree, and for a tree that does not exist', async () => {
    const leaf = leaves[70] ?? new Uint8Array();
    await expectError(await fetch(world.url + byHash(leaf, 70)), 404);
    await expectError(await fetch(world.url + byHash(leaf, total + 1)), 404);
    await expectError(await fetch(world.url + byHash(new Uint8Array(32), total)), 404);
    // The digest by which repeated submissions are recognised is no leaf hash.
    const [entry] = await entriesOf(70, 70);
    const { precertificate } = parseExtraData('precert', parseBase64(entry?.extra_data ?? ''));
    await expectError(await fetch(world.url + byHash(sha256(precertificate ?? new Uint8Array()), total)), 404);
  });

  it('get-proof-by-hash: 400 for parameters that are not what they should be', async () => {
    const leaf = leaves[0] ?? new Uint8Array();
    const encoded = encodeURIComponent(encodeBase64(leaf));
    const wrong = [
      `?tree_size=1`,
      `?hash=&tree_size=1`,
      `?hash=%25&tree_size=1`,
      `?hash=${encodeURIComponent(encodeBase64(leaf.slice(1)))}&tree_size=1`,
      `?hash=${encoded}&hash=${encoded}&tree_size=1`,
      ...['', '0', '-1', 'x', '1.0', '0x1', '99999999999999999999'].map((text) => `?hash=${encoded}&tree_size=${text}`),
      `?hash=${encoded}`,
    ];
    for (const query of wrong) await expectError(await fetch(`${world.url}/ct/v1/get-proof-by-hash${query}`), 400);
  });

  it('get-proof-by-hash: a + that was not escaped is refused, not read as a space', async () => {
    const leaf = leaves.find((hash) => encodeBase64(hash).includes('+')) ?? new Uint8Array();
    const response = await fetch(`${world.url}/ct/v1/get-proof-by-hash?hash=${encodeBase64(leaf)}&tree_size=${total}`);
    await expectError(response, 400);
  });

  it('get-sth-consistency: empty for first 0 and for equal sizes, 400 beyond the tree and for nonsense', async () => {
    const path = '/ct/v1/get-sth-consistency';
    for (const query of ['first=0&second=0', 'first=0&second=7', `first=0&second=${total + 1}`, 'first=7&second=7']) {
      expect(await getJson(`${path}?${query}`)).toEqual({ consistency: [] });
    }
    const beyond = await fetch(`${world.url}${path}?first=1&second=${total + 1}`);
    await expectError(beyond, 400, new RegExp(`^need tree size: ${total + 1} for proof but only got: ${total}$`));
    await expectError(await fetch(`${world.url}${path}?first=${total + 1}&second=${total + 1}`), 400);
    for (const query of ['', 'first=1', 'second=1', 'first=2&second=1', 'first=-1&second=1', 'first=a&second=1']) {
      await expectError(await fetch(`${world.url}${path}?${query}`), 400);
    }
  });

  it('get-entry-and-proof: 400 outside the tree', async () => {
    const path = `${world.url}/ct/v1/get-entry-and-proof`;
    for (const [index, treeSize] of [
      [0, 0],
      [7, 7],
      [-1, 7],
      ['', 7],
      [0, ''],
      [0, total + 1],
    ]) {
      await expectError(await fetch(`${path}?leaf_index=${index}&tree_size=${treeSize}`), 400);
    }
  });

  // RFC 6962 §4.6 lets a log answer with fewer; on multiples of a thousand, caches meet again.
  const ranges: Record<string, [start: number, end: number, last: number]> = {
    'as asked below a thousand': [5, 900, 900],
    'one entry': [1029, 1029, 1029],
    'cut to the multiple of a thousand': [5, 2000, 999],
    'cut when it is a thousand exactly': [5, 1004, 999],
    'a thousand from an aligned start': [0, 5_000_000, 999],
    'to the end of the tree': [1000, 1999, 1029],
    'as asked across the multiple': [990, 1010, 1010],
  };
  for (const [name, [start, end, last]] of Object.entries(ranges)) {
    it(`get-entries: ${name}`, async () => {
      const response = await fetch(`${world.url}/ct/v1/get-entries?start=${start}&end=${end}`);
      expect(response.status).toBe(200);
      const { entries } = (await response.json()) as { entries: Entry[] };
      expect(entries).toHaveLength(last - start + 1);
      const hashes = entries.map(({ leaf_input }) => encodeHex(leafHash(sha256, parseBase64(leaf_input))));
      expect(hashes).toEqual(leaves.slice(start, last + 1).map(encodeHex));
      const truncated = last === total - 1 && end > last;
      expect(response.headers.get('cache-control')).toBe(truncated ? 'public, max-age=60' : 'public, max-age=86400');
    });
  }

  it('get-entries: 400 for a start beyond the tree, a wrong order, and nonsense', async () => {
    const path = `${world.url}/ct/v1/get-entries`;
    const beyond = new RegExp(`^need tree size: ${total + 1} for entries but only got: ${total}$`);
    await expectError(await fetch(`${path}?start=${total}&end=${total}`), 400, beyond);
    for (const query of [
      '',
      'start=0',
      'end=0',
      'start=2&end=1',
      'start=-1&end=1',
      'start=0&end=x',
      'start=+1&end=2',
    ]) {
      await expectError(await fetch(`${path}?${query}`), 400);
    }
  });

  it('caching: proofs of fixed sizes for a day, the tree head not at all', async () => {
    const cacheControl = async (path: string) => (await fetch(world.url + path)).headers.get('cache-control');
    expect(await cacheControl('/ct/v1/get-sth')).toBe(null);
    expect(await cacheControl('/ct/v1/get-sth-consistency?first=1&second=2')).toBe('public, max-age=86400');
    // An error must not stay in a cache when the tree has grown.
    expect(await cacheControl(`/ct/v1/get-sth-consistency?first=1&second=${total + 1}`)).toBe('no-store');
    expect(await cacheControl(byHash(new Uint8Array(32), total))).toBe('no-store');
    expect(await cacheControl('/ct/tile/0/999')).toBe('no-store');
    expect(await cacheControl('/ct/checkpoint')).toBe('no-cache');
    expect(await cacheControl('/ct/tile/0/000')).toBe('public, max-age=604800, immutable');
  });

  it('checkpoint: the same head as get-sth, convertible without the key', async () => {
    const response = await fetch(`${world.url}/ct/checkpoint`);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    const note = parseNote(await response.text());
    const head = await treeHead();
    const origin = `${new URL(world.url).host}/ct`;
    const checkpoint = parseCheckpoint(note.text);
    expect(checkpoint).toEqual({
      origin,
      size: BigInt(head.tree_size),
      rootHash: parseBase64(head.sha256_root_hash),
      extensions: [],
    });
    const [signature, ...more] = note.signatures;
    expect(more).toEqual([]);
    expect(signature?.name).toBe(origin);
    // C2SP static-ct-api: key id over origin, 0x05 and the log id; then time and DigitallySigned.
    const idInput = Buffer.concat([Buffer.from(`${origin}\n\x05`), sha256(logKey.spki)]);
    expect(signature?.keyId).toEqual(sha256(idInput).slice(0, 4));
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(head.timestamp));
    const expected = Buffer.concat([time, parseBase64(head.tree_head_signature)]);
    expect(Buffer.from(signature?.signature ?? []).equals(expected)).toBe(true);
    const verifier = rfc6962NoteVerifier(origin, logKey, opensslCrypto);
    await verifyNote(await (await fetch(`${world.url}/ct/checkpoint`)).text(), [verifier]);
  });

  async function getBytes(path: string, type: string): Promise<Uint8Array> {
    const response = await fetch(`${world.url}${path}`);
    expect(response.status, path).toBe(200);
    expect(response.headers.get('content-type')).toBe(type);
    return new Uint8Array(await response.arrayBuffer());
  }
  const getTile = (path: string) => getBytes(`/ct/${path}`, 'application/octet-stream');

  it('tile: full and partial tiles of every level hold the hashes of the tree', async () => {
    for (const [level, index, width] of [
      [0, 0n, 256],
      [0, 3n, 256],
      [0, 4n, 6],
      [0, 4n, 1],
      [1, 0n, 4],
      [1, 0n, 3],
    ] as const) {
      const bytes = await getTile(encodeTilePath({ level, index, width }));
      expect(bytes).toHaveLength(width * 32);
      for (let i = 0; i < width; i++) {
        const node = nodes.get(`${level * 8}/${index * 256n + BigInt(i)}`) ?? new Uint8Array();
        expect(equalBytes(bytes.slice(i * 32, i * 32 + 32), node)).toBe(true);
      }
    }
    // Level 1 is made of the roots of full tiles of level 0.
    const range = CompactRange.empty(sha256);
    const first = await getTile('tile/0/000');
    for (let i = 0; i < 256; i++) range.append(first.slice(i * 32, i * 32 + 32));
    expect((await getTile('tile/1/000.p/4')).slice(0, 32)).toEqual(range.root());
  });

  it('tile/data: each element is a leaf with the fingerprints of its issuers, and hashes to the tile of level 0', async () => {
    for (const [path, width] of [
      ['000', 256],
      ['004.p/6', 6],
      ['004.p/2', 2],
    ] as const) {
      const hashes = await getTile(`tile/0/${path}`);
      const elements = parseDataTile(await getTile(`tile/data/${path}`), width);
      expect(elements).toHaveLength(width);
      elements.forEach((element, i) => {
        expect(equalBytes(leafHash(sha256, merkleTreeLeaf(element)), hashes.slice(i * 32, i * 32 + 32))).toBe(true);
        expect(element.fingerprints.map(encodeHex)).toEqual([issuer, root].map(({ der }) => encodeHex(sha256(der))));
        expect(element.precertificate !== undefined).toBe(element.entry.kind === 'precert');
      });
    }
  });

  it('issuer: each fingerprint of a data tile can be fetched, and nothing else', async () => {
    for (const { der } of [issuer, root]) {
      const fingerprint = encodeHex(sha256(der));
      expect(await getBytes(`/ct/issuer/${fingerprint}`, 'application/pkix-cert')).toEqual(der);
      await expectError(await fetch(`${world.url}/ct/issuer/${fingerprint.toUpperCase()}`), 404);
      await expectError(await fetch(`${world.url}/ct/issuer/${fingerprint}00`), 404);
    }
    for (const name of ['0'.repeat(64), 'x', '..%2f..%2finstance.json', '%2e%2e/checkpoint', '%00']) {
      expect(await rawStatus(`/ct/issuer/${name}`)).toBe(404);
    }
  });

  const notTiles = [
    ...[
      'tile/0/004',
      'tile/0/005.p/1',
      'tile/0/004.p/7',
      'tile/1/000',
      'tile/1/000.p/5',
      'tile/2/000.p/1',
      'tile/5/000',
    ],
    ...['tile/data/004', 'tile/data/004.p/7', 'tile/data/005', 'tile/0/000.p/0', 'tile/0/000.p/256', 'tile/0/000.p/01'],
    ...[
      'tile/0/x000/001',
      'tile/0/0',
      'tile/0/0001',
      'tile/00/000',
      'tile/-1/000',
      'tile/0/-01',
      'tile/0/000/',
      'tile/0//000',
    ],
    ...['tile/64/000', 'tile/entries/000', 'tile/data/x000/000', 'tile/%30/000', 'tile/0/%30%30%30', 'tile/', 'tile/0'],
    ...['tile/0/000?x=1', 'tile/data/data/000', 'tile/0/x999/x999/x999/x999/x999/x999/999', 'tile/0/000.p/1/'],
  ];
  it.each(notTiles)('%s is not found', async (path) => {
    expect(await rawStatus(`/ct/${path}`)).toBe(404);
  });

  it('get-roots: the accepted roots', async () => {
    const { certificates } = await getJson<{ certificates: string[] }>('/ct/v1/get-roots');
    expect(certificates).toEqual([encodeBase64(root.der)]);
  });

  it('log.v3.json: key, log id and URL of the log', async () => {
    expect(await getJson('/ct/log.v3.json')).toEqual({
      key: encodeBase64(logKey.spki),
      log_id: encodeBase64(sha256(logKey.spki)),
      mmd: 1,
      url: `${world.url}/ct/`,
    });
  });

  it('a restart keeps the tree, the head never shrinks, and repeated submissions are still recognised', async () => {
    const before = await treeHead();
    const [entry] = await entriesOf(3, 3);
    await world.restart();
    const after = await treeHead();
    expect(after.tree_size).toBe(before.tree_size);
    expect(after.sha256_root_hash).toBe(before.sha256_root_hash);
    expect(after.timestamp).toBeGreaterThanOrEqual(before.timestamp);
    const leaf = parseMerkleTreeLeaf(parseBase64(entry?.leaf_input ?? ''));
    const extra = parseExtraData(leaf.entry.kind, parseBase64(entry?.extra_data ?? ''));
    const submitted = leaf.entry.kind === 'x509' ? leaf.entry.certificate : (extra.precertificate ?? new Uint8Array());
    const again = await add(leaf.entry.kind === 'x509' ? 'add-chain' : 'add-pre-chain', [submitted, issuer.der]);
    expect(BigInt(again.timestamp)).toBe(leaf.timestampMs);
    expect(parseLeafIndex(parseBase64(again.extensions))).toBe(3n);
    expect(await size()).toBe(before.tree_size);
    const proof = proveConsistency(sha256, 70n, BigInt(total), (level, index) => {
      return nodes.get(`${level}/${index}`) ?? new Uint8Array();
    });
    expect(await getJson(`/ct/v1/get-sth-consistency?first=70&second=${total}`)).toEqual({
      consistency: proof.map(encodeBase64),
    });
  });
});
