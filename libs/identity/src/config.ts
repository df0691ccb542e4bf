import { type JsonValue, parseJson } from '#libs/encoding';
import { parse as parseYaml } from 'yaml';
import { IdentityError, quote } from './errors.js';
import { type IssuerKind, issuerKinds } from './kinds.js';
import { checkIssuerUrl, compareSpecificity } from './pattern.js';

/** Whose tokens are accepted, and how they are read. */
export interface IssuerConfig {
  /** The token's `iss`, byte for byte; with `wildcard` a pattern in which `*` stands for `[-_a-zA-Z0-9]+`. */
  readonly issuerUrl: string;
  readonly wildcard: boolean;
  /** What the token's `aud` must contain. */
  readonly clientId: string;
  /** A row of `issuerKinds`. */
  readonly type: string;
  /** The claim that the proof of possession signs, as clients are told. Default: that of the kind. */
  readonly challengeClaim?: string;
  /** Path of the claim that names the real issuer behind a broker, `$.federated_claims.connector_id`. */
  readonly issuerClaim?: string;
  /** For providers that verify every address and send no `email_verified`. */
  readonly skipEmailVerification?: boolean;
}

/** Fields that some kinds read and others do not. */
export type OptionalField = 'issuerClaim' | 'skipEmailVerification';

/** A kind's default filled in. */
export type ResolvedIssuer = IssuerConfig & { readonly challengeClaim: string };

type Format = 'json' | 'yaml';
type FieldUse =
  | { readonly use: 'value'; readonly type: 'string' | 'boolean' }
  | { readonly use: 'section' }
  | { readonly use: 'note' }
  | { readonly use: 'refused'; readonly why: string };

interface Field extends Record<Format, string> {
  readonly is: FieldUse;
}

const text: FieldUse = { use: 'value', type: 'string' };
const section: FieldUse = { use: 'section' };
/** For the people who keep the file; no part of any decision, in Fulcio neither. */
const note: FieldUse = { use: 'note' };
const refused = (why: string): FieldUse => ({ use: 'refused', why });

/** Fulcio's names for the fields of an issuer: one spelling for each of the two formats. */
const issuerFields = {
  issuerUrl: { json: 'IssuerURL', yaml: 'issuer-url', is: text },
  clientId: { json: 'ClientID', yaml: 'client-id', is: text },
  type: { json: 'Type', yaml: 'type', is: text },
  issuerClaim: { json: 'IssuerClaim', yaml: 'issuer-claim', is: text },
  challengeClaim: { json: 'ChallengeClaim', yaml: 'challenge-claim', is: text },
  skipEmailVerification: {
    json: 'SkipEmailVerification',
    yaml: 'skip-email-verification',
    is: { use: 'value', type: 'boolean' },
  },
  description: { json: 'Description', yaml: 'description', is: note },
  contact: { json: 'Contact', yaml: 'contact', is: note },
  environment: { json: 'Environment', yaml: 'environment', is: note },
  ciProvider: { json: 'CIProvider', yaml: 'ci-provider', is: refused('no supported issuer type reads it') },
  subjectDomain: { json: 'SubjectDomain', yaml: 'subject-domain', is: refused('no supported issuer type reads it') },
  spiffeTrustDomain: {
    json: 'SPIFFETrustDomain',
    yaml: 'spiffe-trust-domain',
    is: refused('no supported issuer type reads it'),
  },
  caCert: {
    json: 'CACert',
    yaml: 'ca-cert',
    is: refused('give private roots to the whole process by NODE_EXTRA_CA_CERTS'),
  },
} as const satisfies Record<string, Field>;

type FieldName = keyof typeof issuerFields;

/** Fulcio's names for the sections of the file. */
const sections = {
  exact: { json: 'OIDCIssuers', yaml: 'oidc-issuers', is: section },
  pattern: { json: 'MetaIssuers', yaml: 'meta-issuers', is: section },
  providers: { json: 'CIIssuerMetadata', yaml: 'ci-issuer-metadata', is: refused('ci-provider is not supported') },
} as const satisfies Record<string, Field>;

const SIZE_LIMIT = 1024 * 1024;

/**
 * Reads Fulcio's configuration file: JSON in PascalCase or YAML in kebab-case.
 * An unknown field, a field that the issuer's type does not read, and a type without a row in `kinds` are errors that
 * name it: a setting that is accepted and ignored would let in whom it was meant to keep out.
 * Result: exact issuers by URL, then patterns, the most specific first.
 *
 * ```yaml
 * oidc-issuers:
 *   https://token.actions.githubusercontent.com:
 *     issuer-url: https://token.actions.githubusercontent.com
 *     client-id: sigstore
 *     type: github-workflow
 * ```
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function parseFulcioConfig(
  content: string,
  kinds: Readonly<Record<string, IssuerKind>> = issuerKinds,
): IssuerConfig[] {
  if (content.length > SIZE_LIMIT) throw refuse(`it has ${content.length} characters, the limit is ${SIZE_LIMIT}`);
  const { format, value } = parseEither(content);
  const members = readMembers(value, sections, format, 'the file');
  const issuers = [...readSection(members.exact, format, 'exact'), ...readSection(members.pattern, format, 'pattern')];
  for (const issuer of issuers) checkIssuer(issuer, kinds);
  if (issuers.length === 0) {
    throw refuse(`it names no issuer, expected ${sections.exact[format]} or ${sections.pattern[format]}`);
  }
  return sortIssuers(issuers);
}

/** What Fulcio accepts when it has no configuration file: its public broker, Google, and GitHub Actions. */
export const builtInIssuers: readonly IssuerConfig[] = [
  { issuerUrl: 'https://accounts.google.com', wildcard: false, clientId: 'sigstore', type: 'email' },
  {
    issuerUrl: 'https://oauth2.sigstore.dev/auth',
    wildcard: false,
    clientId: 'sigstore',
    type: 'email',
    issuerClaim: '$.federated_claims.connector_id',
  },
  {
    issuerUrl: 'https://token.actions.githubusercontent.com',
    wildcard: false,
    clientId: 'sigstore',
    type: 'github-workflow',
  },
];

/** Exact issuers before patterns, patterns by specificity: the order in which a token's `iss` is looked up and clients are told. */
export function sortIssuers<T extends IssuerConfig>(issuers: readonly T[]): T[] {
  return [...issuers].sort((a, b) => {
    if (a.wildcard !== b.wildcard) return a.wildcard ? 1 : -1;
    if (a.wildcard) return compareSpecificity(a.issuerUrl, b.issuerUrl);
    return a.issuerUrl < b.issuerUrl ? -1 : 1;
  });
}

/**
 * Checks one issuer against its kind, and fills in the kind's challenge claim.
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function checkIssuer(issuer: IssuerConfig, kinds: Readonly<Record<string, IssuerKind>>): ResolvedIssuer {
  checkIssuerUrl(issuer.issuerUrl, issuer.wildcard ? 'pattern' : 'exact');
  const at = `issuer ${quote(issuer.issuerUrl)}`;
  const kind = Object.hasOwn(kinds, issuer.type) ? kinds[issuer.type] : undefined;
  if (kind === undefined) {
    throw refuse(
      `${at}: issuer type ${quote(issuer.type)} is not supported by this version; supported: ${Object.keys(kinds).join(', ')}`,
    );
  }
  // An empty client id would accept tokens that were made for anybody.
  if (issuer.clientId === '') throw refuse(`${at}: the client id is empty`);
  for (const name of ['issuerClaim', 'skipEmailVerification'] as const) {
    if (issuer[name] !== undefined && issuer[name] !== false && !kind.fields.includes(name)) {
      const { json, yaml } = issuerFields[name];
      throw refuse(`${at}: type ${issuer.type} does not read ${json} (${yaml} in YAML)`);
    }
  }
  const challengeClaim = issuer.challengeClaim ?? kind.challengeClaim;
  if (challengeClaim !== kind.challengeClaim) {
    throw refuse(
      `${at}: challenge claim is ${quote(challengeClaim)}, but type ${issuer.type} verifies ${quote(kind.challengeClaim)}`,
    );
  }
  kind.checkConfig?.(issuer);
  return { ...issuer, challengeClaim };
}

function parseEither(content: string): { format: Format; value: unknown } {
  let jsonError: unknown;
  try {
    return { format: 'json', value: parseJson(content) };
  } catch (error) {
    jsonError = error;
  }
  try {
    return { format: 'yaml', value: parseYaml(content, { maxAliasCount: 0 }) as unknown };
  } catch (yamlError) {
    const json = content.trimStart().startsWith('{');
    const cause = json ? jsonError : yamlError;
    const message = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : '';
    throw refuse(`it is not ${json ? 'JSON' : 'YAML'}: ${message}`, { cause });
  }
}

function readSection(content: unknown, format: Format, kind: 'exact' | 'pattern'): IssuerConfig[] {
  if (content === undefined || content === null) return [];
  return Object.entries(requireObject(content, sections[kind][format])).map(([key, value]) => {
    const at = `issuer ${quote(key)}`;
    const members = readMembers(value, issuerFields, format, at);
    // Fulcio looks an issuer up by its key and compares tokens with its URL: two truths unless they agree.
    const url = members.issuerUrl ?? (kind === 'pattern' ? key : undefined);
    if (url !== key) {
      throw refuse(`${at}: ${issuerFields.issuerUrl[format]} is ${quote(url)}, it must be equal to the key`);
    }
    const required = (name: 'clientId' | 'type'): string => {
      const found = members[name];
      if (found === undefined) throw refuse(`${at}: ${issuerFields[name][format]} is missing`);
      return found as string;
    };
    return {
      issuerUrl: key,
      wildcard: kind === 'pattern',
      clientId: required('clientId'),
      type: required('type'),
      ...optional(members, 'challengeClaim'),
      ...optional(members, 'issuerClaim'),
      ...optional(members, 'skipEmailVerification'),
    };
  });
}

/** The types of `members` were checked by `readMembers`; empty strings mean absent, as in Go. */
function optional<N extends 'challengeClaim' | 'issuerClaim' | 'skipEmailVerification'>(
  members: Partial<Record<FieldName, unknown>>,
  name: N,
): Partial<Pick<IssuerConfig, N>> {
  const value = members[name];
  return value === undefined || value === '' ? {} : ({ [name]: value } as Pick<IssuerConfig, N>);
}

/** The members of an object by our names; refuses those that are unknown, spelled for the other format, or not used. */
function readMembers<N extends string>(
  value: unknown,
  fields: Readonly<Record<N, Field>>,
  format: Format,
  at: string,
): Partial<Record<N, unknown>> {
  const members: Partial<Record<N, unknown>> = {};
  for (const [found, content] of Object.entries(requireObject(value, at))) {
    const name = (Object.keys(fields) as N[]).find((candidate) => fields[candidate][format] === found);
    if (name === undefined) {
      const other = format === 'json' ? 'yaml' : 'json';
      const twin = Object.values<Field>(fields).find((candidate) => candidate[other] === found);
      const hint = twin === undefined ? '' : `; in ${format.toUpperCase()} it is written ${twin[format]}`;
      throw refuse(`${at}: unknown field ${quote(found)}${hint}`);
    }
    const { is } = fields[name];
    if (is.use === 'refused') {
      if (!isEmpty(content)) throw refuse(`${at}: ${found} is not supported: ${is.why}`);
    } else if (is.use === 'value' && typeof content !== is.type) {
      throw refuse(`${at}: ${found} is ${quote(content)}, expected a ${is.type}`);
    }
    members[name] = content;
  }
  return members;
}

function isEmpty(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    value === '' ||
    (typeof value === 'object' && Object.keys(value).length === 0)
  );
}

function requireObject(value: unknown, at: string): Record<string, JsonValue> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refuse(`${at}: found ${quote(value)}, expected names with values`);
  }
  return value as Record<string, JsonValue>;
}

function refuse(state: string, options?: ErrorOptions): IdentityError {
  return new IdentityError('IDENTITY_CONFIG', `Cannot read issuer configuration: ${state}`, options);
}
