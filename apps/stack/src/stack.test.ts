// The whole service as a process over a data folder: what it refuses to start with, and what outlives it.
import { spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { Agent, request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLog } from '#libs/nest';
import { parseCheckpoint, parseNote } from '#libs/note';
import { freePort } from '../../../test/world/index.js';
import { readStackConfig, type StackOptions } from './config.js';
import { exportTrust, type RunningStack, startStack } from './stack.js';

const now = () => new Date();
const lines: string[] = [];
const log = createLog({ format: 'json', now, write: (line) => void lines.push(line) });

let temporary: string;
/** A data folder with a few entries that nobody changes: each test works on a copy. */
let original: string;
let port: number;

const start = (
  data: string,
  options: StackOptions = {},
  environment: Record<string, string> = {},
): Promise<RunningStack> =>
  startStack(
    // Verifying threads need compiled code; this starts the sources.
    readStackConfig(
      { data, port: String(port), dev: true, ...options },
      { CHANCERY_VERIFY_THREADS: '0', ...environment },
    ),
    log,
    now,
  );

let copies = 0;
async function copy(): Promise<string> {
  const folder = join(temporary, `copy${++copies}`);
  await cp(original, folder, { recursive: true });
  return folder;
}

/** Starts, and stops again. */
async function starts(data: string, options?: StackOptions): Promise<void> {
  await (await start(data, options)).close();
}

const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
let messages = 0;
function newEntry(): string {
  const message = Buffer.from(`message ${++messages} ${process.pid}`);
  return JSON.stringify({
    hashedRekordRequestV002: {
      digest: createHash('sha256').update(message).digest('base64'),
      signature: {
        content: sign('sha256', message, keys.privateKey).toString('base64'),
        verifier: {
          publicKey: { rawBytes: keys.publicKey.export({ type: 'spki', format: 'der' }).toString('base64') },
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
        },
      },
    },
  });
}
async function append(url: string, body = newEntry()): Promise<string> {
  const response = await fetch(`${url}/api/v2/log/entries`, { method: 'POST', body });
  expect(response.status).toBe(201);
  return ((await response.json()) as { logIndex: string }).logIndex;
}
async function checkpoint(url: string): Promise<string> {
  return (await fetch(`${url}/checkpoint`)).text();
}
const sizeOf = (note: string) => parseCheckpoint(parseNote(note).text).size;

const entry = newEntry();

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'chancery-stack-'));
  port = await freePort();
  original = join(temporary, 'original');
  const stack = await start(original);
  await append(stack.url, entry);
  await append(stack.url);
  await stack.close();
});
afterAll(() => rm(temporary, { recursive: true, force: true }));

describe('readStackConfig()', () => {
  it('reports every problem at once, unknown settings among them', () => {
    const environment = {
      CHANCERY_PROT: '1',
      CHANCERY_PORT: '70000',
      CHANCERY_DEV: 'yes',
      CHANCERY_URL: 'ftp://x',
      CHANCERY_LOG_DUPLICATES: 'both',
      PATH: '/bin',
    };
    expect(() => readStackConfig({}, environment)).toThrow(
      /CHANCERY_PROT is not a setting.*CHANCERY_PORT.*CHANCERY_URL.*CHANCERY_DEV.*CHANCERY_LOG_DUPLICATES/s,
    );
    expect(() => readStackConfig({}, { CHANCERY_PROT: '' })).toThrow('CHANCERY_PROT is not a setting');
  });

  it('the command line wins over the environment, and the result does not change', () => {
    const config = readStackConfig({ port: '1234', dev: true }, { CHANCERY_PORT: '99', CHANCERY_DATA: 'there' });
    expect(config).toMatchObject({
      CHANCERY_PORT: 1234,
      CHANCERY_DATA: 'there',
      CHANCERY_HOST: '127.0.0.1',
      CHANCERY_DEV: true,
      CHANCERY_LOG_DUPLICATES: 'receipt',
    });
    expect(Object.isFrozen(config)).toBe(true);
    expect(readStackConfig({}, {}).CHANCERY_DEV).toBe(false);
  });
});

describe('startStack() refuses', () => {
  it('a development issuer that others could reach', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com']) {
      const data = join(temporary, 'dev');
      await expect(start(data, { host })).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(`must not be reachable from outside, but the host is ${host}`),
      });
      expect(existsSync(data)).toBe(false);
    }
  });

  it('to run without issuers, and with a file of them that cannot be read', async () => {
    const data = join(temporary, 'issuers');
    const config = (environment = {}) =>
      readStackConfig({ data, port: String(port) }, { CHANCERY_VERIFY_THREADS: '0', ...environment });
    await expect(startStack(config(), log, now)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('CHANCERY_OIDC_CONFIG: nobody could get a certificate'),
    });
    const missing = { CHANCERY_OIDC_CONFIG: join(temporary, 'none.yaml') };
    await expect(startStack(config(missing), log, now)).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('CHANCERY_OIDC_CONFIG: cannot read'),
    });
    const file = join(temporary, 'bad.yaml');
    await writeFile(file, 'oidc-issuers: [1]\n');
    await expect(startStack(config({ CHANCERY_OIDC_CONFIG: file }), log, now)).rejects.toMatchObject({
      code: 'IDENTITY_CONFIG',
    });
    expect(existsSync(data)).toBe(false);
  });

  const files = ['ca.pem', 'ca-chain.pem', 'ct.pem', 'log.pem', 'log-v1.pem', 'tsa.pem', 'tsa-chain.pem'];

  it.each(files)('a folder without keys/%s, and makes no new one', async (file) => {
    const data = await copy();
    const path = join(data, 'keys', file);
    const kept = await readFile(path);
    await rm(path);
    await expect(start(data)).rejects.toMatchObject({
      code: 'INSTANCE_KEY_MISSING',
      message: expect.stringMatching(new RegExp(`^Cannot read keys/${file}: restore it from a backup`)),
    });
    expect(existsSync(path)).toBe(false);
    // Refused, not damaged; and the folder is free again.
    await writeFile(path, kept);
    await starts(data);
  });

  it("another instance's file in the place of each key and chain", async () => {
    const other = join(temporary, 'other');
    await starts(other);
    for (const file of files) {
      const data = await copy();
      await cp(join(other, 'keys', file), join(data, 'keys', file));
      await expect(start(data)).rejects.toMatchObject({
        code: 'INSTANCE_KEY_FOREIGN',
        message: expect.stringMatching(
          new RegExp(
            `^Cannot use keys/${file}: it is not the one this instance was made with \\(fingerprint [0-9a-f]{64}, expected [0-9a-f]{64}\\)$`,
          ),
        ),
      });
    }
  });

  const unreadable: Record<string, string> = {
    nothing: '',
    text: 'not a key',
    'a broken PEM block': '-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n',
    'half a PEM block': '-----BEGIN PRIVATE KEY-----\nAAAA\n',
    'PEM of something else': '-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n',
  };
  for (const [name, text] of Object.entries(unreadable)) {
    it(`${name} where a key or a chain should be`, async () => {
      for (const file of ['log.pem', 'ca-chain.pem']) {
        const data = await copy();
        await writeFile(join(data, 'keys', file), text);
        await expect(start(data)).rejects.toMatchObject({
          code: 'INSTANCE_UNREADABLE',
          message: expect.stringContaining(`Cannot read keys/${file}: expected`),
        });
      }
    });
  }

  it('a folder without instance.json, as an interrupted creation leaves it', async () => {
    const data = await copy();
    await rm(join(data, 'instance.json'));
    await expect(start(data)).rejects.toMatchObject({
      code: 'INSTANCE_INCOMPLETE',
      message: expect.stringContaining('it is not empty, but has no instance.json'),
    });
    const foreign = join(temporary, 'somebody');
    await mkdir(foreign);
    await writeFile(join(foreign, 'diary.txt'), 'mine');
    await expect(start(foreign)).rejects.toMatchObject({ code: 'INSTANCE_INCOMPLETE' });
    expect(existsSync(join(foreign, 'keys'))).toBe(false);
  });

  it('an instance.json that is damaged', async () => {
    const good = JSON.parse(await readFile(join(original, 'instance.json'), 'utf8')) as Record<string, unknown>;
    const damaged = [
      '',
      '{',
      'null',
      '[]',
      ...['version', 'createdAt', 'origins', 'fingerprints'].flatMap((name) => [
        JSON.stringify({ ...good, [name]: undefined }),
        JSON.stringify({ ...good, [name]: null }),
        JSON.stringify({ ...good, [name]: 3 }),
      ]),
      ...[{}, { hostname: 'a' }, { hostname: 'a', treeId: '0' }, { hostname: 'a', treeId: 7 }].map((logV1) =>
        JSON.stringify({ ...good, origins: { ...(good['origins'] as object), logV1 } }),
      ),
    ];
    const data = await copy();
    for (const text of damaged) {
      await writeFile(join(data, 'instance.json'), text);
      await expect(start(data), text).rejects.toMatchObject({ code: 'INSTANCE_UNREADABLE' });
    }
  });

  it('an instance of the time when the log had one tree, and says so', async () => {
    const data = await copy();
    const good = JSON.parse(await readFile(join(data, 'instance.json'), 'utf8')) as object;
    await writeFile(join(data, 'instance.json'), JSON.stringify({ ...good, version: 1 }));
    await expect(start(data)).rejects.toMatchObject({
      code: 'INSTANCE_UNREADABLE',
      message: expect.stringContaining('before the log had its second tree'),
    });
  });

  it('a folder without its database, and makes no new one', async () => {
    const data = await copy();
    for (const name of await readdir(data)) if (name.startsWith('chancery.db')) await rm(join(data, name));
    await expect(start(data)).rejects.toMatchObject({ code: 'TLOG_MISSING' });
    expect((await readdir(data)).filter((name) => name === 'chancery.db')).toEqual([]);
  });

  it('a database that is older than what was published', async () => {
    const data = await copy();
    const older = await copy();
    const stack = await start(data);
    await append(stack.url);
    await stack.close();
    for (const name of await readdir(data)) if (name.startsWith('chancery.db')) await rm(join(data, name));
    for (const name of await readdir(older)) {
      if (name.startsWith('chancery.db')) await cp(join(older, name), join(data, name));
    }
    await expect(start(data)).rejects.toMatchObject({ code: 'TLOG_ROLLED_BACK' });
  });

  it('a folder in which another one works, and leaves that one alone', async () => {
    const data = await copy();
    const stack = await start(data);
    try {
      await expect(start(data, { port: String(await freePort()) })).rejects.toMatchObject({
        code: 'TLOG_LOCKED',
        message: expect.stringContaining('another process is working in it'),
      });
      await append(stack.url);
    } finally {
      await stack.close();
    }
    await starts(data);
  });

  it('a port that is taken, and frees the folder', async () => {
    const data = await copy();
    const server = createServer();
    const taken = await freePort();
    await new Promise<void>((resolve) => server.listen(taken, '127.0.0.1', resolve));
    await expect(start(data, { port: String(taken) })).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await new Promise((resolve) => server.close(resolve));
    await starts(data, { port: String(taken) });
  });
});

describe('a new instance', () => {
  it('says loudly that it makes keys, and keeps them to itself', async () => {
    const data = join(temporary, 'new');
    lines.length = 0;
    await starts(data);
    const warnings = lines.map((line) => JSON.parse(line) as { severity: string; message: string; role?: string });
    expect(warnings.filter(({ message }) => message.startsWith('THIS FOLDER IS EMPTY'))).toHaveLength(1);
    const made = warnings.filter(({ message }) => message === 'new key');
    expect(made.map(({ role, severity }) => [role, severity])).toEqual(
      ['ca', 'ct', 'log', 'logV1', 'tsa'].map((role) => [role, 'warn']),
    );
    expect(lines.join('')).toContain('DEVELOPMENT ISSUER IS ON');
    expect(lines.join('')).not.toContain('PRIVATE KEY');
    for (const name of await readdir(join(data, 'keys'))) {
      expect([name, (await stat(join(data, 'keys', name))).mode & 0o077]).toEqual([name, 0]);
    }
    // The second time it says nothing of the kind.
    lines.length = 0;
    await starts(data);
    expect(lines.join('')).not.toMatch(/EMPTY|new key/);
  });

  it('runs without the keys of the roots', async () => {
    const data = await copy();
    await rm(join(data, 'keys', 'ca-root.pem'));
    await rm(join(data, 'keys', 'tsa-root.pem'));
    await starts(data);
  });

  it('has no development issuer unless asked for', async () => {
    const data = join(temporary, 'production');
    const file = join(temporary, 'issuers.yaml');
    await writeFile(
      file,
      'oidc-issuers:\n  https://issuer.example:\n    issuer-url: https://issuer.example\n    client-id: sigstore\n    type: email\n',
    );
    const stack = await start(data, { dev: false }, { CHANCERY_OIDC_CONFIG: file });
    try {
      for (const path of ['/dev/oidc/.well-known/openid-configuration', '/dev/oidc/authorize']) {
        expect((await fetch(stack.url + path)).status).toBe(404);
      }
      expect((await fetch(`${stack.url}/dev/oidc/token`, { method: 'POST', body: '{}' })).status).toBe(404);
      expect(await (await fetch(`${stack.url}/trust/signing_config.v0.2.json`)).text()).toContain(
        'https://issuer.example',
      );
    } finally {
      await stack.close();
    }
    expect(existsSync(join(data, 'keys', 'dev-oidc.pem'))).toBe(false);
  });

  it('answers /healthz', async () => {
    const stack = await start(await copy());
    try {
      const response = await fetch(`${stack.url}/healthz`, { headers: { 'x-request-id': 'abc-1' } });
      expect(await response.json()).toEqual({ status: 'SERVING' });
      expect(response.headers.get('x-request-id')).toBe('abc-1');
      const long = await fetch(`${stack.url}/healthz`, { headers: { 'x-request-id': 'a b'.repeat(100) } });
      expect(long.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    } finally {
      await stack.close();
    }
  });
});

describe('a restart', () => {
  it('keeps the log: the same head, and the same index for the same entry', async () => {
    const data = await copy();
    let stack = await start(data);
    const before = await checkpoint(stack.url);
    expect(sizeOf(before)).toBe(2n);
    await stack.close();
    stack = await start(data);
    expect(await checkpoint(stack.url)).toBe(before);
    expect(await append(stack.url, entry)).toBe('0');
    expect(await append(stack.url)).toBe('2');
    await stack.close();
  });

  it('keeps the names of the logs when the server has moved', async () => {
    const data = await copy();
    const stack = await start(data, { url: 'https://moved.example/' });
    const { url } = stack;
    expect(url).toBe('https://moved.example');
    const local = `http://127.0.0.1:${port}`;
    expect(parseCheckpoint(parseNote(await checkpoint(local)).text).origin).toBe('127.0.0.1');
    const config = await (await fetch(`${local}/trust/signing_config.v0.2.json`)).text();
    expect(config).toContain('https://moved.example');
    await stack.close();
  });
});

describe('exportTrust()', () => {
  it('writes, without a running server, the documents that the server serves', async () => {
    const data = await copy();
    const stack = await start(data);
    const served = await Promise.all(
      ['trusted_root.json', 'signing_config.v0.2.json'].map(async (name) =>
        (await fetch(`${stack.url}/trust/${name}`)).text(),
      ),
    );
    await stack.close();
    const exported = await exportTrust(readStackConfig({ data, port: String(port), dev: true }, {}), now);
    expect([exported.trustedRoot, exported.signingConfig]).toEqual(served);
    // Which issuers there are is no question of trust.
    const plain = await exportTrust(readStackConfig({ data, port: String(port) }, {}), now);
    expect(plain.trustedRoot).toBe(served[0]);
  });

  it('refuses what startStack() refuses', async () => {
    const data = await copy();
    await rm(join(data, 'keys', 'tsa.pem'));
    const config = readStackConfig({ data, port: String(port) }, { CHANCERY_VERIFY_THREADS: '0' });
    await expect(exportTrust(config, now)).rejects.toMatchObject({ code: 'INSTANCE_KEY_MISSING' });
    const nothing = readStackConfig({ data: join(temporary, 'nowhere') }, {});
    await expect(exportTrust(nothing, now)).rejects.toMatchObject({ code: 'INSTANCE_INCOMPLETE' });
  });
});

const program = fileURLToPath(new URL('../../../bin/chancery', import.meta.url));
const compiled = existsSync(new URL('../../../dist/apps/cli/src/main.js', import.meta.url));
if (!compiled) console.warn('dist is not built: the tests of the process itself are skipped');

describe.skipIf(!compiled)('chancery up, as a process', () => {
  async function up(data: string, servePort: number) {
    const child = spawn(process.execPath, [program, 'up', '--dev', '--data', data, '--port', String(servePort)], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: process.env['PATH'] ?? '', CHANCERY_LOG_FORMAT: 'json' },
    });
    let stderr = '';
    const exited = once(child, 'exit');
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk: Buffer) => {
        stderr += chunk.toString();
        if (stderr.includes('"serving"')) resolve();
      });
      child.on('exit', () => resolve());
    });
    return { child, exited, stderr: () => stderr };
  }

  it('SIGTERM answers what is in flight, loses nothing that was acknowledged, and exits 0', async () => {
    const data = await copy();
    const first = await up(data, port);
    const url = `http://127.0.0.1:${port}`;
    const entries = Array.from({ length: 60 }, newEntry);
    const acknowledged = new Map<string, string>();
    let kill: (() => void) | undefined = () => first.child.kill('SIGTERM');
    await Promise.all(
      entries.map(async (body) => {
        const response = await fetch(`${url}/api/v2/log/entries`, { method: 'POST', body }).catch((error: unknown) => {
          // Cut off, or no longer let in: not acknowledged.
          if (error instanceof TypeError) return undefined;
          throw error;
        });
        if (response === undefined || response.status === 503) return;
        expect(response.status).toBe(201);
        acknowledged.set(body, ((await response.json()) as { logIndex: string }).logIndex);
        if (acknowledged.size >= 5) {
          kill?.();
          kill = undefined;
        }
      }),
    );
    expect(await first.exited).toEqual([0, null]);
    expect(first.stderr()).toContain('"stopped"');

    const stack = await start(data);
    try {
      expect(acknowledged.size).toBeGreaterThanOrEqual(5);
      for (const [body, index] of acknowledged) expect(await append(stack.url, body)).toBe(index);
    } finally {
      await stack.close();
    }
  });

  it('SIGTERM waits for a request in flight, but not for the client that keeps its connection', async () => {
    const { child, exited } = await up(await copy(), port);
    const agent = new Agent({ keepAlive: true });
    const answered = new Promise<number | undefined>((resolve, reject) => {
      const path = '/api/v2/log/entries';
      // The server's `100 Continue` says that the request has arrived.
      const headers = { 'content-length': 2, expect: '100-continue' };
      const request = httpRequest({ port, agent, method: 'POST', path, headers }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode));
      });
      request.on('error', reject);
      // The other half of the body follows when the server is stopping already.
      request.on('continue', () => request.write('{', () => child.kill('SIGTERM')));
      request.flushHeaders();
      child.stderr.on('data', (chunk: Buffer) => {
        if (chunk.toString().includes('"stopping"')) request.end('}');
      });
    });
    expect(await answered).toBe(400);
    expect(await exited).toEqual([0, null]);
    agent.destroy();
  });

  it('a second process on the folder is refused; after kill -9 the folder is free', async () => {
    const data = await copy();
    const first = await up(data, port);
    try {
      const second = await up(data, await freePort());
      const [code] = (await second.exited) as [number];
      expect(code).toBeGreaterThan(0);
      expect(code).not.toBe(70);
      expect(second.stderr()).toContain('another process is working in it');
      expect(second.stderr()).not.toMatch(/\n\s+at /);
      await append(`http://127.0.0.1:${port}`);
    } finally {
      first.child.kill('SIGKILL');
      await first.exited;
    }
    const stack = await start(data);
    expect(sizeOf(await checkpoint(stack.url))).toBe(3n);
    await stack.close();
  });
});
