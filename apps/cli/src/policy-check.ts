import { dirname, resolve } from 'node:path';
import { parseUtf8 } from '#libs/encoding';
import { OciError, parseReference, type ImageStore, type Reference } from '#libs/oci';
import {
  describeProblem,
  evaluateImage,
  imageEvidence,
  parsePolicyFile,
  parseResource,
  PolicyError,
  type Decision,
  type Explanation,
  type PolicyFile,
  type Resource,
} from '#libs/policy';
import type { TrustedRoot } from '#libs/trust';
import type { Terminal } from './config.js';
import { CliError, describeFailure, exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { flagsFor, openRepository, type RegistryFlags } from './image-registry.js';
import { jsonText, printable, style, type Style } from './style.js';
import { MAX_TRUST_BYTES, parseOr, readTrustedRoot } from './trust-files.js';

export interface PolicyCheckOptions extends RegistryFlags {
  policy: string;
  trustedRoot?: string[];
  /** Of `--no-match`. */
  match: 'deny' | 'warn' | 'allow';
  resource?: string;
  /** Milliseconds: what is not decided by then is denied. */
  timeout: number;
  explain?: boolean;
  json?: boolean;
}

const MAX_POLICY_BYTES = 8 * 1024 * 1024;
const MAX_RESOURCE_BYTES = 4 * 1024 * 1024;

/** `policy check` */
export async function checkPolicy(terminal: Terminal, image: string, options: PolicyCheckOptions): Promise<ExitCode> {
  const reference = parseReference(image);
  let file: PolicyFile;
  let resource: Resource | undefined;
  try {
    file = await readPolicyFile(options);
    resource = options.resource === undefined ? undefined : await readResource(options.resource);
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    return reportProblems(terminal, error, options.json === true);
  }
  const signal = AbortSignal.timeout(options.timeout);
  const flags: RegistryFlags = { ...options, signal };
  // What the flags say of the image's registry is for no other that a policy names.
  const open = (repository: Reference): Promise<ImageStore> =>
    openRepository(terminal, repository, flagsFor(repository, reference, flags));
  const evidence = imageEvidence({ open });
  try {
    const decision = await evaluateImage({
      image,
      policies: file.policies,
      evidence,
      noMatch: options.match,
      resource,
      signal,
    });
    if (options.json === true) terminal.out(decisionJson(decision));
    else printDecision(terminal, decision, options.explain === true);
    return exitCodeOf(decision);
  } finally {
    await evidence.close();
  }
}

async function readPolicyFile({ policy: path, trustedRoot: given = [] }: PolicyCheckOptions): Promise<PolicyFile> {
  const trustRoots = new Map<string, TrustedRoot>();
  let defaultTrustRoot: TrustedRoot | undefined;
  for (const text of given) {
    const [, name, root = text] = /^([A-Za-z0-9][A-Za-z0-9.-]*)=(.+)$/s.exec(text) ?? [];
    if (name === undefined ? defaultTrustRoot !== undefined : trustRoots.has(name)) {
      throw new CliError(
        'usage',
        `Cannot use --trusted-root ${text}: there is one already ${name === undefined ? 'without a name' : 'of this name'}`,
      );
    }
    const read = await readTrustedRoot(root);
    if (name === undefined) defaultTrustRoot = read;
    else trustRoots.set(name, read);
  }
  const text = await readText(path, 'the policy', MAX_POLICY_BYTES);
  return parsePolicyFile(text, {
    source: path,
    trustRoots,
    defaultTrustRoot,
    readFile: (name) => readInput(resolve(dirname(path), name), 'the trusted root', MAX_TRUST_BYTES),
  });
}

async function readResource(path: string): Promise<Resource> {
  return parseResource(await readText(path, 'the object', MAX_RESOURCE_BYTES), path);
}

async function readText(path: string, what: string, maxBytes: number): Promise<string> {
  const bytes = await readInput(path, what, maxBytes);
  return parseOr('unreadable', `${what} ${path}`, () => parseUtf8(bytes));
}

/** A denial that is no judgement ends as the error does that prevented it. */
function exitCodeOf({ allow, cause, resolvedDigest }: Decision): ExitCode {
  if (allow) return exitCodes.ok;
  if (cause === undefined) return exitCodes.failed;
  if (cause instanceof PolicyError) return exitCodes.network;
  const isMissing = cause instanceof OciError && cause.code === 'OCI_NOT_FOUND';
  if (isMissing && resolvedDigest === undefined) return exitCodes.noImage;
  return describeFailure(cause).exitCode;
}

function decisionJson({ cause, ...decision }: Decision): string {
  const failure = cause === undefined ? undefined : describeFailure(cause);
  return jsonText({
    ...decision,
    ...(failure && {
      error: {
        code: cause instanceof PolicyError ? cause.code : failure.code,
        message: failure.message,
        cure: failure.cure ?? null,
      },
    }),
  });
}

/** Everything that is wrong with a file, as compilers tell it. */
function reportProblems(terminal: Terminal, { code, message, problems, cure }: PolicyError, json: boolean): ExitCode {
  if (json) {
    terminal.out(jsonText({ allow: false, error: { code, message, cure: cure ?? null, problems } }));
    return exitCodes.unreadable;
  }
  const paint = style(terminal.colours.err);
  terminal.err(
    `${paint.bad('error:')} ${printable(problems.length > 1 ? message.replace(/: line [^]*/, `: ${problems.length} problems`) : message)}\n`,
  );
  for (const problem of problems) {
    if (problems.length > 1) terminal.err(`  ${printable(describeProblem(problem))}\n`);
    if (problem.cure !== undefined) terminal.err(`  ${paint.faint('cure:')} ${printable(problem.cure)}\n`);
  }
  return exitCodes.unreadable;
}

const marks = { passed: '✓', failed: '✗', warned: '!', skipped: '–' } as const;

function printDecision(terminal: Terminal, decision: Decision, explain: boolean): void {
  const { allow, image, resolvedDigest, errors, warnings, explanation } = decision;
  const paint = style(terminal.colours.out);
  for (const child of explanation.children) printRule(terminal, paint, child, 0, explain);
  for (const warning of warnings) terminal.out(`${paint.warn('warning:')} ${printable(warning)}\n`);
  for (const error of errors) terminal.out(`${paint.bad('denied:')} ${printable(error)}\n`);
  if (!allow && explanation.cure !== undefined) terminal.out(`${paint.bold('cure:')} ${printable(explanation.cure)}\n`);
  const name = printable(resolvedDigest === undefined ? image : `${image.replace(/@.*$/s, '')}@${resolvedDigest}`);
  terminal.out(`\n${allow ? paint.good(`ALLOWED: ${name}`) : paint.bad(`DENIED: ${name}`)}\n`);
}

/** Without `explain` only what decided: policies for the image, their authorities, and cures. */
function printRule(terminal: Terminal, paint: Style, rule: Explanation, depth: number, explain: boolean): void {
  if (
    !explain &&
    (rule.state === 'skipped' ||
      (rule.rule === 'match' && rule.state === 'passed') ||
      (depth > 2 && rule.cure === undefined))
  )
    return;
  const indent = '  '.repeat(depth);
  const colour = { passed: paint.good, failed: paint.bad, warned: paint.warn, skipped: paint.faint }[rule.state];
  const line = `${rule.title}${rule.found === undefined || rule.found === '' ? '' : `: ${rule.found}`}`;
  terminal.out(`${indent}${colour(marks[rule.state])} ${printable(line)}\n`);
  if (rule.state !== 'passed' && rule.expected !== undefined && (explain || depth > 0)) {
    terminal.out(`${indent}  ${paint.bold('expected:')} ${printable(rule.expected)}\n`);
  }
  if (rule.cure !== undefined && rule.state !== 'passed') {
    terminal.out(`${indent}  ${paint.bold('cure:')} ${printable(rule.cure)}\n`);
  }
  // What an authority that passed rests on is told only to those who ask.
  if (!explain && rule.state === 'passed' && rule.rule === 'authority') return;
  for (const child of rule.children) printRule(terminal, paint, child, depth + 1, explain);
}
