import { generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import type { PkiFormat } from '#libs/entry';
import { findPkiFormat, PkiError, pkiFormats, x509KeyOf } from './index.js';

const loaded = vi.hoisted(() => ({ openpgp: 0 }));
vi.mock('openpgp', async (original) => {
  loaded.openpgp++;
  return original();
});

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
}

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const p256Pem = encodeUtf8(p256.publicKey.export({ type: 'spki', format: 'pem' }).toString());
const message = vector('message.txt');

// Minisign twice: its tools write two kinds of signatures.
const samples: readonly (readonly [string, Uint8Array, Uint8Array, Uint8Array])[] = [
  ['x509', p256Pem, message, new Uint8Array(sign('sha256', message, p256.privateKey))],
  ['minisign', vector('signify.pub'), message, vector('signify.sig')],
  ['minisign', vector('go-minisign.pub'), encodeUtf8('test'), vector('minisign-prehashed.sig')],
  ['ssh', vector('ssh-rsa.pub'), vector('ssh-message.txt'), vector('ssh-rsa.sig')],
  ['pgp', vector('pgp-rsa.asc'), message, vector('pgp-rsa.sig.asc')],
];

/** What it gives, or `PkiError`; anything else is thrown. */
async function attempt<T>(run: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof PkiError) return undefined;
    throw error;
  }
}

describe('pkiFormats', () => {
  it('does not load OpenPGP for the others', async () => {
    x509KeyOf(p256Pem);
    await pkiFormats.minisign.parseKey(vector('signify.pub'));
    expect(loaded.openpgp).toBe(0);
    await pkiFormats.pgp.parseKey(vector('pgp-rsa.asc'));
    expect(loaded.openpgp).toBe(1);
  });

  it.each(samples)('%s: verifies its own, and nothing of another format', async (name, key, signed, signature) => {
    const read = await findPkiFormat(name).parseKey(key);
    expect(await read.verify(signed, signature)).toBe(true);
    for (const [otherName, otherKey, , otherSignature] of samples) {
      if (otherName === name) continue;
      expect(await attempt(() => findPkiFormat(name).parseKey(otherKey))).toBeUndefined();
      expect(await read.verify(signed, otherSignature)).toBe(false);
    }
  });

  it.each(samples)(
    '%s: canonical keys and signatures are read again, and stay as they are',
    async (name, key, signed, signature) => {
      const { parseKey, canonicalSignature } = findPkiFormat(name);
      const read = await parseKey(key);
      const again = await parseKey(read.canonical);
      const canonical = await canonicalSignature(signature);
      expect(again).toMatchObject({ canonical: read.canonical, subjects: read.subjects });
      expect(await canonicalSignature(canonical)).toEqual(canonical);
      expect(await again.verify(signed, canonical)).toBe(true);
    },
  );

  async function checkTotal(format: PkiFormat, key: Uint8Array, signed: Uint8Array, input: Uint8Array): Promise<void> {
    const read = await attempt(() => format.parseKey(input));
    const canonical = await attempt(() => format.canonicalSignature(input));
    expect(read?.canonical.length).not.toBe(0);
    expect(canonical?.length).not.toBe(0);
    const whole = await format.parseKey(key);
    expect(typeof (await whole.verify(signed, input))).toBe('boolean');
  }

  it.each(samples)('%s: any bytes are read or refused with a PkiError', async (name, key, signed) => {
    const input = fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.string().map(encodeUtf8));
    await fc.assert(fc.asyncProperty(input, (bytes) => checkTotal(findPkiFormat(name), key, signed, bytes)));
  });

  it.each(samples)(
    '%s: the same for changed keys and signatures',
    { timeout: 30_000 },
    async (name, key, signed, signature) => {
      const change = fc.record({
        of: fc.constantFrom(key, signature),
        at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        remove: fc.nat(4),
        insert: fc.uint8Array({ maxLength: 4 }),
      });
      await fc.assert(
        fc.asyncProperty(change, async ({ of, at, remove, insert }) => {
          const place = Math.floor(at * of.length);
          const changed = Uint8Array.of(...of.subarray(0, place), ...insert, ...of.subarray(place + remove));
          await checkTotal(findPkiFormat(name), key, signed, changed);
        }),
      );
    },
  );
});

describe('findPkiFormat()', () => {
  it.each(['tuf', 'X509', '', 'constructor', '__proto__', 'toString'])('refuses "%s" in the words of Rekor', (name) => {
    expect(() => findPkiFormat(name)).toThrow(
      expect.objectContaining({
        code: 'PKI_FORMAT',
        searchDetail: 'the PKI format requested is not supported by this server',
      }),
    );
  });

  it('finds the four', () => {
    for (const name of ['x509', 'pgp', 'minisign', 'ssh'] as const) expect(findPkiFormat(name)).toBe(pkiFormats[name]);
  });
});

describe('PkiError', () => {
  it('has one sentence for a search with any key that cannot be read', () => {
    expect(() => x509KeyOf(encodeUtf8('no key'))).toThrow(
      expect.objectContaining({
        code: 'PKI_KEY',
        detail: 'invalid public key: failure decoding PEM',
        searchDetail: 'public key provided could not be parsed',
      }),
    );
  });
});
