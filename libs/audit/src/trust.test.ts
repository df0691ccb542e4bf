import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { CryptoPort } from '#libs/crypto';
import {
  cosignatureSigner,
  ecdsaNoteSigner,
  ed25519NoteSigner,
  encodeCheckpoint,
  encodeVerifierKey,
  rfc6962NoteSigner,
  signNote,
  type NoteSigner,
} from '#libs/note';
import { generateSigner, opensslCrypto, sha256 } from '#libs/openssl';
import type { TlogInstance, TrustedRoot } from '#libs/trust';
import { AuditError, claimedSigner, parseLogKey, readCheckpoint, type LogTrust } from './index.js';

const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
const nowMs = Date.parse('2026-06-01T00:00:00Z');
const note = (origin: string, ...signers: NoteSigner[]) =>
  signNote(encodeCheckpoint({ origin, size: 0n, rootHash: sha256(new Uint8Array()), extensions: [] }), signers);

const v2 = generateSigner('ed25519');
const v1 = generateSigner('P-256');
const ct = generateSigner('P-256');
const instance = (publicKey: TlogInstance['publicKey'], logId: Uint8Array): TlogInstance => ({
  baseUrl: 'https://log.example',
  hashAlgorithm: 'sha256',
  publicKey,
  keyDetails: publicKey.kind === 'ed25519' ? 'PKIX_ED25519' : 'PKIX_ECDSA_P256_SHA_256',
  validFor: { start: new Date('2026-01-01T00:00:00Z'), end: new Date('2026-12-31T00:00:00Z') },
  logId,
});
const v2Signer = ed25519NoteSigner('log.example', v2, hash);
const v1Signer = ecdsaNoteSigner('rekor.example', v1, hash);
const ctSigner = rfc6962NoteSigner('ct.example/2026', ct, hash, { timestampMs: () => 1n });
let trustedRoot: TrustedRoot;
let trust: LogTrust;
beforeAll(() => {
  trustedRoot = {
    mediaType: '',
    tlogs: [instance(v2.publicKey, v2Signer.logId), instance(v1.publicKey, sha256(v1.publicKey.spki))],
    ctlogs: [instance(ct.publicKey, sha256(ct.publicKey.spki))],
    certificateAuthorities: [],
    timestampAuthorities: [],
  } as TrustedRoot;
  trust = { trustedRoot, nowMs };
});

describe('readCheckpoint()', () => {
  it.each([
    ['Rekor v2', () => note('log.example', v2Signer)],
    ['Rekor v1', () => note('rekor.example - 1193050959916656506', v1Signer)],
    ['a CT log', () => note('ct.example/2026', ctSigner)],
  ])('finds the key of %s in a trusted root by the id in the note', async (_, make) => {
    const { signedBy } = await readCheckpoint(make(), trust);
    expect(signedBy?.logId).toHaveLength(32);
    // And what it found is a key by which the note verifies again.
    const again = await readCheckpoint(make(), { logKeys: [parseLogKey(signedBy?.verifierKey ?? '')], nowMs });
    expect(again.signedBy).toMatchObject({ verifierKey: signedBy?.verifierKey });
  });

  it('believes verifier keys, among signatures of others', async () => {
    const key = encodeVerifierKey({ kind: 'ed25519', name: 'log.example', key: v2.publicKey }, hash);
    const other = ed25519NoteSigner('other.example', generateSigner('ed25519'), hash);
    const read = await readCheckpoint(note('log.example', other, v2Signer), {
      logKeys: [parseLogKey(`${key}\n`)],
      nowMs,
    });
    expect(read.signedBy).toEqual({ verifierKey: key, keyId: key.split('+')[1] });
  });

  it('says that nothing was verified when there is nobody to believe', async () => {
    expect((await readCheckpoint(note('log.example', v2Signer), { nowMs })).signedBy).toBeUndefined();
  });

  it.each([
    [
      'another key of that name',
      () => note('log.example', ed25519NoteSigner('log.example', generateSigner('ed25519'), hash)),
      'AUDIT_SIGNER',
    ],
    ['a believed key under another origin', () => note('evil.example', v2Signer), 'AUDIT_SIGNER'],
    ['a believed key whose name begins another origin', () => note('rekor.example - 1 - 2', v1Signer), 'AUDIT_SIGNER'],
    ['a changed text', () => note('log.example', v2Signer).replace('\n0\n', '\n1\n'), 'AUDIT_CHECKPOINT'],
    ['no note', () => 'log.example\n0\n', 'AUDIT_CHECKPOINT'],
    ['no text', () => Uint8Array.of(0xff, 0xfe), 'AUDIT_CHECKPOINT'],
  ] as [string, () => string | Uint8Array, string][])('refuses %s', async (_, make, code) => {
    await expect(readCheckpoint(make(), trust)).rejects.toMatchObject({ code });
  });

  it('believes no key outside its validity', async () => {
    for (const time of ['2025-12-31T23:59:59Z', '2026-12-31T00:00:01Z']) {
      await expect(
        readCheckpoint(note('log.example', v2Signer), { trustedRoot, nowMs: Date.parse(time) }),
      ).rejects.toMatchObject({ code: 'AUDIT_SIGNER' });
    }
  });

  it('returns or throws its own error for any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.uint8Array()), async (text) => {
        await readCheckpoint(text, trust).catch((error: unknown) => expect(error).toBeInstanceOf(AuditError));
      }),
    );
  });
});

describe('parseLogKey()', () => {
  it('refuses the key of a witness, and what is no key', () => {
    const witness = generateSigner('ed25519');
    const key = encodeVerifierKey({ kind: 'cosignature', name: 'w.example', key: witness.publicKey }, hash);
    for (const text of [key, '', 'log.example', 'log.example+00000000+AAAA']) {
      expect(() => parseLogKey(text)).toThrow(expect.objectContaining({ code: 'AUDIT_KEY' }) as Error);
    }
  });
});

describe('claimedSigner()', () => {
  it('tells the first signature line', () => {
    const witness = cosignatureSigner('w.example', generateSigner('ed25519'), hash, { time: () => 1n });
    const { name, keyId } = claimedSigner(note('log.example', v2Signer, witness));
    expect({ name, keyId }).toEqual({ name: 'log.example', keyId: Buffer.from(v2Signer.keyId).toString('hex') });
  });
});
