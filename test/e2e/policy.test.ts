// A deployment's policy over images that the real services signed, in a registry with the referrers API and, where it is installed, in Debian's without it.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { mediaTypes, openRegistry, parseReference } from '#libs/oci';
import type { Terminal } from '../../apps/cli/src/config.js';
import { addPolicy } from '../../apps/cli/src/program-policy.js';
import { run as chancery } from '../../apps/cli/src/program.js';
import { startWorld, type World } from '../world/index.js';
import { hasDockerRegistry, startDockerRegistry, startTestRegistry } from '../world/registry.js';

let world: World;
let folder: string;
const email = 'release@example.com';
const at = (name: string): string => join(folder, name);

interface Ran {
  exit: number;
  out: string;
}

async function cli(...args: string[]): Promise<Ran> {
  const ran: Ran = { exit: -1, out: '' };
  const say = (text: string) => void (ran.out += text);
  const terminal: Terminal = {
    out: say,
    err: say,
    colours: { out: false, err: false },
    columns: undefined,
    env: { HOME: folder },
    fetch: globalThis.fetch,
    now: Date.now,
  };
  if (args[0] !== 'policy') return { ...ran, exit: await chancery(args, terminal), out: ran.out };
  const program = new Command('chancery').exitOverride();
  addPolicy(program, (load) => async (...given) => {
    ran.exit = await (await load())(terminal, ...(given.slice(0, -1) as never));
  });
  await program.parseAsync(args, { from: 'user' });
  return ran;
}

beforeAll(async () => {
  world = await startWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-policy-'));
  await writeFile(at('trusted_root.json'), await world.trustedRoot());
  const predicate = {
    buildDefinition: { buildType: 'https://build.test/v1', externalParameters: {} },
    runDetails: { builder: { id: 'https://build.test/builder' } },
  };
  await writeFile(at('provenance.json'), JSON.stringify(predicate));
});

afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

async function pushImage(name: string): Promise<void> {
  const store = openRegistry({ repository: parseReference(name) });
  const config = await store.putBlob(encodeUtf8(`{"name":"${name}"}`));
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { mediaType: mediaTypes.ociConfig, digest: config.digest, size: config.size },
    layers: [],
  };
  await store.putManifest(encodeUtf8(JSON.stringify(manifest)), mediaTypes.ociManifest, 'v1');
  await store.close();
}

const policyOf = (host: string): string => `apiVersion: chancery/v1
kind: TrustedRoot
metadata:
  name: ours
spec:
  path: trusted_root.json
---
# Everything of this registry is signed by the release job ...
apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata:
  name: signed
spec:
  images:
  - glob: "${host}/**"
  authorities:
  - name: release
    signatureFormat: bundle
    keyless:
      trustRootRef: ours
      identities:
      - subject: ${email}
        issuerRegExp: ${world.issuer.replaceAll('.', '\\.')}
    rfc3161timestamp: {trustRootRef: ours}
---
# ... and what goes into production was built where it should be.
apiVersion: policy.sigstore.dev/v1alpha1
kind: ClusterImagePolicy
metadata:
  name: built
spec:
  images:
  - glob: "${host}/prod/*"
  authorities:
  - name: builder
    signatureFormat: bundle
    keyless:
      trustRootRef: ours
      identities:
      - subjectRegExp: ${email.replaceAll('.', '\\.')}
        issuer: ${world.issuer}
    attestations:
    - name: provenance
      predicateType: slsaprovenance1
      policy:
        type: cel
        data: predicate.runDetails.builder.id.startsWith("https://build.test/")
`;

const registries = [
  ['a registry with the referrers API', startTestRegistry],
  ...(hasDockerRegistry ? ([["Debian's docker-registry", startDockerRegistry]] as const) : []),
] as const;
if (!hasDockerRegistry) console.warn('docker-registry is not installed: not tested with it');

describe.each(registries)('chancery policy check with %s', (_, start) => {
  it('follows an image from unsigned to production', async () => {
    const registry = await start();
    try {
      const host = registry.host;
      const [dev, prod] = [`${host}/dev/app:v1`, `${host}/prod/app:v1`] as const;
      await writeFile(at('policy.yaml'), policyOf(host));
      const check = (image: string) => cli('policy', 'check', image, '--policy', at('policy.yaml'), '--explain');
      const services = async (as = email) => ['--url', world.url, '--identity-token', await world.token({ email: as })];
      for (const name of [dev, prod]) await pushImage(name);

      // 1. Nobody signed it.
      expect(await check(dev)).toMatchObject({
        exit: 1,
        out: expect.stringContaining('no signature in the bundle layout'),
      });
      // 2. Somebody did, but not who should.
      expect((await cli('image', 'sign', dev, ...(await services('eve@example.com')))).exit).toBe(0);
      expect(await check(dev)).toMatchObject({ exit: 1, out: expect.stringContaining('signed by eve@example.com') });
      // 3. The release job did: that does for dev, not for prod.
      for (const name of [dev, prod]) {
        expect(await cli('image', 'sign', name, ...(await services()))).toMatchObject({ exit: 0 });
      }
      expect(await check(dev)).toMatchObject({ exit: 0, out: expect.stringContaining(`ALLOWED: ${dev}@sha256:`) });
      const half = await check(prod);
      expect(half).toMatchObject({
        exit: 1,
        out: expect.stringContaining('denied: failed policy: built: builder: no attestation'),
      });
      expect(half.out).toContain('✓ policy signed: accepted by release');
      // 4. With provenance both policies pass.
      const attest = ['image', 'attest', prod, '--type', 'slsaprovenance1', '--predicate', at('provenance.json')];
      expect(await cli(...attest, ...(await services()))).toMatchObject({ exit: 0 });
      expect(await check(prod)).toMatchObject({ exit: 0, out: expect.stringContaining('✓ policy built') });
      // 5. Another image of the same name has none of it.
      await pushImage(`${host}/dev/other`);
      expect(await check(`${host}/dev/other:v1`)).toMatchObject({ exit: 1 });
    } finally {
      await registry.close();
    }
  }, 120_000);
});
