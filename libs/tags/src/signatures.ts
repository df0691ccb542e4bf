import { BundleError, parseBundle, type Bundle } from '#libs/bundle';
import type { CryptoPort } from '#libs/crypto';
import { encodeBase64, encodeHex, equalBytes, parseHex } from '#libs/encoding';
import { digestOf, splitDigest, type Digest } from '#libs/oci';
import type { TrustedRoot } from '#libs/trust';
import { artifactFromDigest, verifyBundle, type LogRecord, type Matcher, type Policy, type Report } from '#libs/verify';
import type { TagSigner } from './policy.js';

/** Whom to believe about certificates, logs and times. */
export interface Trust {
  readonly trustedRoot: TrustedRoot;
  readonly crypto: CryptoPort;
}

/** A signature that counts. */
export interface CountedSignature {
  /** The policy's name for who signed. */
  readonly signer: string;
  /** The identity in the certificate and its issuer, or the key's SHA-256 in hex. */
  readonly identity: { readonly san: string; readonly issuer: string } | { readonly keyId: string };
  /** When it was made, on the word of timestamp authorities and logs; at least one. */
  readonly times: readonly Date[];
  readonly logs: readonly LogRecord[];
}

export interface SignatureCount {
  /** One of each signer. */
  readonly counted: readonly CountedSignature[];
  /** Why each of the others does not count. */
  readonly refused: readonly string[];
}

/** A bundle and the payload that it signs. @throws BundleError; undefined if what it signs is not an envelope */
export function openBundle(bytes: Uint8Array): { bundle: Bundle; payload: Uint8Array; id: Digest } | undefined {
  const bundle = parseBundle(bytes);
  if (bundle.content.kind !== 'dsse') return undefined;
  const { payload } = bundle.content.envelope;
  return { bundle, payload, id: digestOf(payload) };
}

/**
 * Counts who signed one statement. Garbage among the bundles costs time and changes nothing: anybody who may push to the repository can add some.
 * `subject`, `predicateType`: of the statement.
 */
export async function countSignatures(
  bundles: readonly Uint8Array[],
  statement: { readonly id: Digest; readonly subject: Digest; readonly predicateType: string },
  signers: readonly TagSigner[],
  trust: Trust,
): Promise<SignatureCount> {
  const counted = new Map<string, CountedSignature>();
  const refused: string[] = [];
  for (const bytes of bundles) {
    const judged = await judge(bytes, statement, signers, trust);
    if (typeof judged === 'string') refused.push(judged);
    // Two signatures of one signer are one: a threshold counts people.
    else if (counted.has(judged.countsAs)) refused.push(`a second signature of ${judged.signature.signer}`);
    else counted.set(judged.countsAs, judged.signature);
  }
  return { counted: [...counted.values()], refused };
}

type Judged = { countsAs: string; signature: CountedSignature } | string;

async function judge(
  bytes: Uint8Array,
  { id, subject, predicateType }: { id: Digest; subject: Digest; predicateType: string },
  signers: readonly TagSigner[],
  { trustedRoot, crypto }: Trust,
): Promise<Judged> {
  let opened: ReturnType<typeof openBundle>;
  try {
    opened = openBundle(bytes);
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    return `it cannot be read: ${error.message}`;
  }
  if (opened?.id !== id) return 'it is of another statement';
  const { bundle } = opened;
  const { algorithm, hex } = splitDigest(subject);
  const verify = (policy: Policy): Promise<Report> =>
    verifyBundle({
      bundle,
      artifact: artifactFromDigest(algorithm, parseHex(hex)),
      trustedRoot,
      policy,
      predicateType,
      // Of a managed key too: without a time nobody could say that a statement is not of the future.
      thresholds: { times: 1 },
      crypto,
    });

  if (bundle.material.kind === 'certificate') {
    // Everything but who it is first: several may sign, and each is looked up in what is then proven.
    const report = await verify({ kind: 'identity', san: () => true, issuer: () => true });
    if (!report.ok || report.signer?.kind !== 'certificate') return objection(report);
    const { san, issuer } = report.signer;
    const matching = signers.filter(
      ({ is }) => is.kind === 'identity' && equals(is.san, san) && equals(is.issuer, issuer),
    );
    // In a group the name alone counts: one person with accounts at two issuers is one.
    return accept(matching, report, { san, issuer }, san) ?? `${san} (${issuer}) is not a signer here`;
  }
  const { hint } = bundle.material;
  let last = 'its key is not that of a signer here';
  for (const signer of signers) {
    if (signer.is.kind !== 'key') continue;
    const { publicKey } = signer.is;
    const keyHash = crypto.hash('sha256', publicKey.spki);
    // The hint decides nothing: it only spares the keys that it does not mean.
    if (hint !== '' && hint !== encodeBase64(keyHash) && signers.some((other) => isHinted(other, hint, crypto)))
      continue;
    const report = await verify({ kind: 'key', publicKey });
    if (report.ok) {
      const matching = signers.filter(({ is }) => is.kind === 'key' && equalBytes(is.publicKey.spki, publicKey.spki));
      const keyId = encodeHex(keyHash);
      return accept(matching, report, { keyId }, keyId) ?? last;
    }
    last = objection(report);
  }
  return last;
}

function isHinted({ is }: TagSigner, hint: string, crypto: CryptoPort): boolean {
  return is.kind === 'key' && encodeBase64(crypto.hash('sha256', is.publicKey.spki)) === hint;
}

function equals(expected: string | Matcher, value: string): boolean {
  return typeof expected === 'string' ? expected === value : expected(value);
}

/** `matching`: all who may have signed this; the first gives the name, and every one has a say about the time. Undefined if there is none. */
function accept(
  matching: readonly TagSigner[],
  { times = [], logEntries = [] }: Report,
  identity: CountedSignature['identity'],
  identityText: string,
): Judged | undefined {
  const [signer] = matching;
  if (signer === undefined) return undefined;
  const instants = times.map(({ time }) => time);
  // Whoever was given an end by name does not go on under a pattern that fits as well.
  for (const { name, notBefore, notAfter } of matching) {
    const outside = instants.find(
      (time) => (notBefore !== undefined && time < notBefore) || (notAfter !== undefined && time > notAfter),
    );
    if (outside !== undefined) return `${name} was not a signer at ${outside.toISOString()}`;
  }
  return {
    countsAs: signer.group ? `${signer.name}\n${identityText}` : signer.name,
    signature: { signer: signer.name, identity, times: instants, logs: logEntries },
  };
}

function objection({ failure }: Report): string {
  return failure === undefined ? 'it does not verify' : `${failure.check ?? 'it'} failed: ${failure.message}`;
}
