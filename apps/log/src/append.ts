import { encodeTlogEntry } from '#libs/bundle';
import { type CryptoPort, findAlgorithm, parsePublicKey, type PublicKey, type SignatureAlgorithm } from '#libs/crypto';
import {
  canonicalizeEntry,
  type CreateEntryRequest,
  type Entry,
  EntryError,
  parseCreateEntryRequest,
  type Verifier,
  type VerifyDigest,
  verifyEntry,
  statementKeys,
} from '#libs/entry';
import { certificateKeys, digestKeys, publicKeyKeys } from '#libs/search';
import { encodeAnnexedEntry, parseAnnexedEntry, type Tree } from '#libs/tlog';
import { parseCertificate } from '#libs/x509';
import { hasTooManyValues } from './body-bounds.js';
import { type EntryKeys, entryKeys } from './entry-keys.js';
import { DuplicateEntryError } from './errors.js';

export interface AppendOptions {
  readonly tree: Tree;
  /** How trust material names this log: 32 bytes. */
  readonly logId: Uint8Array;
  readonly hash: CryptoPort['hash'];
  readonly verifyDigest: VerifyDigest;
  /** Which signature algorithms clients may use. */
  readonly algorithms: readonly SignatureAlgorithm[];
  /** Whether `dsse` 0.0.2 entries are taken: one released client still sends them. */
  readonly acceptDsse: boolean;
  /** What a repeated entry gets: the receipt of the first one, or 409. */
  readonly duplicates: 'receipt' | 'conflict';
}

/** Append an entry and prove it: a request's bytes in, a TransparencyLogEntry (protobuf JSON) out. */
export class AppendEntry {
  constructor(private readonly options: AppendOptions) {}

  /**
   * @throws EntryError, CryptoError, X509Error for an entry that cannot be logged
   * @throws DuplicateEntryError when duplicates are answered with a conflict
   * @throws TlogError when the log cannot take it now
   */
  async append(body: Uint8Array | undefined): Promise<string> {
    const { tree } = this.options;

    // 1. What is to be logged, in the one form that is hashed. Nothing of the request survives but what this keeps.
    const request = parseCreateEntryRequest(parseBody(body), { algorithms: this.options.algorithms });
    if (request.kind === 'dsse' && !this.options.acceptDsse) {
      throw new EntryError('ENTRY_TYPE', 'Cannot accept entry: dsse entries are not taken here');
    }
    const entry = await verifyEntry(request, {
      publicKeyOf,
      verifyDigest: this.options.verifyDigest,
      hash: this.options.hash,
    });
    const canonicalizedBody = canonicalizeEntry(entry);
    const { kind } = entry;

    // 2. The whole leaf hash identifies the entry: the same bytes again find the earlier index. From here on a crash either
    //    leaves no trace or leaves the entry in the tree, with its search keys; the client that retries gets the same receipt.
    const { annex, keys } = searchKeys(request, entry);
    const receipt = await tree.add({
      leafInput: canonicalizedBody,
      encode: (_index, timestampMs) => encodeAnnexedEntry({ timestampMs, annex, entry: canonicalizedBody }),
      keys,
    });
    if (receipt.duplicate && this.options.duplicates === 'conflict') throw new DuplicateEntryError(receipt.index);

    // 3. The engine proved the entry against the checkpoint it just published; hand both over.
    return JSON.stringify(
      encodeTlogEntry(
        {
          logIndex: receipt.index,
          logId: this.options.logId,
          kind,
          version: '0.0.2',
          inclusionProof: {
            logIndex: receipt.index,
            rootHash: receipt.proof.rootHash,
            treeSize: receipt.proof.size,
            hashes: receipt.proof.hashes,
            checkpoint: receipt.checkpoint,
          },
          canonicalizedBody: parseAnnexedEntry(receipt.record).entry,
        },
        { emitDefaults: true },
      ),
    );
  }
}

function publicKeyOf(verifier: Verifier): PublicKey {
  return 'publicKey' in verifier
    ? parsePublicKey(verifier.publicKey)
    : parseCertificate(verifier.x509Certificate).publicKey;
}

/** What the entry is found by: its digest and its keys, which it holds, and what its envelope's statement is about, which it does not. */
function searchKeys(request: CreateEntryRequest, entry: Entry): EntryKeys {
  if (entry.kind === 'hashedrekord') {
    // A label without a row in the registry has been refused before.
    const algorithm = findAlgorithm(entry.keyDetails)?.hash ?? 'sha256';
    return entryKeys([...digestKeys(algorithm, entry.digest), ...verifierKeys(entry.verifier)], []);
  }
  const logged = [
    ...digestKeys('sha256', entry.payloadHash),
    ...entry.signatures.flatMap(({ verifier }) => verifierKeys(verifier)),
  ];
  return entryKeys(logged, request.kind === 'dsse' ? statementKeys(request.payloadType, request.payload) : []);
}

function verifierKeys(verifier: Verifier): string[] {
  return 'publicKey' in verifier
    ? publicKeyKeys({ spki: verifier.publicKey })
    : certificateKeys(parseCertificate(verifier.x509Certificate));
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function parseBody(body: Uint8Array | undefined): unknown {
  if (body === undefined || body.length === 0) return {};
  if (hasTooManyValues(body)) throw new EntryError('ENTRY_JSON', 'Cannot read the entry: body has too many values');
  try {
    return JSON.parse(utf8.decode(body));
  } catch (cause) {
    throw new EntryError('ENTRY_JSON', 'Cannot read the entry: body is not JSON', { cause });
  }
}
