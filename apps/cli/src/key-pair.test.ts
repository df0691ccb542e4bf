import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWorld, type World } from '../../../libs/sign/testing/world.js';
import type { Terminal } from './config.js';
import { loadKey } from './key-load.js';
import { run } from './program.js';

const COSIGN = 'cosign';

let world: World;
let folder: string;
let terminal: Terminal;
let out: string;
let err: string;
const at = (name: string) => join(folder, name);
const text = (name: string) => readFile(at(name), 'utf8');

beforeEach(async () => {
  world = createWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-key-'));
  terminal = {
    out: (line) => void (out += line),
    err: (line) => void (err += line),
    colours: { out: false, err: false },
    columns: undefined,
    env: { COSIGN_PASSWORD: 'correct horse' },
    fetch: world.fetch,
    now: world.now,
  };
});
afterEach(() => rm(folder, { recursive: true }));

const chancery = (...argv: string[]) => {
  out = '';
  err = '';
  return run(argv, terminal);
};
const generate = (...more: string[]) => chancery('generate-key-pair', '--output-key-prefix', at('mine'), ...more);

describe('chancery generate-key-pair', () => {
  it('writes a private file for its owner alone, and the public key', async () => {
    expect(await generate('--json')).toBe(0);
    expect(JSON.parse(out)).toEqual({ ok: true, privateKey: at('mine.key'), publicKey: at('mine.pub') });
    expect((await stat(at('mine.key'))).mode & 0o777).toBe(0o600);
    expect(await text('mine.key')).toMatch(/^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n/);
    expect(await text('mine.pub')).toMatch(/^-----BEGIN PUBLIC KEY-----\n/);
    expect((await readdir(folder)).sort()).toEqual(['mine.key', 'mine.pub']);
  });

  it.each(['mine.key', 'mine.pub'])('does not touch an existing %s', async (name) => {
    await writeFile(at(name), 'precious');
    expect(await generate()).toBe(3);
    expect(err).toContain('there is a file of this name');
    expect(await text(name)).toBe('precious');
    expect(await readdir(folder)).toEqual([name]);
  });

  it('asks twice, without showing it, and refuses when the answers differ', async () => {
    const questions: string[] = [];
    const answers = ['one', 'two', 'same', 'same'];
    terminal = {
      ...terminal,
      env: {},
      askSecret: async (question) => {
        questions.push(question);
        return answers.shift() ?? '';
      },
    };
    expect(await generate()).toBe(2);
    expect(await readdir(folder)).toEqual([]);
    expect(await generate()).toBe(0);
    expect(questions).toHaveLength(4);
    expect(loadKey(await text('mine.key'), 'same').publicKey.kind).toBe('ecdsa');
  });

  it('needs somebody to ask, or COSIGN_PASSWORD', async () => {
    terminal = { ...terminal, env: {} };
    expect(await generate()).toBe(2);
    expect(err).toContain('COSIGN_PASSWORD');
  });

  it('says what an empty password is worth', async () => {
    terminal = { ...terminal, env: { COSIGN_PASSWORD: '' } };
    expect(await generate()).toBe(0);
    expect(err).toContain('the password is empty');
  });
});

describe('chancery import-key-pair', () => {
  it.each([
    [
      'EC P-256 in SEC1',
      () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'sec1', format: 'pem' }),
    ],
    [
      'EC P-384',
      () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
    ],
    ['Ed25519', () => generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })],
    [
      'RSA in PKCS#1',
      () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'pem' }),
    ],
  ])('takes %s', async (_, make) => {
    const pem = make().toString();
    await writeFile(at('own.pem'), pem);
    expect(await chancery('import-key-pair', '--key', at('own.pem'), '-o', at('mine'))).toBe(0);
    expect(loadKey(await text('mine.key'), 'correct horse').publicKey).toEqual(loadKey(pem).publicKey);
  });

  it('refuses what cannot sign, and what is encrypted already', async () => {
    await writeFile(at('own.pem'), 'hello');
    expect(await chancery('import-key-pair', '--key', at('own.pem'), '-o', at('mine'))).toBe(3);
    expect(await generate()).toBe(0);
    expect(await chancery('import-key-pair', '--key', at('mine.key'), '-o', at('again'))).toBe(3);
    expect(err).toContain('encrypted already');
  });
});

describe('chancery public-key', () => {
  it('prints the public key, or writes it', async () => {
    await generate();
    expect(await chancery('public-key', '--key', at('mine.key'))).toBe(0);
    expect(out).toBe(await text('mine.pub'));
    expect(await chancery('public-key', '--key', at('mine.key'), '--outfile', at('copy.pub'))).toBe(0);
    expect(await text('copy.pub')).toBe(await text('mine.pub'));
  });

  it('asks for the password of an encrypted key only', async () => {
    await generate();
    const questions: string[] = [];
    const askSecret = async (question: string) => {
      questions.push(question);
      return 'correct horse';
    };
    terminal = { ...terminal, env: {}, askSecret };
    expect(await chancery('public-key', '--key', at('mine.key'))).toBe(0);
    await writeFile(
      at('plain.pem'),
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );
    expect(await chancery('public-key', '--key', at('plain.pem'))).toBe(0);
    expect(questions).toEqual([`Password of ${at('mine.key')}: `]);
  });

  it('tells a wrong password from a broken file', async () => {
    await generate();
    terminal = { ...terminal, env: { COSIGN_PASSWORD: 'wrong' } };
    expect(await chancery('public-key', '--key', at('mine.key'), '--outfile', at('x'))).toBe(3);
    expect(err).toContain('the password does not fit');
    await writeFile(at('mine.key'), (await text('mine.key')).replace(/\n.{64}\n/, '\n'));
    expect(await chancery('public-key', '--key', at('mine.key'))).toBe(3);
    expect(err).not.toContain('password does not fit');
  });
});

describe('chancery sign --key', () => {
  it('signs with a key file, and verify takes its public key', async () => {
    await generate();
    await writeFile(at('file'), 'some file');
    expect(await chancery('sign', at('file'), '--key', at('mine.key'), '--url', world.baseUrl)).toBe(0);
    expect(await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder)).toBe(0);
    const args = ['--key', at('mine.pub'), '--trusted-root', at('trusted_root.json')];
    expect(await chancery('verify', at('file'), ...args)).toBe(0);
  });
});

const hasCosign = spawnSync(COSIGN, ['version'], { stdio: 'ignore' }).error === undefined;
if (!hasCosign) console.warn('cosign is not installed: its side of the key files is not tested');

describe.skipIf(!hasCosign)("key files and cosign's own hand", () => {
  const cosign = (...args: string[]) =>
    execFileSync(COSIGN, args, {
      env: { PATH: process.env.PATH, COSIGN_PASSWORD: 'correct horse', HOME: folder },
      stdio: 'pipe',
    }).toString();

  it('cosign opens ours and finds the same public key', async () => {
    await generate();
    expect(cosign('public-key', '--key', at('mine.key'))).toBe(await text('mine.pub'));
  });

  it('we open its, generated and imported', async () => {
    cosign('generate-key-pair', '--output-key-prefix', at('its'));
    expect(await chancery('public-key', '--key', at('its.key'))).toBe(0);
    expect(out).toBe(await text('its.pub'));
    await writeFile(
      at('own.pem'),
      generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs1', format: 'pem' }),
    );
    cosign('import-key-pair', '--key', at('own.pem'), '--output-key-prefix', at('imported'));
    expect(await chancery('public-key', '--key', at('imported.key'))).toBe(0);
    expect(out).toBe(await text('imported.pub'));
  });

  it('cosign verifies what we sign with a key file', async () => {
    await generate();
    await writeFile(at('file'), 'some file');
    expect(await chancery('sign', at('file'), '--key', at('mine.key'), '--url', world.baseUrl)).toBe(0);
    expect(await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder)).toBe(0);
    const args = ['--key', at('mine.pub'), '--bundle', at('file.sigstore.json')];
    expect(() => cosign('verify-blob', ...args, '--trusted-root', at('trusted_root.json'), at('file'))).not.toThrow();
  });
});
