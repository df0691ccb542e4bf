import type { CryptoPort, Signer } from '#libs/crypto';
import { encodeBase64, encodeHex } from '#libs/encoding';
import { certificateKeys } from '#libs/search';
import type { ObjectStore, Tree } from '#libs/tlog';
import {
  type Certificate,
  ctHash,
  ctSignature,
  encodeDigitallySigned,
  encodeLeafIndex,
  encodeTileLeaf,
  findExtension,
  merkleTreeLeaf,
  parseCertificate,
  parseTileLeaf,
  preTbs,
  type TileLeaf,
} from '#libs/x509';
import { CtError } from './errors.js';
import type { AcceptedRoots } from './roots.js';

const poison = '1.3.6.1.4.1.11129.2.4.3';

/** RFC 6962 §4.1: what add-chain and add-pre-chain answer. */
export interface AddChainResponse {
  readonly sct_version: 0;
  readonly id: string;
  readonly timestamp: number;
  readonly extensions: string;
  readonly signature: string;
}

export interface SubmitOptions {
  readonly tree: Tree;
  readonly roots: AcceptedRoots;
  readonly signer: Signer;
  readonly crypto: CryptoPort;
  /** Where issuer certificates lie, under `issuer/<fingerprint>`. */
  readonly issuers: ObjectStore;
}

/** A chain in, a signed certificate timestamp out. */
export class SubmitChain {
  readonly logId: Uint8Array;
  readonly #storedIssuers = new Set<string>();

  constructor(private readonly options: SubmitOptions) {
    this.logId = options.crypto.hash('sha256', options.signer.publicKey.spki);
  }

  /** `chain`: DER, the certificate first. @throws CtError, TlogError */
  async addChain(kind: 'x509' | 'precert', chain: readonly Uint8Array[]): Promise<AddChainResponse> {
    const { crypto, tree, signer } = this.options;

    // 1. Only certificates of our roots: a log that takes anything is soon full of anything.
    const certificates = chain.map(parseSubmitted);
    const issuers = await this.options.roots.issuersOf(certificates);
    const submitted = certificates[0] as Certificate; // issuersOf refuses an empty chain
    if ((findExtension(submitted, poison) !== undefined) !== (kind === 'precert')) {
      throw new CtError('CT_CHAIN', 'cert / precert mismatch');
    }

    // 2. The issuers are durable before the entry that names them: a crash in between leaves a certificate nobody refers to.
    const fingerprints = issuers.map(({ der }) => crypto.hash('sha256', der));
    await this.#storeIssuers(issuers, fingerprints);

    // 3. What is logged. Index and time come with the batch: the time is that of the tree head, which never runs backwards, so no
    //    head is ever older than an entry it covers.
    const entry: TileLeaf['entry'] =
      kind === 'x509'
        ? { kind, certificate: submitted.der }
        : { kind, issuerKeyHash: crypto.hash('sha256', issuers[0].spki), tbs: preTbs(submitted) };
    const receipt = await tree.add({
      identity: crypto.hash('sha256', submitted.der),
      encode: (index, timestampMs) =>
        encodeTileLeaf({
          timestampMs,
          entry,
          extensions: encodeLeafIndex(index),
          ...(kind === 'precert' && { precertificate: submitted.der }),
          fingerprints,
        }),
      // Of the certificate as it was submitted, which the record keeps: a rebuilt index has the same.
      keys: certificateKeys(submitted),
    });

    // 4. The entry is in the tree for good, so the promise may be signed: over what is stored, which for a repeated
    //    submission is the first one's time and index. A crash here leaves an entry without an SCT; the CA asks again.
    const stored = parseTileLeaf(receipt.record);
    const signature = encodeDigitallySigned({
      hashAlgorithm: ctHash.sha256,
      signatureAlgorithm: signer.scheme.kind === 'ecdsa' ? ctSignature.ecdsa : ctSignature.rsa,
      signature: signer.sign(merkleTreeLeaf(stored)),
    });
    return {
      sct_version: 0,
      id: encodeBase64(this.logId),
      timestamp: Number(stored.timestampMs),
      extensions: encodeBase64(stored.extensions),
      signature: encodeBase64(signature),
    };
  }

  async #storeIssuers(issuers: readonly Certificate[], fingerprints: readonly Uint8Array[]): Promise<void> {
    for (const [index, issuer] of issuers.entries()) {
      const name = encodeHex(fingerprints[index] ?? new Uint8Array());
      if (this.#storedIssuers.has(name)) continue;
      await this.options.issuers.putIfAbsent(`issuer/${name}`, issuer.der);
      this.#storedIssuers.add(name);
    }
  }
}

function parseSubmitted(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw new CtError('CT_CHAIN', 'certificate cannot be parsed', { cause });
  }
}
