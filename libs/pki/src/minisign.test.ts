import { spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeBase64, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { minisignFormat } from './minisign.js';

const { parseKey, canonicalSignature } = minisignFormat;
const keyId = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const message = encodeUtf8('what is signed');

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
}

/** A key pair, and the files that minisign would write. */
function pair(): { key: Uint8Array; raw: Uint8Array; sign: (message: Uint8Array, algorithm?: string) => Uint8Array } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
  return {
    raw,
    key: encodeUtf8(`untrusted comment: mine\n${encodeBase64(concatBytes(encodeUtf8('Ed'), keyId, raw))}\n`),
    sign(signed, algorithm = 'Ed') {
      const input = algorithm === 'ED' ? createHash('blake2b512').update(signed).digest() : signed;
      const value = sign(null, input, privateKey);
      const global = sign(null, concatBytes(value, encodeUtf8('when and where')), privateKey);
      const blob = encodeBase64(concatBytes(encodeUtf8(algorithm), keyId, value));
      return encodeUtf8(
        `untrusted comment: by me\n${blob}\ntrusted comment: when and where\n${encodeBase64(global)}\n`,
      );
    },
  };
}

const lines = (bytes: Uint8Array) => parseUtf8(bytes).split('\n');
const text = (...parts: (string | undefined)[]) => encodeUtf8(parts.join('\n'));

describe('minisignFormat, known answers', () => {
  it.each([
    ['minisign', 'minisign.pub', 'minisign.sig', vector('message.txt')],
    ['signify', 'signify.pub', 'signify.sig', vector('message.txt')],
    ['over the message', 'go-minisign.pub', 'minisign-legacy.sig', encodeUtf8('test')],
    ['over a digest', 'go-minisign.pub', 'minisign-prehashed.sig', encodeUtf8('test')],
  ])('verifies a signature of %s, and its canonical form', async (_name, keyFile, signatureFile, signed) => {
    const key = await parseKey(vector(keyFile));
    const canonical = await canonicalSignature(vector(signatureFile));
    expect(await key.verify(signed, vector(signatureFile))).toBe(true);
    expect(await key.verify(signed, canonical)).toBe(true);
    expect(await key.verify(concatBytes(signed, Uint8Array.of(0)), canonical)).toBe(false);
    expect(await canonicalSignature(canonical)).toEqual(canonical);
    expect(parseUtf8(canonical)).toBe(`untrusted comment:\n${lines(vector(signatureFile))[1]}`);
  });

  it('keeps the 42 bytes of the key in base64, whatever stood around them', async () => {
    const bare = vector('go-minisign.pub');
    expect((await parseKey(bare)).canonical).toEqual(bare);
    expect((await parseKey(text('untrusted comment: x\r', `${parseUtf8(bare)}\r`, ''))).canonical).toEqual(bare);
    expect((await parseKey(vector('signify.pub'))).canonical).toEqual(text(lines(vector('signify.pub'))[1]));
  });
});

describe('minisignFormat', () => {
  const mine = pair();

  it('reads the bare 32 bytes that early entries kept', async () => {
    const key = await parseKey(mine.raw);
    expect(parseUtf8(key.canonical)).toBe(encodeBase64(concatBytes(encodeUtf8('Ed'), new Uint8Array(8), mine.raw)));
    expect(await key.verify(message, mine.sign(message))).toBe(true);
  });

  it('names nobody', async () => {
    expect((await parseKey(mine.key)).subjects).toEqual([]);
  });

  it.each(['Ed', 'ED'])(
    'refuses an %s signature by another key, over another message, or with any bit flipped',
    async (algorithm) => {
      const key = await parseKey(mine.key);
      const signature = mine.sign(message, algorithm);
      expect(await key.verify(message, signature)).toBe(true);
      expect(await key.verify(message, pair().sign(message, algorithm))).toBe(false);
      expect(await key.verify(encodeUtf8('something else'), signature)).toBe(false);
      const [comment, encoded = ''] = lines(signature);
      const blob = Buffer.from(encoded, 'base64');
      for (let bit = 80; bit < blob.length * 8; bit += 7) {
        const flipped = new Uint8Array(blob);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(await key.verify(message, text(comment, encodeBase64(flipped)))).toBe(false);
      }
    },
  );

  it('takes a signature over the digest for one over the message only if it says so', async () => {
    const key = await parseKey(mine.key);
    const [comment, encoded = ''] = lines(mine.sign(message, 'ED'));
    const blob = new Uint8Array(Buffer.from(encoded, 'base64'));
    blob[1] = 0x64;
    expect(await key.verify(message, text(comment, encodeBase64(blob)))).toBe(false);
  });

  const [comment, encoded = '', trusted, global] = lines(mine.sign(message));
  it.each([
    ['an unknown algorithm', text(comment, encoded.replace(/^RWQ/, 'RVM'))],
    ['one byte less', text(comment, encodeBase64(new Uint8Array(Buffer.from(encoded, 'base64')).subarray(0, -1)))],
    ['base64 without its padding', text(comment, encoded.slice(0, -1))],
    ['no comment', text(encoded, '')],
    ['another first line', text('trusted comment: x', encoded)],
    ['three lines', text(comment, encoded, trusted)],
    ['five lines', text(comment, encoded, trusted, global, 'more')],
    ['a trusted comment that is none', text(comment, encoded, 'x', global)],
    ['a global signature of another length', text(comment, encoded, trusted, 'AAAA')],
    ['bytes that are no text', Uint8Array.of(0xff, 0xfe)],
    ['nothing', new Uint8Array()],
  ])('refuses a signature with %s', async (_name, signature) => {
    expect(() => canonicalSignature(signature)).toThrow(expect.objectContaining({ code: 'PKI_SIGNATURE' }));
    expect(await (await parseKey(mine.key)).verify(message, signature)).toBe(false);
  });

  it.each([
    ['another algorithm', text(encodeBase64(concatBytes(encodeUtf8('ED'), keyId, mine.raw)))],
    ['one byte more', text(encodeBase64(concatBytes(encodeUtf8('Ed'), keyId, mine.raw, Uint8Array.of(0))))],
    ['a line behind it', text(...lines(mine.key), 'more')],
    ['another first line', text('comment', lines(mine.key)[1])],
    ['nothing', new Uint8Array()],
  ])('refuses a key with %s', (_name, key) => {
    expect(() => parseKey(key)).toThrow(expect.objectContaining({ code: 'PKI_KEY' }));
  });

  it('refuses a long input before it looks at it', () => {
    expect(() => parseKey(new Uint8Array(5000))).toThrow(expect.objectContaining({ code: 'PKI_TOO_LARGE' }));
    expect(() => canonicalSignature(new Uint8Array(5000))).toThrow(expect.objectContaining({ code: 'PKI_TOO_LARGE' }));
  });

  it('makes one canonical key and signature for every comment', async () => {
    const word = fc.string({ maxLength: 200, unit: 'grapheme' }).filter((s) => !/[\n\r]/.test(s));
    await fc.assert(
      fc.asyncProperty(word, word, fc.constantFrom('\n', '\r\n'), async (first, second, end) => {
        const key = encodeUtf8([`untrusted comment:${first}`, lines(mine.key)[1], ''].join(end));
        const signature = [`untrusted comment:${first}`, encoded, `trusted comment:${second}`, global].join(end);
        expect((await parseKey(key)).canonical).toEqual((await parseKey(mine.key)).canonical);
        expect(await canonicalSignature(encodeUtf8(signature))).toEqual(text('untrusted comment:', encoded));
      }),
    );
  });
});

const installed = spawnSync('minisign', ['-v']).error === undefined;
if (!installed) console.warn('minisign is not installed: signatures of the tool itself are not tested');

describe.skipIf(!installed)('minisignFormat and minisign', () => {
  it('verifies what the tool signs, in both forms', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'minisign-'));
    try {
      const run = (...args: string[]) => {
        const { status, stderr } = spawnSync('minisign', args, { cwd: folder, input: '\n\n' });
        expect(status, stderr.toString()).toBe(0);
      };
      writeFileSync(join(folder, 'file'), message);
      run('-G', '-W', '-p', 'key.pub', '-s', 'key');
      const key = await parseKey(new Uint8Array(readFileSync(join(folder, 'key.pub'))));
      for (const form of [[], ['-l']]) {
        run('-S', '-W', ...form, '-s', 'key', '-m', 'file', '-x', 'signature');
        const signature = new Uint8Array(readFileSync(join(folder, 'signature')));
        expect(await key.verify(message, signature)).toBe(true);
        expect(await key.verify(message, await canonicalSignature(signature))).toBe(true);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
