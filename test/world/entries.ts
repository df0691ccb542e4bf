/** Log entries and certificates as clients ask for them, each one new. */
import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { encodeBase64, encodePem } from '#libs/encoding';
import { canonicalizeEntry } from '#libs/entry';

const keyDetails = 'PKIX_ECDSA_P256_SHA_256';
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const spki = new Uint8Array(keys.publicKey.export({ type: 'spki', format: 'der' }));

/** A request to log a signature, and the bytes that the log must hash for it. */
export interface PreparedEntry {
  readonly request: string;
  readonly canonicalizedBody: Uint8Array;
}

/** A log's answer, as far as we read it. */
export interface LogAnswer {
  readonly logIndex: string;
  readonly canonicalizedBody: string;
  readonly inclusionProof: {
    readonly treeSize: string;
    readonly rootHash: string;
    readonly hashes: string[];
    readonly checkpoint: { readonly envelope: string };
  };
}

/** An entry that no log has yet. */
export function newEntry(): PreparedEntry {
  const artifact = randomBytes(32);
  const digest = new Uint8Array(createHash('sha256').update(artifact).digest());
  const signature = new Uint8Array(sign('sha256', artifact, keys.privateKey));
  const verifier = { publicKey: spki };
  return {
    request: JSON.stringify({
      hashedRekordRequestV002: {
        digest: encodeBase64(digest),
        signature: {
          content: encodeBase64(signature),
          verifier: { publicKey: { rawBytes: encodeBase64(spki) }, keyDetails },
        },
      },
    }),
    canonicalizedBody: canonicalizeEntry({ kind: 'hashedrekord', digest, signature, keyDetails, verifier }),
  };
}

/** Sends an entry, and gives back whatever comes. */
export function post(url: string, entry: PreparedEntry): Promise<Response> {
  return fetch(`${url}/api/v2/log/entries`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: entry.request,
  });
}

/** Logs an entry; anything but success is an error. */
export async function append(url: string, entry: PreparedEntry): Promise<LogAnswer> {
  const response = await post(url, entry);
  const text = await response.text();
  assert.equal(response.status, 201, text);
  return JSON.parse(text) as LogAnswer;
}

/** Logs so many new entries over 32 connections. */
export async function appendMany(url: string, count: number): Promise<{ entry: PreparedEntry; answer: LogAnswer }[]> {
  const logged: { entry: PreparedEntry; answer: LogAnswer }[] = [];
  let begun = 0;
  const connection = async (): Promise<void> => {
    while (begun < count) {
      begun++;
      const entry = newEntry();
      logged.push({ entry, answer: await append(url, entry) });
    }
  };
  await Promise.all(Array.from({ length: 32 }, connection));
  return logged;
}

/** Obtains a certificate for a new key, PEM; the token names an e-mail address. */
export async function obtainCertificate(url: string, token: string, email: string): Promise<string> {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const response = await fetch(`${url}/api/v2/signingCert`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      credentials: { oidcIdentityToken: token },
      publicKeyRequest: {
        publicKey: {
          algorithm: 'ECDSA',
          content: encodePem('PUBLIC KEY', pair.publicKey.export({ type: 'spki', format: 'der' })),
        },
        proofOfPossession: sign('sha256', Buffer.from(email), pair.privateKey).toString('base64'),
      },
    }),
  });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const answer = JSON.parse(text) as { signedCertificateEmbeddedSct: { chain: { certificates: string[] } } };
  return answer.signedCertificateEmbeddedSct.chain.certificates[0] ?? '';
}
