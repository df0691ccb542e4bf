/** The NIST curves of FIPS 186-5 that keys here may be on. */
export type CurveName = 'P-256' | 'P-384' | 'P-521';

/** Domain parameters of a short Weierstrass curve y² = x³ − 3x + b over the field of `p` elements. */
export interface Curve {
  readonly name: CurveName;
  /** Object identifier of the named curve (RFC 5480 §2.1.1.1). */
  readonly oid: string;
  /** The prime of the field. */
  readonly p: bigint;
  readonly b: bigint;
  /** The order of the base point, a prime; the cofactor is 1. */
  readonly n: bigint;
  /** Length of `n` in bits: a digest is cut to so many leading bits (FIPS 186-5 §6.4.1). */
  readonly orderBits: number;
  /** Length of one coordinate, and of one half of an IEEE P1363 signature, in bytes. */
  readonly bytes: number;
}

/** Constants of NIST SP 800-186 §3.2.1.3, §3.2.1.4 and §3.2.1.5. */
export const curves: Readonly<Record<CurveName, Curve>> = {
  'P-256': {
    name: 'P-256',
    oid: '1.2.840.10045.3.1.7',
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
    n: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
    orderBits: 256,
    bytes: 32,
  },
  'P-384': {
    name: 'P-384',
    oid: '1.3.132.0.34',
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
    n: 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
    orderBits: 384,
    bytes: 48,
  },
  'P-521': {
    name: 'P-521',
    oid: '1.3.132.0.35',
    p: 2n ** 521n - 1n,
    b: 0x0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
    n: 0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    orderBits: 521,
    bytes: 66,
  },
};

/** Whether affine coordinates are those of a point of the curve, in the one spelling below `p`. */
export function isOnCurve(curve: Curve, x: bigint, y: bigint): boolean {
  const { p, b } = curve;
  if (x < 0n || x >= p || y < 0n || y >= p) return false;
  return (y * y - (x * x - 3n) * x - b) % p === 0n;
}
