import { EncodingError, parseJson } from '#libs/encoding';
import { BundleError } from './error.js';
import { JsonMessage } from './json-message.js';

/** Statements of both versions are in the field: cosign writes v0.1, everyone else v1. */
const STATEMENT_TYPES = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];

// sigstore-go: pkg/verify/signature.go, the same numbers
const MAX_SUBJECTS = 1024;
const MAX_DIGESTS = 32;
const MAX_STATEMENT_BYTES = 16 * 1024 * 1024;

/** What an in-toto statement claims, and about which artifacts. */
export interface Statement {
  type: string;
  subjects: Subject[];
  /** URI. */
  predicateType: string;
  /** Parsed JSON; `{}` when absent. Integers beyond 2^53 are `bigint`. */
  predicate: object;
}

export interface Subject {
  name?: string;
  /** Algorithm (`sha256`) to digest in hex, as written. */
  digests: Readonly<Record<string, string>>;
}

/**
 * Reads an in-toto statement. Fields it does not know are left alone, as the specification asks of consumers; a subject
 * without a digest is refused, because nothing could ever match it.
 * @throws BundleError `BUNDLE_STATEMENT`, `BUNDLE_LIMIT`
 * @see in-toto/attestation: spec/v1/statement.md
 */
export function parseStatement(payload: Uint8Array): Statement {
  if (payload.length > MAX_STATEMENT_BYTES) throw refuse('limit', `it has more than ${MAX_STATEMENT_BYTES} bytes`);
  let json: unknown;
  try {
    json = parseJson(payload, { bigIntegers: true });
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw new BundleError('BUNDLE_STATEMENT', 'Cannot read in-toto statement: payload is not JSON', { cause: error });
  }
  const statement = new JsonMessage(json, '', refuse);
  const type = statement.requiredString('_type');
  if (!STATEMENT_TYPES.includes(type))
    throw statement.fault('malformed', '_type', `is not ${STATEMENT_TYPES.join(' or ')}`);
  const subjects = statement.messages('subject', MAX_SUBJECTS).map(readSubject);
  if (subjects.length === 0) throw statement.fault('malformed', 'subject', 'is empty');
  return {
    type,
    subjects,
    predicateType: statement.requiredString('predicateType'),
    predicate: statement.message('predicate')?.fields ?? {},
  };
}

function readSubject(subject: JsonMessage): Subject {
  const name = subject.string('name');
  const digest = subject.requiredMessage('digest');
  const algorithms = Object.keys(digest.fields);
  if (algorithms.length === 0) throw subject.fault('malformed', 'digest', 'is empty');
  if (algorithms.length > MAX_DIGESTS)
    throw subject.fault('limit', 'digest', `has more than ${MAX_DIGESTS} algorithms`);
  return {
    ...(name === '' ? {} : { name }),
    digests: Object.fromEntries(algorithms.map((algorithm) => [algorithm, digest.requiredString(algorithm, 1024)])),
  };
}

function refuse(fault: 'malformed' | 'limit', problem: string): BundleError {
  return new BundleError(
    fault === 'limit' ? 'BUNDLE_LIMIT' : 'BUNDLE_STATEMENT',
    `Cannot read in-toto statement: ${problem}`,
  );
}
