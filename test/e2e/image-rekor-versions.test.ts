// Whether cosign of version 3 verifies images signed and attested with nothing but defaults, whichever version of Rekor's API the signing configuration lists.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, findCosign, pushImage } from '../world/images.js';
import { startWorld, type World } from '../world/index.js';
import { run, type Ran } from '../world/process.js';
import { startTestRegistry, type TestRegistry } from '../world/registry.js';

const email = 'alice@example.com';
const cosign = findCosign(3);
if (cosign === undefined) console.warn('Skipped: cosign of version 3 is neither on the path nor named by TEST_COSIGN3');

describe.skipIf(cosign === undefined)('with cosign of version 3', () => {
  let world: World;
  let registry: TestRegistry;
  let folder: string;
  let cli: ReturnType<typeof commandLine>;
  const at = (name: string): string => join(folder, name);

  beforeAll(async () => {
    world = await startWorld();
    registry = await startTestRegistry();
    folder = await mkdtemp(join(tmpdir(), 'chancery-rekors-'));
    cli = commandLine(folder);
    await writeFile(at('trusted_root.json'), await world.trustedRoot());
    await writeFile(at('predicate.json'), '{"some":"thing"}');
    for (const rekor of [1, 2]) {
      const config = await fetch(`${world.url}/trust/signing_config.v0.2.json?rekor=${rekor}`);
      await writeFile(at(`rekor${rekor}.json`), await config.text());
    }
  }, 120_000);
  afterAll(async () => {
    await registry?.close();
    await world?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const ask = (who: string, command: string, name: string): Promise<Ran> => {
    const as = ['--certificate-identity', who, '--certificate-oidc-issuer', world.issuer];
    const args = [command, '--allow-http-registry', '--trusted-root', 'trusted_root.json', ...as, name];
    return run(cosign ?? '', args, { cwd: folder, environment: { HOME: folder } });
  };
  async function verifies(name: string): Promise<void> {
    for (const command of ['verify', 'verify-attestation']) {
      const [right, wrong] = [await ask(email, command, name), await ask('mallory@example.com', command, name)];
      expect(right, `${command}: ${right.err}`).toMatchObject({ exit: 0 });
      expect(wrong.exit, command).toBeGreaterThan(0);
      expect(wrong.err).toContain('mallory@example.com');
    }
  }
  const repository = (name: string) => `${registry.host}/ns/${name}`;

  it.each([
    ['what the server says', () => ['--url', world.url]],
    ['a log of version 1', () => ['--signing-config', at('rekor1.json'), '--trusted-root', at('trusted_root.json')]],
    ['a log of version 2', () => ['--signing-config', at('rekor2.json'), '--trusted-root', at('trusted_root.json')]],
  ] as const)('it verifies what `image sign` and `image attest` write with %s', async (what, services) => {
    const { digest } = await pushImage(repository('cli'), what);
    const name = `${repository('cli')}@${digest}`;
    for (const command of [['sign'], ['attest', '--predicate', at('predicate.json')]]) {
      const token = ['--identity-token', await world.token({ email })];
      const ran = await cli(['image', ...command, name, ...services(), ...token]);
      expect(ran, ran.err).toMatchObject({ exit: 0 });
    }
    await verifies(name);
  });
});
