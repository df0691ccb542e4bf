import { createReadStream } from 'node:fs';
import { parseStatement } from '#libs/bundle';
import { SignError } from './error.js';

/**
 * What is signed: bytes or a file as they are, or an in-toto statement, which goes byte for byte into a DSSE envelope.
 */
export type Artifact =
  { kind: 'bytes'; bytes: Uint8Array } | { kind: 'file'; path: string } | { kind: 'statement'; bytes: Uint8Array };

/**
 * The artifact's bytes, piece by piece.
 * @throws SignError `SIGN_ARTIFACT` while reading
 */
export async function* readArtifact(artifact: Exclude<Artifact, { kind: 'statement' }>): AsyncGenerator<Uint8Array> {
  if (artifact.kind === 'bytes') {
    yield artifact.bytes;
    return;
  }
  try {
    for await (const chunk of createReadStream(artifact.path)) yield chunk as Uint8Array;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'it cannot be read';
    throw new SignError('SIGN_ARTIFACT', `Cannot read ${artifact.path}: ${code}`, { cause });
  }
}

// What verifiers compare subjects by: SHA-1, MD5 and Git's ids never count.
const COMPARABLE = ['sha256', 'sha384', 'sha512'];

/**
 * Refuses what verifiers would refuse later: a statement that does not parse, or none of whose subjects can be compared with an artifact.
 * @throws SignError `SIGN_STATEMENT`
 */
export function checkStatement(bytes: Uint8Array): void {
  try {
    const { subjects } = parseStatement(bytes);
    if (!subjects.some(({ digests }) => COMPARABLE.some((algorithm) => Object.hasOwn(digests, algorithm)))) {
      throw new Error('no subject has a digest of sha256, sha384 or sha512');
    }
  } catch (cause) {
    throw new SignError(
      'SIGN_STATEMENT',
      `Cannot sign the in-toto statement: ${cause instanceof Error ? cause.message : 'it does not parse'}`,
      {
        cause,
        cure: 'Give JSON with _type, subject (each with a digest) and predicateType; see the in-toto attestation framework',
      },
    );
  }
}
