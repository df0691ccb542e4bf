import { CryptoError } from './error.js';
import type { PublicKey } from './public-key.js';

const ACCEPTED_BITS: readonly number[] = [2048, 3072, 4096];
const FERMAT_ROUNDS = 100;

const smallPrimes = primesBelow(752);

/**
 * Refuses keys that are known to be breakable. ECDSA and Ed25519 keys that could be parsed are fine; an RSA key must
 * have a modulus of 2048, 3072 or 4096 bits, the exponent 65537, no prime factor below 752, not the fingerprint of the
 * ROCA generator, and no two factors so close together that Fermat's method finds them within 100 rounds.
 * @throws CryptoError `CRYPTO_KEY_WEAK`
 * @see CA/Browser Forum Baseline Requirements §6.1.1.3 and §6.1.6, which public authorities check the same way
 */
export function checkKeyStrength(key: PublicKey): void {
  if (key.kind !== 'rsa') return;
  const { modulus, exponent } = key;
  if (!ACCEPTED_BITS.includes(key.type.bits)) {
    throw weak(`RSA modulus of ${key.type.bits} bits, 2048, 3072 or 4096 expected`);
  }
  if (exponent !== 65537n) throw weak('RSA exponent is not 65537');
  if (smallPrimes.some((prime) => modulus % BigInt(prime) === 0n)) throw weak('RSA modulus has a small factor');
  if (isRocaModulus(modulus)) throw weak('RSA modulus comes from the ROCA generator (CVE-2017-15361)');
  if (areFactorsClose(modulus)) throw weak('RSA modulus has two factors close together (CVE-2022-26320)');
}

// Infineon's generator made primes k·M + (65537^a mod M), M the product of the first primes. So modulo each of those
// primes the modulus is a power of 65537. 39 primes, up to 167, are in M for every key length. Modulo most of them each
// number is such a power; the 17 where it is not are the fingerprint, which a random modulus has once in 2^27.
// Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack (2017), §3.
const rocaResidues = smallPrimes
  .filter((prime) => prime > 2 && prime <= 167)
  .map((prime) => ({ prime: BigInt(prime), powers: powersOf65537(prime) }))
  .filter(({ prime, powers }) => powers.size < Number(prime) - 1);

function isRocaModulus(modulus: bigint): boolean {
  return rocaResidues.every(({ prime, powers }) => powers.has(Number(modulus % prime)));
}

function powersOf65537(prime: number): ReadonlySet<number> {
  const powers = new Set<number>();
  for (let power = 1; !powers.has(power); power = (power * (65537 % prime)) % prime) powers.add(power);
  return powers;
}

// n = p·q = a² − b² with a = (p + q)/2 and b = (p − q)/2: start at a = ⌈√n⌉ and look for a square.
function areFactorsClose(modulus: bigint): boolean {
  let a = squareRoot(modulus);
  if (a * a === modulus) return true;
  for (let round = 0; round < FERMAT_ROUNDS; round++) {
    a += 1n;
    const square = a * a - modulus;
    // Squares are 0, 1, 4 or 9 modulo 16, so three roots of four need not be taken.
    if (!isSquareModulo16(square)) continue;
    const b = squareRoot(square);
    if (b * b === square) return true;
  }
  return false;
}

function isSquareModulo16(value: bigint): boolean {
  const low = Number(value & 15n);
  return low === 0 || low === 1 || low === 4 || low === 9;
}

/** ⌊√value⌋ by Newton's method from above. */
function squareRoot(value: bigint): bigint {
  if (value < 2n) return value;
  let root = 1n << BigInt(Math.ceil(value.toString(2).length / 2));
  for (;;) {
    const next = (root + value / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}

function primesBelow(limit: number): number[] {
  const primes: number[] = [];
  for (let n = 2; n < limit; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return primes;
}

function weak(state: string): CryptoError {
  return new CryptoError('CRYPTO_KEY_WEAK', `Cannot accept public key: ${state}`);
}
