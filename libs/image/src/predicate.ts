import type { JsonValue } from '#libs/encoding';
import { ImageError } from './error.js';
import { fieldsOf } from './statement.js';

type Predicate = Record<string, JsonValue>;

interface PredicateType {
  /** What the flags call it. */
  readonly names: readonly string[];
  readonly uri: string;
  /** What the type requires and this predicate lacks, or undefined. */
  readonly lack: (predicate: Predicate) => string | undefined;
}

const types: readonly PredicateType[] = [
  {
    names: ['slsaprovenance1'],
    uri: 'https://slsa.dev/provenance/v1',
    // slsa.dev: spec/v1.0/provenance, "Schema"
    lack: (predicate) =>
      text(predicate, 'buildDefinition', 'buildType') ??
      object(predicate, 'buildDefinition', 'externalParameters') ??
      text(predicate, 'runDetails', 'builder', 'id'),
  },
  {
    names: ['slsaprovenance', 'slsaprovenance02'],
    uri: 'https://slsa.dev/provenance/v0.2',
    lack: (predicate) => text(predicate, 'builder', 'id') ?? text(predicate, 'buildType'),
  },
  {
    names: ['spdxjson', 'spdx'],
    uri: 'https://spdx.dev/Document',
    // SPDX 2.3 §6 and 3.0 §4; the plain name stands for any text of SPDX, which is a string in JSON.
    lack: (predicate) => {
      if ('@graph' in predicate) return array(predicate, '@graph');
      return text(predicate, 'spdxVersion') ?? text(predicate, 'SPDXID') ?? text(predicate, 'name');
    },
  },
  {
    names: ['cyclonedx'],
    uri: 'https://cyclonedx.org/bom',
    // CycloneDX 1.x, JSON schema of a BOM
    lack: (predicate) =>
      predicate['bomFormat'] === 'CycloneDX' ? text(predicate, 'specVersion') : 'bomFormat must be "CycloneDX"',
  },
  {
    names: ['vuln'],
    uri: 'https://cosign.sigstore.dev/attestation/vuln/v1',
    // sigstore/cosign: specs/COSIGN_VULN_ATTESTATION_SPEC.md
    lack: (predicate) =>
      text(predicate, 'scanner', 'uri') ??
      object(predicate, 'metadata') ??
      time(predicate, 'metadata', 'scanStartedOn') ??
      time(predicate, 'metadata', 'scanFinishedOn'),
  },
  {
    names: ['link'],
    uri: 'https://in-toto.io/Link/v1',
    // in-toto specification §4.4
    lack: (predicate) =>
      text(predicate, 'name') ??
      array(predicate, 'command') ??
      object(predicate, 'materials') ??
      object(predicate, 'byproducts') ??
      object(predicate, 'environment'),
  },
  {
    names: ['openvex'],
    uri: 'https://openvex.dev/ns',
    lack: (predicate) => text(predicate, '@context') ?? text(predicate, 'author') ?? array(predicate, 'statements'),
  },
  {
    names: ['custom'],
    uri: 'https://cosign.sigstore.dev/attestation/v1',
    // sigstore/cosign: specs/COSIGN_PREDICATE_SPEC.md
    lack: (predicate) => ('Data' in predicate ? undefined : 'Data is missing'),
  },
];

/** The names that stand for a predicate type. */
export const predicateTypeNames: readonly string[] = types.flatMap(({ names }) => names);

/**
 * The URI of a predicate type: of one of the names, or the URI itself.
 * @throws ImageError `IMAGE_PREDICATE` for a text that is neither
 */
export function predicateTypeUri(nameOrUri: string): string {
  const known = types.find(({ names }) => names.includes(nameOrUri));
  if (known !== undefined) return known.uri;
  if (/^[a-z][a-z0-9+.-]*:\S+$/i.test(nameOrUri)) return nameOrUri;
  throw new ImageError('IMAGE_PREDICATE', `Cannot use predicate type ${JSON.stringify(nameOrUri.slice(0, 100))}`, {
    cure: `Give a URI, or one of ${predicateTypeNames.join(', ')}`,
  });
}

/**
 * What a predicate lacks that its type requires; undefined if nothing, or if we do not know the type. A statement that says "SPDX" and holds something
 * else would be believed by whoever only looks at its type.
 */
export function predicateFault(predicateType: string, predicate: JsonValue | undefined): string | undefined {
  const known = types.find(({ uri }) => uri === predicateType);
  if (known === undefined) return undefined;
  // SPDX in its text form is one string.
  if (known.uri === 'https://spdx.dev/Document' && typeof predicate === 'string') {
    return /^SPDXVersion:/m.test(predicate) ? undefined : 'the text has no SPDXVersion';
  }
  if (predicate === null || typeof predicate !== 'object' || Array.isArray(predicate)) return 'it is not an object';
  return known.lack(predicate);
}

function at(predicate: Predicate, path: readonly string[]): JsonValue | undefined {
  const [name = '', ...rest] = path;
  const value = Object.hasOwn(predicate, name) ? predicate[name] : undefined;
  return rest.length === 0 ? value : at(fieldsOf(value), rest);
}

function text(predicate: Predicate, ...path: string[]): string | undefined {
  const value = at(predicate, path);
  return typeof value === 'string' && value !== '' ? undefined : `${path.join('.')} must be a text`;
}

function time(predicate: Predicate, ...path: string[]): string | undefined {
  const value = at(predicate, path);
  const isTime = typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) && !Number.isNaN(Date.parse(value));
  return isTime ? undefined : `${path.join('.')} must be a time`;
}

function object(predicate: Predicate, ...path: string[]): string | undefined {
  const value = at(predicate, path);
  const isObject = value !== null && typeof value === 'object' && !Array.isArray(value);
  return isObject ? undefined : `${path.join('.')} must be an object`;
}

function array(predicate: Predicate, ...path: string[]): string | undefined {
  return Array.isArray(at(predicate, path)) ? undefined : `${path.join('.')} must be a list`;
}
