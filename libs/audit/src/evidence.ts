import { encodeHex, parseHex, parseJson, type JsonValue } from '#libs/encoding';
import { join } from 'node:path';
import { AuditError, reasonOf } from './error.js';
import { makeFolder, writeDurably } from './files.js';
import { checkProof, type Contradiction, type FailedProof } from './prove.js';
import { claimedSigner, readCheckpoint, type LogHead, type LogKey, type LogTrust } from './trust.js';

/** What a log did that it must not do. `foreign`: where one log was, there is another. */
export type Fault = Contradiction['kind'] | 'foreign';

/**
 * What shows that a log broke its promise, in one file that needs nothing else: both signed notes, the keys that verify them, and the proof that fails.
 * Of `fork` and `rewritten` the log's own signatures are all it takes; that `rollback`, `unproven` and `foreign` were really served at that time is the
 * word of who saw it.
 */
export interface Evidence {
  format: typeof EVIDENCE_FORMAT;
  kind: Fault;
  explanation: string;
  /** Where the log was read. */
  log: string;
  /** The keys by which the notes were verified; none if nobody was to be believed. */
  keys: LogKey[];
  /** What the log had shown before, and what it showed then. RFC 3339 times. */
  older: { note: string; seen: string };
  newer: { note: string; seen: string };
  /** What was given as a proof of consistency, as hex, and the roots that it leads to. */
  proof?: { hashes: string[]; firstRoot: string | null; secondRoot: string | null };
  /** The tiles that the proof was built from, by SHA-256. */
  objects?: { path: string; sha256: string }[];
}

/** What looking at evidence again came to. */
export interface EvidenceVerdict {
  evidence: Evidence;
  /** Whether the file shows what it says. */
  holds: boolean;
  /** Why, or why not. */
  reason: string;
  /** Who signed the notes: somebody believed, the keys that the file itself names, or nobody is known to have. */
  signatures: 'trusted' | 'own keys' | 'not verified';
}

export const EVIDENCE_FORMAT = 'chancery-log-evidence/v1';
/** Bytes of a file of evidence that are read at most. */
export const MAX_EVIDENCE_BYTES = 1 << 20;
const MAX_LIST = 256;

/** Makes evidence of two heads that cannot both be right. */
export function makeEvidence(given: {
  kind: Fault;
  explanation: string;
  log: string;
  older: { head: LogHead; seen: Date };
  newer: { head: LogHead; seen: Date };
  proof?: FailedProof;
}): Evidence {
  const { kind, explanation, log, older, newer, proof } = given;
  const keys: LogKey[] = [];
  for (const { signedBy } of [older.head, newer.head]) {
    if (signedBy === undefined || keys.some(({ verifierKey }) => verifierKey === signedBy.verifierKey)) continue;
    keys.push({ verifierKey: signedBy.verifierKey, keyId: signedBy.keyId });
  }
  return {
    format: EVIDENCE_FORMAT,
    kind,
    explanation,
    log,
    keys,
    older: { note: older.head.note, seen: older.seen.toISOString() },
    newer: { note: newer.head.note, seen: newer.seen.toISOString() },
    ...(proof && {
      proof: {
        hashes: proof.hashes.map((hash) => encodeHex(hash)),
        firstRoot: proof.firstRoot === undefined ? null : encodeHex(proof.firstRoot),
        secondRoot: proof.secondRoot === undefined ? null : encodeHex(proof.secondRoot),
      },
      objects: proof.objects,
    }),
  };
}

/** Keeps evidence in a folder, under a name that is new each time, and returns the file's path. @throws AuditError `AUDIT_FOLDER` */
export async function keepEvidence(folder: string, evidence: Evidence): Promise<string> {
  await makeFolder(folder);
  const file = join(folder, `evidence-${evidence.kind}-${evidence.newer.seen.replace(/[^0-9TZ]/g, '')}.json`);
  await writeDurably(file, `${JSON.stringify(evidence, null, 2)}\n`);
  return file;
}

/**
 * Looks at evidence again, without the log: verifies the notes' signatures, and whether they and the proof exclude each other as the file says.
 * @throws AuditError `AUDIT_EVIDENCE` if it is none; with trust `AUDIT_SIGNER`, `AUDIT_CHECKPOINT` if others signed
 */
export async function checkEvidence(source: Uint8Array, trust: LogTrust): Promise<EvidenceVerdict> {
  const evidence = parseEvidence(source);
  const isTrusting = trust.trustedRoot !== undefined || trust.logKeys !== undefined;
  const believed: LogTrust = isTrusting
    ? // Keys end; what they signed before they did is still evidence.
      { ...trust, nowMs: Date.parse(evidence.newer.seen) }
    : { nowMs: trust.nowMs, ...(evidence.keys.length > 0 && { logKeys: evidence.keys }) };
  const signatures = isTrusting ? 'trusted' : evidence.keys.length > 0 ? 'own keys' : 'not verified';
  let older: LogHead;
  let newer: LogHead;
  try {
    older = await readCheckpoint(evidence.older.note, believed);
    newer = await readCheckpoint(evidence.newer.note, believed);
  } catch (cause) {
    if (isTrusting) throw cause;
    return { evidence, holds: false, reason: `its notes do not verify: ${reasonOf(cause)}`, signatures };
  }
  const reason = contradiction(evidence, older, newer);
  return reason === undefined
    ? { evidence, holds: false, reason: 'its notes and proof do not exclude each other in this way', signatures }
    : { evidence, holds: true, reason, signatures };
}

/** What the notes themselves show, if it is what the evidence says. */
function contradiction({ kind, proof }: Evidence, older: LogHead, newer: LogHead): string | undefined {
  if (kind === 'foreign') {
    const [was, is] = [claimedSigner(older.note), claimedSigner(newer.note)];
    if (older.origin === newer.origin && was.name === is.name && was.keyId === is.keyId) return undefined;
    return `the older checkpoint is of ${older.origin} (${was.name}+${was.keyId}), the newer of ${newer.origin} (${is.name}+${is.keyId})`;
  }
  if (older.origin !== newer.origin) return undefined;
  const isSameSize = older.size === newer.size;
  const roots = `${encodeHex(older.rootHash)} and ${encodeHex(newer.rootHash)}`;
  switch (kind) {
    case 'fork':
      return isSameSize && encodeHex(older.rootHash) !== encodeHex(newer.rootHash)
        ? `both are for size ${older.size}, with roots ${roots}`
        : undefined;
    case 'rollback':
      return newer.size < older.size ? `size ${older.size} came before size ${newer.size}` : undefined;
    case 'rewritten':
    case 'unproven': {
      if (proof === undefined || newer.size <= older.size || older.size === 0n) {
        return kind === 'rewritten' && older.size === 0n ? 'the root of the empty log is wrong' : undefined;
      }
      const hashes = proof.hashes.map((hash) => parseHex(hash));
      const again = checkProof(older, newer, { hashes, objects: [] });
      return again.kind === kind ? again.explanation : undefined;
    }
  }
}

/** @throws AuditError `AUDIT_EVIDENCE` */
function parseEvidence(source: Uint8Array): Evidence {
  const malformed = (reason: string, cause?: unknown): AuditError =>
    new AuditError('AUDIT_EVIDENCE', `Cannot read the evidence: ${reason}`, {
      cause,
      cure: 'Give a file that `log consistency` or `log mirror` wrote',
    });
  if (source.length > MAX_EVIDENCE_BYTES) throw malformed(`${source.length} bytes, at most ${MAX_EVIDENCE_BYTES}`);
  let json: JsonValue;
  try {
    json = parseJson(source);
  } catch (cause) {
    throw malformed('it is not JSON', cause);
  }
  const object = (value: JsonValue | undefined, name: string): Record<string, JsonValue> => {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) throw malformed(`${name} is no object`);
    return value;
  };
  const text = (value: JsonValue | undefined, name: string): string => {
    if (typeof value !== 'string') throw malformed(`${name} is no text`);
    return value;
  };
  const list = (value: JsonValue | undefined, name: string): JsonValue[] => {
    if (!Array.isArray(value) || value.length > MAX_LIST) throw malformed(`${name} is no list of at most ${MAX_LIST}`);
    return value;
  };
  const hex = (value: JsonValue | undefined, name: string): string => {
    const hash = text(value, name);
    if (!/^[0-9a-f]{64}$/.test(hash)) throw malformed(`${name} is not 32 bytes in hex`);
    return hash;
  };
  const seen = (value: JsonValue | undefined, name: string): { note: string; seen: string } => {
    const side = object(value, name);
    const time = text(side['seen'], `${name}.seen`);
    if (Number.isNaN(Date.parse(time))) throw malformed(`${name}.seen is no time`);
    return { note: text(side['note'], `${name}.note`), seen: time };
  };
  const file = object(json, 'the file');
  if (file['format'] !== EVIDENCE_FORMAT) throw malformed(`its format is not ${EVIDENCE_FORMAT}`);
  const kind = kinds.find((one) => one === file['kind']);
  if (kind === undefined) throw malformed('its kind is unknown');
  const proof = file['proof'] === undefined ? undefined : object(file['proof'], 'proof');
  const root = (value: JsonValue | undefined, name: string) => (value === null ? null : hex(value, name));
  return {
    format: EVIDENCE_FORMAT,
    kind,
    explanation: text(file['explanation'], 'explanation'),
    log: text(file['log'], 'log'),
    keys: list(file['keys'], 'keys').map((one) => {
      const key = object(one, 'a key');
      const keyId = text(key['keyId'], 'keyId');
      if (!/^[0-9a-f]{8}$/.test(keyId)) throw malformed('a key id is not 4 bytes in hex');
      return { verifierKey: text(key['verifierKey'], 'verifierKey'), keyId };
    }),
    older: seen(file['older'], 'older'),
    newer: seen(file['newer'], 'newer'),
    ...(proof && {
      proof: {
        hashes: list(proof['hashes'], 'hashes').map((hash) => hex(hash, 'a hash')),
        firstRoot: root(proof['firstRoot'], 'firstRoot'),
        secondRoot: root(proof['secondRoot'], 'secondRoot'),
      },
    }),
    ...(file['objects'] !== undefined && {
      objects: list(file['objects'], 'objects').map((one) => {
        const { path, sha256 } = object(one, 'an object');
        return { path: text(path, 'path'), sha256: hex(sha256, 'sha256') };
      }),
    }),
  };
}

const kinds: readonly Fault[] = ['fork', 'rewritten', 'rollback', 'unproven', 'foreign'];
