import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodePem, encodeUtf8, parseJson, parsePem, parseUtf8 } from '#libs/encoding';
import { decryptKeyFile, encryptKeyFile, isKeyFile, KeyFileError, type KeyFileErrorCode } from './index.js';

const vector = (name: string) => readFileSync(join(import.meta.dirname, '../vectors', name), 'utf8');
const pem = vector('cosign-3.1.3.key');
const PASSWORD = 'correct horse';
const NEW = 'ENCRYPTED SIGSTORE PRIVATE KEY';

/** The JSON as the vector has it, for tests to break. */
interface KeyFileJson {
  kdf: { name: string; params: { N?: unknown; r: number; p: number; dkLen?: number }; salt: string };
  cipher: unknown;
  ciphertext: unknown;
  more?: number;
}

/** The vector with its JSON changed. */
const changed = (change: (file: KeyFileJson) => unknown, label = NEW) => {
  const file = JSON.parse(parseUtf8(parsePem(pem)[0]?.der ?? new Uint8Array())) as KeyFileJson;
  change(file);
  return encodePem(label, encodeUtf8(JSON.stringify(file)));
};
const codeOf = (read: () => unknown): KeyFileErrorCode | undefined => {
  try {
    read();
  } catch (error) {
    if (error instanceof KeyFileError) return error.code;
    throw error;
  }
  return undefined;
};

describe('decryptKeyFile()', () => {
  it("opens cosign's file", () => {
    const key = createPrivateKey({ key: Buffer.from(decryptKeyFile(pem, PASSWORD)), format: 'der', type: 'pkcs8' });
    expect(createPublicKey(key).export({ type: 'spki', format: 'pem' })).toBe(vector('cosign-3.1.3.pub'));
  });

  it('opens a file with the label of cosign 1', () => {
    expect(
      decryptKeyFile(
        changed(() => undefined, 'ENCRYPTED COSIGN PRIVATE KEY'),
        PASSWORD,
      ),
    ).toEqual(decryptKeyFile(pem, PASSWORD));
  });

  it('tells a wrong password from a broken file', () => {
    expect(codeOf(() => decryptKeyFile(pem, 'wrong'))).toBe('KEYFILE_PASSWORD');
    expect(codeOf(() => decryptKeyFile(pem, ''))).toBe('KEYFILE_PASSWORD');
  });

  const wrong: [string, KeyFileErrorCode, (file: KeyFileJson) => unknown][] = [
    ['another key derivation', 'KEYFILE_UNSUPPORTED', (f) => (f.kdf.name = 'argon2')],
    ['another cipher', 'KEYFILE_UNSUPPORTED', (f) => Object.assign(f.cipher as object, { name: 'aes' })],
    ['work that costs gigabytes', 'KEYFILE_UNSUPPORTED', (f) => (f.kdf.params.N = 2 ** 30)],
    ['work that costs nothing', 'KEYFILE_UNSUPPORTED', (f) => (f.kdf.params.N = 2)],
    ['a large block size', 'KEYFILE_UNSUPPORTED', (f) => (f.kdf.params.r = 8192)],
    ['much parallelism', 'KEYFILE_UNSUPPORTED', (f) => (f.kdf.params.p = 1_000_000)],
    ['a work factor as text', 'KEYFILE_UNSUPPORTED', (f) => (f.kdf.params.N = '65536')],
    ['no work factor', 'KEYFILE_MALFORMED', (f) => delete f.kdf.params.N],
    ['a member too many', 'KEYFILE_MALFORMED', (f) => (f.more = 1)],
    ['a parameter too many', 'KEYFILE_MALFORMED', (f) => (f.kdf.params.dkLen = 64)],
    ['a short salt', 'KEYFILE_MALFORMED', (f) => (f.kdf.salt = 'AAAA')],
    ['a salt that is not base64', 'KEYFILE_MALFORMED', (f) => (f.kdf.salt = '!')],
    ['a short nonce', 'KEYFILE_MALFORMED', (f) => Object.assign(f.cipher as object, { nonce: 'AAAA' })],
    ['a ciphertext without a key', 'KEYFILE_MALFORMED', (f) => (f.ciphertext = Buffer.alloc(16).toString('base64'))],
    ['a ciphertext that is no text', 'KEYFILE_MALFORMED', (f) => (f.ciphertext = 7)],
    ['a huge ciphertext', 'KEYFILE_MALFORMED', (f) => (f.ciphertext = Buffer.alloc(17_000).toString('base64'))],
    ['a list for the cipher', 'KEYFILE_MALFORMED', (f) => (f.cipher = [])],
    [
      'changed ciphertext',
      'KEYFILE_PASSWORD',
      (f) => {
        const box = Buffer.from(f.ciphertext as string, 'base64');
        box[20] = (box[20] ?? 0) ^ 1;
        f.ciphertext = box.toString('base64');
      },
    ],
  ];
  it.each(wrong)('refuses %s', (_, code, change) => {
    expect(codeOf(() => decryptKeyFile(changed(change), PASSWORD))).toBe(code);
  });

  it.each([
    ['two blocks', pem + pem],
    ['another label', changed(() => undefined, 'PRIVATE KEY')],
    ['text around the block', `hello\n${pem}`],
    ['no PEM at all', 'hello'],
    ['nothing', ''],
    ['a very long text', ' '.repeat(100_000)],
    ['a duplicate member', encodePem(NEW, encodeUtf8('{"kdf":{},"kdf":{}}'))],
    ['deep nesting', encodePem(NEW, encodeUtf8('['.repeat(1000)))],
  ])('refuses %s', (_, text) => {
    expect(codeOf(() => decryptKeyFile(text, PASSWORD))).toBe('KEYFILE_MALFORMED');
  });

  it('given any text, returns or throws its own error', () => {
    fc.assert(
      fc.property(fc.string(), fc.json(), (text, json) => {
        for (const input of [text, encodePem(NEW, encodeUtf8(json))]) {
          expect(codeOf(() => decryptKeyFile(input, ''))).toMatch(/^KEYFILE_(MALFORMED|UNSUPPORTED)$/);
        }
      }),
    );
  });
});

describe('encryptKeyFile()', () => {
  it('is undone by decryptKeyFile(), whatever key and password', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 3000 }),
        fc.string({ unit: 'grapheme' }),
        (key, password) => {
          expect(decryptKeyFile(encryptKeyFile(key, password, { random: randomBytes }), password)).toEqual(key);
        },
      ),
      { numRuns: 5 },
    );
  });

  it('writes what cosign writes, member for member', () => {
    const der = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'der' });
    const made = encryptKeyFile(der, '', { random: randomBytes });
    expect(isKeyFile(made)).toBe(true);
    const shape = (text: string) =>
      JSON.stringify(parseJson(parsePem(text)[0]?.der ?? ''), (_, value: unknown) =>
        typeof value === 'string' && value.length > 20 ? '…' : value,
      );
    expect(shape(made)).toBe(shape(pem));
  });

  it('refuses an empty key, a huge one, a huge password', () => {
    const random = randomBytes;
    expect(codeOf(() => encryptKeyFile(new Uint8Array(), '', { random }))).toBe('KEYFILE_MALFORMED');
    expect(codeOf(() => encryptKeyFile(new Uint8Array(20_000), '', { random }))).toBe('KEYFILE_MALFORMED');
    expect(codeOf(() => encryptKeyFile(new Uint8Array(9), 'x'.repeat(5000), { random }))).toBe('KEYFILE_MALFORMED');
  });
});
