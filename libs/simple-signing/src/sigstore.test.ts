import { describe, expect, it } from 'vitest';
import {
  canonicalizeJson,
  derBitString,
  derOid,
  derSequence,
  encodeBase64,
  encodeHex,
  encodePem,
  encodeUtf8,
  concatBytes,
  derBoolean,
  parseUtf8,
} from '#libs/encoding';
import { generateSigner, opensslCrypto, sha256, type GeneratedSigner } from '#libs/openssl';
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

const [root, log, otherLog, signer, stranger] = [
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

function leafFor(
  by: GeneratedSigner,
  {
    sans = [{ kind: 'email', value: 'a@example.com' }],
    issuerText = issuer,
    until = 10,
  }: { sans?: SubjectAltName[]; issuerText?: string; until?: number } = {},
): Certificate {
  const extensions = [
    extension('2.5.29.15', true, derBitString(Uint8Array.of(0x80), 7)),
    extension('2.5.29.37', false, derSequence(derOid('1.3.6.1.5.5.7.3.3'))),
    extension('2.5.29.35', false, authorityKeyId(root.publicKey.spki)),
    extension('2.5.29.17', true, encodeNames(sans)),
    extension('1.3.6.1.4.1.57264.1.1', false, encodeUtf8(issuerText)),
  ];
  return sealCertificate(
    tbsCertificate({
      serial: 2n,
      by: root,
      issuerName: name,
      subject: derSequence(),
      signer: by,
      notBefore: at(0),
      notAfter: at(until),
      extensions,
    }),
    root,
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
  by?: GeneratedSigner;
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
