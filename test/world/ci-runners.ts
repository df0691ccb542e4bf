/**
 * What runs the jobs of two CI systems, as far as our integrations use them: a composite action of GitHub, a component of GitLab. An expression, a keyword or
 * an input that they do not know is an error, so that nothing passes here that would mean something else there.
 *
 *     await runAction('integrations/github/sign', { inputs: { files: 'app.txt', … }, workspace, temp, environment });
 *     await runComponent('integrations/gitlab/templates/sign/template.yml', { inputs, workspace, environment, shell: 'sh' });
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';

export interface JobOptions {
  /** What the workflow gives; the rest are defaults. */
  readonly inputs: Readonly<Record<string, string>>;
  /** The checkout of the repository that the job is about. */
  readonly workspace: string;
  /** All that the job has in its environment beside what the system sets. */
  readonly environment: Readonly<Record<string, string>>;
}

/** A command that a step gave the runner by printing it. */
export interface WorkflowCommand {
  readonly name: string;
  readonly data: string;
}

export interface ActionRun {
  readonly exit: number;
  /** What the steps printed. */
  readonly log: string;
  readonly outputs: Readonly<Record<string, string>>;
  /** Markdown. */
  readonly summary: string;
  /** Folders that further steps have in their PATH. */
  readonly path: readonly string[];
  readonly commands: readonly WorkflowCommand[];
}

interface Action {
  name: string;
  description: string;
  inputs: Record<string, { description: string; required?: boolean; default?: string }>;
  outputs?: Record<string, { description: string; value: string }>;
  runs: { using: string; steps: { id?: string; shell: string; env: Record<string, string>; run: string }[] };
}

/**
 * Runs a composite action.
 * `temp`: RUNNER_TEMP, shared by the steps of one job.
 * @see GitHub Docs, "Metadata syntax reference" (runs.steps[*]) and "Workflow commands for GitHub Actions"
 */
export async function runAction(folder: string, options: JobOptions & { readonly temp: string }): Promise<ActionRun> {
  const action = parse(readFileSync(join(folder, 'action.yml'), 'utf8')) as Action;
  checkKeys(action, ['name', 'description', 'inputs', 'outputs', 'runs'], folder);
  if (action.runs.using !== 'composite') throw new Error(`${folder} is not a composite action`);
  checkKeys(options.inputs, Object.keys(action.inputs), `inputs of ${folder}`);
  // A required input that is missing is empty: the runner does not enforce it.
  const inputs = Object.fromEntries(
    Object.entries(action.inputs).map(([name, input]) => [name, options.inputs[name] ?? input.default ?? '']),
  );
  const stepOutputs = new Map<string, Record<string, string>>();
  const evaluate = (text: string): string =>
    text.replaceAll(/\$\{\{\s*(.*?)\s*\}\}/g, (_, expression: string) => {
      const [, input] = /^inputs\.([a-z-]+)$/.exec(expression) ?? [];
      const [, step, output] = /^steps\.([a-z]+)\.outputs\.([a-z]+)$/.exec(expression) ?? [];
      const value =
        input !== undefined ? inputs[input] : step !== undefined ? (stepOutputs.get(step)?.[output ?? ''] ?? '') : null;
      if (typeof value !== 'string') throw new Error(`${folder} has an expression that means nothing: ${expression}`);
      return value;
    });

  const files = mkdtempSync(join(tmpdir(), 'chancery-runner-'));
  const file = (name: string): string => join(files, name);
  let log = '';
  let exit = 0;
  const names = ['GITHUB_OUTPUT', 'GITHUB_STEP_SUMMARY', 'GITHUB_PATH', 'GITHUB_ENV'];
  for (const name of names) writeFileSync(file(name), '');
  try {
    for (const step of action.runs.steps) {
      checkKeys(step, ['id', 'shell', 'env', 'run'], `a step of ${folder}`);
      if (step.shell !== 'bash') throw new Error(`${folder} wants the shell ${step.shell}`);
      // Expressions in `run` would be evaluated too; this runner has none of it.
      if (step.run.includes('${{')) throw new Error(`${folder} has an expression in a script`);
      writeFileSync(file('GITHUB_OUTPUT'), '');
      writeFileSync(file('step.sh'), step.run);
      const environment = {
        ...options.environment,
        CI: 'true',
        GITHUB_ACTIONS: 'true',
        GITHUB_WORKSPACE: options.workspace,
        GITHUB_ACTION_PATH: resolve(folder),
        RUNNER_TEMP: options.temp,
        ...Object.fromEntries(names.map((name) => [name, file(name)])),
        ...Object.fromEntries(Object.entries(step.env).map(([name, value]) => [name, evaluate(value)])),
      };
      // As documented for `shell: bash`.
      const args = ['--noprofile', '--norc', '-eo', 'pipefail', file('step.sh')];
      const ran = await runLogged('bash', args, { cwd: options.workspace, environment, log: file('log') });
      log += ran.log;
      exit = ran.exit;
      if (step.id !== undefined)
        stepOutputs.set(step.id, parseFileCommand(readFileSync(file('GITHUB_OUTPUT'), 'utf8')));
      if (exit !== 0) break;
    }
    const outputs = Object.entries(action.outputs ?? {}).map(([name, { value }]) => [name, evaluate(value)]);
    return {
      exit,
      log,
      outputs: Object.fromEntries(outputs) as Record<string, string>,
      summary: readFileSync(file('GITHUB_STEP_SUMMARY'), 'utf8'),
      path: readFileSync(file('GITHUB_PATH'), 'utf8').split('\n').filter(Boolean),
      commands: workflowCommands(log),
    };
  } finally {
    rmSync(files, { recursive: true, force: true });
  }
}

/** `name=value` lines and `name<<DELIMITER` blocks. */
function parseFileCommand(text: string): Record<string, string> {
  const values: Record<string, string> = {};
  const lines = text.split('\n');
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? '';
    if (line === '') continue;
    const [, name = '', operator, rest = ''] = /^([^=<]+)(=|<<)(.*)$/.exec(line) ?? [];
    if (operator === undefined) throw new Error(`The runner cannot read the output ${JSON.stringify(line)}`);
    if (operator === '=') values[name] = rest;
    else {
      const end = lines.indexOf(rest, at + 1);
      if (end < 0) throw new Error(`The runner misses the delimiter of the output ${name}`);
      values[name] = lines.slice(at + 1, end).join('\n');
      at = end;
    }
  }
  return values;
}

const KNOWN_COMMANDS = [
  ...['add-mask', 'set-output', 'save-state', 'add-path', 'set-env', 'debug', 'notice', 'warning', 'error', 'group'],
  ...['endgroup', 'echo', 'add-matcher', 'remove-matcher', 'stop-commands', 'internal-set-repo-path'],
];

/**
 * The commands in what was printed. Of both forms: `::name properties::data`, with which a line begins, and the older `##[name properties]data`, which is
 * taken wherever it stands in a line.
 */
export function workflowCommands(log: string): WorkflowCommand[] {
  const commands: WorkflowCommand[] = [];
  let stop: string | undefined;
  for (const line of log.split(/\r\n|\r|\n/)) {
    const known = stop === undefined ? KNOWN_COMMANDS : [...KNOWN_COMMANDS, stop];
    const found = [/^\s*::([^ ]+?)(?: .*?)?::(.*)$/, /##\[([^ \]]+)[^\]]*\](.*)$/]
      .map((pattern) => pattern.exec(line))
      .find((match) => match !== null && known.includes(match[1] ?? ''));
    if (found === undefined || found === null) continue;
    const [, name = '', data = ''] = found;
    if (stop !== undefined) {
      if (name === stop) stop = undefined;
    } else if (name === 'stop-commands') stop = data;
    else commands.push({ name, data });
  }
  if (stop !== undefined) throw new Error('The workflow commands were stopped and not resumed');
  return commands;
}

export interface ComponentRun {
  readonly exit: number;
  readonly log: string;
  readonly job: string;
  /** Patterns of the files that are kept. */
  readonly artifacts: readonly string[];
  /** Variables that get an identity token, and for which audience. */
  readonly idTokens: Readonly<Record<string, { readonly aud: string }>>;
}

interface Component {
  spec: {
    inputs: Record<string, { description: string; default?: string; regex?: string; options?: string[] } | null>;
  };
}

interface Job {
  stage: string;
  image: string;
  variables: Record<string, { value: string; expand: boolean }>;
  id_tokens?: Record<string, { aud: string }>;
  script: string[];
  artifacts?: { paths: string[] };
}

/** What a pipeline that includes the component with these inputs consists of: the job's name and the job. */
export function includeComponent(file: string, given: Readonly<Record<string, string>>): readonly [string, Job] {
  const [header, body, ...more] = parseAllDocuments(readFileSync(file, 'utf8'));
  if (header === undefined || body === undefined || more.length > 0) throw new Error(`${file} is not header and jobs`);
  for (const { errors } of [header, body]) if (errors[0] !== undefined) throw errors[0];
  const { spec } = header.toJS() as Component;
  checkKeys(given, Object.keys(spec.inputs), `inputs of ${file}`);
  const inputs = Object.entries(spec.inputs).map(([name, input]) => {
    checkKeys(input ?? {}, ['description', 'default', 'regex'], `the input ${name} of ${file}`);
    const value = given[name] ?? input?.default;
    if (value === undefined) throw new Error(`${file}: the input ${name} is missing`);
    if (input?.regex !== undefined && !new RegExp(input.regex).test(value)) {
      throw new Error(`${file}: the input ${name} does not match its pattern`);
    }
    return [name, value] as const;
  });
  const values = new Map(inputs);
  const fill = (node: unknown): unknown => {
    if (typeof node === 'string') {
      return node.replaceAll(/\$\[\[(.*?)\]\]/g, (_, expression: string) => {
        const value = values.get(/^ inputs\.([a-z-]+) $/.exec(expression)?.[1] ?? '');
        if (value === undefined) throw new Error(`${file} has an expression that means nothing: ${expression}`);
        return value;
      });
    }
    if (Array.isArray(node)) return node.map(fill);
    if (node === null || typeof node !== 'object') return node;
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [fill(key) as string, fill(value)]));
  };
  const [job, ...others] = Object.entries(fill(body.toJS()) as Record<string, Job>);
  if (job === undefined || others.length > 0) throw new Error(`${file} is not one job`);
  checkKeys(job[1], ['stage', 'image', 'variables', 'id_tokens', 'script', 'artifacts'], `the job of ${file}`);
  return job;
}

/**
 * Runs the job of a component; a token that the job asks for is made by `idToken`.
 * @see GitLab Docs, "CI/CD components", "CI/CD inputs" and "CI/CD YAML syntax reference" (id_tokens, variables:expand)
 */
export async function runComponent(
  file: string,
  options: JobOptions & { readonly shell: 'sh' | 'bash'; readonly idToken?: (audience: string) => string },
): Promise<ComponentRun> {
  const [name, job] = includeComponent(file, options.inputs);
  const variables = Object.entries(job.variables).map(([variable, { value, expand }]) => {
    if (expand !== false) throw new Error(`${file}: ${variable} would be expanded`);
    return [variable, value];
  });
  const { idToken } = options;
  const tokens =
    idToken === undefined
      ? []
      : Object.entries(job.id_tokens ?? {}).map(([variable, { aud }]) => [variable, idToken(aud)]);
  const files = mkdtempSync(join(tmpdir(), 'chancery-runner-'));
  try {
    // The lines are one script to one shell, which stops at the first that fails.
    const script = [options.shell === 'bash' ? 'set -eo pipefail' : 'set -e', ...job.script].join('\n');
    const ran = await runLogged(options.shell, ['-c', script], {
      cwd: options.workspace,
      environment: {
        ...options.environment,
        CI: 'true',
        GITLAB_CI: 'true',
        CI_PROJECT_DIR: options.workspace,
        ...(Object.fromEntries([...variables, ...tokens]) as Record<string, string>),
      },
      log: join(files, 'log'),
    });
    return { ...ran, job: name, artifacts: job.artifacts?.paths ?? [], idTokens: job.id_tokens ?? {} };
  } finally {
    rmSync(files, { recursive: true, force: true });
  }
}

function checkKeys(object: object, known: readonly string[], what: string): void {
  const unknown = Object.keys(object).filter((key) => !known.includes(key));
  if (unknown.length > 0) throw new Error(`Unknown in ${what}: ${unknown.join(', ')}`);
}

interface Logged {
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly log: string;
}

/** Both streams into one file, in the order in which they were written. */
async function runLogged(
  command: string,
  args: readonly string[],
  options: Logged,
): Promise<{ exit: number; log: string }> {
  const log = openSync(options.log, 'w');
  try {
    const exit = await new Promise<number>((done, reject) => {
      const child = spawn(command, args, {
        cwd: options.cwd,
        env: options.environment,
        stdio: ['ignore', log, log],
        timeout: 300_000,
      });
      child.once('error', reject);
      child.once('close', (code) => done(code ?? -1));
    });
    return { exit, log: readFileSync(options.log, 'utf8') };
  } finally {
    closeSync(log);
  }
}
