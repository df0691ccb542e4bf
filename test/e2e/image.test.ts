// Images through the command line, against the real services and two registries: Debian's, which has no referrers API, and one that has.
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { mediaTypes, openRegistry, parseReference, type Descriptor, type RegistryStore } from '#libs/oci';
import { commandLine, exportLegacyTrust, pushImage } from '../world/images.js';
import { startWorld, type World } from '../world/index.js';
import { run, type Ran } from '../world/process.js';
import { hasDockerRegistry, startDockerRegistry, startTestRegistry } from '../world/registry.js';

const email = 'alice@example.com';
let world: World;
let folder: string;
const at = (name: string): string => join(folder, name);

const cli = (args: readonly string[], env: Record<string, string> = {}): Promise<Ran> => commandLine(folder)(args, env);

async function ok(args: readonly string[], env?: Record<string, string>): Promise<Ran> {
  const ran = await cli(args, env);
  expect(ran, `${args.join(' ')}\n${ran.out}\n${ran.err}`).toMatchObject({ exit: 0 });
  return ran;
}

const image = (...args: string[]) => ['image', ...args];
const trust = () => ['--trusted-root', at('trusted_root.json')];
const asAlice = () => ['--certificate-identity', email, '--certificate-oidc-issuer', world.issuer];

beforeAll(async () => {
  world = await startWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-images-'));
  await writeFile(at('trusted_root.json'), await world.trustedRoot());
  for (const rekor of [1, 2]) {
    const config = await fetch(`${world.url}/trust/signing_config.v0.2.json?rekor=${rekor}`);
    await writeFile(at(`rekor${rekor}.json`), await config.text());
  }
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await writeFile(at('plain.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
  await writeFile(at('plain.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
  await writeFile(at('provenance.json'), JSON.stringify(provenance('https://ci.example.com/builder')));
  await writeFile(at('builder.cel'), 'predicate.runDetails.builder.id == "https://ci.example.com/builder"');
  await writeFile(at('other.cel'), 'predicate.runDetails.builder.id == "https://evil.example/builder"');
}, 120_000);
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

function provenance(id: string): object {
  return {
    buildDefinition: {
      buildType: 'https://example.com/build/v1',
      externalParameters: {},
      internalParameters: {},
      resolvedDependencies: [],
    },
    runDetails: { builder: { id } },
  };
}

async function token(): Promise<string[]> {
  return ['--url', world.url, '--identity-token', await world.token({ email })];
}

function storeOf(repository: string): RegistryStore {
  return openRegistry({ repository: parseReference(repository) });
}

/** An index of amd64, arm64 and what BuildKit attaches to one of them. */
async function pushIndex(repository: string, tag: string): Promise<{ index: Descriptor; children: Descriptor[] }> {
  const children = [];
  for (const text of ['amd64', 'arm64', 'buildkit']) children.push(await pushImage(repository, `${tag} ${text}`));
  const platforms = [
    { os: 'linux', architecture: 'amd64' },
    { os: 'linux', architecture: 'arm64', variant: 'v8' },
    { os: 'unknown', architecture: 'unknown' },
  ];
  const manifests = children.map(({ mediaType, digest, size }, i) => ({
    mediaType,
    digest,
    size,
    platform: platforms[i],
  }));
  const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }));
  const store = storeOf(repository);
  try {
    return { index: (await store.putManifest(bytes, mediaTypes.ociIndex, tag)).descriptor, children };
  } finally {
    await store.close();
  }
}

if (!hasDockerRegistry) console.warn('skipped: docker-registry is not installed');

const registries = [
  ...(hasDockerRegistry ? [['docker-registry without the referrers API', startDockerRegistry] as const] : []),
  ['a registry with the referrers API', () => startTestRegistry()] as const,
];

describe.each(registries)('%s', (_, start) => {
  let registry: { host: string; close(): Promise<void> };
  beforeAll(async () => {
    registry = await start();
  });
  afterAll(() => registry.close());
  const named = (name: string) => `${registry.host}/ns/${name}`;

  it.each(['bundle', 'legacy'])('signs and verifies by identity in the %s layout', async (layout) => {
    const { digest } = await pushImage(named(layout), layout, '1.0');
    const name = `${named(layout)}:1.0`;
    const none = await cli(image('verify', name, ...trust(), ...asAlice()));
    expect(none, none.err).toMatchObject({ exit: 10 });

    const signed = await ok(image('sign', name, '--layout', layout, '-a', 'env=prod', ...(await token())));
    expect(signed.err).toContain(digest);
    const verified = await ok(image('verify', name, '-a', 'env=prod', ...trust(), ...asAlice()));
    expect(verified.out).toContain(`signature (${layout}, `);
    expect(verified.out).toContain(`Verified: ${named(layout)}@${digest}`);

    const json = await ok(image('verify', `${named(layout)}@${digest}`, '--json', ...trust(), ...asAlice()));
    expect(JSON.parse(json.out)).toMatchObject({
      ok: true,
      images: [{ digest, layouts: [layout], candidates: [{ state: 'accepted', signer: { san: email } }] }],
    });
    const wrong: [string[], number][] = [
      [['--certificate-identity', 'mallory@example.com', '--certificate-oidc-issuer', world.issuer], 12],
      [[...asAlice(), '-a', 'env=test'], 12],
      [[...asAlice(), '--certificate-github-workflow-ref', 'refs/heads/main'], 12],
      [[...asAlice(), '--layout', layout === 'bundle' ? 'legacy' : 'bundle'], 10],
      [[], 2],
    ];
    for (const [flags, exit] of wrong) {
      const refused = await cli(image('verify', name, ...trust(), ...flags));
      expect(refused, `${flags.join(' ')}: ${refused.out}${refused.err}`).toMatchObject({ exit });
    }
    const absent = await cli(image('verify', `${named(layout)}:nope`, ...trust(), ...asAlice()));
    expect(absent, absent.err).toMatchObject({ exit: 11 });
  });

  it('signs with a key, plain or encrypted; an identity is then not to be had', async () => {
    await pushImage(named('keys'), 'keys', '1.0');
    const name = `${named('keys')}:1.0`;
    await ok(['generate-key-pair', '--output-key-prefix', at(`pair-${registry.host.replace(':', '-')}`)]);
    const pair = at(`pair-${registry.host.replace(':', '-')}`);
    for (const layout of ['bundle', 'legacy']) {
      for (const key of [at('plain'), pair]) {
        await ok(image('sign', name, '--layout', layout, '--key', `${key}.key`, '--url', world.url));
        await ok(image('verify', name, '--layout', layout, '--key', `${key}.pub`, ...trust()));
      }
      const report = await cli(image('verify', name, '--layout', layout, ...trust(), ...asAlice()));
      expect(report, report.out).toMatchObject({ exit: 13 });
    }
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
    await writeFile(at('stranger.pub'), stranger.export({ type: 'spki', format: 'pem' }));
    expect(await cli(image('verify', name, '--key', at('stranger.pub'), ...trust()))).toMatchObject({ exit: 12 });
  });

  it.each(['bundle', 'legacy'])('attests and verifies attestations in the %s layout', async (layout) => {
    const name = `${named(`attested-${layout}`)}:1.0`;
    await pushImage(named(`attested-${layout}`), 'attested', '1.0');
    const attest = image('attest', name, '--layout', layout, '--type', 'slsaprovenance1');
    await ok([...attest, '--predicate', at('provenance.json'), ...(await token())]);
    const verify = image('verify-attestation', name, ...trust(), ...asAlice());
    const json = await ok([...verify, '--type', 'slsaprovenance1', '--json', '--policy', at('builder.cel')]);
    expect(JSON.parse(json.out)).toMatchObject({
      images: [
        {
          layouts: [layout],
          candidates: [{ state: 'accepted', payload: { predicate: provenance('https://ci.example.com/builder') } }],
        },
      ],
    });
    const vectors = join(import.meta.dirname, '../vectors/image');
    await ok([...verify, '--type', 'slsaprovenance1', '--policy', join(vectors, 'builder.wasm')]);
    const objected = await cli([...verify, '--type', 'slsaprovenance1', '--policy', at('other.cel')]);
    expect(objected, objected.out).toMatchObject({ exit: 12 });
    expect(objected.out).toContain('statement-policy: other.cel');
    // CVE-2022-35929: the right signer, another type; and an attestation is no signature.
    expect(await cli([...verify, '--type', 'spdxjson'])).toMatchObject({ exit: 10 });
    expect(await cli(image('verify', name, ...trust(), ...asAlice()))).toMatchObject({ exit: 10 });
    // Nothing of a type that is not what it says.
    const wrong = await cli(
      image('attest', name, '--type', 'cyclonedx', '--predicate', at('provenance.json'), ...(await token())),
    );
    expect(wrong).toMatchObject({ exit: 3 });
    expect(wrong.err).toContain('bomFormat');
    // Custom wraps what it is given; SPDX as text, and a whole statement.
    await ok(image('attest', name, '--layout', layout, '--predicate', at('builder.cel'), ...(await token())));
    await ok(image('verify-attestation', name, ...trust(), ...asAlice()));
  });

  it('signs and verifies every platform of an index, and misses one that is not signed', async () => {
    const { index, children } = await pushIndex(named('multi'), 'all');
    await ok(image('sign', `${named('multi')}:all`, '--recursive', ...(await token())));
    const all = await ok(image('verify', `${named('multi')}:all`, '--recursive', '--json', ...trust(), ...asAlice()));
    const { images } = JSON.parse(all.out) as { images: { digest: string }[] };
    expect(images.map(({ digest }) => digest)).toEqual([index.digest, ...children.map(({ digest }) => digest)]);

    const second = await pushIndex(named('multi'), 'some');
    await ok(image('sign', `${named('multi')}:some`, ...(await token())));
    await ok(image('verify', `${named('multi')}:some`, ...trust(), ...asAlice()));
    const missing = await cli(image('verify', `${named('multi')}:some`, '--recursive', ...trust(), ...asAlice()));
    expect(missing).toMatchObject({ exit: 10 });
    expect(missing.out).toContain(`Verified: ${named('multi')}@${second.index.digest}`);
    expect(missing.out).toContain(`NOT VERIFIED: ${named('multi')}@${second.children[1]?.digest} (linux/arm64/v8)`);
  });

  it('copies everything, counts it, goes on where it stopped, and what was copied verifies', async () => {
    const { index, children } = await pushIndex(named('source'), '1.0');
    const source = `${named('source')}:1.0`;
    await ok(image('sign', source, '--recursive', ...(await token())));
    await ok(image('sign', source, '--layout', 'legacy', ...(await token())));
    await ok(
      image('attest', source, '--type', 'slsaprovenance1', '--predicate', at('provenance.json'), ...(await token())),
    );
    // A signature of a signature.
    const tree = JSON.parse((await ok(image('tree', source, '--json'))).out) as {
      artifacts: { kind: string; digest: string; tag?: string }[];
    };
    expect(tree.artifacts.map(({ kind }) => kind).sort()).toEqual(['attestation', 'signature', 'signature']);
    const bundled = tree.artifacts.find(({ kind, tag }) => kind === 'signature' && tag === undefined);
    await ok(image('sign', `${named('source')}@${bundled?.digest}`, ...(await token())));

    const copied = JSON.parse((await ok(image('copy', source, named('target'), '--json'))).out) as object;
    expect(copied).toMatchObject({
      digest: index.digest,
      manifests: 4,
      // Four by --recursive, one legacy, one of a signature.
      attached: { signature: 6, attestation: 1, sbom: 0, referrer: 0 },
    });
    const again = JSON.parse((await ok(image('copy', source, named('target'), '--json'))).out) as object;
    expect(again).toMatchObject({ blobs: 0, bytes: 0, attached: { signature: 6, attestation: 1 } });
    for (const layout of ['bundle', 'legacy']) {
      await ok(image('verify', `${named('target')}:1.0`, '--layout', layout, ...trust(), ...asAlice()));
    }
    await ok(image('verify', `${named('target')}:1.0`, '--recursive', ...trust(), ...asAlice()));
    await ok(image('verify', `${named('target')}@${bundled?.digest}`, ...trust(), ...asAlice()));
    await ok(
      image('verify-attestation', `${named('target')}:1.0`, '--type', 'slsaprovenance1', ...trust(), ...asAlice()),
    );

    // One platform, without what is attached.
    const arm = JSON.parse(
      (await ok(image('copy', source, `${named('arm')}:1.0`, '--platform', 'linux/arm64', '--only', 'att', '--json')))
        .out,
    ) as object;
    expect(arm).toMatchObject({ digest: children[1]?.digest, manifests: 1, attached: { signature: 0 } });
  });

  it('saves, verifies in the folder, and loads', async () => {
    await pushImage(named('saved'), 'saved', '1.0');
    const name = `${named('saved')}:1.0`;
    for (const layout of ['bundle', 'legacy']) await ok(image('sign', name, '--layout', layout, ...(await token())));
    const dir = at(`saved-${registry.host.replace(':', '-')}`);
    await ok(image('save', name, '--dir', dir));
    expect(JSON.parse(await readFile(join(dir, 'index.json'), 'utf8'))).toMatchObject({
      manifests: expect.arrayContaining([
        expect.objectContaining({
          annotations: expect.objectContaining({ kind: 'dev.cosignproject.cosign/image' }) as object,
        }),
        expect.objectContaining({
          annotations: expect.objectContaining({ kind: 'dev.cosignproject.cosign/sigs' }) as object,
        }),
      ]) as object[],
    });
    const local = await ok(image('verify', dir, '--local-image', '--json', ...trust(), ...asAlice()));
    expect((JSON.parse(local.out) as { images: { layouts: string[] }[] }).images[0]?.layouts).toEqual([
      'bundle',
      'legacy',
    ]);
    await ok(image('load', `${named('loaded')}:2.0`, '--dir', dir));
    const loaded = await ok(image('verify', `${named('loaded')}:2.0`, '--json', ...trust(), ...asAlice()));
    expect((JSON.parse(loaded.out) as { images: { layouts: string[] }[] }).images[0]?.layouts).toEqual([
      'bundle',
      'legacy',
    ]);
  });

  it('cleans by type, and never the image', async () => {
    await pushImage(named('cleaned'), 'cleaned', '1.0');
    const name = `${named('cleaned')}:1.0`;
    for (const layout of ['bundle', 'legacy']) {
      await ok(image('sign', name, '--layout', layout, ...(await token())));
      await ok(
        image(
          'attest',
          name,
          '--layout',
          layout,
          '--type',
          'slsaprovenance1',
          '--predicate',
          at('provenance.json'),
          ...(await token()),
        ),
      );
    }
    expect(await cli(image('clean', name))).toMatchObject({ exit: 2 });
    await ok(image('clean', name, '--type', 'signature', '--force'));
    expect(await cli(image('verify', name, ...trust(), ...asAlice()))).toMatchObject({ exit: 10 });
    await ok(image('verify-attestation', name, '--type', 'slsaprovenance1', ...trust(), ...asAlice()));
    const rest = JSON.parse((await ok(image('clean', name, '--force', '--json'))).out) as object;
    expect(rest).toMatchObject({ removed: { signature: [], attestation: [expect.any(String), expect.any(String)] } });
    expect((await ok(image('tree', name))).out).toContain('nothing is attached');
  });

  it.each(['bundle', 'legacy'])('keeps the signatures of writers at the same time, %s layout', async (layout) => {
    await pushImage(named(`race-${layout}`), 'race', '1.0');
    const name = `${named(`race-${layout}`)}:1.0`;
    const people = ['alice', 'bob', 'carol', 'dave'].map((who) => `${who}@example.com`);
    await Promise.all(
      people.map(async (who) =>
        ok(
          image(
            'sign',
            name,
            '--layout',
            layout,
            '--url',
            world.url,
            '--identity-token',
            await world.token({ email: who }),
          ),
        ),
      ),
    );
    for (const who of people) {
      await ok(
        image('verify', name, ...trust(), '--certificate-identity', who, '--certificate-oidc-issuer', world.issuer),
      );
    }
  });

  it('keeps signatures in another repository, by COSIGN_REPOSITORY, and beside no upload', async () => {
    await pushImage(named('apart'), 'apart', '1.0');
    const name = `${named('apart')}:1.0`;
    const elsewhere = { COSIGN_REPOSITORY: named('signatures') };
    await ok(image('sign', name, ...(await token())), elsewhere);
    expect(await cli(image('verify', name, ...trust(), ...asAlice()))).toMatchObject({ exit: 10 });
    await ok(image('verify', name, ...trust(), ...asAlice()), elsewhere);
    expect(await cli(image('sign', name, '--no-upload', ...(await token())))).toMatchObject({ exit: 2 });
    await ok(image('sign', name, '--no-upload', '--bundle', at('only.json'), ...(await token())));
    expect(JSON.parse(await readFile(at('only.json'), 'utf8'))).toHaveProperty('dsseEnvelope');
    expect(await cli(image('verify', name, ...trust(), ...asAlice()))).toMatchObject({ exit: 10 });
  });

  describe.skipIf(!hasCosign())('with cosign', () => {
    const cosign = (args: readonly string[], env: Record<string, string> = {}): Promise<Ran> =>
      run('cosign', [...args], { cwd: folder, environment: { HOME: folder, COSIGN_PASSWORD: 'secret', ...env } });
    async function fine(args: readonly string[], env?: Record<string, string>): Promise<Ran> {
      const ran = await cosign(args, env);
      expect(ran, `cosign ${args.join(' ')}\n${ran.out}\n${ran.err}`).toMatchObject({ exit: 0 });
      return ran;
    }
    const insecure = ['--allow-http-registry'];

    it('cosign verifies what we sign, both layouts, by identity and by key', async () => {
      const { digest } = await pushImage(named('ours'), 'ours', '1.0');
      const name = `${named('ours')}@${digest}`;
      for (const [layout, more] of [
        ['bundle', []],
        ['legacy', ['--new-bundle-format=false']],
      ] as const) {
        await ok(image('sign', name, '--layout', layout, '-a', `layout=${layout}`, ...(await token())));
        const verified = await fine([
          'verify',
          name,
          ...insecure,
          ...more,
          ...trust(),
          ...asAlice(),
          '-a',
          `layout=${layout}`,
        ]);
        expect(verified.out).toContain(digest);
        const foreign = ['--certificate-identity', 'mallory@example.com', '--certificate-oidc-issuer', world.issuer];
        expect((await cosign(['verify', name, ...insecure, ...more, ...trust(), ...foreign])).exit).not.toBe(0);
        const keyed = await pushImage(named(`ours-key-${layout}`), layout, '1.0');
        const keyName = `${named(`ours-key-${layout}`)}@${keyed.digest}`;
        await ok(image('sign', keyName, '--layout', layout, '--key', at('plain.key'), '--url', world.url));
        await fine(['verify', keyName, ...insecure, ...more, ...trust(), '--key', 'plain.pub']);
      }
    });

    it('cosign verifies what we attest, both layouts', async () => {
      for (const [layout, more] of [
        ['bundle', []],
        ['legacy', ['--new-bundle-format=false']],
      ] as const) {
        const { digest } = await pushImage(named(`ours-att-${layout}`), layout, '1.0');
        const name = `${named(`ours-att-${layout}`)}@${digest}`;
        await ok(
          image(
            'attest',
            name,
            '--layout',
            layout,
            '--type',
            'slsaprovenance1',
            '--predicate',
            at('provenance.json'),
            ...(await token()),
          ),
        );
        await fine([
          'verify-attestation',
          name,
          ...insecure,
          ...more,
          '--type',
          'slsaprovenance1',
          ...trust(),
          ...asAlice(),
        ]);
      }
    });

    it.each([1, 2])('we verify what cosign signs and attests in its layout of today, Rekor v%s', async (rekor) => {
      const { digest } = await pushImage(named(`theirs-${rekor}`), `theirs ${rekor}`, '1.0');
      const name = `${named(`theirs-${rekor}`)}@${digest}`;
      const by = async () => [
        '--yes',
        ...insecure,
        '--signing-config',
        `rekor${rekor}.json`,
        ...trust(),
        '--identity-token',
        await world.token({ email }),
      ];
      await fine(['sign', ...(await by()), '-a', 'env=prod', name]);
      const verified = await ok(image('verify', name, '-a', 'env=prod', ...trust(), ...asAlice()));
      expect(verified.out).toContain('signature (bundle, ');
      expect(await cli(image('verify', name, '-a', 'env=test', ...trust(), ...asAlice()))).toMatchObject({ exit: 12 });
      await fine(['attest', ...(await by()), '--type', 'slsaprovenance1', '--predicate', 'provenance.json', name]);
      await ok(image('verify-attestation', name, '--type', 'slsaprovenance1', ...trust(), ...asAlice()));
      await fine([
        'sign',
        '--yes',
        ...insecure,
        '--signing-config',
        `rekor${rekor}.json`,
        ...trust(),
        '--key',
        'plain-cosign.key',
        name,
      ]);
      await ok(image('verify', name, '--key', at('plain-cosign.pub'), ...trust()));
    });

    it('we verify what cosign signs and attests in its older layout', async () => {
      const { digest } = await pushImage(named('theirs-legacy'), 'theirs legacy', '1.0');
      const name = `${named('theirs-legacy')}@${digest}`;
      const env = await exportLegacyTrust(folder, await world.trustedRoot());
      const by = async () => [
        ...['--yes', ...insecure, '--new-bundle-format=false', '--use-signing-config=false', '--tlog-upload=true'],
        ...['--fulcio-url', world.url, '--rekor-url', world.url, '--identity-token', await world.token({ email })],
      ];
      await fine(['sign', ...(await by()), '-a', 'env=prod', name], env);
      const verified = await ok(image('verify', name, '-a', 'env=prod', ...trust(), ...asAlice()));
      expect(verified.out).toContain('signature (legacy, ');
      await fine(['attest', ...(await by()), '--type', 'slsaprovenance1', '--predicate', 'provenance.json', name], env);
      const attested = await ok(
        image('verify-attestation', name, '--type', 'slsaprovenance1', ...trust(), ...asAlice()),
      );
      expect(attested.out).toContain('attestation (legacy, ');
      // Both writers' signatures stay.
      await ok(image('sign', name, '--layout', 'legacy', ...(await token())));
      const both = JSON.parse((await ok(image('verify', name, '--json', ...trust(), ...asAlice()))).out) as {
        images: { candidates: unknown[] }[];
      };
      expect(both.images[0]?.candidates).toHaveLength(2);
    });

    it('cosign loads what we save, and we load what cosign saves', async () => {
      const { digest } = await pushImage(named('folders'), 'folders', '1.0');
      const name = `${named('folders')}:1.0`;
      await ok(image('sign', name, '--layout', 'legacy', ...(await token())));
      const suffix = registry.host.replace(':', '-');
      await ok(image('save', name, '--dir', at(`ours-${suffix}`)));
      await fine(['load', ...insecure, '--dir', `ours-${suffix}`, `${named('cosign-loaded')}:1.0`]);
      await ok(image('verify', `${named('cosign-loaded')}@${digest}`, '--layout', 'legacy', ...trust(), ...asAlice()));
      await mkdir(at(`theirs-${suffix}`), { recursive: true });
      await fine(['save', ...insecure, '--dir', `theirs-${suffix}`, name]);
      expect(await readdir(at(`theirs-${suffix}`))).toContain('index.json');
      await ok(image('load', `${named('we-loaded')}:1.0`, '--dir', at(`theirs-${suffix}`)));
      await ok(image('verify', `${named('we-loaded')}@${digest}`, '--layout', 'legacy', ...trust(), ...asAlice()));
    });

    beforeAll(async () => {
      await rm(at('plain-cosign.key'), { force: true });
      await rm(at('plain-cosign.pub'), { force: true });
      await fine(['generate-key-pair', '--output-key-prefix', 'plain-cosign']);
    });
  });
});

function hasCosign(): boolean {
  const found = spawnSync('cosign', ['version'], { stdio: 'ignore' }).error === undefined;
  if (!found) console.warn('skipped: cosign is not installed');
  return found;
}
