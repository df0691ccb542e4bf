import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeHex, parseUtf8 } from '#libs/encoding';
import { generateSigner, sha256 } from '#libs/openssl';
import { fulcioExtensions, parseCertificatePem, subjectAltNames } from '#libs/x509';
import { certificateFacts } from './certificate-facts.js';
import { certificateKeys, publicKeyKeys } from './index.js';
import { email, makeCertificate } from '../testing/trees.js';

const vectors = `${import.meta.dirname}/../../../test/vectors/x509`;
const hexOf = (bytes: Uint8Array): string => encodeHex(sha256(bytes));

describe('certificateKeys()', () => {
  test('of a certificate of the public instance for a GitHub workflow', () => {
    const [leaf] = parseCertificatePem(parseUtf8(readFileSync(`${vectors}/leaf-happy-path-v0.3-new-mediaType.pem`)));
    if (leaf === undefined) throw new Error('the vector has no certificate');
    const workflow =
      'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main';
    expect(certificateKeys(leaf)).toEqual([
      workflow,
      'issuer:https://token.actions.githubusercontent.com',
      'repository:sigstore-conformance/extremely-dangerous-public-oidc-beacon',
      'repository:https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon',
      'workflow:extremely dangerous oidc beacon',
      `workflow:${workflow}`,
      `key:${hexOf(leaf.spki)}`,
      `certificate:${hexOf(leaf.der)}`,
    ]);
  });

  test.each([
    ['an e-mail address in lower case', { sans: [email('Me@Example.COM')] }, 'me@example.com'],
    ['a URI', { sans: [{ kind: 'uri', value: 'https://Host/Path' }] }, 'https://host/path'],
    ['a host name', { sans: [{ kind: 'dns', value: 'a.example' }] }, 'a.example'],
    [
      'a user name in an otherName',
      { sans: [{ kind: 'other-name', oid: '1.3.6.1.4.1.57264.1.7', value: 'name!domain' }] },
      'name!domain',
    ],
    ['the issuer', { told: { 8: 'https://Issuer.example' } }, 'issuer:https://issuer.example'],
    ['the issuer of old certificates', { told: { 1: 'https://old.example' } }, 'issuer:https://old.example'],
    ['the source repository', { told: { 12: 'https://forge.example/a/b' } }, 'repository:https://forge.example/a/b'],
    ["GitHub's repository of old certificates", { told: { 5: 'Owner/Name' } }, 'repository:owner/name'],
    ['the build signer', { told: { 9: 'https://forge.example/w@main' } }, 'workflow:https://forge.example/w@main'],
    ['the build config', { told: { 18: 'https://forge.example/c@main' } }, 'workflow:https://forge.example/c@main'],
    ["GitHub's name of the workflow", { told: { 4: 'Release' } }, 'workflow:release'],
  ] as const)('finds %s', (_name, says, key) => {
    const certificate = makeCertificate(says);
    expect(certificateKeys(certificate)).toEqual([
      key,
      `key:${hexOf(certificate.spki)}`,
      `certificate:${hexOf(certificate.der)}`,
    ]);
  });

  test.each([
    ['a text without the tag it must have', { 8: new TextEncoder().encode('https://issuer.example') }],
    ['a text longer than its value', { 8: Uint8Array.of(0x0c, 5, 0x61) }],
    ['bytes behind the text', { 8: Uint8Array.of(0x0c, 1, 0x61, 0x62) }],
    ['a length in more bytes than it needs', { 8: Uint8Array.of(0x0c, 0x81, 1, 0x61) }],
    ['bytes that are not UTF-8', { 8: Uint8Array.of(0x0c, 1, 0xff) }],
    ['bare bytes that are not UTF-8', { 1: Uint8Array.of(0xff) }],
    ['an empty text', { 8: Uint8Array.of(0x0c, 0) }],
    ['no bytes at all', { 8: new Uint8Array() }],
  ])('leaves out an extension with %s', (_name, raw) => {
    expect(certificateFacts(makeCertificate({ raw })).issuers).toEqual([]);
  });

  test('leaves out texts that nobody would type, and reads those that need a long length', () => {
    const facts = certificateFacts(
      makeCertificate({ told: { 9: 'a'.repeat(2049), 12: 'b'.repeat(200), 18: 'c'.repeat(2048) } }),
    );
    expect(facts.workflows).toEqual(['c'.repeat(2048)]);
    expect(facts.repositories).toEqual(['b'.repeat(200)]);
  });

  test('agrees with the strict readers of the same extensions', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }),
        fc.constantFrom(4, 5, 8, 9, 12, 18),
        (text, number) => {
          const certificate = makeCertificate({ sans: [email('a@example.com')], told: { [number]: text } });
          const { issuers, repositories, workflows, identities } = certificateFacts(certificate);
          const strict = Object.values(fulcioExtensions(certificate));
          expect([...issuers, ...repositories, ...workflows]).toEqual(strict);
          expect(identities).toEqual(subjectAltNames(certificate));
        },
      ),
      { numRuns: 50 },
    );
  });

  test('takes no longer than a certificate may take on the way into the log', () => {
    const certificate = makeCertificate({
      sans: [email('a@example.com')],
      told: { 1: 'x', 4: 'y', 5: 'z', 8: 'x', 9: 'a', 12: 'b', 18: 'c', 20: 'd', 21: 'e' },
    });
    for (let i = 0; i < 500; i++) certificateKeys(certificate);
    let best = Infinity;
    for (let round = 0; round < 20; round++) {
      const start = performance.now();
      for (let i = 0; i < 100; i++) certificateKeys(certificate);
      best = Math.min(best, (performance.now() - start) / 100);
    }
    expect(best).toBeLessThan(0.1); // ms; 0.03 where nothing else runs
  });
});

test('publicKeyKeys() is the key of a certificate for the same key', () => {
  const signer = generateSigner('P-384');
  expect(certificateKeys(makeCertificate({ signer }))).toContain(publicKeyKeys(signer.publicKey)[0]);
});
