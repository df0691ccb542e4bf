import { repositoryOf } from '#libs/oci';
import { readHistory, verifyTags, type HistoryEntry, type TagReport } from '#libs/tags';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { openRepository } from './image-registry.js';
import { printChecks } from './report.js';
import { columns, jsonText, printable, style } from './style.js';
import { readNames, readTagContext, type NamedTags, type TagFlags } from './tag-context.js';
import { readTrustedRoot } from './trust-files.js';

export interface TagVerifyOptions extends TagFlags {
  trustedRoot: string;
  /** A public key. */
  key?: string;
  /** False: `--no-first-use`. */
  firstUse?: boolean;
  quiet?: boolean;
  json?: boolean;
}

/** `tag verify`: what tags mean now. With `--quiet` only what to pull, for programs. */
export async function verifyTagCommand(
  terminal: Terminal,
  names: string[],
  options: TagVerifyOptions,
): Promise<ExitCode> {
  const named = readNames(names);
  const { repository } = named;
  const trustedRoot = await readTrustedRoot(options.trustedRoot);
  const store = await openRepository(terminal, repository, options);
  try {
    const context = await readTagContext(terminal, options, { repository, store, trustedRoot });
    const report = await verifyTags(
      { ...context, refuseFirstUse: options.firstUse === false },
      named.tags.map(({ tag }) => tag),
    );
    if (report.ok) checkDigests(named, report);
    const pull = (report.tags ?? []).map(({ statement: { digest } }) => `${repositoryOf(repository)}@${digest}`);
    if (options.json) terminal.out(jsonText(reportJson(report, pull)));
    else if (options.quiet !== true) print(terminal, report, pull);
    else if (report.ok) terminal.out(pull.map((reference) => `${reference}\n`).join(''));
    if (options.json !== true && options.quiet === true && report.failure !== undefined) throw report.failure;
    if (report.isFirstUse === true && context.memory !== undefined && options.json !== true) {
      terminal.err(
        `${style(terminal.colours.err).warn('note:')} first use of ${report.repository}: nothing older than this is accepted from now on.\n`,
      );
    }
    return report.ok ? exitCodes.ok : exitCodes.failed;
  } finally {
    await store.close();
  }
}

/** Whoever names a digest wants that one. @throws CliError `failed` */
function checkDigests({ tags }: NamedTags, report: TagReport): void {
  for (const [i, { tag, digest }] of tags.entries()) {
    const means = report.tags?.[i]?.statement.digest;
    if (digest === undefined || digest === means) continue;
    throw new CliError('failed', `Cannot use ${tag}: it means ${means ?? 'nothing'}, asked for ${digest}`, {
      code: 'CLI_OTHER_DIGEST',
      cure: 'Take what it means now, or ask its publishers',
    });
  }
}

function print(terminal: Terminal, report: TagReport, pull: readonly string[]): void {
  const paint = style(terminal.colours.out);
  printChecks(
    terminal,
    report.checks.map(({ tag, detail, ...check }) => ({
      ...check,
      detail: tag === undefined || (report.tags?.length ?? 0) < 2 ? detail : `${tag}: ${detail}`,
    })),
  );
  if (!report.ok) {
    terminal.out(`\n${paint.bad(`NOT VERIFIED: ${report.repository}`)}\n`);
    return;
  }
  for (const [i, { statement, signatures }] of (report.tags ?? []).entries()) {
    terminal.out(`\n${paint.good(`Verified: ${report.repository}:${statement.tag}`)}\n`);
    terminal.out(
      columns([
        ['means', statement.digest],
        ['pull', pull[i] ?? ''],
        ['version', String(statement.version)],
        ['until', statement.until.toISOString()],
        ...signatures.map(
          ({ signer, identity }) =>
            ['signer', printable(`${signer}: ${'san' in identity ? identity.san : `key ${identity.keyId}`}`)] as const,
        ),
      ]),
    );
  }
}

function reportJson(
  { ok, repository, checks, tags, snapshot, isFirstUse, failure }: TagReport,
  pull: string[],
): object {
  return {
    ok,
    repository,
    checks,
    ...(tags && { tags: tags.map(({ statement, signatures }, i) => ({ ...statement, pull: pull[i], signatures })) }),
    ...(snapshot && { snapshot }),
    ...(isFirstUse !== undefined && { firstUse: isFirstUse }),
    ...(failure && {
      error: { code: failure.code, check: failure.check, message: failure.message, cure: failure.cure ?? null },
    }),
  };
}

/** `tag history`: the chain of statements about one tag. */
export async function historyCommand(
  terminal: Terminal,
  name: string,
  options: TagVerifyOptions & { limit: number },
): Promise<ExitCode> {
  const { repository, tags } = readNames([name]);
  const { tag } = tags[0] as NamedTags['tags'][0]; // one name, one tag
  const trustedRoot = await readTrustedRoot(options.trustedRoot);
  const store = await openRepository(terminal, repository, options);
  try {
    const context = await readTagContext(terminal, options, { repository, store, trustedRoot });
    const history = await readHistory(context, tag, options.limit);
    const { entries, gaps, snapshots, isCut } = history;
    const ok = gaps.length === 0 && entries.length > 0;
    if (options.json) {
      terminal.out(jsonText({ ok, repository: context.repository, tag, snapshots, complete: !isCut, gaps, entries }));
      return ok ? exitCodes.ok : exitCodes.failed;
    }
    const paint = style(terminal.colours.out);
    for (const entry of entries) terminal.out(describe(entry, paint));
    if (entries.length === 0) terminal.out(`${paint.bad(`The snapshots have no tag ${tag}.`)}\n`);
    for (const gap of gaps) terminal.out(`${paint.bad('gap:')} ${printable(gap)}\n`);
    terminal.out(
      `${entries.length} version${entries.length === 1 ? '' : 's'} in ${snapshots} snapshot${snapshots === 1 ? '' : 's'}` +
        `${isCut ? '; older ones were not read, see --limit' : ''}\n`,
    );
    return ok ? exitCodes.ok : exitCodes.failed;
  } finally {
    await store.close();
  }
}

function describe(
  { entry, snapshot, statement, signatures, refused }: HistoryEntry,
  paint: ReturnType<typeof style>,
): string {
  const { version, state, digest } = entry;
  const title = state === 'revoked' ? paint.warn(`version ${version}, revoked`) : paint.bold(`version ${version}`);
  return (
    `${title}\n` +
    columns([
      [state === 'revoked' ? 'was' : 'meant', digest],
      ...(statement === undefined
        ? []
        : ([
            ['issued', statement.issued.toISOString()],
            ['until', statement.until.toISOString()],
            ...(statement.reason === undefined ? [] : [['reason', printable(statement.reason)] as const]),
          ] as const)),
      ['snapshot', `version ${snapshot.version}, by ${printable(snapshot.signer)}`],
      ...signatures.map(
        ({ signer, times }) => ['signer', `${printable(signer)} at ${times[0]?.toISOString() ?? '?'}`] as const,
      ),
      ...refused.map((reason) => ['not counted', printable(reason)] as const),
    ])
  );
}
