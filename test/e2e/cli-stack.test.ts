// The command line against a real stack: everything as a newcomer would type it.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fetchToken, freePort } from '../world/index.js';

const root = join(import.meta.dirname, '../..');
const chanceryPath = join(root, 'bin/chancery');

interface Result {
  exit: number;
  out: string;
  err: string;
}

let folder: string;
let url: string;
let port: string;
let server: ChildProcess | undefined;
let serverLog = '';
const at = (name: string) => join(folder, name);

function chancery(...args: string[]): Promise<Result> {
  return runNode([chanceryPath, ...args]);
}

function runNode(args: string[], env: NodeJS.ProcessEnv = cleanEnvironment()): Promise<Result> {
  return new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: folder, env, timeout: 60_000 }, (error, out, err) => {
      resolve({ exit: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, out, err });
    });
  });
}

/** Nothing of the machine that runs the tests decides who signs. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(SIGSTORE_|ACTIONS_|GITHUB_|CHANCERY_|COSIGN_)/.test(name)),
  );
}

async function startServer(...more: string[]): Promise<void> {
  const child = spawn(process.execPath, [chanceryPath, 'up', '--dev', '--port', port, '--data', at('data'), ...more], {
    cwd: folder,
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  server = child;
  serverLog = '';
  child.stdout.on('data', (chunk: Buffer) => (serverLog += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (serverLog += chunk.toString()));
  for (const until = Date.now() + 30_000; Date.now() < until;) {
    if (child.exitCode !== null) throw new Error(`the server ended: ${serverLog}`);
    const isUp = await fetch(`${url}/healthz`).then(
      (response) => response.ok,
      () => false,
    );
    if (isUp) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the server did not come up: ${serverLog}`);
}

/** SIGTERM, and how it ended. */
async function stopServer(): Promise<number | null> {
  const child = server;
  server = undefined;
  if (child === undefined || child.exitCode !== null) return child?.exitCode ?? null;
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  return ended;
}

beforeAll(async () => {
  if (!existsSync(join(root, 'dist/apps/cli/src/main.js'))) throw new Error('not compiled: run `npm run build`');
  folder = await mkdtemp(join(tmpdir(), 'chancery-e2e-'));
  port = String(await freePort());
  url = `http://127.0.0.1:${port}`;
  await writeFile(at('README.md'), 'a file to sign\n');
  await startServer();
});
afterAll(async () => {
  await stopServer();
  await rm(folder, { recursive: true, force: true });
});

describe('a first signature', () => {
  it('signs with a token of the development issuer', async () => {
    await writeFile(at('token'), await fetchToken(url, { email: 'you@example.com' }));
    const result = await chancery('sign', 'README.md', '--url', url, '--identity-token', 'token', '--bundle', 'r.json');
    expect(result).toMatchObject({ exit: 0 });
    expect(result.out).toContain('you@example.com');
    expect(result.out).toContain('the bundle verifies');
  });

  it('signs a statement, and several files with one certificate', async () => {
    const statement = {
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'x', digest: { sha256: '1'.repeat(64) } }],
      predicateType: 'https://example.com/p',
    };
    await writeFile(at('statement.json'), JSON.stringify(statement));
    expect(
      await chancery('sign', '--in-toto', 'statement.json', '--url', url, '--identity-token', 'token'),
    ).toMatchObject({ exit: 0 });
    await writeFile(at('a'), 'a');
    await writeFile(at('b'), 'b');
    expect(await chancery('sign', 'a', 'b', '--url', url, '--identity-token', 'token')).toMatchObject({ exit: 0 });
    const leaf = (name: string) =>
      (
        JSON.parse(readFileSync(at(`${name}.sigstore.json`), 'utf8')) as {
          verificationMaterial: { certificate: unknown };
        }
      ).verificationMaterial.certificate;
    expect(leaf('a')).toEqual(leaf('b'));
  });

  it('exports the same trust from the server and from the data folder', async () => {
    expect(await chancery('trust', 'export', '--url', url, '--out', 'trust')).toMatchObject({ exit: 0 });
    for (const source of [
      ['--url', url],
      ['--data', 'data', '--public-url', url],
    ]) {
      const one = await chancery('trust', 'export', ...source, '--rekor', '1', '--out', 'trust1');
      expect(one).toMatchObject({ exit: 0 });
      const config = await readFile(at('trust1/signing_config.v0.2.json'), 'utf8');
      expect(config.match(/"majorApiVersion": 2/)).toBeNull();
      expect(await chancery('trust', 'export', ...source, '--rekor', '3')).toMatchObject({ exit: 2 });
    }
    const fromData = await chancery('trust', 'export', '--data', 'data', '--public-url', url, '--out', 'trust2');
    expect(fromData).toMatchObject({ exit: 0, err: '' });
    expect(await readFile(at('trust2/trusted_root.json'), 'utf8')).toBe(
      await readFile(at('trust/trusted_root.json'), 'utf8'),
    );
  });

  it('reads the log and proves what it reads', async () => {
    const log = ['--url', url, '--trusted-root', 'trust/trusted_root.json'];
    const checkpoint = await chancery('log', 'checkpoint', ...log);
    expect(checkpoint).toMatchObject({ exit: 0 });
    await writeFile(at('old.checkpoint'), checkpoint.out);
    expect(await chancery('log', 'entry', '0', ...log)).toMatchObject({ exit: 0 });
    expect((await chancery('log', 'prove', '0', ...log)).out).toMatch(/^c2sp\.org\/tlog-proof@v1\nindex 0\n/);
    expect(await chancery('sign', 'README.md', '--url', url, '--identity-token', 'token')).toMatchObject({ exit: 0 });
    const consistency = await chancery('log', 'consistency', '--old', 'old.checkpoint', ...log);
    expect(consistency).toMatchObject({ exit: 0 });
    expect(consistency.out).toContain('1 came after them');
    expect((await chancery('log', 'entry', '99', ...log)).exit).toBe(1);
  });

  it('has its token refused when the token is not for this service', async () => {
    const payload = {
      iss: 'https://nobody.example',
      sub: 'x',
      aud: 'sigstore',
      exp: Math.floor(Date.now() / 1000) + 60,
    };
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const token = `${part({ alg: 'none' })}.${part(payload)}.`;
    const refused = await chancery('sign', 'README.md', '--url', url, '--identity-token', token);
    expect(refused.exit).toBe(5);
    expect(refused.out + refused.err).not.toContain(token);
    expect((await chancery('sign', 'README.md', '--url', 'http://127.0.0.1:1', '--identity-token', 'token')).exit).toBe(
      4,
    );
  });

  it('refuses a second server over the same folder', async () => {
    const second = await chancery('up', '--dev', '--port', String(await freePort()), '--data', 'data');
    expect(second.exit).toBe(3);
  });

  it('ends with 0 on SIGTERM, after having warned about --dev', async () => {
    expect(await stopServer()).toBe(0);
    expect(serverLog.toLowerCase()).toContain('dev');
  });
});

describe('after the server has stopped', () => {
  const verify = ['verify', 'README.md', '--bundle', 'r.json', '--trusted-root', 'trust/trusted_root.json'];
  const identity = () => ['--certificate-identity', 'you@example.com', '--certificate-oidc-issuer', `${url}/dev/oidc`];

  it('verifies the file', async () => {
    expect((await chancery(...verify, ...identity())).exit).toBe(0);
    expect((await chancery(...verify)).out).toContain('WARNING: no identity was demanded');
    expect(
      (await chancery(...verify, '--certificate-identity', 'me@example.com', '--certificate-oidc-issuer', 'x')).exit,
    ).toBe(1);
  });

  it('verifies without any network call, and without loading the server, the signer or the network client', async () => {
    const preload = at('no-network.mjs');
    const loaded = at('loaded');
    await writeFile(
      preload,
      `import { createRequire } from 'node:module';
       import { writeFileSync } from 'node:fs';
       import net from 'node:net';
       import dns from 'node:dns';
       import dgram from 'node:dgram';
       const refuse = () => { throw new Error('a network call'); };
       net.Socket.prototype.connect = refuse;
       net.connect = net.createConnection = refuse;
       dgram.createSocket = refuse;
       for (const name of ['lookup', 'resolve', 'resolve4', 'resolve6']) dns[name] = refuse;
       globalThis.fetch = refuse;`,
    );
    const trace = at('trace.mjs');
    await writeFile(
      trace,
      `import { appendFileSync } from 'node:fs';
       export async function load(url, context, next) { appendFileSync(${JSON.stringify(loaded)}, url + '\\n'); return next(url, context); }`,
    );
    const args = [
      '--import',
      preload,
      '--no-warnings',
      '--experimental-loader',
      trace,
      chanceryPath,
      ...verify,
      ...identity(),
    ];
    const result = await runNode(args);
    expect(result).toMatchObject({ exit: 0 });
    const urls = (await readFile(loaded, 'utf8')).split('\n');
    expect(urls.some((module) => module.includes('/libs/verify/'))).toBe(true);
    expect(
      urls.filter((module) =>
        /@nestjs|typeorm|sqlite3|fastify|\/zod\/|rxjs|re2js|\/libs\/(sign|nest|tlog|identity)\/|\/apps\/(?!cli\/)/.test(
          module,
        ),
      ),
    ).toEqual([]);
  });

  it('still fails with a reason when its output goes nowhere', async () => {
    await writeFile(at('wrong'), 'another file');
    const { exit } = await runNode([
      '-e',
      `
      const { spawn } = require('node:child_process');
      const child = spawn(process.execPath, ${JSON.stringify([chanceryPath, 'verify', 'wrong', ...verify.slice(2)])}, { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.destroy();
      child.on('exit', (code) => process.exit(code ?? 99));
    `,
    ]);
    expect(exit).toBe(1);
  });

  it('never ends with 0 when it crashes, and prints no stack', async () => {
    const preload = at('crash.mjs');
    await writeFile(
      preload,
      `const { write } = process.stdout;
       process.stdout.write = function (...given) {
         void Promise.reject(new Error('boom'));
         return write.apply(this, given);
       };`,
    );
    const { exit, err } = await runNode(['--import', preload, chanceryPath, ...verify]);
    expect(exit).toBe(70);
    expect(err).toContain('Unexpected error: boom');
    expect(err).not.toContain('    at ');
  });

  it('comes up again over the same folder', async () => {
    await startServer();
    const log = ['--url', url, '--trusted-root', 'trust/trusted_root.json'];
    expect(await chancery('log', 'consistency', '--old', 'old.checkpoint', ...log)).toMatchObject({ exit: 0 });
    expect(await stopServer()).toBe(0);
  });
});
