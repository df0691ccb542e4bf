// Whom podman, skopeo and CRI-O let in by the files that `chancery policy podman` prints: signed with `chancery image sign`, judged by `chancery policy
// evaluate`, and by every other tool here that can: skopeo, unless it was built without Sigstore as Debian's is, and cosign, told of nothing but the policy.
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodePem } from '#libs/encoding';
import { mediaTypes } from '#libs/oci';
import { parseTrustedRoot } from '#libs/trust';
import {
  commandLine,
  exportLegacyTrust,
  findCosign,
  pushImage,
  pushIndex,
  readLegacy,
  writeLegacy,
} from '../world/images.js';
import { startWorld, type World } from '../world/index.js';
import { run, type Ran } from '../world/process.js';
import { hasDockerRegistry, startDockerRegistry, type DockerRegistry } from '../world/registry.js';

const alice = 'alice@example.com';
const mallory = 'mallory@example.com';
// Another than Debian's may be somewhere else.
const skopeoCommand = process.env['TEST_SKOPEO'] ?? 'skopeo';
const cosign = findCosign(2);
const reference = {
  certificate: 'dev.sigstore.cosign/certificate',
  bundle: 'dev.sigstore.cosign/bundle',
} as const;
if (!hasDockerRegistry) console.warn('Skipped: docker-registry is not installed');
if (cosign === undefined)
  console.warn('Skipped: what cosign of version 2 says about the same images, which is not here');

/** What `policy podman` writes, as far as these stories look into it. */
interface PolicyFile {
  transports: {
    docker: Record<
      string,
      {
        fulcio: { caData: string; oidcIssuer: string; subjectEmail: string };
        rekorPublicKeyData: string;
        signedIdentity: { type: string };
      }[]
    >;
  };
}

describe.skipIf(!hasDockerRegistry)('policy.json for images that we sign', () => {
  let world: World;
  let folder: string;
  let registry: DockerRegistry;
  let cli: ReturnType<typeof commandLine>;
  const at = (name: string): string => join(folder, name);

  beforeAll(async () => {
    world = await startWorld();
    registry = await startDockerRegistry();
    folder = await mkdtemp(join(tmpdir(), 'chancery-podman-'));
    cli = commandLine(folder);
    await writeFile(at('trusted_root.json'), await world.trustedRoot());
  }, 120_000);
  afterAll(async () => {
    await registry?.close();
    await world?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function ok(...args: string[]): Promise<Ran> {
    const ran = await cli(args);
    expect(ran, `${args.join(' ')}\n${ran.out}\n${ran.err}`).toMatchObject({ exit: 0 });
    return ran;
  }
  const named = (name: string) => `${registry.host}/ns/${name}`;
  const identity = async (who: string) => ['--url', world.url, '--identity-token', await world.token({ email: who })];
  const sign = (name: string, ...args: string[]) => ok('image', 'sign', name, '--layout', 'legacy', ...args);

  /** By our own judgement: accepted or not, and why. */
  async function evaluate(name: string, files: string, ...more: string[]): Promise<{ accepted: boolean; why: string }> {
    const paths = ['--policy', join(files, 'policy.json'), '--registries.d', join(files, 'registries.d')];
    const { exit, out, err } = await cli(['policy', 'evaluate', name, ...paths, ...more]);
    expect([0, 1], `${out}${err}`).toContain(exit);
    return { accepted: exit === 0, why: out };
  }

  async function skopeo(files: string, ...args: string[]): Promise<Ran> {
    const paths = ['--policy', join(files, 'policy.json'), '--registries.d', join(files, 'registries.d')];
    return run(skopeoCommand, [...paths, ...args], { cwd: folder, environment: { HOME: folder } });
  }
  const isThere = async () => (await run(skopeoCommand, ['--version'], { cwd: folder })).exit === 0;

  let copies = 0;
  /** By skopeo's: whether it copies the image. Undefined if this one was built without Sigstore, and then it must refuse all. */
  async function skopeoAccepts(name: string, files: string): Promise<boolean | undefined> {
    if (!(await isThere())) return undefined;
    const { exit, err } = await skopeo(
      files,
      'copy',
      '--src-tls-verify=false',
      `docker://${name}`,
      `dir:${at(`copy${++copies}`)}`,
    );
    if (exit === 0) return true;
    // Before containers/image 5.24 policies had neither.
    if (/sigstore disabled|Unknown key \\"(fulcio|rekorPublicKey(Path|Data))\\"/.test(err)) return undefined;
    expect(err).toMatch(/Source image rejected|signature was required/i);
    return false;
  }

  /** That everybody says the same: `true`, it may run. */
  async function everybody(name: string, files: string, accepted: boolean, why: RegExp): Promise<void> {
    const ours = await evaluate(name, files);
    expect(ours, `${name}: ${ours.why}`).toMatchObject({ accepted, why: expect.stringMatching(why) as string });
    const theirs = await skopeoAccepts(name, files);
    if (theirs === undefined)
      missed.add(`skopeo's own verdict: ${skopeoCommand} is not here, or was built without Sigstore`);
    else expect(theirs, name).toBe(accepted);
  }
  const missed = new Set<string>();
  afterAll(() => {
    for (const what of missed) console.warn(`Skipped: ${what}`);
  });

  describe('without keys', () => {
    let files: string;
    beforeAll(async () => {
      files = at('keyless');
      const who = ['--certificate-identity', alice, '--certificate-oidc-issuer', world.issuer];
      const made = ['--scope', registry.host, '--trusted-root', at('trusted_root.json'), ...who, '--out', files];
      await ok('policy', 'podman', ...made);
    });

    async function push(name: string): Promise<{ repository: string; name: string; digest: string }> {
      const { digest } = await pushImage(named(name), name, '1.0');
      return { repository: named(name), name: `${named(name)}:1.0`, digest };
    }

    it('lets in what the right person signed, by tag and by digest', async () => {
      const { name, repository, digest } = await push('signed');
      await everybody(name, files, false, /there is no signature/);
      await sign(name, ...(await identity(alice)));
      await everybody(name, files, true, /is by alice@example\.com of http/);
      await everybody(`${repository}@${digest}`, files, true, /Accepted/);
      // The signature names the repository, and so any tag of it will do.
      await pushImage(repository, 'signed', '2.0');
      await everybody(`${repository}:2.0`, files, true, /alice/);
    });

    it('keeps out what nobody signed, what another did, and what was signed for another repository', async () => {
      const unsigned = await push('unsigned');
      await everybody(unsigned.name, files, false, /there is no signature/);
      const others = await push('others');
      await sign(others.name, ...(await identity(mallory)));
      await everybody(others.name, files, false, /"mallory@example\.com", expected "alice@example\.com"/);
      // A second signature beside it helps.
      await sign(others.name, ...(await identity(alice)));
      await everybody(others.name, files, true, /signature 2 is by alice/);
      const moved = await push('moved');
      await sign(moved.name, ...(await identity(alice)));
      await pushImage(named('elsewhere'), 'moved', '1.0');
      await writeLegacy(
        named('elsewhere'),
        moved.digest,
        '.sig',
        await readLegacy(moved.repository, moved.digest, '.sig'),
      );
      await everybody(
        `${named('elsewhere')}:1.0`,
        files,
        false,
        /it is for "127.0.0.1:\d+\/ns\/moved", and must be for/,
      );
    });

    it('keeps out what was tampered with', async () => {
      const { name, repository, digest } = await push('tampered');
      await sign(name, ...(await identity(alice)));
      const [good] = await readLegacy(repository, digest, '.sig');
      const other = await push('tampered-other');
      await sign(other.name, ...(await identity(alice)));
      const [foreign] = await readLegacy(other.repository, other.digest, '.sig');
      if (good === undefined || foreign === undefined) throw new Error('A signature is missing');
      const { [reference.bundle]: __, ...noPromise } = good.annotations;
      const table = {
        'another image': [foreign, /it is for the manifest sha256:\w+, and the image's is/],
        'another payload': [
          { ...good, payload: good.payload.replace('"optional":', '"optional" :') },
          /another payload/,
        ],
        'no promise': [{ ...good, annotations: noPromise }, /is missing/],
        "another's promise": [
          {
            ...good,
            annotations: { ...good.annotations, [reference.bundle]: foreign.annotations[reference.bundle] ?? '' },
          },
          /the entry of the log is about another payload/,
        ],
        "another's certificate": [
          {
            ...good,
            annotations: {
              ...good.annotations,
              [reference.certificate]: foreign.annotations[reference.certificate] ?? '',
            },
          },
          /has another signer/,
        ],
      } as const;
      for (const [layer, why] of Object.values(table)) {
        await writeLegacy(repository, digest, '.sig', [layer]);
        await everybody(name, files, false, why);
      }
      await writeLegacy(repository, digest, '.sig', [good]);
      await everybody(name, files, true, /alice/);
    });

    it('keeps out bundles, media types of Docker, other registries, and all where registries.d does not say that signatures are attached', async () => {
      const { name, repository, digest } = await push('bundle');
      await ok('image', 'sign', name, ...(await identity(alice)));
      await everybody(name, files, false, /there is no signature/);
      await sign(name, ...(await identity(alice)));
      await everybody(name, files, true, /alice/);
      const layers = await readLegacy(repository, digest, '.sig');
      await writeLegacy(repository, digest, '.sig', layers, mediaTypes.dockerManifest);
      await everybody(name, files, false, /could not be judged: Cannot read the signatures under sha256-/);
      await writeLegacy(repository, digest, '.sig', layers);
      await everybody(name, files, true, /alice/);
      await mkdir(join(at('bare'), 'registries.d'), { recursive: true });
      await writeFile(join(at('bare'), 'policy.json'), await readFile(join(files, 'policy.json')));
      await everybody(name, at('bare'), false, /there is no signature/);
      const out = await cli([
        'policy',
        'evaluate',
        'localhost:1/ns/app:1',
        '--policy',
        join(files, 'policy.json'),
        '--manifest',
        join(files, 'policy.json'),
      ]);
      expect(out, out.out).toMatchObject({ exit: 1, out: expect.stringContaining('default') as string });
    });

    it('asks about the platform of an index: the index alone is not enough', async () => {
      const repository = named('multi');
      await pushIndex(repository, '1.0', ['amd64', 'arm64']);
      await sign(`${repository}:1.0`, ...(await identity(alice)));
      const [amd, arm] = [
        ['--platform', 'linux/amd64'],
        ['--platform', 'linux/arm64'],
      ] as const;
      for (const platform of [amd, arm]) {
        expect(await evaluate(`${repository}:1.0`, files, ...platform)).toMatchObject({ accepted: false });
      }
      await sign(`${repository}:1.0`, '--recursive', ...(await identity(alice)));
      for (const platform of [amd, arm]) {
        expect(await evaluate(`${repository}:1.0`, files, ...platform)).toMatchObject({ accepted: true });
      }
      await everybody(`${repository}:1.0`, files, true, /alice/);
    });

    it.skipIf(cosign === undefined)(
      'cosign comes to the same verdicts by what the policy says, and nothing else',
      async () => {
        const policy = JSON.parse(await readFile(join(files, 'policy.json'), 'utf8')) as PolicyFile;
        const [requirement] = policy.transports.docker[registry.host] ?? [];
        if (requirement === undefined) throw new Error('The policy asks for nothing');
        const { fulcio, rekorPublicKeyData } = requirement;
        await writeFile(at('ca.pem'), Buffer.from(fulcio.caData, 'base64'));
        await writeFile(at('rekor.pub'), Buffer.from(rekorPublicKeyData, 'base64'));
        const { SIGSTORE_CT_LOG_PUBLIC_KEY_FILE: ct = '' } = await exportLegacyTrust(folder, await world.trustedRoot());
        const environment = {
          HOME: folder,
          SIGSTORE_ROOT_FILE: at('ca.pem'),
          SIGSTORE_REKOR_PUBLIC_KEY: at('rekor.pub'),
          // Podman looks at no SCT, and cosign does not look at it here; but it wants a key.
          SIGSTORE_CT_LOG_PUBLIC_KEY_FILE: ct,
        };
        const who = ['--certificate-identity', fulcio.subjectEmail, '--certificate-oidc-issuer', fulcio.oidcIssuer];
        const verdict = async (name: string) => {
          const args = ['verify', '--allow-http-registry', '--offline', '--insecure-ignore-sct', ...who, name];
          const { exit, err } = await run(cosign ?? '', args, { cwd: folder, environment });
          if (exit !== 0) expect(err).toMatch(/no matching signatures|no signatures found/);
          return exit === 0;
        };
        for (const [tag, signer] of [
          ['signed', alice],
          ['by-another', mallory],
          ['by-nobody', undefined],
        ] as const) {
          const { name } = await push(`agreed-${tag}`);
          if (signer !== undefined) await sign(name, ...(await identity(signer)));
          expect(await verdict(name), tag).toBe(signer === alice);
          await everybody(name, files, signer === alice, /./);
        }
      },
    );

    it.skipIf(cosign === undefined)('lets in what cosign signed, but not in the media types of Docker', async () => {
      const environment = { HOME: folder, ...(await exportLegacyTrust(folder, await world.trustedRoot())) };
      for (const [tag, more, accepted] of [
        ['oci', {}, true],
        ['docker', { COSIGN_DOCKER_MEDIA_TYPES: '1' }, false],
      ] as const) {
        const { repository, digest, name } = await push(`by-cosign-${tag}`);
        const services = ['--fulcio-url', world.url, '--rekor-url', world.url];
        const token = ['--identity-token', await world.token({ email: alice })];
        const args = ['sign', '--yes', '--allow-http-registry', ...services, ...token, `${repository}@${digest}`];
        const signed = await run(cosign ?? '', args, { cwd: folder, environment: { ...environment, ...more } });
        expect(signed, signed.err).toMatchObject({ exit: 0 });
        const why = accepted
          ? /is by alice@example\.com/
          : /could not be judged: Cannot read the signatures under sha256-/;
        await everybody(name, files, accepted, why);
        // For our own verifier, and cosign's, it makes no difference.
        const who = ['--certificate-identity', alice, '--certificate-oidc-issuer', world.issuer];
        await ok('image', 'verify', name, '--trusted-root', at('trusted_root.json'), ...who);
      }
    });

    it('finds in our signatures all certificates up to the root, which the policy has', async () => {
      const { repository, name, digest } = await push('chain');
      await sign(name, ...(await identity(alice)));
      const [layer] = await readLegacy(repository, digest, '.sig');
      const { certificateAuthorities } = parseTrustedRoot(await world.trustedRoot());
      const chain = certificateAuthorities[0]?.certChain.map(({ der }) => encodePem('CERTIFICATE', der)).join('');
      expect(layer?.annotations['dev.sigstore.cosign/chain']).toBe(chain);
    });

    it('skopeo finds the signatures by our registries.d, and what it copies still verifies', async () => {
      if (!(await isThere())) return console.warn('Skipped: skopeo is not installed');
      const open = at('open');
      await mkdir(join(open, 'registries.d'), { recursive: true });
      await writeFile(join(open, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
      const registriesD = await readFile(join(files, 'registries.d', 'chancery.yaml'));
      await writeFile(join(open, 'registries.d', 'chancery.yaml'), registriesD);
      const { name } = await push('copied');
      await sign(name, ...(await identity(alice)));
      await sign(name, ...(await identity(mallory)));
      const copy = await skopeo(
        open,
        'copy',
        '--src-tls-verify=false',
        `docker://${name}`,
        `dir:${at('with-signatures')}`,
      );
      expect(copy, copy.err).toMatchObject({ exit: 0 });
      const signatures = (await readdir(at('with-signatures'))).filter((file) => file.startsWith('signature-'));
      expect(signatures).toHaveLength(2);
      const target = `${named('copied-to')}:1.0`;
      const back = await skopeo(
        open,
        'copy',
        '--dest-tls-verify=false',
        `dir:${at('with-signatures')}`,
        `docker://${target}`,
      );
      expect(back, back.err).toMatchObject({ exit: 0 });
      const trust = ['--trusted-root', at('trusted_root.json'), '--certificate-oidc-issuer', world.issuer];
      for (const who of [alice, mallory]) {
        await ok('image', 'verify', target, '--layout', 'legacy', ...trust, '--certificate-identity', who);
      }
    });
  });

  describe('with a managed key', () => {
    let rekorKey: string;
    const pairs = {
      'ECDSA P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      'RSA 3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }),
      'ECDSA P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
      Ed25519: () => generateKeyPairSync('ed25519'),
    };
    const slug = (kind: string) => kind.replace(' ', '-').toLowerCase();

    beforeAll(async () => {
      const { SIGSTORE_REKOR_PUBLIC_KEY: file = '' } = await exportLegacyTrust(folder, await world.trustedRoot());
      rekorKey = file;
      for (const [kind, make] of Object.entries(pairs)) {
        const { privateKey, publicKey } = make();
        await writeFile(at(`${slug(kind)}.pem`), privateKey.export({ type: 'pkcs8', format: 'pem' }));
        await writeFile(at(`${slug(kind)}.pub`), publicKey.export({ type: 'spki', format: 'pem' }));
      }
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      await writeFile(at('stranger.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
      await writeFile(at('stranger.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    });

    /** As an administrator writes it by hand. */
    async function policyOf(name: string, requirement: object): Promise<string> {
      await mkdir(join(at(name), 'registries.d'), { recursive: true });
      const signedIdentity = { type: 'matchRepository' };
      const asked = [{ type: 'sigstoreSigned', signedIdentity, ...requirement }];
      const policy = { default: [{ type: 'reject' }], transports: { docker: { [registry.host]: asked } } };
      await writeFile(join(at(name), 'policy.json'), JSON.stringify(policy));
      const registries = `docker:\n  ${registry.host}:\n    use-sigstore-attachments: true\n`;
      await writeFile(join(at(name), 'registries.d', 'ours.yaml'), registries);
      return at(name);
    }
    const base64 = async (file: string) => (await readFile(file)).toString('base64');

    it.each(['ECDSA P-256', 'RSA 3072'])('%s: by path and inline, with and without the log', async (kind) => {
      const repository = named(`key-${slug(kind)}`);
      const [ours, strangers, nobodys] = [`${repository}:ours`, `${repository}:strangers`, `${repository}:nobodys`];
      for (const tag of ['ours', 'strangers', 'nobodys']) await pushImage(repository, `${kind} ${tag}`, tag);
      await sign(ours, '--key', at(`${slug(kind)}.pem`), '--url', world.url);
      await sign(strangers, '--key', at('stranger.pem'), '--url', world.url);
      const key = at(`${slug(kind)}.pub`);
      const table: Record<string, object> = {
        keyPath: { keyPath: key },
        keyData: { keyData: await base64(key) },
        'keyPath and rekorPublicKeyPath': { keyPath: key, rekorPublicKeyPath: rekorKey },
        'keyData and rekorPublicKeyData': { keyData: await base64(key), rekorPublicKeyData: await base64(rekorKey) },
      };
      for (const [name, requirement] of Object.entries(table)) {
        const files = await policyOf(`${slug(kind)} ${name}`.replaceAll(' ', '-'), requirement);
        await everybody(ours, files, true, /is by the given key/);
        await everybody(strangers, files, false, /by none of the given keys/);
        await everybody(nobodys, files, false, /there is no signature/);
      }
      for (const root of [[], ['--trusted-root', at('trusted_root.json')]]) {
        const files = at(`printed-${slug(kind)}-${root.length}`);
        await ok('policy', 'podman', '--scope', registry.host, '--key', key, ...root, '--out', files);
        await everybody(ours, files, true, /is by the given key/);
        await everybody(strangers, files, false, /by none of the given keys/);
        await everybody(nobodys, files, false, /there is no signature/);
      }
      // The wrong log, and the match that asks for a tag.
      const wrongLog = await policyOf(`${slug(kind)}-wrong-log`, {
        keyPath: key,
        rekorPublicKeyPath: at('stranger.pub'),
      });
      await everybody(ours, wrongLog, false, /not by any of the given logs/);
      const withTag = await policyOf(`${slug(kind)}-tag`, {
        keyPath: key,
        signedIdentity: { type: 'matchRepoDigestOrExact' },
      });
      await everybody(ours, withTag, false, /and must be for/);
    });

    // Podman hashes with SHA-256 whatever the key, and no log takes that from these: of them we must not say that it accepts any.
    it.each(['ECDSA P-384', 'Ed25519'])('%s: is not what podman can verify, and is refused', async (kind) => {
      const repository = named(`key-${slug(kind)}`);
      await pushImage(repository, kind, 'ours');
      await sign(`${repository}:ours`, '--key', at(`${slug(kind)}.pem`), '--url', world.url);
      const files = await policyOf(slug(kind), { keyPath: at(`${slug(kind)}.pub`) });
      await everybody(`${repository}:ours`, files, false, /by none of the given keys/);
    });

    it.each(Object.keys(pairs))('%s: we verify attestations in the same layout', async (kind) => {
      const name = `${named(`attested-${slug(kind)}`)}:1.0`;
      await pushImage(named(`attested-${slug(kind)}`), kind, '1.0');
      await writeFile(at('predicate.json'), '{}');
      const key = ['--key', at(`${slug(kind)}.pem`), '--url', world.url];
      await ok('image', 'attest', name, '--layout', 'legacy', '--predicate', at('predicate.json'), ...key);
      const verify = ['image', 'verify-attestation', name, '--trusted-root', at('trusted_root.json')];
      expect((await ok(...verify, '--key', at(`${slug(kind)}.pub`))).out).toContain('attestation (legacy, ');
      expect(await cli([...verify, '--key', at('stranger.pub')])).toMatchObject({ exit: 12 });
    });
  });
});
