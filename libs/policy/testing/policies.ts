/** Pieces of policies for tests: documents as data, which is YAML when it is written as JSON. */
import { generateSigner } from '#libs/openssl';
import { encodePem } from '#libs/encoding';
import { SmallSigstore } from '../../../test/world/small-sigstore.js';
import { parsePolicyFile, PolicyError, type PolicyFile, type PolicyFileOptions, type Problem } from '../src/index.js';

export const small = new SmallSigstore('small');

export const keyPem = encodePem('PUBLIC KEY', generateSigner().publicKey.spki);

export const identity = { subject: 'ci@example.com', issuer: 'https://accounts.example.com' };

export type Fields = Record<string, unknown>;

export function policy(spec: Fields, name = 'web', rest: Fields = {}): Fields {
  return { apiVersion: 'policy.sigstore.dev/v1beta1', kind: 'ClusterImagePolicy', metadata: { name }, spec, ...rest };
}

/** A policy for everything with these authorities. */
export function forAll(authorities: readonly unknown[], more: Fields = {}): Fields {
  return policy({ images: [{ glob: '**' }], authorities, ...more });
}

/** A keyless authority with more or other fields. */
export function keyless(fields: Fields = {}, rest: Fields = {}): Fields {
  return { keyless: { identities: [identity], ...fields }, ...rest };
}

export function read(documents: Fields | readonly Fields[], options: PolicyFileOptions = {}): Promise<PolicyFile> {
  const list = Array.isArray(documents) ? (documents as readonly Fields[]) : [documents as Fields];
  const text = list.map((document) => JSON.stringify(document, null, 2)).join('\n---\n');
  return parsePolicyFile(text, { defaultTrustRoot: small.trustedRoot(), source: 'policy.yaml', ...options });
}

/** The problems of a file that must be refused. */
export async function problemsOf(
  documents: Fields | readonly Fields[] | string,
  options: PolicyFileOptions = {},
): Promise<readonly Problem[]> {
  try {
    await (typeof documents === 'string'
      ? parsePolicyFile(documents, { defaultTrustRoot: small.trustedRoot(), ...options })
      : read(documents, options));
  } catch (error) {
    if (error instanceof PolicyError) return error.problems;
    throw error;
  }
  return [];
}
