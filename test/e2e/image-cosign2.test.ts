// Images and cosign of version 2, which many still run: it writes and reads the legacy layout unless told otherwise, and has no trusted root for it.
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  commandLine,
  exportLegacyTrust,
  findCosign,
  pushImage,
  readLegacy,
  writeLegacy,
  type StoredLayer,
} from '../world/images.js';
import { startWorld, type World } from '../world/index.js';
import { run, type Ran } from '../world/process.js';
import { hasDockerRegistry, startDockerRegistry, startTestRegistry } from '../world/registry.js';

const email = 'alice@example.com';
const mallory = 'mallory@example.com';
const cosign2 = findCosign(2);
if (cosign2 === undefined)
  console.warn('Skipped: cosign of version 2 is neither on the path nor named by TEST_COSIGN2');
if (!hasDockerRegistry) console.warn('Skipped: docker-registry is not installed');

const registries = [
  ...(hasDockerRegistry ? [['docker-registry without the referrers API', startDockerRegistry] as const] : []),
  ['a registry with the referrers API', () => startTestRegistry()] as const,
];

/** Managed keys of every kind that we sign with. */
const keyKinds = {
  'ECDSA P-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'ECDSA P-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'ECDSA P-521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  'RSA 2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  Ed25519: () => generateKeyPairSync('ed25519'),
} satisfies Record<string, () => { privateKey: KeyObject; publicKey: KeyObject }>;
const kinds = Object.keys(keyKinds) as (keyof typeof keyKinds)[];
/** Cosign knows SHA-256 alone in this layout: with other keys its own signatures are refused by the log, or by itself. */
const common = ['ECDSA P-256', 'RSA 2048'];
const ownOnly = kinds.filter((kind) => !common.includes(kind));
const fileOf = (kind: string): string => kind.replace(' ', '-');

describe.skipIf(cosign2 === undefined)('with cosign of version 2', () => {
  let world: World;
  let folder: string;
  let trustEnv: Record<string, string>;
  let cli: ReturnType<typeof commandLine>;
  const at = (name: string): string => join(folder, name);

  beforeAll(async () => {
    world = await startWorld();
    folder = await mkdtemp(join(tmpdir(), 'chancery-cosign2-'));
    cli = commandLine(folder);
    await writeFile(at('trusted_root.json'), await world.trustedRoot());
    trustEnv = await exportLegacyTrust(folder, await world.trustedRoot());
    const predicate = {
      buildDefinition: { buildType: 'https://example.com/build/v1', externalParameters: {} },
      runDetails: { builder: { id: 'https://ci.example.com/builder' } },
    };
    await writeFile(at('provenance.json'), JSON.stringify(predicate));
    for (const kind of kinds) {
      const { privateKey, publicKey } = keyKinds[kind]();
      await writeFile(at(`${fileOf(kind)}.pem`), privateKey.export({ type: 'pkcs8', format: 'pem' }));
      await writeFile(at(`${fileOf(kind)}.pub`), publicKey.export({ type: 'spki', format: 'pem' }));
    }
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    await writeFile(at('stranger.pub'), stranger.export({ type: 'spki', format: 'pem' }));
  }, 120_000);
  afterAll(async () => {
    await world?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const image = (...args: string[]) => ['image', ...args];
  const trust = () => ['--trusted-root', at('trusted_root.json')];
  const as = (who: string) => ['--certificate-identity', who, '--certificate-oidc-issuer', world.issuer];
  const sign = async (who = email) => ['--url', world.url, '--identity-token', await world.token({ email: who })];
  const slsa = () => ['--type', 'slsaprovenance1', '--predicate', at('provenance.json')];

  async function ok(args: readonly string[]): Promise<Ran> {
    const ran = await cli(args);
    expect(ran, `${args.join(' ')}\n${ran.out}\n${ran.err}`).toMatchObject({ exit: 0 });
    return ran;
  }
  async function refused(args: readonly string[], exit: number): Promise<Ran> {
    const ran = await cli(args);
    expect(ran, `${args.join(' ')}\n${ran.out}\n${ran.err}`).toMatchObject({ exit });
    return ran;
  }
  const cosign = ([command = '', ...args]: readonly string[]): Promise<Ran> =>
    run(cosign2 ?? '', [command, '--allow-http-registry', ...args], {
      cwd: folder,
      environment: { HOME: folder, COSIGN_PASSWORD: 'secret', ...trustEnv },
    });
  async function fine(args: readonly string[]): Promise<Ran> {
    const ran = await cosign(args);
    expect(ran, `cosign ${args.join(' ')}\n${ran.out}\n${ran.err}`).toMatchObject({ exit: 0 });
    return ran;
  }
  /** That it says no, and why: a failure of another kind must not pass for a refusal. */
  async function objects(args: readonly string[], why: RegExp): Promise<void> {
    const ran = await cosign(args);
    expect(ran.exit, `cosign ${args.join(' ')}\n${ran.out}\n${ran.err}`).toBeGreaterThan(0);
    expect(ran.err).toMatch(why);
  }

  describe.each(registries)('%s', (_, start) => {
    let registry: { host: string; close(): Promise<void> };
    beforeAll(async () => {
      registry = await start();
    });
    afterAll(() => registry.close());
    const named = (name: string) => `${registry.host}/ns/${name}`;
    async function push(name: string): Promise<{ repository: string; digest: string; name: string }> {
      const repository = named(name);
      const { digest } = await pushImage(repository, name, '1.0');
      return { repository, digest, name: `${repository}@${digest}` };
    }

    it('verifies what we sign without keys, and nobody else', async () => {
      const { name, digest } = await push('ours');
      await ok(image('sign', name, '--layout', 'legacy', '-a', 'env=prod', ...(await sign())));
      const verified = await fine(['verify', ...as(email), '-a', 'env=prod', name]);
      expect(verified.out).toContain(digest);
      await fine(['verify', '--offline', ...as(email), name]);
      await objects(['verify', ...as(mallory), name], /none of the expected identities matched/);
      await objects(['verify', ...as(email), '-a', 'env=test', name], /annotation/);
      await objects(
        ['verify', '--key', 'stranger.pub', name],
        /public key and certificate were provided but did not match/,
      );
    });

    it('we verify what it signs without keys, and nobody else', async () => {
      const { name } = await push('theirs');
      await fine(['sign', ...(await byCosign()), '-a', 'env=prod', name]);
      const verified = await ok(image('verify', name, '-a', 'env=prod', ...trust(), ...as(email)));
      expect(verified.out).toContain('signature (legacy, ');
      await refused(image('verify', name, ...trust(), ...as(mallory)), 12);
      await refused(image('verify', name, '-a', 'env=test', ...trust(), ...as(email)), 12);
      await refused(image('verify', name, '--key', at('stranger.pub'), ...trust()), 12);
      // Both writers' signatures stay, whoever comes second, and both readers read both.
      await ok(image('sign', name, '--layout', 'legacy', ...(await sign('bob@example.com'))));
      await fine(['sign', ...(await byCosign('carol@example.com')), name]);
      for (const who of [email, 'bob@example.com', 'carol@example.com']) {
        await ok(image('verify', name, ...trust(), ...as(who)));
        await fine(['verify', ...as(who), name]);
      }
    });

    it('verifies what we attest without keys, and we what it attests', async () => {
      const ours = await push('ours-attested');
      await ok(image('attest', ours.name, '--layout', 'legacy', ...slsa(), ...(await sign())));
      const theirs = await push('theirs-attested');
      await fine(['attest', ...(await byCosign()), ...slsa(), theirs.name]);
      for (const { name } of [ours, theirs]) {
        await fine(['verify-attestation', '--type', 'slsaprovenance1', ...as(email), name]);
        await objects(
          ['verify-attestation', '--type', 'slsaprovenance1', ...as(mallory), name],
          /none of the expected identities matched/,
        );
        await objects(['verify-attestation', '--type', 'spdxjson', ...as(email), name], /none of the attestations/);
        const verify = image('verify-attestation', name, '--layout', 'legacy', ...trust());
        await ok([...verify, '--type', 'slsaprovenance1', ...as(email)]);
        await refused([...verify, '--type', 'slsaprovenance1', ...as(mallory)], 12);
        await refused([...verify, '--type', 'spdxjson', ...as(email)], 10);
      }
    });

    const prefix = (kind: string) => `imported-${fileOf(kind)}-${registry.host.replace(':', '-')}`;

    it.each(common)('by a managed key, %s: each verifies what the other signs and attests', async (kind) => {
      const ours = await push(`ours-${fileOf(kind).toLowerCase()}`);
      const ourKey = ['--layout', 'legacy', '--key', at(`${fileOf(kind)}.pem`), '--url', world.url];
      await ok(image('sign', ours.name, ...ourKey));
      await ok(image('attest', ours.name, ...slsa(), ...ourKey));
      const theirs = await push(`theirs-${fileOf(kind).toLowerCase()}`);
      await importKey(`${fileOf(kind)}.pem`, prefix(kind));
      const theirKey = ['--yes', '--rekor-url', world.url, '--key', `${prefix(kind)}.key`];
      await fine(['sign', ...theirKey, theirs.name]);
      await fine(['attest', ...theirKey, ...slsa(), theirs.name]);
      for (const { name } of [ours, theirs]) {
        await ok(image('verify', name, '--key', at(`${fileOf(kind)}.pub`), ...trust()));
        await refused(image('verify', name, '--key', at('stranger.pub'), ...trust()), 12);
        await fine(['verify', '--key', `${fileOf(kind)}.pub`, name]);
        await objects(['verify', '--key', 'stranger.pub', name], /no matching signatures/);
        await attested(name, kind);
      }
    });

    // Signatures of them are for our own verifier: the log takes them with the larger hash alone, which cosign knows nothing of.
    it.each(ownOnly)('by a managed key, %s: it verifies what we attest', async (kind) => {
      const { name } = await push(`ours-${fileOf(kind).toLowerCase()}`);
      const ourKey = ['--layout', 'legacy', '--key', at(`${fileOf(kind)}.pem`), '--url', world.url];
      await ok(image('sign', name, ...ourKey));
      await ok(image('verify', name, '--layout', 'legacy', '--key', at(`${fileOf(kind)}.pub`), ...trust()));
      await refused(image('verify', name, '--layout', 'legacy', '--key', at('stranger.pub'), ...trust()), 12);
      await ok(image('attest', name, ...slsa(), ...ourKey));
      await attested(name, kind);
    });

    async function attested(name: string, kind: string): Promise<void> {
      const verify = image('verify-attestation', name, '--layout', 'legacy', '--type', 'slsaprovenance1', ...trust());
      await ok([...verify, '--key', at(`${fileOf(kind)}.pub`)]);
      await refused([...verify, '--key', at('stranger.pub')], 12);
      const theyVerify = (key: string) => ['verify-attestation', '--type', 'slsaprovenance1', '--key', key, name];
      await fine(theyVerify(`${fileOf(kind)}.pub`));
      await objects(theyVerify('stranger.pub'), /no matching attestations/);
    }

    it('verifies what we sign and attest in the layout of today, if it is told to', async () => {
      const { name, digest } = await push('bundle');
      await ok(image('sign', name, '-a', 'env=prod', ...(await sign())));
      const newFormat = ['--new-bundle-format', ...trust()];
      // A log of version 2 says no time: those of an authority must be asked for.
      const keyless = (who: string) => [...newFormat, '--use-signed-timestamps', ...as(who)];
      const verified = await fine(['verify', ...keyless(email), name]);
      expect(verified.out).toContain(digest);
      await objects(['verify', ...keyless(mallory), name], /mallory@example\.com/);
      await ok(image('attest', name, ...slsa(), ...(await sign())));
      await fine(['verify-attestation', '--type', 'slsaprovenance1', ...keyless(email), name]);
      await ok(image('sign', name, '--key', at('ECDSA-P-256.pem'), '--url', world.url));
      await fine(['verify', ...newFormat, '--key', 'ECDSA-P-256.pub', name]);
      await objects(['verify', ...newFormat, '--key', 'stranger.pub', name], /no matching attestations/);
    });

    it('refuses as we do what was tampered with', async () => {
      const names = {
        signature: 'dev.cosignproject.cosign/signature',
        certificate: 'dev.sigstore.cosign/certificate',
        bundle: 'dev.sigstore.cosign/bundle',
      };
      const good = await push('tampered');
      await ok(image('sign', good.name, '--layout', 'legacy', ...(await sign())));
      const [ours] = await readLegacy(good.repository, good.digest, '.sig');
      const other = await push('tampered-other');
      await ok(image('sign', other.name, '--layout', 'legacy', ...(await sign())));
      await ok(image('sign', other.name, '--layout', 'legacy', ...(await sign(mallory))));
      const [alices, mallorys] = await readLegacy(other.repository, other.digest, '.sig');
      if (ours === undefined || alices === undefined || mallorys === undefined)
        throw new Error('A signature is missing');
      const change = (annotations: Record<string, string | undefined>): StoredLayer => ({
        ...ours,
        annotations: { ...ours.annotations, ...(annotations as Record<string, string>) },
      });
      const tampered: Record<string, StoredLayer> = {
        "another image's signature": alices,
        "another image's signature that now states this one": {
          ...alices,
          payload: alices.payload.replace(other.digest, good.digest),
        },
        "another's certificate": change({ [names.certificate]: mallorys.annotations[names.certificate] }),
        'another entry of the log': change({ [names.bundle]: alices.annotations[names.bundle] }),
        "another's signature under this certificate": change({
          [names.signature]: mallorys.annotations[names.signature],
        }),
        'another time of the log': change({
          [names.bundle]: (ours.annotations[names.bundle] ?? '').replace(
            /"integratedTime":(\d+)/,
            (_all, time: string) => `"integratedTime":${Number(time) - 1}`,
          ),
        }),
      };
      for (const [what, layer] of Object.entries(tampered)) {
        await writeLegacy(good.repository, good.digest, '.sig', [layer]);
        const we = await cli(image('verify', good.name, ...trust(), ...as(email)));
        expect(we, `${what}\n${we.out}${we.err}`).toMatchObject({ exit: 12 });
        const they = await cosign(['verify', '--offline', ...as(email), good.name]);
        expect(they.exit, `${what}\n${they.out}${they.err}`).toBeGreaterThan(0);
        expect(they.err, what).toMatch(/no matching signatures/);
      }
      // What was taken for tampering is not how it was written.
      await writeLegacy(good.repository, good.digest, '.sig', [ours]);
      await ok(image('verify', good.name, ...trust(), ...as(email)));
      await fine(['verify', '--offline', ...as(email), good.name]);
    });
  });

  const byCosign = async (who = email) => [
    ...['--yes', '--fulcio-url', world.url, '--rekor-url', world.url],
    ...['--identity-token', await world.token({ email: who })],
  ];
  /** The one command here that knows no registry. */
  async function importKey(file: string, prefix: string): Promise<void> {
    const environment = { HOME: folder, COSIGN_PASSWORD: 'secret' };
    const args = ['import-key-pair', '--key', file, '--output-key-prefix', prefix];
    const ran = await run(cosign2 ?? '', args, { cwd: folder, environment });
    expect(ran, `cosign ${args.join(' ')}\n${ran.err}`).toMatchObject({ exit: 0 });
  }
});
