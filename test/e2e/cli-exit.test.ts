// Exit codes are an interface: scripts decide by them. Each one that `chancery --help` lists, from the real process.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseSigningConfig, sign, encodeBundle } from '../../apps/npm/src/sign.js';
import { startWorld, type World } from '../world/index.js';
import { chancery, ensureBuilt } from '../world/process.js';

let world: World;
let folder: string;
beforeAll(async () => {
  ensureBuilt();
  world = await startWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-exit-'));
  const write = (name: string, content: string) => writeFile(join(folder, name), content);
  const signingConfig = parseSigningConfig(await (await fetch(`${world.url}/trust/signing_config.v0.2.json`)).text());
  const identityToken = await world.token({ email: 'you@example.com' });
  await write('file', 'a file');
  await write('changed', 'a changed file');
  await write('bundle', encodeBundle(await sign(Buffer.from('a file'), { signingConfig, identityToken })));
  await write('root', await world.trustedRoot());
  await write('token', identityToken);
  await write('expired', await world.token({ email: 'you@example.com', exp: 1 }));
  await write('unverified', await world.token({ email: 'you@example.com', email_verified: false }));
  // As soon as the program listens for its own crashes; before that, Node itself ends it with 1.
  await write(
    'crash.mjs',
    `process.on('newListener', (name) => {
       if (name === 'uncaughtException') setImmediate(() => void Promise.reject(new Error('boom')));
     });`,
  );
}, 600_000);
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

const verify = 'verify file --bundle bundle --trusted-root root';
const cases: readonly (readonly [exit: number, what: string, command: string])[] = [
  [0, 'help', '--help'],
  [0, 'a signature that verifies', verify],
  [0, 'a signature that is made', 'sign file --url URL --identity-token token --bundle new'],
  [1, 'a signature of another file', verify.replace('file', 'changed')],
  [1, 'another signer', `${verify} --certificate-identity me@example.com --certificate-oidc-issuer URL/dev/oidc`],
  [1, 'an entry that the log does not have', 'log entry 99 --url URL'],
  [2, 'no command', ''],
  [2, 'an unknown command', 'frobnicate'],
  [2, 'an unknown flag', `${verify} --frobnicate`],
  [2, 'no trusted root', 'verify file --bundle bundle'],
  [2, 'half an identity', `${verify} --certificate-identity me@example.com`],
  [2, 'no token', 'sign file --url URL'],
  [2, 'a port that is none', 'up --dev --port 70000'],
  [2, 'a service that nobody could use', 'up --data fresh'],
  [3, 'a file that is not there', verify.replace('file', 'missing')],
  [3, 'a bundle that is none', 'verify file --bundle file --trusted-root root'],
  [3, 'a trusted root that is none', 'verify file --bundle bundle --trusted-root file'],
  [3, 'a token that is none', 'sign file --url URL --identity-token file'],
  [3, 'a token that has expired', 'sign file --url URL --identity-token expired'],
  [3, 'a data folder in use', 'up --dev --port 1 --data DATA'],
  [4, 'nobody there', 'log checkpoint --url http://127.0.0.1:1'],
  [4, 'nobody there to sign', 'sign file --url http://127.0.0.1:1 --identity-token token'],
  [5, 'a token that the authority refuses', 'sign file --url URL --identity-token unverified'],
];
it.each(cases)(
  '%i: %s',
  async (exit, _, command) => {
    const words = command.replaceAll('URL', world.url).replaceAll('DATA', world.folder).split(' ').filter(Boolean);
    const ran = await chancery(words, { cwd: folder });
    expect({ exit: ran.exit, out: ran.out, err: ran.err }).toMatchObject({ exit });
    // Whoever fails says so, in one sentence and without a stack.
    if (exit !== 0) expect(ran.out + ran.err).toMatch(/error|NOT VERIFIED|Usage/);
    expect(ran.out + ran.err).not.toMatch(/^ {4}at /m);
  },
  120_000,
);

it('70: a bug', async () => {
  const nodeFlags = ['--import', join(folder, 'crash.mjs')];
  const ran = await chancery(verify.split(' '), { cwd: folder, nodeFlags });
  expect(ran).toMatchObject({ exit: 70, err: expect.stringContaining('Unexpected error: boom') as string });
  expect(ran.err).not.toMatch(/^ {4}at /m);
}, 120_000);
