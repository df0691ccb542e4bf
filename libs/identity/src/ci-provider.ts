import { claim, type Claims, claimError, encodeUri, goText } from './claims.js';
import type { IssuerConfig } from './config.js';
import { IdentityError, quote } from './errors.js';
import type { ClaimNames, ExtensionName, IssuerKind, PrincipalExtensions } from './kinds.js';
import { parseTemplate, renderTemplate, type Template, type TemplateValues } from './template.js';

/** A CI system described by templates, Fulcio's CIIssuerMetadata: made once, when the configuration is read. */
export interface CiProvider {
  readonly name: string;
  /** What a name means that the token has no claim for. A claim wins over its default. */
  readonly defaults: Readonly<Record<string, string>>;
  readonly san: Template;
  readonly extensions: Readonly<Partial<Record<ExtensionName, Template>>>;
}

/** A CI system as it is written down: templates as `parseTemplate` reads them. */
export interface CiMetadata {
  readonly defaults?: Readonly<Record<string, string>>;
  readonly san: string;
  readonly extensions?: Readonly<Partial<Record<ExtensionName, string>>>;
}

/**
 * Parses a CI system's templates.
 * @throws IdentityError `IDENTITY_CONFIG` for a template that does not parse, a blank SAN, or a default that no template reads
 */
export function createCiProvider(name: string, { defaults = {}, san, extensions = {} }: CiMetadata): CiProvider {
  const refuse = (state: string) =>
    new IdentityError('IDENTITY_CONFIG', `Cannot use CI provider ${quote(name)}: ${state}`);
  const sanTemplate = parseTemplate(san);
  if (sanTemplate.blank) throw refuse('the template of its subject alternative name is blank');
  const provider: CiProvider = {
    name,
    defaults,
    san: sanTemplate,
    extensions: Object.fromEntries(
      Object.entries(extensions)
        .map(([extension, text]) => [extension, parseTemplate(text)] as const)
        .filter(([, template]) => !template.blank),
    ),
  };
  const read = new Set(templatesOf(provider).flatMap(({ names }) => names.map((each) => each.name)));
  const unread = Object.keys(defaults).find((each) => !read.has(each));
  if (unread !== undefined) throw refuse(`no template reads its default value ${quote(unread)}`);
  return provider;
}

/** Any CI system whose tokens templates can map. */
export const ciProviderKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: ['ciProvider'],
  claims: (issuer) => claimNames(providerOf(issuer)),
  checkConfig: (issuer) => void providerOf(issuer),
  principal: ({ issuer, subject, claims }, config) => {
    const provider = providerOf(config);
    const uri = renderTemplate(provider.san, identityValues(provider, claims));
    // RFC 5280 §4.2.1.6: the URI must not be relative.
    if (!/^[A-Za-z][A-Za-z0-9+.-]*:./.test(uri)) {
      throw new IdentityError(
        'IDENTITY_CLAIM',
        `Cannot name the identity: the template of ${provider.name} gives ${quote(uri)}, expected a URI with its scheme`,
      );
    }
    const values = valuesOf(provider, claims);
    const extensions: { -readonly [name in keyof PrincipalExtensions]: PrincipalExtensions[name] } = {};
    // Names of a CiProvider's extensions: Object.entries forgets them.
    for (const [name, template] of Object.entries(provider.extensions) as [ExtensionName, Template][]) {
      const text = renderTemplate(template, values);
      if (text !== '') extensions[name] = text;
    }
    return {
      issuer,
      subject,
      challenge: subject,
      challengeClaim: 'sub',
      san: { kind: 'uri', value: encodeUri(uri, describeNames(provider.san)) },
      extensions,
    };
  },
};

function providerOf(issuer: IssuerConfig): CiProvider {
  if (issuer.ciProvider !== undefined) return issuer.ciProvider;
  throw new IdentityError(
    'IDENTITY_CONFIG',
    `Cannot use issuer ${quote(issuer.issuerUrl)}: type ci-provider needs the name of one (CIProvider, ci-provider in YAML)`,
  );
}

function valuesOf({ defaults }: CiProvider, claims: Claims): TemplateValues {
  return {
    get: (name) => {
      const value = claim(claims, name);
      if (typeof value === 'string') return value;
      if (value !== undefined) return goText(value);
      return Object.hasOwn(defaults, name) ? defaults[name] : undefined;
    },
  };
}

/**
 * Values for the identity itself, with which Fulcio is laxer: no null, list or object has a place in it, and what it prints
 * must not be empty unless a default says so. `https://ci.example/projects//jobs/` would be everybody's without a project.
 */
function identityValues(provider: CiProvider, claims: Claims): TemplateValues {
  const values = valuesOf(provider, claims);
  return {
    get: (name) => {
      const value = claim(claims, name);
      if (typeof value === 'object') throw claimError(name, value, 'a text, because it names the identity');
      return values.get(name);
    },
    empty: (names) => {
      const culprit = names.find((name) => !hasEmptyDefault(provider, name));
      if (culprit !== undefined) {
        throw claimError(culprit, claim(claims, culprit), 'a non-empty text, because it names the identity');
      }
    },
  };
}

function hasEmptyDefault({ defaults }: CiProvider, name: string): boolean {
  return Object.hasOwn(defaults, name) && defaults[name] === '';
}

function templatesOf({ san, extensions }: CiProvider): readonly Template[] {
  return [san, ...Object.values(extensions)];
}

function describeNames({ names }: Template): string {
  return names.map(({ name }) => name).join(', ') || 'sub';
}

const apart = new Set(['iss', 'sub', 'aud', 'exp']);
const known = new WeakMap<CiProvider, ClaimNames>();

function claimNames(provider: CiProvider): ClaimNames {
  const found = known.get(provider);
  if (found) return found;
  const required = new Set<string>();
  const optional = new Set<string>();
  for (const template of templatesOf(provider)) {
    for (const name of template.names) {
      if (apart.has(name.name)) continue;
      const inIdentity = template === provider.san && name.printed;
      const needed = (name.required || inIdentity) && !Object.hasOwn(provider.defaults, name.name);
      (needed ? required : optional).add(name.name);
    }
  }
  const names = { required: [...required], optional: [...optional].filter((name) => !required.has(name)) };
  known.set(provider, names);
  return names;
}
