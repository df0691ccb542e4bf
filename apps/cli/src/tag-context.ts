import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { parsePublicKeyPem } from '#libs/crypto';
import { formatReference, parseReference, repositoryOf, type Reference, type RegistryStore } from '#libs/oci';
import { opensslCrypto } from '#libs/openssl';
import {
  parseAge,
  policyOfOne,
  readTagPolicy,
  stateFolder,
  TagError,
  type TagContext,
  type TagMemory,
  type TagPolicy,
} from '#libs/tags';
import type { TrustedRoot } from '#libs/trust';
import type { Terminal } from './config.js';
import { CliError } from './exit.js';
import { readInput } from './files.js';
import type { RegistryFlags } from './image-registry.js';
import { readPolicy, type PolicyOptions } from './verify.js';

/** Whom to believe about tags, and what to remember. */
export interface TagFlags extends RegistryFlags, Omit<PolicyOptions, 'key'> {
  policy?: string;
  maxAge?: string;
  signedRepository?: string;
  /** False: `--no-state`. */
  state?: string | boolean;
}

const MAX_POLICY_BYTES = 1024 * 1024;
const MAX_KEY_BYTES = 64 * 1024;

/** Image references of one repository. */
export interface NamedTags {
  /** Registry and path alone. */
  repository: Reference;
  tags: { tag: string; digest: Reference['digest'] }[];
}

/** @throws CliError `usage` unless all have a tag and are of one repository; OciError `OCI_REFERENCE` */
export function readNames(names: readonly string[]): NamedTags {
  const references = names.map((name) => parseReference(name));
  const [first] = references;
  if (first === undefined) throw new CliError('usage', 'Cannot do this: no image is named');
  const tags = references.map((reference) => {
    const { tag, digest } = reference;
    if (tag === undefined) {
      throw new CliError('usage', `Cannot use ${formatReference(reference)}: it has no tag`, {
        cure: 'Name repository and tag, as registry.example.com/app:1.4; no tag is made up here',
      });
    }
    if (repositoryOf(reference) !== repositoryOf(first)) {
      throw new CliError('usage', 'Cannot do this for several repositories at once: one snapshot is about one');
    }
    return { tag, digest };
  });
  return { repository: { registry: first.registry, repository: first.repository }, tags };
}

/** A repository without a tag. @throws CliError `usage`; OciError `OCI_REFERENCE` */
export function readRepository(name: string): Reference {
  const { registry, repository, tag, digest } = parseReference(name);
  if (tag !== undefined || digest !== undefined) {
    throw new CliError('usage', 'Cannot use a tag or digest here: this is about a whole repository');
  }
  return { registry, repository };
}

/**
 * What judging takes, from the flags. `policy`: instead of the one that the flags name.
 * @throws CliError, TagError `TAGS_POLICY`
 */
export async function readTagContext(
  terminal: Terminal,
  options: TagFlags & { key?: string },
  {
    repository,
    store,
    trustedRoot,
    policy,
  }: { repository: Reference; store: RegistryStore; trustedRoot: TrustedRoot; policy?: TagPolicy },
): Promise<TagContext & { store: RegistryStore }> {
  const signed = options.signedRepository === undefined ? repository : readRepository(options.signedRepository);
  const name = repositoryOf(signed);
  const memory = openMemory(terminal, options.state);
  return {
    store,
    repository: name,
    policy: policy ?? (await readDemands(options, name)),
    trustedRoot,
    crypto: opensslCrypto,
    now: terminal.now,
    ...(memory !== undefined && { memory }),
  };
}

/** Where it is remembered what was seen; undefined with `--no-state`. @throws CliError `usage` if there is no place */
export function openMemory(terminal: Terminal, state: string | boolean | undefined): TagMemory | undefined {
  if (state === false) return undefined;
  if (typeof state === 'string') return stateFolder(state);
  const { XDG_STATE_HOME: xdg = '', HOME: home = '' } = terminal.env;
  if (xdg !== '') return stateFolder(join(xdg, 'chancery', 'tags'));
  if (home !== '') return stateFolder(join(home, '.local', 'state', 'chancery', 'tags'));
  throw new CliError('usage', 'Cannot remember what was seen: neither XDG_STATE_HOME nor HOME is set', {
    cure: 'Give --state, or --no-state to go without protection from older states',
  });
}

async function readDemands(options: TagFlags & { key?: string }, repository: string): Promise<TagPolicy> {
  const { policy, maxAge, ...who } = options;
  const maxAgeMs = maxAge === undefined ? undefined : readAge(maxAge, '--max-age');
  if (policy !== undefined) {
    const { key, certificateIdentity, certificateIdentityRegexp, certificateOidcIssuer, certificateOidcIssuerRegexp } =
      who;
    const names = [certificateIdentity, certificateIdentityRegexp, certificateOidcIssuer, certificateOidcIssuerRegexp];
    // What is not used is no demand, and whoever gave it thinks that it is one.
    if ([maxAge, key, ...names].some((one) => one !== undefined)) {
      throw new CliError('usage', 'Cannot use --policy with --max-age, --key or an identity: the policy has them');
    }
    return readPolicyFile(policy, repository);
  }
  const demand = await readPolicy(who);
  if (demand.kind === 'any') {
    throw new CliError('usage', 'Cannot judge a tag: nobody is named who may say what it means', {
      cure: 'Give --policy, or --certificate-identity with --certificate-oidc-issuer, or --key',
    });
  }
  return policyOfOne(demand, maxAgeMs);
}

async function readPolicyFile(path: string, repository: string): Promise<TagPolicy> {
  const document = parseDocument(await readText(path, 'the policy', MAX_POLICY_BYTES), { uniqueKeys: true });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) {
    throw new CliError('unreadable', `Cannot use the policy ${path}: ${problem.message.split('\n')[0]}`, {
      cause: problem,
    });
  }
  const value: unknown = document.toJS({ maxAliasCount: 0 });
  const readKey = async (name: string) =>
    parsePublicKeyPem(name.includes('-----BEGIN') ? name : await readText(name, 'the public key', MAX_KEY_BYTES));
  try {
    return await readTagPolicy(value, { repository, readKey });
  } catch (error) {
    if (!(error instanceof TagError)) throw error;
    throw new CliError('unreadable', `${error.message} (${path})`, {
      cause: error,
      code: error.code,
      ...(error.cure !== undefined && { cure: error.cure }),
    });
  }
}

/** @throws CliError `usage` */
export function readAge(text: string, flag: string): number {
  const ms = parseAge(text);
  if (ms !== undefined) return ms;
  throw new CliError('usage', `Cannot use ${flag}: it is not a time such as 36h or 14d`);
}

async function readText(path: string, what: string, maxBytes: number): Promise<string> {
  return Buffer.from(await readInput(path, what, maxBytes)).toString('utf8');
}
