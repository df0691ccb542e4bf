// What the README tells people to type is typed here, word for word: only the port and the data folder are others. Other things it states are compared with
// what they are about.
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readStackConfig } from '../../apps/stack/src/config.js';
import { freePort } from '../world/index.js';
import { checkout, ensureBuilt, type Ran, run, type ServerProcess, spawnServing } from '../world/process.js';

const readme = readFileSync(join(checkout, 'README.md'), 'utf8');

/** The code blocks of a language, in order. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)]
    .filter(([, name]) => name === language)
    .map(([, , text]) => text ?? '');
}

/** The commands of a block without what is said about them. */
function commands(block: string): string[] {
  return block
    .split('\n')
    .map((line) => line.replace(/ +# .*$/, ''))
    .filter((line) => line !== '');
}

const [setUp = '', firstSignature = '', service = '', audit = '', ...others] = blocks('sh');
const shell =
  existsSync('/bin/sh') && (process.env['PATH'] ?? '').split(':').some((path) => existsSync(`${path}/curl`));
if (!shell) console.warn('The commands of the README are not run here: they need a POSIX shell and curl');

describe.skipIf(!shell)('the commands of the README', () => {
  let folder: string;
  let port: number;
  let server: ServerProcess;

  beforeAll(async () => {
    ensureBuilt();
    folder = await mkdtemp(join(tmpdir(), 'chancery-readme-'));
    port = await freePort();
    // A folder in which the commands find what they find in a checkout, and leave behind what they make.
    await symlink(join(checkout, 'bin'), join(folder, 'bin'));
    for (const name of ['README.md', 'issuers.yaml']) await cp(join(checkout, name), join(folder, name));
  }, 600_000);
  afterAll(async () => {
    await server.end('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  /** Runs a block as one script, as a person would paste it; the first command that fails ends it. */
  const paste = (block: string): Promise<Ran> =>
    run('/bin/sh', ['-e', '-c', block.replaceAll('127.0.0.1:8700', `127.0.0.1:${port}`)], { cwd: folder });
  const settings = (data: string, onPort: number) => ({
    CHANCERY_DATA: join(folder, data),
    CHANCERY_PORT: String(onPort),
  });

  it('are in the blocks that this test knows', () => {
    expect(others).toEqual([]);
    // `npm test` is what runs this test, so it is the one command that is not run here.
    expect(commands(setUp)).toEqual(['npm start', 'npm test']);
  });

  it('npm start serves everything', async () => {
    server = spawnServing('/bin/sh', ['-c', 'exec npm start'], { port, environment: settings('data', port) });
    await server.serving();
    expect(readme).toContain('http://127.0.0.1:8700');
    expect(server.output()).toContain('DEVELOPMENT ISSUER IS ON');
  }, 300_000);

  it('a first signature', async () => {
    expect(commands(firstSignature).length).toBeLessThanOrEqual(5);
    const pasted = await paste(firstSignature);
    expect(pasted).toMatchObject({ exit: 0 });
    expect(pasted.out).toContain('Verified: README.md');
  }, 300_000);

  it('what an auditor does', async () => {
    const pasted = await paste(audit);
    expect(pasted).toMatchObject({ exit: 0 });
    expect(pasted.err).toContain('✓ v2: 1 entries are in the tree of size 1, and no other one matches');
    expect(pasted.out).toContain('✓ intact: all 1 entries');
    expect(await readFile(join(folder, 'mirror', 'checkpoint'), 'utf8')).toMatch(/^127\.0\.0\.1\n1\n/);
    // The first look remembered it.
    const again = await paste(commands(audit).at(-1) ?? '');
    expect(again).toMatchObject({ exit: 0 });
    expect(again.out).toContain('has kept its first 1 entries');
  }, 300_000);

  it('a service for CI jobs', async () => {
    expect(commands(service)).toHaveLength(1);
    const other = await freePort();
    const up = spawnServing('/bin/sh', ['-c', `exec ${service}`], {
      port: other,
      cwd: folder,
      environment: settings('service', other),
    });
    try {
      await up.serving();
      // The files that the README tells CI jobs to fetch, under the public name.
      for (const name of ['trusted_root.json', 'signing_config.v0.2.json']) {
        expect(readme).toContain(`https://sign.example.com/trust/${name}`);
        const served = await (await fetch(`${up.url}/trust/${name}`)).text();
        expect(served).toContain('https://sign.example.com');
      }
      // Without --dev there is nobody who gives tokens to anyone.
      expect((await fetch(`${up.url}/dev/oidc/token`, { method: 'POST' })).status).toBe(404);
    } finally {
      expect((await up.end('SIGTERM')).code).toBe(0);
    }
  }, 300_000);

  it('"Stop the server and verify again: it still works"', async () => {
    await server.end('SIGTERM');
    expect(server.output()).toContain('"stopped"');
    const verify = commands(firstSignature).filter((command) => command.startsWith('bin/chancery verify '));
    expect(verify).toHaveLength(1);
    expect(await paste(verify.join('\n'))).toMatchObject({ exit: 0 });
    expect((await paste(verify.join('\n').replace('you@', 'me@'))).exit).toBe(1);
  }, 300_000);

  it('the library is imported by the name of the package', async () => {
    const names = ['sign', 'verify'];
    const script = `${blocks('ts').join('\n')}\nconsole.log(${names.map((name) => `typeof ${name}`).join(', ')});`;
    // In the checkout, so that the name is our own.
    const ran = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: checkout });
    expect(ran).toEqual({ exit: 0, out: 'function function\n', err: '' });
  }, 120_000);
});

describe('what else the README states', () => {
  it('names every setting, and no other', () => {
    const named = new Set(readme.match(/CHANCERY_[A-Z_]+/g));
    // An unknown setting is an error that names the ones it knows or, at least, itself.
    const config = readFileSync(join(checkout, 'apps/stack/src/config.ts'), 'utf8');
    const known = new Set(config.match(/^ {2}CHANCERY_[A-Z_]+(?=:)/gm)?.map((name) => name.trim()));
    // `--dev` is the flag; as a variable it exists for the flag's sake and is not advertised.
    known.delete('CHANCERY_DEV');
    expect([...named].sort()).toEqual([...known].sort());
    expect(() => readStackConfig({}, { CHANCERY_PRT: '1' })).toThrow(/CHANCERY_PRT/);
  });

  it('gives the defaults that are so', () => {
    const config = readStackConfig({}, {});
    expect(readme).toContain(`\`CHANCERY_PORT\` (${config.CHANCERY_PORT})`);
    expect(readme).toContain(`\`CHANCERY_HOST\` (${config.CHANCERY_HOST})`);
    expect(readme).toContain(`\`CHANCERY_DATA\` (\`${config.CHANCERY_DATA}\`)`);
  });

  it('links to files that are there', () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path ?? '');
    expect(links.length).toBeGreaterThan(4);
    expect(links.filter((path) => !existsSync(join(checkout, path)))).toEqual([]);
  });

  // `docker compose up` needs a daemon, which a test machine need not have: only what it reads is compared with what is there.
  it('docker compose finds what it names', () => {
    interface Compose {
      services: Record<
        string,
        { build: string; ports: string[]; volumes: string[]; environment: Record<string, string> }
      >;
      volumes: Record<string, unknown>;
    }
    const compose = parseYaml(readFileSync(join(checkout, 'docker-compose.yml'), 'utf8')) as Compose;
    const { chancery } = compose.services;
    expect(Object.keys(compose.services)).toEqual(['chancery']);
    const dockerfile = readFileSync(join(checkout, chancery?.build ?? '', 'Dockerfile'), 'utf8');
    for (const volume of chancery?.volumes ?? []) {
      const [from = '', to = ''] = volume.split(':');
      if (from.startsWith('.')) expect(existsSync(join(checkout, from))).toBe(true);
      else
        expect([Object.keys(compose.volumes), dockerfile]).toEqual([[from], expect.stringContaining(`VOLUME ${to}`)]);
    }
    expect(chancery?.ports).toEqual(['8700:8700']);
    // The image's own settings and the composition's make a configuration.
    const image = Object.fromEntries([...dockerfile.matchAll(/\b(CHANCERY_[A-Z_]+)=(\S+)/g)].map(([, k, v]) => [k, v]));
    const environment = { ...image, ...chancery?.environment, CHANCERY_URL: 'http://localhost:8700' };
    expect(readStackConfig({}, environment)).toMatchObject({ CHANCERY_HOST: '0.0.0.0', CHANCERY_DATA: '/data' });
    const words = [...dockerfile.matchAll(/^(?:ENTRYPOINT|CMD) (\[.*\])$/gm)].flatMap(
      ([, list]) => JSON.parse(list ?? '[]') as string[],
    );
    const flags = words.filter((word) => word.startsWith('--'));
    const [, executable = '', ...args] = words.filter((word) => !word.startsWith('--'));
    expect([existsSync(join(checkout, executable)), ...args]).toEqual([true, 'up']);
    // Node is started as by `npm start`, and as the README tells those who start it otherwise.
    const { scripts } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
      scripts: { start: string };
    };
    expect(scripts.start.split(' ').filter((word) => word.startsWith('--'))).toEqual(flags);
    expect(readme).toContain(`NODE_OPTIONS=${flags.join(' ')}`);
  });
});
