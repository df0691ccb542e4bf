import { isDigest, repositoryOf, type Reference, type RegistryStore } from '#libs/oci';
import { sign } from '#libs/sign';
import {
  cosignTag,
  pendingTags,
  policyOfOne,
  publishTags,
  refreshSnapshot,
  type Published,
  type PublishContext,
  type TagChange,
} from '#libs/tags';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { openRepository } from './image-registry.js';
import { readSigningKey } from './key-load.js';
import { prepare, type SigningOptions } from './sign.js';
import { columns, jsonText, printable, style } from './style.js';
import {
  openMemory,
  readAge,
  readNames,
  readRepository,
  readTagContext,
  type NamedTags,
  type TagFlags,
} from './tag-context.js';
import { readTrustedRoot } from './trust-files.js';

export interface TagPublishOptions extends SigningOptions, TagFlags {
  validFor: string;
  snapshotValidFor: string;
  from?: string;
  threshold?: number;
  reason?: string;
  init?: boolean;
  /** Of `tag cosign`: what is to be signed is a revocation. */
  revoke?: boolean;
  json?: boolean;
}

/** `tag publish` */
export async function publishCommand(
  terminal: Terminal,
  names: string[],
  options: TagPublishOptions,
): Promise<ExitCode> {
  const named = readNames(names);
  const from = options.from === undefined ? undefined : readTime(options.from);
  return withPublisher(terminal, named.repository, options, async (context) => {
    const changes: TagChange[] = [];
    for (const { tag, digest } of named.tags) {
      const target = await context.store.resolve(digest ?? tag);
      if (digest === undefined) {
        terminal.err(
          `${style(terminal.colours.err).warn('note:')} the registry says that ${tag} is ${target.digest}; ` +
            'give the digest that you built, as REPO:TAG@sha256:…, to say so yourself.\n',
        );
      }
      changes.push({
        kind: 'set',
        tag,
        target,
        ...(from !== undefined && { from }),
        ...(options.threshold !== undefined && { threshold: options.threshold }),
      });
    }
    return publishTags(context, changes);
  });
}

/** `tag revoke` */
export async function revokeCommand(
  terminal: Terminal,
  names: string[],
  options: TagPublishOptions,
): Promise<ExitCode> {
  const named = readNames(names);
  const { reason, threshold } = options;
  return withPublisher(terminal, named.repository, options, (context) =>
    publishTags(
      context,
      named.tags.map(({ tag }) => ({
        kind: 'revoke',
        tag,
        ...(reason !== undefined && { reason }),
        ...(threshold !== undefined && { threshold }),
      })),
    ),
  );
}

/** `tag refresh` */
export async function refreshCommand(terminal: Terminal, name: string, options: TagPublishOptions): Promise<ExitCode> {
  return withPublisher(terminal, readRepository(name), options, refreshSnapshot);
}

/** `tag cosign` */
export async function cosignCommand(terminal: Terminal, name: string, options: TagPublishOptions): Promise<ExitCode> {
  const { repository, tags } = readNames([name]);
  const { tag, digest } = tags[0] as NamedTags['tags'][0]; // one name, one tag
  if (digest === undefined || !isDigest(digest)) {
    throw new CliError('usage', 'Cannot cosign: say which digest you vouch for', {
      cure: 'Give it as REPO:TAG@sha256:…; `chancery tag pending` shows what waits',
    });
  }
  const state = options.revoke === true ? 'revoked' : 'current';
  return withPublisher(terminal, repository, options, (context) =>
    cosignTag(context, { tag, expected: digest, state }),
  );
}

/** `tag pending` */
export async function pendingCommand(
  terminal: Terminal,
  name: string,
  options: TagFlags & { trustedRoot: string; key?: string; json?: boolean },
): Promise<ExitCode> {
  const repository = readRepository(name);
  const store = await openRepository(terminal, repository, options);
  try {
    const trustedRoot = await readTrustedRoot(options.trustedRoot);
    const pending = await pendingTags(await readTagContext(terminal, options, { repository, store, trustedRoot }));
    if (options.json) {
      terminal.out(
        jsonText({ ok: true, pending: pending.map(({ id, ...rest }) => ({ statementDigest: id, ...rest })) }),
      );
      return exitCodes.ok;
    }
    for (const { statement, signatures, missing } of pending) {
      terminal.out(`${repositoryOf(repository)}:${statement.tag}@${statement.digest}\n`);
      terminal.out(
        columns([
          ['to become', statement.state],
          ['version', String(statement.version)],
          ['until', statement.until.toISOString()],
          ['signed by', signatures.map(({ signer }) => printable(signer)).join(', ') || 'nobody who counts'],
          ['missing', String(missing)],
        ]),
      );
    }
    if (pending.length === 0) terminal.out('Nothing waits for signers.\n');
    return exitCodes.ok;
  } finally {
    await store.close();
  }
}

/** `tag forget` */
export async function forgetCommand(
  terminal: Terminal,
  name: string,
  options: { state?: string; json?: boolean },
): Promise<ExitCode> {
  const repository = repositoryOf(readRepository(name));
  const forgotten = (await openMemory(terminal, options.state)?.forget(repository)) ?? false;
  if (options.json) terminal.out(jsonText({ ok: true, repository, forgotten }));
  else {
    terminal.out(
      forgotten
        ? `Forgotten: ${repository}. What is verified next is pinned anew.\n`
        : `Nothing was remembered of ${repository}.\n`,
    );
  }
  return exitCodes.ok;
}

async function withPublisher(
  terminal: Terminal,
  repository: Reference,
  options: TagPublishOptions,
  work: (context: PublishContext & { store: RegistryStore }) => Promise<Published>,
): Promise<ExitCode> {
  if ((options.url === undefined) === (options.signingConfig === undefined)) {
    throw new CliError('usage', 'Cannot sign: give either --url or --signing-config, to say which services to use');
  }
  const tagLifetimeMs = readAge(options.validFor, '--valid-for');
  const snapshotLifetimeMs = readAge(options.snapshotValidFor, '--snapshot-valid-for');
  const key = options.key === undefined ? undefined : await readSigningKey(terminal, options.key);
  const { certificateIdentity: san, certificateIdentityRegexp: pattern, policy } = options;
  const hasDemand = policy !== undefined || san !== undefined || pattern !== undefined;
  if (!hasDemand && key === undefined) {
    throw new CliError('usage', 'Cannot publish: nobody is named who may say what tags mean', {
      cure: 'Give the policy that those who verify have, with --policy, or --certificate-identity with --certificate-oidc-issuer: what would not count is not published',
    });
  }
  const setup = await prepare(terminal, options, key);
  const { trustedRoot } = setup;
  if (trustedRoot === undefined) {
    throw new CliError('usage', 'Cannot publish: --trusted-root is missing, to check what is there already');
  }
  const store = await openRepository(terminal, repository, options);
  try {
    // The private key is no demand; but who signs with one may leave the policy out, and means its public half.
    const { key: _private, ...demands } = options;
    const own = hasDemand || key === undefined ? undefined : policyOfOne({ kind: 'key', publicKey: key.publicKey });
    const judge = await readTagContext(terminal, demands, {
      repository,
      store,
      trustedRoot,
      ...(own !== undefined && { policy: own }),
    });
    const published = await work({
      ...judge,
      store,
      sign: (bytes) => sign({ kind: 'statement', bytes }, setup),
      tagLifetimeMs,
      snapshotLifetimeMs,
      init: options.init === true,
      pause: (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
      random: Math.random,
    });
    if (options.json) terminal.out(jsonText(publishedJson(published, judge.repository)));
    else printPublished(terminal, published, judge.repository);
    return exitCodes.ok;
  } finally {
    await store.close();
  }
}

function readTime(text: string): Date {
  const time = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}Z)?$/.test(text) ? new Date(text) : new Date(Number.NaN);
  if (!Number.isNaN(time.getTime())) return time;
  throw new CliError('usage', 'Cannot use --from: it is not a time such as 2026-01-31 or 2026-01-31T12:00:00Z');
}

function publishedJson({ tags, snapshot, merged }: Published, repository: string): object {
  return {
    ok: true,
    repository,
    tags: tags.map(({ statement, id, signatures, missing }) => ({
      ...statement,
      statement: id,
      inForce: missing === 0,
      missingSigners: missing,
      signatures,
    })),
    snapshot: snapshot ?? null,
    merged,
  };
}

function printPublished(terminal: Terminal, { tags, snapshot, merged }: Published, repository: string): void {
  const paint = style(terminal.colours.out);
  for (const { statement, signatures, missing } of tags) {
    const { tag, digest, version, state, until } = statement;
    const verb = missing > 0 ? paint.warn('Waiting:') : paint.good(state === 'revoked' ? 'Revoked:' : 'Published:');
    terminal.out(`${verb} ${repository}:${tag}\n`);
    terminal.out(
      columns([
        [state === 'revoked' ? 'was' : 'means', digest],
        ['version', String(version)],
        ...(state === 'revoked' ? [] : ([['until', until.toISOString()]] as const)),
        ['signed by', signatures.map(({ signer }) => printable(signer)).join(', ')],
        ...(missing > 0
          ? ([
              [
                'missing',
                `${missing} more signer${missing === 1 ? '' : 's'}: chancery tag cosign ${state === 'revoked' ? '--revoke ' : ''}${repository}:${tag}@${digest}`,
              ],
            ] as const)
          : []),
      ]),
    );
  }
  if (snapshot === undefined) return;
  terminal.out(
    columns([
      ['snapshot', `version ${snapshot.version}, until ${snapshot.until.toISOString()}`],
      ...(merged > 0
        ? ([['taken up', `${merged} snapshot${merged === 1 ? '' : 's'} of other publishers`]] as const)
        : []),
    ]),
  );
}
