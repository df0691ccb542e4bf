import { describe, expect, it } from 'vitest';
import {
  canonicalizeJson,
  derBitString,
  derOid,
  derSequence,
  derUtf8String,
  encodeBase64,
  encodeHex,
  encodePem,
  encodeUtf8,
  concatBytes,
  derBoolean,
  parseUtf8,
} from '#libs/encoding';
import { generateSigner, loadSigner, opensslCrypto, sha256, type GeneratedSigner } from '#libs/openssl';
import { encodeName, type Certificate, type SubjectAltName } from '#libs/x509';
import {
  authorityKeyId,
  encodeNames,
  extension,
  sealCertificate,
  tbsCertificate,
} from '../../../test/world/certificate-writer.js';
import { encodePayload } from './payload.js';
import { verifySigstoreAttachment, type SigstoreAttachment, type SigstoreTrust } from './sigstore.js';

const minute = 60_000;
const time = new Date('2026-03-01T00:00:00Z');
const now = new Date('2026-06-01T00:00:00Z');
const at = (minutes: number) => new Date(time.getTime() + minutes * minute);
const issuer = 'https://accounts.example';
const payload = encodePayload({
  type: 'cosign container image signature',
  dockerReference: 'registry.example.com/ns/app',
  manifestDigest: `sha256:${'a'.repeat(64)}`,
});
const other = encodePayload({
  type: 'cosign container image signature',
  dockerReference: 'registry.example.com/ns/other',
  manifestDigest: `sha256:${'a'.repeat(64)}`,
});

const [root, between, log, otherLog, signer, stranger] = [
  generateSigner(),
  generateSigner(),
  generateSigner(),
  generateSigner(),
  generateSigner(),
  generateSigner(),
];
const name = encodeName({ commonName: 'test root' });
const caExtensions = [
  extension('2.5.29.19', true, derSequence(derBoolean(true))),
  extension('2.5.29.15', true, derBitString(Uint8Array.of(0x06), 1)),
];
const ca = sealCertificate(
  tbsCertificate({
    serial: 1n,
    by: root,
    issuerName: name,
    subject: name,
    signer: root,
    notBefore: at(-100000),
    notAfter: at(1e6),
    extensions: caExtensions,
  }),
  root,
);

const betweenName = encodeName({ commonName: 'test intermediate' });
const intermediate = sealCertificate(
  tbsCertificate({
    serial: 3n,
    by: root,
    issuerName: name,
    subject: betweenName,
    signer: between,
    notBefore: at(-100000),
    notAfter: at(1e6),
    extensions: [...caExtensions, extension('2.5.29.35', false, authorityKeyId(root.publicKey.spki))],
  }),
  root,
);

function leafFor(
  by: GeneratedSigner,
  {
    sans = [{ kind: 'email', value: 'a@example.com' }],
    issuerText = issuer,
    issuerToday,
    until = 10,
    by: authority = root,
    issuerName = name,
  }: {
    sans?: SubjectAltName[];
    /** As Fulcio first wrote it; null: not at all. */
    issuerText?: string | null;
    /** The value of the extension that it writes since. */
    issuerToday?: Uint8Array;
    until?: number;
    by?: GeneratedSigner;
    issuerName?: Uint8Array;
  } = {},
): Certificate {
  const extensions = [
    extension('2.5.29.15', true, derBitString(Uint8Array.of(0x80), 7)),
    extension('2.5.29.37', false, derSequence(derOid('1.3.6.1.5.5.7.3.3'))),
    extension('2.5.29.35', false, authorityKeyId(authority.publicKey.spki)),
    extension('2.5.29.17', true, encodeNames(sans)),
    ...(issuerText === null ? [] : [extension('1.3.6.1.4.1.57264.1.1', false, encodeUtf8(issuerText))]),
    ...(issuerToday === undefined ? [] : [extension('1.3.6.1.4.1.57264.1.8', false, issuerToday)]),
  ];
  return sealCertificate(
    tbsCertificate({
      serial: 2n,
      by: authority,
      issuerName,
      subject: derSequence(),
      signer: by,
      notBefore: at(0),
      notAfter: at(until),
      extensions,
    }),
    authority,
  );
}
const pem = (label: string, der: Uint8Array) => encodeUtf8(encodePem(label, der));
const keyOf = ({ publicKey }: GeneratedSigner) => pem('PUBLIC KEY', publicKey.spki);
const leaf = leafFor(signer);

function promise({
  by = log,
  verifier,
  signature,
  over = payload,
  minutes = 5,
  kind = 'hashedrekord',
}: {
  by?: Pick<GeneratedSigner, 'sign' | 'publicKey'>;
  verifier: Uint8Array;
  signature: Uint8Array;
  over?: Uint8Array;
  minutes?: number;
  kind?: string;
}): string {
  const body = {
    apiVersion: '0.0.1',
    kind,
    spec: {
      data: { hash: { algorithm: 'sha256', value: encodeHex(sha256(over)) } },
      signature: { content: encodeBase64(signature), publicKey: { content: encodeBase64(verifier) } },
    },
  };
  const entry = {
    body: encodeBase64(encodeUtf8(JSON.stringify(body))),
    integratedTime: at(minutes).getTime() / 1000,
    logIndex: 7,
    logID: encodeHex(sha256(by.publicKey.spki)),
  };
  return JSON.stringify({
    SignedEntryTimestamp: encodeBase64(by.sign(encodeUtf8(canonicalizeJson(entry)))),
    Payload: entry,
  });
}

const signature = signer.sign(payload);
const names = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  bundle: 'dev.sigstore.cosign/bundle',
};
const keyless = (
  change: Partial<Record<keyof typeof names, string | undefined>> = {},
  over = payload,
): SigstoreAttachment => {
  const given: Record<string, string | undefined> = {
    [names.signature]: encodeBase64(signature),
    [names.certificate]: parseUtf8(pem('CERTIFICATE', leaf.der)),
    [names.chain]: parseUtf8(pem('CERTIFICATE', ca.der)),
    [names.bundle]: promise({ verifier: pem('CERTIFICATE', leaf.der), signature }),
  };
  for (const [key, value] of Object.entries(change)) given[names[key as keyof typeof names]] = value;
  return {
    payload: over,
    annotations: Object.fromEntries(
      Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined),
    ),
  };
};
const fulcio: SigstoreTrust = {
  by: { kind: 'fulcio', ca: pem('CERTIFICATE', ca.der), oidcIssuer: issuer, subjectEmail: 'a@example.com' },
  rekorKeys: [keyOf(log)],
};
const verify = (attachment: SigstoreAttachment, trust: SigstoreTrust = fulcio) =>
  verifySigstoreAttachment(attachment, trust, { crypto: opensslCrypto, now });
const withLeaf = (certificate: Certificate, minutes = 5) =>
  keyless({
    certificate: parseUtf8(pem('CERTIFICATE', certificate.der)),
    bundle: promise({ verifier: pem('CERTIFICATE', certificate.der), signature, minutes }),
  });

describe('verifySigstoreAttachment() with Fulcio', () => {
  it('accepts what a certificate for the address signed, at the time of the log, with and without a chain', async () => {
    await expect(verify(keyless())).resolves.toBe(`a@example.com of ${issuer}`);
    await expect(verify(keyless({ chain: undefined }))).resolves.toContain('a@example.com');
    await expect(verify(keyless(), { ...fulcio, rekorKeys: [keyOf(otherLog), keyOf(log)] })).resolves.toContain(
      'a@example.com',
    );
  });

  it('finds its way over an intermediate, if the chain goes on to the root: podman passes over its last certificate', async () => {
    const leaf = leafFor(signer, { by: between, issuerName: betweenName });
    const withChain = (...chain: Certificate[]) =>
      keyless({
        certificate: parseUtf8(pem('CERTIFICATE', leaf.der)),
        bundle: promise({ verifier: pem('CERTIFICATE', leaf.der), signature }),
        chain: chain.map(({ der }) => parseUtf8(pem('CERTIFICATE', der))).join(''),
      });
    await expect(verify(withChain(intermediate, ca))).resolves.toContain('a@example.com');
    for (const chain of [[intermediate], [ca, intermediate], []]) {
      await expect(verify(withChain(...chain))).rejects.toThrow('does not lead to');
    }
  });

  it('reads the issuer in either form, and in both if they agree', async () => {
    const today = derUtf8String(issuer);
    await expect(verify(withLeaf(leafFor(signer, { issuerToday: today })))).resolves.toContain(issuer);
    await expect(verify(withLeaf(leafFor(signer, { issuerText: null, issuerToday: today })))).resolves.toContain(
      issuer,
    );
    const refused: [Parameters<typeof leafFor>[1], string][] = [
      [{ issuerText: null }, 'its issuer is "missing"'],
      [
        { issuerText: null, issuerToday: derUtf8String('https://evil.example') },
        'its issuer is "https://evil.example"',
      ],
      [{ issuerToday: derUtf8String('https://evil.example') }, 'names two issuers'],
      [{ issuerToday: encodeUtf8(issuer) }, 'malformed'],
      [{ issuerToday: concatBytes(today, Uint8Array.of(5, 0)) }, 'malformed'],
      [{ issuerToday: derSequence() }, 'is no UTF8String'],
    ];
    for (const [options, why] of refused) {
      await expect(verify(withLeaf(leafFor(signer, options)))).rejects.toThrow(why);
    }
  });

  it('reads promises with SHA-256, whatever the key of the log', async () => {
    const large = generateSigner('P-384');
    const trust = { ...fulcio, rekorKeys: [keyOf(large)] };
    const signed = (by: Pick<GeneratedSigner, 'sign' | 'publicKey'>) =>
      verify(keyless({ bundle: promise({ by, verifier: pem('CERTIFICATE', leaf.der), signature }) }), trust);
    const withSha256 = loadSigner(large.exportPkcs8Pem(), { scheme: { kind: 'ecdsa', hash: 'sha256' } });
    await expect(signed(withSha256)).resolves.toContain('a@example.com');
    await expect(signed(large)).rejects.toThrow('not by any of the given logs');
  });

  const verifier = pem('CERTIFICATE', leaf.der);
  it.each<[string, SigstoreAttachment, SigstoreTrust?]>([
    ['no signature', keyless({ signature: undefined })],
    ['a signature that is no base64', keyless({ signature: '*' })],
    ['another payload', keyless({}, other)],
    ['another signature', keyless({ signature: encodeBase64(stranger.sign(payload)) })],
    ['no certificate', keyless({ certificate: undefined })],
    ['two certificates', keyless({ certificate: parseUtf8(concatBytes(verifier, verifier)) })],
    ['a certificate that is none', keyless({ certificate: 'x' })],
    [
      'another certificate of the same key',
      keyless({ certificate: parseUtf8(pem('CERTIFICATE', leafFor(signer, { until: 11 }).der)) }),
    ],
    ['no promise', keyless({ bundle: undefined })],
    ['a promise of another log', keyless({ bundle: promise({ by: otherLog, verifier, signature }) })],
    ['a promise about another payload', keyless({ bundle: promise({ verifier, signature, over: other }) })],
    [
      'a promise about another signature',
      keyless({ bundle: promise({ verifier, signature: stranger.sign(payload) }) }),
    ],
    [
      'a promise about another signer',
      keyless({ bundle: promise({ verifier: pem('CERTIFICATE', leafFor(stranger).der), signature }) }),
    ],
    ['a promise about a key', keyless({ bundle: promise({ verifier: keyOf(signer), signature }) })],
    ['a promise of another kind', keyless({ bundle: promise({ verifier, signature, kind: 'rekord' }) })],
    [
      'a promise with an unknown member',
      keyless({ bundle: promise({ verifier, signature }).replace('{"', '{"x":1,"') }),
    ],
    [
      'a promise with a duplicate member',
      keyless({ bundle: promise({ verifier, signature }).replace('"logIndex":7', '"logIndex":7,"logIndex":8') }),
    ],
    [
      'a promise of another time than was signed',
      keyless({ bundle: promise({ verifier, signature }).replace(/"integratedTime":\d+/, '"integratedTime":1') }),
    ],
    ['a promise that is no JSON', keyless({ bundle: 'null' })],
    ['an endless promise', keyless({ bundle: ' '.repeat(200_000) })],
    ['a time after the certificate', withLeaf(leaf, 60)],
    ['a time before the certificate', withLeaf(leaf, -60)],
    ['another address', withLeaf(leafFor(signer, { sans: [{ kind: 'email', value: 'b@example.com' }] }))],
    ['the address as a URI', withLeaf(leafFor(signer, { sans: [{ kind: 'uri', value: 'a@example.com' }] }))],
    ['another issuer', withLeaf(leafFor(signer, { issuerText: 'https://accounts.example.evil' }))],
    [
      'another authority',
      keyless(),
      {
        ...fulcio,
        by: { kind: 'fulcio', ca: pem('CERTIFICATE', leaf.der), oidcIssuer: issuer, subjectEmail: 'a@example.com' },
      },
    ],
  ])('refuses %s', async (_, attachment, trust) => {
    await expect(verify(attachment, trust)).rejects.toThrow(
      expect.objectContaining({ name: 'SimpleSigningError', code: 'SIMPLE_SIGNATURE' }) as Error,
    );
  });

  it('refuses a policy of which the keys cannot be read', async () => {
    for (const trust of [
      { ...fulcio, rekorKeys: [encodeUtf8('x')] },
      {
        ...fulcio,
        by: { kind: 'fulcio' as const, ca: encodeUtf8(''), oidcIssuer: issuer, subjectEmail: 'a@example.com' },
      },
    ]) {
      await expect(verify(keyless(), trust)).rejects.toThrow(expect.objectContaining({ code: 'SIMPLE_KEY' }) as Error);
    }
  });
});

describe('verifySigstoreAttachment() with keys', () => {
  const keyed = (bundle?: string): SigstoreAttachment => ({
    payload,
    annotations: {
      [names.signature]: encodeBase64(signature),
      ...(bundle !== undefined && { [names.bundle]: bundle }),
    },
  });
  const trust: SigstoreTrust = { by: { kind: 'keys', keys: [keyOf(stranger), keyOf(signer)] } };
  const logged: SigstoreTrust = { ...trust, rekorKeys: [keyOf(log)] };

  it('accepts what one of the keys signed; with a log only what it promised', async () => {
    await expect(verify(keyed(), trust)).resolves.toBe('the given key');
    await expect(verify(keyed(promise({ verifier: keyOf(signer), signature })), logged)).resolves.toBe('the given key');
    await expect(verify(keyed(), logged)).rejects.toThrow('is missing');
    await expect(verify(keyed(promise({ verifier: keyOf(stranger), signature })), logged)).rejects.toThrow(
      'another signer',
    );
    await expect(verify(keyed(promise({ verifier: pem('CERTIFICATE', leaf.der), signature })), logged)).rejects.toThrow(
      'another signer',
    );
  });

  it('refuses what none of the keys signed', async () => {
    await expect(verify(keyed(), { by: { kind: 'keys', keys: [keyOf(stranger)] } })).rejects.toThrow(
      'none of the given keys',
    );
    await expect(verify({ ...keyed(), payload: other }, trust)).rejects.toThrow('none of the given keys');
  });
});

describe('verifySigstoreAttachment() with an own PKI', () => {
  const long = leafFor(signer, {
    until: 1e6,
    sans: [
      { kind: 'email', value: 'a@example.com' },
      { kind: 'dns', value: '*.build.example' },
    ],
  });
  const attachment = keyless({ certificate: parseUtf8(pem('CERTIFICATE', long.der)), bundle: undefined });
  const trust = (subject: { subjectEmail?: string; subjectHostname?: string }): SigstoreTrust => ({
    by: { kind: 'pki', roots: pem('CERTIFICATE', ca.der), ...subject },
  });

  it('accepts a certificate that is valid now, for the address, the host, or both', async () => {
    await expect(verify(attachment, trust({ subjectEmail: 'a@example.com' }))).resolves.toBe('a@example.com');
    await expect(verify(attachment, trust({ subjectHostname: 'A.build.example' }))).resolves.toBe('A.build.example');
  });

  it.each([
    [{ subjectEmail: 'b@example.com' }],
    [{ subjectHostname: 'a.b.build.example' }],
    [{ subjectHostname: 'build.example' }],
    [{ subjectEmail: 'a@example.com', subjectHostname: 'other.example' }],
  ])('refuses %j', async (subject) => {
    await expect(verify(attachment, trust(subject))).rejects.toThrow('expected');
  });

  it('refuses a certificate that is not valid now', async () => {
    await expect(verify(keyless(), trust({ subjectEmail: 'a@example.com' }))).rejects.toThrow('does not lead to');
  });
});
