import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto';

/** Operations per second of `work` on this core, over about `seconds`. */
export function measureRate(work: () => void, seconds = 1): number {
  for (let i = 0; i < 200; i++) work();
  const started = performance.now();
  let count = 0;
  let elapsed = 0;
  while (elapsed < seconds * 1000) {
    for (let i = 0; i < 100; i++) work();
    count += 100;
    elapsed = performance.now() - started;
  }
  return (count / elapsed) * 1000;
}

/** The cryptography that cannot be avoided, one core, by node:crypto with keys that are already loaded. */
export interface Floors {
  /** P-256 with SHA-256. */
  readonly verify: number;
  readonly sign: number;
  /** RSA-2048 PKCS#1 v1.5 with SHA-256: the token. */
  readonly rsaVerify: number;
  /**
   * What one certificate cannot do without: its token, the proof of possession, the precertificate (by the log) and the SCT (by the CA) verified; the
   * precertificate, the SCT and the certificate signed.
   */
  readonly certificate: number;
}

/** `seconds`: how long each operation is repeated. */
export function measureFloors(seconds = 1): Floors {
  const message = randomBytes(32);
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ecSignature = sign('sha256', message, ec.privateKey);
  const rsaSignature = sign('sha256', message, rsa.privateKey);
  const verifyRate = measureRate(() => verify('sha256', message, ec.publicKey, ecSignature), seconds);
  const signRate = measureRate(() => sign('sha256', message, ec.privateKey), seconds);
  const rsaVerify = measureRate(() => verify('sha256', message, rsa.publicKey, rsaSignature), seconds);
  return {
    verify: verifyRate,
    sign: signRate,
    rsaVerify,
    certificate: 1 / (1 / rsaVerify + 3 / verifyRate + 3 / signRate),
  };
}
