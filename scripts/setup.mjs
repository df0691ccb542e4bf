// Makes the checkout ready to run: installs what the lockfile names if it is not installed yet, and
// compiles what is older than its source. Says what it does; does nothing, quickly, when nothing is stale.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const cache = join(root, 'node_modules', '.cache', 'chancery');
const say = (text) => process.stderr.write(`chancery set-up: ${text}\n`);

/** Brings node_modules and dist up to date; leaves the process with exit code 1 when that fails. */
export function setUp() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    say(`needs Node 20.19 or later, this is ${process.version}`);
    process.exit(1);
  }
  install();
  build();
}

function install() {
  // The native module belongs to one Node: another major version or platform needs another build of it.
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(`${process.versions.modules} ${process.platform} ${process.arch}`)
    .digest('hex');
  const stamp = join(cache, 'installed');
  if (readText(stamp) === wanted) return;

  const env = { ...process.env };
  // npm runs us with its own settings in the environment; a nested `npm ci` must not think it is inside that script.
  for (const name of Object.keys(env)) if (/^npm_(lifecycle|package|command|execpath)/.test(name)) delete env[name];
  const prefix = dirname(dirname(process.execPath));
  if (existsSync(join(prefix, 'include', 'node', 'node.h'))) env.npm_config_nodedir = prefix;

  say('installing the packages of package-lock.json; compiling sqlite3 can take a minute or two …');
  const started = Date.now();
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], env);
  if (!existsSync(join(root, 'node_modules', 'sqlite3', 'build', 'Release', 'node_sqlite3.node'))) {
    // npm can be told to skip install scripts; this one is needed.
    say('compiling sqlite3 …');
    run('npm', ['rebuild', 'sqlite3', '--ignore-scripts=false', '--loglevel=error'], env);
  }
  mkdirSync(cache, { recursive: true });
  writeFileSync(stamp, wanted);
  say(`packages installed in ${Math.round((Date.now() - started) / 1000)} s`);
}

function build() {
  const stamp = join(root, 'dist', '.built');
  const sources = [
    'apps',
    'libs',
    'test/bench',
    'test/world',
    'tsconfig.json',
    'tsconfig.build.json',
    'package-lock.json',
  ];
  const files = sources.flatMap((name) => listFiles(join(root, name))).sort();
  // Names too: a deleted source leaves no newer file behind, but its output must go.
  const wanted = createHash('sha256').update(files.join('\n')).digest('hex');
  const builtAt = existsSync(stamp) && readText(stamp) === wanted ? statSync(stamp).mtimeMs : 0;
  if (files.every((file) => statSync(file).mtimeMs <= builtAt)) return;

  say('compiling …');
  const started = Date.now();
  const compileFrom = new Date();
  if (readText(stamp) !== wanted) rmSync(join(root, 'dist'), { recursive: true, force: true });
  run(
    process.execPath,
    [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'],
    process.env,
  );
  writeFileSync(stamp, wanted);
  // A file saved while the compiler ran counts as newer.
  utimesSync(stamp, compileFrom, compileFrom);
  say(`compiled in ${Math.round((Date.now() - started) / 1000)} s`);
}

function run(command, args, env) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    env,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (status === 0) return;
  say(`\`${command} ${args.join(' ')}\` failed${error ? `: ${error.message}` : ` with exit code ${status}`}`);
  process.exit(1);
}

function listFiles(path) {
  if (!existsSync(path)) return [];
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

function readText(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setUp();
