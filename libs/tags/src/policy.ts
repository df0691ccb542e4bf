import { JsonMessage, type JsonFault } from '#libs/bundle';
import type { PublicKey } from '#libs/crypto';
import { isRepository } from '#libs/oci';
import { identityMatcher, type Matcher } from '#libs/verify';
import { reasonOf, TagError } from './error.js';

/** Somebody who may sign. */
export interface TagSigner {
  /** What counts: two signatures of one name are one. */
  readonly name: string;
  readonly is: SignerIdentity;
  /** The name stands for several people: each identity that matches counts for itself. */
  readonly group: boolean;
  /** Signatures made before or after do not count. A signer who left, or whose account was taken over, gets an end. */
  readonly notBefore: Date | undefined;
  readonly notAfter: Date | undefined;
}

export type SignerIdentity =
  | { readonly kind: 'identity'; readonly san: string | Matcher; readonly issuer: string | Matcher }
  | { readonly kind: 'key'; readonly publicKey: PublicKey };

/** Who may say what tags of some names mean. */
export interface TagRule {
  /** `*` stands for any characters. */
  readonly match: string;
  readonly signers: readonly TagSigner[];
  /** How many of them must. */
  readonly threshold: number;
  /** How long ago a statement may have been made, in milliseconds; its own end counts too. */
  readonly maxAgeMs: number | undefined;
}

/** What is demanded of one repository. */
export interface TagPolicy {
  /** Who may sign the snapshot; one of them does. */
  readonly snapshotSigners: readonly TagSigner[];
  readonly snapshotMaxAgeMs: number | undefined;
  /** The first whose pattern fits is the one that counts, whoever could sign by a later one. */
  readonly rules: readonly TagRule[];
}

const MAX_SIGNERS = 256;
const MAX_REPOSITORIES = 1024;
const MAX_RULES = 256;
const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The policy that one signer may say everything. */
export function policyOfOne(is: SignerIdentity, maxAgeMs?: number): TagPolicy {
  const signer: TagSigner = { name: 'the given signer', is, group: false, notBefore: undefined, notAfter: undefined };
  return {
    snapshotSigners: [signer],
    snapshotMaxAgeMs: maxAgeMs,
    rules: [{ match: '*', signers: [signer], threshold: 1, maxAgeMs: undefined }],
  };
}

/**
 * The rule for a tag.
 * @throws TagError `TAGS_POLICY` if there is none
 */
export function ruleFor(policy: TagPolicy, tag: string): TagRule {
  const rule = policy.rules.find(({ match }) => fits(match, tag));
  if (rule !== undefined) return rule;
  throw new TagError('TAGS_POLICY', `Cannot judge tag ${tag}: the policy has no rule for it`, {
    cure: 'Add a rule to the policy, or a last one that matches *',
  });
}

/** Whether a name fits a pattern with `*`. Linear in both: no expression is made of it. */
export function fits(pattern: string, name: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  if (rest.length === 0) return pattern === name;
  if (!name.startsWith(head)) return false;
  const tail = rest.pop() ?? '';
  let at = head.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return name.length - tail.length >= at && name.endsWith(tail);
}

export interface ReadPolicyOptions {
  /** The registry and path, in full. */
  readonly repository: string;
  /** Reads a public key that the policy names. */
  readonly readKey: (name: string) => Promise<PublicKey>;
}

/**
 * What a policy file says about one repository. `value`: what the YAML or JSON says. A field it does not know is an error, and so is a signer
 * that nothing uses or a threshold that its signers cannot reach.
 * @throws TagError `TAGS_POLICY`
 */
export async function readTagPolicy(value: unknown, { repository, readKey }: ReadPolicyOptions): Promise<TagPolicy> {
  const file = new JsonMessage(value, '', unusable).only('format', 'signers', 'repositories');
  if (file.requiredString('format') !== 'chancery-tag-policy/v1') {
    throw file.fault('malformed', 'format', 'is not chancery-tag-policy/v1');
  }
  const signers = await readSigners(file.requiredMessage('signers'), readKey);
  const used = new Set<string>();
  const repositories = file.messages('repositories', MAX_REPOSITORIES).map((one) => {
    one.only('repository', 'snapshot', 'tags');
    return { pattern: repositoryPattern(one), policy: readRepository(one, signers, used) };
  });
  const patterns = repositories.map(({ pattern }) => pattern);
  const twice = patterns.find((pattern, i) => patterns.indexOf(pattern) !== i);
  // The later one would never count, and whoever wrote it would not know.
  if (twice !== undefined) throw file.fault('malformed', 'repositories', `has ${JSON.stringify(twice)} twice`);
  for (const name of signers.keys()) {
    if (!used.has(name)) throw file.fault('malformed', `signers.${name}`, 'is used by no rule');
  }
  // The longest pattern is the most specific one: only a whole name or a path above it can fit.
  const found = repositories
    .filter(({ pattern }) => fitsRepository(pattern, repository))
    .sort((a, b) => b.pattern.length - a.pattern.length)[0];
  if (found === undefined) {
    throw new TagError('TAGS_POLICY', `Cannot judge ${repository}: the policy says nothing about it`, {
      cure: 'Add the repository to the policy',
    });
  }
  return found.policy;
}

function fitsRepository(pattern: string, repository: string): boolean {
  return pattern.endsWith('/*') ? repository.startsWith(pattern.slice(0, -1)) : pattern === repository;
}

function repositoryPattern(one: JsonMessage): string {
  const pattern = one.requiredString('repository', 300);
  const path = (pattern.endsWith('/*') ? pattern.slice(0, -2) : pattern).split('/').slice(1).join('/');
  if (!isRepository(path) && !(path === '' && pattern.endsWith('/*'))) {
    throw one.fault('malformed', 'repository', 'is not registry/path, nor registry/path/*');
  }
  return pattern;
}

function readRepository(one: JsonMessage, signers: ReadonlyMap<string, TagSigner>, used: Set<string>): TagPolicy {
  const snapshot = one.requiredMessage('snapshot').only('signers', 'maxAge');
  const rules = one.messages('tags', MAX_RULES).map((rule) => {
    rule.only('match', 'signers', 'threshold', 'maxAge');
    const named = namedSigners(rule, signers, used);
    const threshold = rule.has('threshold') ? rule.uint32('threshold') : 1;
    if (threshold < 1) throw rule.fault('malformed', 'threshold', 'must be at least 1');
    if (threshold > named.length && !named.some(({ group }) => group)) {
      throw rule.fault('malformed', 'threshold', `is ${threshold}, of ${named.length} signers`);
    }
    return { match: rule.requiredString('match', 128), signers: named, threshold, maxAgeMs: age(rule) };
  });
  if (rules.length === 0) throw one.fault('malformed', 'tags', 'has no rule');
  return { snapshotSigners: namedSigners(snapshot, signers, used), snapshotMaxAgeMs: age(snapshot), rules };
}

function namedSigners(rule: JsonMessage, signers: ReadonlyMap<string, TagSigner>, used: Set<string>): TagSigner[] {
  const names = rule.fields['signers'];
  if (!Array.isArray(names) || names.length === 0) throw rule.fault('malformed', 'signers', 'must be a list of names');
  if (new Set(names).size !== names.length) throw rule.fault('malformed', 'signers', 'names somebody twice');
  return names.map((name: unknown) => {
    const signer = typeof name === 'string' ? signers.get(name) : undefined;
    if (signer === undefined) throw rule.fault('malformed', 'signers', 'names somebody who is not among the signers');
    used.add(signer.name);
    return signer;
  });
}

async function readSigners(
  all: JsonMessage,
  readKey: ReadPolicyOptions['readKey'],
): Promise<ReadonlyMap<string, TagSigner>> {
  const names = Object.keys(all.fields);
  if (names.length > MAX_SIGNERS) throw unusable('limit', `signers has more than ${MAX_SIGNERS} names`);
  const signers = new Map<string, TagSigner>();
  for (const name of names) {
    const one = all
      .requiredMessage(name)
      .only('identity', 'identityRegexp', 'issuer', 'issuerRegexp', 'key', 'group', 'notBefore', 'notAfter');
    const group = one.fields['group'] ?? false;
    if (typeof group !== 'boolean') throw one.fault('malformed', 'group', 'must be true or false');
    signers.set(name, {
      name,
      is: await readIdentity(one, readKey),
      group,
      notBefore: one.time('notBefore'),
      notAfter: one.time('notAfter'),
    });
  }
  return signers;
}

async function readIdentity(one: JsonMessage, readKey: ReadPolicyOptions['readKey']): Promise<SignerIdentity> {
  const by = one.oneOf('identity', 'identityRegexp', 'key');
  if (by === undefined) throw one.fault('malformed', 'identity', 'is missing, and so are identityRegexp and key');
  if (by === 'key') {
    if (one.oneOf('key', 'issuer', 'issuerRegexp') !== 'key')
      throw one.fault('malformed', 'issuer', 'goes with no key');
    try {
      return { kind: 'key', publicKey: await readKey(one.requiredString('key', 16_384)) };
    } catch (cause) {
      throw new TagError('TAGS_POLICY', `Cannot use the policy: ${reasonOf(cause)}`, { cause });
    }
  }
  const issuer = one.oneOf('issuer', 'issuerRegexp');
  if (issuer === undefined) throw one.fault('malformed', 'issuer', 'is missing: any issuer can write any name');
  return { kind: 'identity', san: await matcher(one, by), issuer: await matcher(one, issuer) };
}

async function matcher(one: JsonMessage, name: string): Promise<string | Matcher> {
  const text = one.requiredString(name);
  if (!name.endsWith('Regexp')) return text;
  try {
    return await identityMatcher(text);
  } catch (cause) {
    throw new TagError('TAGS_POLICY', `Cannot use the policy: ${reasonOf(cause)}`, { cause });
  }
}

/** `90s`, `15m`, `36h`, `14d` in milliseconds; undefined for other text. */
export function parseAge(text: string): number | undefined {
  const [, count = '', unit = ''] = /^([1-9]\d{0,5})([smhd])$/.exec(text) ?? [];
  const factor = UNITS[unit];
  return factor === undefined ? undefined : Number(count) * factor;
}

function age(message: JsonMessage): number | undefined {
  if (!message.has('maxAge')) return undefined;
  const ms = parseAge(message.requiredString('maxAge'));
  if (ms === undefined) throw message.fault('malformed', 'maxAge', 'is not a time such as 36h or 14d');
  return ms;
}

function unusable(_fault: JsonFault, problem: string): TagError {
  return new TagError('TAGS_POLICY', `Cannot use the policy: ${problem}`, {
    cure: 'The format is in docs/trusted-tags.md',
  });
}
