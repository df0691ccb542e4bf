import { z } from 'zod';
import { parseHex } from '#libs/encoding';
import { prefixedKey } from './certificate-facts.js';
import { readDigest } from './digest-key.js';
import { SearchError } from './error.js';
import type { EntryFacts, RecordFacts, Signer } from './facts.js';

/** The trees of a log, by the names they have in answers. */
export const treeNames = ['ct', 'v1', 'v2'] as const;
export type TreeName = (typeof treeNames)[number];

const digits64 = /^[0-9a-fA-F]{64}$/;
const text = (description: string) => z.string().min(1).max(2048).describe(description);
const fingerprintOf = (what: string) =>
  z.string().regex(digits64, 'must be 64 hex digits').describe(`SHA-256 of ${what}, 64 hex digits`);
const digestForm = 'must be <algorithm>:<hex>, or hex of 40, 64, 96 or 128 digits';
const digest = (description: string) =>
  z
    .string()
    .regex(/^(?:[A-Za-z0-9_]{1,32}:)?(?:[0-9a-fA-F]{2}){1,64}$/, { error: digestForm, abort: true })
    .refine((value) => readDigest(value) !== undefined, digestForm)
    .describe(description);
const time = (description: string) =>
  z.iso
    .datetime({ offset: true, error: 'must be a date and time of RFC 3339, such as 2026-01-31T12:00:00Z' })
    .describe(description);

/**
 * The parameters of a search. All that are given must hold; those about a signer must hold of one and the same certificate or key. Case never
 * counts. This schema validates, and describes the parameters in the OpenAPI document.
 */
export const searchParameters = z.strictObject({
  email: text('E-mail address that a certificate, or a key of OpenPGP, names').optional(),
  uri: text('URI that a certificate names, such as that of a workflow').optional(),
  san: text(
    'Any subject alternative name of a certificate: e-mail address, URI, host name, IP address, user name',
  ).optional(),
  issuer: text('OIDC issuer that a certificate states (extension 1.3.6.1.4.1.57264.1.8 or .1)').optional(),
  digest: digest(
    'Digest of what was signed, of an attestation, its envelope, subjects or materials: sha256:<hex> or bare hex',
  ).optional(),
  key: fingerprintOf('a public key (DER SubjectPublicKeyInfo)').optional(),
  certificate: fingerprintOf('a certificate (DER)').optional(),
  subject: digest(
    'Digest of a subject or material of an attestation that the log was shown: sha256:<hex> or bare hex',
  ).optional(),
  repository: text(
    'Source repository that a certificate states: the URI (.12), or owner/name in old certificates (.5)',
  ).optional(),
  workflow: text(
    'Workflow that a certificate states: build signer URI (.9), build config URI (.18), or the name in old certificates (.4)',
  ).optional(),
  logIndex: z
    .string()
    .regex(/^(0|[1-9][0-9]{0,17})$/, 'must be a decimal number below 10^18')
    .describe('Index in its tree; each tree counts from 0')
    .optional(),
  uuid: z
    .string()
    .regex(/^(?:[0-9a-fA-F]{16})?[0-9a-fA-F]{64}$/, 'must be 64 or 80 hex digits')
    .describe('Leaf hash, 64 hex digits; or an entry ID of Rekor v1, 80 hex digits')
    .optional(),
  after: time('Integrated at this time or later').optional(),
  before: time('Integrated before this time').optional(),
  tree: z.enum(treeNames).describe('Only this tree: v1 and v2 of the log, or the log of certificates').optional(),
  limit: z
    .string()
    .regex(/^(?:[1-9][0-9]?|100)$/, 'must be a number of 1 to 100')
    .describe('Entries of a page, at most; 20 if not given')
    .optional(),
  cursor: z
    .string()
    .min(1)
    .max(1024)
    .describe('What the page before gave as `next`; the other parameters as they were')
    .optional(),
});

/** One thing that must hold of a signer. */
interface SignerCondition {
  /** The index has the entry under this text if it holds. */
  readonly key: string;
  readonly holds: (signer: Signer) => boolean;
}

/** One thing that must hold of an entry. */
interface EntryCondition {
  readonly key: string;
  readonly holds: (facts: EntryFacts) => boolean;
}

/** A query that makes sense. */
export interface SearchQuery {
  readonly signer: readonly SignerCondition[];
  readonly entry: readonly EntryCondition[];
  readonly logIndex?: bigint;
  /** 32 bytes */
  readonly leafHash?: Uint8Array;
  /** The whole of `uuid` in lower case, if it was an entry ID of Rekor v1. */
  readonly entryId?: string;
  /** Milliseconds since 1970: from this one on. */
  readonly afterMs?: bigint;
  /** Up to the one before this. */
  readonly beforeMs?: bigint;
  readonly tree?: TreeName;
  readonly limit: number;
  readonly cursor?: string;
  /** All that decides which entries are found, as one text: a cursor belongs to it. */
  readonly identity: string;
}

/** Of the parameters that are wrong, so many are named. */
const MAX_PROBLEMS = 5;
/** How many entries a page has if nobody says. */
const DEFAULT_LIMIT = 20;

/**
 * Reads the parameters of a search, as they stand in a URL.
 * @throws SearchError `SEARCH_QUERY`, naming the first parameters that are wrong; also if there is nothing to search for
 */
export function parseSearchQuery(params: Readonly<Record<string, unknown>>): SearchQuery {
  const parsed = searchParameters.safeParse(params);
  if (!parsed.success) throw invalid(listed(parsed.error.issues.flatMap(describeIssue)));
  const { limit, cursor, ...given } = parsed.data;
  if (Object.keys(given).length === 0) {
    throw invalid('no parameter is given; to list everything, newest first, name a tree or a range of time');
  }
  const afterMs = given.after === undefined ? undefined : instant(given.after);
  const beforeMs = given.before === undefined ? undefined : instant(given.before);
  if (afterMs !== undefined && beforeMs !== undefined && afterMs >= beforeMs) {
    throw invalid('after must be earlier than before');
  }
  return {
    signer: signerConditions(given),
    entry: entryConditions(given),
    ...(given.logIndex !== undefined && { logIndex: BigInt(given.logIndex) }),
    ...(given.uuid !== undefined && { leafHash: parseHex(given.uuid.slice(-64)) }),
    ...(given.uuid?.length === 80 && { entryId: given.uuid.toLowerCase() }),
    ...(afterMs !== undefined && { afterMs }),
    ...(beforeMs !== undefined && { beforeMs }),
    ...(given.tree !== undefined && { tree: given.tree }),
    limit: limit === undefined ? DEFAULT_LIMIT : Number(limit),
    ...(cursor !== undefined && { cursor }),
    identity: JSON.stringify(Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** Whether an entry is what was searched for, but for its place in the tree, its leaf hash and its time. */
export function matches(facts: EntryFacts, query: Pick<SearchQuery, 'signer' | 'entry'>): boolean {
  return (
    query.entry.every(({ holds }) => holds(facts)) &&
    (query.signer.length === 0 || facts.signers.some((signer) => query.signer.every(({ holds }) => holds(signer))))
  );
}

/** Whether the time of an entry is one that was asked for. */
export function inTime(
  { timestampMs }: Pick<RecordFacts, 'timestampMs'>,
  query: Pick<SearchQuery, 'afterMs' | 'beforeMs'>,
): boolean {
  const { afterMs, beforeMs } = query;
  return (afterMs === undefined || timestampMs >= afterMs) && (beforeMs === undefined || timestampMs < beforeMs);
}

type Given = z.infer<typeof searchParameters>;

/** In the order of how few entries each is likely to leave, because the index goes through those of the first. */
function signerConditions(given: Given): SignerCondition[] {
  const conditions: SignerCondition[] = [];
  const named = (value: string | undefined, kinds?: readonly string[]): void => {
    if (value === undefined) return;
    const key = value.toLowerCase();
    const holds = ({ identities = [] }: Signer): boolean =>
      identities.some((one) => (kinds?.includes(one.kind) ?? true) && one.value.toLowerCase() === key);
    conditions.push({ key, holds });
  };
  const stated = (
    prefix: 'issuer' | 'repository' | 'workflow' | 'key' | 'certificate',
    valuesOf: (signer: Signer) => readonly (string | undefined)[],
  ): void => {
    const value = given[prefix]?.toLowerCase();
    if (value === undefined) return;
    const holds = (signer: Signer): boolean => valuesOf(signer).some((one) => one?.toLowerCase() === value);
    conditions.push({ key: prefixedKey(prefix, value), holds });
  };
  stated('certificate', ({ certificateFingerprint }) => [certificateFingerprint]);
  stated('key', ({ keyFingerprint }) => [keyFingerprint]);
  named(given.email, ['email']);
  named(given.uri, ['uri']);
  named(given.san);
  stated('workflow', ({ workflows = [] }) => workflows);
  stated('repository', ({ repositories = [] }) => repositories);
  stated('issuer', ({ issuers = [] }) => issuers);
  return conditions;
}

function entryConditions(given: Given): EntryCondition[] {
  const conditions: EntryCondition[] = [];
  const has = (value: string | undefined, digestsOf: (facts: EntryFacts) => readonly string[]): void => {
    const key = value === undefined ? undefined : readDigest(value);
    if (key !== undefined) conditions.push({ key, holds: (facts) => digestsOf(facts).includes(key) });
  };
  has(given.subject, ({ subjects }) => subjects);
  has(given.digest, ({ digests, subjects }) => [...digests, ...subjects]);
  return conditions;
}

/** The first millisecond that is not before a time of RFC 3339: entries know no finer ones, so for both bounds it is the same as the time. */
function instant(value: string): bigint {
  const finer = /\.\d{3}\d*[1-9]/.test(value);
  return BigInt(Date.parse(value)) + (finer ? 1n : 0n);
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  if (issue.code === 'unrecognized_keys') return issue.keys.map((name) => `${name.slice(0, 40)} is not a parameter`);
  const name = String(issue.path[0]);
  if (issue.code === 'invalid_type') return [`${name} must be given once`];
  return [`${name}: ${issue.message}`];
}

/** What is wrong, as far as anybody reads: an answer should not be many times the question. */
function listed(problems: readonly string[]): string {
  const shown = problems.slice(0, MAX_PROBLEMS);
  const more = problems.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}

function invalid(state: string): SearchError {
  return new SearchError('SEARCH_QUERY', `Cannot search: ${state}`);
}
