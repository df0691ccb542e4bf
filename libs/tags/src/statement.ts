import { BundleError, JsonMessage, parseStatement, type JsonFault } from '#libs/bundle';
import { canonicalizeJson, encodeUtf8, equalBytes, parseJson } from '#libs/encoding';
import { digestOf, isDigest, isTag, splitDigest, type Digest } from '#libs/oci';
import { TagError } from './error.js';

/** What a statement about one tag is, among in-toto predicates. */
export const TAG_PREDICATE_TYPE = 'urn:chancery:trusted-tag:v1';
/** What a statement about all tags of a repository is. */
export const SNAPSHOT_PREDICATE_TYPE = 'urn:chancery:trusted-tags-snapshot:v1';

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
/** With one signature each they fit in a manifest twice over. */
export const MAX_TAGS = 2000;
const MAX_MERGED = 16;
const MAX_THRESHOLD = 32;
const MAX_REASON = 500;
const MAX_PAYLOAD_BYTES = 2 * 1024 * 1024;

/** "In this repository this tag means this digest, from then until then": version `version` of it. */
export interface TagStatement {
  /** In full: `registry.example.com/ns/app`. */
  readonly repository: string;
  readonly tag: string;
  /** `revoked`: the tag means nothing any more; the digest is what it meant last. */
  readonly state: 'current' | 'revoked';
  readonly digest: Digest;
  readonly mediaType: string;
  /** Of the manifest, in bytes. */
  readonly size: number;
  /** From 1, one more each time. */
  readonly version: number;
  /** SHA-256 of the statement with the version before; undefined for version 1. */
  readonly previous: Digest | undefined;
  /** When it was made; whole seconds, as all times here. */
  readonly issued: Date;
  /** It holds from here to there, both included. */
  readonly from: Date;
  readonly until: Date;
  /** How many signers its author wanted it to have. A policy may want more, never fewer. */
  readonly threshold: number;
  /** Why it was revoked, in a sentence. */
  readonly reason: string | undefined;
}

/** Another snapshot, by the digest of its statement. */
export interface SnapshotId {
  readonly version: number;
  readonly statement: Digest;
}

/** One tag in a snapshot. */
export interface SnapshotEntry {
  readonly tag: string;
  readonly state: TagStatement['state'];
  readonly version: number;
  /** SHA-256 of the tag's statement. */
  readonly statement: Digest;
  readonly digest: Digest;
}

/** All tags of a repository at one moment, revoked ones too. What is not in it is not a tag. */
export interface SnapshotStatement {
  readonly repository: string;
  /** From 1; more than that of every snapshot it follows. */
  readonly version: number;
  /** What it was made from; undefined for the first. */
  readonly previous: SnapshotId | undefined;
  /** Made at the same time by others, and taken up. */
  readonly merged: readonly SnapshotId[];
  readonly issued: Date;
  readonly until: Date;
  /** Sorted by name. */
  readonly tags: readonly SnapshotEntry[];
}

/** A statement and the bytes that are signed. */
export interface Written<Value> {
  readonly value: Value;
  readonly payload: Uint8Array;
  /** SHA-256 of the payload: how other statements name it. */
  readonly id: Digest;
  /** The subject that its in-toto statement has. */
  readonly subject: Digest;
}

/** Writes a statement about a tag: in-toto, in canonical JSON (RFC 8785). */
export function encodeTagStatement(value: TagStatement): Written<TagStatement> {
  const { repository, tag, digest, previous, reason, issued, from, until, ...rest } = value;
  const predicate = {
    ...rest,
    repository,
    tag,
    digest,
    ...(previous !== undefined && { previous }),
    ...(reason !== undefined && { reason }),
    issued: instant(issued),
    from: instant(from),
    until: instant(until),
  };
  return write(value, digest, `${repository}:${tag}`, TAG_PREDICATE_TYPE, predicate);
}

/** Writes a snapshot. Its in-toto subject is the list of tags: the SHA-256 of that list in canonical JSON. */
export function encodeSnapshot(value: SnapshotStatement): Written<SnapshotStatement> {
  const { repository, version, previous, merged, issued, until, tags } = value;
  const predicate = {
    repository,
    version,
    ...(previous !== undefined && { previous }),
    merged,
    issued: instant(issued),
    until: instant(until),
    tags,
  };
  const subject = digestOf(encodeUtf8(canonicalizeJson(tags)));
  return write(value, subject, repository, SNAPSHOT_PREDICATE_TYPE, predicate);
}

function write<Value>(
  value: Value,
  subject: Digest,
  name: string,
  predicateType: string,
  predicate: object,
): Written<Value> {
  const { algorithm, hex } = splitDigest(subject);
  const statement = {
    _type: STATEMENT_TYPE,
    subject: [{ name, digest: { [algorithm]: hex } }],
    predicateType,
    predicate,
  };
  const payload = encodeUtf8(canonicalizeJson(statement));
  return { value, payload, id: digestOf(payload), subject };
}

/**
 * Reads a statement about a tag. There is one spelling: what {@link encodeTagStatement} writes.
 * @throws TagError `TAGS_MALFORMED`
 */
export function parseTagStatement(payload: Uint8Array): Written<TagStatement> {
  const read = readPredicate(payload, TAG_PREDICATE_TYPE, 'tag statement').only(
    ...['repository', 'tag', 'state', 'digest', 'mediaType', 'size', 'version', 'previous', 'issued', 'from', 'until'],
    ...['threshold', 'reason'],
  );
  const state = read.requiredString('state');
  if (state !== 'current' && state !== 'revoked') throw read.fault('malformed', 'state', 'is not current or revoked');
  const threshold = positive(read, 'threshold');
  if (threshold > MAX_THRESHOLD) throw read.fault('malformed', 'threshold', `is more than ${MAX_THRESHOLD}`);
  const reason = read.string('reason', MAX_REASON);
  const value: TagStatement = {
    repository: read.requiredString('repository', 300),
    tag: tagName(read),
    state,
    digest: digest(read, 'digest'),
    mediaType: read.requiredString('mediaType', 255),
    size: positive(read, 'size'),
    version: positive(read, 'version'),
    previous: read.has('previous') ? digest(read, 'previous') : undefined,
    issued: time(read, 'issued'),
    from: time(read, 'from'),
    until: time(read, 'until'),
    threshold,
    reason: reason === '' ? undefined : reason,
  };
  if ((value.version === 1) !== (value.previous === undefined)) {
    throw read.fault('malformed', 'previous', 'must be there in all versions but the first');
  }
  return sameSpelling(payload, encodeTagStatement(value), 'tag statement');
}

/**
 * Reads a snapshot. There is one spelling: what {@link encodeSnapshot} writes.
 * @throws TagError `TAGS_MALFORMED`
 */
export function parseSnapshot(payload: Uint8Array): Written<SnapshotStatement> {
  const read = readPredicate(payload, SNAPSHOT_PREDICATE_TYPE, 'snapshot').only(
    ...['repository', 'version', 'previous', 'merged', 'issued', 'until', 'tags'],
  );
  const previous = read.message('previous');
  const value: SnapshotStatement = {
    repository: read.requiredString('repository', 300),
    version: positive(read, 'version'),
    previous: previous && snapshotId(previous),
    merged: read.messages('merged', MAX_MERGED).map(snapshotId),
    issued: time(read, 'issued'),
    until: time(read, 'until'),
    tags: read.messages('tags', MAX_TAGS).map(readEntry),
  };
  for (const { version } of [...(value.previous ? [value.previous] : []), ...value.merged]) {
    if (version >= value.version) throw read.fault('malformed', 'version', 'is not above those that it follows');
  }
  value.tags.forEach(({ tag }, i) => {
    if (i > 0 && (value.tags[i - 1]?.tag ?? '') >= tag)
      throw read.fault('malformed', 'tags', 'are not sorted, or repeat');
  });
  return sameSpelling(payload, encodeSnapshot(value), 'snapshot');
}

function readEntry(entry: JsonMessage): SnapshotEntry {
  entry.only('tag', 'state', 'version', 'statement', 'digest');
  const state = entry.requiredString('state');
  if (state !== 'current' && state !== 'revoked') throw entry.fault('malformed', 'state', 'is not current or revoked');
  return {
    tag: tagName(entry),
    state,
    version: positive(entry, 'version'),
    statement: digest(entry, 'statement'),
    digest: digest(entry, 'digest'),
  };
}

function snapshotId(message: JsonMessage): SnapshotId {
  message.only('version', 'statement');
  return { version: positive(message, 'version'), statement: digest(message, 'statement') };
}

function readPredicate(payload: Uint8Array, predicateType: string, what: string): JsonMessage {
  const refuse = (_fault: JsonFault, problem: string) => malformed(what, problem);
  if (payload.length > MAX_PAYLOAD_BYTES) throw malformed(what, `it has more than ${MAX_PAYLOAD_BYTES} bytes`);
  try {
    // Through the general reader first: what it refuses, no verifier of in-toto statements would accept.
    const statement = parseStatement(payload);
    if (statement.predicateType !== predicateType) throw malformed(what, `its predicateType is not ${predicateType}`);
    const json = new JsonMessage(parseJson(payload), '', refuse);
    return json.requiredMessage('predicate');
  } catch (cause) {
    if (cause instanceof TagError) throw cause;
    if (cause instanceof BundleError) throw malformed(what, 'it is no in-toto statement', cause);
    throw cause;
  }
}

/** Two spellings of one statement would be two digests, and so two versions of one. */
function sameSpelling<Value>(payload: Uint8Array, written: Written<Value>, what: string): Written<Value> {
  if (!equalBytes(payload, written.payload)) throw malformed(what, 'it is not in its canonical form');
  return written;
}

function tagName(read: JsonMessage): string {
  const tag = read.requiredString('tag', 128);
  if (!isTag(tag)) throw read.fault('malformed', 'tag', 'is not a tag');
  return tag;
}

function digest(read: JsonMessage, name: string): Digest {
  const text = read.requiredString(name, 135);
  if (!isDigest(text)) throw read.fault('malformed', name, 'is not a digest');
  return text;
}

function positive(read: JsonMessage, name: string): number {
  const value = read.count64(name);
  if (value < 1n || value > BigInt(Number.MAX_SAFE_INTEGER))
    throw read.fault('malformed', name, 'is not from 1 to 2^53 - 1');
  return Number(value);
}

function time(read: JsonMessage, name: string): Date {
  const value = read.time(name);
  if (value === undefined) throw read.fault('malformed', name, 'is missing');
  return value;
}

/** RFC 3339 in UTC, without fractions. */
export function instant(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

/** The same instant in whole seconds, as statements have it. */
export function wholeSeconds(ms: number): Date {
  return new Date(Math.floor(ms / 1000) * 1000);
}

function malformed(what: string, state: string, cause?: unknown): TagError {
  return new TagError('TAGS_MALFORMED', `Cannot read the ${what}: ${state}`, { cause });
}
