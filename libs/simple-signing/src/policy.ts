import { encodeUtf8, EncodingError, type JsonValue, parseBase64 } from '#libs/encoding';
import { quoted, SimpleSigningError } from './error.js';
import { readSignedIdentity, type SignedIdentity } from './identity.js';
import { type Fields, openFields, readJson } from './json.js';
import { type ImageIdentity, scopesOf } from './reference.js';

/** Where key material is: in files, or in the policy itself. */
export type Material =
  | { readonly kind: 'paths'; readonly paths: readonly string[] }
  | { readonly kind: 'data'; readonly data: readonly Uint8Array[] };

/** One thing that must hold. @see containers-policy.json(5) */
export type Requirement =
  | { readonly type: 'insecureAcceptAnything' }
  | { readonly type: 'reject' }
  | {
      readonly type: 'signedBy';
      readonly keyType: SignedByKeyType;
      readonly keys: Material;
      readonly signedIdentity: SignedIdentity;
    }
  | { readonly type: 'signedBaseLayer'; readonly baseLayerIdentity: SignedIdentity }
  | SigstoreSigned;

/** The first is the only one that containers/image has ever implemented; with the others every image is refused. */
export type SignedByKeyType = 'GPGKeys' | 'signedByGPGKeys' | 'X509Certificates' | 'signedByX509CAs';

/** A signature of Sigstore, by a key, by an identity of Fulcio, or by a certificate of an own PKI. */
export interface SigstoreSigned {
  readonly type: 'sigstoreSigned';
  readonly by:
    | { readonly kind: 'keys'; readonly keys: Material }
    | { readonly kind: 'fulcio'; readonly ca: Material; readonly oidcIssuer: string; readonly subjectEmail: string }
    | {
        readonly kind: 'pki';
        readonly roots: Material;
        readonly intermediates?: Material;
        readonly subjectEmail?: string;
        readonly subjectHostname?: string;
      };
  /** Keys of transparency logs, any of which must have promised the entry. */
  readonly rekorKeys?: Material;
  readonly signedIdentity: SignedIdentity;
}

/** Whose images are accepted. */
export interface PodmanPolicy {
  /** For what no scope is about. */
  readonly default: readonly Requirement[];
  /** By transport, as `docker`, and scope; the scope `''` is for the rest of the transport. */
  readonly transports: ReadonlyMap<string, ReadonlyMap<string, readonly Requirement[]>>;
}

const MAX_POLICY = 4_194_304;
const MAX_REQUIREMENTS = 64;
const code = 'SIMPLE_POLICY';
const keyTypes: readonly string[] = ['GPGKeys', 'signedByGPGKeys', 'X509Certificates', 'signedByX509CAs'];

/**
 * Reads a policy.json as strictly as containers/image: an unknown, duplicate or missing field anywhere is an error, so that a
 * slip of the pen does not accept what it should refuse.
 * @throws SimpleSigningError `SIMPLE_POLICY`, `SIMPLE_TOO_LARGE`
 */
export function parsePodmanPolicy(bytes: Uint8Array): PodmanPolicy {
  const value = readJson(bytes, { code, what: 'the policy', maxLength: MAX_POLICY });
  const top = openFields(value, { code, what: 'the policy', known: ['default', 'transports'] });
  const given = top.object['transports'];
  const transports = new Map<string, ReadonlyMap<string, readonly Requirement[]>>();
  const byTransport = openFields(given === undefined ? {} : given, { code, what: 'transports', known: 'any' });
  for (const [transport, scopes] of Object.entries(byTransport.object)) {
    const what = `the transport ${quoted(transport)}`;
    const opened = openFields(scopes, { code, what, known: 'any' });
    const read = Object.entries(opened.object).map(
      ([scope, list]) => [scope, readRequirements(list, `scope ${quoted(scope)} of ${what}`)] as const,
    );
    transports.set(transport, new Map(read));
  }
  return { default: readRequirements(top.object['default'], 'default'), transports };
}

function readRequirements(list: JsonValue | undefined, what: string): Requirement[] {
  const bad = (state: string) => new SimpleSigningError(code, `Cannot read the policy: ${what} ${state}`);
  if (list === undefined) throw bad('is missing');
  if (!Array.isArray(list)) throw bad('is no list of requirements');
  if (list.length === 0) throw bad('is empty, and must have at least one requirement');
  if (list.length > MAX_REQUIREMENTS) throw bad(`has more than ${MAX_REQUIREMENTS} requirements`);
  return list.map((item, i) => readRequirement(item, `requirement ${i + 1} of ${what}`));
}

function readRequirement(value: JsonValue, what: string): Requirement {
  const type = openFields(value, { code, what, known: 'any' }).requiredText('type');
  const open = (...known: string[]) => openFields(value, { code, what, known: ['type', ...known] });
  const identity = (fields: Fields, name: string) => readSignedIdentity(fields.object[name], `${name} of ${what}`);
  switch (type) {
    case 'insecureAcceptAnything':
    case 'reject':
      open();
      return { type };
    case 'signedBy': {
      const fields = open('keyType', 'keyPath', 'keyPaths', 'keyData', 'signedIdentity');
      const keyType = fields.requiredText('keyType');
      if (!keyTypes.includes(keyType)) throw fields.fault('keyType', `${quoted(keyType)} is unknown`);
      const keys = requireOne(fields, materials(fields, { path: 'keyPath', paths: 'keyPaths', data: 'keyData' }));
      // Just found in the list of its values.
      return { type, keyType: keyType as SignedByKeyType, keys, signedIdentity: identity(fields, 'signedIdentity') };
    }
    case 'signedBaseLayer': {
      const fields = open('baseLayerIdentity');
      if (fields.object['baseLayerIdentity'] === undefined) throw fields.fault('baseLayerIdentity', 'is missing');
      return { type, baseLayerIdentity: identity(fields, 'baseLayerIdentity') };
    }
    case 'sigstoreSigned':
      return readSigstoreSigned(value, what);
    default:
      throw new SimpleSigningError(code, `Cannot read ${what}: its type ${quoted(type)} is unknown`);
  }
}

const rekorNames = {
  path: 'rekorPublicKeyPath',
  paths: 'rekorPublicKeyPaths',
  data: 'rekorPublicKeyData',
  datas: 'rekorPublicKeyDatas',
} as const;

function readSigstoreSigned(value: JsonValue, what: string): SigstoreSigned {
  const keyNames = { path: 'keyPath', paths: 'keyPaths', data: 'keyData', datas: 'keyDatas' } as const;
  const known = ['type', ...Object.values(keyNames), ...Object.values(rekorNames), 'fulcio', 'pki', 'signedIdentity'];
  const fields = openFields(value, { code, what, known });
  const by: SigstoreSigned['by'][] = materials(fields, keyNames).map((keys) => ({ kind: 'keys', keys }));
  const { fulcio, pki } = fields.object;
  if (fulcio !== undefined) by.push(readFulcio(fulcio, `fulcio of ${what}`));
  if (pki !== undefined) by.push(readPki(pki, `pki of ${what}`));
  const [only, ...more] = by;
  if (only === undefined || more.length > 0) {
    throw fields.fault(
      '',
      `must have exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio and pki, and has ${by.length}`,
    );
  }
  const [rekorKeys, ...otherKeys] = materials(fields, rekorNames);
  if (otherKeys.length > 0) throw fields.fault('', `must have at most one of ${Object.values(rekorNames).join(', ')}`);
  if (only.kind === 'fulcio' && rekorKeys === undefined) {
    throw fields.fault(
      '',
      'has fulcio, and then must have a key of the log: a certificate of minutes is only worth something with a time',
    );
  }
  const signedIdentity = readSignedIdentity(fields.object['signedIdentity'], `signedIdentity of ${what}`);
  return { type: 'sigstoreSigned', by: only, ...(rekorKeys !== undefined && { rekorKeys }), signedIdentity };
}

function readFulcio(value: JsonValue, what: string): SigstoreSigned['by'] {
  const fields = openFields(value, { code, what, known: ['caPath', 'caData', 'oidcIssuer', 'subjectEmail'] });
  return {
    kind: 'fulcio',
    ca: requireOne(fields, materials(fields, { path: 'caPath', data: 'caData' })),
    oidcIssuer: filled(fields, 'oidcIssuer'),
    subjectEmail: filled(fields, 'subjectEmail'),
  };
}

function readPki(value: JsonValue, what: string): SigstoreSigned['by'] {
  const names = [
    'caRootsPath',
    'caRootsData',
    'caIntermediatesPath',
    'caIntermediatesData',
    'subjectEmail',
    'subjectHostname',
  ];
  const fields = openFields(value, { code, what, known: names });
  const roots = requireOne(fields, materials(fields, { path: 'caRootsPath', data: 'caRootsData' }));
  const between = materials(fields, { path: 'caIntermediatesPath', data: 'caIntermediatesData' });
  if (between.length > 1)
    throw fields.fault('', 'must have at most one of caIntermediatesPath and caIntermediatesData');
  const [intermediates] = between;
  const subjectEmail = fields.object['subjectEmail'] === undefined ? undefined : filled(fields, 'subjectEmail');
  const subjectHostname =
    fields.object['subjectHostname'] === undefined ? undefined : filled(fields, 'subjectHostname');
  if (subjectEmail === undefined && subjectHostname === undefined) {
    throw fields.fault('', 'must have subjectEmail, subjectHostname or both');
  }
  return {
    kind: 'pki',
    roots,
    ...(intermediates !== undefined && { intermediates }),
    ...(subjectEmail !== undefined && { subjectEmail }),
    ...(subjectHostname !== undefined && { subjectHostname }),
  };
}

function filled(fields: Fields, name: string): string {
  const text = fields.requiredText(name);
  if (text === '') throw fields.fault(name, 'is empty');
  return text;
}

/** Every one of these fields that is there. */
function materials(fields: Fields, names: { path: string; paths?: string; data: string; datas?: string }): Material[] {
  const found: Material[] = [];
  const path = fields.text(names.path);
  if (path === '') throw fields.fault(names.path, 'is empty');
  if (path !== undefined) found.push({ kind: 'paths', paths: [path] });
  const paths = names.paths === undefined ? undefined : fields.texts(names.paths);
  if (names.paths !== undefined && (paths?.length === 0 || paths?.includes('') === true))
    throw fields.fault(names.paths, 'is empty');
  if (paths !== undefined) found.push({ kind: 'paths', paths });
  const data = fields.text(names.data);
  if (data !== undefined) found.push({ kind: 'data', data: [decode(fields, names.data, data)] });
  const { datas } = names;
  const list = datas === undefined ? undefined : fields.texts(datas);
  if (datas !== undefined && list !== undefined) {
    if (list.length === 0) throw fields.fault(datas, 'is empty');
    found.push({ kind: 'data', data: list.map((item) => decode(fields, datas, item)) });
  }
  return found;
}

function decode(fields: Fields, name: string, text: string): Uint8Array {
  try {
    return parseBase64(text);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw fields.fault(name, 'is no base64');
  }
}

function requireOne(fields: Fields, found: readonly Material[]): Material {
  const [only, ...more] = found;
  if (only === undefined || more.length > 0)
    throw fields.fault('', `must name its keys or certificates exactly once, and does ${found.length} times`);
  return only;
}

/** The requirements for an image, and what they are written under. */
export interface PolicySection {
  /** As `docker "registry.example.com"`, or `default`. */
  readonly scope: string;
  readonly requirements: readonly Requirement[];
}

/** The first section that is about the image, from the most specific scope to the default; the others do not count. */
export function findRequirements(policy: PodmanPolicy, image: ImageIdentity): PolicySection {
  const docker = policy.transports.get('docker');
  for (const scope of [...scopesOf(image), '']) {
    const requirements = docker?.get(scope);
    if (requirements !== undefined) return { scope: `docker ${quoted(scope)}`, requirements };
  }
  return { scope: 'default', requirements: policy.default };
}

/** The policy as `parsePodmanPolicy` reads it, with two spaces and a line feed at the end. */
export function encodePodmanPolicy(policy: PodmanPolicy): Uint8Array {
  const lists = (scopes: ReadonlyMap<string, readonly Requirement[]>) =>
    Object.fromEntries([...scopes].map(([scope, list]) => [scope, list.map(requirementJson)]));
  const transports = Object.fromEntries([...policy.transports].map(([name, scopes]) => [name, lists(scopes)]));
  return encodeUtf8(`${JSON.stringify({ default: policy.default.map(requirementJson), transports }, null, 2)}\n`);
}

function requirementJson(requirement: Requirement): Record<string, unknown> {
  const { type } = requirement;
  switch (type) {
    case 'insecureAcceptAnything':
    case 'reject':
      return { type };
    case 'signedBy': {
      const { keyType, keys, signedIdentity } = requirement;
      return {
        type,
        keyType,
        ...materialJson(keys, { path: 'keyPath', paths: 'keyPaths', data: 'keyData' }),
        signedIdentity,
      };
    }
    case 'signedBaseLayer':
      return { type, baseLayerIdentity: requirement.baseLayerIdentity };
    case 'sigstoreSigned': {
      const { by, rekorKeys, signedIdentity } = requirement;
      return { type, ...byJson(by), ...(rekorKeys && materialJson(rekorKeys, rekorNames)), signedIdentity };
    }
  }
}

function byJson(by: SigstoreSigned['by']): Record<string, unknown> {
  switch (by.kind) {
    case 'keys':
      return materialJson(by.keys, { path: 'keyPath', paths: 'keyPaths', data: 'keyData', datas: 'keyDatas' });
    case 'fulcio': {
      const { ca, oidcIssuer, subjectEmail } = by;
      return { fulcio: { ...materialJson(ca, { path: 'caPath', data: 'caData' }), oidcIssuer, subjectEmail } };
    }
    case 'pki': {
      const { kind: _, roots, intermediates, ...subject } = by;
      const between = { path: 'caIntermediatesPath', data: 'caIntermediatesData' };
      const trust = materialJson(roots, { path: 'caRootsPath', data: 'caRootsData' });
      return { pki: { ...trust, ...(intermediates && materialJson(intermediates, between)), ...subject } };
    }
  }
}

function materialJson(
  material: Material,
  names: { path: string; paths?: string; data: string; datas?: string },
): Record<string, unknown> {
  const values =
    material.kind === 'paths' ? material.paths : material.data.map((bytes) => Buffer.from(bytes).toString('base64'));
  const [one, many] = material.kind === 'paths' ? [names.path, names.paths] : [names.data, names.datas];
  if (values.length === 1) return { [one]: values[0] };
  if (many === undefined) throw new Error(`A policy has only one ${one}`);
  return { [many]: values };
}
