/**
 * A small Sigstore in one process, for tests of verifiers: a CA with a root and an intermediate, a CT log, a Rekor v1
 * and a Rekor v2 log, and a timestamp authority, each with its own key, all of them honest unless told otherwise.
 * No HTTP, no storage, no clock: the time is `SmallSigstore.now`.
 *
 *     const world = new SmallSigstore();
 *     const bundle = world.signMessage(bytes, { holder: world.issue({ san: 'me@example.com' }) });
 *     await verifyBundle({ bundle, trustedRoot: world.trustedRoot(), … });
 */
import { pae, IN_TOTO_PAYLOAD_TYPE, type Bundle, type BundleContent, type TlogEntry } from '#libs/bundle';
import { algorithmForKey, type CryptoPort, type HashAlgorithm, type Signer } from '#libs/crypto';
import {
  canonicalizeJson,
  derBoolean,
  derOctetString,
  derOid,
  derSequence,
  encodeBase64,
  encodeHex,
  encodeUtf8,
} from '#libs/encoding';
import { CompactRange, leafHash, proveInclusion } from '#libs/merkle';
import { ecdsaNoteSigner, ed25519NoteSigner, encodeCheckpoint, signNote, type NoteSigner } from '#libs/note';
import { generateSigner, opensslCrypto } from '#libs/openssl';
import { issueTimestamp } from '#libs/timestamp';
import type { TrustedRoot } from '#libs/trust';
import {
  encodeFulcioExtensions,
  encodeName,
  encodeSct,
  encodeSctList,
  ctHash,
  ctSignature,
  keyIdentifier,
  merkleTreeLeaf,
  oid,
  type Certificate,
  type SubjectAltName,
} from '#libs/x509';
import { authorityKeyId, encodeNames, extension, sealCertificate, tbsCertificate } from './certificate-writer.js';
import { body2, bodyDsse1, bodyHashedRekord1, type Logged } from './entry-bodies.js';

const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
const sha256 = (data: Uint8Array) => hash('sha256', data);
const minutes = (count: number) => count * 60_000;

export const ISSUER = 'https://accounts.example.com';
export const SAN = 'me@example.com';

/** A key and its certificate. */
export interface Holder {
  signer: Signer;
  certificate: Certificate;
}

/** What a certificate shall say, beyond what every one says. */
export interface IssueOptions {
  san?: string | readonly SubjectAltName[];
  /** null: the certificate does not say. */
  issuer?: string | null;
  /** What is certified; a new P-256 key by default. */
  signer?: Signer;
  by?: Holder;
  notBefore?: Date;
  notAfter?: Date;
  ca?: boolean;
  keyUsage?: Uint8Array;
  extendedKeyUsage?: string;
  /** DER of further extensions. */
  extra?: Uint8Array[];
  /** CT logs that promise, in order; default the one log. */
  ctLogs?: readonly Signer[];
  sctTime?: Date;
  /** Spoils the SCTs: they are for a certificate with another serial. */
  foreignScts?: boolean;
}

export interface SignOptions {
  holder?: Holder;
  /** Instead of a holder. */
  managedKey?: Signer;
  log?: 'v1' | 'v2';
  /** Default: with v2, or with a managed key. */
  timestamp?: boolean;
  /** The hash that a message is signed with; default that of the key. */
  hash?: HashAlgorithm;
  at?: Date;
}

export class SmallSigstore {
  readonly now = new Date('2026-03-01T12:00:00Z');
  readonly root: Holder;
  readonly intermediate: Holder;
  readonly ctLog: Signer = generateSigner();
  readonly log1: Signer = generateSigner();
  readonly log2: Signer = generateSigner('ed25519');
  readonly tsaRoot: Holder;
  readonly tsa: Holder;
  #serial = 1n;

  /** `name` goes into every name, so that two worlds have nothing in common. */
  constructor(readonly name = 'example') {
    this.root = this.#authority('root', undefined);
    this.intermediate = this.#authority('intermediate', this.root);
    this.tsaRoot = this.#authority('tsa root', undefined);
    this.tsa = this.makeTimestampAuthority();
  }

  get origin2(): string {
    return `log.${this.name}.test`;
  }

  get origin1(): string {
    return `rekor.${this.name}.test`;
  }

  trustedRoot(): TrustedRoot {
    // One object each, so that a test can end the validity of one of them.
    const validFor = () => ({ start: new Date('2026-01-01T00:00:00Z') });
    const log = (baseUrl: string, signer: Signer, logId: Uint8Array, operator: string) => ({
      baseUrl,
      hashAlgorithm: 'sha256' as const,
      publicKey: signer.publicKey,
      keyDetails: algorithmForKey(signer.publicKey).keyDetails,
      validFor: validFor(),
      logId,
      operator,
    });
    return {
      tlogs: [
        log(`https://${this.origin1}`, this.log1, sha256(this.log1.publicKey.spki), `rekor.${this.name}`),
        log(`https://${this.origin2}`, this.log2, this.#noteSigner2().logId, `log.${this.name}`),
      ],
      certificateAuthorities: [
        {
          subject: {},
          uri: `https://ca.${this.name}.test`,
          certChain: [this.intermediate.certificate, this.root.certificate],
          validFor: validFor(),
        },
      ],
      ctlogs: [log(`https://ct.${this.name}.test`, this.ctLog, sha256(this.ctLog.publicKey.spki), `ct.${this.name}`)],
      timestampAuthorities: [
        {
          subject: {},
          uri: `https://tsa.${this.name}.test`,
          certChain: [this.tsa.certificate, this.tsaRoot.certificate],
          validFor: validFor(),
          operator: `tsa.${this.name}`,
        },
      ],
    };
  }

  /** A signing certificate of ten minutes around now. */
  issue(options: IssueOptions = {}): Holder {
    const { san = SAN, issuer = ISSUER, signer = generateSigner(), by = this.intermediate } = options;
    const sans = typeof san === 'string' ? [{ kind: 'email', value: san } as const] : san;
    const extensions = [
      extension(oid.keyUsage, true, options.keyUsage ?? Uint8Array.of(0x03, 0x02, 0x07, 0x80)),
      extension(oid.extendedKeyUsage, false, derSequence(derOid(options.extendedKeyUsage ?? oid.codeSigning))),
      ...(options.ca ? [extension(oid.basicConstraints, true, derSequence(derBoolean(true)))] : []),
      extension(oid.authorityKeyIdentifier, false, authorityKeyId(by.certificate.spki)),
      ...(sans.length === 0 ? [] : [extension(oid.subjectAltName, true, encodeNames(sans))]),
      ...(issuer === null ? [] : encodeFulcioExtensions({ issuer })).map(({ oid: type, critical, value }) =>
        extension(type, critical, value),
      ),
      ...(options.extra ?? []),
    ];
    const notBefore = options.notBefore ?? new Date(this.now.getTime() - minutes(5));
    const notAfter = options.notAfter ?? new Date(this.now.getTime() + minutes(5));
    const serial = this.#serial++;
    const tbs = (serialNumber: bigint, exts: Uint8Array[]) =>
      tbsCertificate({
        serial: serialNumber,
        by: by.signer,
        issuerName: by.certificate.subject,
        subject: derSequence(),
        signer,
        notBefore,
        notAfter,
        extensions: exts,
      });

    const timestampMs = BigInt((options.sctTime ?? this.now).getTime());
    const scts = (options.ctLogs ?? [this.ctLog]).map((log) => {
      const input = merkleTreeLeaf({
        timestampMs,
        extensions: new Uint8Array(),
        entry: {
          kind: 'precert',
          issuerKeyHash: sha256(by.certificate.spki),
          tbs: tbs(options.foreignScts ? serial + 1_000_000n : serial, extensions),
        },
      });
      return encodeSct({
        version: 0,
        logId: sha256(log.publicKey.spki),
        timestampMs,
        extensions: new Uint8Array(),
        hashAlgorithm: ctHash.sha256,
        signatureAlgorithm: ctSignature.ecdsa,
        signature: log.sign(input),
      });
    });
    if (scts.length > 0) extensions.push(extension(oid.sctList, false, encodeSctList(scts)));
    return { signer, certificate: sealCertificate(tbs(serial, extensions), by.signer) };
  }

  /** A CA certificate; `undefined`: self-signed. */
  issueAuthority(
    by: Holder | undefined,
    options: { name: string; notBefore?: Date; notAfter?: Date; signer?: Signer },
  ): Holder {
    const signer = options.signer ?? generateSigner();
    const subject = encodeName({ organization: this.name, commonName: options.name });
    const tbs = tbsCertificate({
      serial: this.#serial++,
      by: by?.signer ?? signer,
      issuerName: by?.certificate.subject ?? subject,
      subject,
      signer,
      notBefore: options.notBefore ?? new Date('2026-01-01T00:00:00Z'),
      notAfter: options.notAfter ?? new Date('2036-01-01T00:00:00Z'),
      extensions: [
        extension(oid.basicConstraints, true, derSequence(derBoolean(true))),
        extension(oid.keyUsage, true, Uint8Array.of(0x03, 0x02, 0x01, 0x06)),
        extension(oid.subjectKeyIdentifier, false, derOctetString(keyIdentifier(signer.publicKey.spki, hash))),
      ],
    });
    return { signer, certificate: sealCertificate(tbs, by?.signer ?? signer) };
  }

  #authority(name: string, by: Holder | undefined): Holder {
    return this.issueAuthority(by, { name });
  }

  /** A certificate for timestamps under the TSA's root. */
  makeTimestampAuthority(): Holder {
    const signer = generateSigner();
    const tbs = tbsCertificate({
      serial: this.#serial++,
      by: this.tsaRoot.signer,
      issuerName: this.tsaRoot.certificate.subject,
      subject: encodeName({ organization: this.name, commonName: 'tsa' }),
      signer,
      notBefore: new Date('2026-01-01T00:00:00Z'),
      notAfter: new Date('2036-01-01T00:00:00Z'),
      extensions: [
        extension(oid.keyUsage, true, Uint8Array.of(0x03, 0x02, 0x07, 0x80)),
        extension(oid.extendedKeyUsage, true, derSequence(derOid(oid.timeStamping))),
      ],
    });
    return { signer, certificate: sealCertificate(tbs, this.tsaRoot.signer) };
  }

  /** An RFC 3161 timestamp over these bytes. */
  timestamp(signature: Uint8Array, at = this.now): Uint8Array {
    return issueTimestamp({
      request: { imprint: { hash: 'sha256', digest: sha256(signature) }, certReq: false },
      signer: this.tsa.signer,
      chain: [this.tsa.certificate, this.tsaRoot.certificate],
      policy: '1.3.6.1.4.1.57264.2',
      acceptedPolicies: [],
      hash,
      now: at,
      serial: Uint8Array.of(0x10, Number(this.#serial++ % 256n)),
    });
  }

  #noteSigner2(): NoteSigner {
    return ed25519NoteSigner(this.origin2, this.log2, hash);
  }

  /** An entry of Rekor v2, in a tree with a few others. */
  entry2(body: Uint8Array, { kind = 'hashedrekord', size = 5, index = 3 } = {}): TlogEntry {
    const { inclusionProof, rootHash } = this.#tree(body, index, size);
    const checkpoint = this.checkpoint2({ size: BigInt(size), rootHash });
    return {
      logIndex: BigInt(index),
      logId: this.#noteSigner2().logId,
      kind,
      version: '0.0.2',
      inclusionProof: { ...inclusionProof, checkpoint },
      canonicalizedBody: body,
    };
  }

  checkpoint2({
    size,
    rootHash,
    origin = this.origin2,
  }: {
    size: bigint;
    rootHash: Uint8Array;
    origin?: string;
  }): string {
    return signNote(encodeCheckpoint({ origin, size, rootHash, extensions: [] }), [this.#noteSigner2()]);
  }

  /** An entry of Rekor v1: its index counts 1000 entries of an older shard too, and it comes with a promise. */
  entry1(
    body: Uint8Array,
    { kind = 'hashedrekord', version = '0.0.1', at = this.now, promise = true } = {},
  ): TlogEntry {
    const { inclusionProof, rootHash } = this.#tree(body, 3, 5);
    const logId = sha256(this.log1.publicKey.spki);
    const integratedTime = BigInt(Math.floor(at.getTime() / 1000));
    const logIndex = 1003n;
    const text = encodeCheckpoint({ origin: `${this.origin1} - 42`, size: 5n, rootHash, extensions: [] });
    const promised = canonicalizeJson({ body: encodeBase64(body), integratedTime, logID: encodeHex(logId), logIndex });
    return {
      logIndex,
      logId,
      kind,
      version,
      integratedTime,
      ...(promise ? { inclusionPromise: this.log1.sign(encodeUtf8(promised)) } : {}),
      inclusionProof: {
        ...inclusionProof,
        checkpoint: signNote(text, [ecdsaNoteSigner(this.origin1, this.log1, hash)]),
      },
      canonicalizedBody: body,
    };
  }

  #tree(body: Uint8Array, index: number, size: number) {
    const nodes = new Map<string, Uint8Array>();
    const tree = CompactRange.empty(sha256);
    for (let i = 0; i < size; i++) {
      const leaf = leafHash(sha256, i === index ? body : encodeUtf8(`other entry ${i}`));
      tree.append(leaf, (level, at, node) => nodes.set(`${level}/${at}`, node));
    }
    const hashes = proveInclusion(sha256, BigInt(index), BigInt(size), (level, at) => {
      const node = nodes.get(`${level}/${at}`);
      if (node === undefined) throw new Error(`no node ${level}/${at}`);
      return node;
    });
    const rootHash = tree.root();
    return { rootHash, inclusionProof: { logIndex: BigInt(index), treeSize: BigInt(size), rootHash, hashes } };
  }

  /** Signs a message; everything in the bundle is true. */
  signMessage(artifact: Uint8Array, options: SignOptions = {}): Bundle {
    const { signer } = this.#holderOf(options);
    const algorithm = options.hash ?? algorithmForKey(signer.publicKey).hash;
    const digest = hash(algorithm, artifact);
    const signature = signer.sign(artifact);
    const content: BundleContent = { kind: 'message', digest: { algorithm, digest }, signature };
    return this.bundle(content, { digest, algorithm, signature }, options);
  }

  /** Signs an in-toto statement about this artifact. */
  signStatement(
    artifact: Uint8Array,
    options: SignOptions & { predicateType?: string; payload?: Uint8Array; payloadType?: string } = {},
  ): Bundle {
    const { signer } = this.#holderOf(options);
    const payload =
      options.payload ??
      encodeUtf8(
        JSON.stringify({
          _type: 'https://in-toto.io/Statement/v1',
          subject: [{ name: 'artifact', digest: { sha256: encodeHex(sha256(artifact)) } }],
          predicateType: options.predicateType ?? 'https://slsa.dev/provenance/v1',
          predicate: {},
        }),
      );
    const payloadType = options.payloadType ?? IN_TOTO_PAYLOAD_TYPE;
    const message = pae(payloadType, payload);
    const signature = signer.sign(message);
    const algorithm = algorithmForKey(signer.publicKey).hash;
    const content: BundleContent = {
      kind: 'dsse',
      envelope: { payload, payloadType, signatures: [{ sig: signature, keyid: '' }] },
    };
    return this.bundle(content, { digest: hash(algorithm, message), algorithm, signature, payload }, options);
  }

  /** Logs and stamps. */
  bundle(content: BundleContent, logged: Logged & { payload?: Uint8Array }, options: SignOptions = {}): Bundle {
    const holder = this.#holderOf(options);
    const { log = 'v2', at = this.now } = options;
    const entry =
      log === 'v2'
        ? this.entry2(body2(logged, holder))
        : logged.payload === undefined
          ? this.entry1(bodyHashedRekord1(logged, holder), { at })
          : this.entry1(bodyDsse1({ ...logged, payload: logged.payload }, holder), { at, kind: 'dsse' });
    const stamped = options.timestamp ?? log === 'v2';
    return {
      mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
      version: '0.3',
      material:
        holder.certificate === undefined
          ? { kind: 'publicKey', hint: encodeBase64(sha256(holder.signer.publicKey.spki)) }
          : { kind: 'certificate', certificates: [holder.certificate.der] },
      tlogEntries: [entry],
      timestamps: stamped ? [this.timestamp(logged.signature, at)] : [],
      content,
    };
  }

  #holderOf(options: SignOptions): { signer: Signer; certificate?: Certificate } {
    if (options.managedKey) return { signer: options.managedKey };
    // Once issued it is kept in the options, so that signing and logging see one certificate.
    return (options.holder ??= this.issue());
  }
}
