import { spawnSync } from 'node:child_process';
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import * as openpgp from 'openpgp';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeUtf8, parseBase64Url, parseHex, parseUtf8 } from '#libs/encoding';
import { encodeArmor, isArmor, readArmor } from './pgp-armor.js';
import { encodePackets, type Packet, packetType, readPackets } from './pgp-packet.js';
import { pgpFormat } from './pgp.js';

const { parseKey, canonicalSignature } = pgpFormat;
const message = encodeUtf8('what is signed\r\nin two lines\n');
const hour = 3_600_000;
const created = new Date('2024-01-01T00:00:00Z');
const later = (hours: number) => new Date(created.getTime() + hours * hour);

function vector(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
}

type KeyOptions = Partial<Omit<openpgp.KeyOptions, 'format'>>;

function generate(options: KeyOptions = {}): Promise<openpgp.PrivateKey> {
  return openpgp
    .generateKey({ userIDs: [{ name: 'A', email: 'a@example.com' }], date: created, ...options, format: 'object' })
    .then(({ privateKey }) => privateKey);
}

const ring = (...keys: openpgp.PrivateKey[]) => concatBytes(...keys.map((key) => key.toPublic().write()));

async function signWith(
  key: openpgp.PrivateKey | openpgp.PrivateKey[],
  options: { over?: Uint8Array; text?: string; date?: Date } = {},
): Promise<Uint8Array> {
  const { over = message, text, date = later(1) } = options;
  const binary = await openpgp.createMessage({ binary: over });
  const signed: openpgp.Message<Uint8Array | string> =
    text === undefined ? binary : await openpgp.createMessage({ text });
  const made = await openpgp.sign({ message: signed, signingKeys: key, detached: true, format: 'binary', date });
  // Nothing was streamed in, so nothing is streamed out.
  return made as Uint8Array;
}

const packetsOf = (bytes: Uint8Array): Packet[] => readPackets(bytes, 1000) ?? [];
const key = await generate();
const other = await generate();
const signature = await signWith(key);

async function verifies(keys: Uint8Array, signed: Uint8Array, over = message): Promise<boolean> {
  return (await parseKey(keys)).verify(over, signed);
}

describe('pgpFormat, a known answer', () => {
  it('verifies a signature by GnuPG whose key expired long ago', async () => {
    const read = await parseKey(vector('pgp-rsa.asc'));
    const armored = vector('pgp-rsa.sig.asc');
    expect(await read.verify(vector('message.txt'), armored)).toBe(true);
    expect(await read.verify(vector('ssh-message.txt'), armored)).toBe(false);
    expect(await canonicalSignature(armored)).toEqual(armored);
    expect(read.subjects).toEqual(['not@real.com']);
    // The same packets, in headers of the current format.
    const canonical = readArmor(parseUtf8(read.canonical))?.[0]?.bytes ?? new Uint8Array();
    const sent = readArmor(parseUtf8(vector('pgp-rsa.asc')))?.[0]?.bytes ?? new Uint8Array();
    expect(canonical).not.toEqual(sent);
    expect(packetsOf(canonical)).toEqual(packetsOf(sent));
  });
});

describe('pgpFormat', () => {
  const kinds: [string, KeyOptions][] = [
    ['curve25519 (version 4, legacy EdDSA)', { type: 'ecc', curve: 'ed25519Legacy' }],
    ['curve25519', { type: 'curve25519' }],
    ['version 6', { type: 'curve25519', config: { v6Keys: true } }],
    ['NIST P-256', { type: 'ecc', curve: 'nistP256' }],
    ['NIST P-384', { type: 'ecc', curve: 'nistP384' }],
    ['NIST P-521', { type: 'ecc', curve: 'nistP521' }],
    ['RSA', { type: 'rsa', rsaBits: 2048 }],
    ['a subkey that signs', { subkeys: [{ sign: true }] }],
  ];
  it.each(kinds)('verifies signatures of %s, armoured or not, and of their canonical forms', async (_name, options) => {
    const mine = await generate(options);
    const made = await signWith(mine);
    const read = await parseKey(ring(mine));
    const again = await parseKey(read.canonical);
    const armored = await canonicalSignature(made);
    expect(parseUtf8(armored)).toMatch(/^-----BEGIN PGP SIGNATURE-----\n\n[^]*\n=....\n-----END PGP SIGNATURE-----$/);
    expect(await canonicalSignature(armored)).toEqual(armored);
    expect(again.canonical).toEqual(read.canonical);
    for (const each of [made, armored, concatBytes(encodeUtf8('\r\n'), armored, encodeUtf8('\n\n'))]) {
      expect(await read.verify(message, each)).toBe(true);
      expect(await again.verify(message, each)).toBe(true);
      expect(await read.verify(encodeUtf8('something else'), each)).toBe(false);
      expect(await verifies(ring(other), each)).toBe(false);
    }
  });

  it('verifies no signature with any signed or signing bit flipped', async () => {
    // Its signature is 64 bytes as they are; integers of the older forms have a length in bits, whose low bits say nothing.
    const mine = await generate({ type: 'curve25519' });
    const made = await signWith(mine);
    const read = await parseKey(ring(mine));
    expect(await read.verify(message, made)).toBe(true);
    const body = packetsOf(made)[0]?.body ?? new Uint8Array();
    const at = (offset: number) => made.length - body.length + offset;
    const size = (offset: number) => ((body[offset] ?? 0) << 8) | (body[offset + 1] ?? 0);
    // version, type, two algorithms, subpackets that are signed; then those that are not, and the signature
    const unsigned = at(6 + size(4));
    const value = unsigned + 2 + size(6 + size(4));
    for (let bit = 0; bit < made.length * 8; bit += 3) {
      if (bit >> 3 >= unsigned && bit >> 3 < value) continue;
      const flipped = new Uint8Array(made);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(await read.verify(message, flipped), `bit ${bit}`).toBe(false);
    }
    expect(await read.verify(message, made.subarray(0, -1))).toBe(false);
    expect(await read.verify(message, concatBytes(made, Uint8Array.of(0)))).toBe(false);
  });

  it('verifies signatures over text, whatever its line ends', async () => {
    const made = await signWith(key, { text: 'one\ntwo\n' });
    expect(packetsOf(made)[0]?.body[1]).toBe(1);
    expect(await verifies(ring(key), made, encodeUtf8('one\ntwo\n'))).toBe(true);
    expect(await verifies(ring(key), made, encodeUtf8('one\r\ntwo\r\n'))).toBe(true);
    expect(await verifies(ring(key), made, encodeUtf8('one\ntwo'))).toBe(false);
    for (const text of ['\n', '\r\n\n', '\r\r\n', 'a\rb', '\n\n\na', 'a\n\r']) {
      expect(await verifies(ring(key), await signWith(key, { text }), encodeUtf8(text)), JSON.stringify(text)).toBe(
        true,
      );
    }
  });

  it('finds the key in a ring of several, in several armours', async () => {
    const armored = encodeUtf8(`${other.toPublic().armor()}\n${key.toPublic().armor()}`);
    const read = await parseKey(armored);
    expect(await read.verify(message, signature)).toBe(true);
    expect(await read.verify(message, await signWith(other))).toBe(true);
    expect(read.canonical).toEqual((await parseKey(ring(other, key))).canonical);
    expect(read.subjects).toEqual(['a@example.com', 'a@example.com']);
  });

  it('goes by the first signature of a key in the ring', async () => {
    const bad = await signWith(key, { over: encodeUtf8('x') });
    expect(await verifies(ring(key), concatBytes(await signWith(other), signature))).toBe(true);
    expect(await verifies(ring(key), concatBytes(signature, bad))).toBe(true);
    expect(await verifies(ring(key), concatBytes(bad, signature))).toBe(false);
    expect(await verifies(ring(key), concatBytes(Uint8Array.of(0xca, 3, 0x50, 0x47, 0x50), signature))).toBe(true);
  });

  it('names the addresses that the key has certified, in order', async () => {
    const mine = await generate({
      userIDs: [{ email: 'first@example.com' }, { name: 'No Address' }, { name: 'B', email: 'b@example.com' }],
    });
    expect((await parseKey(ring(mine))).subjects).toEqual(['first@example.com', 'b@example.com']);
  });

  it('does not name an address that somebody else appended', async () => {
    const packets = packetsOf(ring(key));
    const foreign = packetsOf(ring(await generate({ userIDs: [{ email: 'victim@example.com' }] })));
    const [id] = foreign.filter(({ type }) => type === packetType.userId);
    const [certification] = foreign.filter(({ type }) => type === packetType.signature);
    if (id === undefined || certification === undefined) throw new Error('packets are missing');
    const mine = packets.filter(({ type }) => type === packetType.signature)[0];
    for (const appended of [[id], [id, certification], mine === undefined ? [] : [id, mine]]) {
      const read = await parseKey(encodePackets([...packets.slice(0, 3), ...appended]));
      expect(read.subjects).toEqual(['a@example.com']);
    }
  });

  it('asks whether the key was valid when it signed, not now', async () => {
    const expiring = await generate({ keyExpirationTime: 2 * 3600 });
    expect(await verifies(ring(expiring), await signWith(expiring))).toBe(true);
    const late = await openpgp.sign({
      message: await openpgp.createMessage({ binary: message }),
      signingKeys: await openpgp
        .reformatKey({
          privateKey: expiring,
          userIDs: [{ email: 'a@example.com' }],
          date: created,
          format: 'object',
        })
        .then(({ privateKey }) => privateKey),
      detached: true,
      format: 'binary',
      date: later(3),
    });
    expect(await verifies(ring(expiring), late as Uint8Array)).toBe(false);
    // The same key with its expiry put off after it signed.
    const { privateKey: prolonged } = await openpgp.reformatKey({
      privateKey: expiring,
      userIDs: [{ email: 'a@example.com' }],
      date: later(1.5),
      format: 'object',
    });
    expect(await verifies(ring(prolonged), await signWith(expiring))).toBe(true);
  });

  it.each([
    ['compromised later', openpgp.enums.reasonForRevocation.keyCompromised, 2, false],
    ['revoked later for no reason', openpgp.enums.reasonForRevocation.noReason, 2, false],
    ['retired before', openpgp.enums.reasonForRevocation.keyRetired, 0.5, false],
    ['retired later', openpgp.enums.reasonForRevocation.keyRetired, 2, true],
  ])('a signature by a key that was %s', async (_name, flag, hours, expected) => {
    const { publicKey } = await openpgp.revokeKey({
      key,
      reasonForRevocation: { flag },
      date: later(hours),
      format: 'object',
    });
    expect(await verifies(publicKey.write(), signature)).toBe(expected);
  });

  it('refuses a signature by a subkey that another key bound', async () => {
    const owner = await generate({ subkeys: [{ sign: true }] });
    const subkey = packetsOf(ring(owner)).slice(3);
    expect(subkey.map(({ type }) => type)).toEqual([packetType.publicSubkey, packetType.signature]);
    const made = await signWith(owner);
    expect(await verifies(ring(owner), made)).toBe(true);
    const thief = packetsOf(ring(await generate({ subkeys: [] })));
    expect(await verifies(encodePackets([...thief, ...subkey]), made)).toBe(false);
  });
});

/** An RSA key and its signatures, written by hand: what no implementation makes any more. */
function ancient(
  bits: number,
  options: { flags?: number } = {},
): { key: Uint8Array; sign: (options?: AncientSignature) => Uint8Array } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
  const time = new Uint8Array(4);
  new DataView(time.buffer).setUint32(0, created.getTime() / 1000);
  const body = concatBytes(Uint8Array.of(4), time, Uint8Array.of(1), mpi(parseBase64Url(n)), mpi(parseBase64Url(e)));
  const framed = concatBytes(Uint8Array.of(0x99), uint16(body.length), body);
  const keyId = new Uint8Array(createHash('sha1').update(framed).digest().subarray(12));
  const id = encodeUtf8('Ancient <ancient@example.com>');

  function signatureOf(
    type: number,
    signed: Uint8Array,
    { hash = 'sha256', issuer = keyId, extra = new Uint8Array() }: AncientSignature = {},
  ): Packet {
    const number = { md5: 1, sha1: 2, ripemd160: 3, sha256: 8 }[hash];
    const hashed = concatBytes(Uint8Array.of(5, 2), time, extra);
    const head = concatBytes(Uint8Array.of(4, type, 1, number), uint16(hashed.length), hashed);
    const trailer = concatBytes(Uint8Array.of(4, 0xff, 0, 0), uint16(head.length));
    const data = concatBytes(signed, head, trailer);
    const left = createHash(hash).update(data).digest().subarray(0, 2);
    const unhashed = issuer === undefined ? new Uint8Array() : concatBytes(Uint8Array.of(9, 16), issuer);
    const value = mpi(new Uint8Array(sign(hash, data, privateKey)));
    return { type: packetType.signature, body: concatBytes(head, uint16(unhashed.length), unhashed, left, value) };
  }

  const certified = concatBytes(framed, Uint8Array.of(0xb4, 0, 0), uint16(id.length), id);
  const extra = options.flags === undefined ? new Uint8Array() : Uint8Array.of(2, 27, options.flags);
  return {
    key: encodePackets([
      { type: packetType.publicKey, body },
      { type: packetType.userId, body: id },
      signatureOf(0x13, certified, { extra }),
    ]),
    sign: (signature) => encodePackets([signatureOf(0, message, signature)]),
  };
}

interface AncientSignature {
  readonly hash?: 'md5' | 'sha1' | 'ripemd160' | 'sha256';
  readonly issuer?: Uint8Array | undefined;
  /** Subpackets that are signed. */
  readonly extra?: Uint8Array;
}

const uint16 = (value: number) => Uint8Array.of(value >> 8, value & 0xff);

function mpi(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0);
  const bits = 8 * (bytes.length - start) - Math.clz32(bytes[start] ?? 0) + 24;
  return concatBytes(uint16(bits), bytes.subarray(start));
}

describe('pgpFormat, old algorithms', () => {
  const old = ancient(2048, { flags: 3 });

  it.each([
    ['sha256', true],
    ['sha1', true],
    ['md5', false],
    ['ripemd160', false],
  ] as const)('a signature over %s: %s, as in Rekor', async (hash, expected) => {
    expect((await parseKey(old.key)).subjects).toEqual(['ancient@example.com']);
    expect(await verifies(old.key, old.sign({ hash }))).toBe(expected);
  });

  it('refuses RSA below 1024 bits', async () => {
    const [enough, short] = [ancient(1024, { flags: 3 }), ancient(1016, { flags: 3 })];
    expect(await verifies(enough.key, enough.sign())).toBe(true);
    expect(await verifies(short.key, short.sign())).toBe(false);
  });

  it('refuses a signature that names nobody, or everybody', async () => {
    expect(await verifies(old.key, old.sign({ issuer: new Uint8Array(8) }))).toBe(false);
    expect(await verifies(old.key, old.sign({ issuer: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }))).toBe(false);
  });

  it('refuses a signature by a key that may only certify', async () => {
    const certifier = ancient(2048, { flags: 1 });
    expect(await verifies(certifier.key, certifier.sign())).toBe(false);
  });

  it('does not mind that a signature said it would expire, as Rekor does not', async () => {
    expect(await verifies(old.key, old.sign({ extra: Uint8Array.of(5, 3, 0, 0, 0, 60) }))).toBe(true);
  });

  it.each([
    [20, true],
    [0x80 | 20, false],
    [0x80 | 90, false],
  ])('refuses a subpacket that it does not understand if it is critical: type %i', async (type, expected) => {
    const notation = concatBytes(Uint8Array.of(type, 0x80, 0, 0, 0, 0, 1, 0, 1), encodeUtf8('ax'));
    const made = old.sign({ extra: concatBytes(Uint8Array.of(notation.length), notation) });
    expect(await verifies(old.key, made)).toBe(expected);
  });
});

describe('pgpFormat, wrong inputs', () => {
  const message_ = openpgp.createMessage({ text: 'x'.repeat(1000) });
  const publicArmor = key.toPublic().armor();
  const signatureArmor = parseUtf8(encodeUtf8(encodeArmor('PGP SIGNATURE', signature)));
  const packets = packetsOf(ring(key));
  const [signaturePacket] = packetsOf(signature);
  const curveKey = (curve: string) => {
    const point = concatBytes(Uint8Array.of(2, 3, 4), new Uint8Array(64));
    const body = concatBytes(Uint8Array.of(4, 0, 0, 0, 0, 19, curve.length / 2), parseHex(curve), point);
    return encodePackets([{ type: packetType.publicKey, body }]);
  };
  const retyped = (type: number) => {
    const body = new Uint8Array(signaturePacket?.body ?? []);
    body[1] = type;
    return encodePackets([{ type: packetType.signature, body }]);
  };
  const versioned = (version: number) => {
    const body = new Uint8Array(signaturePacket?.body ?? []);
    body[0] = version;
    return encodePackets([{ type: packetType.signature, body }]);
  };

  it.each<[string, () => Uint8Array | Promise<Uint8Array>]>([
    ['a key', () => ring(key)],
    ['an armoured key', () => encodeUtf8(publicArmor)],
    [
      'an inline signed message',
      async () => {
        const made = await openpgp.sign({ message: await message_, signingKeys: key, format: 'binary' });
        return made as Uint8Array;
      },
    ],
    [
      'a compressed message',
      async () => {
        const config = { preferredCompressionAlgorithm: openpgp.enums.compression.zlib };
        const made = await openpgp.encrypt({ message: await message_, passwords: 'x', config, format: 'binary' });
        return made as Uint8Array;
      },
    ],
    ['a compressed packet', () => Uint8Array.of(0xc8, 3, 1, 0, 0)],
    ['a compressed packet behind a signature', () => concatBytes(signature, Uint8Array.of(0xc8, 3, 1, 0, 0))],
    ['a literal packet', () => Uint8Array.of(0xcb, 3, 0x62, 0, 0)],
    [
      'a cleartext message',
      async () => {
        const cleartext = await openpgp.createCleartextMessage({ text: 'x' });
        return encodeUtf8(await openpgp.sign({ message: cleartext, signingKeys: key }));
      },
    ],
    ['a standalone signature, which signs nothing', () => retyped(2)],
    ['a certification', () => retyped(0x10)],
    ['a timestamp', () => retyped(0x40)],
    ['version 3', () => versioned(3)],
    ['version 5', () => versioned(5)],
    ['seventeen signatures', () => concatBytes(...Array.from({ length: 17 }, () => signature))],
    ['only a marker', () => Uint8Array.of(0xca, 3, 0x50, 0x47, 0x50)],
    ['a partial length', () => Uint8Array.of(0xc2, 0xe1, 4, 0, 1)],
    ['an indeterminate length', () => concatBytes(Uint8Array.of(0x8b), signature.subarray(2))],
    ['text in front of the armour', () => encodeUtf8(`hello\n${signatureArmor}`)],
    ['text behind the armour', () => encodeUtf8(`${signatureArmor}\nhello`)],
    ['two armours', () => encodeUtf8(`${signatureArmor}\n${signatureArmor}`)],
    ['an armour of another end', () => encodeUtf8(signatureArmor.replace('END PGP SIGNATURE', 'END PGP MESSAGE'))],
    ['an armour without a blank line', () => encodeUtf8(signatureArmor.replace('\n\n', '\n'))],
    ['an armour with a foreign character', () => encodeUtf8(signatureArmor.replace('\n\n', '\n\n*'))],
    ['nothing', () => new Uint8Array()],
  ])('refuses %s as a signature', async (_name, make) => {
    const bytes = await make();
    await expect(canonicalSignature(bytes)).rejects.toMatchObject({ code: 'PKI_SIGNATURE' });
    expect(await verifies(ring(key), bytes)).toBe(false);
  });

  it.each<[string, () => Uint8Array | Promise<Uint8Array>]>([
    ['a signature', () => signature],
    ['an armoured signature', () => encodeUtf8(signatureArmor)],
    ['a private key', () => key.write()],
    ['an armoured private key', () => encodeUtf8(key.armor())],
    ['a private key behind a public one', () => concatBytes(ring(other), key.write())],
    ['a user id in front', () => encodePackets([...packets.slice(1, 2), ...packets])],
    ['a literal packet behind it', () => concatBytes(ring(key), Uint8Array.of(0xcb, 3, 0x62, 0, 0))],
    ['a key that is cut', () => ring(key).subarray(0, -1)],
    ['a Brainpool curve', () => curveKey('2b2403030208010107')],
    ['secp256k1', () => curveKey('2b8104000a')],
    ['Ed448', async () => ring(await generate({ type: 'curve448' }))],
    [
      'an endless modulus',
      () =>
        encodePackets([
          {
            type: packetType.publicKey,
            body: concatBytes(
              Uint8Array.of(4, 0, 0, 0, 0, 1, 0xff, 0xff),
              new Uint8Array(8192).fill(1),
              Uint8Array.of(0, 2, 3),
            ),
          },
        ]),
    ],
    [
      'DSA',
      () =>
        encodePackets([
          { type: packetType.publicKey, body: Uint8Array.of(4, 0, 0, 0, 0, 17, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1) },
        ]),
    ],
    [
      'version 3',
      () =>
        encodePackets([{ type: packetType.publicKey, body: Uint8Array.of(3, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1) }]),
    ],
    [
      'more packets than anyone has',
      () =>
        encodePackets([
          ...packets,
          ...Array.from({ length: 1024 }, () => ({ type: packetType.userId, body: encodeUtf8('x') })),
        ]),
    ],
    [
      'too many certifications by itself',
      () =>
        encodePackets([
          ...packets.slice(0, 2),
          ...Array.from({ length: 129 }, () => packets[2]).flatMap((p) => (p === undefined ? [] : [p])),
        ]),
    ],
    [
      'too many signatures by a key over itself',
      async () => {
        const mine = await generate({ type: 'curve25519', config: { v6Keys: true } });
        const [first, direct, ...rest] = packetsOf(ring(mine));
        if (first === undefined || direct === undefined) throw new Error('packets are missing');
        expect([direct.type, direct.body[1]]).toEqual([packetType.signature, 0x1f]);
        return encodePackets([first, ...Array.from({ length: 129 }, () => direct), ...rest]);
      },
    ],
    ['too many keys', () => encodePackets([...packets, ...bareKeys(256)])],
    ['nothing', () => new Uint8Array()],
  ])('refuses %s as a key', async (_name, make) => {
    await expect(parseKey(await make())).rejects.toMatchObject({ code: 'PKI_KEY' });
  });

  /** The key without anything that it says of itself. */
  function bareKeys(count: number): Packet[] {
    const [first] = packets;
    if (first === undefined) throw new Error('packets are missing');
    return Array.from({ length: count }, () => first);
  }

  it('tries four keys of one id, because the message is hashed for each', async () => {
    expect(await verifies(encodePackets([...bareKeys(3), ...packets]), signature)).toBe(true);
    expect(await verifies(encodePackets([...bareKeys(4), ...packets]), signature)).toBe(false);
    expect(await verifies(encodePackets([...packets, ...bareKeys(200)]), signature)).toBe(true);
  });

  it('refuses long inputs before it looks at them', async () => {
    await expect(parseKey(new Uint8Array(262_145))).rejects.toMatchObject({ code: 'PKI_TOO_LARGE' });
    await expect(canonicalSignature(new Uint8Array(16_385))).rejects.toMatchObject({ code: 'PKI_TOO_LARGE' });
  });

  it('keeps neither what a key store adds nor pictures', async () => {
    const trust: Packet = { type: packetType.trust, body: Uint8Array.of(0, 0) };
    const picture: Packet = { type: packetType.userAttribute, body: Uint8Array.of(2, 1, 0) };
    const [first, id, certification, ...rest] = packets;
    if (first === undefined || id === undefined || certification === undefined) throw new Error('packets are missing');
    const added = [first, trust, id, certification, trust, picture, certification, ...rest];
    expect((await parseKey(encodePackets(added))).canonical).toEqual((await parseKey(ring(key))).canonical);
  });
});

describe('armour and packets', () => {
  const bytes = fc.uint8Array({ maxLength: 300 });

  it('armour is read again by us and by another implementation', async () => {
    await fc.assert(
      fc.asyncProperty(bytes, async (content) => {
        const text = encodeArmor('PGP SIGNATURE', content);
        expect(readArmor(text)).toEqual([{ label: 'PGP SIGNATURE', bytes: content }]);
        const theirs = await openpgp.unarmor(`${text}\n`, { ...openpgp.config });
        expect(new Uint8Array(theirs.data as Uint8Array)).toEqual(content);
      }),
    );
  });

  it('armour of another implementation is read, with headers and without a checksum', () => {
    const text = 'Version: x\nComment: some words\n';
    expect(
      readArmor(`-----BEGIN PGP MESSAGE-----\r\n${text}\r\n\r\nAAAA\r\n-----END PGP MESSAGE-----\r\n`),
    ).toBeUndefined();
    expect(readArmor(`-----BEGIN PGP MESSAGE-----\r\n${text}\r\nAAAA\r\n-----END PGP MESSAGE-----\r\n`)).toEqual([
      { label: 'PGP MESSAGE', bytes: new Uint8Array(3) },
    ]);
  });

  it('packets are read again, with every size of length', () => {
    const packet = fc.record({ type: fc.integer({ min: 1, max: 63 }), body: bytes });
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 5 }), (packets) => {
        expect(readPackets(encodePackets(packets), 5)).toEqual(packets);
      }),
    );
    for (const length of [0, 191, 192, 8383, 8384, 70_000]) {
      const packets = [{ type: 2, body: new Uint8Array(length) }];
      expect(readPackets(encodePackets(packets), 1)).toEqual(packets);
    }
  });

  it('legacy headers are read', () => {
    const body = new Uint8Array(300).fill(7);
    expect(readPackets(concatBytes(Uint8Array.of(0x88, 3), body.subarray(0, 3)), 1)).toEqual([
      { type: 2, body: body.subarray(0, 3) },
    ]);
    expect(readPackets(concatBytes(Uint8Array.of(0x89, 1, 44), body), 1)).toEqual([{ type: 2, body }]);
    expect(readPackets(concatBytes(Uint8Array.of(0x8a, 0, 0, 1, 44), body), 1)).toEqual([{ type: 2, body }]);
  });

  it('any bytes are packets or not', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (content) => {
        readPackets(content, 10);
        const text = Buffer.from(content).toString('latin1');
        if (!isArmor(text)) expect(readArmor(text)).toBeUndefined();
      }),
    );
  });
});

const installed = spawnSync('gpg', ['--version']).error === undefined;
if (!installed) console.warn('gpg is not installed: signatures of the tool itself are not tested');

describe.skipIf(!installed)('pgpFormat and GnuPG', () => {
  it('verifies what it signs, and it verifies our canonical forms', { timeout: 60_000 }, async () => {
    const home = mkdtempSync(join(tmpdir(), 'gnupg-'));
    const run = (args: string[], input?: Uint8Array) => {
      const quiet = [
        '--homedir',
        home,
        '--batch',
        '--quiet',
        '--no-tty',
        '--yes',
        '--passphrase',
        '',
        '--pinentry-mode',
        'loopback',
      ];
      const { status, stdout, stderr } = spawnSync('gpg', [...quiet, ...args], { input, cwd: home });
      expect(status, stderr.toString()).toBe(0);
      return new Uint8Array(stdout);
    };
    try {
      for (const type of ['ed25519', 'nistp256', 'rsa2048']) {
        const address = `${type}@example.com`;
        run(['--quick-generate-key', `Someone <${address}>`, type, 'sign', '1d']);
        for (const armor of [[], ['--armor']]) {
          const read = await parseKey(run([...armor, '--export', address]));
          expect(read.subjects).toEqual([address]);
          for (const form of ['--detach-sign', '--textmode --detach-sign', '--digest-algo SHA512 --detach-sign']) {
            const made = run([...armor, '--local-user', address, ...form.split(' ')], message);
            expect(await read.verify(message, made)).toBe(true);
            const canonical = await canonicalSignature(made);
            expect(await read.verify(message, canonical)).toBe(true);
            writeFileSync(join(home, 'canonical'), canonical);
            run(['--verify', 'canonical', '-'], message);
          }
          run(['--import'], read.canonical);
          expect(packetsOf(readArmor(parseUtf8(read.canonical))?.[0]?.bytes ?? new Uint8Array())).toEqual(
            packetsOf(run(['--export', address])),
          );
        }
      }
    } finally {
      spawnSync('gpgconf', ['--homedir', home, '--kill', 'all']);
      rmSync(home, { recursive: true, force: true });
    }
  });
});
