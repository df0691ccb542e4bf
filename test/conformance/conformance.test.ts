import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parsePublicKeyPem } from '#libs/crypto';
import { opensslCrypto } from '#libs/openssl';
import { parseTrustedRoot } from '#libs/trust';
import {
  artifactFromBytes,
  artifactFromDigest,
  verifyBundle,
  type Artifact,
  type CheckId,
  type Policy,
} from '#libs/verify';
import { listCases, type ConformanceCase } from './cases.js';

const cases = listCases();
if (cases.length === 0) console.warn("conformance: the suite's cases are not beside this checkout, skipped");

/** Which check must object: a case that fails for another reason does not test what it is there for. */
const objections: Record<string, CheckId> = {
  'bundle-empty-certificate-chain_fail': 'bundle-format',
  'bundle-from-wrong-instance_fail': 'log-key',
  'bundle-malformed-json_fail': 'bundle-format',
  'bundle-negative-log-index_fail': 'bundle-format',
  'bundle-with-root-cert_fail': 'certificate-profile',
  'checkpoint-wrong-roothash_fail': 'log-checkpoint',
  'dsse-invalid-sig_fail': 'log-binding',
  'dsse-mismatch-envelope_fail': 'log-binding',
  'intoto-missing-inclusion-proof_fail': 'bundle-format',
  'intoto-set-outside-signing-cert-validity_fail': 'certificate-chain',
  'intoto-tsa-timestamp-outside-cert-validity_fail': 'certificate-chain',
  'invalid-checkpoint-signature_fail': 'log-checkpoint',
  'invalid-ct-key_fail': 'certificate-transparency',
  'invalid-inclusion-proof_fail': 'bundle-format',
  'managed-key-no-key_fail': 'signer-kind',
  'rekor2-checkpoint-missing-log-signature_fail': 'log-checkpoint',
  'rekor2-checkpoint-missing-root-hash_fail': 'log-checkpoint',
  'rekor2-checkpoint-no-matching-signature_fail': 'log-checkpoint',
  'rekor2-dsse-mismatch-envelope_fail': 'log-binding',
  'rekor2-no-inclusion-proof_fail': 'bundle-format',
  'rekor2-no-timestamp_fail': 'trusted-time',
  'rekor2-timestamp-outside-trust-root-tsa-validity_fail': 'timestamp',
  'rekor2-timestamp-payload-mismatch_fail': 'timestamp',
  'rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail': 'timestamp',
  'set-invalid-signature_fail': 'log-promise',
  'signature-mismatch_fail': 'log-binding',
  'wrong-hashedrekord-artifact_fail': 'log-binding',
  'wrong-hashedrekord-entry_fail': 'log-binding',
  'wrong-material_fail': 'log-binding',
};

async function verify(conformanceCase: ConformanceCase, artifact: Artifact) {
  const { bundle, trustedRoot, identity, issuer, key } = conformanceCase;
  const policy: Policy =
    key === undefined
      ? { kind: 'identity', san: identity, issuer }
      : { kind: 'key', publicKey: parsePublicKeyPem(readFileSync(key, 'utf8')) };
  return verifyBundle({
    bundle: readFileSync(bundle),
    artifact,
    trustedRoot: parseTrustedRoot(readFileSync(trustedRoot)),
    policy,
    crypto: opensslCrypto,
  });
}

describe.skipIf(cases.length === 0)('the client conformance suite', () => {
  describe.each([
    ['PATH', (bytes: Uint8Array) => artifactFromBytes(bytes, opensslCrypto)],
    ['DIGEST', (bytes: Uint8Array) => artifactFromDigest('sha256', opensslCrypto.hash('sha256', bytes))],
  ])('%s', (_, open) => {
    test.each(cases.map((conformanceCase) => [conformanceCase.name, conformanceCase] as const))(
      '%s',
      async (name, conformanceCase) => {
        const report = await verify(conformanceCase, open(readFileSync(conformanceCase.artifact)));
        const failed = report.checks.find(({ state }) => state === 'failed');
        expect([failed?.id, failed?.detail]).toEqual([objections[name], failed?.detail]);
        expect(report.ok).toBe(!conformanceCase.mustFail);
        expect(report.failure?.check).toBe(failed?.id);
        expect(report.signer === undefined).toBe(conformanceCase.mustFail);
      },
    );
  });

  test('every failing case has its objection', () => {
    expect(Object.keys(objections).sort()).toEqual(cases.filter(({ mustFail }) => mustFail).map(({ name }) => name));
  });
});
