import { randomBytes } from 'node:crypto';
import { deflateRawSync, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import * as openpgp from 'openpgp';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeUtf8 } from '#libs/encoding';
import { SimpleSigningError } from './error.js';
import { readKeyRing } from './key-ring.js';
import { openMessage } from './message.js';
import { encodePackets, type Packet, packetType, readPackets } from './packet.js';

const hour = 3_600_000;
const created = new Date('2026-01-01T00:00:00Z');
const later = (hours: number) => new Date(created.getTime() + hours * hour);
const now = later(10);
const content = encodeUtf8('what is signed');

type KeyOptions = Partial<Omit<openpgp.KeyOptions, 'format'>>;
const generate = (options: KeyOptions = {}): Promise<openpgp.PrivateKey> =>
  openpgp
    .generateKey({ userIDs: [{ email: 'a@example.com' }], date: created, ...options, format: 'object' })
    .then(({ privateKey }) => privateKey);
const publicBytes = (key: openpgp.Key) => key.toPublic().write();

async function sign(
  key: openpgp.PrivateKey | openpgp.PrivateKey[],
  options: {
    date?: Date;
    over?: Uint8Array;
    config?: openpgp.PartialConfig;
    detached?: boolean;
    signatureNotations?: openpgp.RawNotation[];
  } = {},
): Promise<Uint8Array> {
  const { date = later(1), over = content, ...rest } = options;
  const message = await openpgp.createMessage({ binary: over });
  // Nothing was streamed in, so nothing is streamed out.
  return (await openpgp.sign({ message, signingKeys: key, format: 'binary', date, ...rest })) as Uint8Array;
}

/** The package asks whether the key is good; here it does not. */
async function signUnchecked(
  by: openpgp.PrivateKey,
  { date, expiresSeconds }: { date: Date; expiresSeconds?: number },
): Promise<Uint8Array> {
  const signature = new openpgp.SignaturePacket();
  Object.assign(signature, {
    signatureType: openpgp.enums.signature.binary,
    publicKeyAlgorithm: by.keyPacket.algorithm,
    hashAlgorithm: openpgp.enums.hash.sha512,
    issuerKeyVersion: 4,
    issuerFingerprint: by.keyPacket.getFingerprintBytes(),
    issuerKeyID: by.getKeyID(),
    ...(expiresSeconds !== undefined && { signatureExpirationTime: expiresSeconds, signatureNeverExpires: false }),
  });
  const [literal] = (await openpgp.createMessage({ binary: content })).packets;
  if (literal === undefined) throw new Error('a message has a packet');
  // The package's types leave out the last argument.
  const packet = signature as unknown as { sign(...given: unknown[]): Promise<void> };
  await packet.sign(by.keyPacket, literal, date, false, openpgp.config);
  const list = new openpgp.PacketList<openpgp.AnyPacket>();
  list.push(signature, literal);
  return list.write();
}

const key = await generate();
const other = await generate();
const object = await sign(key);
const verify = async (keys: Uint8Array[], message: Uint8Array, at = now) =>
  (await readKeyRing(keys)).verify(message, at);
const code = (expected: string) => expect.objectContaining({ name: 'SimpleSigningError', code: expected }) as Error;
const packetsOf = (bytes: Uint8Array): Packet[] => readPackets(bytes, 1000) ?? [];
const compressed = (algorithm: number, data: Uint8Array): Uint8Array =>
  encodePackets([{ type: packetType.compressed, body: concatBytes(Uint8Array.of(algorithm), data) }]);

describe('KeyRing.verify()', () => {
  const kinds: [string, KeyOptions][] = [
    ['curve25519 (version 4, legacy EdDSA)', { type: 'ecc', curve: 'ed25519Legacy' }],
    ['curve25519', { type: 'curve25519' }],
    ['version 6', { type: 'curve25519', config: { v6Keys: true } }],
    ['NIST P-256', { type: 'ecc', curve: 'nistP256' }],
    ['NIST P-384', { type: 'ecc', curve: 'nistP384' }],
    ['RSA', { type: 'rsa', rsaBits: 2048 }],
  ];
  it.each(kinds)('verifies a message by a key of %s', async (_, options) => {
    const mine = await generate(options);
    const verified = await verify([publicBytes(other), publicBytes(mine)], await sign(mine));
    expect(Buffer.from(verified.content)).toEqual(Buffer.from(content));
    expect(verified.fingerprint).toBe(mine.getFingerprint().toUpperCase());
    expect(verified.signingFingerprint).toBe(verified.fingerprint);
    expect(verified.created).toEqual(later(1));
    expect(verified.userIds).toEqual(['<a@example.com>']);
  });

  it('verifies a message by a subkey, and says both', async () => {
    const mine = await generate({ subkeys: [{ sign: true }] });
    const verified = await verify([publicBytes(mine)], await sign(mine));
    expect(verified.fingerprint).toBe(mine.getFingerprint().toUpperCase());
    expect(verified.signingFingerprint).toBe(mine.subkeys[0]?.getFingerprint().toUpperCase());
  });

  it('reads rings with armour, of several keys, in several files, with keys that are not supported', async () => {
    const dsaLike = encodePackets([{ type: packetType.publicKey, body: Uint8Array.of(4, 0, 0, 0, 1, 17, 0, 8, 255) }]);
    const armored = encodeUtf8(`${other.toPublic().armor()}\n${key.toPublic().armor()}`);
    for (const files of [[armored], [publicBytes(other), publicBytes(key)], [concatBytes(dsaLike, publicBytes(key))]]) {
      await expect(verify(files, object)).resolves.toBeDefined();
    }
    await expect(readKeyRing([dsaLike])).rejects.toThrow(code('SIMPLE_KEY'));
  });

  it('reads the compressions that have a bound, and lengths in pieces', async () => {
    const ring = await readKeyRing([publicBytes(key)]);
    for (const each of [
      compressed(0, object),
      compressed(1, deflateRawSync(object)),
      compressed(2, deflateSync(object)),
      concatBytes(Uint8Array.of(0xa3, 1), deflateRawSync(object)),
      concatBytes(encodePackets([{ type: packetType.marker, body: encodeUtf8('PGP') }]), object),
    ]) {
      await expect(ring.verify(each, now)).resolves.toBeDefined();
    }
    const [onePass, literal, signature] = packetsOf(object);
    if (!onePass || !literal || !signature) throw new Error('three packets');
    // The body of the literal packet as 16 bytes and the rest, and the old order without the first packet.
    const pieces = concatBytes(
      Uint8Array.of(0xcb, 0xe4),
      literal.body.subarray(0, 16),
      Uint8Array.of(literal.body.length - 16),
      literal.body.subarray(16),
    );
    await expect(
      ring.verify(concatBytes(encodePackets([onePass]), pieces, encodePackets([signature])), now),
    ).resolves.toBeDefined();
    await expect(ring.verify(encodePackets([signature, literal]), now)).resolves.toBeDefined();
  });

  const objections: [string, string, () => Promise<{ keys: Uint8Array[]; object: Uint8Array; at?: Date }>][] = [
    ['another key', 'SIMPLE_SIGNER', async () => ({ keys: [publicBytes(other)], object })],
    [
      'changed content',
      'SIMPLE_SIGNATURE',
      async () => {
        const changed = packetsOf(object).map(({ type, body }) => {
          const copy = new Uint8Array(body);
          if (type === packetType.literal) copy[copy.length - 1] = (copy.at(-1) ?? 0) ^ 1;
          return { type, body: copy };
        });
        return { keys: [publicBytes(key)], object: encodePackets(changed) };
      },
    ],
    [
      'a key that has expired since',
      'SIMPLE_KEY_STATE',
      async () => {
        const mine = await generate({ keyExpirationTime: 5 * 3600 });
        return { keys: [publicBytes(mine)], object: await sign(mine) };
      },
    ],
    [
      'a key that was revoked after it signed, as retired',
      'SIMPLE_KEY_STATE',
      async () => {
        const mine = await generate();
        const reason = { flag: openpgp.enums.reasonForRevocation.keyRetired };
        const { publicKey } = await openpgp.revokeKey({
          key: mine,
          reasonForRevocation: reason,
          date: later(5),
          format: 'object',
        });
        return { keys: [publicBytes(publicKey)], object: await sign(mine) };
      },
    ],
    [
      'a key that will be revoked',
      'SIMPLE_KEY_STATE',
      async () => {
        const mine = await generate();
        const reason = { flag: openpgp.enums.reasonForRevocation.keySuperseded };
        const { publicKey } = await openpgp.revokeKey({
          key: mine,
          reasonForRevocation: reason,
          date: later(50),
          format: 'object',
        });
        return { keys: [publicBytes(publicKey)], object: await sign(mine) };
      },
    ],
    [
      'a key that was revoked in another copy of it',
      'SIMPLE_KEY_STATE',
      async () => {
        const mine = await generate();
        const { publicKey } = await openpgp.revokeKey({ key: mine, date: later(5), format: 'object' });
        return { keys: [publicBytes(mine), publicBytes(publicKey)], object: await sign(mine) };
      },
    ],
    [
      'a key that was revoked by somebody else, whom it may have appointed',
      'SIMPLE_KEY_STATE',
      async () => {
        const mine = await generate();
        const revocation = await openpgp
          .revokeKey({ key: other, date: later(5), format: 'object' })
          .then(({ publicKey }) => packetsOf(publicBytes(publicKey))[1]);
        if (revocation === undefined) throw new Error('a revocation follows the key');
        const [primary, ...rest] = packetsOf(publicBytes(mine)) as [Packet, ...Packet[]];
        return { keys: [encodePackets([primary, revocation, ...rest])], object: await sign(mine) };
      },
    ],
    [
      'a key that was revoked in the format of version 3',
      'SIMPLE_KEY_STATE',
      async () => {
        const mine = await generate();
        const [primary, ...rest] = packetsOf(publicBytes(mine)) as [Packet, ...Packet[]];
        // version, 5, type, 4 octets time, 8 octets key ID, public-key algorithm, hash algorithm, 2 octets, an integer
        const body = concatBytes(Uint8Array.of(3, 5, 0x20), new Uint8Array(12), Uint8Array.of(1, 2, 0, 0, 0, 1, 1));
        const revocation = { type: packetType.signature, body };
        return { keys: [encodePackets([primary, revocation, ...rest])], object: await sign(mine) };
      },
    ],
    [
      'a critical notation that nobody knows',
      'SIMPLE_SIGNATURE',
      async () => {
        const value = encodeUtf8('only on Sundays');
        const signatureNotations = [{ name: 'when@example.com', value, humanReadable: true, critical: true }];
        return { keys: [publicBytes(key)], object: await sign(key, { signatureNotations }) };
      },
    ],
    [
      'a key that was made after it signed',
      'SIMPLE_SIGNATURE',
      async () => {
        const mine = await generate({ date: later(2) });
        return { keys: [publicBytes(mine)], object: await signUnchecked(mine, { date: later(1) }) };
      },
    ],
    [
      'a signature from the future',
      'SIMPLE_SIGNATURE',
      async () => ({ keys: [publicBytes(key)], object: await sign(key, { date: later(20) }) }),
    ],
    [
      'a key that only encrypts',
      'SIMPLE_SIGNER',
      async () => {
        // Its encryption subkey is not read at all: the ring has no key of this id.
        const mine = await generate();
        const id = mine.subkeys[0]?.getKeyID().bytes ?? '';
        const primary = mine.getKeyID().bytes;
        const bytes = Buffer.from(await sign(mine))
          .toString('latin1')
          .replaceAll(primary, id);
        return { keys: [publicBytes(mine)], object: new Uint8Array(Buffer.from(bytes, 'latin1')) };
      },
    ],
    [
      'SHA-1',
      'SIMPLE_SIGNATURE',
      async () => {
        const mine = await generate({ type: 'rsa', rsaBits: 2048 });
        mine.users[0]?.selfCertifications.forEach((one) => (one.preferredHashAlgorithms = [openpgp.enums.hash.sha1]));
        const weak = {
          nonDeterministicSignaturesViaNotation: false,
          preferredHashAlgorithm: openpgp.enums.hash.sha1,
          rejectHashAlgorithms: new Set<openpgp.enums.hash>(),
          rejectMessageHashAlgorithms: new Set<openpgp.enums.hash>(),
        };
        const made = await sign(mine, { config: weak });
        expect(packetsOf(made)[2]?.body[3]).toBe(openpgp.enums.hash.sha1);
        return { keys: [publicBytes(mine)], object: made };
      },
    ],
    [
      'a detached signature',
      'SIMPLE_MESSAGE',
      async () => ({ keys: [publicBytes(key)], object: await sign(key, { detached: true }) }),
    ],
    [
      'a cleartext signature',
      'SIMPLE_MESSAGE',
      async () => {
        const message = await openpgp.createCleartextMessage({ text: 'what is signed' });
        return {
          keys: [publicBytes(key)],
          object: encodeUtf8(await openpgp.sign({ message, signingKeys: key, date: later(1) })),
        };
      },
    ],
    [
      'armour',
      'SIMPLE_MESSAGE',
      async () => ({
        keys: [publicBytes(key)],
        object: encodeUtf8(openpgp.armor(openpgp.enums.armor.message, object)),
      }),
    ],
    ['two messages', 'SIMPLE_MESSAGE', async () => ({ keys: [publicBytes(key)], object: concatBytes(object, object) })],
    [
      'a message behind a compressed one',
      'SIMPLE_MESSAGE',
      async () => ({
        keys: [publicBytes(key)],
        object: concatBytes(Uint8Array.of(0xa3, 1), deflateRawSync(object), object),
      }),
    ],
    [
      'two compressed messages',
      'SIMPLE_MESSAGE',
      async () => ({
        keys: [publicBytes(key)],
        object: concatBytes(compressed(2, deflateSync(object)), compressed(2, deflateSync(object))),
      }),
    ],
    ['two signatures', 'SIMPLE_MESSAGE', async () => ({ keys: [publicBytes(key)], object: await sign([key, other]) })],
    [
      'a message compressed twice',
      'SIMPLE_MESSAGE',
      async () => ({
        keys: [publicBytes(key)],
        object: compressed(1, deflateRawSync(compressed(1, deflateRawSync(object)))),
      }),
    ],
    [
      'a message that nobody signed',
      'SIMPLE_MESSAGE',
      async () => ({ keys: [publicBytes(key)], object: encodePackets(packetsOf(object).slice(1, 2)) }),
    ],
    [
      'text instead of bytes',
      'SIMPLE_MESSAGE',
      async () => {
        const message = await openpgp.createMessage({ text: 'what is signed' });
        return {
          keys: [publicBytes(key)],
          object: (await openpgp.sign({ message, signingKeys: key, format: 'binary', date: later(1) })) as Uint8Array,
        };
      },
    ],
    [
      'a one-pass packet about another signature',
      'SIMPLE_MESSAGE',
      async () => {
        const changed = packetsOf(object).map(({ type, body }) => ({ type, body: new Uint8Array(body) }));
        changed[0]?.body.set([8], 2);
        return { keys: [publicBytes(key)], object: encodePackets(changed) };
      },
    ],
    [
      'a payload without signature',
      'SIMPLE_MESSAGE',
      async () => ({ keys: [publicBytes(key)], object: encodeUtf8('{"critical":{},"optional":{}}') }),
    ],
    [
      'the format of Sigstore in the same storage',
      'SIMPLE_MESSAGE',
      async () => ({ keys: [publicBytes(key)], object: encodeUtf8('\0sigstore-json\n{}') }),
    ],
    ['BZip2', 'SIMPLE_MESSAGE', async () => ({ keys: [publicBytes(key)], object: compressed(3, object) })],
    [
      'damaged compression',
      'SIMPLE_MESSAGE',
      async () => ({ keys: [publicBytes(key)], object: compressed(2, object) }),
    ],
    ['nothing', 'SIMPLE_MESSAGE', async () => ({ keys: [publicBytes(key)], object: new Uint8Array() })],
    ['megabytes', 'SIMPLE_TOO_LARGE', async () => ({ keys: [publicBytes(key)], object: new Uint8Array(1_000_000) })],
    [
      'a bomb: 64 MB in 64 KB',
      'SIMPLE_TOO_LARGE',
      async () => {
        const data = deflateRawSync(new Uint8Array(60_000_000));
        expect(data.length).toBeLessThan(65_000);
        return { keys: [publicBytes(key)], object: compressed(1, data) };
      },
    ],
  ];
  it.each(objections)('refuses %s (%s)', async (_, expected, make) => {
    const { keys, object: made, at } = await make();
    const begun = performance.now();
    await expect(verify(keys, made, at)).rejects.toThrow(code(expected));
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  it('does not let an expired signature count', async () => {
    const made = await signUnchecked(key, { date: later(1), expiresSeconds: 3600 });
    await expect(verify([publicBytes(key)], made, later(1.5))).resolves.toBeDefined();
    await expect(verify([publicBytes(key)], made, later(3))).rejects.toThrow(/expired/i);
  });

  it('refuses an object with any bit of the signature flipped', async () => {
    // Its signature is the last 64 bytes as they are; integers of the older forms have a length in bits, whose low bits say nothing.
    const mine = await generate({ type: 'curve25519' });
    const made = await sign(mine);
    const ring = await readKeyRing([publicBytes(mine)]);
    for (let bit = (made.length - 64) * 8; bit < made.length * 8; bit += 5) {
      const flipped = new Uint8Array(made);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await expect(ring.verify(flipped, now), `bit ${bit}`).rejects.toThrow(SimpleSigningError);
    }
  });

  it('takes any bytes or refuses them by its own error', async () => {
    const ring = await readKeyRing([publicBytes(key)]);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.nat({ max: object.length }), async (bytes, at) => {
        await expect(ring.verify(bytes, now)).rejects.toThrow(SimpleSigningError);
        const spliced = concatBytes(object.subarray(0, at), bytes, object.subarray(at + bytes.length));
        await ring.verify(spliced, now).catch((error: unknown) => expect(error).toBeInstanceOf(SimpleSigningError));
      }),
    );
  });
});

describe('openMessage()', () => {
  it('takes any list of packets or refuses it by its own error', () => {
    const packets = fc.array(
      fc.record({ type: fc.constantFrom(...Object.values(packetType)), body: fc.uint8Array({ maxLength: 40 }) }),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(packets, (list) => {
        const bytes = encodePackets(list);
        expect(readPackets(bytes, 10)).toEqual(list);
        try {
          openMessage(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(SimpleSigningError);
        }
      }),
    );
  });
});

describe('readKeyRing()', () => {
  it.each<[string, () => Uint8Array | Promise<Uint8Array>, string]>([
    ['nothing', () => new Uint8Array(), 'SIMPLE_KEY'],
    ['a private key', () => key.write(), 'SIMPLE_KEY'],
    ['the armour of a private key', () => encodeUtf8(key.armor()), 'SIMPLE_KEY'],
    ['malformed armour', () => encodeUtf8(key.toPublic().armor().replace('-----END', '-----DNE')), 'SIMPLE_KEY'],
    ['a signature', () => object, 'SIMPLE_KEY'],
    ['noise', () => new Uint8Array(randomBytes(1000)), 'SIMPLE_KEY'],
    ['megabytes', () => new Uint8Array(2_000_000), 'SIMPLE_TOO_LARGE'],
    [
      'thousands of packets',
      () =>
        encodePackets([
          ...packetsOf(publicBytes(key)),
          ...Array.from({ length: 5000 }, () => ({ type: packetType.trust, body: new Uint8Array(1) })),
        ]),
      'SIMPLE_KEY',
    ],
    [
      'hundreds of signatures by itself',
      () => {
        const packets = packetsOf(publicBytes(key));
        const certification = packets[2] ?? { type: packetType.signature, body: new Uint8Array() };
        // Each a little different, and so none a copy.
        const many = Array.from({ length: 500 }, (_, i) => {
          const body = new Uint8Array(certification.body);
          body.set([i >> 8, i & 255], body.length - 2);
          return { type: packetType.signature, body };
        });
        return encodePackets([...packets.slice(0, 3), ...many]);
      },
      'SIMPLE_KEY',
    ],
  ])('refuses %s, soon', async (_, make, expected) => {
    const bytes = await make();
    const begun = performance.now();
    await expect(readKeyRing([bytes])).rejects.toThrow(code(expected));
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  it('takes any bytes or refuses them by its own error', async () => {
    const ring = publicBytes(key);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 30 }), fc.nat({ max: ring.length }), async (bytes, at) => {
        const spliced = concatBytes(ring.subarray(0, at), bytes, ring.subarray(at + bytes.length));
        await readKeyRing([spliced]).catch((error: unknown) => expect(error).toBeInstanceOf(SimpleSigningError));
      }),
      { numRuns: 200 },
    );
  });
});
