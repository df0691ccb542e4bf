import { BundleError } from '#libs/bundle';
import { CryptoError } from '#libs/crypto';
import { EncodingError } from '#libs/encoding';
import { EntryError } from '#libs/entry';
import { MerkleError } from '#libs/merkle';
import { NoteError } from '#libs/note';
import { TimestampError } from '#libs/timestamp';
import { X509Error } from '#libs/x509';
import { VerifyError, type VerifyErrorCode } from './error.js';

const signAgain = 'Sign the artifact again, or get the bundle anew from where it was published';
const bundleAnew = 'Get the bundle anew from where it was published: what it holds was damaged or changed';
const rightRoot = 'Use the trusted root of the instance that signed, in a version that covers the time of signing';

/**
 * All checks in the order they are made, with what they show, and the cure where a check has no better advice.
 * Ids are API: never reused, never renamed.
 * @see Sigstore client specification, "Verification"
 */
const table = {
  'bundle-format': ['The bundle is well formed', signAgain],
  'signer-kind': [
    'The bundle is signed with what the policy expects',
    'Verify with an identity and issuer, or with a key, as it was signed',
  ],
  'log-key': ['The trusted root knows the transparency log', rightRoot],
  timestamp: ['Timestamp authorities confirm when the signature existed', rightRoot],
  'log-promise': ["The log's signed promise confirms when it took the entry", rightRoot],
  'trusted-time': [
    'Somebody trusted says when it was signed',
    'Sign again with a timestamp authority of the trusted root',
  ],
  'key-validity': ['The key was valid when it signed', 'Sign again with a key that is valid now'],
  'certificate-profile': ['The certificate is one for signing, naming one identity', signAgain],
  'certificate-chain': ['A trusted authority issued the certificate, valid when it signed', rightRoot],
  'certificate-transparency': ['A trusted CT log promised to show the certificate', rightRoot],
  'certificate-identity': [
    'The certificate names the expected identity',
    'If that signer is the one you mean to trust, name it as the expected identity',
  ],
  'certificate-issuer': [
    'The identity was vouched for by the expected issuer',
    'If that issuer is the one you mean to trust, name it as the expected issuer',
  ],
  'log-entry': ['The log entry is of a kind we know', signAgain],
  'log-inclusion': ['The log has the entry at its place', signAgain],
  'log-checkpoint': ['The log signed the state that has the entry', rightRoot],
  'log-binding': ['The log entry is about this artifact, signature and signer', signAgain],
  'log-time': ['The log took the entry while the certificate was valid', signAgain],
  'log-threshold': ['Enough logs have the signature', 'Sign again with a transparency log of the trusted root'],
  signature: ['The signature is by this signer over this content', signAgain],
  statement: ['The envelope holds an in-toto statement', signAgain],
  'artifact-digest': ['The signed content names this artifact', 'Check that the file is the one that was signed'],
  'predicate-type': [
    'The statement is of the expected type',
    'Ask for the type that the statement has, if that is the claim you need',
  ],
} as const satisfies Record<string, readonly [title: string, cure: string]>;

export type CheckId = keyof typeof table;

/** Better advice for some answers of the libs below, whichever check meets them. */
const cures: Readonly<Record<string, string>> = {
  NOTE_MALFORMED: bundleAnew,
  NOTE_CHECKPOINT_MALFORMED: bundleAnew,
  NOTE_SIGNATURE_INVALID: bundleAnew,
  TIMESTAMP_MALFORMED: bundleAnew,
  TIMESTAMP_IMPRINT: 'Get the bundle anew: the timestamp in it belongs to another signature',
  TIMESTAMP_SIGNATURE: bundleAnew,
  X509_MALFORMED: signAgain,
  X509_SCT_INVALID: 'Get a new certificate: the promise in this one was made for another',
};

/** The ids of all checks, in order. */
export const checkIds = Object.keys(table) as readonly CheckId[]; // the keys of the literal above

/** One line of the report. */
export interface Check {
  id: CheckId;
  title: string;
  /** `skipped`: nothing to check, or not reached because an earlier check failed; `detail` says which. */
  state: 'passed' | 'failed' | 'skipped';
  /** What was found. */
  detail: string;
  /** For a failed check: what would cure it. */
  cure?: string;
}

/** What a check returns if it has no objection: what it found, for the report, and what is now proven. */
export interface Finding<Value> {
  detail: string;
  value: Value;
}

/** Thrown by a check: it objects. `cure` where the check knows better than the table. */
export class Objection extends Error {
  constructor(
    message: string,
    readonly cure?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The report in the making. Whatever is thrown into {@link run} stops it; nothing is ever passed by default. */
export class Checklist {
  readonly #done = new Map<CheckId, Check>();
  #failure: VerifyError | undefined;

  /**
   * Makes one check.
   * @throws VerifyError if it objects; an error that is no lib's answer to bad input is a bug and rises as it is
   */
  async run<Value>(id: CheckId, check: () => Finding<Value> | Promise<Finding<Value>>): Promise<Value> {
    try {
      const { detail, value } = await check();
      this.#done.set(id, { id, title: table[id][0], state: 'passed', detail });
      return value;
    } catch (error) {
      const failure = failureOf(id, error);
      this.#done.set(id, { id, title: table[id][0], state: 'failed', detail: failure.message, cure: failure.cure });
      this.#failure = failure;
      throw failure;
    }
  }

  /** Notes that there is nothing to check. */
  skip(ids: readonly CheckId[], why: string): void {
    for (const id of ids) this.#done.set(id, { id, title: table[id][0], state: 'skipped', detail: why });
  }

  get failure(): VerifyError | undefined {
    return this.#failure;
  }

  /** Every check there is, in order, also those not reached. */
  list(): Check[] {
    const notReached = this.#failure?.check === undefined ? 'not made' : `not reached: ${this.#failure.check} failed`;
    return checkIds.map(
      (id) => this.#done.get(id) ?? { id, title: table[id][0], state: 'skipped', detail: notReached },
    );
  }
}

function failureOf(id: CheckId, error: unknown): VerifyError {
  const objects = error instanceof Objection;
  if (!objects && !isRefusal(error)) throw error;
  const cure = (objects ? error.cure : cures[error.code]) ?? table[id][1];
  // ids are lower case with hyphens, which is what the type of the code says
  const code = `VERIFY_${id.toUpperCase().replaceAll('-', '_')}` as VerifyErrorCode;
  return new VerifyError(code, error.message, { check: id, cure, cause: objects ? error.cause : error });
}

/** The answers of the libs below to bad input. */
const refusals = [
  BundleError,
  CryptoError,
  EncodingError,
  EntryError,
  MerkleError,
  NoteError,
  TimestampError,
  X509Error,
] as const;

function isRefusal(error: unknown): error is InstanceType<(typeof refusals)[number]> {
  return refusals.some((kind) => error instanceof kind);
}
