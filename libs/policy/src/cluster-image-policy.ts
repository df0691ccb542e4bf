import { matchesKey, parsePublicKey, signatureAlgorithms, type PublicKey } from '#libs/crypto';
import { parsePem } from '#libs/encoding';
import { predicateTypeUri } from '#libs/image';
import { parseReference, type Reference } from '#libs/oci';
import type { TrustedRoot } from '#libs/trust';
import { readContentRule, type ContentRule } from './content-rule.js';
import { reasonOf } from './error.js';
import { compileGlob, type Glob } from './glob.js';
import { compilePattern, type IdentityRule, type Text } from './identity.js';
import { readMatch, type ResourceMatch } from './resource.js';
import type { Section } from './section.js';
import { composeTrust, isFault, type TrustNeeds } from './trust-roots.js';

/** What a deployment demands of some images. */
export interface ImagePolicy {
  readonly name: string;
  /** Where it begins in its file, from 1. */
  readonly line: number;
  /** `warn`: a failure is told, and hinders nothing. */
  readonly mode: 'enforce' | 'warn';
  /** Whose images: at least one. */
  readonly images: readonly Glob[];
  /** For which objects; empty means all. */
  readonly match: readonly ResourceMatch[];
  /** At least one; any of them suffices. */
  readonly authorities: readonly Authority[];
  /** Over the outcome of all authorities, once one has passed. */
  readonly policy?: ContentRule;
}

/** Who may vouch for an image. */
export type Authority = StaticAuthority | SigningAuthority;

/** An answer without a look at the image. */
export interface StaticAuthority {
  readonly kind: 'static';
  readonly name: string;
  readonly action: 'pass' | 'fail';
  readonly message?: string;
}

/** Someone who signs: with identities that a certificate authority vouches for, or with a key. */
export interface SigningAuthority {
  readonly kind: 'keyless' | 'key';
  readonly name: string;
  /** Of `keyless`: at least one, any of them. */
  readonly identities: readonly IdentityRule[];
  /** Of `key`: at least one, any of them. */
  readonly keys: readonly PublicKey[];
  /** Bundles beside the image, or the tags of cosign before version 3. */
  readonly layout: 'bundle' | 'legacy';
  /** The repository with the signatures, where it is not the image's own. */
  readonly source?: Reference;
  /** Whether a timestamp authority must have confirmed the time. */
  readonly timestamp: boolean;
  /** If there are any, all of them are demanded, and no signature. */
  readonly attestations: readonly AttestationRule[];
  /** Whose signatures, logs and timestamps count. */
  readonly trustedRoot: TrustedRoot;
}

/** A statement that must be there. */
export interface AttestationRule {
  readonly name: string;
  /** URI. */
  readonly predicateType: string;
  readonly policy?: ContentRule;
}

/** Trust roots by name, and the one for authorities that name none. */
export interface TrustRoots {
  readonly byName: ReadonlyMap<string, TrustedRoot>;
  readonly default?: TrustedRoot | undefined;
}

const MAX_IMAGES = 1024;
const MAX_AUTHORITIES = 64;
const MAX_IDENTITIES = 64;
const MAX_ATTESTATIONS = 32;
const MAX_MATCHES = 64;
const MAX_KEYS = 16;
const MAX_PEM = 64 * 1024;
const inlineKey = 'Put the public key, PEM, into data';

/**
 * Reads the `spec` of a ClusterImagePolicy, v1alpha1 or v1beta1. Every field is either honoured or refused; the reader notes problems in the section and
 * gives undefined if there are any.
 * @see policy-controller: pkg/apis/policy/v1beta1/clusterimagepolicy_types.go
 */
export async function readImagePolicy(
  name: string,
  spec: Section,
  roots: TrustRoots,
): Promise<ImagePolicy | undefined> {
  const before = spec.problems.count;
  const images = spec.sections('images', MAX_IMAGES).flatMap(readGlob);
  const mode = spec.has('mode') ? spec.choice('mode', ['enforce', 'warn'] as const) : 'enforce';
  const match = spec.sections('match', MAX_MATCHES).map(readMatch);
  const authorities: Authority[] = [];
  const sections = spec.sections('authorities', MAX_AUTHORITIES);
  for (const [i, section] of sections.entries()) {
    const authority = await readAuthority(section, i, roots);
    if (authority !== undefined) authorities.push(authority);
  }
  const rule = spec.section('policy');
  const policy = rule && (await readContentRule(rule, 'policy'));
  spec.end();
  if (images.length === 0 && spec.problems.count === before) spec.fault(undefined, 'images is missing or empty');
  if (sections.length === 0 && spec.problems.count === before) {
    // Upstream has a switch to allow it, and then nothing can ever pass.
    spec.fault(undefined, 'authorities is missing or empty', 'Name who may vouch for these images');
  }
  const twice = authorities.find((one, i) => authorities.findIndex((other) => other.name === one.name) !== i);
  if (twice !== undefined) spec.fault('authorities', `two authorities have the name ${twice.name}`);
  if (spec.problems.count > before || mode === undefined) return undefined;
  return { name, line: spec.line, mode, images, match, authorities, ...(policy !== undefined && { policy }) };
}

function readGlob(image: Section): Glob[] {
  const text = image.requiredText('glob');
  image.end();
  if (text === undefined) return [];
  return attempt(image, 'glob', () => [compileGlob(text)]) ?? [];
}

async function readAuthority(authority: Section, index: number, roots: TrustRoots): Promise<Authority | undefined> {
  const before = authority.problems.count;
  const name = authority.has('name') ? authority.text('name', 253) : `authority-${index}`;
  const kinds = (['key', 'keyless', 'static'] as const).filter((kind) => authority.has(kind));
  const [kind] = kinds;
  if (kind === undefined) authority.fault(undefined, 'one of key, keyless and static is missing');
  else if (kinds.length > 1)
    authority.fault(
      undefined,
      `${kinds.join(' and ')} exclude each other`,
      'Make them two authorities: either suffices',
    );
  if (name === undefined || kind === undefined || kinds.length > 1) return undefined;

  if (kind === 'static') {
    const answer = readStatic(authority, name);
    authority.end();
    return authority.problems.count > before ? undefined : answer;
  }
  const keyless = kind === 'keyless' ? authority.section('keyless') : undefined;
  const key = kind === 'key' ? authority.section('key') : undefined;
  const identities = keyless === undefined ? [] : await readIdentities(keyless);
  const keys = key === undefined ? [] : readKeys(key);
  const needs: TrustNeeds = { kind, ...readKeylessTrust(keyless), ...readServices(authority) };
  const source = readSource(authority);
  const layout = authority.has('signatureFormat')
    ? authority.choice('signatureFormat', ['legacy', 'bundle'] as const)
    : 'legacy';
  const attestations = await readAttestations(authority);
  authority.end();
  if (keys.length > 1 && attestations.length > 0) {
    authority.fault(
      'key',
      'several keys with attestations are not supported: upstream asks each attestation of every key',
      'Make one authority for each key',
    );
  }
  if (layout === 'legacy' && attestations.length > 0 && needs.rfc3161timestamp !== undefined) {
    authority.fault(
      'rfc3161timestamp',
      'is not supported for attestations in the legacy layout, where the timestamp is not over the signature',
      'Attest in the bundle layout, and set signatureFormat: bundle',
    );
  }
  if (layout === 'bundle' && keyless !== undefined) checkOneRoot(authority, needs);
  if (authority.problems.count > before || layout === undefined) return undefined;
  const trustedRoot = composeTrust(needs, roots.byName, roots.default);
  if (isFault(trustedRoot)) {
    const { field, message, cure } = trustedRoot;
    const section = field === 'trustRootRef' || field === 'url' ? (keyless ?? authority) : authority;
    section.fault(section.has(field) ? field : undefined, message, cure, 'POLICY_TRUST');
    return undefined;
  }
  const timestamp = needs.rfc3161timestamp !== undefined;
  return { kind, name, identities, keys, layout, timestamp, attestations, trustedRoot, ...(source && { source }) };
}

function readStatic(authority: Section, name: string): StaticAuthority | undefined {
  const section = authority.section('static');
  section?.requiredText('action');
  const action = section?.choice('action', ['pass', 'fail'] as const);
  const message = section?.text('message');
  section?.end();
  for (const field of ['attestations', 'source', 'ctlog', 'rfc3161timestamp', 'signatureFormat']) {
    authority.refused(field, 'static looks at no signature', 'Leave it out, or make it a keyless or key authority');
  }
  return action && { kind: 'static', name, action, ...(message !== undefined && { message }) };
}

function readKeylessTrust(keyless: Section | undefined): Pick<TrustNeeds, 'url' | 'trustRootRef'> {
  if (keyless === undefined) return {};
  const url = keyless.url('url');
  keyless.refused(
    'ca-cert',
    'a certificate authority alone vouches for no log',
    'Write a TrustRoot with sigstoreKeys, and name it as trustRootRef',
  );
  keyless.refusedIfTrue(
    'insecureIgnoreSCT',
    'every certificate must be in a CT log',
    'Leave it out, and have the CT log in the trust root',
  );
  const trustRootRef = keyless.text('trustRootRef');
  keyless.end();
  return { url, trustRootRef };
}

function readServices(authority: Section): Pick<TrustNeeds, 'ctlog' | 'rfc3161timestamp'> {
  const ctlog = authority.section('ctlog');
  const ctlogNeeds = ctlog && { url: ctlog.url('url'), trustRootRef: ctlog.text('trustRootRef') };
  if (ctlog !== undefined && !ctlog.has('url') && !ctlog.has('trustRootRef')) {
    ctlog.fault(
      undefined,
      'is empty, which turns the check of the log off upstream; here every signature must be in a log',
      'Leave ctlog out, or give url or trustRootRef',
    );
  }
  ctlog?.end();
  const timestamp = authority.section('rfc3161timestamp');
  const timestampNeeds = timestamp && { trustRootRef: timestamp.text('trustRootRef') };
  timestamp?.end();
  return { ctlog: ctlogNeeds, rfc3161timestamp: timestampNeeds };
}

/** Upstream judges a bundle with one trust root, and so do we: a second name would be one that is not looked at. */
function checkOneRoot(authority: Section, { trustRootRef, ctlog, rfc3161timestamp }: TrustNeeds): void {
  for (const [field, other] of [
    ['ctlog', ctlog?.trustRootRef],
    ['rfc3161timestamp', rfc3161timestamp?.trustRootRef],
  ] as const) {
    if (other === undefined || other === trustRootRef) continue;
    authority.fault(
      field,
      `trustRootRef is ${other}, that of keyless ${trustRootRef ?? 'the default'}: a bundle is judged with one trust root`,
      'Name the same trust root, or put both together into one',
    );
  }
}

async function readIdentities(keyless: Section): Promise<IdentityRule[]> {
  const sections = keyless.sections('identities', MAX_IDENTITIES);
  if (sections.length === 0) {
    keyless.fault(
      undefined,
      'identities is missing or empty',
      'Name the subject and its issuer: without, anyone could sign',
    );
  }
  const rules: IdentityRule[] = [];
  for (const section of sections) {
    const subject = await readText(section, 'subject', 'subjectRegExp');
    const issuer = await readText(section, 'issuer', 'issuerRegExp');
    section.end();
    if (subject !== undefined && issuer !== undefined) rules.push({ subject, issuer });
  }
  return rules;
}

async function readText(identity: Section, exact: string, pattern: string): Promise<Text | undefined> {
  if (identity.has(exact) && identity.has(pattern)) {
    identity.fault(pattern, `${exact} and ${pattern} exclude each other`);
  } else if (!identity.has(exact) && !identity.has(pattern)) {
    identity.fault(
      undefined,
      `one of ${exact} and ${pattern} is missing`,
      'Give both the subject and the issuer that vouched for it: any issuer can write any name',
    );
  }
  const value = identity.text(exact);
  const expression = identity.text(pattern);
  if (value !== undefined) return { kind: 'exact', value };
  if (expression === undefined) return undefined;
  try {
    return await compilePattern(expression);
  } catch (error) {
    identity.fault(pattern, reasonOf(error), 'See https://github.com/google/re2/wiki/Syntax');
    return undefined;
  }
}

function readKeys(key: Section): PublicKey[] {
  key.refused('secretRef', 'there is no cluster to read it from', inlineKey);
  key.refused('kms', 'no key service is asked', inlineKey);
  const pem = key.has('secretRef') || key.has('kms') ? key.text('data', MAX_PEM) : key.requiredText('data', MAX_PEM);
  const hash = key.text('hashAlgorithm');
  key.end();
  if (pem === undefined) return [];
  const keys = attempt(key, 'data', () => parseKeys(pem)) ?? [];
  for (const publicKey of hash === undefined ? [] : keys) {
    const hashes = signatureAlgorithms.filter((row) => matchesKey(row, publicKey)).map((row) => row.hash);
    if (hashes.some((known) => known === hash)) continue;
    key.fault(
      'hashAlgorithm',
      `is ${hash}, but this key signs with ${[...new Set(hashes)].join(' or ')}`,
      'Leave it out: the key decides',
    );
    break;
  }
  return keys;
}

function parseKeys(pem: string): PublicKey[] {
  const blocks = parsePem(pem);
  if (blocks.length > MAX_KEYS) throw new Error(`it has ${blocks.length} keys, at most ${MAX_KEYS}`);
  return blocks.map(({ label, der }) => {
    if (label !== 'PUBLIC KEY') throw new Error(`it has a block ${label}, expected PUBLIC KEY`);
    return parsePublicKey(der);
  });
}

function readSource(authority: Section): Reference | undefined {
  // A list that is too long is told of with words of our own.
  const sources = authority.sections('source', MAX_KEYS);
  if (sources.length > 1) authority.fault('source', `has ${sources.length} entries, at most one is supported`);
  const references = sources.map((source) => {
    const text = source.requiredText('oci');
    source.refused(
      'tagPrefix',
      'signatures are looked for under their usual tags only',
      'Copy them to a repository of their own, and name that as oci',
    );
    source.refused(
      'signaturePullSecrets',
      'there is no cluster to read them from',
      'Log in to the registry: its credentials are read from the files of docker and podman',
    );
    source.end();
    return text === undefined ? undefined : attempt(source, 'oci', () => parseRepository(text));
  });
  return references[0];
}

function parseRepository(text: string): Reference {
  const reference = parseReference(text);
  if (reference.tag !== undefined || reference.digest !== undefined)
    throw new Error('it must be a repository, without tag and digest');
  return reference;
}

async function readAttestations(authority: Section): Promise<AttestationRule[]> {
  const rules: AttestationRule[] = [];
  for (const section of authority.sections('attestations', MAX_ATTESTATIONS)) {
    const name = section.requiredText('name', 253);
    const type = section.requiredText('predicateType');
    const predicateType =
      type === undefined ? undefined : attempt(section, 'predicateType', () => predicateTypeUri(type));
    const policySection = section.section('policy');
    const policy = policySection && (await readContentRule(policySection, 'attestation'));
    section.end();
    if (name === undefined || predicateType === undefined) continue;
    if (rules.some((rule) => rule.name === name)) section.fault('name', `two attestations have the name ${name}`);
    rules.push({ name, predicateType, ...(policy !== undefined && { policy }) });
  }
  // An empty list in the file would silently mean: look for signatures instead.
  if (authority.has('attestations') && rules.length === 0)
    authority.fault('attestations', 'is empty', 'Leave it out to demand a signature');
  return rules;
}

function attempt<Value>(section: Section, name: string, read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    const cure = (error as { cure?: unknown }).cure;
    section.fault(name, reasonOf(error), typeof cure === 'string' ? cure : undefined);
    return undefined;
  }
}
