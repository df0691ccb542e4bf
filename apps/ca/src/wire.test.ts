import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeBase64, encodeBase64Url, encodeUtf8 } from '#libs/encoding';
import { createTokenVerifier, parseFulcioConfig } from '#libs/identity';
import { CaError } from './errors.js';
import { encodeConfiguration, parseLegacyRequest, parseSigningRequest } from './wire.js';

const bytes = (value: unknown): Uint8Array => encodeUtf8(JSON.stringify(value));

describe('parseSigningRequest()', () => {
  test('reads what any client writes: names in either case, base64 in either alphabet', () => {
    const text = fc.string({ unit: 'grapheme' });
    fc.assert(
      fc.property(text, text, fc.uint8Array({ minLength: 1 }), fc.boolean(), (token, content, proof, snake) => {
        const base64 = snake ? encodeBase64Url(proof) : encodeBase64(proof);
        const body = snake
          ? {
              credentials: { oidc_identity_token: token },
              public_key_request: { public_key: { content }, proof_of_possession: base64 },
            }
          : {
              credentials: { oidcIdentityToken: token },
              publicKeyRequest: { publicKey: { content }, proofOfPossession: base64 },
            };
        expect(parseSigningRequest(bytes(body), undefined)).toEqual({
          token: token || undefined,
          key: { kind: 'public-key', publicKey: encodeUtf8(content), signature: proof },
        });
      }),
    );
  });

  test('takes away only the first Bearer of the header', () => {
    expect(parseSigningRequest(undefined, 'Bearer Bearer x').token).toBe('Bearer x');
    expect(parseSigningRequest(undefined, 'bearer x').token).toBe('bearer x');
    expect(parseSigningRequest(undefined, undefined).token).toBeUndefined();
  });
});

describe('parseSigningRequest() and parseLegacyRequest()', () => {
  const proof = 'AAAA';
  const parsers = { v2: parseSigningRequest, v1: parseLegacyRequest };
  type Version = keyof typeof parsers;

  test.each<[string, Version, string, string]>([
    ['no JSON', 'v2', '{', 'the body is not JSON'],
    ['a member twice', 'v2', '{"credentials":{},"credentials":{}}', 'the body is not JSON'],
    ['null', 'v2', 'null', 'the body is not a JSON object'],
    ['a list', 'v1', '[]', 'the body is not a JSON object'],
    ['a number', 'v1', '7', 'the body is not a JSON object'],
    ['a list for a message', 'v2', '{"credentials":[]}', 'credentials must be an object'],
    ['text for a message', 'v2', '{"publicKeyRequest":"x"}', 'publicKeyRequest must be an object'],
    ['text for an inner message', 'v2', '{"public_key_request":{"public_key":""}}', 'publicKey must be an object'],
    ['a number for text', 'v2', '{"credentials":{"oidcIdentityToken":7}}', 'oidcIdentityToken must be a string'],
    ['an object for text', 'v2', '{"publicKeyRequest":{"publicKey":{"content":{}}}}', 'content must be a string'],
    ['a number for bytes', 'v2', '{"certificateSigningRequest":7}', 'certificateSigningRequest must be a string'],
    ['text for bytes', 'v2', '{"certificateSigningRequest":"!"}', 'certificateSigningRequest is not base64'],
    ['text for inner bytes', 'v2', '{"publicKeyRequest":{"proofOfPossession":"!"}}', 'proofOfPossession is not base64'],
    ['text for bytes', 'v1', '{"signedEmailAddress":"!"}', 'signedEmailAddress is not base64'],
    ['a key that is text', 'v1', '{"publicKey":{"content":"!"}}', 'content is not base64'],
    [
      'key and certificate request',
      'v2',
      '{"publicKeyRequest":{},"certificateSigningRequest":""}',
      'publicKeyRequest and certificateSigningRequest exclude each other',
    ],
    [
      'both spellings of a name',
      'v2',
      '{"publicKeyRequest":{},"public_key_request":null}',
      'publicKeyRequest is given twice',
    ],
    [
      'both spellings of an inner name',
      'v1',
      '{"public_key":{},"signedEmailAddress":"","signed_email_address":""}',
      'signedEmailAddress is given twice',
    ],
  ])('refuse %s, %s', (_name, version, body, shown) => {
    expect(() => parsers[version](encodeUtf8(body), undefined)).toThrow(
      expect.objectContaining({ code: 'CA_REQUEST', shown }),
    );
  });

  test('take null as absent, and ignore names they do not know', () => {
    const body = {
      credentials: null,
      publicKeyRequest: { publicKey: { algorithm: ['any'], content: 'key' }, proofOfPossession: proof, unknown: 1 },
      certificateSigningRequest: null,
      // A name of every object in JavaScript, and of none here.
      toString: 1,
    };
    const signature = new Uint8Array(3);
    expect(parseSigningRequest(bytes(body), 'Bearer token')).toEqual({
      token: 'token',
      key: { kind: 'public-key', publicKey: encodeUtf8('key'), signature },
    });
    expect(parseSigningRequest(bytes({ publicKeyRequest: {} }), undefined)).toEqual({
      token: undefined,
      key: { kind: 'public-key', publicKey: new Uint8Array(), signature: new Uint8Array() },
    });
    expect(parseLegacyRequest(bytes({ publicKey: { content: proof }, certificateSigningRequest: '' }), 'x')).toEqual({
      token: 'x',
      key: { kind: 'public-key', publicKey: signature, signature: new Uint8Array() },
    });
  });

  test('return or throw CaError for any body', () => {
    const body = fc.oneof(
      fc.uint8Array(),
      fc.json().map(encodeUtf8),
      fc
        .record(
          {
            credentials: fc.jsonValue(),
            publicKeyRequest: fc.jsonValue(),
            certificateSigningRequest: fc.jsonValue(),
            publicKey: fc.jsonValue(),
            signedEmailAddress: fc.jsonValue(),
          },
          { requiredKeys: [] },
        )
        .map(bytes),
    );
    fc.assert(
      fc.property(body, (value) => {
        for (const parse of [parseSigningRequest, parseLegacyRequest]) {
          try {
            expect(['public-key', 'request', 'missing']).toContain(parse(value, undefined).key.kind);
          } catch (error) {
            expect(error).toBeInstanceOf(CaError);
          }
        }
      }),
    );
  });
});

describe('encodeConfiguration()', () => {
  const json = {
    OIDCIssuers: {
      'https://mail.example': { Type: 'email', SkipEmailVerification: true },
      'https://names.example.com': { Type: 'username', SubjectDomain: 'people.example.com' },
      'https://spiffe.example.com': { Type: 'spiffe', SPIFFETrustDomain: 'trust.example.com' },
      'https://uris.example.com': { Type: 'uri', SubjectDomain: 'https://sites.example.com' },
    },
    MetaIssuers: { 'https://oidc.eks.*.amazonaws.com/id/*': { Type: 'kubernetes' } },
  };
  for (const [url, issuer] of Object.entries(json.OIDCIssuers))
    Object.assign(issuer, { IssuerURL: url, ClientID: 'sigstore' });
  for (const issuer of Object.values(json.MetaIssuers)) Object.assign(issuer, { ClientID: 'sigstore' });
  const yaml = `
oidc-issuers:
  https://mail.example: {issuer-url: https://mail.example, client-id: sigstore, type: email, skip-email-verification: true}
  https://names.example.com:
    {issuer-url: https://names.example.com, client-id: sigstore, type: username, subject-domain: people.example.com}
  https://spiffe.example.com:
    {issuer-url: https://spiffe.example.com, client-id: sigstore, type: spiffe, spiffe-trust-domain: trust.example.com}
  https://uris.example.com:
    {issuer-url: https://uris.example.com, client-id: sigstore, type: uri, subject-domain: https://sites.example.com}
meta-issuers:
  https://oidc.eks.*.amazonaws.com/id/*: {client-id: sigstore, type: kubernetes}
`;
  // All that fulcio.proto has of an issuer (OIDCIssuer, fields 1 to 8), and nothing of who keeps the file.
  const plain = {
    audience: 'sigstore',
    challengeClaim: 'sub',
    spiffeTrustDomain: '',
    issuerType: '',
    subjectDomain: '',
    skipEmailVerification: false,
  };

  test.each([
    ['JSON', JSON.stringify(json)],
    ['YAML', yaml],
  ])('says of each kind of issuer what clients need to know; configured in %s', (_format, content) => {
    const fetch = () => Promise.reject(new Error('nothing is fetched'));
    const { issuers } = createTokenVerifier({ issuers: parseFulcioConfig(content), fetch, now: () => new Date(0) });
    expect(JSON.parse(encodeConfiguration(issuers))).toEqual({
      issuers: [
        {
          issuerUrl: 'https://mail.example',
          ...plain,
          challengeClaim: 'email',
          issuerType: 'email',
          skipEmailVerification: true,
        },
        {
          issuerUrl: 'https://names.example.com',
          ...plain,
          issuerType: 'username',
          subjectDomain: 'people.example.com',
        },
        {
          issuerUrl: 'https://spiffe.example.com',
          ...plain,
          issuerType: 'spiffe',
          spiffeTrustDomain: 'trust.example.com',
        },
        {
          issuerUrl: 'https://uris.example.com',
          ...plain,
          issuerType: 'uri',
          subjectDomain: 'https://sites.example.com',
        },
        { wildcardIssuerUrl: 'https://oidc.eks.*.amazonaws.com/id/*', ...plain, issuerType: 'kubernetes' },
      ],
    });
  });
});
