import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Signer } from '#libs/crypto';
import { canonicalizeJson, derUtf8String, encodeBase64, encodeHex, encodePem, encodeUtf8 } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { ed25519NoteSigner, ed25519NoteVerifier } from '#libs/note';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import {
  annexedEntriesFormat,
  encodeAnnexedEntry,
  folderObjects,
  openSqlStore,
  openTree,
  type SqlStore,
  type Tree,
} from '#libs/tlog';
import type { Certificate, SubjectAltName } from '#libs/x509';
import { extension, encodeNames, sealCertificate, tbsCertificate } from '../../../test/world/certificate-writer.js';
import { indexEntry, recordFactsV1, recordFactsV2, type SearchableTree } from '../src/index.js';

const arc = '1.3.6.1.4.1.57264.1';
const emptyName = Uint8Array.of(0x30, 0);
const authority = generateSigner('P-256');
let serial = 1n;

/** What a test certificate says. `told`: extension number → text, in the encoding of the number. */
export interface Told {
  readonly sans?: readonly SubjectAltName[];
  readonly told?: Readonly<Record<number, string>>;
  /** Values as they are, whatever the number demands. */
  readonly raw?: Readonly<Record<number, Uint8Array>>;
  readonly signer?: Signer;
}

/** A certificate by a CA nobody knows, as anybody can log one. */
export function makeCertificate({ sans = [], told = {}, raw = {}, signer = holder }: Told): Certificate {
  const extensions = [
    ...(sans.length > 0 ? [extension('2.5.29.17', true, encodeNames(sans))] : []),
    ...Object.entries(told).map(([number, text]) =>
      extension(`${arc}.${number}`, false, Number(number) <= 6 ? encodeUtf8(text) : derUtf8String(text)),
    ),
    ...Object.entries(raw).map(([number, value]) => extension(`${arc}.${number}`, false, value)),
  ];
  return sealCertificate(
    tbsCertificate({
      serial: serial++,
      by: authority,
      issuerName: emptyName,
      subject: emptyName,
      signer,
      notBefore: new Date('2026-01-01T00:00:00Z'),
      notAfter: new Date('2026-01-01T00:10:00Z'),
      extensions: extensions.length > 0 ? extensions : [extension('2.5.29.19', false, Uint8Array.of(0x30, 0))],
    }),
    authority,
  );
}

/** The key in every certificate that names no other. */
export const holder: Signer = generateSigner('P-256');

export const email = (value: string): SubjectAltName => ({ kind: 'email', value });

/** The trees of Rekor v1 and v2 in a folder of their own, with a clock that a test moves. */
export class TestTrees {
  readonly #folder = mkdtempSync(join(tmpdir(), 'search-'));
  nowMs = Date.parse('2026-03-01T12:00:00Z');
  #store: SqlStore | undefined;
  #trees: Readonly<Record<'v1' | 'v2', Tree>> | undefined;

  static async create(): Promise<TestTrees> {
    const trees = new TestTrees();
    await trees.open({ create: true });
    return trees;
  }

  get store(): SqlStore {
    return this.#store ?? assert.fail('the trees are closed');
  }

  get v1(): Tree {
    return this.#trees?.v1 ?? assert.fail('the trees are closed');
  }

  get v2(): Tree {
    return this.#trees?.v2 ?? assert.fail('the trees are closed');
  }

  get searchable(): readonly SearchableTree[] {
    return [
      { name: 'v1', tree: this.v1, facts: recordFactsV1, uuidOf: entryIdOf },
      { name: 'v2', tree: this.v2, facts: recordFactsV2 },
    ];
  }

  /** Logs a body as the log does: annex and keys by `indexEntry`, and `more` keys that do not belong to it. Returns its index. */
  async add(
    tree: 'v1' | 'v2',
    body: Uint8Array,
    { unlogged = [], more = [] }: { unlogged?: readonly string[]; more?: readonly string[] } = {},
  ): Promise<bigint> {
    const { annex, keys } = indexEntry(body, unlogged);
    const receipt = await this[tree].add({
      identity: leafHash(sha256, body),
      encode: (_index, timestampMs) => encodeAnnexedEntry({ timestampMs, annex, entry: body }),
      keys: [...keys, ...more],
    });
    return receipt.index;
  }

  async open({ create = false } = {}): Promise<void> {
    const store = await openSqlStore({ file: join(this.#folder, 'log.sqlite'), create });
    this.#store = store;
    const openOne = (name: string): Promise<Tree> => {
      const key = keys[name] ?? assert.fail('no such key');
      const origin = `${name}.example`;
      return openTree({
        store,
        objects: folderObjects(join(this.#folder, 'objects')),
        name,
        origin,
        format: annexedEntriesFormat,
        signers: () => [ed25519NoteSigner(origin, key, opensslCrypto.hash)],
        verifier: ed25519NoteVerifier(origin, key.publicKey, opensslCrypto),
        now: () => this.nowMs,
        scrubShare: 0,
        create,
      });
    };
    this.#trees = { v1: await openOne('log-v1'), v2: await openOne('log') };
  }

  async remove(): Promise<void> {
    await this.v1.close();
    await this.v2.close();
    await this.store.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Everything in the index: tree, key and index of each row. */
  async indexRows(): Promise<string[]> {
    const rows = await this.store.read<{ row: string }>(
      `SELECT tree || ' ' || CAST(key AS text) || ' ' || CAST(idx AS text) AS row FROM search_key ORDER BY tree, key, idx`,
      [],
    );
    return rows.map(({ row }) => row);
  }
}

const keys: Readonly<Record<string, Signer>> = { 'log-v1': generateSigner('ed25519'), log: generateSigner('ed25519') };

/** Tree ID 1234 of the test log, and the leaf hash. */
export function entryIdOf(hash: Uint8Array): string {
  return `00000000000004d2${encodeHex(hash)}`;
}

let counter = 0;

/** A digest nobody else has. */
export function freshDigest(): Uint8Array {
  return sha256(encodeUtf8(`artifact ${counter++}`));
}

/** The kinds of entries that are found by something. */
export const bodyKinds = [
  'hashedrekord 0.0.1',
  'dsse 0.0.1',
  'intoto 0.0.1',
  'intoto 0.0.2',
  'rekord 0.0.1',
  'hashedrekord 0.0.2',
  'dsse 0.0.2',
] as const;

/** A stored body with these verifiers (kinds with a single signature take the first), about `digest`. Signatures are nonsense. */
export function bodyOf(
  name: (typeof bodyKinds)[number],
  verifiers: readonly (Certificate | Signer)[],
  digest = freshDigest(),
): Uint8Array {
  const pems = verifiers.map((one) => encodeBase64(encodeUtf8(pemOf(one))));
  const hash = { algorithm: 'sha256', value: encodeHex(digest) };
  const content = encodeBase64(digest);
  const data = { algorithm: 'SHA2_256', digest: encodeBase64(digest) };
  const protos = verifiers.map((one) => ({
    content,
    verifier: {
      keyDetails: 'PKIX_ECDSA_P256_SHA_256',
      ...('der' in one
        ? { x509Certificate: { rawBytes: encodeBase64(one.der) } }
        : { publicKey: { rawBytes: encodeBase64(one.publicKey.spki) } }),
    },
  }));
  const other = { algorithm: 'sha256', value: encodeHex(sha256(digest)) };
  const specs: Record<(typeof bodyKinds)[number], unknown> = {
    'hashedrekord 0.0.1': { data: { hash }, signature: { content, publicKey: { content: pems[0] } } },
    'dsse 0.0.1': {
      envelopeHash: other,
      payloadHash: hash,
      signatures: pems.map((verifier) => ({ signature: content, verifier })),
    },
    'intoto 0.0.1': { content: { hash: other, payloadHash: hash }, publicKey: pems[0] },
    'intoto 0.0.2': {
      content: {
        envelope: {
          payloadType: 'application/vnd.in-toto+json',
          signatures: pems.map((publicKey) => ({ publicKey, sig: encodeBase64(encodeUtf8(content)) })),
        },
        hash: other,
        payloadHash: hash,
      },
    },
    'rekord 0.0.1': { data: { hash }, signature: { content, format: 'x509', publicKey: { content: pems[0] } } },
    'hashedrekord 0.0.2': { hashedRekordV002: { data, signature: protos[0] } },
    'dsse 0.0.2': { dsseV002: { payloadHash: data, signatures: protos } },
  };
  const [kind, apiVersion] = name.split(' ');
  return encodeUtf8(canonicalizeJson({ apiVersion, kind, spec: specs[name] }));
}

function pemOf(verifier: Certificate | Signer): string {
  return 'der' in verifier ? encodePem('CERTIFICATE', verifier.der) : encodePem('PUBLIC KEY', verifier.publicKey.spki);
}
