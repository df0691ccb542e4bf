// Clients of Rekor v1 that we did not write, unchanged, against our services: the npm packages always, the others where they are installed.
import { spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign as signWith } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleFromJSON, bundleToJSON, type SerializedBundle } from '@sigstore/bundle';
import { SigningConfig, TrustedRoot } from '@sigstore/protobuf-specs';
import { bundleBuilderFromSigningConfig } from '@sigstore/sign';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { attest, sign } from 'sigstore';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseTrustedRoot } from '../../apps/npm/src/sign.js';
import { verify } from '../../apps/npm/src/verify.js';
import { startWorld, type World } from '../world/index.js';
import { type Ran, run } from '../world/process.js';

const artifact = Buffer.from('hello, world\n');
const digest = createHash('sha256').update(artifact).digest('hex');
const statement = JSON.stringify({
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'hello.txt', digest: { sha256: digest } }],
  predicateType: 'https://example.com/predicate/v1',
  predicate: { built: true },
});
const email = 'alice@example.com';

/** Whether a program is on the PATH; says so if it is not. */
function installed(program: string, argument: string): boolean {
  const found = spawnSync(program, [argument], { stdio: 'ignore' }).error === undefined;
  if (!found) console.warn(`skipped: ${program} is not installed`);
  return found;
}

let world: World;
let folder: string;
let trustedRoot: string;
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  world = await startWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-clients-'));
  trustedRoot = await world.trustedRoot();
  await writeFile(file('trusted_root.json'), trustedRoot);
  for (const rekor of [1, 2]) await writeFile(file(`rekor${rekor}.json`), await signingConfig(rekor));
  await writeFile(file('hello.txt'), artifact);
  await writeFile(file('statement.json'), statement);
});
afterAll(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

async function signingConfig(rekor: number): Promise<string> {
  return (await fetch(`${world.url}/trust/signing_config.v0.2.json?rekor=${rekor}`)).text();
}

interface SeenEntry {
  readonly kindVersion: { readonly kind: string; readonly version: string };
  readonly inclusionPromise?: object;
  readonly inclusionProof?: object;
}

/** The bundle is of our v1 log, with its promise and its proof, and our own verifier says so too. */
async function expectV1(bundle: unknown, kind: string, version: string, data: Buffer = artifact): Promise<void> {
  const [entry] = (bundle as { verificationMaterial: { tlogEntries: SeenEntry[] } }).verificationMaterial.tlogEntries;
  expect(entry?.kindVersion).toEqual({ kind, version });
  expect(entry?.inclusionPromise).toBeDefined();
  expect(entry?.inclusionProof).toBeDefined();
  const report = await verify(JSON.stringify(bundle), data, {
    trustedRoot: parseTrustedRoot(trustedRoot),
    identity: email,
    issuer: world.issuer,
  });
  expect(report.checks.filter(({ state }) => state === 'failed')).toEqual([]);
  expect(report.ok).toBe(true);
}

/** An identifier in what a client printed. */
function find(pattern: RegExp, { out, err }: Ran): string {
  const found = pattern.exec(`${out}\n${err}`)?.[0];
  if (found === undefined) throw new Error(`No ${pattern} in: ${out}\n${err}`);
  return found;
}

describe('npm sigstore with the API of Rekor v1', () => {
  function stockVerify(bundle: unknown, data: Buffer | undefined, san: string): void {
    const material = toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(trustedRoot)));
    const verifier = new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 0 });
    verifier.verify(toSignedEntity(bundleFromJSON(bundle), data), {
      subjectAlternativeName: san,
      extensions: { issuer: world.issuer },
    });
  }

  for (const [name, dsse] of [
    ['hashedrekord', false],
    ['dsse', true],
  ] as const) {
    it(`signs and verifies by signing config: ${name} 0.0.1`, async () => {
      const token = await world.token({ email });
      const builder = bundleBuilderFromSigningConfig({
        signingConfig: SigningConfig.fromJSON(JSON.parse(await signingConfig(1))),
        identityProvider: { getToken: () => Promise.resolve(token) },
        bundleType: dsse ? 'dsseEnvelope' : 'messageSignature',
        fetchOptions: { timeout: 20_000 },
      });
      const bundle: SerializedBundle = bundleToJSON(
        await builder.create(
          dsse ? { data: Buffer.from(statement), type: 'application/vnd.in-toto+json' } : { data: artifact },
        ),
      );
      await expectV1(bundle, name, '0.0.1');
      stockVerify(bundle, dsse ? undefined : artifact, email);
      expect(() => stockVerify(bundle, dsse ? undefined : artifact, 'mallory@example.com')).toThrow(/identity/i);
    });
  }

  it('signs by URL alone, and the same artifact twice', async () => {
    const token = await world.token({ email });
    const options = { fulcioURL: world.url, rekorURL: world.url, identityToken: token, tlogUpload: true };
    for (let round = 0; round < 2; round++) {
      const bundle = await sign(artifact, options);
      await expectV1(bundle, 'hashedrekord', '0.0.1');
      stockVerify(bundle, artifact, email);
    }
    const attested = await attest(Buffer.from(statement), 'application/vnd.in-toto+json', options);
    await expectV1(attested, 'dsse', '0.0.1');
    stockVerify(attested, undefined, email);
  });

  it('takes intoto 0.0.2, the kind of its older releases', async () => {
    const token = await world.token({ email });
    const { DSSEBundleBuilder, FulcioSigner, RekorWitness } = await import('@sigstore/sign');
    const builder = new DSSEBundleBuilder({
      signer: new FulcioSigner({
        fulcioBaseURL: world.url,
        identityProvider: { getToken: () => Promise.resolve(token) },
      }),
      witnesses: [new RekorWitness({ rekorBaseURL: world.url, entryType: 'intoto' })],
    });
    const bundle = bundleToJSON(
      await builder.create({ data: Buffer.from(statement), type: 'application/vnd.in-toto+json' }),
    );
    await expectV1(bundle, 'intoto', '0.0.2');
    stockVerify(bundle, undefined, email);
  });
});

describe.skipIf(!installed('cosign', 'version'))('cosign', () => {
  const cosign = (...args: string[]): Promise<Ran> =>
    run('cosign', args, { cwd: folder, environment: { HOME: folder, COSIGN_PASSWORD: 'secret' } });
  const trust = ['--trusted-root', 'trusted_root.json'];
  const identity = (name = email) => [
    ...['--certificate-identity', name],
    ...['--certificate-oidc-issuer', world.issuer],
  ];

  for (const rekor of [1, 2]) {
    it(`signs and verifies a blob, Rekor v${rekor}`, async () => {
      const token = await world.token({ email });
      const bundle = `cosign-v${rekor}.json`;
      const signed = await cosign(
        ...['sign-blob', '--yes', '--signing-config', `rekor${rekor}.json`, ...trust],
        ...['--identity-token', token, '--bundle', bundle, 'hello.txt'],
      );
      expect(signed, signed.err).toMatchObject({ exit: 0 });
      const verified = await cosign('verify-blob', '--bundle', bundle, ...trust, ...identity(), 'hello.txt');
      expect(verified, verified.err).toMatchObject({ exit: 0 });
      const foreign = await cosign(
        ...['verify-blob', '--bundle', bundle, ...trust, ...identity('mallory@example.com'), 'hello.txt'],
      );
      expect(foreign.exit).not.toBe(0);
      const json: unknown = JSON.parse(await readFile(file(bundle), 'utf8'));
      if (rekor === 1) await expectV1(json, 'hashedrekord', '0.0.1');
    });
  }

  it('attests a blob and verifies the attestation, Rekor v1', async () => {
    const token = await world.token({ email });
    await writeFile(file('predicate.json'), '{"built":true}');
    const signed = await cosign(
      ...['attest-blob', '--yes', '--signing-config', 'rekor1.json', ...trust, '--identity-token', token],
      ...['--predicate', 'predicate.json', '--type', 'https://example.com/predicate/v1'],
      ...['--bundle', 'attest.json', 'hello.txt'],
    );
    expect(signed, signed.err).toMatchObject({ exit: 0 });
    const verified = await cosign(
      ...['verify-blob-attestation', '--bundle', 'attest.json', ...trust, ...identity()],
      ...['--type', 'https://example.com/predicate/v1', 'hello.txt'],
    );
    expect(verified, verified.err).toMatchObject({ exit: 0 });
    await expectV1(JSON.parse(await readFile(file('attest.json'), 'utf8')), 'dsse', '0.0.1');
  });

  it('signs with a key, and finds the entry online again', async () => {
    expect(await cosign('generate-key-pair')).toMatchObject({ exit: 0 });
    const signed = await cosign(
      ...['sign-blob', '--yes', '--key', 'cosign.key', '--signing-config', 'rekor1.json', ...trust],
      ...['--bundle', 'key.json', 'hello.txt'],
    );
    expect(signed, signed.err).toMatchObject({ exit: 0 });
    const verified = await cosign('verify-blob', '--key', 'cosign.pub', '--bundle', 'key.json', ...trust, 'hello.txt');
    expect(verified, verified.err).toMatchObject({ exit: 0 });
  });
});

describe.skipIf(!installed('rekor-cli', 'version'))('rekor-cli', () => {
  const cli = (...args: string[]): Promise<Ran> =>
    run('rekor-cli', [...args, '--rekor_server', world.url], { cwd: folder, environment: { HOME: folder } });
  let uuid: string;

  beforeAll(async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(file('p256.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    await writeFile(file('hello.sig'), signWith('sha256', artifact, privateKey));
  });

  it('uploads an entry, and is told of the same one again', async () => {
    const upload = [
      ...['upload', '--artifact', 'hello.txt', '--signature', 'hello.sig', '--public-key', 'p256.pub'],
      ...['--type', 'hashedrekord', '--pki-format', 'x509'],
    ];
    const first = await cli(...upload);
    expect(first, first.err).toMatchObject({ exit: 0 });
    expect(first.out).toMatch(/Created entry at index \d+, available at: http/);
    uuid = find(/[0-9a-f]{80}/, first);
    const again = await cli(...upload);
    expect(again, again.err).toMatchObject({ exit: 0 });
    expect(again.out).toMatch(/already exists/);
    expect(find(/[0-9a-f]{80}/, again)).toBe(uuid);
  });

  it('gets it by UUID and by index, and verifies its inclusion', async () => {
    const byUuid = await cli('get', '--uuid', uuid, '--format', 'json');
    expect(byUuid, byUuid.err).toMatchObject({ exit: 0 });
    const entry = JSON.parse(byUuid.out) as { LogIndex: number; UUID: string };
    expect(entry.UUID).toBe(uuid);
    const byIndex = await cli('get', '--log-index', String(entry.LogIndex), '--format', 'json');
    expect((JSON.parse(byIndex.out) as { UUID: string }).UUID).toBe(uuid);
    const verified = await cli(
      ...['verify', '--artifact', 'hello.txt', '--signature', 'hello.sig', '--public-key', 'p256.pub'],
      ...['--type', 'hashedrekord', '--pki-format', 'x509'],
    );
    expect(verified, verified.err).toMatchObject({ exit: 0 });
    expect(verified.out).toContain(`Entry Hash: ${uuid.slice(16)}`);
  });

  it('finds it by digest, by key, and by e-mail', async () => {
    const byHash = await cli('search', '--sha', `sha256:${digest}`);
    expect(byHash.out, byHash.err).toContain(uuid);
    const byArtifact = await cli('search', '--artifact', 'hello.txt');
    expect(byArtifact.out, byArtifact.err).toContain(uuid);
    const byKey = await cli('search', '--public-key', 'p256.pub', '--pki-format', 'x509');
    expect(byKey.out, byKey.err).toContain(uuid);
    await sign(artifact, { fulcioURL: world.url, rekorURL: world.url, identityToken: await world.token({ email }) });
    const byEmail = await cli('search', '--email', email);
    expect(byEmail.out, byEmail.err).toMatch(/[0-9a-f]{80}/);
  });

  it('logs the other kinds: rekord by x509, minisign, ssh and PGP where their tools are, and intoto', async () => {
    const rekord = await cli(
      ...['upload', '--artifact', 'hello.txt', '--signature', 'hello.sig', '--public-key', 'p256.pub'],
      ...['--type', 'rekord', '--pki-format', 'x509'],
    );
    expect(rekord, rekord.err).toMatchObject({ exit: 0 });
    if (installed('ssh-keygen', '-?')) {
      await run('ssh-keygen', ['-t', 'ed25519', '-N', '', '-C', email, '-f', 'id'], { cwd: folder });
      await run('ssh-keygen', ['-Y', 'sign', '-n', 'file', '-f', 'id', 'hello.txt'], { cwd: folder });
      const ssh = await cli(
        ...['upload', '--artifact', 'hello.txt', '--signature', 'hello.txt.sig', '--public-key', 'id.pub'],
        ...['--type', 'rekord', '--pki-format', 'ssh'],
      );
      expect(ssh, ssh.err).toMatchObject({ exit: 0 });
    }
    if (installed('minisign', '-v')) {
      await run('minisign', ['-G', '-W', '-p', 'mini.pub', '-s', 'mini.key'], { cwd: folder });
      await run('minisign', ['-S', '-l', '-s', 'mini.key', '-m', 'hello.txt'], { cwd: folder });
      const minisign = await cli(
        ...['upload', '--artifact', 'hello.txt', '--signature', 'hello.txt.minisig', '--public-key', 'mini.pub'],
        ...['--type', 'rekord', '--pki-format', 'minisign'],
      );
      expect(minisign, minisign.err).toMatchObject({ exit: 0 });
    }
    if (installed('gpg', '--version')) {
      const gpg = (...args: string[]) =>
        run('gpg', ['--batch', '--homedir', folder, '--pinentry-mode', 'loopback', '--passphrase', '', ...args], {
          cwd: folder,
        });
      await gpg('--quick-generate-key', `Alice <${email}>`, 'ed25519', 'sign', 'never');
      await gpg('--armor', '--output', 'pgp.pub', '--export', email);
      await gpg('--armor', '--output', 'pgp.sig', '--detach-sign', 'hello.txt');
      const pgp = await cli(
        ...['upload', '--artifact', 'hello.txt', '--signature', 'pgp.sig', '--public-key', 'pgp.pub'],
        ...['--type', 'rekord', '--pki-format', 'pgp'],
      );
      expect(pgp, pgp.err).toMatchObject({ exit: 0 });
      const found = await cli('search', '--public-key', 'pgp.pub', '--pki-format', 'pgp');
      expect(found.out, found.err).toContain(find(/[0-9a-f]{80}/, pgp));
      await run('gpgconf', ['--homedir', folder, '--kill', 'all'], { cwd: folder });
    }
  });

  it('proves consistency, and keeps the state of the tree between calls', async () => {
    const info = await cli('loginfo');
    expect(info, info.err).toMatchObject({ exit: 0 });
    expect(info.out).toMatch(/Verification Successful/);
    await sign(artifact, { fulcioURL: world.url, rekorURL: world.url, identityToken: await world.token({ email }) });
    const later = await cli('loginfo', '--format', 'json');
    expect(later, later.err).toMatchObject({ exit: 0 });
    const proof = await cli('logproof', '--first-size', '1', '--last-size', '2');
    expect(proof, proof.err).toMatchObject({ exit: 0 });
  });
});

describe.skipIf(!installed('sigstore', '--version'))('sigstore-python', () => {
  for (const rekor of [1, 2]) {
    it(`signs, attests and verifies, Rekor v${rekor}`, async () => {
      const config = {
        mediaType: 'application/vnd.dev.sigstore.clienttrustconfig.v0.1+json',
        trustedRoot: JSON.parse(trustedRoot) as object,
        signingConfig: JSON.parse(await signingConfig(rekor)) as object,
      };
      await writeFile(file('client.json'), JSON.stringify(config));
      const python = (...args: string[]): Promise<Ran> =>
        run('sigstore', ['--trust-config', 'client.json', ...args], { cwd: folder, environment: { HOME: folder } });
      const identity = ['--cert-identity', email, '--cert-oidc-issuer', world.issuer];
      const token = await world.token({ email });
      const bundle = `python-v${rekor}.json`;
      const signed = await python('sign', '--identity-token', token, '--bundle', bundle, 'hello.txt');
      expect(signed, signed.err).toMatchObject({ exit: 0 });
      const verified = await python('verify', 'identity', '--bundle', bundle, ...identity, 'hello.txt');
      expect(verified, verified.err).toMatchObject({ exit: 0 });
      if (rekor === 1) await expectV1(JSON.parse(await readFile(file(bundle), 'utf8')), 'hashedrekord', '0.0.1');
    });
  }
});
