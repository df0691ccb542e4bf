import { isIP } from 'node:net';
import { encodeHex, equalBytes, parseBase64, parseHex } from '#libs/encoding';
import {
  checkProof,
  compareHeads,
  fsck,
  readCheckpoint,
  textFilter,
  type FsckReport,
  type Layout,
  type LogHead,
  type LogSource,
  type TextFilter,
} from '#libs/audit';
import { leafHash } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import {
  matches,
  parseSearchQuery,
  searchAnswerSchema,
  SearchError,
  type SearchAnswerJson,
  type SearchQuery,
} from '#libs/search';
import { callService, joinUrl } from '#libs/sign';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { entryJson, entryLine, entryRow, readEntry, type EntryRow, type ShownEntry } from './log-entries.js';
import { openTiles, orUntold, readingThreads, type LogName, type LogOptions } from './log-open.js';
import { explain, grouped, headJson } from './log-text.js';
import { startProgress } from './progress.js';
import { jsonText, printable } from './style.js';

/** What is looked for; the names are those of `GET /api/search`. */
export interface SearchCommand extends LogOptions {
  email?: string;
  uri?: string;
  san?: string;
  issuer?: string;
  digest?: string;
  key?: string;
  certificate?: string;
  subject?: string;
  repository?: string;
  workflow?: string;
  logIndex?: string;
  uuid?: string;
  after?: string;
  before?: string;
  tree?: LogName;
  limit?: string;
  cursor?: string;
  all?: boolean;
  verify?: boolean;
  scan?: boolean;
  threads?: number;
}

const parameters = [
  ...(['email', 'uri', 'san', 'issuer', 'digest', 'key', 'certificate', 'subject', 'repository'] as const),
  ...(['workflow', 'logIndex', 'uuid', 'after', 'before'] as const),
];
const paging = ['tree', 'limit', 'cursor'] as const;
const MAX_ANSWER_BYTES = 1 << 26;
// A hundred million entries at a hundred a page; a server that never ends is cut off.
const MAX_PAGES = 1_000_000;

/** `log search`: by asking a server, or by reading the whole log. */
export async function searchLog(terminal: Terminal, given: SearchCommand): Promise<ExitCode> {
  // A server is asked about its trees by the names of the logs.
  const tree = given.tree ?? (given.scan ? undefined : given.log);
  const options: SearchCommand = tree === undefined ? given : { ...given, tree };
  const { parse, params } = readQuery(options);
  if (options.scan) return scan(terminal, parse(params), options);
  if (options.url === undefined) {
    throw new CliError(
      'usage',
      'Cannot search: give --url of a chancery server, or --scan to read a whole log by yourself',
    );
  }
  if (options.verify && options.cursor !== undefined) {
    throw new CliError(
      'usage',
      'Cannot verify from --cursor on: what came before could not be told from what is missing',
    );
  }
  parse({ ...params, ...pick(options, paging) });
  const isWhole = options.all === true || options.verify === true;
  const answer = await ask(terminal, options, params, isWhole);
  if (!options.json) for (const entry of answer.entries) terminal.out(entryLine(answerRow(entry)));
  const verdict = options.verify ? await verify(terminal, options, parse(params), answer) : undefined;
  if (options.json)
    terminal.out(jsonText({ ok: verdict?.ok ?? true, ...answer, ...(verdict && { verified: verdict.trees }) }));
  else {
    terminal.err(
      `${answer.entries.length} entries${answer.next === null ? '' : `; more with --cursor ${printable(answer.next)}, or --all`}\n`,
    );
    for (const line of verdict?.lines ?? []) terminal.err(`${printable(line)}\n`);
  }
  return verdict === undefined || verdict.ok ? exitCodes.ok : exitCodes.failed;
}

/** @throws CliError `usage` */
function readQuery(options: SearchCommand): {
  parse: (params: Record<string, string>) => SearchQuery;
  params: Record<string, string>;
} {
  const params = pick(options, parameters);
  const parse = (given: Record<string, string>): SearchQuery => {
    try {
      return parseSearchQuery(given);
    } catch (cause) {
      if (!(cause instanceof SearchError)) throw cause;
      throw new CliError('usage', cause.message, { cause, cure: 'See chancery log search --help' });
    }
  };
  return { parse, params };
}

function pick<Name extends keyof SearchCommand>(
  options: SearchCommand,
  names: readonly Name[],
): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => (options[name] === undefined ? [] : [[name, String(options[name])] as const])),
  );
}

/** Asks a server, page by page if all is wanted. */
async function ask(
  terminal: Terminal,
  options: SearchCommand,
  params: Record<string, string>,
  isWhole: boolean,
): Promise<SearchAnswerJson> {
  const entries: SearchAnswerJson['entries'] = [];
  let cursor = options.cursor;
  let complete: SearchAnswerJson['complete'] = [];
  for (let page = 0; page < MAX_PAGES; page++) {
    const given = {
      ...params,
      ...(isWhole && { limit: '100' }),
      ...pick(options, ['tree', 'limit']),
      ...(cursor !== undefined && { cursor }),
    };
    const url = `${joinUrl(options.url ?? '', '/api/search')}?${new URLSearchParams(given).toString()}`;
    const { body } = await callService(
      { service: 'search', url, maxBytes: MAX_ANSWER_BYTES },
      { fetch: terminal.fetch },
    );
    const answer = readAnswer(body);
    entries.push(...answer.entries);
    // The trees stay as they were on the first page.
    if (page === 0) complete = answer.complete;
    if (!isWhole || answer.next === null) return { entries, complete, next: answer.next };
    if (answer.next === cursor) break;
    cursor = answer.next;
  }
  throw new CliError('network', 'Cannot read the answer of the search: its pages do not end');
}

function readAnswer(body: Uint8Array): SearchAnswerJson {
  try {
    return searchAnswerSchema.parse(JSON.parse(Buffer.from(body).toString('utf8')));
  } catch (cause) {
    throw new CliError('network', 'Cannot read the answer of the search: it is not what GET /api/search answers', {
      cause,
      cure: 'Check that --url is a chancery server; other logs can be searched with --scan',
    });
  }
}

function answerRow(entry: SearchAnswerJson['entries'][number]): EntryRow {
  const { tree, logIndex, integratedTime, kind, identities, issuer, digests, keyFingerprints } = entry;
  return { tree, logIndex, time: integratedTime, kind, identities, issuer, digests, keyFingerprints };
}

/** `log search --scan`: every entry of the log, proven to be in it, without believing any index. */
async function scan(terminal: Terminal, query: SearchQuery, options: SearchCommand): Promise<ExitCode> {
  for (const name of ['tree', 'limit', 'cursor', 'all', 'verify'] as const) {
    if (options[name] === undefined) continue;
    throw new CliError('usage', `Cannot scan with --${name}: a scan reads all of one log`);
  }
  const progress = startProgress(terminal, { what: 'read', quiet: options.json === true });
  const { head, report, found } = await orUntold(
    (async () => {
      const { source, readHead, layoutOf } = await openTiles(terminal, options);
      const head = await readHead();
      const layout = await layoutOf(head.size);
      return { head, ...(await scanTree({ source, layout, head, query, options, progress: progress.update })) };
    })(),
  );
  const { seconds, rate } = progress.end();
  const { outcome } = report;
  if (options.json) {
    const result = { ok: outcome === 'intact', outcome, ...headJson(head), entries: found.map(entryJson) };
    terminal.out(jsonText({ ...result, seconds, entriesPerSecond: Math.round(rate), problems: report.problems }));
  } else {
    for (const entry of found) terminal.out(entryLine(entryRow(entry)));
    explain(terminal, head, [
      ['found', `${found.length} of ${grouped(report.entries)} entries`],
      ['rate', `${grouped(rate)} entries/s`],
    ]);
  }
  if (outcome !== 'intact' && !options.json) terminal.err(`error: ${incomplete(report)}\n`);
  return { intact: exitCodes.ok, damaged: exitCodes.failed, untold: exitCodes.untold }[outcome];
}

function incomplete({ outcome, problems, untold }: FsckReport): string {
  const [first] = problems;
  return outcome === 'damaged'
    ? `the log is damaged, so entries may be missing here: ${printable(first?.object ?? '')}: ${printable(first?.reason ?? '')}`
    : `entries may be missing here: ${untold.join('; ')}`;
}

interface Scan {
  source: LogSource;
  layout: Layout;
  head: LogHead;
  query: SearchQuery;
  options: SearchCommand;
  progress: (done: bigint, total: bigint) => void;
}

/** Reads the whole tree; most entries are passed over by the bytes they must contain. In the order of the log. */
async function scanTree(given: Scan): Promise<{ report: FsckReport; found: ShownEntry[] }> {
  const { source, layout, head, query, options, progress } = given;
  const found: ShownEntry[] = [];
  const filter = filterOf(options);
  const report = await fsck({
    source,
    layout,
    head,
    threads: readingThreads(options.threads),
    progress,
    filter,
    onPicked: (picked) => {
      const entry = readEntry(layout, picked);
      if (isFound(entry, query)) found.push(entry);
    },
  });
  found.sort((a, b) => (a.index < b.index ? -1 : 1));
  return { report, found };
}

/** The same conditions as in the server's search. */
function isFound({ index, facts, timestampMs, leaf }: ShownEntry, query: SearchQuery): boolean {
  const { logIndex, leafHash: hash, afterMs, beforeMs } = query;
  if (logIndex !== undefined && index !== logIndex) return false;
  if (hash !== undefined && !equalBytes(leafHash(sha256, leaf), hash)) return false;
  if (afterMs !== undefined || beforeMs !== undefined) {
    if (timestampMs === undefined) {
      throw new CliError('usage', 'Cannot search by time: this log does not say when it took its entries');
    }
    if (afterMs !== undefined && timestampMs < afterMs) return false;
    if (beforeMs !== undefined && timestampMs >= beforeMs) return false;
  }
  return matches(facts, query);
}

/** The bytes that an entry cannot lack if it matches. Fingerprints are computed, and addresses are not text: they do not help. */
function filterOf(options: SearchCommand): TextFilter {
  const { email, uri, san, issuer, repository, workflow, digest, subject } = options;
  const texts = [email, uri, san !== undefined && isIP(san) === 0 ? san : undefined, issuer, repository, workflow];
  const groups: (readonly (string | Uint8Array)[])[] = texts.flatMap((text) => (text === undefined ? [] : [[text]]));
  for (const value of [digest, subject]) {
    const hex = value?.slice(value.indexOf(':') + 1).toLowerCase();
    // Some kinds of entry have digests in hex, some in base64.
    if (hex !== undefined) groups.push([hex, parseHex(hex)]);
  }
  return textFilter(groups);
}

interface Verdict {
  ok: boolean;
  lines: string[];
  trees: object[];
}

/**
 * Holds a server's answer against the log itself: the sizes and roots that it names must be those of signed heads, each entry must be in its tree, and
 * a scan of the whole tree with the same conditions must find the same entries.
 */
async function verify(
  terminal: Terminal,
  options: SearchCommand,
  query: SearchQuery,
  answer: SearchAnswerJson,
): Promise<Verdict> {
  const verdict: Verdict = { ok: true, lines: [], trees: [] };
  for (const part of answer.complete) {
    const progress = startProgress(terminal, { what: `of ${part.tree} read`, quiet: options.json === true });
    const size = BigInt(part.treeSize);
    const { found, problem } = await scanPart(terminal, options, query, part, progress.update);
    progress.end();
    const expected = new Map(found.filter(({ index }) => index < size).map((entry) => [String(entry.index), entry]));
    const given = answer.entries.filter(({ tree }) => tree === part.tree);
    const extra = given.filter(({ logIndex, leafHash: hash, body }) => {
      const entry = expected.get(logIndex);
      return (
        entry === undefined ||
        encodeHex(leafHash(sha256, entry.leaf)) !== hash ||
        !equalBytes(entry.leaf, parseBase64(body))
      );
    });
    const indexes = new Set(given.map(({ logIndex }) => logIndex));
    const missing = [...expected.keys()].filter((index) => !indexes.has(index));
    const isTwice = indexes.size !== given.length;
    const isRight = problem === undefined && extra.length === 0 && missing.length === 0 && !isTwice;
    verdict.ok &&= isRight;
    verdict.trees.push({
      tree: part.tree,
      ok: isRight,
      treeSize: part.treeSize,
      missing,
      extra: extra.map(({ logIndex }) => logIndex),
      problem: problem ?? null,
    });
    verdict.lines.push(
      `${isRight ? '✓' : '✗ error:'} ${part.tree}: ` +
        (isRight
          ? `${given.length} entries are in the tree of size ${size}, and no other one matches`
          : [
              problem,
              missing.length > 0 ? `left out: ${missing.slice(0, 20).join(', ')}` : undefined,
              extra.length > 0
                ? `not in the tree, or not matching: ${extra
                    .slice(0, 20)
                    .map(({ logIndex }) => logIndex)
                    .join(', ')}`
                : undefined,
              isTwice ? 'an entry is given twice' : undefined,
            ]
              .filter((one) => one !== undefined)
              .join('; ')),
    );
  }
  const known = new Set(answer.complete.map(({ tree }) => tree));
  const stray = answer.entries.filter(({ tree }) => !known.has(tree));
  if (stray.length > 0) {
    verdict.ok = false;
    verdict.lines.push(`✗ error: ${stray.length} entries are of trees that the answer does not name`);
  }
  return verdict;
}

/** All entries of the tree that match, and what is wrong with the head that the server named. */
async function scanPart(
  terminal: Terminal,
  options: SearchCommand,
  query: SearchQuery,
  part: SearchAnswerJson['complete'][number],
  progress: (done: bigint, total: bigint) => void,
): Promise<{ found: ShownEntry[]; problem: string | undefined }> {
  const { url, tiles, log: _, ...rest } = options;
  const served = await openTiles(terminal, { ...rest, ...(url !== undefined && { url }), log: part.tree });
  const head = await readCheckpoint(part.checkpoint, served.trust);
  const named = { ...head, size: BigInt(part.treeSize), rootHash: parseHex(part.rootHash) };
  const problem = headProblem();
  if (problem !== undefined) return { found: [], problem };
  if (tiles === undefined) return read(served, head);

  // The copy is a tree of its own: it must go on from the one that the answer names.
  const copy = await openTiles(terminal, { ...rest, tiles });
  const copied = await copy.readHead();
  if (copied.origin !== head.origin || copied.size < named.size) {
    throw new CliError(
      'untold',
      `Cannot verify with ${tiles}: it has ${copied.size} entries of ${copied.origin}, the answer is about ${named.size} of ${head.origin}`,
      {
        cure: 'Bring the copy up to date with log mirror, and name its tree with --tree',
      },
    );
  }
  const comparison = named.size === 0n ? undefined : await compareHeads(copy.provable, named, copied);
  if (comparison !== undefined && comparison.kind !== 'consistent') {
    return { found: [], problem: `its tree is not the one in ${tiles}: ${comparison.explanation}` };
  }
  return read(copy, copied);

  async function read(
    { source, layoutOf }: Awaited<ReturnType<typeof openTiles>>,
    of: LogHead,
  ): Promise<{ found: ShownEntry[]; problem: string | undefined }> {
    const layout = await layoutOf(of.size);
    const { report, found } = await orUntold(scanTree({ source, layout, head: of, query, options, progress }));
    return { found, problem: report.outcome === 'intact' ? undefined : incomplete(report) };
  }

  function headProblem(): string | undefined {
    if (part.origin !== head.origin) return `its origin is ${part.origin}, the checkpoint is of ${head.origin}`;
    if (named.size === 0n) return undefined;
    if (named.size > head.size) return `its size ${named.size} is above that of the checkpoint, ${head.size}`;
    const hashes = part.consistency.map((hash) => parseHex(hash));
    const comparison = checkProof(named, head, { hashes, objects: [] });
    return comparison.kind === 'consistent'
      ? undefined
      : `its root is not that of a prefix of the checkpoint's tree: ${comparison.explanation}`;
  }
}
