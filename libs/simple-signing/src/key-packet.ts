import { encodeHex } from '#libs/encoding';

/** An RSA key of 8192 bits has 1035 bytes; a longer modulus makes each check dear. */
const MAX_SIGNING_KEY = 1100;

/** Public-key algorithms that sign. @see RFC 9580 §9.1 */
const algorithm = { rsa: 1, rsaSignOnly: 3, ecdsa: 19, eddsaLegacy: 22, ed25519: 27 } as const;

/** Object identifiers without tag and length, as the packets have them. @see RFC 9580 §9.2 */
const nistCurves: readonly string[] = ['2a8648ce3d030107', '2b81040022', '2b81040023'];
const ed25519Legacy = '2b06010401da470f01';

/**
 * Whether a public key or subkey packet is of a kind that verifies here: version 4 or 6, RSA, ECDSA over a NIST curve, or
 * Ed25519. What is left out (DSA, brainpool curves, Ed448) is verified by plain JavaScript in the OpenPGP package, and slowly.
 * @see RFC 9580 §5.5.2
 */
export function isSigningKeyPacket(body: Uint8Array): boolean {
  // version, 4 bytes creation time, algorithm; in version 6 the length of what follows
  const [version] = body;
  if ((version !== 4 && version !== 6) || body.length > MAX_SIGNING_KEY) return false;
  const material = body.subarray(version === 4 ? 6 : 10);
  switch (body[5]) {
    case algorithm.rsa:
    case algorithm.rsaSignOnly:
    case algorithm.ed25519:
      return true;
    case algorithm.ecdsa:
      return nistCurves.includes(curveOf(material));
    case algorithm.eddsaLegacy:
      return curveOf(material) === ed25519Legacy;
    default:
      return false;
  }
}

/** `one octet size, object identifier` */
function curveOf(material: Uint8Array): string {
  return encodeHex(material.subarray(1, 1 + (material[0] ?? 0)));
}
