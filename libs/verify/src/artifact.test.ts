import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { rememberDigests } from './artifact.js';
import { artifactFromBytes, parseArtifactDigest } from './index.js';

describe('parseArtifactDigest()', () => {
  test('reads a digest', async () => {
    const artifact = parseArtifactDigest(`sha256:${'ab'.repeat(32)}`);
    expect(await artifact?.digest('sha256')).toEqual(new Uint8Array(32).fill(0xab));
    expect(await artifact?.digest('sha512')).toBeUndefined();
    expect(artifact?.bytes).toBeUndefined();
  });

  test.each(['file.txt', 'md5:00', 'SHA256:00', ''])('leaves %j to those who look for a file', (text) => {
    expect(parseArtifactDigest(text)).toBeUndefined();
  });

  test.each([
    'sha256:',
    `sha256:${'ab'.repeat(31)}`,
    `sha256:${'xy'.repeat(32)}`,
    `sha512:${'ab'.repeat(32)}`,
    `sha256:${'ab'.repeat(32)}\n`,
  ])('refuses %j', (text) => {
    expect(() => parseArtifactDigest(text)).toThrow(expect.objectContaining({ code: 'VERIFY_POLICY' }));
  });
});

test('rememberDigests() hashes once for each algorithm', async () => {
  let hashed = 0;
  const artifact = rememberDigests({
    digest: (algorithm) => {
      hashed++;
      return opensslCrypto.hash(algorithm, encodeUtf8('hello'));
    },
  });
  await artifact.digest('sha256');
  await artifact.digest('sha256');
  await artifact.digest('sha512');
  expect(hashed).toBe(2);
  expect(artifact.bytes).toBeUndefined();
  expect(rememberDigests(artifactFromBytes(encodeUtf8('hello'), opensslCrypto)).bytes?.()).toEqual(encodeUtf8('hello'));
});
