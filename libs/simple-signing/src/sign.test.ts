import * as openpgp from 'openpgp';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeUtf8 } from '#libs/encoding';
import { readKeyRing } from './key-ring.js';
import { parsePayload } from './payload.js';
import { readSigner } from './sign.js';

const now = new Date('2026-03-01T00:00:00Z');
const created = new Date('2026-01-01T00:00:00Z');
const digest = `sha256:${'a'.repeat(64)}`;
const payload = {
  dockerReference: 'registry.example.com/ns/app:v1',
  manifestDigest: digest,
  creator: 'test',
  timestamp: 5,
};

type KeyOptions = Partial<Omit<openpgp.KeyOptions, 'format'>>;
const generate = (options: KeyOptions = {}): Promise<openpgp.PrivateKey> =>
  openpgp
    .generateKey({ userIDs: [{ email: 'a@example.com' }], date: created, ...options, format: 'object' })
    .then(({ privateKey }) => privateKey);
const code = (expected: string) => expect.objectContaining({ name: 'SimpleSigningError', code: expected }) as Error;

describe('readSigner()', () => {
  it.each<[string, KeyOptions]>([
    ['curve25519', {}],
    ['RSA', { type: 'rsa', rsaBits: 2048 }],
    ['a passphrase', { passphrase: 'secret' }],
  ])('signs with a key of %s, armoured or not, what its public key verifies', async (_, options) => {
    const key = await generate(options);
    for (const file of [encodeUtf8(key.armor()), key.write()]) {
      const signer = await readSigner(file, { passphrase: options.passphrase, now });
      expect(signer.fingerprint).toBe(key.getFingerprint().toUpperCase());
      const object = await signer.sign(payload, now);
      const { content, fingerprint } = await (await readKeyRing([signer.publicKey])).verify(object, now);
      expect(fingerprint).toBe(signer.fingerprint);
      expect(parsePayload(content)).toEqual({ type: 'atomic container signature', ...payload });
    }
  });

  it('signs with the primary key though a subkey could, and with a subkey if the primary key is not there', async () => {
    const key = await generate({ subkeys: [{ sign: true }] });
    const whole = await readSigner(key.write(), { now });
    expect(whole.signingFingerprint).toBe(whole.fingerprint);
    (key.keyPacket as openpgp.SecretKeyPacket).makeDummy();
    const split = await readSigner(key.write(), { now });
    expect(split.signingFingerprint).toBe(key.subkeys[0]?.getFingerprint().toUpperCase());
    const verified = await (await readKeyRing([split.publicKey])).verify(await split.sign(payload, now), now);
    expect(verified.signingFingerprint).toBe(split.signingFingerprint);
  });

  it('takes one key of several by its fingerprint, in any spelling of it', async () => {
    const [one, two] = [await generate(), await generate()];
    const file = concatBytes(one.write(), two.write());
    const spaced = two.getFingerprint().replace(/(.{4})/g, '$1 ');
    expect((await readSigner(file, { now, fingerprint: spaced })).fingerprint).toBe(two.getFingerprint().toUpperCase());
    await expect(readSigner(file, { now })).rejects.toThrow('which one is meant');
    await expect(readSigner(file, { now, fingerprint: 'ab' })).rejects.toThrow(code('SIMPLE_KEY'));
  });

  it.each<[string, string, () => Promise<{ file: Uint8Array; passphrase?: string }>]>([
    ['no passphrase', 'SIMPLE_PASSPHRASE', async () => ({ file: (await generate({ passphrase: 'secret' })).write() })],
    [
      'another passphrase',
      'SIMPLE_PASSPHRASE',
      async () => ({ file: (await generate({ passphrase: 'secret' })).write(), passphrase: 'secreT' }),
    ],
    ['a public key', 'SIMPLE_KEY', async () => ({ file: (await generate()).toPublic().write() })],
    ['noise', 'SIMPLE_KEY', async () => ({ file: encodeUtf8('no key') })],
    ['megabytes', 'SIMPLE_TOO_LARGE', async () => ({ file: new Uint8Array(1_000_000) })],
    [
      'an expired key',
      'SIMPLE_KEY_STATE',
      async () => ({ file: (await generate({ keyExpirationTime: 3600 })).write() }),
    ],
    [
      'a revoked key',
      'SIMPLE_KEY_STATE',
      async () => ({
        file: (await openpgp.revokeKey({ key: await generate(), date: created, format: 'object' })).privateKey.write(),
      }),
    ],
    [
      'a key without its private part',
      'SIMPLE_KEY_STATE',
      async () => {
        const key = await generate();
        (key.keyPacket as openpgp.SecretKeyPacket).makeDummy();
        return { file: key.write() };
      },
    ],
  ])('refuses %s (%s)', async (_, expected, make) => {
    const { file, passphrase } = await make();
    const error: unknown = await readSigner(file, { passphrase, now }).catch((caught: unknown) => caught);
    expect(error).toEqual(code(expected));
    expect(String(error)).not.toContain('secre');
  });
});
