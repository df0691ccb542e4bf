import { X509Certificate } from 'node:crypto';
import { type JsonValue, parseJson } from '#libs/encoding';
import { type CiMetadata, type CiProvider, createCiProvider } from './ci-provider.js';
import { ciProviders } from './ci-providers.js';
import { parseYaml } from './config-yaml.js';
import { IdentityError, quote } from './errors.js';
import { type ExtensionName, type IssuerKind, issuerKinds } from './kinds.js';
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
  /** Type uri: the site, `https://example.com`; type username: its name, `example.com`. */
  readonly subjectDomain?: string;
  /** Type spiffe: the bare name of the trust domain. */
  readonly spiffeTrustDomain?: string;
  /** Type ci-provider: the templates. */
  readonly ciProvider?: CiProvider;
  /** PEM: certificates that this issuer's servers are believed by, beside the usual roots; for this issuer alone. */
  readonly caCert?: string;
}

const optionalFields = [
  'issuerClaim',
  'skipEmailVerification',
  'subjectDomain',
  'spiffeTrustDomain',
  'ciProvider',
] as const;

/** Fields that some kinds read and others do not. */
export type OptionalField = (typeof optionalFields)[number];

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
/** Refused unless it is empty: upstream reads it and does nothing with it. */
const refused = (why: string): FieldUse => ({ use: 'refused', why });
const template = (json: string, yaml: string): Field => ({ json, yaml, is: text });

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
  ciProvider: { json: 'CIProvider', yaml: 'ci-provider', is: text },
  subjectDomain: { json: 'SubjectDomain', yaml: 'subject-domain', is: text },
  spiffeTrustDomain: { json: 'SPIFFETrustDomain', yaml: 'spiffe-trust-domain', is: text },
  caCert: { json: 'CACert', yaml: 'ca-cert', is: text },
  description: { json: 'Description', yaml: 'description', is: note },
  contact: { json: 'Contact', yaml: 'contact', is: note },
  environment: { json: 'Environment', yaml: 'environment', is: note },
} as const satisfies Record<string, Field>;

/** The fields that are texts, and may be left out. */
const textFields = ['challengeClaim', 'issuerClaim', 'subjectDomain', 'spiffeTrustDomain', 'caCert'] as const;

/** Fulcio's names for the sections of the file. */
const sections = {
  exact: { json: 'OIDCIssuers', yaml: 'oidc-issuers', is: section },
  pattern: { json: 'MetaIssuers', yaml: 'meta-issuers', is: section },
  providers: { json: 'CIIssuerMetadata', yaml: 'ci-issuer-metadata', is: section },
} as const satisfies Record<string, Field>;

/** Fulcio's names for the parts of a CI system's description. */
const providerFields = {
  defaults: { json: 'DefaultTemplateValues', yaml: 'default-template-values', is: section },
  extensions: { json: 'ExtensionTemplates', yaml: 'extension-templates', is: section },
  san: { json: 'SubjectAlternativeNameTemplate', yaml: 'subject-alternative-name-template', is: text },
} as const satisfies Record<string, Field>;

/** Fulcio's names for the extensions that templates may fill. */
const extensionFields = {
  githubWorkflowTrigger: template('GithubWorkflowTrigger', 'github-workflow-trigger'),
  githubWorkflowSha: template('GithubWorkflowSHA', 'github-workflow-sha'),
  githubWorkflowName: template('GithubWorkflowName', 'github-workflow-name'),
  githubWorkflowRepository: template('GithubWorkflowRepository', 'github-workflow-repository'),
  githubWorkflowRef: template('GithubWorkflowRef', 'github-workflow-ref'),
  buildSignerUri: template('BuildSignerURI', 'build-signer-uri'),
  buildSignerDigest: template('BuildSignerDigest', 'build-signer-digest'),
  runnerEnvironment: template('RunnerEnvironment', 'runner-environment'),
  sourceRepositoryUri: template('SourceRepositoryURI', 'source-repository-uri'),
  sourceRepositoryDigest: template('SourceRepositoryDigest', 'source-repository-digest'),
  sourceRepositoryRef: template('SourceRepositoryRef', 'source-repository-ref'),
  sourceRepositoryIdentifier: template('SourceRepositoryIdentifier', 'source-repository-identifier'),
  sourceRepositoryOwnerUri: template('SourceRepositoryOwnerURI', 'source-repository-owner-uri'),
  sourceRepositoryOwnerIdentifier: template('SourceRepositoryOwnerIdentifier', 'source-repository-owner-identifier'),
  buildConfigUri: template('BuildConfigURI', 'build-config-uri'),
  buildConfigDigest: template('BuildConfigDigest', 'build-config-digest'),
  buildTrigger: template('BuildTrigger', 'build-trigger'),
  runInvocationUri: template('RunInvocationURI', 'run-invocation-uri'),
  sourceRepositoryVisibilityAtSigning: template(
    'SourceRepositoryVisibilityAtSigning',
    'source-repository-visibility-at-signing',
  ),
  deploymentEnvironment: template('DeploymentEnvironment', 'deployment-environment'),
  subject: { json: 'Subject', yaml: 'subject', is: refused("the subject is always the token's sub") },
  issuer: { json: 'Issuer', yaml: 'issuer', is: refused("the issuer is always the token's iss") },
} as const satisfies Record<ExtensionName | 'subject' | 'issuer', Field>;

const SIZE_LIMIT = 1024 * 1024;
/** Of a `CACert`: some twenty certificates. */
const CA_CERT_LIMIT = 64 * 1024;

/**
 * Reads Fulcio's configuration file: JSON in PascalCase or YAML in kebab-case.
 * An unknown field, a field that the issuer's type does not read, and a type without a row in `kinds` are errors that
 * name it, and so are templates that no issuer uses: a setting that is accepted and ignored would let in whom it was meant
 * to keep out. A `ci-provider` without a section in the file is one of the built-in `ciProviders`.
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
  const providers = readProviders(members.providers, format);
  const used = new Set<string>();
  const resolve = (name: string, at: string): CiProvider => {
    used.add(name);
    const found = providers.get(name) ?? (Object.hasOwn(ciProviders, name) ? ciProviders[name] : undefined);
    if (found !== undefined) return found;
    const known = [...new Set([...providers.keys(), ...Object.keys(ciProviders)])].join(', ');
    throw refuse(`${at}: there is no CI provider ${quote(name)}, neither in this file nor built in: ${known}`);
  };
  const issuers = (['exact', 'pattern'] as const).flatMap((kind) => readSection(members[kind], format, kind, resolve));
  for (const issuer of issuers) checkIssuer(issuer, kinds);
  if (issuers.length === 0) {
    throw refuse(`it names no issuer, expected ${sections.exact[format]} or ${sections.pattern[format]}`);
  }
  const unused = [...providers.keys()].find((name) => !used.has(name));
  if (unused !== undefined) {
    throw refuse(
      `${sections.providers[format]} ${quote(unused)}: no issuer names it in its ${issuerFields.ciProvider[format]}`,
    );
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
  for (const name of optionalFields) {
    if (issuer[name] !== undefined && issuer[name] !== false && !kind.fields.includes(name)) {
      const { json, yaml } = issuerFields[name];
      throw refuse(`${at}: type ${issuer.type} does not read ${json} (${yaml} in YAML)`);
    }
  }
  if (issuer.wildcard && kind.wildcard === false) {
    throw refuse(`${at}: type ${issuer.type} cannot be behind a wildcard, where each issuer would speak for all`);
  }
  if (issuer.caCert !== undefined) checkCaCert(issuer.caCert, issuer.issuerUrl, at);
  const challengeClaim = issuer.challengeClaim ?? kind.challengeClaim;
  if (challengeClaim !== kind.challengeClaim) {
    throw refuse(
      `${at}: challenge claim is ${quote(challengeClaim)}, but type ${issuer.type} verifies ${quote(kind.challengeClaim)}`,
    );
  }
  kind.checkConfig?.(issuer);
  return { ...issuer, challengeClaim };
}

/** Certificates in PEM, at least one; text around them is allowed, as the tools that print certificates write it. */
function checkCaCert(pem: string, issuerUrl: string, at: string): void {
  const { json, yaml } = issuerFields.caCert;
  const name = `${json} (${yaml} in YAML)`;
  if (!issuerUrl.startsWith('https:')) throw refuse(`${at}: ${name} is of no use without TLS`);
  if (pem.length > CA_CERT_LIMIT) {
    throw refuse(`${at}: ${name} has ${pem.length} characters, the limit is ${CA_CERT_LIMIT}`);
  }
  const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;
  const blocks = pem.match(block) ?? [];
  if (blocks.length === 0 || pem.replace(block, '').includes('-----')) {
    throw refuse(`${at}: ${name} is not a sequence of PEM certificates`);
  }
  for (const [i, text] of blocks.entries()) {
    try {
      new X509Certificate(text);
    } catch (cause) {
      throw refuse(`${at}: certificate ${i + 1} of ${name} cannot be parsed`, { cause });
    }
  }
}

function parseEither(content: string): { format: Format; value: unknown } {
  let jsonError: unknown;
  try {
    return { format: 'json', value: parseJson(content) };
  } catch (error) {
    jsonError = error;
  }
  try {
    return { format: 'yaml', value: parseYaml(content) };
  } catch (yamlError) {
    const json = content.trimStart().startsWith('{');
    const cause = json ? jsonError : yamlError;
    const message = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : '';
    throw refuse(`it is not ${json ? 'JSON' : 'YAML'}: ${message}`, { cause });
  }
}

function readProviders(content: unknown, format: Format): Map<string, CiProvider> {
  const providers = new Map<string, CiProvider>();
  const at = sections.providers[format];
  for (const [name, value] of Object.entries(readObject(content, at))) {
    const place = `${at} ${quote(name)}`;
    const members = readMembers(value, providerFields, format, place);
    const defaults = readObject(members.defaults, `${place}: ${providerFields.defaults[format]}`);
    for (const [key, each] of Object.entries(defaults)) {
      if (typeof each === 'string') continue;
      throw refuse(`${place}: ${providerFields.defaults[format]} ${quote(key)} is ${quote(each)}, expected a string`);
    }
    const extensionsAt = `${place}: ${providerFields.extensions[format]}`;
    const templates = readMembers(readObject(members.extensions, extensionsAt), extensionFields, format, extensionsAt);
    // Blank ones are all that is left of these two.
    const { subject: _subject, issuer: _issuer, ...extensions } = templates;
    const metadata = {
      defaults: defaults as Record<string, string>,
      san: (members.san ?? '') as string,
      // readMembers has checked that each is a string.
      extensions: extensions as NonNullable<CiMetadata['extensions']>,
    };
    try {
      providers.set(name, createCiProvider(name, metadata));
    } catch (cause) {
      if (!(cause instanceof IdentityError)) throw cause;
      throw refuse(`${at}: ${cause.message}`, { cause });
    }
  }
  return providers;
}

function readSection(
  content: unknown,
  format: Format,
  kind: 'exact' | 'pattern',
  resolve: (name: string, at: string) => CiProvider,
): IssuerConfig[] {
  return Object.entries(readObject(content, sections[kind][format])).map(([key, value]) => {
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
    // The types of `members` were checked by readMembers; empty strings mean absent, as in Go.
    const texts = textFields.flatMap((name) => (members[name] ? [[name, members[name]]] : []));
    return {
      issuerUrl: key,
      wildcard: kind === 'pattern',
      clientId: required('clientId'),
      type: required('type'),
      ...(Object.fromEntries(texts) as Partial<Record<(typeof textFields)[number], string>>),
      ...(members.skipEmailVerification !== undefined && {
        skipEmailVerification: members.skipEmailVerification as boolean,
      }),
      ...(members.ciProvider ? { ciProvider: resolve(members.ciProvider as string, at) } : {}),
    };
  });
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

/** As `requireObject`, but a section without content is an empty one. */
function readObject(value: unknown, at: string): Record<string, JsonValue> {
  return value === undefined || value === null ? {} : requireObject(value, at);
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
