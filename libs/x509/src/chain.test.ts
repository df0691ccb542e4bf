import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { derInteger, derNull, derSequence, parseBase64 } from '#libs/encoding';
import { generateSigner, opensslCrypto, verifySync } from '#libs/openssl';
import { type Certificate, parseCertificate, parseCertificatePem } from './certificate.js';
import { buildChain, buildChainSync, type ChainOptions } from './chain.js';
import { encodeName } from './name.js';
import { oid } from './oid.js';
import { type Authority, authority, day, extension, forge, type Forgery } from './testing.js';

const vectors = join(import.meta.dirname, '../../../test/vectors/x509');

describe('buildChain() of real certificates', () => {
  interface Trust {
    readonly certificateAuthorities: readonly { readonly certificates: readonly string[] }[];
    readonly timestampAuthorities: readonly { readonly certificates: readonly string[] }[];
  }
  const load = (name: string, kind: keyof Trust = 'certificateAuthorities') => {
    const trust = JSON.parse(readFileSync(join(vectors, `trust-${name}.json`), 'utf8')) as Trust;
    return trust[kind].flatMap(({ certificates }) => certificates.map((der) => parseCertificate(parseBase64(der))));
  };
  const selfSigned = ({ issuer, subject }: Certificate) => Buffer.compare(issuer, subject) === 0;

  it.each([
    ['happy-path-v0.1', 'public-good'],
    ['happy-path-v0.3-new-mediaType', 'public-good'],
    ['rekor2-happy-path', 'rekor2'],
    ['intoto-with-custom-trust-root', 'custom'],
  ])('%s: a path at both ends of the validity, none a millisecond outside', async (name, root) => {
    const [leaf] = parseCertificatePem(readFileSync(join(vectors, `leaf-${name}.pem`), 'utf8'));
    if (!leaf) throw new Error('Cannot test: the vector is empty');
    const all = load(root);
    const build = (time: number) => {
      const options = {
        intermediates: all.filter((c) => !selfSigned(c)),
        anchors: all.filter(selfSigned),
        time: new Date(time),
      };
      return buildChain(leaf, { ...options, extendedKeyUsage: oid.codeSigning }, opensslCrypto);
    };
    const [begin, end] = [leaf.notBefore.getTime(), leaf.notAfter.getTime()];
    for (const time of [begin, begin + 1000, end]) {
      const chain = await build(time);
      expect(chain[0]).toBe(leaf);
      expect(chain.at(-1)).toSatisfy(selfSigned);
    }
    for (const time of [begin - 1, end + 1, Date.UTC(2030, 0)]) {
      await expect(build(time)).rejects.toMatchObject({
        code: 'X509_CHAIN_EXPIRED',
        details: { position: 0, certificate: 'leaf certificate' },
      });
    }
  });

  it('the timestamp authority of the rekor2 root, whose leaf comes first in its chain', async () => {
    const [leaf, ...above] = load('rekor2', 'timestampAuthorities');
    if (!leaf) throw new Error('Cannot test: no timestamp authority');
    const options = {
      intermediates: above.slice(0, -1),
      anchors: above.slice(-1),
      time: leaf.notBefore,
      extendedKeyUsage: oid.timeStamping,
    };
    await expect(buildChain(leaf, options, opensslCrypto)).resolves.toHaveLength(above.length + 1);
    await expect(
      buildChain(leaf, { ...options, extendedKeyUsage: oid.codeSigning }, opensslCrypto),
    ).rejects.toMatchObject({ code: 'X509_CHAIN_USAGE' });
  });

  it('bundle-from-wrong-instance_fail: the other instance has CAs of the same names, but not the key', async () => {
    const [leaf] = parseCertificatePem(readFileSync(join(vectors, 'leaf-bundle-from-wrong-instance_fail.pem'), 'utf8'));
    if (!leaf) throw new Error('Cannot test: the vector is empty');
    const all = load('public-good');
    const options = {
      intermediates: all.filter((c) => !selfSigned(c)),
      anchors: all.filter(selfSigned),
      time: leaf.notBefore,
    };
    await expect(buildChain(leaf, options, opensslCrypto)).rejects.toMatchObject({ code: 'X509_CHAIN_NO_PATH' });
  });
});

// root (key 1) → middle (key 2) → leaf (key 3), all valid from day 1 to day 30.
const [rootKey, middleKey, leafKey] = [generateSigner(), generateSigner(), generateSigner()] as const;
const root = authority('root', rootKey);
const middle = authority('middle', middleKey, root);
const purpose = oid.codeSigning;

function leafBy(parent: Authority, changes: Partial<Forgery> = {}): Certificate {
  return parseCertificate(
    forge({
      issuer: parent.certificate.subject,
      spki: leafKey.publicKey.spki,
      signer: parent.signer,
      extensions: [extension.digitalSignature, extension.purposes(purpose), extension.email('a@example.com')],
      ...changes,
    }),
  );
}

/** The outcome of `buildChain`, once it is sure that `buildChainSync` has the same. */
async function build(leaf: Certificate, changes: Partial<ChainOptions> = {}): Promise<Certificate[]> {
  const options = {
    intermediates: [middle.certificate],
    anchors: [root.certificate],
    time: day(10),
    extendedKeyUsage: purpose,
    ...changes,
  };
  const [outcome, sync] = await Promise.allSettled([
    buildChain(leaf, options, opensslCrypto),
    new Promise((resolve) => resolve(buildChainSync(leaf, options, verifySync))),
  ]);
  expect(sync).toEqual(outcome);
  if (outcome.status === 'rejected') throw outcome.reason;
  return outcome.value;
}

const middleWith = (extensions: Forgery['extensions'] & object, by: Authority = root) =>
  authority('middle', middleKey, by, { extensions });

describe('buildChain()', () => {
  it('returns leaf, intermediate, anchor', async () => {
    const leaf = leafBy(middle);
    expect(await build(leaf)).toEqual([leaf, middle.certificate, root.certificate]);
  });

  it('may end at an intermediate that is trusted, without its root', async () => {
    const leaf = leafBy(middle);
    expect(await build(leaf, { intermediates: [], anchors: [middle.certificate] })).toEqual([leaf, middle.certificate]);
  });

  it('finds its way past hints that do not hold', async () => {
    const wrongKey = authority('middle', generateSigner(), root).certificate;
    const expired = authority('middle', middleKey, root, { notAfter: day(5) }).certificate;
    const leaf = leafBy(middle);
    const chain = await build(leaf, { intermediates: [wrongKey, expired, leaf, middle.certificate] });
    expect(chain[1]).toBe(middle.certificate);
  });

  // CVE-2026-24122: an expired intermediate was accepted where another check was skipped.
  describe('CVE-2026-24122: each single certificate expired, or not yet valid', () => {
    const expired = { notAfter: day(9) };
    const early = { notBefore: day(11) };
    const rootThen = (changes: Partial<Forgery>) => authority('root', rootKey, undefined, changes).certificate;
    const middleThen = (changes: Partial<Forgery>) => authority('middle', middleKey, root, changes).certificate;
    it.each<[string, number, Certificate, Partial<ChainOptions>]>([
      ['leaf expired', 0, leafBy(middle, expired), {}],
      ['leaf early', 0, leafBy(middle, early), {}],
      ['intermediate expired', 1, leafBy(middle), { intermediates: [middleThen(expired)] }],
      ['intermediate early', 1, leafBy(middle), { intermediates: [middleThen(early)] }],
      [
        'intermediate expired, and itself the anchor',
        1,
        leafBy(middle),
        { anchors: [middleThen(expired)], intermediates: [] },
      ],
      ['root expired', 2, leafBy(middle), { anchors: [rootThen(expired)] }],
      ['root early', 2, leafBy(middle), { anchors: [rootThen(early)] }],
    ])('%s', async (_, position, leaf, changes) => {
      await expect(build(leaf, changes)).rejects.toMatchObject({
        code: 'X509_CHAIN_EXPIRED',
        details: { position, time: day(10) },
      });
    });

    it('says which, when it was valid, and what was asked', async () => {
      await expect(build(leafBy(middle), { intermediates: [middleThen(expired)] })).rejects.toThrow(
        'Cannot verify certificate "CN=middle,O=example": it is valid from 2025-01-01T00:00:00.000Z to 2025-01-09T00:00:00.000Z, not at 2025-01-10T00:00:00.000Z',
      );
    });

    it('takes both ends as valid', async () => {
      await expect(build(leafBy(middle), { time: day(1) })).resolves.toHaveLength(3);
      await expect(build(leafBy(middle), { time: day(30) })).resolves.toHaveLength(3);
    });

    it('takes no time for an answer: an invalid date is inside no validity', async () => {
      await expect(build(leafBy(middle), { time: new Date(NaN) })).rejects.toMatchObject({
        code: 'X509_CHAIN_EXPIRED',
      });
    });
  });

  const usage = [extension.certSign, extension.ca(), extension.keyId(new Uint8Array(20).fill(6))] as const;
  const unknown = { oid: '1.2.3.4', critical: true, value: derNull() };
  const constraints = (critical: boolean) => ({ oid: oid.nameConstraints, critical, value: derSequence() });
  const rootless = authority('middle', middleKey);

  it.each<[string, string, number, Certificate, Partial<ChainOptions>]>([
    ['no anchors at all', 'X509_CHAIN_NO_PATH', 1, leafBy(middle), { anchors: [] }],
    ['no certificate at all', 'X509_CHAIN_NO_PATH', 0, leafBy(middle), { anchors: [], intermediates: [] }],
    [
      'an anchor with the name spelled in another string type',
      'X509_CHAIN_NO_PATH',
      0,
      leafBy(root, { issuer: Uint8Array.from(root.certificate.subject, (byte) => (byte === 0x0c ? 0x13 : byte)) }),
      {},
    ],
    [
      'a self-signed intermediate that nobody trusts',
      'X509_CHAIN_NO_PATH',
      1,
      leafBy(rootless),
      { intermediates: [rootless.certificate] },
    ],
    [
      'another key identifier than the leaf names',
      'X509_CHAIN_NO_PATH',
      0,
      leafBy(middle, { extensions: [extension.purposes(purpose), extension.authority(new Uint8Array(20))] }),
      {},
    ],
    [
      'a leaf that is itself the anchor',
      'X509_CHAIN_NO_PATH',
      0,
      authority('self', leafKey, undefined, { extensions: [extension.purposes(purpose)] }).certificate,
      { anchors: [authority('self', leafKey, undefined, { extensions: [extension.purposes(purpose)] }).certificate] },
    ],
    [
      'an issuer that is no CA',
      'X509_CHAIN_NOT_CA',
      1,
      leafBy(middle),
      { intermediates: [middleWith([extension.certSign, extension.keyId(new Uint8Array(20).fill(6))]).certificate] },
    ],
    [
      'an issuer that says it is no CA',
      'X509_CHAIN_NOT_CA',
      1,
      leafBy(middle),
      {
        intermediates: [
          middleWith([extension.certSign, { oid: oid.basicConstraints, critical: true, value: derSequence() }])
            .certificate,
        ],
      },
    ],
    [
      'an anchor that is no CA',
      'X509_CHAIN_NOT_CA',
      1,
      leafBy(root),
      { anchors: [authority('root', rootKey, undefined, { extensions: [extension.certSign] }).certificate] },
    ],
    [
      'an issuer that may not sign certificates',
      'X509_CHAIN_USAGE',
      1,
      leafBy(middle),
      { intermediates: [middleWith([extension.digitalSignature, extension.ca()]).certificate] },
    ],
    [
      'a leaf for another purpose',
      'X509_CHAIN_USAGE',
      0,
      leafBy(middle, { extensions: [extension.purposes(oid.timeStamping)] }),
      {},
    ],
    [
      'a leaf for any purpose',
      'X509_CHAIN_USAGE',
      0,
      leafBy(middle, { extensions: [extension.purposes(oid.anyExtendedKeyUsage)] }),
      {},
    ],
    [
      'a leaf for no stated purpose',
      'X509_CHAIN_USAGE',
      0,
      leafBy(middle, { extensions: [extension.digitalSignature] }),
      {},
    ],
    [
      'an intermediate for another purpose',
      'X509_CHAIN_USAGE',
      1,
      leafBy(middle),
      { intermediates: [middleWith([...usage, extension.purposes(oid.timeStamping)]).certificate] },
    ],
    [
      'an anchor for another purpose',
      'X509_CHAIN_USAGE',
      1,
      leafBy(root),
      {
        anchors: [
          authority('root', rootKey, undefined, { extensions: [...usage, extension.purposes(oid.timeStamping)] })
            .certificate,
        ],
      },
    ],
    [
      'an anchor that allows no CA below it',
      'X509_CHAIN_PATH_LENGTH',
      2,
      leafBy(middle),
      {
        anchors: [
          authority('root', rootKey, undefined, { extensions: [extension.certSign, extension.ca(0)] }).certificate,
        ],
      },
    ],
    [
      'a leaf signed by another key',
      'X509_CHAIN_SIGNATURE',
      0,
      leafBy({ certificate: middle.certificate, signer: leafKey }),
      {},
    ],
    [
      'an intermediate signed by another key',
      'X509_CHAIN_SIGNATURE',
      1,
      leafBy(middle),
      {
        intermediates: [authority('middle', middleKey, { certificate: root.certificate, signer: leafKey }).certificate],
      },
    ],
    [
      'a leaf with an unknown critical extension',
      'X509_CHAIN_EXTENSION',
      0,
      leafBy(middle, { extensions: [extension.purposes(purpose), unknown] }),
      {},
    ],
    [
      'a precertificate',
      'X509_CHAIN_EXTENSION',
      0,
      leafBy(middle, {
        extensions: [extension.purposes(purpose), { oid: oid.poison, critical: true, value: derNull() }],
      }),
      {},
    ],
    [
      'an intermediate with an unknown critical extension',
      'X509_CHAIN_EXTENSION',
      1,
      leafBy(middle),
      { intermediates: [middleWith([...usage, unknown]).certificate] },
    ],
    [
      'an anchor with an unknown critical extension',
      'X509_CHAIN_EXTENSION',
      1,
      leafBy(root),
      { anchors: [authority('root', rootKey, undefined, { extensions: [...usage, unknown] }).certificate] },
    ],
    [
      'critical name constraints',
      'X509_CHAIN_EXTENSION',
      1,
      leafBy(middle),
      { intermediates: [middleWith([...usage, constraints(true)]).certificate] },
    ],
    [
      'name constraints, not marked critical',
      'X509_CHAIN_EXTENSION',
      1,
      leafBy(middle),
      { intermediates: [middleWith([...usage, constraints(false)]).certificate] },
    ],
    [
      'an intermediate with an unreadable extension',
      'X509_MALFORMED',
      -1,
      leafBy(middle),
      { intermediates: [middleWith([{ oid: oid.basicConstraints, critical: true, value: derNull() }]).certificate] },
    ],
  ])('refuses %s', async (_, code, position, leaf, changes) => {
    await expect(build(leaf, changes)).rejects.toMatchObject(position < 0 ? { code } : { code, details: { position } });
  });

  it.each<[string, Certificate, Partial<ChainOptions>, number]>([
    [
      'the purpose among others',
      leafBy(middle),
      { intermediates: [middleWith([...usage, extension.purposes(oid.timeStamping, purpose)]).certificate] },
      3,
    ],
    [
      'an intermediate for any purpose',
      leafBy(middle),
      { intermediates: [middleWith([...usage, extension.purposes(oid.anyExtendedKeyUsage)]).certificate] },
      3,
    ],
    [
      'a path length of one with one CA below',
      leafBy(middle),
      {
        anchors: [
          authority('root', rootKey, undefined, { extensions: [extension.certSign, extension.ca(1)] }).certificate,
        ],
      },
      3,
    ],
    [
      'the key identifier that the leaf names',
      leafBy(middle, { extensions: [extension.purposes(purpose), extension.authority(new Uint8Array(20).fill(6))] }),
      {},
      3,
    ],
    [
      'a non-critical unknown extension',
      leafBy(middle, { extensions: [extension.purposes(purpose), { ...unknown, critical: false }] }),
      {},
      3,
    ],
  ])('accepts %s', async (_, leaf, changes, length) => {
    await expect(build(leaf, changes)).resolves.toHaveLength(length);
  });

  it('accepts a leaf without a stated purpose when none is asked for', async () => {
    const leaf = leafBy(middle, { extensions: [extension.digitalSignature] });
    const options = { intermediates: [middle.certificate], anchors: [root.certificate], time: day(10) };
    await expect(buildChain(leaf, options, opensslCrypto)).resolves.toHaveLength(3);
  });

  it('does not count self-issued certificates against the path length', async () => {
    // middle re-certifies itself under a new key: RFC 5280 §6.1.4 (l).
    const newKey = generateSigner();
    const limited = middleWith([extension.certSign, extension.ca(0)]);
    const renewed = authority('middle', newKey, limited, { keyId: 9 });
    const leaf = leafBy(renewed);
    await expect(build(leaf, { intermediates: [limited.certificate, renewed.certificate] })).resolves.toHaveLength(4);
  });

  it('ends a loop of cross-certificates', async () => {
    const [a, b] = [generateSigner(), generateSigner()];
    const first = authority('a', a);
    const second = authority('b', b, first);
    const back = authority('a', a, second);
    await expect(
      build(leafBy(second), { intermediates: [second.certificate, back.certificate] }),
    ).rejects.toMatchObject({ code: 'X509_CHAIN_NO_PATH' });
  });

  it('follows eight certificates and not nine', async () => {
    const path: Authority[] = [root];
    for (let i = 1; i <= 7; i++) path.push(authority(`ca ${i}`, generateSigner(), path[i - 1] ?? root));
    const intermediates = path.slice(1).map(({ certificate }) => certificate);
    await expect(build(leafBy(path[6] ?? root), { intermediates })).resolves.toHaveLength(8);
    await expect(build(leafBy(path[7] ?? root), { intermediates })).rejects.toMatchObject({ code: 'X509_CHAIN_LIMIT' });
  });

  it('checks at most a hundred signatures', async () => {
    // One name, many keys, no anchor: without a bound every order of them would be tried.
    const name = encodeName({ commonName: 'x' });
    const first = authority('first', generateSigner());
    const same = Array.from({ length: 101 }, (_, i) =>
      authority('x', leafKey, first, { subject: name, serial: Uint8Array.of(2, 1, i) }),
    );
    const last = leafBy({ certificate: same[0]?.certificate ?? root.certificate, signer: middleKey });
    let checks = 0;
    const counting = { ...opensslCrypto, verify: async () => (checks++, false) };
    const options = {
      intermediates: same.map(({ certificate }) => certificate),
      anchors: [root.certificate],
      time: day(10),
    };
    await expect(buildChain(last, options, counting)).rejects.toMatchObject({ code: 'X509_CHAIN_LIMIT' });
    expect(checks).toBe(100);
    checks = 0;
    const few = { ...options, maxSignatureChecks: 7 };
    expect(() => buildChainSync(last, few, () => (checks++, false))).toThrow(
      expect.objectContaining({ code: 'X509_CHAIN_LIMIT' }),
    );
    expect(checks).toBe(7);
  });

  it('goes on past a certificate whose name nobody can read', async () => {
    const unreadable = derSequence(derSequence());
    const [above, wrong] = [generateSigner(), generateSigner()].map((signer) =>
      authority('x', signer, root, { subject: unreadable }),
    );
    if (!above || !wrong) throw new Error('Cannot test: no authority');
    const leaf = leafBy(above);
    const hints = [wrong.certificate, above.certificate];
    await expect(build(leaf, { intermediates: hints })).resolves.toEqual([leaf, above.certificate, root.certificate]);
    await expect(build(leaf, { intermediates: hints.slice(0, 1) })).rejects.toMatchObject({
      code: 'X509_CHAIN_SIGNATURE',
    });
  });
});

describe('buildChain() of many leaves below the same authorities', () => {
  const options = {
    intermediates: [middle.certificate],
    anchors: [root.certificate],
    time: day(10),
    extendedKeyUsage: purpose,
  };
  /** Counts what it is asked. */
  const counting = () => {
    const port = { ...opensslCrypto, asked: 0 };
    port.verify = (...given) => {
      port.asked++;
      return opensslCrypto.verify(...given);
    };
    return port;
  };

  it('verifies the signatures of the authorities once, and those of leaves each time', async () => {
    const port = counting();
    for (const [n, asked] of [2, 3, 4].entries()) {
      await buildChain(leafBy(middle, { serial: derInteger(BigInt(n + 1)) }), options, port);
      expect(port.asked).toBe(asked);
    }
  });

  it('asks each port for itself', async () => {
    for (const port of [counting(), counting()]) {
      await buildChain(leafBy(middle), options, port);
      expect(port.asked).toBe(2);
    }
  });

  it('remembers nothing that did not hold, nor of a certificate what holds of another', async () => {
    const port = counting();
    await buildChain(leafBy(middle), options, port);
    const forged = { ...middle.certificate, signature: leafBy(middle).signature };
    for (const intermediate of [
      forged,
      forged,
      parseCertificate(authority('middle', middleKey, authority('root', leafKey)).certificate.der),
    ]) {
      await expect(
        buildChain(leafBy(middle), { ...options, intermediates: [intermediate] }, port),
      ).rejects.toMatchObject({ code: expect.stringMatching(/^X509_CHAIN_(SIGNATURE|NO_PATH)$/) as string });
    }
    const otherRoot = { ...root.certificate, publicKey: leafKey.publicKey };
    await expect(buildChain(leafBy(middle), { ...options, anchors: [otherRoot] }, port)).rejects.toMatchObject({
      code: 'X509_CHAIN_SIGNATURE',
    });
  });

  it('makes no other check once only', async () => {
    await expect(buildChain(leafBy(middle), options, opensslCrypto)).resolves.toHaveLength(3);
    const late = { ...options, time: day(31) };
    await expect(buildChain(leafBy(middle, { notAfter: day(40) }), late, opensslCrypto)).rejects.toMatchObject({
      code: 'X509_CHAIN_EXPIRED',
    });
  });
});
