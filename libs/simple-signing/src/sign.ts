import type { Config, Message, PrivateKey, Subkey } from 'openpgp';
import { withoutArmor } from './armor.js';
import { reasonOf, SimpleSigningError } from './error.js';
import { fingerprintOf, loadOpenPgp, readKeyRing } from './key-ring.js';
import { encodePayload, type SignedPayload } from './payload.js';

/** A private key, unlocked, that makes signature objects. */
export interface SimpleSigner {
  /** Of the primary key, hex in capitals. */
  readonly fingerprint: string;
  /** Of the key that will sign: a subkey when the primary key cannot; skopeo and podman refuse what it signs. */
  readonly signingFingerprint: string;
  /** The public key, binary: what verifiers put into their key ring. */
  readonly publicKey: Uint8Array;
  /**
   * Signs a payload into a signature object, and verifies it before giving it out.
   * @throws SimpleSigningError `SIMPLE_PAYLOAD`, `SIMPLE_KEY_STATE`
   */
  sign(payload: Omit<SignedPayload, 'type'>, now: Date): Promise<Uint8Array>;
}

const MAX_KEY_FILE = 262_144;

/**
 * Reads a private key as `gpg --export-secret-keys` writes it, armoured or binary, and unlocks it.
 * `fingerprint`: which one, if the file has several keys. `now`: at this time it must be good.
 *
 * A key that lives in gpg-agent comes out with `gpg --armor --export-secret-keys FINGERPRINT`, under its passphrase; one that lives
 * on a card does not, and signs only through gpg itself.
 * @throws SimpleSigningError `SIMPLE_KEY`, `SIMPLE_PASSPHRASE`, `SIMPLE_KEY_STATE`, `SIMPLE_TOO_LARGE`
 */
export async function readSigner(
  file: Uint8Array,
  { passphrase, fingerprint, now }: { passphrase?: string | undefined; fingerprint?: string | undefined; now: Date },
): Promise<SimpleSigner> {
  const { openpgp, config } = await loadOpenPgp();
  const found = await chooseKey(file, fingerprint, config);
  const key = await unlock(found, passphrase, config);
  const signing = await chooseSigningKey(key, now, config);
  const publicKey = key.toPublic().write();
  const ring = await readKeyRing([publicKey]);
  return {
    fingerprint: fingerprintOf(key),
    signingFingerprint: fingerprintOf(signing),
    publicKey,
    async sign(payload, at) {
      const content = encodePayload({ type: 'atomic container signature', ...payload });
      const object = await signMessage(await openpgp.createMessage({ binary: content, date: at }), at);
      await ring.verify(object, at);
      return object;
    },
  };

  async function signMessage(message: Message<Uint8Array>, date: Date): Promise<Uint8Array> {
    const signingKeyIDs = [signing.getKeyID()];
    let made: unknown;
    try {
      made = await openpgp.sign({ message, signingKeys: key, signingKeyIDs, format: 'binary', date, config });
    } catch (cause) {
      throw badState(key, reasonOf(cause), cause);
    }
    // Nothing was streamed in, so nothing is streamed out.
    if (!(made instanceof Uint8Array)) throw new Error('A message was signed, and is not bytes');
    return made;
  }
}

async function chooseKey(file: Uint8Array, fingerprint: string | undefined, config: Config): Promise<PrivateKey> {
  if (file.length > MAX_KEY_FILE) {
    throw new SimpleSigningError(
      'SIMPLE_TOO_LARGE',
      `Cannot read private key: ${file.length} bytes, at most ${MAX_KEY_FILE}`,
    );
  }
  const binaryKeys = withoutArmor(file, 'PGP PRIVATE KEY BLOCK');
  if (binaryKeys === undefined) throw badKey('its armour is malformed, or not of a private key');
  const { openpgp } = await loadOpenPgp();
  const keys = await openpgp.readPrivateKeys({ binaryKeys, config }).catch((cause: unknown) => {
    throw badKey('it is not an OpenPGP private key', cause);
  });
  const wanted = fingerprint?.replaceAll(' ', '').toUpperCase();
  const found = wanted === undefined ? keys : keys.filter((key) => fingerprintOf(key) === wanted);
  const [first, ...more] = found;
  if (first === undefined) throw badKey(`none of its keys is ${wanted ?? 'private'}`);
  if (more.length > 0)
    throw badKey(`it has ${found.length} keys, and which one is meant must be said by its fingerprint`);
  return first;
}

async function unlock(key: PrivateKey, passphrase: string | undefined, config: Config): Promise<PrivateKey> {
  if (key.isDecrypted()) return key;
  if (passphrase === undefined || passphrase === '') {
    throw new SimpleSigningError(
      'SIMPLE_PASSPHRASE',
      'Cannot unlock private key: it has a passphrase, and none was given',
    );
  }
  const { openpgp } = await loadOpenPgp();
  try {
    return await openpgp.decryptKey({ privateKey: key, passphrase, config });
  } catch (cause) {
    throw new SimpleSigningError('SIMPLE_PASSPHRASE', 'Cannot unlock private key: the passphrase does not fit', {
      cause,
    });
  }
}

/** The primary key if it can sign, as containers/image accepts no subkeys; else a subkey of which the private part is here. */
async function chooseSigningKey(key: PrivateKey, now: Date, config: Config): Promise<PrivateKey | Subkey> {
  let reason: unknown;
  for (const each of key.getKeys()) {
    // Exported without its private part, or with a stub for a card.
    if (!('isDummy' in each.keyPacket) || each.keyPacket.isDummy() || !each.keyPacket.isDecrypted()) continue;
    try {
      // It is one of this private key's own.
      return await key.getSigningKey(each.getKeyID(), now, undefined, config);
    } catch (error) {
      reason ??= error;
    }
  }
  throw badState(key, reason === undefined ? 'the file has no private part of it' : reasonOf(reason), reason);
}

function badKey(state: string, cause?: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_KEY', `Cannot read private key: ${state}`, { cause });
}

function badState(key: PrivateKey, state: string, cause: unknown): SimpleSigningError {
  return new SimpleSigningError('SIMPLE_KEY_STATE', `Cannot sign with key ${fingerprintOf(key)}: ${state}`, { cause });
}
