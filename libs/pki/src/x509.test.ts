import { constants, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  concatBytes,
  derBitString,
  derBoolean,
  derConstructed,
  derElement,
  derExplicit,
  derInteger,
  derOctetString,
  derOid,
  derSequence,
  derTag,
  derTime,
  derUtf8String,
  encodePem,
  encodeUtf8,
  parseHex,
  parseUtf8,
} from '#libs/encoding';
import { parsePublicKey, type Signer } from '#libs/crypto';
import { generateSigner, verifySync } from '#libs/openssl';
import { encodeAlgorithm, encodeName, issuingScheme, oid } from '#libs/x509';
import { PkiError } from './error.js';
import { x509Format, x509KeyOf } from './x509.js';

const message = encodeUtf8('what is signed');
const day = (number: number) => new Date(Date.UTC(2025, 0, number));

function leafVector(name: string): string {
  return readFileSync(new URL(`../../../test/vectors/x509/${name}`, import.meta.url), 'utf8');
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof PkiError) return error.code;
    throw error;
  }
  return undefined;
}

function detailOf(text: string): string {
  try {
    x509KeyOf(encodeUtf8(text));
  } catch (error) {
    if (error instanceof PkiError) return error.detail;
    throw error;
  }
  throw new Error('no error');
}

interface Profile {
  readonly name: string;
  readonly issuer?: string;
  readonly key?: Signer;
  readonly by?: Signer;
  readonly days?: readonly [number, number];
  readonly extensions?: readonly Uint8Array[];
}

function extension(type: string, critical: boolean, value: Uint8Array): Uint8Array {
  return derSequence(derOid(type), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
}

const caExtensions = (pathLength?: number) => [
  extension(
    oid.basicConstraints,
    true,
    derSequence(derBoolean(true), ...(pathLength === undefined ? [] : [derInteger(BigInt(pathLength))])),
  ),
];

const keys = { root: generateSigner(), middle: generateSigner('P-384'), leaf: generateSigner() };

/** DER of a certificate. */
function certify({
  name,
  issuer = name,
  key = keys.leaf,
  by = key,
  days = [1, 30],
  extensions = [],
}: Profile): Uint8Array {
  const algorithm = encodeAlgorithm(issuingScheme(by.publicKey)) ?? new Uint8Array();
  const tbs = derSequence(
    derExplicit(0, derInteger(2n)),
    derInteger(77n),
    algorithm,
    encodeName({ commonName: issuer }),
    derSequence(derTime(day(days[0])), derTime(day(days[1]))),
    encodeName({ commonName: name }),
    key.publicKey.spki,
    ...(extensions.length > 0 ? [derExplicit(3, derSequence(...extensions))] : []),
  );
  return derSequence(tbs, algorithm, derBitString(by.sign(tbs)));
}

const pem = (...certificates: Uint8Array[]) => certificates.map((der) => encodePem('CERTIFICATE', der)).join('');
const readChain = (...certificates: Uint8Array[]) => x509KeyOf(encodeUtf8(pem(...certificates)));

const root = certify({ name: 'root', key: keys.root, extensions: caExtensions() });
const middle = certify({
  name: 'middle',
  issuer: 'root',
  key: keys.middle,
  by: keys.root,
  extensions: caExtensions(0),
});
const leaf = certify({ name: 'leaf', issuer: 'middle', by: keys.middle });

describe('x509KeyOf()', () => {
  const key = generateSigner().publicKey;
  const canonical = encodePem('PUBLIC KEY', key.spki);

  it('reads a public key, and makes one canonical form of its spellings', () => {
    const spellings = [
      canonical,
      canonical.trimEnd(),
      `\n\n  ${canonical}  \n`,
      canonical.replaceAll('\n', '\r\n'),
      canonical.replaceAll('\n', ' \t\n'),
      `Some words in any \xe9ncoding\n${canonical}`,
      canonical.replace(/^(M.*)\n(.*)\n/m, '$1$2\n'),
    ];
    for (const text of spellings) {
      const read = x509KeyOf(Buffer.from(text, 'latin1'));
      expect(parseUtf8(read.canonical)).toBe(canonical);
      expect(read).toMatchObject({ subjects: [], publicKey: key });
      expect(read.certificate).toBeUndefined();
    }
  });

  it('reads a certificate that Fulcio issued long ago', () => {
    const text = leafVector('leaf-happy-path-v0.3-new-mediaType.pem');
    const read = x509KeyOf(encodeUtf8(text));
    expect(parseUtf8(read.canonical)).toBe(text);
    expect(read.subjects).toEqual([expect.stringMatching(/^https:\/\/github\.com\//)]);
    expect(read.certificate?.der).toBeInstanceOf(Uint8Array);
  });

  it.each([
    ['nothing', '', 'invalid public key: failure decoding PEM'],
    ['no PEM', 'hello', 'invalid public key: failure decoding PEM'],
    ['DER', '\x30\x59', 'invalid public key: failure decoding PEM'],
    ['no end', canonical.replace('-----END', '----END'), 'invalid public key: failure decoding PEM'],
    ['another end', canonical.replace('END PUBLIC', 'END'), 'invalid public key: failure decoding PEM'],
    ['text behind the block', `${canonical}more`, 'error during PEM decoding'],
    ['text behind the end', canonical.trimEnd() + ' more', 'invalid public key: failure decoding PEM'],
    ['a foreign character', canonical.replace('M', '*'), 'invalid public key: failure decoding PEM'],
    ['a header', canonical.replace('\n', '\nA: b\n\n'), 'invalid public key: failure decoding PEM'],
    [
      'eleven certificates',
      pem(...Array.from({ length: 11 }, () => root)),
      'too many certificates specified in PEM block',
    ],
    ['a broken block behind a good one', canonical + canonical.replace('M', '*'), 'error during PEM decoding'],
    ['a key of PKCS#1', encodePem('RSA PUBLIC KEY', key.spki), 'invalid public key: cannot handle type RSA PUBLIC KEY'],
    ['a private key', encodePem('PRIVATE KEY', key.spki), 'invalid public key: cannot handle type PRIVATE KEY'],
  ])('refuses %s in the words of Rekor', (_name, text, detail) => {
    expect(detailOf(text)).toBe(detail);
  });

  it.each([
    ['two keys', canonical + canonical],
    ['a key behind a certificate', pem(leaf) + canonical],
    ['a key that is none', encodePem('PUBLIC KEY', leaf)],
    ['a certificate that is none', encodePem('CERTIFICATE', key.spki)],
    ['a key with bytes behind it', encodePem('PUBLIC KEY', concatBytes(key.spki, Uint8Array.of(0)))],
    ['a certificate with bytes behind it', pem(concatBytes(leaf, Uint8Array.of(0)))],
  ])('refuses %s', (_name, text) => {
    expect(codeOf(() => x509KeyOf(encodeUtf8(text)))).toBe('PKI_KEY');
  });

  it('refuses a long text before it looks at it', () => {
    expect(codeOf(() => x509KeyOf(new Uint8Array(131_073)))).toBe('PKI_TOO_LARGE');
  });

  it('reads any bytes or throws its own error', () => {
    const parts = fc.constantFrom(
      '-----BEGIN ',
      'CERTIFICATE',
      'PUBLIC KEY',
      '-----',
      '-----END ',
      '\n',
      'MAMCAQE=',
      ' ',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(parts).map((some) => some.join('')),
          fc.string(),
          fc.base64String(),
        ),
        (text) => {
          expect(() => x509KeyOf(encodeUtf8(text))).toThrow(PkiError);
        },
      ),
    );
    fc.assert(
      fc.property(fc.nat(leaf.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = new Uint8Array(leaf);
        changed[at] = (changed[at] ?? 0) ^ change;
        codeOf(() => x509KeyOf(encodeUtf8(pem(changed))));
      }),
    );
  });

  it('is fast enough to be called for each entry', () => {
    const text = encodeUtf8(leafVector('leaf-happy-path-v0.3-new-mediaType.pem'));
    for (let i = 0; i < 300; i++) x509KeyOf(text);
    const start = process.hrtime.bigint();
    for (let i = 0; i < 300; i++) x509KeyOf(text);
    const microseconds = Number(process.hrtime.bigint() - start) / 300_000;
    // It takes 50; the bound leaves room for a busy machine.
    expect(microseconds).toBeLessThan(1000);
  });
});

describe('x509KeyOf(), subjects', () => {
  const general = (number: number, text: string) => derElement(derTag.contextPrimitive(number), encodeUtf8(text));
  const ip = (hex: string) => derElement(derTag.contextPrimitive(7), parseHex(hex));
  const userName = (text: string, type = '1.3.6.1.4.1.57264.1.7') =>
    derConstructed(derTag.context(0), [derOid(type), derExplicit(0, derUtf8String(text))]);
  const subjectsOf = (...names: Uint8Array[]) =>
    readChain(certify({ name: 'leaf', extensions: [extension(oid.subjectAltName, true, derSequence(...names))] }))
      .subjects;

  it('lists them by kind, in the order of Rekor', () => {
    expect(
      subjectsOf(
        userName('someone!example.com'),
        general(6, 'https://example.com/x'),
        ip('c0000201'),
        general(1, 'B@example.com'),
        general(2, 'b.example.com'),
        general(1, 'a@example.com'),
        general(2, 'a.example.com'),
      ),
    ).toEqual([
      'b.example.com',
      'a.example.com',
      'B@example.com',
      'a@example.com',
      '192.0.2.1',
      'https://example.com/x',
      'someone!example.com',
    ]);
  });

  it.each([
    ['20010db8000000000000000000000001', '2001:db8::1'],
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['20010db8000000010000000000000001', '2001:db8:0:1::1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['fe800000000000000000000000000000', 'fe80::'],
    ['00000000000000000000ffffc0000201', '192.0.2.1'],
  ])('writes the address %s as %s', (hex, text) => {
    expect(subjectsOf(ip(hex))).toEqual([text]);
  });

  it('leaves out user names when there is more than one otherName, or one of another type', () => {
    expect(subjectsOf(userName('a'), userName('b'), general(1, 'a@example.com'))).toEqual(['a@example.com']);
    expect(subjectsOf(userName('a'), userName('b', '1.2.3'), general(1, 'a@example.com'))).toEqual(['a@example.com']);
    expect(subjectsOf(userName('b', '1.2.3'), general(1, 'a@example.com'))).toEqual(['a@example.com']);
  });
});

describe('x509KeyOf(), chains', () => {
  it('accepts leaf, intermediate and root, and speaks of the leaf', () => {
    const read = readChain(leaf, middle, root);
    expect(parseUtf8(read.canonical)).toBe(pem(leaf, middle, root));
    expect(read.certificate?.der).toEqual(leaf);
    expect(read.publicKey).toEqual(keys.leaf.publicKey);
    expect(x509KeyOf(encodeUtf8(`leaf:\n${pem(leaf)}\nmiddle:\n${pem(middle)}`)).canonical).toEqual(
      encodeUtf8(pem(leaf, middle)),
    );
  });

  it('takes the last certificate as root, whether it signed itself or not, and intermediates in any order', () => {
    const low = certify({ name: 'low', issuer: 'high', key: keys.middle, by: keys.leaf, extensions: caExtensions() });
    const high = certify({ name: 'high', issuer: 'root', by: keys.root, extensions: caExtensions() });
    const end = certify({ name: 'end', issuer: 'low', by: keys.middle });
    expect(readChain(end, high, low, root).certificate?.der).toEqual(end);
    expect(readChain(end, low).certificate?.der).toEqual(end);
    expect(readChain(root, root).certificate?.der).toEqual(root);
  });

  it('takes a certificate and itself as it takes it alone', () => {
    const odd = certify({ name: 'leaf', issuer: 'nobody', by: keys.root });
    expect(readChain(odd, odd).certificate?.der).toEqual(odd);
  });

  it('asks about the time when the leaf became valid, not about now', () => {
    const early = certify({ name: 'leaf', issuer: 'root', by: keys.root, days: [1, 2] });
    const short = certify({ name: 'root', key: keys.root, days: [1, 3], extensions: caExtensions() });
    expect(readChain(early, short).certificate?.der).toEqual(early);
    const late = certify({ name: 'leaf', issuer: 'root', by: keys.root, days: [4, 5] });
    expect(codeOf(() => readChain(late, short))).toBe('PKI_CHAIN');
  });

  const critical = (type: string) => extension(type, true, Uint8Array.of(5, 0));
  it.each([
    ['the root first', [root, middle, leaf]],
    ['no intermediate', [leaf, root]],
    ['two strangers', [leaf, certify({ name: 'other', key: keys.root, extensions: caExtensions() })]],
    ['a signature by another key', [certify({ name: 'leaf', issuer: 'root', by: keys.middle }), root]],
    ['an issuer that is no CA', [certify({ name: 'x', issuer: 'leaf' }), certify({ name: 'leaf' })]],
    [
      'an issuer that may not sign certificates',
      [
        leaf,
        certify({
          name: 'middle',
          key: keys.middle,
          extensions: [...caExtensions(), extension(oid.keyUsage, true, derBitString(Uint8Array.of(0x80), 7))],
        }),
      ],
    ],
    [
      'a path length of zero with an intermediate',
      [
        leaf,
        certify({ name: 'middle', issuer: 'root', key: keys.middle, by: keys.root, extensions: caExtensions() }),
        certify({ name: 'root', key: keys.root, extensions: caExtensions(0) }),
      ],
    ],
    [
      'an expired root',
      [leaf, certify({ name: 'middle', key: keys.middle, days: [-30, -1], extensions: caExtensions() })],
    ],
    [
      'a leaf with a critical extension nobody knows',
      [certify({ name: 'leaf', issuer: 'root', by: keys.root, extensions: [critical('1.2.3.4')] }), root],
    ],
    [
      'an issuer with one',
      [leaf, certify({ name: 'middle', key: keys.middle, extensions: [...caExtensions(), critical('1.2.3.4')] })],
    ],
    [
      'an issuer with name constraints',
      [
        leaf,
        certify({
          name: 'middle',
          key: keys.middle,
          extensions: [...caExtensions(), extension(oid.nameConstraints, false, Uint8Array.of(5, 0))],
        }),
      ],
    ],
    [
      'an issuer whose constraints cannot be read',
      [
        leaf,
        certify({
          name: 'middle',
          key: keys.middle,
          extensions: [extension(oid.basicConstraints, true, Uint8Array.of(5, 0))],
        }),
      ],
    ],
  ])('refuses %s', (_name, certificates) => {
    expect(codeOf(() => readChain(...certificates))).toBe('PKI_CHAIN');
  });

  it('stops after a number of signatures, however the certificates name each other', () => {
    const twins = Array.from({ length: 8 }, () =>
      certify({ name: 'twin', key: generateSigner(), by: keys.leaf, extensions: caExtensions() }),
    );
    const end = certify({ name: 'end', issuer: 'twin', by: keys.leaf });
    expect(codeOf(() => readChain(end, ...twins, root))).toBe('PKI_CHAIN');
  });

  it('looks at nothing of a lone certificate', () => {
    const odd = certify({ name: 'leaf', issuer: 'nobody', by: keys.root, extensions: [critical('1.2.3.4')] });
    expect(readChain(odd).certificate?.der).toEqual(odd);
  });
});

describe('x509Format, signatures', () => {
  const rows = [
    ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' }), 'sha256'],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }), 'sha256'],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' }), 'sha256'],
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 }), 'sha256'],
    ['Ed25519', generateKeyPairSync('ed25519'), null],
  ] as const;

  it.each(rows)('verifies %s with SHA-256, or pure Ed25519', async (_name, { privateKey, publicKey }, hash) => {
    const key = x509KeyOf(encodeUtf8(publicKey.export({ type: 'spki', format: 'pem' }).toString()));
    const signature = new Uint8Array(sign(hash, message, privateKey));
    expect(await key.verify(message, signature)).toBe(true);
    expect(await x509Format.canonicalSignature(signature)).toEqual(signature);
    expect(await key.verify(encodeUtf8('something else'), signature)).toBe(false);
    expect(
      await x509KeyOf(encodeUtf8(encodePem('PUBLIC KEY', generateSigner().publicKey.spki))).verify(message, signature),
    ).toBe(false);
    expect(await key.verify(message, signature.subarray(0, -1))).toBe(false);
    expect(await key.verify(message, concatBytes(signature, Uint8Array.of(0)))).toBe(false);
    expect(await key.verify(message, new Uint8Array())).toBe(false);
    expect(await key.verify(message, new Uint8Array(5000))).toBe(false);
    for (let bit = 0; bit < signature.length * 8; bit += 29) {
      const flipped = new Uint8Array(signature);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await key.verify(message, flipped)).toBe(false);
    }
  });

  it('refuses the hash of the curve for larger curves, PSS, and RSA below 1024 bits', async () => {
    const of = (pair: { publicKey: { export(o: { type: 'spki'; format: 'pem' }): string | Buffer } }) =>
      x509KeyOf(encodeUtf8(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()));
    const [, p384, , rsa] = rows.map(([, pair]) => pair);
    if (p384 === undefined || rsa === undefined) throw new Error('rows are missing');
    expect(await of(p384).verify(message, new Uint8Array(sign('sha384', message, p384.privateKey)))).toBe(false);
    const pss = sign('sha256', message, { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING });
    expect(await of(rsa).verify(message, new Uint8Array(pss))).toBe(false);
    const short = generateKeyPairSync('rsa', { modulusLength: 1016 });
    const signature = new Uint8Array(sign('sha256', message, short.privateKey));
    const spki = parsePublicKey(new Uint8Array(short.publicKey.export({ type: 'spki', format: 'der' })));
    expect(verifySync(spki, { kind: 'rsa-pkcs1', hash: 'sha256' }, message, signature)).toBe(true);
    expect(await of(short).verify(message, signature)).toBe(false);
  });

  it.each(rows.slice(0, 3))('verifies %s in the fixed-length form of its own length only', async (_name, pair) => {
    const key = x509KeyOf(encodeUtf8(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()));
    const options = { key: pair.privateKey, dsaEncoding: 'ieee-p1363' } as const;
    const signature = new Uint8Array(sign('sha256', message, options));
    expect(await key.verify(message, signature)).toBe(true);
    expect(await key.verify(encodeUtf8('something else'), signature)).toBe(false);
    expect(await key.verify(message, concatBytes(Uint8Array.of(0), signature, Uint8Array.of(0)))).toBe(false);
    const half = signature.length / 2;
    const padded = [signature.subarray(0, half), signature.subarray(half)].flatMap((part) => [Uint8Array.of(0), part]);
    expect(await key.verify(message, concatBytes(...padded))).toBe(false);
    expect(await key.verify(message, new Uint8Array(signature.length))).toBe(false);
  });

  it('verifies with the key of a certificate', async () => {
    const read = readChain(leaf, middle, root);
    const privateKey = createPrivateKey(keys.leaf.exportPkcs8Pem());
    expect(await read.verify(message, new Uint8Array(sign('sha256', message, privateKey)))).toBe(true);
  });

  it('refuses an empty and an endless signature', () => {
    expect(codeOf(() => x509Format.canonicalSignature(new Uint8Array()))).toBe('PKI_SIGNATURE');
    expect(codeOf(() => x509Format.canonicalSignature(new Uint8Array(5000)))).toBe('PKI_TOO_LARGE');
  });
});
