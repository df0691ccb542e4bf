import type * as OpenPgp from 'openpgp';
import type { Config, Key } from 'openpgp';
import { concatBytes, encodeUtf8 } from '#libs/encoding';
import type { PkiFormat, PkiKey } from '#libs/entry';
import { badKey, badSignature, checkSize, falseIfMalformed } from './error.js';
import { encodeArmor, isArmor, readArmor } from './pgp-armor.js';
import { encodePackets, type Packet, packetType, readPackets } from './pgp-packet.js';
import { withCrLf } from './pgp-text.js';
import { isKeyPacket } from './pgp-key-packet.js';

/** Keys that collected many signatures of others have some hundred kilobytes. */
const MAX_KEY = 262_144;
const MAX_KEY_PACKETS = 1024;
/** Keys and subkeys of a ring: more with a signature each do not fit into an entry. */
const MAX_KEYS = 256;
/** Of the keys of a ring with the same id, how many are tried. Honest rings have one, or the same key from several places; each costs hashing the message. */
const MAX_CANDIDATES = 4;
/** How many signatures of a ring by itself may have to be checked. Honest rings have a few for each name and subkey. */
const MAX_SELF_CHECKS = 128;
const MAX_SIGNATURE = 16_384;
const MAX_SIGNATURE_PACKETS = 16;

const KEY_LABEL = 'PGP PUBLIC KEY BLOCK';
const SIGNATURE_LABEL = 'PGP SIGNATURE';
/** Signature types: over documents, bytes and text, and over a key. @see RFC 9580 §5.2.1 */
const BINARY = 0x00;
const TEXT = 0x01;
const DIRECT_KEY = 0x1f;
const documentTypes: readonly (number | undefined)[] = [BINARY, TEXT];

/** As in the regular expressions of others: something, an at sign, and a domain with a dot. */
const email = /^[^\s@<>()",;:\\[\]]{1,64}@[^\s@<>()",;:\\[\]]+\.[^\s@<>()",;:\\[\]]+$/;
const MAX_EMAIL = 254;

/**
 * OpenPGP public key rings and detached signatures, armoured or binary. Whatever is not one of the two is refused before
 * a parser of messages sees it: nothing is decompressed, decrypted or fetched.
 *
 * As in Rekor, a key must have been valid when the signature says that it was made (so keys that have expired since are
 * fine), SHA-1 over the message is accepted (MD5 and RIPEMD-160 are not), and of several signatures the first by a key of
 * the ring decides. Unlike there: no DSA, no curves but the NIST ones and Ed25519, no version 3 signatures, no private
 * keys, and nothing around the armour. A key retired after it signed still verifies; a compromised one never does.
 *
 * `subjects`: e-mail addresses of the user ids that the key has certified itself and not revoked, also of those that are
 * nothing but an address (Rekor reads only addresses in angle brackets).
 * @see RFC 9580
 * @see Rekor's pkg/pki/pgp
 */
export const pgpFormat: PkiFormat = {
  async parseKey(bytes: Uint8Array): Promise<PkiKey> {
    checkSize('public key', bytes, MAX_KEY);
    const packets = readKeyPackets(keyBytes(bytes));
    const ring = encodePackets(packets);
    const { openpgp, config } = await load();
    const keys = await readKeys(ring);
    if (selfChecks(keys) + packets.filter(isDirectKeySignature).length > MAX_SELF_CHECKS) {
      throw badKey(
        `more than ${MAX_SELF_CHECKS} signatures by itself`,
        'error reading PGP public key: too many signatures',
      );
    }
    return {
      canonical: encodeUtf8(encodeArmor(KEY_LABEL, ring)),
      subjects: await emails(keys, config),
      verify: (message, signature) =>
        falseIfMalformed(() => isSignature(keys, message, readSignaturePackets(signature))),
    };

    async function readKeys(binaryKeys: Uint8Array): Promise<Key[]> {
      try {
        return await openpgp.readKeys({ binaryKeys, config });
      } catch (cause) {
        throw badKey('a packet of the ring is malformed', 'error reading PGP public key', cause);
      }
    }
  },

  async canonicalSignature(bytes: Uint8Array): Promise<Uint8Array> {
    const packets = readSignaturePackets(bytes);
    const { openpgp, config } = await load();
    try {
      await openpgp.readSignature({ binarySignature: encodePackets(packets), config });
    } catch (cause) {
      throw badSignature('a packet is malformed', 'invalid PGP signature', cause);
    }
    return isArmor(latin1(bytes)) ? bytes : encodeUtf8(encodeArmor(SIGNATURE_LABEL, bytes));
  },
};

/** Loaded with the first key: the package takes longer to load than the rest of a server. */
async function load(): Promise<{ openpgp: typeof OpenPgp; config: Config }> {
  const openpgp = await import('openpgp');
  const { hash, publicKey, curve } = openpgp.enums;
  const config: Config = {
    ...openpgp.config,
    rejectHashAlgorithms: new Set([hash.md5, hash.ripemd]),
    rejectMessageHashAlgorithms: new Set([hash.md5, hash.ripemd]),
    rejectPublicKeyAlgorithms: new Set([publicKey.elgamal, publicKey.dsa]),
    rejectCurves: new Set([curve.secp256k1]),
    minRSABits: 1024,
    // Keys whose expiry was put off carry only the newest self-signature, which is newer than what they signed before.
    allowInsecureVerificationWithReformattedKeys: true,
  };
  return { openpgp, config };
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** The ring without its armour, which may come in several blocks. */
function keyBytes(bytes: Uint8Array): Uint8Array {
  const text = latin1(bytes);
  if (!isArmor(text)) return bytes;
  const blocks = readArmor(text);
  if (blocks === undefined) throw badKey('its armour is malformed', 'invalid PGP public key provided');
  if (blocks.some(({ label }) => label === 'PGP PRIVATE KEY BLOCK')) {
    throw badKey('it is a private key', 'no PGP public keys could be read');
  }
  if (blocks.some(({ label }) => label !== KEY_LABEL))
    throw badKey('armour of something else', 'invalid PGP type detected');
  return concatBytes(...blocks.map((block) => block.bytes));
}

/**
 * The packets of a ring that are worth keeping: not what is local to a key store, and no pictures, nor what was signed
 * about them.
 */
function readKeyPackets(bytes: Uint8Array): Packet[] {
  const packets = readPackets(bytes, MAX_KEY_PACKETS);
  if (packets?.[0]?.type !== packetType.publicKey) {
    throw badKey('not a ring of public keys, or too long a one', 'error reading PGP public key');
  }
  const count = packets.filter(({ type }) => type === packetType.publicKey || type === packetType.publicSubkey).length;
  if (count > MAX_KEYS)
    throw badKey(`${count} keys, at most ${MAX_KEYS} are read`, 'error reading PGP public key: too many keys');
  const kept: Packet[] = [];
  let picture = false;
  for (const packet of packets) {
    switch (packet.type) {
      case packetType.marker:
      case packetType.trust:
      case packetType.padding:
        continue;
      case packetType.userAttribute:
        picture = true;
        continue;
      case packetType.signature:
        if (!picture) kept.push(packet);
        continue;
      case packetType.publicKey:
      case packetType.publicSubkey:
        if (!isKeyPacket(packet.body))
          throw badKey('an algorithm or size that is not supported', 'error reading PGP public key: unsupported');
        break;
      case packetType.userId:
        break;
      default:
        throw badKey(`a packet of type ${packet.type}`, 'no PGP public keys could be read');
    }
    picture = false;
    kept.push(packet);
  }
  return kept;
}

/** How many signatures checking a ring may cost: each certification is compared with each revocation beside it. */
function selfChecks(keys: readonly Key[]): number {
  const pairs = (signatures: readonly unknown[], revocations: readonly unknown[]) =>
    signatures.length * (1 + revocations.length);
  return keys
    .flatMap((key) => [
      key.revocationSignatures.length,
      ...key.users.map((user) => pairs(user.selfCertifications, user.revocationSignatures)),
      ...key.subkeys.map((subkey) => pairs(subkey.bindingSignatures, subkey.revocationSignatures)),
    ])
    .reduce((sum, checks) => sum + checks, 0);
}

/** A signature by a key over itself, which the package does not say how many there are of. @see RFC 9580 §5.2.1.11 */
function isDirectKeySignature({ type, body }: Packet): boolean {
  return type === packetType.signature && body[1] === DIRECT_KEY;
}

async function emails(keys: readonly Key[], config: Config): Promise<string[]> {
  const found: string[] = [];
  for (const user of keys.flatMap((key) => key.users)) {
    const address = user.userID?.email ?? '';
    if (address.length > MAX_EMAIL || !email.test(address)) continue;
    // Anyone can append a user id to a key; only the key can sign it. No date: an expired name is still a name.
    const certified = await holds(() => user.verify(null as unknown as Date, config));
    if (certified) found.push(address);
  }
  return found;
}

/** The packets of a detached signature, at least one. */
function readSignaturePackets(bytes: Uint8Array): Packet[] {
  checkSize('signature', bytes, MAX_SIGNATURE);
  const packets = readPackets(signatureBytes(bytes), MAX_SIGNATURE_PACKETS);
  if (packets === undefined) throw badSignature('not a list of packets, or too long a one', 'invalid PGP signature');
  const signatures = packets.filter(({ type }) => type !== packetType.marker);
  if (signatures.length === 0) throw badSignature('no packets', 'invalid PGP signature: EOF');
  for (const { type, body } of signatures) {
    if (type !== packetType.signature) {
      throw badSignature(`a packet of type ${type}`, 'valid PGP signature was not detected');
    }
    if (body[0] !== 4 && body[0] !== 6) throw badSignature(`version ${body[0] ?? 'missing'}`, 'invalid PGP signature');
    // Others, such as certifications and standalone signatures, do not sign a message at all.
    if (!documentTypes.includes(body[1])) throw badSignature('it is not over a document', 'unsupported signature type');
  }
  return signatures;
}

function signatureBytes(bytes: Uint8Array): Uint8Array {
  const text = latin1(bytes);
  if (!isArmor(text)) return bytes;
  const [block, ...more] = readArmor(text) ?? [];
  if (block?.label !== SIGNATURE_LABEL || more.length > 0) {
    throw badSignature('its armour is malformed, or of something else', 'invalid PGP signature provided');
  }
  return block.bytes;
}

async function isSignature(keys: readonly Key[], message: Uint8Array, packets: readonly Packet[]): Promise<boolean> {
  const { openpgp, config } = await load();
  for (const packet of packets) {
    const binarySignature = encodePackets([packet]);
    const signature = await openpgp.readSignature({ binarySignature, config }).catch(() => undefined);
    const issuer = signature?.packets[0]?.issuerKeyID;
    // A signature that names nobody could be by anybody; Rekor stops here as well. Zeros are OpenPGP's wildcard.
    if (signature === undefined || issuer === undefined || /^0*$/.test(issuer.toHex())) return false;
    const candidates = keys.filter((key) => key.getKeys(issuer).length > 0).slice(0, MAX_CANDIDATES);
    if (candidates.length === 0) continue;
    const signed = packet.body[1] === TEXT ? withCrLf(message) : message;
    for (const key of candidates) if (await holds(() => verify(key))) return true;
    return false;

    async function verify(key: Key): Promise<true> {
      if (signature === undefined) throw new Error('Cannot verify signature: there is none');
      const { signatures } = await openpgp.verify({
        message: await openpgp.createMessage({ binary: signed }),
        signature,
        verificationKeys: key,
        format: 'binary',
        // No clock: whether the key was valid is asked for the time of the signature in any case.
        date: null,
        config,
      });
      const [result] = signatures;
      if (result === undefined) throw new Error('Cannot verify signature: it was not looked at');
      return result.verified;
    }
  }
  return false;
}

/** The package answers `true` or throws a plain Error with the reason, for which nobody here has a use. */
async function holds(check: () => Promise<true>): Promise<boolean> {
  try {
    return await check();
  } catch {
    return false;
  }
}
