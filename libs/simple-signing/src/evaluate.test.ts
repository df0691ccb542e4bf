import * as openpgp from 'openpgp';
import { describe, expect, it } from 'vitest';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import { digestLike, evaluatePolicy, type PolicyImage, type PolicyPorts } from './evaluate.js';
import { encodePayload } from './payload.js';
import { parsePodmanPolicy } from './policy.js';
import { parseImageIdentity } from './reference.js';
import { readSigner } from './sign.js';

const now = new Date('2026-03-01T00:00:00Z');
const created = new Date('2026-01-01T00:00:00Z');
const manifest = encodeUtf8('{"schemaVersion":2}');
const digest = digestLike('sha256:', manifest);
const app = 'registry.example.com/ns/app';

async function signer(options: { isSubkey?: boolean } = {}) {
  const userIDs = [{ email: 'a@example.com' }];
  const subkeys = [{ sign: true }];
  const { privateKey } = await openpgp.generateKey({ userIDs, subkeys, date: created, format: 'object' });
  // As where the primary key is kept elsewhere.
  if (options.isSubkey === true) (privateKey.keyPacket as openpgp.SecretKeyPacket).makeDummy();
  return readSigner(privateKey.write(), { now });
}
const [alice, mallory] = [await signer(), await signer()];
const byAlice = { type: 'signedBy', keyType: 'GPGKeys', keyData: encodeBase64(alice.publicKey) };
const sign = (reference: string, manifestDigest = digest, by = alice) =>
  by.sign({ dockerReference: reference, manifestDigest }, now);

const ports: PolicyPorts = {
  readFile: async (path) => {
    if (path === '/alice.gpg') return alice.publicKey;
    throw new Error(`Cannot read ${path}: there is no such file`);
  },
  verifySigstoreSigned: async ({ annotations }) => {
    if (annotations['good'] !== 'yes') throw new Error('Cannot verify signature: it is bad');
    return 'somebody';
  },
  now,
};
const image = (reference: string, change: Partial<PolicyImage> = {}): PolicyImage => ({
  name: parseImageIdentity(reference),
  manifest,
  signatures: async () => [],
  attachments: async () => [],
  ...change,
});
const evaluate = (requirements: unknown[], of: PolicyImage) =>
  evaluatePolicy(parsePodmanPolicy(encodeUtf8(JSON.stringify({ default: requirements }))), of, ports);
const signed = (reference: string, ...objects: Uint8Array[]) => image(reference, { signatures: async () => objects });

describe('evaluatePolicy()', () => {
  it('accepts what the policy asks for, and says by whom it is', async () => {
    const decision = await evaluate([byAlice], signed(`${app}:v1`, await sign(`${app}:v1`)));
    expect(decision).toMatchObject({ allowed: true, scope: 'default', image: `${app}:v1`, manifestDigest: digest });
    expect(decision.requirements[0]?.detail).toContain(`is by key ${alice.fingerprint} for "${app}:v1"`);
    expect(decision.requirements[0]?.asked).toContain(`exactly ${app}:v1`);
  });

  it.each<[string, unknown[], () => Promise<PolicyImage>, string]>([
    ['no signature', [byAlice], async () => signed(`${app}:v1`), 'there is no signature'],
    ['another tag', [byAlice], async () => signed(`${app}:v1`, await sign(`${app}:v2`)), 'must be for exactly'],
    [
      'another repository',
      [byAlice],
      async () => signed(`${app}:v1`, await sign('registry.example.com/ns/b:v1')),
      'must be for exactly',
    ],
    [
      'another manifest',
      [byAlice],
      async () => signed(`${app}:v1`, await sign(`${app}:v1`, `sha256:${'a'.repeat(64)}`)),
      'it is for the manifest',
    ],
    [
      'another signer',
      [byAlice],
      async () => signed(`${app}:v1`, await sign(`${app}:v1`, digest, mallory)),
      'who is not among the keys',
    ],
    [
      'a payload that nobody signed',
      [byAlice],
      async () =>
        signed(
          `${app}:v1`,
          encodePayload({ type: 'atomic container signature', dockerReference: `${app}:v1`, manifestDigest: digest }),
        ),
      'nobody signed',
    ],
    [
      'reject',
      [{ type: 'reject' }],
      async () => signed(`${app}:v1`, await sign(`${app}:v1`)),
      'every image is refused',
    ],
    [
      'one of two requirements that fails',
      [{ type: 'insecureAcceptAnything' }, { type: 'reject' }],
      async () => image(app),
      'every image is refused',
    ],
    [
      'a type of keys that nobody has',
      [{ ...byAlice, keyType: 'X509Certificates' }],
      async () => signed(`${app}:v1`, await sign(`${app}:v1`)),
      'nobody has implemented keyType',
    ],
    [
      'signedBaseLayer',
      [{ type: 'signedBaseLayer', baseLayerIdentity: { type: 'matchExact' } }],
      async () => image(app),
      'nobody has implemented',
    ],
    [
      'a key file that is missing',
      [{ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/gone.gpg' }],
      async () => signed(`${app}:v1`, await sign(`${app}:v1`)),
      'could not be judged: Cannot read /gone.gpg',
    ],
    [
      'a storage that does not answer',
      [byAlice],
      async () => image(app, { signatures: () => Promise.reject(new Error('Cannot read it')) }),
      'could not be judged: Cannot read it',
    ],
    [
      'a key ring that is none',
      [{ ...byAlice, keyData: 'AAEC' }],
      async () => image(app),
      'could not be judged: Cannot read key ring',
    ],
  ])('refuses %s', async (_, requirements, make, reason) => {
    const decision = await evaluate(requirements, await make());
    expect(decision.allowed).toBe(false);
    expect(JSON.stringify(decision.requirements.filter(({ passed }) => !passed))).toContain(
      JSON.stringify(reason).slice(1, -1),
    );
  });

  it('refuses a subkey, as podman does, though its signature is good', async () => {
    const bySubkey = await signer({ isSubkey: true });
    const keys = { ...byAlice, keyData: encodeBase64(bySubkey.publicKey) };
    const decision = await evaluate([keys], signed(`${app}:v1`, await sign(`${app}:v1`, digest, bySubkey)));
    expect(decision.allowed).toBe(false);
    expect(decision.requirements[0]?.signatures[0]?.detail).toContain('primary keys only');
  });

  it('finds the one good signature among bad ones, and says what is wrong with those before it', async () => {
    const objects = [
      encodeUtf8('noise'),
      await sign(`${app}:v2`),
      await sign(`${app}:v1`),
      encodeUtf8('never looked at'),
    ];
    const { allowed, requirements } = await evaluate([byAlice], signed(`${app}:v1`, ...objects));
    expect(allowed).toBe(true);
    expect(requirements[0]?.signatures.map(({ accepted }) => accepted)).toEqual([false, false, true]);
  });

  it('reads key files, and asks for signatures once', async () => {
    let asked = 0;
    const object = await sign(`${app}:v1`);
    const counted = image(`${app}:v1`, { signatures: async () => (asked++, [object]) });
    const byFile = { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/alice.gpg' };
    expect((await evaluate([byFile, byFile], counted)).allowed).toBe(true);
    expect(asked).toBe(1);
  });

  it('accepts a digest with any tag of the repository, and only the manifest of that digest', async () => {
    const object = await sign(`${app}:v1`);
    expect((await evaluate([byAlice], signed(`${app}@${digest}`, object))).allowed).toBe(true);
    const other = image(`${app}@${digest}`, { manifest: encodeUtf8('{}') });
    await expect(evaluate([byAlice], other)).rejects.toThrow(
      expect.objectContaining({ code: 'SIMPLE_DIGEST' }) as Error,
    );
  });

  it('asks for the signature of the platform, not of the index', async () => {
    const index = encodeUtf8('{"manifests":[]}');
    const name = `${app}@${digestLike('sha256:', index)}`;
    const objects = [await sign(`${app}:v1`, digestLike('sha256:', index))];
    const ofPlatform = image(name, { index, signatures: async () => objects });
    expect((await evaluate([byAlice], ofPlatform)).allowed).toBe(false);
    objects.push(await sign(`${app}:v1`));
    expect(await evaluate([byAlice], ofPlatform)).toMatchObject({ allowed: true, manifestDigest: digest });
  });

  it('compares digests by the algorithm of the signature', async () => {
    const long = digestLike('sha512:', manifest);
    expect((await evaluate([byAlice], signed(`${app}:v1`, await sign(`${app}:v1`, long)))).allowed).toBe(true);
    expect(
      (
        await evaluate(
          [byAlice],
          signed(
            `${app}:v1`,
            await sign(
              `${app}:v1`,
              long
                .replace(/.$/, '0')
                .replace(/^(.{12})./, '$1x')
                .replace('x', '1'),
            ),
          ),
        )
      ).allowed,
    ).toBe(false);
  });

  it('takes signatures of Sigstore from the port, and judges their payload itself', async () => {
    const by = { type: 'sigstoreSigned', keyData: 'AAEC', signedIdentity: { type: 'matchRepository' } };
    const payload = (reference: string, manifestDigest = digest) =>
      encodePayload({ type: 'cosign container image signature', dockerReference: reference, manifestDigest });
    const attached = (...found: [Uint8Array, string][]) =>
      image(`${app}:v1`, {
        attachments: async () => found.map(([bytes, good]) => ({ payload: bytes, annotations: { good } })),
      });
    expect((await evaluate([by], attached([payload(app), 'yes']))).allowed).toBe(true);
    expect((await evaluate([by], attached([payload(app), 'no']))).allowed).toBe(false);
    expect((await evaluate([by], attached([payload('registry.example.com/ns/b'), 'yes']))).allowed).toBe(false);
    expect((await evaluate([by], attached([payload(app, `sha256:${'a'.repeat(64)}`), 'yes']))).allowed).toBe(false);
    expect((await evaluate([by], attached([encodeUtf8('{}'), 'yes']))).allowed).toBe(false);
    expect((await evaluate([by], attached())).allowed).toBe(false);
    // Its payload has no tag, and the default asks for one.
    expect((await evaluate([{ ...by, signedIdentity: undefined }], attached([payload(app), 'yes']))).allowed).toBe(
      false,
    );
  });

  it('does not take a fault of the program for a verdict', async () => {
    const broken = image(app, { signatures: () => Promise.reject(new TypeError('x is undefined')) });
    await expect(evaluate([byAlice], broken)).rejects.toThrow(TypeError);
  });
});
