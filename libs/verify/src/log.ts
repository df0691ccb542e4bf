import type { TlogEntry } from '#libs/bundle';
import type { CryptoPort } from '#libs/crypto';
import { encodeHex, equalBytes } from '#libs/encoding';
import { parseEntryBody } from '#libs/entry';
import { leafHash, verifyInclusion } from '#libs/merkle';
import { noteVerifier, verifyCheckpoint } from '#libs/note';
import { isValidAt, type TlogInstance } from '#libs/trust';
import type { Certificate } from '#libs/x509';
import type { EntryWithBody } from './binding.js';
import { Objection, type Finding } from './checks.js';
import { describeInstant, type TrustedTime } from './time.js';

/** A log entry, and the keys of the trusted root that go by its log id: one, unless its validity was split. */
export interface KnownEntry {
  entry: TlogEntry;
  logs: TlogInstance[];
}

/** What is proven about one log entry. */
export interface LogRecord {
  index: bigint;
  /** The log's name in its checkpoint; its host where there is none. */
  origin: string;
  operator: string;
}

/** Kinds whose bodies we can read; Rekor v2 has the two of version 0.0.2 that are not `intoto`. */
const KINDS = ['hashedrekord 0.0.1', 'hashedrekord 0.0.2', 'dsse 0.0.1', 'dsse 0.0.2', 'intoto 0.0.2'];

/** Distinct operators make a threshold; a root that does not name them leaves us to count logs. */
export function operatorOf(log: TlogInstance): string {
  return log.operator ?? (hostNames(log.baseUrl)[0] || encodeHex(log.logId));
}

/** The trusted root has a key for the log of every entry. */
export function checkLogKeys(entries: TlogEntry[], tlogs: TlogInstance[]): Finding<KnownEntry[]> {
  const known = entries.map((entry) => {
    const logs = tlogs.filter(({ logId }) => equalBytes(logId, entry.logId));
    if (logs.length === 0) {
      throw new Objection(
        `the trusted root has no transparency log with id ${encodeHex(entry.logId)}`,
        'Use the trusted root of the instance whose log has this entry',
      );
    }
    return { entry, logs };
  });
  return { detail: known.map(({ logs }) => logs[0]?.baseUrl).join(', '), value: known };
}

/** E.1: we know the kind, and the body is of that kind. */
export function checkEntries(entries: KnownEntry[]): Finding<EntryWithBody[]> {
  const bodies = entries.map(({ entry }) => {
    const kind = `${entry.kind} ${entry.version}`;
    if (!KINDS.includes(kind)) throw new Objection(`entry ${entry.logIndex} is of kind ${kind}, which we do not know`);
    const body = parseEntryBody(entry.canonicalizedBody);
    if (body.kind !== entry.kind || body.version !== entry.version) {
      throw new Objection(`entry ${entry.logIndex} says ${kind}, but its body is ${body.kind} ${body.version}`);
    }
    return { entry, body };
  });
  return { detail: entries.map(({ entry }) => `${entry.kind} ${entry.version}`).join(', '), value: bodies };
}

/** E.2: the audit path leads from the body to the root of the proof. Nothing says yet that the log signed that root. */
export function checkInclusion(entries: KnownEntry[], version: string, crypto: CryptoPort): Finding<void> {
  const sha256 = (data: Uint8Array) => crypto.hash('sha256', data);
  const details = entries.map(({ entry }) => {
    const proof = entry.inclusionProof;
    if (proof === undefined) {
      // Before version 0.2 a verified promise was enough.
      if (version === '0.1' && entry.inclusionPromise !== undefined)
        return `entry ${entry.logIndex} has no proof, only a promise`;
      throw new Objection(`entry ${entry.logIndex} has no inclusion proof`);
    }
    // Rekor v1 counts over all shards outside the proof, and in the shard inside; v2 has one tree and one index.
    if (isRekor2(entry) && proof.logIndex !== entry.logIndex) {
      throw new Objection(`the entry is at index ${entry.logIndex}, its proof at ${proof.logIndex}`);
    }
    verifyInclusion(sha256, {
      index: proof.logIndex,
      size: proof.treeSize,
      leafHash: leafHash(sha256, entry.canonicalizedBody),
      proof: proof.hashes,
      root: proof.rootHash,
    });
    return `entry ${proof.logIndex} of ${proof.treeSize}`;
  });
  return { detail: details.join(', '), value: undefined };
}

function isRekor2({ kind, version }: TlogEntry): boolean {
  return version === '0.0.2' && kind !== 'intoto';
}

/** E.2: the root and size of each proof are in a checkpoint that the log signed while its key was valid. */
export async function checkCheckpoints(
  entries: KnownEntry[],
  times: TrustedTime[],
  crypto: CryptoPort,
): Promise<Finding<LogRecord[]>> {
  const records: LogRecord[] = [];
  for (const known of entries) {
    const { entry } = known;
    const log = logAtTime(known, times);
    const proof = entry.inclusionProof;
    if (proof?.checkpoint === undefined) {
      if (entry.inclusionPromise === undefined) throw new Objection(`entry ${entry.logIndex} has no checkpoint`);
      records.push({ index: entry.logIndex, origin: hostNames(log.baseUrl)[0] ?? '', operator: operatorOf(log) });
      continue;
    }
    const names = hostNames(log.baseUrl);
    // The note's key id is where the log's id starts: SHA-256 of the key in v1, of name and key in v2.
    const keyId = (log.checkpointKeyId ?? log.logId).slice(0, 4);
    const { publicKey: key } = log;
    const checkpoint = await verifyCheckpoint(
      proof.checkpoint,
      names.map((name) => noteVerifier({ kind: key.kind, name, key }, crypto, keyId)),
      { origin: (origin) => names.includes(origin.replace(/ - \d+$/, '')) },
    );
    if (checkpoint.size !== proof.treeSize) {
      throw new Objection(
        `the checkpoint is for ${checkpoint.size} entries, the proof for ${proof.treeSize}`,
        anewCure,
      );
    }
    if (!equalBytes(checkpoint.rootHash, proof.rootHash)) {
      throw new Objection(
        `the checkpoint has root ${encodeHex(checkpoint.rootHash)}, the proof ${encodeHex(proof.rootHash)}`,
        anewCure,
      );
    }
    records.push({ index: entry.logIndex, origin: checkpoint.origin, operator: operatorOf(log) });
  }
  return { detail: records.map(({ origin }) => `signed by ${origin}`).join(', '), value: records };
}

const anewCure = 'Get the bundle anew: its proof and checkpoint are of different states of the log';

/**
 * The key that was valid when the log took the entry: at the time it promised, or else at a time that a timestamp
 * authority confirms. Without any time (a managed key may have none) the key stands for itself.
 */
function logAtTime({ entry, logs }: KnownEntry, times: TrustedTime[]): TlogInstance {
  const promised = entry.inclusionPromise !== undefined && entry.integratedTime !== undefined;
  const candidates = promised ? [new Date(Number(entry.integratedTime) * 1000)] : times.map(({ time }) => time);
  const log =
    candidates.length === 0
      ? logs[0]
      : logs.find(({ validFor }) => candidates.some((time) => isValidAt(validFor, time)));
  if (log === undefined) {
    throw new Objection(
      `the key of ${logs[0]?.baseUrl ?? 'the log'} was not valid at ${candidates.map(describeInstant).join(' or ')}`,
    );
  }
  return log;
}

/**
 * The names a log may have in a checkpoint: the host of its base URL, also with the port, if it has one.
 * Rekor v1 adds ` - <tree id>` to the origin, not to the name of the signature.
 */
function hostNames(baseUrl: string): string[] {
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(baseUrl) ? baseUrl : `https://${baseUrl}`;
  if (!URL.canParse(url)) return [];
  const { hostname, host } = new URL(url);
  return hostname === host ? [hostname] : [hostname, host];
}

/** E.4: the log's own word for when it took the entry, promised or not, is within the certificate's life. */
export function checkLogTime(entries: KnownEntry[], leaf: Certificate): Finding<void> {
  for (const { entry } of entries) {
    if (entry.integratedTime === undefined) continue;
    const time = new Date(Number(entry.integratedTime) * 1000);
    if (!isValidAt({ start: leaf.notBefore, end: leaf.notAfter }, time)) {
      throw new Objection(
        `entry ${entry.logIndex} was taken at ${describeInstant(time)}, the certificate is valid ` +
          `from ${describeInstant(leaf.notBefore)} to ${describeInstant(leaf.notAfter)}`,
      );
    }
  }
  return { detail: 'within the life of the certificate', value: undefined };
}

/** E: enough logs of distinct operators. */
export function checkLogThreshold(records: LogRecord[], threshold: number): Finding<void> {
  const operators = new Set(records.map(({ operator }) => operator));
  if (operators.size < threshold) {
    throw new Objection(
      records.length === 0
        ? 'the bundle has no log entry'
        : `logs of ${operators.size} operator(s) have the signature, ${threshold} needed`,
    );
  }
  return { detail: [...operators].join(', '), value: undefined };
}
