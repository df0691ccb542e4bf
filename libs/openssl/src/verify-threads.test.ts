import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { generateKeyPairSync, sign } from 'node:crypto';
import { encodeUtf8 } from '#libs/encoding';
import { parsePublicKey, type SignatureScheme } from '#libs/crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { encodeJob, parseJob } from './verify-job.js';
import { sha256 } from './hash.js';
import type * as VerifyThreads from './verify-threads.js';

describe('encodeJob()', () => {
  const hashes = ['sha256', 'sha384', 'sha512'] as const;
  const schemes: SignatureScheme[] = [
    ...(['ecdsa', 'rsa-pkcs1', 'rsa-pss'] as const).flatMap((kind) => hashes.map((hash) => ({ kind, hash }))),
    { kind: 'ed25519' },
    { kind: 'ed25519ph' },
  ];
  it.each(schemes)('is read back by parseJob(): $kind $hash', (scheme) => {
    const job = {
      kind: 'digest' as const,
      scheme,
      spki: Uint8Array.of(1),
      data: new Uint8Array(0),
      signature: Uint8Array.of(2, 3),
    };
    for (const one of [job, { ...job, kind: 'message' as const }]) expect(parseJob(encodeJob(one))).toEqual(one);
  });
});

// A thread runs compiled code: these need the build that `npm test` makes first.
const built = join(import.meta.dirname, '..', '..', '..', 'dist', 'libs', 'openssl', 'src', 'verify-threads.js');
if (!existsSync(built)) console.warn('there is no build: the verifying threads are not tested');

describe.skipIf(!existsSync(built))('threadedCrypto()', async () => {
  const { threadedCrypto } = (existsSync(built) ? await import(pathToFileURL(built).href) : {}) as typeof VerifyThreads;
  const crypto = threadedCrypto(2);
  afterAll(() => crypto.close());

  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = parsePublicKey(new Uint8Array(pair.publicKey.export({ type: 'spki', format: 'der' })));
  const scheme = { kind: 'ecdsa', hash: 'sha256' } as const;
  const signed = (text: string) => new Uint8Array(sign('sha256', encodeUtf8(text), pair.privateKey));

  it('answers each of many questions at once', async () => {
    const questions = Array.from({ length: 200 }, (_, at) => ({ text: `message ${at}`, right: at % 3 !== 0 }));
    const answers = await Promise.all(
      questions.flatMap(({ text, right }) => {
        const signature = signed(right ? text : 'another');
        const message = encodeUtf8(text);
        return [
          crypto.verify(key, scheme, message, signature),
          crypto.verifyDigest(key, scheme, sha256(message), signature),
        ];
      }),
    );
    expect(answers).toEqual(questions.flatMap(({ right }) => [right, right]));
  });

  it('verifies a message too long to hand over', async () => {
    const text = 'x'.repeat(100_000);
    expect(await crypto.verify(key, scheme, encodeUtf8(text), signed(text))).toBe(true);
  });

  it('refuses a signature that no key could make, and a scheme that is not of the key', async () => {
    expect(await crypto.verify(key, scheme, encodeUtf8('m'), new Uint8Array(70_000))).toBe(false);
    await expect(crypto.verify(key, { kind: 'ed25519' }, encodeUtf8('m'), signed('m'))).rejects.toMatchObject({
      code: 'CRYPTO_SCHEME',
    });
    await expect(crypto.verifyDigest(key, scheme, new Uint8Array(20), signed('m'))).rejects.toMatchObject({
      code: 'CRYPTO_SCHEME',
    });
  });

  it('after close() says so', async () => {
    const closed = threadedCrypto(1);
    await closed.close();
    await expect(closed.verify(key, scheme, encodeUtf8('m'), signed('m'))).rejects.toThrow(/closed/);
  });
});
