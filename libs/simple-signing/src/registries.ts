import { type Document, isAlias, isMap, parseDocument, visit } from 'yaml';
import { encodeUtf8, EncodingError, parseUtf8 } from '#libs/encoding';
import { quoted, reasonOf, SimpleSigningError } from './error.js';
import { type ImageIdentity, scopesOf } from './reference.js';

/** What is configured for a registry, a namespace or an image. */
export interface RegistrySection {
  /** Where signatures are read, and written if there is no staging. */
  readonly lookaside?: string;
  /** Where signatures are written. */
  readonly lookasideStaging?: string;
  /** Whether signatures of Sigstore in the registry itself are read. */
  readonly useSigstoreAttachments?: boolean;
}

/** The files of a registries.d folder, merged. */
export interface RegistriesConfig {
  readonly defaultDocker?: RegistrySection;
  /** By scope: an image, a repository, a namespace, a host, or `*.` and a domain. */
  readonly docker: ReadonlyMap<string, RegistrySection>;
}

const MAX_FILE = 1_048_576;
const topLevel = ['default-docker', 'docker'];
/** With the names from before signatures of Sigstore existed. */
const sectionFields = {
  lookaside: 'lookaside',
  sigstore: 'lookaside',
  'lookaside-staging': 'lookasideStaging',
  'sigstore-staging': 'lookasideStaging',
  'use-sigstore-attachments': 'useSigstoreAttachments',
} as const;

/**
 * Reads and merges the YAML files of a folder. What containers/image would pass over is an error here: an unknown field, both
 * spellings of one field. An error there as here: the same scope twice, in one file or two.
 * @throws SimpleSigningError `SIMPLE_REGISTRIES`, `SIMPLE_TOO_LARGE`
 * @see containers-registries.d(5)
 */
export function parseRegistries(
  files: readonly { readonly name: string; readonly content: Uint8Array }[],
): RegistriesConfig {
  const docker = new Map<string, RegistrySection>();
  let defaultDocker: RegistrySection | undefined;
  for (const { name, content } of files) {
    const bad = (state: string, cause?: unknown) =>
      new SimpleSigningError('SIMPLE_REGISTRIES', `Cannot read ${name}: ${state}`, { cause });
    const file = readYaml(name, content, bad);
    checkFields(file, topLevel, 'the file', bad);
    const byDefault = file['default-docker'];
    if (byDefault !== undefined && byDefault !== null) {
      if (defaultDocker !== undefined) throw bad('default-docker is in another file as well');
      defaultDocker = readSection(byDefault, 'default-docker', bad);
    }
    for (const [scope, section] of Object.entries(asObject(file['docker'] ?? {}, 'docker', bad))) {
      if (docker.has(scope)) throw bad(`${quoted(scope)} is in another file as well`);
      docker.set(scope, readSection(section, quoted(scope), bad));
    }
  }
  return { ...(defaultDocker !== undefined && { defaultDocker }), docker };
}

type Bad = (state: string, cause?: unknown) => SimpleSigningError;

function readYaml(name: string, content: Uint8Array, bad: Bad): Record<string, unknown> {
  if (content.length > MAX_FILE) {
    throw new SimpleSigningError(
      'SIMPLE_TOO_LARGE',
      `Cannot read ${name}: ${content.length} bytes, at most ${MAX_FILE}`,
    );
  }
  let document: Document.Parsed;
  try {
    // Not `silent`: that would hide a second document as well.
    document = parseDocument(parseUtf8(content), { logLevel: 'error' });
  } catch (cause) {
    throw bad(cause instanceof EncodingError ? 'it is not UTF-8' : reasonOf(cause), cause);
  }
  const [problem] = document.errors;
  if (problem !== undefined) throw bad(problem.message.split('\n')[0] ?? 'it is not YAML', problem);
  visit(document, (_, node) => {
    // A kilobyte of aliases to aliases could become gigabytes.
    if (isAlias(node)) throw bad('it has aliases, which are not read');
  });
  if (document.contents === null) return {};
  if (!isMap(document.contents)) throw bad('it is no mapping');
  return document.toJS() as Record<string, unknown>; // of a mapping, an object
}

function readSection(value: unknown, what: string, bad: Bad): RegistrySection {
  const section = asObject(value ?? {}, what, bad);
  checkFields(section, Object.keys(sectionFields), what, bad);
  const read: { lookaside?: string; lookasideStaging?: string; useSigstoreAttachments?: boolean } = {};
  for (const [field, target] of Object.entries(sectionFields)) {
    const given = section[field];
    if (given === undefined || given === null) continue;
    if (read[target] !== undefined) throw bad(`${what} has ${field} under its old and its new name`);
    if (target === 'useSigstoreAttachments') {
      if (typeof given !== 'boolean') throw bad(`${field} of ${what} is neither true nor false`);
      read[target] = given;
    } else {
      if (typeof given !== 'string') throw bad(`${field} of ${what} is no text`);
      read[target] = given;
    }
  }
  return read;
}

function asObject(value: unknown, what: string, bad: Bad): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw bad(`${what} is no mapping`);
  return value as Record<string, unknown>; // checked in the line before
}

function checkFields(value: Record<string, unknown>, known: readonly string[], what: string, bad: Bad): void {
  const unknown = Object.keys(value).find((field) => !known.includes(field));
  if (unknown !== undefined) throw bad(`${what} has an unknown field ${quoted(unknown)}`);
}

/**
 * The value that applies to an image: of the most specific section that has it, as containers/image looks for each by itself.
 */
function lookUp<T>(
  config: RegistriesConfig,
  image: ImageIdentity,
  pick: (section: RegistrySection) => T | undefined,
): T | undefined {
  for (const scope of scopesOf(image)) {
    const section = config.docker.get(scope);
    const value = section === undefined ? undefined : pick(section);
    if (value !== undefined) return value;
  }
  return config.defaultDocker === undefined ? undefined : pick(config.defaultDocker);
}

/** Where the signatures of an image are read; undefined if nothing is configured. An empty address is none. */
export function lookasideToRead(config: RegistriesConfig, image: ImageIdentity): string | undefined {
  return lookUp(config, image, ({ lookaside }) => lookaside || undefined);
}

/** Where the signatures of an image are written: the staging, else where they are read. */
export function lookasideToWrite(config: RegistriesConfig, image: ImageIdentity): string | undefined {
  return lookUp(config, image, ({ lookasideStaging, lookaside }) => lookasideStaging || lookaside || undefined);
}

/** Whether signatures of Sigstore are looked for in the registry. */
export function usesSigstoreAttachments(config: RegistriesConfig, image: ImageIdentity): boolean {
  return lookUp(config, image, ({ useSigstoreAttachments }) => useSigstoreAttachments) ?? false;
}

/** One file of registries.d with these sections, as `parseRegistries` reads it. JSON texts are YAML texts too. */
export function encodeRegistries(config: RegistriesConfig): Uint8Array {
  const lines: string[] = [];
  if (config.defaultDocker !== undefined) lines.push('default-docker:', ...encodeSection(config.defaultDocker, '  '));
  if (config.docker.size > 0) lines.push('docker:');
  for (const [scope, section] of config.docker)
    lines.push(`  ${JSON.stringify(scope)}:`, ...encodeSection(section, '    '));
  return encodeUtf8(lines.map((line) => `${line}\n`).join(''));
}

function encodeSection(section: RegistrySection, indent: string): string[] {
  const rows: string[] = [];
  if (section.lookaside !== undefined) rows.push(`lookaside: ${JSON.stringify(section.lookaside)}`);
  if (section.lookasideStaging !== undefined)
    rows.push(`lookaside-staging: ${JSON.stringify(section.lookasideStaging)}`);
  if (section.useSigstoreAttachments !== undefined)
    rows.push(`use-sigstore-attachments: ${section.useSigstoreAttachments}`);
  return rows.length === 0 ? [`${indent}{}`] : rows.map((row) => indent + row);
}
