import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRegistry, parseReference } from '#libs/oci';
import { hasDockerRegistry, startDockerRegistry, type DockerRegistry } from '../../../test/world/registry.js';
import { createGpgHome, hasGpg, hasSkopeo, type GpgHome } from '../testing/gpg.js';
import {
  digestLike,
  evaluatePolicy,
  openLookaside,
  parseImageIdentity,
  parsePayload,
  parsePodmanPolicy,
  readKeyRing,
  readSigner,
  type SimpleSigner,
} from './index.js';

const able = hasGpg && hasSkopeo;
if (!able) console.warn('Skipped: interoperation with skopeo and GnuPG, which are not both installed');
if (able && !hasDockerRegistry) console.warn('Skipped: policies of skopeo, for which docker-registry is not installed');

const now = () => new Date();
let folder: string;
let home: GpgHome;
let fingerprint: string;
let expired: string;
let revoked: string;
let signer: SimpleSigner;
const at = (name: string) => join(folder, name);

describe.skipIf(!able)('with skopeo and GnuPG', () => {
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'simple-'));
    home = createGpgHome();
    fingerprint = home.generate('Signer');
    expired = home.generate('Expired');
    revoked = home.generate('Revoked');
    const secret = home.gpg('--armor', '--export-secret-keys', fingerprint);
    signer = await readSigner(secret, { passphrase: home.passphrase, now: now() });
    writeFileSync(at('passphrase'), home.passphrase);
    writeFileSync(
      at('manifest'),
      '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}',
    );
  });
  afterAll(() => {
    home?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const skopeo = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('skopeo', args, { env: home.env, encoding: 'utf8' });
    return { status, text: stdout + stderr };
  };
  const standaloneSign = (key: string, output: string, reference = 'registry.example.com/ns/app:v1') =>
    skopeo('standalone-sign', '--passphrase-file', at('passphrase'), at('manifest'), reference, key, '-o', at(output));
  const ours = (reference = 'registry.example.com/ns/app:v1') =>
    signer.sign(
      {
        dockerReference: reference,
        manifestDigest: digestLike('sha256:', readFileSync(at('manifest'))),
        creator: 'test',
      },
      now(),
    );

  it('skopeo standalone-verify accepts our object, and no other name, manifest or key', async () => {
    writeFileSync(at('ours'), await ours());
    const verify = (reference: string, key: string, manifest = 'manifest') =>
      skopeo('standalone-verify', at(manifest), reference, key, at('ours'));
    expect(verify('registry.example.com/ns/app:v1', fingerprint)).toMatchObject({ status: 0 });
    expect(verify('registry.example.com/ns/app:v2', fingerprint).status).toBe(1);
    expect(verify('registry.example.com/ns/app:v1', expired).status).toBe(1);
    expect(verify('registry.example.com/ns/app:v1', fingerprint, 'passphrase').status).toBe(1);
  });

  it('we verify what skopeo standalone-sign makes', async () => {
    expect(standaloneSign(fingerprint, 'theirs')).toMatchObject({ status: 0 });
    const ring = await readKeyRing([home.gpg('--export', fingerprint)]);
    const { content, fingerprint: by } = await ring.verify(readFileSync(at('theirs')), now());
    expect(by).toBe(fingerprint);
    expect(parsePayload(content)).toMatchObject({
      dockerReference: 'registry.example.com/ns/app:v1',
      manifestDigest: digestLike('sha256:', readFileSync(at('manifest'))),
    });
  });

  it.each(['none', 'zip', 'zlib'])(
    'we open what GnuPG compresses with %s, and GnuPG what we sign',
    async (algorithm) => {
      const made = home.gpg(
        '--local-user',
        fingerprint,
        '--compress-algo',
        algorithm,
        '-z',
        '6',
        '-o',
        '-',
        '--sign',
        at('manifest'),
      );
      const ring = await readKeyRing([home.gpg('--armor', '--export')]);
      expect(Buffer.from((await ring.verify(made, now())).content)).toEqual(readFileSync(at('manifest')));
      writeFileSync(at('message'), await ours());
      expect(parsePayload(home.gpg('--decrypt', at('message'))).creator).toBe('test');
    },
  );

  it('refuses what GnuPG signed in other ways, and with keys that have expired or were revoked since', async () => {
    const all = () => readKeyRing([home.gpg('--export')]);
    for (const mode of ['--detach-sign', '--clear-sign']) {
      const made = home.gpg('--local-user', fingerprint, '-o', '-', mode, at('manifest'));
      await expect((await all()).verify(made, now())).rejects.toThrow(
        expect.objectContaining({ code: 'SIMPLE_MESSAGE' }) as Error,
      );
    }
    const armored = home.gpg('--local-user', fingerprint, '--armor', '-o', '-', '--sign', at('manifest'));
    await expect((await all()).verify(armored, now())).rejects.toThrow('armoured');

    expect(standaloneSign(expired, 'by-expired').status).toBe(0);
    expect(standaloneSign(revoked, 'by-revoked').status).toBe(0);
    await expect((await all()).verify(readFileSync(at('by-expired')), now())).resolves.toBeDefined();
    home.gpg('--quick-set-expire', expired, 'seconds=60');
    const certificate = at('revocation');
    const made = readFileSync(join(String(home.env['GNUPGHOME']), 'openpgp-revocs.d', `${revoked}.rev`), 'utf8');
    writeFileSync(certificate, made.replace(':-----BEGIN', '-----BEGIN'));
    home.gpg('--import', certificate);
    const ring = await all();
    // GnuPG's clock cannot be told; ours can.
    const later = new Date(now().getTime() + 120_000);
    await expect(ring.verify(readFileSync(at('by-expired')), now())).resolves.toBeDefined();
    for (const name of ['by-expired', 'by-revoked']) {
      await expect(ring.verify(readFileSync(at(name)), later)).rejects.toThrow(
        expect.objectContaining({ code: 'SIMPLE_KEY_STATE' }) as Error,
      );
    }
    const byThem = skopeo(
      'standalone-verify',
      at('manifest'),
      'registry.example.com/ns/app:v1',
      revoked,
      at('by-revoked'),
    );
    expect(byThem.status).toBe(1);
  });

  describe.skipIf(!hasDockerRegistry)('and a registry', () => {
    let registry: DockerRegistry;
    beforeAll(async () => {
      registry = await startDockerRegistry();
      writeLayout(at('image'));
      mkdirSync(at('registries.d'));
      mkdirSync(at('store'));
      writeFileSync(
        at('registries.d/store.yaml'),
        `default-docker:\n  lookaside: ${pathToFileURL(at('store')).href}\n`,
      );
      writeFileSync(at('key.gpg'), home.gpg('--export', fingerprint));
      writeFileSync(at('anything.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
      writeFileSync(
        at('policy.json'),
        JSON.stringify(policyOf({ type: 'signedBy', keyType: 'GPGKeys', keyPath: at('key.gpg') })),
      );
    });
    afterAll(() => registry?.close());
    const policyOf = (requirement: object) => ({
      default: [{ type: 'reject' }],
      transports: { docker: { [registry.host]: [requirement] } },
    });
    const push = (tag: string, ...more: string[]) =>
      skopeo(
        '--policy',
        at('anything.json'),
        '--registries.d',
        at('registries.d'),
        'copy',
        '--dest-tls-verify=false',
        ...more,
        `oci:${at('image')}`,
        `docker://${registry.host}/${tag}`,
      );
    const pull = (tag: string, policy = 'policy.json') => {
      rmSync(at('out'), { recursive: true, force: true });
      return skopeo(
        '--policy',
        at(policy),
        '--registries.d',
        at('registries.d'),
        'copy',
        '--src-tls-verify=false',
        `docker://${registry.host}/${tag}`,
        `dir:${at('out')}`,
      );
    };
    const fetchManifest = async (reference: string) => {
      const store = openRegistry({ repository: parseReference(`${registry.host}/${reference}`) });
      const { descriptor, bytes } = await store.manifest(reference.split(':')[1] ?? '');
      await store.close();
      return { digest: descriptor.digest, bytes };
    };
    const lookaside = () => openLookaside(pathToFileURL(at('store')).href, { fetch });
    const evaluate = async (
      reference: string,
      requirement: object = { type: 'signedBy', keyType: 'GPGKeys', keyPath: at('key.gpg') },
    ) => {
      const { digest, bytes } = await fetchManifest(reference);
      const name = parseImageIdentity(`${registry.host}/${reference}`);
      const policy = parsePodmanPolicy(Buffer.from(JSON.stringify(policyOf(requirement))));
      return evaluatePolicy(
        policy,
        { name, manifest: bytes, signatures: () => lookaside().read(name, digest), attachments: async () => [] },
        { readFile: async (path) => readFileSync(path), verifySigstoreSigned: async () => '', now: now() },
      );
    };
    const signOurs = async (reference: string, as = reference) => {
      const { digest } = await fetchManifest(reference);
      const name = parseImageIdentity(`${registry.host}/${reference}`);
      const object = await signer.sign({ dockerReference: `${registry.host}/${as}`, manifestDigest: digest }, now());
      await lookaside().write(name, digest, object);
    };

    it('its policy accepts our signature, and refuses the image without and under another tag; and so do we', async () => {
      expect(push('ns/ours:v1')).toMatchObject({ status: 0 });
      expect(pull('ns/ours:v1').text).toContain('A signature was required, but no signature exists');
      expect((await evaluate('ns/ours:v1')).allowed).toBe(false);
      await signOurs('ns/ours:v1');
      expect(pull('ns/ours:v1')).toMatchObject({ status: 0 });
      expect((await evaluate('ns/ours:v1')).allowed).toBe(true);
      expect(push('ns/ours:v2')).toMatchObject({ status: 0 });
      expect(pull('ns/ours:v2').text).toContain('is not accepted');
      expect((await evaluate('ns/ours:v2')).allowed).toBe(false);
    });

    it('we accept its signature, as it does, beside ours in the same storage', async () => {
      expect(push('ns/theirs:v1', '--sign-by', fingerprint, '--sign-passphrase-file', at('passphrase'))).toMatchObject({
        status: 0,
      });
      expect(pull('ns/theirs:v1')).toMatchObject({ status: 0 });
      const decision = await evaluate('ns/theirs:v1');
      expect(decision.allowed).toBe(true);
      expect(decision.requirements[0]?.detail).toContain(fingerprint);
      await signOurs('ns/theirs:v1', 'ns/other:v1');
      expect(pull('ns/theirs:v1')).toMatchObject({ status: 0 });
      expect((await evaluate('ns/theirs:v1')).allowed).toBe(true);
    });

    it('agrees with us that a subkey is not to be accepted', async () => {
      home.gpg('--quick-generate-key', 'Certifier', 'ed25519', 'cert', '0');
      const primary =
        /^fpr:{9}([0-9A-F]{40}):/m.exec(home.gpg('--with-colons', '--list-keys', '=Certifier').toString())?.[1] ?? '';
      home.gpg('--quick-add-key', primary, 'ed25519', 'sign', '0');
      writeFileSync(at('subkey.gpg'), home.gpg('--export', primary));
      const requirement = { type: 'signedBy', keyType: 'GPGKeys', keyPath: at('subkey.gpg') };
      writeFileSync(at('subkey.json'), JSON.stringify(policyOf(requirement)));
      expect(push('ns/subkey:v1', '--sign-by', primary, '--sign-passphrase-file', at('passphrase')).status).toBe(0);
      expect(pull('ns/subkey:v1', 'subkey.json').text).toContain('is not accepted');
      expect((await evaluate('ns/subkey:v1', requirement)).allowed).toBe(false);
    });

    const identities: [object, string, boolean][] = [
      [{ type: 'matchExact' }, 'ns/kinds:v1', true],
      [{ type: 'matchExact' }, 'ns/kinds:v2', false],
      [{ type: 'matchRepoDigestOrExact' }, 'ns/kinds:v1', true],
      [{ type: 'matchRepoDigestOrExact' }, 'ns/other:v1', false],
      [{ type: 'matchRepository' }, 'ns/kinds:v2', true],
      [{ type: 'matchRepository' }, 'ns/kinds', true],
      [{ type: 'matchRepository' }, 'ns/other:v1', false],
      [{ type: 'exactReference', dockerReference: 'HOST/vendor/x:v1' }, 'vendor/x:v1', true],
      [{ type: 'exactReference', dockerReference: 'HOST/vendor/x:v1' }, 'vendor/x:v2', false],
      [{ type: 'exactRepository', dockerRepository: 'HOST/vendor/x' }, 'vendor/x:v9', true],
      [{ type: 'exactRepository', dockerRepository: 'HOST/vendor/x' }, 'vendor/y:v9', false],
      [{ type: 'remapIdentity', prefix: 'HOST/ns', signedPrefix: 'HOST/vendor' }, 'vendor/kinds:v1', true],
      [{ type: 'remapIdentity', prefix: 'HOST/ns', signedPrefix: 'HOST/vendor' }, 'ns/kinds:v1', false],
      [{ type: 'remapIdentity', prefix: 'HOST/n', signedPrefix: 'HOST/vendor' }, 'ns/kinds:v1', true],
    ];
    it.each(identities)('agrees with us about %j for a signature of %s: %s', async (identity, signedAs, accepted) => {
      // Another digest for each: else the signatures of other rows would be found too.
      writeLayout(at('image'), JSON.stringify([identity, signedAs]));
      expect(push('ns/kinds:v1')).toMatchObject({ status: 0 });
      await signOurs('ns/kinds:v1', signedAs);
      const signedIdentity = JSON.parse(JSON.stringify(identity).replaceAll('HOST', registry.host)) as object;
      const requirement = { type: 'signedBy', keyType: 'GPGKeys', keyPath: at('key.gpg'), signedIdentity };
      writeFileSync(at('identity.json'), JSON.stringify(policyOf(requirement)));
      expect(pull('ns/kinds:v1', 'identity.json').status === 0).toBe(accepted);
      expect((await evaluate('ns/kinds:v1', requirement)).allowed).toBe(accepted);
    });
  });
});

/** An image layout of one manifest with one small layer. */
function writeLayout(folder: string, seed = ''): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
  const put = (content: Uint8Array | string) => {
    const hex = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(folder, 'blobs/sha256', hex), content);
    return { digest: `sha256:${hex}`, size: Buffer.byteLength(content) };
  };
  mkdirSync(`${folder}-files`, { recursive: true });
  writeFileSync(join(`${folder}-files`, 'seed'), seed);
  const tar = execFileSync('tar', ['--create', '--mtime=@0', '--directory', `${folder}-files`, 'seed']);
  const layer = put(tar);
  const config = put(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  );
  const manifest = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', ...layer }],
    }),
  );
  writeFileSync(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const entry = { mediaType: 'application/vnd.oci.image.manifest.v1+json', ...manifest };
  writeFileSync(join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
}
