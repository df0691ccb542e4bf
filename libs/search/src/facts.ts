import { parseAnnexedEntry } from '#libs/tlog';
import { merkleTreeLeaf, parseTileLeaf, type TileLeaf } from '#libs/x509';
import { encodeAnnexKeys, parseAnnexKeys } from './annex.js';
import { type BodyFacts, bodyFacts, readCertificate } from './body-facts.js';
import { type CertificateFacts, type Identity, keysOfCertificateFacts, prefixedKey } from './certificate-facts.js';
import { SearchError } from './error.js';

/** What an entry says that can be searched for, and the search keys that follow from it. */
export interface EntryFacts {
  /** `unknown` for what cannot be understood; certificates of a CT log are `x509_entry` or `precert_entry` (RFC 6962 §3.1). */
  readonly kind: string;
  /** `0.0.1` and the like; `v1` for CT, empty if unknown. */
  readonly version: string;
  /** `sha256:<hex>`: of what was signed, and of an attestation's payload and envelope as far as the log was given them. */
  readonly digests: readonly string[];
  /** `<algorithm>:<hex>`: digests of the subjects and materials of an attestation that the log saw when it took the entry. */
  readonly subjects: readonly string[];
  /** Whom the keys and certificates name. Claimed by them: no CA need have checked it. */
  readonly identities: readonly Identity[];
  /** Of these three the first; of an entry with several certificates `signers` has them all. */
  readonly issuer?: string;
  readonly repository?: string;
  readonly workflow?: string;
  /** Hex SHA-256 of each SubjectPublicKeyInfo. */
  readonly keyFingerprints: readonly string[];
  /** Hex SHA-256 of each certificate, DER; of a precertificate its own, not that of the certificate made from it. */
  readonly certificateFingerprints: readonly string[];
  /** Each certificate and key by itself: who signs with one certificate has nothing to do with the issuer of another. */
  readonly signers: readonly Signer[];
  /** All texts that the index has for the entry, at most 1024, none twice. Made when first asked for. */
  readonly keys: readonly string[];
}

/** A certificate, a bare key (no names), or a name whose key is in a format that is not read here (no fingerprints). */
export type Signer = Partial<CertificateFacts>;

/** The same of a stored record, which also tells when it was integrated and what was hashed. */
export interface RecordFacts extends EntryFacts {
  /** Milliseconds since 1970. */
  readonly timestampMs: bigint;
  /** The data under the leaf hash: an entry's body, a CT log's MerkleTreeLeaf. */
  readonly leaf: Uint8Array;
}

/** As many keys the engine stores of one entry. */
const MAX_KEYS = 1024;

/**
 * What the body of an entry of Rekor v1 or v2 says; `unlogged`: search keys that stand in its annex. Never throws: a body that cannot be
 * understood is of kind `unknown` and has no keys.
 */
export function entryFacts(body: Uint8Array, unlogged: readonly string[]): EntryFacts {
  const facts = bodyFacts(body);
  return collect(facts, facts.kind === 'unknown' ? [] : unlogged);
}

/**
 * What to store with a new entry, and under which keys: `unlogged` are those that its body cannot give again. What does not fit into an annex
 * is not indexed either, so that an index rebuilt from the log is the same.
 */
export function indexEntry(
  body: Uint8Array,
  unlogged: readonly string[],
): { annex: Uint8Array; keys: readonly string[] } {
  const annex = encodeAnnexKeys(unlogged);
  return { annex, keys: entryFacts(body, parseAnnexKeys(annex)).keys };
}

/** A record of the tree of Rekor v1 (`annexed-entries`). @throws TlogError `TLOG_RECORD` for bytes that are no record */
export function recordFactsV1(record: Uint8Array): RecordFacts {
  return annexedFacts(record);
}

/** A record of the tree of Rekor v2 (`annexed-entries`). @throws TlogError `TLOG_RECORD` for bytes that are no record */
export function recordFactsV2(record: Uint8Array): RecordFacts {
  return annexedFacts(record);
}

/**
 * A record of a CT log: an element of a static-ct-api data tile.
 * @throws X509Error `X509_CT_MALFORMED` for bytes that are no record
 */
export function ctFacts(record: Uint8Array): RecordFacts {
  const leaf = parseTileLeaf(record);
  return Object.assign(submittedFacts(leaf), { timestampMs: leaf.timestampMs, leaf: merkleTreeLeaf(leaf) });
}

/** The search keys of a record of the tree of Rekor v1: what appending wrote, from the record alone. @throws as `recordFactsV1` */
export function recordKeysV1(record: Uint8Array): readonly string[] {
  return recordFactsV1(record).keys;
}

/** The same of the tree of Rekor v2. @throws as `recordFactsV2` */
export function recordKeysV2(record: Uint8Array): readonly string[] {
  return recordFactsV2(record).keys;
}

/** The same of a CT log. @throws as `ctFacts` */
export function recordKeysCt(record: Uint8Array): readonly string[] {
  return ctFacts(record).keys;
}

function annexedFacts(record: Uint8Array): RecordFacts {
  const { timestampMs, annex, entry } = parseAnnexedEntry(record);
  return Object.assign(entryFacts(entry, annexKeys(annex)), { timestampMs, leaf: entry });
}

/** Another log may keep something else in its annexes; that cannot be searched, and is no reason to stop a scan. */
function annexKeys(annex: Uint8Array): string[] {
  try {
    return parseAnnexKeys(annex);
  } catch (error) {
    if (error instanceof SearchError) return [];
    throw error;
  }
}

function submittedFacts({ entry, precertificate }: TileLeaf): EntryFacts {
  const submitted = entry.kind === 'x509' ? entry.certificate : precertificate;
  const certificates = submitted === undefined ? [] : readCertificate({ der: submitted });
  const kind = entry.kind === 'x509' ? 'x509_entry' : 'precert_entry';
  return collect({ kind, version: 'v1', digests: [], certificates, bareKeys: [], rekorKeys: () => [] }, []);
}

/** Whom a key names that is no certificate, as Rekor indexes it. Keys of attestations have a colon: `<algorithm>:<digest>`. */
function namedByKey(key: string): Identity[] {
  if (key.includes(':')) return [];
  return [{ kind: /^[^\s@]+@[^\s@]+$/.test(key) ? 'email' : 'name', value: key }];
}

function collect(body: BodyFacts, unlogged: readonly string[]): EntryFacts {
  const { kind, version, digests, certificates, bareKeys } = body;
  const certified = new Set(
    certificates.flatMap(({ identities }) => identities.map(({ value }) => value.toLowerCase())),
  );
  const named = unlogged.filter((key) => !certified.has(key)).flatMap(namedByKey);
  const signers: Signer[] = [
    ...certificates,
    ...bareKeys.map((keyFingerprint) => ({ keyFingerprint })),
    ...named.map((identity) => ({ identities: [identity] })),
  ];
  let keys: readonly string[] | undefined;
  return {
    kind,
    version,
    digests,
    // Not again what the body has said: the digest of an attestation's own payload is no subject of it.
    subjects: unlogged.filter((key) => key.includes(':') && !digests.includes(key)),
    identities: signers.flatMap(({ identities = [] }) => identities),
    ...firstOf(
      'issuer',
      signers.flatMap(({ issuers = [] }) => issuers),
    ),
    ...firstOf(
      'repository',
      signers.flatMap(({ repositories = [] }) => repositories),
    ),
    ...firstOf(
      'workflow',
      signers.flatMap(({ workflows = [] }) => workflows),
    ),
    keyFingerprints: distinct(signers.map(({ keyFingerprint }) => keyFingerprint)),
    certificateFingerprints: distinct(signers.map(({ certificateFingerprint }) => certificateFingerprint)),
    signers,
    get keys() {
      keys ??= distinct([
        ...digests,
        ...certificates.flatMap(keysOfCertificateFacts),
        ...bareKeys.map((value) => prefixedKey('key', value)),
        ...unlogged,
        ...body.rekorKeys(),
      ]).slice(0, MAX_KEYS);
      return keys;
    },
  };
}

function distinct(values: readonly (string | undefined)[]): string[] {
  return [...new Set(values.filter((value) => value !== undefined))];
}

function firstOf<Name extends string>(name: Name, [first]: readonly string[]): { [name in Name]?: string } {
  return first === undefined ? {} : ({ [name]: first } as { [name in Name]?: string }); // the computed name is of type Name
}
