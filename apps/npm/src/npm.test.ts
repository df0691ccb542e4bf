import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWorld, type World } from '../../../libs/sign/testing/world.js';
import { encodeBundle, loadSigningKey, sign, SignError, signMany, type Bundle, type SignOptions } from './sign.js';
import { identityMatcher, verify, VerifyError, type VerifyOptions } from './verify.js';

let world: World;
let folder: string;
let signing: SignOptions;
let verifying: VerifyOptions;
const artifact = new TextEncoder().encode('an artifact');
const digest = `sha256:${createHash('sha256').update(artifact).digest('hex')}`;

beforeEach(async () => {
  world = createWorld();
  // The package reads the real clock; the world follows.
  world.clock.nowMs = Date.now();
  folder = await mkdtemp(join(tmpdir(), 'chancery-npm-'));
  signing = {
    signingConfig: world.signingConfig,
    identityToken: world.token(),
    trustedRoot: world.trustedRoot,
    fetch: world.fetch,
  };
  verifying = { trustedRoot: world.trustedRoot, identity: 'alice@example.com', issuer: 'http://sign.example/oidc' };
});
afterEach(() => rm(folder, { recursive: true }));

describe('chancery/sign and chancery/verify', () => {
  it('go round with bytes, a file and a digest', async () => {
    const bundle = await sign(artifact, signing);
    const path = join(folder, 'artifact');
    await writeFile(path, artifact);
    for (const source of [artifact, { path }, { digest }]) {
      expect(await verify(encodeBundle(bundle), source, verifying)).toMatchObject({
        ok: true,
        signer: { san: 'alice@example.com' },
      });
    }
    expect(await verify(await sign({ path }, signing), artifact, verifying)).toMatchObject({ ok: true });
  });

  it('take URLs of services instead of a signing config', async () => {
    const services = {
      certificateAuthority: world.baseUrl,
      timestampAuthorities: [`${world.baseUrl}/api/v1/timestamp`],
      logs: [world.baseUrl],
    };
    expect((await sign(artifact, { ...signing, signingConfig: services })).tlogEntries).toHaveLength(1);
  });

  it('sign a statement and verify a subject of it', async () => {
    const text = JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ digest: { sha256: digest.slice(7) } }],
      predicateType: 'https://example.com/p',
    });
    const bundle = await sign({ statement: new TextEncoder().encode(text) }, signing);
    expect(await verify(bundle, artifact, { ...verifying, predicateType: 'https://example.com/p' })).toMatchObject({
      ok: true,
    });
    // CVE-2022-35929: the right signer with a statement of another kind
    expect(await verify(bundle, artifact, { ...verifying, predicateType: 'https://example.com/q' })).toMatchObject({
      ok: false,
      failure: { code: 'VERIFY_PREDICATE_TYPE' },
    });
  });

  it('sign with a key and verify with it', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const key = loadSigningKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const { identityToken: _, ...rest } = signing;
    const bundle = await sign(artifact, { ...rest, key });
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    expect(await verify(bundle, artifact, { trustedRoot: world.trustedRoot, publicKey: pem })).toMatchObject({
      ok: true,
    });
    expect(await verify(bundle, artifact, verifying)).toMatchObject({ ok: false });
  });

  it('sign several artifacts with one certificate', async () => {
    const bundles: Bundle[] = [];
    for await (const bundle of signMany([artifact, artifact], signing)) bundles.push(bundle);
    expect(bundles[0]?.material).toEqual(bundles[1]?.material);
  });

  it('report a bad signature and throw for bad options', async () => {
    const bundle = await sign(artifact, signing);
    expect(await verify(bundle, new Uint8Array(1), verifying)).toMatchObject({ ok: false });
    const matcher = await identityMatcher('.*@example\\.org');
    expect(await verify(bundle, artifact, { ...verifying, identity: matcher })).toMatchObject({ ok: false });
    await expect(verify(bundle, { digest: 'md5:00' }, verifying)).rejects.toThrow(VerifyError);
    await expect(verify(bundle, artifact, { ...verifying, identity: '' })).rejects.toThrow(VerifyError);
    await expect(sign(artifact, { ...signing, identityToken: 'x' })).rejects.toThrow(SignError);
  });
});
