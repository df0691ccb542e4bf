// What `chancery image verify` loads: a process that verifies one image spends most of its time on that.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { copyImage } from '#libs/image';
import { openRegistry, parseReference } from '#libs/oci';
import { encodeTrustedRoot } from '#libs/trust';
import { MemoryStore, pushImage, smallSign } from '../../libs/image/testing/small-registry.js';
import { startTestRegistry } from '../world/registry.js';
import { ISSUER, SAN, SmallSigstore } from '../world/small-sigstore.js';

const executable = join(import.meta.dirname, '../../bin/chancery');

/** Frameworks, other clients, policy languages; parts that sign, serve, search or keep; other commands; what starts programs. */
const needless = [
  /\/node_modules\/(?!commander\/)/,
  /\/libs\/(?!bundle|crypto|encoding|entry|image|merkle|note|oci|openssl|timestamp|trust|verify|x509)/,
  /\/libs\/image\/src\/(attach|clean|copy|save|sign|tree)\.js/,
  /\/apps\/(?!cli\/)/,
  /\/apps\/cli\/src\/program-(?!image|identity)/,
  /^node:(child_process|module|readline|readline\/promises|dgram|dns)$/,
];

it('`image verify` loads what verifying takes and nothing else, and ends by itself', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'chancery-image-modules-'));
  const registry = await startTestRegistry();
  try {
    const world = new SmallSigstore();
    const memory = new MemoryStore();
    await smallSign(world, memory, await pushImage(memory, 'hello', '1.0'), 'bundle');
    const store = openRegistry({ repository: parseReference(`${registry.host}/ns/app`) });
    await copyImage(memory, store, '1.0', { tag: '1.0' });
    await store.close();

    const [root, loaded, trace] = ['root.json', 'loaded', 'trace.mjs'].map((name) => join(folder, name));
    if (root === undefined || loaded === undefined || trace === undefined) throw new Error('there are three names');
    await writeFile(root, encodeTrustedRoot(world.trustedRoot()));
    await writeFile(
      trace,
      `import { appendFileSync } from 'node:fs';
       export async function load(url, context, next) { appendFileSync(${JSON.stringify(loaded)}, url + '\\n'); return next(url, context); }`,
    );
    const verify = ['image', 'verify', `${registry.host}/ns/app:1.0`, '--trusted-root', root];
    const identity = ['--certificate-identity', SAN, '--certificate-oidc-issuer', ISSUER];
    const options = { cwd: folder, env: { HOME: folder }, timeout: 60_000 };
    const args = ['--no-warnings', '--experimental-loader', trace, executable, ...verify, ...identity];
    const { stdout } = await promisify(execFile)(process.execPath, args, options);
    expect(stdout).toContain('Verified: ');
    const urls = (await readFile(loaded, 'utf8')).trim().split('\n');
    expect(urls.some((url) => url.includes('/libs/verify/'))).toBe(true);
    expect(urls.filter((url) => needless.some((pattern) => pattern.test(url)))).toEqual([]);
  } finally {
    await registry.close();
    await rm(folder, { recursive: true });
  }
}, 60_000);
