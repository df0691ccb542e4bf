import { spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { concatBytes, encodeBase64, encodePem, encodeUtf8, parseBase64Url, parseUtf8 } from '#libs/encoding';
import { parseEcdsaSignature } from '#libs/crypto';
import { readPem } from './pem.js';
import { sshString } from './ssh-wire.js';
import { sshFormat } from './ssh.js';

const { parseKey, canonicalSignature } = sshFormat;
const message = encodeUtf8('what is signed\n');

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
}

const name = (text: string) => sshString(encodeUtf8(text));
const uint32 = (value: number) => Uint8Array.of(0, 0, value >> 8, value & 0xff);

function mpint(value: bigint): Uint8Array {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return sshString((bytes[0] ?? 0) > 0x7f ? concatBytes(Uint8Array.of(0), bytes) : bytes);
}

interface Pair {
  readonly blob: Uint8Array;
  readonly line: Uint8Array;
  /** The `signature` field: algorithm and value. */
  sign(data: Uint8Array): Uint8Array;
}

function pairOf(type: string, fields: Uint8Array, signField: (data: Uint8Array) => Uint8Array): Pair {
  const blob = concatBytes(name(type), fields);
  return { blob, line: encodeUtf8(`${type} ${encodeBase64(blob)} someone@example.com\n`), sign: signField };
}

function ed25519Pair(): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }).subarray(-32));
  return pairOf('ssh-ed25519', sshString(raw), (data) =>
    concatBytes(name('ssh-ed25519'), sshString(sign(null, data, privateKey))),
  );
}

function ecdsaPair(curve: 'nistp256' | 'nistp384' | 'nistp521', hash: string): Pair {
  const named = { nistp256: 'P-256', nistp384: 'P-384', nistp521: 'P-521' }[curve];
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: named });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const point = concatBytes(Uint8Array.of(4), parseBase64Url(x), parseBase64Url(y));
  const type = `ecdsa-sha2-${curve}`;
  return pairOf(type, concatBytes(name(curve), sshString(point)), (data) => {
    const { r, s } = parseEcdsaSignature(new Uint8Array(sign(hash, data, privateKey)));
    return concatBytes(name(type), sshString(concatBytes(mpint(r), mpint(s))));
  });
}

function rsaPair(algorithm: string, hash: string, bits = 2048): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return pairOf('ssh-rsa', rsaFields(publicKey), (data) =>
    concatBytes(name(algorithm), sshString(sign(hash, data, privateKey))),
  );
}

function rsaFields(key: KeyObject): Uint8Array {
  const { n = '', e = '' } = key.export({ format: 'jwk' });
  const integer = (text: string) => mpint(BigInt(`0x${Buffer.from(text, 'base64url').toString('hex')}`));
  return concatBytes(integer(e), integer(n));
}

interface Wrap {
  readonly magic?: string;
  readonly version?: number;
  readonly key?: Uint8Array;
  readonly namespace?: string;
  readonly reserved?: string;
  readonly hash?: string;
  readonly signature?: Uint8Array;
  readonly tail?: Uint8Array;
}

/** The SSHSIG blob; what is signed is consistent with the fields unless `signature` is given. */
function wrap(pair: Pair, wrong: Wrap = {}): Uint8Array {
  const { magic = 'SSHSIG', version = 1, key = pair.blob, namespace = 'file', reserved = '', hash = 'sha512' } = wrong;
  const digest = createHash(hash === 'sha384' ? 'sha384' : hash === 'sha256' ? 'sha256' : 'sha512')
    .update(message)
    .digest();
  const data = concatBytes(encodeUtf8('SSHSIG'), name(namespace), name(reserved), name(hash), sshString(digest));
  return concatBytes(
    encodeUtf8(magic),
    uint32(version),
    sshString(key),
    name(namespace),
    name(reserved),
    name(hash),
    sshString(wrong.signature ?? pair.sign(data)),
    wrong.tail ?? new Uint8Array(),
  );
}

const armor = (blob: Uint8Array) => encodeUtf8(encodePem('SSH SIGNATURE', blob));

describe('sshFormat, a known answer', () => {
  it('verifies a signature by ssh-keygen with an RSA key, and its canonical form', async () => {
    const key = await parseKey(vector('ssh-rsa.pub'));
    const signature = vector('ssh-rsa.sig');
    const canonical = await canonicalSignature(signature);
    expect(await key.verify(vector('ssh-message.txt'), signature)).toBe(true);
    expect(await key.verify(vector('ssh-message.txt'), canonical)).toBe(true);
    expect(await key.verify(vector('message.txt'), signature)).toBe(false);
    // The same bytes in lines of 64 characters instead of 70.
    expect(parseUtf8(canonical).replaceAll('\n', '')).toBe(parseUtf8(signature).replaceAll('\n', ''));
    expect(parseUtf8(canonical).split('\n')[1]).toHaveLength(64);
    expect(parseUtf8(key.canonical)).toBe(parseUtf8(vector('ssh-rsa.pub')).replace(' test@rekor.dev', ''));
    expect(key.subjects).toEqual([]);
  });
});

const pairs: readonly (readonly [string, Pair])[] = [
  ['Ed25519', ed25519Pair()],
  ['ECDSA P-256', ecdsaPair('nistp256', 'sha256')],
  ['ECDSA P-384', ecdsaPair('nistp384', 'sha384')],
  ['ECDSA P-521', ecdsaPair('nistp521', 'sha512')],
  ['RSA with SHA-256', rsaPair('rsa-sha2-256', 'sha256')],
  ['RSA with SHA-512', rsaPair('rsa-sha2-512', 'sha512')],
];

describe.each(pairs)('sshFormat, %s', (_name, pair) => {
  it('verifies over both hashes, and no other message, key or bit', async () => {
    const key = await parseKey(pair.line);
    for (const hash of ['sha256', 'sha512']) {
      const blob = wrap(pair, { hash });
      expect(await key.verify(message, armor(blob))).toBe(true);
      expect(await canonicalSignature(armor(blob))).toEqual(armor(blob));
      expect(await key.verify(encodeUtf8('something else'), armor(blob))).toBe(false);
    }
    const blob = wrap(pair);
    expect(await (await parseKey(ed25519Pair().line)).verify(message, armor(blob))).toBe(false);
    for (let bit = 0; bit < blob.length * 8; bit += 37) {
      const flipped = new Uint8Array(blob);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await key.verify(message, armor(flipped))).toBe(false);
    }
  });

  it('keeps the line without its comment', async () => {
    const key = await parseKey(concatBytes(encodeUtf8('# mine\r\n\n'), pair.line));
    expect(parseUtf8(key.canonical)).toBe(parseUtf8(pair.line).replace(' someone@example.com', ''));
    expect((await parseKey(key.canonical)).canonical).toEqual(key.canonical);
  });
});

describe('sshFormat, wrong signatures', () => {
  const mine = ed25519Pair();
  const other = ed25519Pair();
  it.each<readonly [string, Wrap]>([
    ['another preamble', { magic: 'SSHSIH' }],
    ['version 2', { version: 2 }],
    ['the namespace of git', { namespace: 'git' }],
    ['a reserved field that is signed as well', { reserved: 'x' }],
    ['SHA-384', { hash: 'sha384' }],
    ['bytes behind the last field', { tail: Uint8Array.of(0) }],
    ['bytes behind the inner signature', { signature: concatBytes(mine.sign(message), Uint8Array.of(0)) }],
    ['a key that is none', { key: encodeUtf8('key') }],
  ])('refuses %s', async (_name, wrong) => {
    const signature = armor(wrap(mine, wrong));
    expect(() => canonicalSignature(signature)).toThrow(expect.objectContaining({ code: 'PKI_SIGNATURE' }));
    expect(await (await parseKey(mine.line)).verify(message, signature)).toBe(false);
  });

  it('refuses a good signature that names another key', async () => {
    const signature = armor(wrap(mine, { key: other.blob }));
    expect(await (await parseKey(mine.line)).verify(message, signature)).toBe(false);
    expect(await (await parseKey(other.line)).verify(message, signature)).toBe(false);
  });

  it('refuses the algorithm of another key type, and RSA with SHA-1', async () => {
    const [type = new Uint8Array(), value = new Uint8Array()] = [name('ssh-rsa'), mine.sign(message).subarray(19)];
    expect(
      await (await parseKey(mine.line)).verify(message, armor(wrap(mine, { signature: concatBytes(type, value) }))),
    ).toBe(false);
    const sha1 = rsaPair('ssh-rsa', 'sha1');
    expect(await (await parseKey(sha1.line)).verify(message, armor(wrap(sha1)))).toBe(false);
  });

  it('refuses RSA below 1024 bits', async () => {
    const short = rsaPair('rsa-sha2-256', 'sha256', 1016);
    expect(await (await parseKey(short.line)).verify(message, armor(wrap(short)))).toBe(false);
  });

  const good = parseUtf8(armor(wrap(mine)));
  it.each([
    ['text behind the block', `${good}more`],
    ['a second block', good + good],
    ['another label', good.replaceAll('SSH SIGNATURE', 'SSH SIGNATURES')],
    ['no end', good.replace(/-----END.*/, '')],
    ['the end of its last line missing', good.replace(/.{4}\n-----END/, '\n-----END')],
    ['nothing', ''],
  ])('refuses %s', (_name, text) => {
    expect(() => canonicalSignature(encodeUtf8(text))).toThrow(expect.objectContaining({ code: 'PKI_SIGNATURE' }));
  });

  it('refuses long inputs before it looks at them', () => {
    expect(() => parseKey(new Uint8Array(9000))).toThrow(expect.objectContaining({ code: 'PKI_TOO_LARGE' }));
    expect(() => canonicalSignature(new Uint8Array(9000))).toThrow(expect.objectContaining({ code: 'PKI_TOO_LARGE' }));
  });
});

describe('sshFormat, wrong keys', () => {
  const mine = ed25519Pair();
  const line = (type: string, ...fields: Uint8Array[]) => `${type} ${encodeBase64(concatBytes(name(type), ...fields))}`;
  const point = new Uint8Array(65).fill(4);
  it.each([
    ['two lines', parseUtf8(mine.line) + parseUtf8(ed25519Pair().line)],
    ['options in front', `no-pty ${parseUtf8(mine.line)}`],
    ['the type of another', parseUtf8(mine.line).replace('ssh-ed25519', 'ssh-rsa')],
    ['31 bytes', line('ssh-ed25519', sshString(new Uint8Array(31)))],
    ['bytes behind it', line('ssh-ed25519', sshString(new Uint8Array(32)), Uint8Array.of(0))],
    ['the name of another curve', line('ecdsa-sha2-nistp256', name('nistp384'), sshString(point))],
    ['a point that is not on the curve', line('ecdsa-sha2-nistp256', name('nistp256'), sshString(point))],
    ['a DSA key', line('ssh-dss', sshString(new Uint8Array(20)))],
    ['a security key', line('sk-ssh-ed25519@openssh.com', sshString(new Uint8Array(32)), name('ssh:'))],
    ['a negative modulus', line('ssh-rsa', mpint(65537n), sshString(new Uint8Array(256).fill(0xff)))],
    [
      'a modulus with a zero in front',
      line('ssh-rsa', mpint(65537n), sshString(new Uint8Array(256).fill(1).fill(0, 0, 1))),
    ],
    ['only a comment', '# nothing here'],
    ['nothing', ''],
  ])('refuses %s', (_name, text) => {
    expect(() => parseKey(encodeUtf8(text))).toThrow(expect.objectContaining({ code: 'PKI_KEY' }));
  });
});

const installed = spawnSync('ssh-keygen', ['-?']).error === undefined;
if (!installed) console.warn('ssh-keygen is not installed: signatures of the tool itself are not tested');

describe.skipIf(!installed)('sshFormat and ssh-keygen', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sshsig-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const run = (args: string[], input?: Uint8Array) => {
    const { status, stdout, stderr } = spawnSync('ssh-keygen', args, { cwd: folder, input });
    expect(status, stderr.toString()).toBe(0);
    return new Uint8Array(stdout);
  };

  it.each([
    ['ed25519', '256'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
    ['rsa', '2048'],
  ])('verifies what it signs, and it verifies our canonical form: %s %s', async (type, bits) => {
    const file = `key-${type}-${bits}`;
    run(['-q', '-t', type, '-b', bits, '-N', '', '-C', 'someone@example.com', '-f', file]);
    chmodSync(join(folder, file), 0o600);
    const key = await parseKey(new Uint8Array(readFileSync(join(folder, `${file}.pub`))));
    for (const hash of ['sha256', 'sha512']) {
      const signature = run(['-Y', 'sign', '-n', 'file', '-O', `hashalg=${hash}`, '-f', file], message);
      expect(await key.verify(message, signature)).toBe(true);
      writeFileSync(join(folder, 'canonical'), await canonicalSignature(signature));
      writeFileSync(join(folder, 'signers'), `someone ${parseUtf8(key.canonical)}`);
      run(['-Y', 'verify', '-n', 'file', '-I', 'someone', '-f', 'signers', '-s', 'canonical'], message);
    }
    const git = run(['-Y', 'sign', '-n', 'git', '-f', file], message);
    expect(await key.verify(message, git)).toBe(false);
    expect(readPem(parseUtf8(git), 1)).toMatchObject({ blocks: [{ label: 'SSH SIGNATURE' }], rest: 'nothing' });
  });
});
