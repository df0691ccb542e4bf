// The actions for GitHub and the components for GitLab as their runners run them: the packed client, a real stack, an issuer with the claims of that system.
// And everything a stranger can choose, such as the name of a file, tried as a way in.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type CiIssuer, startCiIssuer } from '../world/ci-issuer.js';
import {
  type ActionRun,
  type ComponentRun,
  includeComponent,
  runAction,
  runComponent,
  workflowCommands,
} from '../world/ci-runners.js';
import { freePort, gitHubClaims } from '../world/index.js';
import {
  chancery,
  checkout,
  ensureBuilt,
  executable,
  run,
  type ServerProcess,
  spawnServing,
} from '../world/process.js';

const integrations = join(checkout, 'integrations');
const scripts = join(integrations, 'scripts');
const isInPath = (name: string): boolean =>
  (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, name)));
const shells = ['sh', 'bash'].filter(isInPath);
const runnable = shells.length === 2;
if (!runnable) console.warn('The integrations are not run here: they need sh and bash');

const gitHubIdentity = `https://github.com/${gitHubClaims.job_workflow_ref}`;
/** The claims of a GitLab job, as that system documents them. */
const gitLabClaims = {
  sub: 'project_path:platform/app:ref_type:branch:ref:main',
  project_id: '20',
  project_path: 'platform/app',
  project_visibility: 'internal',
  namespace_id: '72',
  namespace_path: 'platform',
  user_id: '1',
  user_login: 'ann',
  user_email: 'ann@example.com',
  pipeline_id: '574',
  pipeline_source: 'push',
  job_id: '302',
  ref: 'main',
  ref_type: 'branch',
  ref_path: 'refs/heads/main',
  ref_protected: 'true',
  runner_id: 1,
  runner_environment: 'self-hosted',
  sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
  ci_config_ref_uri: 'gitlab.example.com/platform/app//.gitlab-ci.yml@refs/heads/main',
  ci_config_sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
} as const;
const gitLabIdentity = `https://${gitLabClaims.ci_config_ref_uri}`;

let folder: string;
let server: ServerProcess | undefined;
let gitHub: CiIssuer;
let gitLab: CiIssuer;
/** The packed client, as `package` names it. */
let tarball: string;
let packedFiles: string[];
/** Where the first job has installed it. */
let home: string;
/** Why nothing can be installed; undefined if it can. */
let unreachable: string | undefined;

/** A job's environment: nothing of ours but where programs, npm's settings and its cache are. */
function jobEnvironment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const inherited = Object.entries(process.env).filter(([name]) =>
    /^(PATH|HOME|TMPDIR|HTTPS?_PROXY|NO_PROXY|NODE_EXTRA_CA_CERTS|npm_config_(registry|cache|userconfig|cafile))$/i.test(
      name,
    ),
  );
  return { ...(Object.fromEntries(inherited) as Record<string, string>), npm_config_prefer_offline: 'true', ...more };
}

/** What GitHub gives a job that has `permissions: id-token: write`. */
const permitted = (): Record<string, string> =>
  jobEnvironment({
    ACTIONS_ID_TOKEN_REQUEST_URL: gitHub.requestUrl,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: gitHub.requestToken,
  });

interface ActionOptions {
  readonly inputs: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly workspace: string;
  /** A job of its own: it finds nothing installed. */
  readonly temp?: string;
}

function act(name: 'install' | 'sign' | 'verify', options: ActionOptions): Promise<ActionRun> {
  return runAction(join(integrations, 'github', name), {
    environment: permitted(),
    temp: join(folder, 'runner'),
    ...options,
    inputs: { package: tarball, ...options.inputs },
  });
}

/** A checkout of the repository that a job is about, with the pinned root in it. */
async function newWorkspace(files: Readonly<Record<string, string>>): Promise<string> {
  const workspace = await mkdtemp(join(folder, 'workspace-'));
  await cp(join(folder, 'trust'), join(workspace, '.chancery'), { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    const path = join(workspace, name);
    mkdirSync(join(path, '..'), { recursive: true });
    await writeFile(path, content);
  }
  return workspace;
}

const trustedRoot = '.chancery/trusted_root.json';
const signInputs = (files: string): Record<string, string> => ({
  url: server?.url ?? '',
  'trusted-root': trustedRoot,
  files,
});
const verifyInputs = (files: string): Record<string, string> => ({
  'trusted-root': trustedRoot,
  identity: gitHubIdentity,
  issuer: gitHub.url,
  files,
});
const errors = ({ commands }: ActionRun): string[] =>
  commands.filter(({ name }) => name === 'error').map(({ data }) => data);

describe.skipIf(!runnable)('in a job', () => {
  beforeAll(async () => {
    ensureBuilt();
    folder = await mkdtemp(join(tmpdir(), 'chancery-integrations-'));
    await mkdir(join(folder, 'runner'));
    const packed = await run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: checkout,
    });
    if (packed.exit !== 0) throw new Error(`npm pack failed: ${packed.err}`);
    const [pack] = JSON.parse(packed.out) as [{ filename: string; files: { path: string }[] }];
    packedFiles = pack.files.map(({ path }) => path);
    tarball = join(folder, pack.filename);

    gitHub = await startCiIssuer({ claims: gitHubClaims });
    gitLab = await startCiIssuer({ claims: gitLabClaims });
    const issuers = { [gitHub.url]: 'github-workflow', [gitLab.url]: 'gitlab-pipeline' };
    await writeFile(
      join(folder, 'issuers.yaml'),
      `oidc-issuers:\n${Object.entries(issuers)
        .map(([url, type]) => `  ${url}:\n    issuer-url: ${url}\n    client-id: sigstore\n    type: ${type}\n`)
        .join('')}`,
    );
    const port = await freePort();
    const config = ['--port', String(port), '--data', join(folder, 'data')];
    server = spawnServing(
      process.execPath,
      [executable, 'up', ...config, '--oidc-config', join(folder, 'issuers.yaml')],
      { port, cwd: folder, environment: { CHANCERY_OIDC_PRIVATE: '127.0.0.1,localhost' } },
    );
    await server.serving();
    const exported = await chancery(['trust', 'export', '--url', server.url, '--out', 'trust'], { cwd: folder });
    if (exported.exit !== 0) throw new Error(exported.err);

    // Whatever comes next wants the client; its dependencies come from npm's cache or from the registry.
    const installed = await act('install', { inputs: {}, workspace: folder });
    home = installed.outputs['home'] ?? '';
    if (installed.exit !== 0) {
      const ping = await run('npm', ['ping', '--fetch-retries=0', '--fetch-timeout=20000'], { cwd: folder });
      if (ping.exit === 0) throw new Error(`The client cannot be installed: ${installed.log}`);
      unreachable = 'npm cannot reach its registry, so that no client can be installed';
      console.warn(`The integrations are not run here: ${unreachable}`);
    }
  }, 600_000);
  beforeEach((context) => {
    context.skip(unreachable !== undefined, unreachable);
  });
  afterAll(async () => {
    await server?.end('SIGKILL');
    await Promise.all([gitHub.close(), gitLab.close()]);
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  describe('the action github/install', () => {
    it('puts chancery into the PATH, and says which', async () => {
      const installed = await act('install', { inputs: {}, workspace: folder });
      expect(installed).toMatchObject({ exit: 0, commands: [] });
      const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string };
      expect(installed.outputs['version']).toBe(version);
      expect(installed.path).toHaveLength(1);
      const path = [...installed.path, process.env['PATH'] ?? ''].join(delimiter);
      expect(await run('chancery', ['--version'], { cwd: folder, environment: { PATH: path } })).toMatchObject({
        exit: 0,
        out: `${version}\n`,
      });
    }, 120_000);

    // One that would do harm when run, and has nothing to install with it.
    const harmful = async (): Promise<string> => {
      const source = await mkdtemp(join(folder, 'harmful-'));
      await mkdir(join(source, 'bin'));
      const manifest = { name: 'harmful', version: '1.0.0', scripts: { preinstall: `touch ${source}/pwned` } };
      await writeFile(join(source, 'package.json'), JSON.stringify(manifest));
      await writeFile(join(source, 'bin', 'chancery'), `require('fs').writeFileSync('${source}/pwned', '')`);
      await chmod(join(source, 'bin', 'chancery'), 0o755);
      execFileSync('npm', ['pack', '--ignore-scripts'], { cwd: source, stdio: 'ignore' });
      return source;
    };

    it('refuses a package that is not what `integrity` says, before anything of it has run', async () => {
      const source = await harmful();
      const temp = await mkdtemp(join(folder, 'runner-'));
      const inputs = { package: join(source, 'harmful-1.0.0.tgz'), integrity: 'sha512-AAAA' };
      const installed = await act('install', { inputs, workspace: source, temp });
      expect(installed.exit).toBe(2);
      expect(errors(installed)).toEqual([
        expect.stringMatching(
          /^Cannot install chancery: the integrity of the package is sha512-\S+, wanted is sha512-AAAA$/,
        ),
      ]);
      expect(existsSync(join(source, 'pwned'))).toBe(false);

      // A second try finds no half-installed client, and the right value passes.
      expect((await act('install', { inputs, workspace: source, temp })).exit).toBe(2);
      const [, integrity = ''] = /is (sha512-[^,]+),/.exec(errors(installed)[0] ?? '') ?? [];
      expect((await act('install', { inputs: { ...inputs, integrity }, workspace: source, temp })).exit).toBe(0);
      expect(existsSync(join(source, 'pwned'))).toBe(true);
    }, 120_000);

    it('runs no install script', async () => {
      const source = await harmful();
      await rm(join(source, 'harmful-1.0.0.tgz'));
      await rm(join(source, 'bin'), { recursive: true });
      await writeFile(join(source, 'index.js'), '');
      execFileSync('npm', ['pack', '--ignore-scripts'], { cwd: source, stdio: 'ignore' });
      const temp = await mkdtemp(join(folder, 'runner-'));
      // By a relative name, which begins with a dash: still no option.
      await cp(join(source, 'harmful-1.0.0.tgz'), join(source, '-o.tgz'));
      const installed = await act('install', { inputs: { package: '-o.tgz' }, workspace: source, temp });
      expect(errors(installed)).toEqual(['Cannot install chancery: -o.tgz has no chancery in it']);
      expect(existsSync(join(source, 'pwned'))).toBe(false);
    }, 120_000);

    it('says so when a version cannot be installed', async () => {
      const installed = await act('install', {
        inputs: { package: 'chancery', version: '99.99.99' },
        // A registry that has nothing.
        environment: { ...permitted(), npm_config_registry: gitHub.url, npm_config_fetch_retries: '0' },
        workspace: folder,
        temp: await mkdtemp(join(folder, 'runner-')),
      });
      expect(installed.exit).toBe(2);
      expect(errors(installed)).toEqual(['Cannot install chancery: npm could not install chancery 99.99.99']);
      expect(installed.log).toContain('npm: ');
      expect(installed.log).toContain('404');
    }, 120_000);

    it.each([
      [{ package: 'chancery' }, 'the version is missing'],
      [{ package: 'chancery', version: 'latest' }, 'the version must be an exact one'],
      [{ package: 'chancery', version: '^1.0.0' }, 'the version must be an exact one'],
      [{ package: 'chancery', version: '1.0.0\n2.0.0' }, 'the version must be an exact one'],
      [{ package: 'chancery', version: '1.0.0; touch pwned' }, 'the version must be an exact one'],
      [{ package: '--registry=http://evil.example', version: '1.0.0' }, 'the package must be a name'],
      [{ package: '$(touch pwned)', version: '1.0.0' }, 'the package must be a name'],
      [{ package: 'x\\n::set-output name=home::/evil', version: '1.0.0' }, 'the package must be a name'],
      [{ package: '##[set-output name=home]/evil', version: '1.0.0' }, 'the package must be a name'],
      [{ package: 'x\n::set-output name=home::/evil', version: '1.0.0' }, 'control character'],
      [{ package: 'http://registry.example/client.zip' }, 'the package must be a name'],
      [{ package: './missing.tgz' }, 'there is no file ./missing.tgz'],
      [{ version: '1.0.0' }, 'give either a version or'],
      [{ integrity: 'sha512-a b' }, 'the integrity must be one hash'],
    ])('refuses %j', async (inputs, why) => {
      const workspace = await newWorkspace({});
      const installed = await act('install', { inputs, workspace, temp: await mkdtemp(join(folder, 'runner-')) });
      expect(installed.exit).toBe(2);
      expect(installed.commands).toEqual([{ name: 'error', data: expect.stringContaining(why) }]);
      expect(readdirSync(workspace)).toEqual(['.chancery']);
    });
  });

  // The names that people give files, and those that an attacker would.
  const strange = [
    'dist/app.tar.gz',
    'dist/with space.txt',
    'dist/[1].txt',
    '--bundle=x',
    '-rf',
    '$(touch pwned).txt',
    '`touch pwned`.txt',
    'a;touch pwned;.txt',
    '"quoted" \'twice\'.txt',
    'back\\nslash.txt',
    '##[set-output name=bundles]evil',
    '::set-output name=bundles::evil.txt',
    '<b>|`x`| @octocat [link](http://evil.example).md',
    'sha256:0000',
    '$HOME ${PATH}',
    'ünïcode',
  ];

  describe('the actions github/sign and github/verify', () => {
    let workspace: string;
    let signed: ActionRun;

    beforeAll(async () => {
      if (unreachable !== undefined) return;
      workspace = await newWorkspace(Object.fromEntries(strange.map((name) => [name, `content of ${name}\n`])));
      signed = await act('sign', {
        workspace,
        inputs: signInputs(`dist/*\n  dist/with space.txt  \r\n\n${strange.slice(2).join('\n')}\n`),
      });
    }, 120_000);

    it('signs every file, whatever it is called', async () => {
      expect(signed).toMatchObject({ exit: 0, commands: [] });
      const bundles = (signed.outputs['bundles'] ?? '').split('\n');
      const name = (file: string): string => (/^(-|sha256:)/.test(file) ? `./${file}` : file);
      expect([...bundles].sort()).toEqual(strange.map((file) => `${name(file)}.sigstore.json`).sort());
      for (const bundle of bundles) {
        const { mediaType } = JSON.parse(await readFile(join(workspace, bundle), 'utf8')) as { mediaType: string };
        expect(mediaType).toBe('application/vnd.dev.sigstore.bundle.v0.3+json');
      }
      // Nothing else has come into being.
      expect(readdirSync(workspace).filter((file) => file.includes('pwned') && !strange.includes(file))).toEqual(
        strange
          .filter((file) => file.includes('pwned'))
          .map((file) => `${file}.sigstore.json`)
          .sort(),
      );
    });

    it('says whom verifiers have to demand', () => {
      expect(signed.outputs).toMatchObject({ identity: gitHubIdentity, issuer: gitHub.url });
      expect(signed.log).toContain('the bundle verifies');
    });

    it('summarizes it in Markdown in which names are text', () => {
      expect(signed.summary).toContain(`### Signed: ${strange.length} files`);
      const rows = signed.summary.split('\n').filter((line) => line.endsWith('| ✓ verifies |'));
      expect(rows).toHaveLength(strange.length);
      for (const row of rows)
        expect(row).toMatch(/^\| <code>(?:[^<>|`@[\]*_~\\$!:]|&[a-z]+;|&#\d+;)*<\/code> \| ✓ verifies \|$/);
    });

    it('shows the token to nobody', () => {
      expect(gitHub.given).toHaveLength(1);
      const shown = JSON.stringify([signed.log, signed.summary, signed.outputs]);
      expect(shown).not.toContain(gitHub.requestToken);
      // Neither whole nor in part: header, claims, signature.
      for (const part of (gitHub.given[0] ?? '').split('.')) expect(shown).not.toContain(part.slice(0, 40));
    });

    it('verifies them by name and by pattern, and leaves bundles out of patterns', async () => {
      const verified = await act('verify', {
        workspace,
        inputs: verifyInputs(`dist/*\n${strange.slice(3).join('\n')}`),
      });
      expect(verified).toMatchObject({ exit: 0, commands: [] });
      expect(verified.summary.match(/✓ verified/g)).toHaveLength(strange.length);
      expect(verified.log).toContain('Verified: ./-rf');

      const { identity: _, issuer: __, ...inputs } = verifyInputs('dist/*');
      const patterns = {
        'identity-regexp': 'https://github\\.com/octo-org/.*',
        'issuer-regexp': 'http://127\\.0\\.0\\.1:\\d+',
      };
      // Neither the network nor a permission is needed.
      const offline = jobEnvironment({ https_proxy: 'http://127.0.0.1:1' });
      expect((await act('verify', { workspace, inputs: { ...inputs, ...patterns }, environment: offline })).exit).toBe(
        0,
      );
    }, 120_000);

    it.each([
      ['another identity', { identity: gitHubIdentity.replace('main', 'evil') }],
      ['another issuer', { issuer: 'https://token.actions.githubusercontent.com' }],
      ['an identity that would be shell', { identity: '$(touch pwned)' }],
      ['an identity that would be an option', { identity: '--help' }],
    ])('does not verify %s', async (_, more) => {
      const verified = await act('verify', { workspace, inputs: { ...verifyInputs('dist/app.tar.gz'), ...more } });
      expect(verified.exit).toBe(1);
      expect(verified.summary).toContain('✗ **not verified** (exit code 1)');
      expect(errors(verified)).toEqual(['1 of 1 files do not verify; the log of this step says why']);
      expect(existsSync(join(workspace, 'pwned'))).toBe(false);
    });

    it('looks at all files and fails for the one that was changed', async () => {
      const other = await newWorkspace({});
      await cp(join(workspace, 'dist'), join(other, 'dist'), { recursive: true });
      await writeFile(join(other, 'dist', 'app.tar.gz'), 'changed');
      const verified = await act('verify', { workspace: other, inputs: verifyInputs('dist/*') });
      expect(verified.exit).toBe(1);
      expect(verified.summary.match(/✓ verified/g)).toHaveLength(2);
      expect(verified.summary).toMatch(/app\.tar\.gz.*✗ \*\*not verified\*\*/);
    }, 120_000);

    it('fails for a file without a bundle', async () => {
      const other = await newWorkspace({ 'app.txt': 'unsigned' });
      const verified = await act('verify', { workspace: other, inputs: verifyInputs('app.txt') });
      expect(verified.exit).toBe(3);
      expect(verified.summary).toContain('exit code 3');
    });

    it('signs one file into a bundle of another name, with a signing configuration', async () => {
      const other = await newWorkspace({ 'app.txt': 'an app' });
      const inputs = {
        ...signInputs('app.txt'),
        url: '',
        bundle: '-app.bundle',
        'signing-config': '.chancery/signing_config.v0.2.json',
      };
      expect(await act('sign', { workspace: other, inputs })).toMatchObject({
        exit: 0,
        outputs: { bundles: '-app.bundle' },
      });
      expect(
        await act('verify', { workspace: other, inputs: { ...verifyInputs('app.txt'), bundle: '-app.bundle' } }),
      ).toMatchObject({ exit: 0 });
    }, 120_000);

    it('writes no bundle that the pinned root does not prove', async () => {
      const other = await newWorkspace({ 'app.txt': 'an app' });
      await cp(join(checkout, 'apps', 'cli', 'trust', 'public-good.trusted_root.json'), join(other, trustedRoot));
      const refused = await act('sign', { workspace: other, inputs: signInputs('app.txt') });
      expect(refused.exit).toBe(1);
      expect(errors(refused)).toEqual(['Signing failed with exit code 1; the log of this step says why']);
      expect(readdirSync(other).sort()).toEqual(['.chancery', 'app.txt']);
      expect(refused).toMatchObject({ outputs: { bundles: '', identity: '', issuer: '' }, summary: '' });
    }, 120_000);

    it('passes on why the service refuses', async () => {
      const inputs = { ...signInputs('dist/app.tar.gz'), audience: 'another' };
      const refused = await act('sign', { workspace, inputs });
      expect(refused.exit).toBe(5);
      expect(refused.log).toMatch(/error: .*audience/i);
      const elsewhere = { ...permitted(), ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'wrong' };
      expect((await act('sign', { workspace, inputs, environment: elsewhere })).exit).toBe(5);
    }, 120_000);

    it('names the cure for a missing permission at once, before it installs anything', async () => {
      for (const missing of ['ACTIONS_ID_TOKEN_REQUEST_URL', 'ACTIONS_ID_TOKEN_REQUEST_TOKEN']) {
        const temp = await mkdtemp(join(folder, 'runner-'));
        const environment = { ...permitted(), [missing]: '' };
        const refused = await act('sign', { workspace, inputs: signInputs('dist/*'), environment, temp });
        expect(refused.exit).toBe(2);
        expect(errors(refused)).toEqual([
          'the job may not request an identity token.%0Acure: add `permissions: id-token: write` to the job (pull requests from forks never get it)',
        ]);
        expect(readdirSync(temp)).toEqual([]);
      }
    });

    it('takes a token that the job has already', async () => {
      const environment = jobEnvironment({ SIGSTORE_ID_TOKEN: gitHub.token({ audience: 'sigstore' }) });
      const other = await newWorkspace({ 'app.txt': 'an app' });
      expect((await act('sign', { workspace: other, inputs: signInputs('app.txt'), environment })).exit).toBe(0);
    });

    it.each([
      ['no files', { files: '' }, 'files is empty'],
      ['only blank lines', { files: '\n  \r\n' }, 'files is empty'],
      ['a name that is not there', { files: 'missing.txt' }, 'nothing is there that is called missing.txt'],
      ['a pattern that finds only bundles', { files: 'dist/*.json' }, 'nothing is there'],
      [
        'one line of several that finds nothing',
        { files: 'dist/*\nmissing' },
        'nothing is there that is called missing',
      ],
      ['a folder', { files: 'dist' }, 'dist is a folder'],
      ['patterns through folders', { files: 'dist/**/*.txt' }, '** is not understood'],
      ['shell in a name', { files: '$(touch pwned)' }, 'nothing is there that is called $(touch pwned)'],
      ['a command of the runner', { files: '##[set-output name=bundles]x%0A' }, '##[set-output name=bundles]x%250A'],
      [
        'an escape that an echo would make a line of',
        { files: 'x\\n::set-output name=bundles::y' },
        'x\\n::set-output',
      ],
      ['a bundle for several', { files: 'dist/*', bundle: 'x' }, 'bundle: it can be named for one file only'],
      ['a bundle with a line break', { bundle: 'a\nb' }, 'bundle: its name has a line break'],
      ['no trusted root', { 'trusted-root': '' }, 'trusted-root is missing'],
      ['a trusted root that is not there', { 'trusted-root': 'other.json' }, 'there is no file other.json'],
      ['no service', { url: '' }, 'url is missing'],
      ['two services', { 'signing-config': trustedRoot }, 'url and signing-config are both given'],
      ['a signing configuration that is not there', { url: '', 'signing-config': 'x' }, 'there is no file x'],
    ])('sign refuses %s', async (_, more, why) => {
      const temp = await mkdtemp(join(folder, 'runner-'));
      const refused = await act('sign', { workspace, inputs: { ...signInputs('dist/app.tar.gz'), ...more }, temp });
      expect(refused.exit).toBe(2);
      expect(refused.commands).toEqual([{ name: 'error', data: expect.stringContaining(why) }]);
      expect(refused.outputs['bundles']).toBe('');
      expect(readdirSync(temp)).toEqual([]);
      expect(existsSync(join(workspace, 'pwned'))).toBe(false);
    });

    it('sign refuses a name with a line break, which a list of names cannot hold', async () => {
      const other = await newWorkspace({ 'dist/a\n::set-output name=bundles::evil': 'x' });
      const refused = await act('sign', { workspace: other, inputs: signInputs('dist/*') });
      expect(refused.exit).toBe(2);
      expect(refused.commands).toEqual([{ name: 'error', data: expect.stringContaining('line break') }]);
    });

    it.each([
      ['no identity', { identity: '' }, 'identity is missing'],
      ['no issuer', { issuer: '' }, 'issuer is missing'],
      ['two identities', { 'identity-regexp': '.*' }, 'identity and identity-regexp are both given'],
      ['two issuers', { 'issuer-regexp': '.*' }, 'issuer and issuer-regexp are both given'],
    ])('verify refuses %s', async (_, more, why) => {
      const temp = await mkdtemp(join(folder, 'runner-'));
      const refused = await act('verify', { workspace, inputs: { ...verifyInputs('dist/*'), ...more }, temp });
      expect(refused).toMatchObject({ exit: 2, commands: [{ name: 'error', data: expect.stringContaining(why) }] });
      expect(readdirSync(temp)).toEqual([]);
    });

    it('an address that would be shell or an option is only an address', async () => {
      for (const url of [`${server?.url}/$(touch pwned)`, '--help', '; touch pwned']) {
        const refused = await act('sign', { workspace, inputs: { ...signInputs('dist/app.tar.gz'), url } });
        expect(refused.exit).toBeGreaterThan(1);
        expect(existsSync(join(workspace, 'pwned'))).toBe(false);
      }
    }, 120_000);
  });

  describe('the GitLab components sign and verify', () => {
    const template = (name: string): string => join(integrations, 'gitlab', 'templates', name, 'template.yml');
    let workspace: string;
    let signed: ComponentRun;
    const files = strange.slice(0, 8).join('\n');

    beforeAll(async () => {
      if (unreachable !== undefined) return;
      workspace = await newWorkspace(Object.fromEntries(strange.map((name) => [name, `content of ${name}\n`])));
      signed = await runComponent(template('sign'), {
        inputs: { ...signInputs(files), package: tarball, job: 'sign the release' },
        workspace,
        environment: jobEnvironment(),
        shell: 'sh',
        idToken: (audience) => gitLab.token({ audience }),
      });
    }, 300_000);

    /** The client that the first test of all has installed, as a package without dependencies: each job installs anew, and the real one takes its time. */
    async function packRelay(): Promise<string> {
      const source = await mkdtemp(join(folder, 'relay-'));
      const manifest = { name: 'relay', version: '1.0.0', type: 'module', files: ['bin', 'integrations'] };
      await writeFile(join(source, 'package.json'), JSON.stringify(manifest));
      await cp(scripts, join(source, 'integrations', 'scripts'), { recursive: true });
      await mkdir(join(source, 'bin'));
      const client = join(home, 'node_modules', 'chancery', 'bin', 'chancery');
      await writeFile(join(source, 'bin', 'chancery'), `await import(${JSON.stringify(client)});\n`);
      execFileSync('npm', ['pack', '--ignore-scripts'], { cwd: source, stdio: 'ignore' });
      return join(source, 'relay-1.0.0.tgz');
    }

    it('the tarball has what the component runs', () => {
      expect(packedFiles.filter((path) => path.startsWith('integrations/')).sort()).toEqual(
        readdirSync(scripts)
          .map((name) => `integrations/scripts/${name}`)
          .sort(),
      );
    });

    it('signs with the token of the job', () => {
      expect(signed).toMatchObject({
        exit: 0,
        job: 'sign the release',
        idTokens: { SIGSTORE_ID_TOKEN: { aud: 'sigstore' } },
        artifacts: ['**/*.sigstore.json'],
      });
      expect(signed.log).toContain(gitLabIdentity);
      for (const part of (gitLab.given[0] ?? '').split('.')) expect(signed.log).not.toContain(part.slice(0, 40));
      expect(existsSync(join(workspace, 'pwned'))).toBe(false);
    });

    it('verifies, in another shell', async () => {
      const relay = await packRelay();
      const verify = (issuer: string): Promise<ComponentRun> =>
        runComponent(template('verify'), {
          inputs: { 'trusted-root': trustedRoot, identity: gitLabIdentity, issuer, files, package: relay },
          workspace,
          environment: jobEnvironment(),
          shell: 'bash',
        });
      const verified = await verify(gitLab.url);
      expect(verified).toMatchObject({ exit: 0, job: 'chancery-verify', idTokens: {}, artifacts: [] });
      // The identity of another system's job is another one.
      const refused = await verify(gitHub.url);
      expect(refused.exit).toBe(1);
      expect(refused.log).toContain('NOT VERIFIED');
    }, 120_000);

    it('names the cure for a missing token', async () => {
      const inputs = {
        CHANCERY_INPUT_FILES: files,
        CHANCERY_INPUT_URL: server?.url ?? '',
        CHANCERY_INPUT_TRUSTED_ROOT: trustedRoot,
      };
      const environment = { ...inputs, GITLAB_CI: 'true' };
      const refused = await run('sh', [join(scripts, 'sign.sh'), 'check'], { cwd: workspace, environment });
      expect(refused).toMatchObject({ exit: 2, out: '' });
      expect(refused.err).toContain('cure: add `id_tokens: SIGSTORE_ID_TOKEN: aud: sigstore` to the job');
    });

    it.each(['^1.0.0', 'latest', '1.0.0; touch pwned', '1.0'])(
      'includes no pipeline with the version %s',
      (version) => {
        const inputs = { files: 'x', 'trusted-root': 'x', version };
        expect(() => includeComponent(template('sign'), inputs)).toThrow('does not match its pattern');
      },
    );

    it('every input arrives as it is, and none in the script', () => {
      const [, plain] = includeComponent(template('sign'), { files: 'x', 'trusted-root': 'x' });
      const evil = '$(touch pwned)\n"; touch pwned; "\n$CI_JOB_TOKEN';
      const [, job] = includeComponent(template('sign'), {
        files: evil,
        'trusted-root': evil,
        url: evil,
        bundle: evil,
      });
      expect(job.script).toEqual(plain.script);
      for (const name of ['FILES', 'TRUSTED_ROOT', 'URL', 'BUNDLE']) {
        expect(job.variables[`CHANCERY_INPUT_${name}`]).toEqual({ value: evil, expand: false });
      }
    });
  });
});

describe('the files of the integrations', () => {
  const read = (...path: string[]): string => readFileSync(join(integrations, ...path), 'utf8');
  const actions = ['install', 'sign', 'verify'];

  it.each(actions)('github/%s gives every input to its scripts, and none to a shell', (name) => {
    interface Step {
      run: string;
      shell: string;
      env: Record<string, string>;
    }
    const action = parse(read('github', name, 'action.yml')) as {
      inputs: Record<string, { description: string; required?: boolean; default?: string }>;
      runs: { using: string; steps: Step[] };
    };
    expect(action.runs.using).toBe('composite');
    for (const { run: script, shell } of action.runs.steps) {
      expect(shell).toBe('bash');
      expect(script).not.toContain('${{');
    }
    const given = action.runs.steps
      .flatMap(({ env }) => Object.entries(env))
      .filter(([, value]) => value.includes('${{'));
    expect(given.map(([variable]) => variable)).toEqual(
      given.map(
        ([, value]) =>
          `CHANCERY_INPUT_${/^\$\{\{ inputs\.([a-z-]+) \}\}$/.exec(value)?.[1]?.toUpperCase().replaceAll('-', '_')}`,
      ),
    );
    const names = Object.keys(action.inputs).map(
      (input) => `CHANCERY_INPUT_${input.toUpperCase().replaceAll('-', '_')}`,
    );
    expect(given.map(([variable]) => variable).sort()).toEqual(names.sort());
    // An input is either required or has a default.
    for (const { description, required, default: value } of Object.values(action.inputs)) {
      expect([typeof description, required === true]).toEqual(['string', value === undefined]);
    }
  });

  it.each(['sign', 'verify'])('the component %s has install.sh word for word, and no input in its script', (name) => {
    const inputs = { files: '$[[', 'trusted-root': '$[[' };
    const [, { script }] = includeComponent(join(integrations, 'gitlab', 'templates', name, 'template.yml'), inputs);
    expect(script).toHaveLength(2);
    expect(script[0]).toBe(read('scripts', 'install.sh'));
    expect(script[1]).toBe(`sh "$CHANCERY_HOME/node_modules/chancery/integrations/scripts/${name}.sh"`);
    const [, body] = parseAllDocuments(read('gitlab', 'templates', name, 'template.yml'));
    expect(JSON.stringify((Object.values(body?.toJS() as object)[0] as { script: unknown }).script)).not.toContain(
      '$[[',
    );
  });

  it.skipIf(!runnable).each(readdirSync(scripts))('%s is read by every shell here', (name) => {
    for (const shell of shells) execFileSync(shell, ['-n', join(scripts, name)]);
    // SC2034, SC2154: what job.sh sets is used where it is sourced.
    if (isInPath('shellcheck'))
      execFileSync('shellcheck', ['--shell=sh', '--severity=warning', '--exclude=SC2034,SC2154', join(scripts, name)]);
    expect(read('scripts', name)).not.toMatch(/\beval\b|\[\[ |\blocal\b|`[a-z]+ -/);
  });

  it('the commands that the runner knows are found in a log, and nothing else is', () => {
    const log = ['::error title=a::x', '  ::notice::y', 'a ::error::no', 'b ##[error]z', '::unknown::u'];
    const stopped = ['::stop-commands::t', '::error::no', '##[set-output name=a]b', '::t::', '::debug::d'];
    expect(workflowCommands([...log, ...stopped].join('\n')).map(({ name, data }) => `${name} ${data}`)).toEqual([
      'error x',
      'notice y',
      'error z',
      'debug d',
    ]);
  });

  describe('README.md', () => {
    const readme = read('README.md');
    const blocks = [...readme.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text]) => parse(text ?? '') as unknown);

    it('uses actions that are there, with inputs that they have, and the permission that they need', () => {
      interface Workflow {
        jobs?: Record<
          string,
          { permissions?: Record<string, string>; steps: { uses?: string; with?: Record<string, string> }[] }
        >;
      }
      const jobs = blocks.flatMap((block) => Object.values((block as Workflow).jobs ?? {}));
      const used = jobs.flatMap(({ steps, permissions }) => steps.map((step) => ({ ...step, permissions })));
      const ours = used.filter(({ uses }) => uses?.includes('/integrations/'));
      expect(ours).toHaveLength(2);
      for (const { uses = '', with: inputs = {}, permissions } of ours) {
        const [, name = ''] = /^OWNER\/chancery\/integrations\/github\/([a-z]+)@v1$/.exec(uses) ?? [];
        const action = parse(read('github', name, 'action.yml')) as { inputs: Record<string, { required?: boolean }> };
        expect(Object.keys(action.inputs)).toEqual(expect.arrayContaining(Object.keys(inputs)));
        const required = Object.entries(action.inputs).filter(([, input]) => input.required);
        expect(Object.keys(inputs)).toEqual(expect.arrayContaining(required.map(([input]) => input)));
        expect(permissions?.['id-token']).toBe(name === 'sign' ? 'write' : undefined);
      }
    });

    it('includes components that are there, with inputs that they have', () => {
      interface Pipeline {
        include?: { component: string; inputs: Record<string, string> }[];
      }
      const included = blocks.flatMap((block) => (block as Pipeline).include ?? []);
      expect(included).toHaveLength(2);
      for (const { component, inputs } of included) {
        const [, name = ''] = /\/chancery\/([a-z]+)@1\.0\.0$/.exec(component) ?? [];
        const file = join(integrations, 'gitlab', 'templates', name, 'template.yml');
        expect(() => includeComponent(file, inputs)).not.toThrow();
      }
    });

    it('names the inputs that there are', () => {
      const table = [...readme.matchAll(/^\| (`.*?) \| (✓?) *\| (✓?) *\|/gm)].map(([, names = '', sign, verify]) => ({
        names: [...names.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name ?? ''),
        sign: sign === '✓',
        verify: verify === '✓',
      }));
      for (const name of ['sign', 'verify'] as const) {
        const { inputs } = parse(read('github', name, 'action.yml')) as { inputs: object };
        const told = table.filter((row) => row[name]).flatMap(({ names }) => names);
        expect(told.sort()).toEqual(Object.keys(inputs).sort());
      }
    });

    it('gives commands that the command line has', async () => {
      ensureBuilt();
      const told = [...readme.replaceAll('\\\n', '').matchAll(/\bchancery (sign|verify|trust export) (.*)/g)];
      expect(new Set(told.map(([, command]) => command)).size).toBe(3);
      for (const [, command = '', rest = ''] of told) {
        const { out } = await chancery([...command.split(' '), '--help'], { cwd: checkout });
        const known = out.match(/--[a-z-]+/g) ?? [];
        expect(known).toEqual(expect.arrayContaining([...(rest.match(/--[a-z-]+/g) ?? [])]));
      }
    }, 300_000);
  });
});
