// Each service as a process of its own, with its own data, talking over HTTP: the same bundle comes out.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPublicKey } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBundle, parseTrustedRoot, sign } from '../../apps/npm/src/sign.js';
import { verify } from '../../apps/npm/src/verify.js';
import { freePort, startWorld, type World } from '../world/index.js';
import { chancery, ensureBuilt } from '../world/process.js';

const apps = join(import.meta.dirname, '..', '..', 'dist', 'apps');

describe('services on their own', () => {
  let world: World;
  let folder: string;
  const children: ChildProcess[] = [];
  const urls = { ca: '', ct: '', log: '', tsa: '', trust: '' };

  /** Starts `dist/apps/<name>/src/main.js` and waits until it says that it listens. */
  async function start(name: keyof typeof urls, settings: Record<string, string>): Promise<void> {
    const prefix = `CHANCERY_${name.toUpperCase()}_`;
    const port = settings['PORT'] ?? String(await freePort());
    const env = Object.fromEntries(
      Object.entries({ ...settings, PORT: port }).map(([key, value]) => [prefix + key, value]),
    );
    const child = spawn(process.execPath, [join(apps, name, 'src', 'main.js')], {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    children.push(child);
    let said = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (chunk: Buffer) => {
        said += chunk.toString();
        if (said.includes('listening')) resolve();
      });
      child.once('exit', (code) => reject(new Error(`${name} ended with ${code}: ${said}`)));
    });
    urls[name] = `http://127.0.0.1:${port}`;
  }

  beforeAll(async () => {
    ensureBuilt();
    // An instance made by the stack gives the keys, and its development issuer the tokens.
    world = await startWorld();
    folder = await mkdtemp(join(tmpdir(), 'chancery-roles-'));
    const key = (name: string): string => join(world.folder, 'keys', name);
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(join(folder, name), text);
      return join(folder, name);
    };
    const chain = await readFile(key('ca-chain.pem'), 'utf8');
    const root = chain.slice(chain.lastIndexOf('-----BEGIN CERTIFICATE-----'));
    const ctKey = createPublicKey(await readFile(key('ct.pem'), 'utf8')).export({ type: 'spki', format: 'pem' });
    const ctPort = String(await freePort());
    await start('ct', {
      PORT: ctPort,
      DATA: join(folder, 'ct'),
      KEY_FILE: key('ct.pem'),
      ROOTS_FILE: await file('roots.pem', root),
      URL: `http://127.0.0.1:${ctPort}`,
      CREATE: 'true',
    });
    await start('log', { DATA: join(folder, 'log'), KEY_FILE: key('log.pem'), ORIGIN: '127.0.0.1', CREATE: 'true' });
    await start('tsa', { KEY_FILE: key('tsa.pem'), CHAIN_FILE: key('tsa-chain.pem') });
    await start('ca', {
      DATA: join(folder, 'ca'),
      CREATE: 'true',
      KEY_FILE: key('ca.pem'),
      CHAIN_FILE: key('ca-chain.pem'),
      CT_URL: urls.ct,
      CT_KEY_FILE: await file('ct.pub', ctKey.toString()),
      OIDC_CONFIG: await file(
        'issuers.json',
        JSON.stringify({
          OIDCIssuers: { [world.issuer]: { IssuerURL: world.issuer, ClientID: 'sigstore', Type: 'email' } },
        }),
      ),
    });
    await start('trust', {
      ROOT_FILE: await file('root.json', await world.trustedRoot()),
      SIGNING_CONFIG_FILE: await file(
        'config.json',
        await (await fetch(`${world.url}/trust/signing_config.v0.2.json`)).text(),
      ),
    });
  });

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await world.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('sign together, and the bundle verifies', async () => {
    const trustedRoot = parseTrustedRoot(await (await fetch(`${urls.trust}/trust/trusted_root.json`)).text());
    const artifact = Buffer.from('an artifact');
    const bundle = await sign(artifact, {
      signingConfig: {
        certificateAuthority: urls.ca,
        logs: [urls.log],
        timestampAuthorities: [`${urls.tsa}/api/v1/timestamp`],
      },
      identityToken: await world.token({ email: 'alice@example.com' }),
      trustedRoot,
    });
    const options = { trustedRoot, identity: 'alice@example.com', issuer: world.issuer };
    const report = await verify(encodeBundle(bundle), artifact, options);
    expect(report.checks.filter(({ state }) => state === 'failed')).toEqual([]);
    expect(report.ok).toBe(true);
    const head = (await (await fetch(`${urls.ct}/ct/v1/get-sth`)).json()) as { tree_size: number };
    expect(head.tree_size).toBe(1);
    // The CA has it on record, and says so while it runs.
    const listed = await chancery(['ca', 'issued', '--file', join(folder, 'ca', 'ca.db'), '--json'], { cwd: folder });
    expect(JSON.parse(listed.out)).toMatchObject({
      certificates: [{ identity: 'alice@example.com', issuer: world.issuer, scts: [{ leafIndex: '0' }] }],
    });
  });

  it('refuse a missing issuing record unless told to make one', async () => {
    const settings = {
      DATA: join(folder, 'no-record'),
      KEY_FILE: join(world.folder, 'keys', 'ca.pem'),
      CHAIN_FILE: join(world.folder, 'keys', 'ca-chain.pem'),
      CT_URL: urls.ct,
      CT_KEY_FILE: join(folder, 'ct.pub'),
    };
    await expect(start('ca', settings)).rejects.toThrow(/ISSUED_MISSING/);
  });

  it('refuse a missing log unless told to make one', async () => {
    const settings = {
      DATA: join(folder, 'nothing'),
      KEY_FILE: join(world.folder, 'keys', 'log.pem'),
      ORIGIN: 'log.example',
    };
    await expect(start('log', settings)).rejects.toThrow(/TLOG_MISSING/);
  });

  it('stop with exit code 0 on SIGTERM', async () => {
    const codes = await Promise.all(
      children
        .filter(({ exitCode }) => exitCode === null)
        .map((child) => {
          child.kill('SIGTERM');
          return new Promise((resolve) => child.once('exit', resolve));
        }),
    );
    expect(codes).toEqual([0, 0, 0, 0, 0]);
  });
});
