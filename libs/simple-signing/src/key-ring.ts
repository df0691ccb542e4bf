import type * as OpenPgp from 'openpgp';
import type { Config, PublicKey, SignaturePacket } from 'openpgp';
import { withoutArmor } from './armor.js';
import { reasonOf, SimpleSigningError } from './error.js';
import { isSigningKeyPacket } from './key-packet.js';
import { openMessage } from './message.js';
import { encodePackets, type Packet, packetType, readPackets } from './packet.js';

/** Rings of distributions have some hundred kilobytes. */
const MAX_RING = 1_048_576;
const MAX_PACKETS = 4096;
const MAX_KEYS = 256;
/** How many signatures of a key over itself may have to be checked. Honest keys have a few for each name and subkey. */
const MAX_SELF_CHECKS = 128;
/** Of the keys of a ring with the same id, how many are tried: honest rings have one, and each costs a verification. */
const MAX_CANDIDATES = 4;
const DIRECT_KEY = 0x1f;
const KEY_REVOCATION = 0x20;

/** What a signed message turned out to be. */
export interface VerifiedMessage {
  /** What was signed. */
  readonly content: Uint8Array;
  /** Fingerprint of the primary key, hex in capitals, as policies and `gpg` write it. */
  readonly fingerprint: string;
  /** Fingerprint of the key that signed: of a subkey, or the same. */
  readonly signingFingerprint: string;
  /** When the signature says it was made. */
  readonly created: Date;
  /** The user ids of the key that it has certified by itself. */
  readonly userIds: readonly string[];
}

/** Public keys whose signatures are believed. */
export interface KeyRing {
  /** Fingerprints of the primary keys, hex in capitals. */
  readonly fingerprints: readonly string[];
  /**
   * Verifies a signature object and gives back what was signed. `now`: at this time the key must be good, and at the time of
   * the signature as well: as GnuPG does for containers/image, and unlike a log, an expired or revoked key is no longer
   * believed about anything. SHA-1 over the content is refused, which GnuPG takes.
   * @throws SimpleSigningError `SIMPLE_MESSAGE`, `SIMPLE_TOO_LARGE`, `SIMPLE_SIGNER`, `SIMPLE_KEY_STATE`, `SIMPLE_SIGNATURE`
   */
  verify(message: Uint8Array, now: Date): Promise<VerifiedMessage>;
}

/**
 * Reads public keys out of files, each binary or armoured, and of one or more keys. Keys of algorithms that are not supported
 * (DSA, brainpool curves, Ed448) are passed over: what they signed is signed by nobody.
 * @throws SimpleSigningError `SIMPLE_KEY`, `SIMPLE_TOO_LARGE`
 */
export async function readKeyRing(files: readonly Uint8Array[]): Promise<KeyRing> {
  const keys: PublicKey[] = [];
  const revoked = new Set<PublicKey>();
  const { openpgp, config } = await loadOpenPgp();
  for (const packets of splitKeys(files.map(readRingPackets))) {
    if (keys.length === MAX_KEYS) throw badRing(`more than ${MAX_KEYS} keys`);
    const key = await readKey(packets);
    if (selfChecks(key, packets) > MAX_SELF_CHECKS) {
      throw badRing(`a key with more than ${MAX_SELF_CHECKS} signatures by itself`);
    }
    keys.push(key);
    if (packets.some(isKeyRevocation)) revoked.add(key);
  }
  if (keys.length === 0) throw badRing('no key in it is of a kind that is supported');
  return {
    fingerprints: keys.map(fingerprintOf),
    verify: (message, now) => verify({ keys, revoked }, message, now),
  };

  async function readKey(packets: readonly Packet[]): Promise<PublicKey> {
    try {
      return await openpgp.readKey({ binaryKey: encodePackets(packets), config });
    } catch (cause) {
      throw badRing('a packet of it is malformed', cause);
    }
  }
}

/** Loaded with the first key: the package takes longer to load than the rest of a command. */
export async function loadOpenPgp(): Promise<{ openpgp: typeof OpenPgp; config: Config }> {
  const openpgp = await import('openpgp');
  const { hash, publicKey, curve } = openpgp.enums;
  const config: Config = {
    ...openpgp.config,
    rejectHashAlgorithms: new Set([hash.md5, hash.ripemd]),
    rejectMessageHashAlgorithms: new Set([hash.md5, hash.ripemd, hash.sha1]),
    rejectPublicKeyAlgorithms: new Set([publicKey.elgamal, publicKey.dsa]),
    rejectCurves: new Set([curve.secp256k1]),
    minRSABits: 2047,
    // Keys whose expiry was put off carry only the newest self-signature, which is newer than what they signed before.
    allowInsecureVerificationWithReformattedKeys: true,
  };
  return { openpgp, config };
}

/** Fingerprint of a primary key as everybody but this package writes it. */
export function fingerprintOf(key: { getFingerprint(): string }): string {
  return key.getFingerprint().toUpperCase();
}

function readRingPackets(file: Uint8Array): Packet[] {
  if (file.length > MAX_RING) {
    throw new SimpleSigningError('SIMPLE_TOO_LARGE', `Cannot read key ring: ${file.length} bytes, at most ${MAX_RING}`);
  }
  const bytes = withoutArmor(file, 'PGP PUBLIC KEY BLOCK');
  if (bytes === undefined) throw badRing('its armour is malformed, or not of public keys');
  const packets = readPackets(bytes, MAX_PACKETS);
  if (packets === undefined) throw badRing('it is not a list of OpenPGP packets, or too long a one');
  if (packets.some(({ type }) => type === packetType.secretKey)) throw badRing('it is a private key');
  if (packets[0]?.type !== packetType.publicKey) throw badRing('it does not begin with a public key');
  return packets;
}

/** A primary key, a name or a subkey, with the signatures over it, each once. */
interface KeyPart {
  readonly packet: Packet;
  readonly signatures: Map<string, Packet>;
}

/**
 * The packets of each key that is supported, without what is not needed to verify: subkeys that do not sign, pictures, what is
 * local to a key store, and the signatures over these. Copies of a key become one, as when GnuPG imports them: else a
 * revocation in one of them would not count for the other.
 */
function splitKeys(files: readonly (readonly Packet[])[]): Packet[][] {
  const keys = new Map<string, Map<string, KeyPart>>();
  for (const packets of files) {
    let key: Map<string, KeyPart> | undefined;
    let part: KeyPart | undefined;
    for (const packet of packets) {
      switch (packet.type) {
        case packetType.publicKey:
          key = isSigningKeyPacket(packet.body) ? entryOf(keys, nameOf(packet), () => new Map()) : undefined;
          part = key && partOf(key, packet);
          break;
        case packetType.publicSubkey:
          part = key && isSigningKeyPacket(packet.body) ? partOf(key, packet) : undefined;
          break;
        case packetType.userId:
          part = key && partOf(key, packet);
          break;
        case packetType.userAttribute:
          part = undefined;
          break;
        case packetType.signature:
          part?.signatures.set(nameOf(packet), packet);
          break;
        case packetType.marker:
        case packetType.trust:
        case packetType.padding:
          break;
        default:
          throw badRing(`a packet of type ${packet.type}`);
      }
    }
  }
  return [...keys.values()].map((parts) =>
    // Names before subkeys, as RFC 9580 §10.1.1 has them: a copy may have brought a name that the first one lacked.
    [...parts.values()]
      .sort((a, b) => rankOf(a.packet) - rankOf(b.packet))
      .flatMap(({ packet, signatures }) => [packet, ...signatures.values()]),
  );
}

function rankOf({ type }: Packet): number {
  return [packetType.publicKey, packetType.userId, packetType.publicSubkey].findIndex((each) => each === type);
}

function partOf(key: Map<string, KeyPart>, packet: Packet): KeyPart {
  return entryOf(key, nameOf(packet), () => ({ packet, signatures: new Map() }));
}

function nameOf({ type, body }: Packet): string {
  return `${type} ${Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')}`;
}

function entryOf<Value>(map: Map<string, Value>, name: string, make: () => Value): Value {
  const found = map.get(name) ?? make();
  map.set(name, found);
  return found;
}

/** How many signatures checking a key may cost: each certification is compared with each revocation beside it, and how many there are is up to whoever made the key. */
function selfChecks(key: PublicKey, packets: readonly Packet[]): number {
  const pairs = (signatures: readonly unknown[], revocations: readonly unknown[]) =>
    signatures.length * (1 + revocations.length);
  // The package does not say how many there are of a key over itself. RFC 9580 §5.2.1.11
  const direct = packets.filter(({ type, body }) => type === packetType.signature && body[1] === DIRECT_KEY).length;
  return [
    direct * (1 + key.revocationSignatures.length),
    key.revocationSignatures.length,
    ...key.users.map((user) => pairs(user.selfCertifications, user.revocationSignatures)),
    ...key.subkeys.map((subkey) => pairs(subkey.bindingSignatures, subkey.revocationSignatures)),
  ].reduce((sum, checks) => sum + checks, 0);
}

/**
 * Whether this revokes the key that it is with. Not asked is whether it is good: the package passes over revocations that it cannot verify, as those by
 * somebody whom the key appointed (RFC 9580 §5.2.3.23), those of version 3 and those over MD5 and RIPEMD, of which GnuPG heeds all but MD5.
 * Whoever keeps the ring does not keep forged ones.
 * @see RFC 9580 §5.2.1.12
 */
function isKeyRevocation({ type, body }: Packet): boolean {
  // In version 3 comes before the type the length of what is hashed.
  return type === packetType.signature && body[body[0] === 3 ? 2 : 1] === KEY_REVOCATION;
}

async function verify(
  { keys, revoked }: { keys: readonly PublicKey[]; revoked: ReadonlySet<PublicKey> },
  object: Uint8Array,
  now: Date,
): Promise<VerifiedMessage> {
  const message = openMessage(object);
  const { openpgp, config } = await loadOpenPgp();
  const signature = await openpgp
    .readSignature({ binarySignature: message.signature, config })
    .catch((cause: unknown) => {
      throw new SimpleSigningError('SIMPLE_MESSAGE', 'Cannot read signature: its packet is malformed', { cause });
    });
  const issuer = signature.packets[0]?.issuerKeyID;
  const candidates =
    issuer === undefined ? [] : keys.filter((key) => key.getKeys(issuer).length > 0).slice(0, MAX_CANDIDATES);
  if (issuer === undefined || candidates.length === 0) {
    const by = issuer === undefined ? 'nobody' : `key ${issuer.toHex().toUpperCase()}`;
    throw new SimpleSigningError('SIMPLE_SIGNER', `Cannot verify signature: it is by ${by}, who is not among the keys`);
  }
  let failure: unknown;
  for (const key of candidates) {
    try {
      return await verifyWith(key);
    } catch (error) {
      if (!(error instanceof SimpleSigningError)) throw error;
      failure ??= error;
    }
  }
  throw failure;

  async function verifyWith(key: PublicKey): Promise<VerifiedMessage> {
    if (issuer === undefined) throw new Error('A signature without issuer has candidates');
    const name = `key ${fingerprintOf(key)}`;
    // 1. Nobody has revoked the key ever, for whatever reason: no date, so that no reason is limited to what comes after it.
    if (revoked.has(key)) throw state(name, 'it has been revoked');
    // 2. Key and subkey are good now: not expired, not revoked, and for signing.
    const signer = await key.getSigningKey(issuer, now, undefined, config).catch((cause: unknown) => {
      throw state(name, inWords(cause), cause);
    });
    // 3. The signature itself, by a key that was good when it says it was made. `date`: it must not be from the future, nor have expired.
    let signed: SignaturePacket | undefined;
    try {
      const { signatures } = await openpgp.verify({
        message: await openpgp.createMessage({ binary: message.content }),
        signature,
        verificationKeys: key,
        format: 'binary',
        date: now,
        config,
      });
      const [result, ...more] = signatures;
      if (result === undefined || more.length > 0) throw new Error('it is not one signature');
      await result.verified;
      signed = (await result.signature).packets[0];
    } catch (cause) {
      throw new SimpleSigningError('SIMPLE_SIGNATURE', `Cannot verify signature of ${name}: ${inWords(cause)}`, {
        cause,
      });
    }
    return {
      content: message.content,
      fingerprint: fingerprintOf(key),
      signingFingerprint: fingerprintOf(signer),
      created: signed?.created ?? new Date(Number.NaN),
      userIds: await certifiedNames(key, now, config),
    };
  }
}

async function certifiedNames(key: PublicKey, now: Date, config: Config): Promise<string[]> {
  const names: string[] = [];
  for (const user of key.users) {
    // Anyone can append a name to a key; only the key can sign it.
    const certified = await user.verify(now, config).catch(() => false);
    if (certified === true && user.userID !== null) names.push(user.userID.userID);
  }
  return names;
}

/** The package's reason without its beginning. */
function inWords(cause: unknown): string {
  return reasonOf(cause).replace(/^Error (?:verifying|signing)[^:]*: /, '');
}

function state(name: string, reason: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_KEY_STATE', `Cannot believe ${name}: ${reason}`, { cause });
}

function badRing(reason: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_KEY', `Cannot read key ring: ${reason}`, { cause });
}
