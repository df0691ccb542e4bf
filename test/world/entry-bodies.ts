/** Bodies of log entries as the logs write them, also of Rekor v1, which only other people run. */
import { IN_TOTO_PAYLOAD_TYPE } from '#libs/bundle';
import { algorithmForKey, type HashAlgorithm, type Signer } from '#libs/crypto';
import { canonicalizeJson, encodeBase64, encodeHex, encodePem, encodeUtf8 } from '#libs/encoding';
import { canonicalizeEntry } from '#libs/entry';
import { sha256 } from '#libs/openssl';
import type { Certificate } from '#libs/x509';

/** What a body is about. `digest`: of the message, or of the PAE of an envelope. */
export interface Logged {
  digest: Uint8Array;
  algorithm: HashAlgorithm;
  signature: Uint8Array;
}

/** By whom: a managed key has no certificate. */
export interface Verifiable {
  signer: Signer;
  certificate?: Certificate;
}

/** A body of Rekor v2. */
export function body2({ digest, signature }: Logged, { signer, certificate }: Verifiable): Uint8Array {
  const { publicKey } = signer;
  // For a log an Ed25519 key means the pre-hashed form.
  const keyDetails = publicKey.kind === 'ed25519' ? 'PKIX_ED25519_PH' : algorithmForKey(publicKey).keyDetails;
  return canonicalizeEntry({
    kind: 'hashedrekord',
    digest,
    signature,
    keyDetails,
    verifier: certificate === undefined ? { publicKey: publicKey.spki } : { x509Certificate: certificate.der },
  });
}

/** A hashedrekord of Rekor v1: hex, and base64 of PEM. */
export function bodyHashedRekord1({ digest, algorithm, signature }: Logged, by: Verifiable): Uint8Array {
  return encodeUtf8(
    canonicalizeJson({
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: {
        data: { hash: { algorithm, value: encodeHex(digest) } },
        signature: { content: encodeBase64(signature), publicKey: { content: pemOf(by) } },
      },
    }),
  );
}

/** A dsse of Rekor v1. */
export function bodyDsse1({ signature, payload }: Logged & { payload: Uint8Array }, by: Verifiable): Uint8Array {
  return encodeUtf8(
    canonicalizeJson({
      apiVersion: '0.0.1',
      kind: 'dsse',
      spec: {
        envelopeHash: { algorithm: 'sha256', value: '00'.repeat(32) },
        payloadHash: { algorithm: 'sha256', value: encodeHex(sha256(payload)) },
        signatures: [{ signature: encodeBase64(signature), verifier: pemOf(by) }],
      },
    }),
  );
}

/** An intoto of Rekor v1, whose signature is base64 twice. */
export function bodyIntoto2({ signature, payload }: Logged & { payload: Uint8Array }, by: Verifiable): Uint8Array {
  const sig = encodeBase64(encodeUtf8(encodeBase64(signature)));
  return encodeUtf8(
    canonicalizeJson({
      apiVersion: '0.0.2',
      kind: 'intoto',
      spec: {
        content: {
          envelope: { payloadType: IN_TOTO_PAYLOAD_TYPE, signatures: [{ publicKey: pemOf(by), sig }] },
          hash: { algorithm: 'sha256', value: '00'.repeat(32) },
          payloadHash: { algorithm: 'sha256', value: encodeHex(sha256(payload)) },
        },
      },
    }),
  );
}

function pemOf({ signer, certificate }: Verifiable): string {
  const pem =
    certificate === undefined
      ? encodePem('PUBLIC KEY', signer.publicKey.spki)
      : encodePem('CERTIFICATE', certificate.der);
  return encodeBase64(encodeUtf8(pem));
}
