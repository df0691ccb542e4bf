import { describe, expect, test } from 'vitest';
import { builtInIssuers, checkIssuer, parseFulcioConfig } from './config.js';
import { IdentityError } from './errors.js';
import { issuerKinds } from './kinds.js';

const yaml = `
oidc-issuers:
  https://oauth2.example/auth:
    issuer-url: https://oauth2.example/auth
    client-id: sigstore
    type: email
    issuer-claim: $.federated_claims.connector_id
    challenge-claim: email
    contact: ann@example.com
    description: "our broker"
  https://accounts.google.com:
    issuer-url: https://accounts.google.com
    client-id: sigstore
    type: email
    skip-email-verification: true
meta-issuers:
  https://idp.example/*/*:
    client-id: sigstore
    type: github-workflow
  https://token.actions.githubusercontent.com/*:
    client-id: sigstore
    type: github-workflow
`;

const json = {
  OIDCIssuers: {
    'https://oauth2.example/auth': {
      IssuerURL: 'https://oauth2.example/auth',
      ClientID: 'sigstore',
      Type: 'email',
      IssuerClaim: '$.federated_claims.connector_id',
      ChallengeClaim: 'email',
      Contact: 'ann@example.com',
      Description: 'our broker',
    },
    'https://accounts.google.com': {
      IssuerURL: 'https://accounts.google.com',
      ClientID: 'sigstore',
      Type: 'email',
      SkipEmailVerification: true,
    },
  },
  MetaIssuers: {
    'https://idp.example/*/*': { ClientID: 'sigstore', Type: 'github-workflow' },
    'https://token.actions.githubusercontent.com/*': { ClientID: 'sigstore', Type: 'github-workflow' },
  },
};

const read = [
  {
    issuerUrl: 'https://accounts.google.com',
    wildcard: false,
    clientId: 'sigstore',
    type: 'email',
    skipEmailVerification: true,
  },
  {
    issuerUrl: 'https://oauth2.example/auth',
    wildcard: false,
    clientId: 'sigstore',
    type: 'email',
    issuerClaim: '$.federated_claims.connector_id',
    challengeClaim: 'email',
  },
  {
    issuerUrl: 'https://token.actions.githubusercontent.com/*',
    wildcard: true,
    clientId: 'sigstore',
    type: 'github-workflow',
  },
  { issuerUrl: 'https://idp.example/*/*', wildcard: true, clientId: 'sigstore', type: 'github-workflow' },
];

/** One issuer in JSON, changed. */
const one = (change: Record<string, unknown>, key = 'https://a.example', section = 'OIDCIssuers'): string =>
  JSON.stringify({
    [section]: {
      [key]: {
        ...(section === 'OIDCIssuers' && { IssuerURL: key }),
        ClientID: 'sigstore',
        Type: 'email',
        ...change,
      },
    },
  });

describe('parseFulcioConfig()', () => {
  test('reads YAML and JSON alike, exact issuers before patterns, the most specific pattern first', () => {
    expect(parseFulcioConfig(yaml)).toEqual(read);
    expect(parseFulcioConfig(JSON.stringify(json))).toEqual(read);
  });

  test('knows the issuers that Fulcio has without a file', () => {
    expect(builtInIssuers.map((issuer) => checkIssuer(issuer, issuerKinds).challengeClaim)).toEqual([
      'email',
      'email',
      'sub',
    ]);
  });

  test('takes empty text for absent, and sections without content', () => {
    const config = JSON.parse(
      one({ ChallengeClaim: '', IssuerClaim: '', SPIFFETrustDomain: '', CACert: '' }),
    ) as object;
    expect(parseFulcioConfig(JSON.stringify({ ...config, MetaIssuers: {}, CIIssuerMetadata: {} }))).toHaveLength(1);
  });

  test.each<[string, string, RegExp]>([
    ['an unknown section', JSON.stringify({ ...json, Extra: {} }), /unknown field "Extra"/],
    ['an unknown field', one({ Audience: 'x' }), /issuer "https:\/\/a\.example": unknown field "Audience"/],
    ['kebab case in JSON', one({ 'client-id': 'x' }), /unknown field "client-id"; in JSON it is written ClientID/],
    [
      'a kebab section in JSON',
      '{"oidc-issuers":{}}',
      /unknown field "oidc-issuers"; in JSON it is written OIDCIssuers/,
    ],
    ['Pascal case in YAML', 'OIDCIssuers: {}', /unknown field "OIDCIssuers"; in YAML it is written oidc-issuers/],
    ['a wrong type', one({ ClientID: 7 }), /ClientID is 7, expected a string/],
    [
      'a boolean as text',
      one({ SkipEmailVerification: 'true' }),
      /SkipEmailVerification is "true", expected a boolean/,
    ],
    ['no client id', one({ ClientID: undefined }), /ClientID is missing/],
    ['an empty client id', one({ ClientID: '' }), /client id is empty/],
    ['no type', one({ Type: undefined }), /Type is missing/],
    ['no issuer URL', one({ IssuerURL: undefined }), /IssuerURL is nothing, it must be equal to the key/],
    ['a key unlike the URL', one({ IssuerURL: 'https://a.example/' }), /must be equal to the key/],
    [
      'a meta key unlike the URL',
      one({ IssuerURL: 'https://b.example/*' }, 'https://a.example/*', 'MetaIssuers'),
      /equal to the key/,
    ],
    ['a wildcard among exact issuers', one({}, 'https://a.example/*'), /belongs under MetaIssuers/],
    ['no wildcard among patterns', one({}, 'https://a.example', 'MetaIssuers'), /needs a wildcard/],
    ['issuer claim on another type', one({ Type: 'github-workflow', IssuerClaim: '$.a' }), /does not read IssuerClaim/],
    [
      'skipped mail check on another type',
      one({ Type: 'github-workflow', SkipEmailVerification: true }),
      /does not read SkipEmail/,
    ],
    ['an issuer claim that searches', one({ IssuerClaim: '$..a' }), /Cannot use issuer claim/],
    [
      'a challenge claim that is not verified',
      one({ ChallengeClaim: 'sub' }),
      /challenge claim is "sub", but type email/,
    ],
    ['a field nobody reads', one({ SubjectDomain: 'https://a.example' }), /SubjectDomain is not supported/],
    ['a SPIFFE trust domain', one({ SPIFFETrustDomain: 'a' }), /SPIFFETrustDomain is not supported/],
    ['a CI provider', one({ CIProvider: 'github' }), /CIProvider is not supported/],
    ['a private root', one({ CACert: 'x' }), /CACert is not supported: .*NODE_EXTRA_CA_CERTS/],
    ['templates', JSON.stringify({ ...json, CIIssuerMetadata: { github: {} } }), /CIIssuerMetadata is not supported/],
    ['no issuer', '{"OIDCIssuers":{}}', /names no issuer/],
    ['a list', '[]', /expected names with values/],
    ['an empty file', '', /expected names with values/],
    ['an issuer that is a text', '{"OIDCIssuers":{"https://a.example":"email"}}', /expected names with values/],
    ['broken JSON', '{"OIDCIssuers":', /it is not JSON/],
    ['a JSON key twice', '{"OIDCIssuers":{},"OIDCIssuers":{}}', /it is not JSON: .*duplicate/],
    ['broken YAML', 'a: [', /it is not YAML/],
    ['a YAML key twice', 'oidc-issuers: {}\noidc-issuers: {}', /it is not YAML/],
    ['YAML aliases', 'meta-issuers: &a {}\noidc-issuers: *a', /it is not YAML/],
    ['too much', ' '.repeat(1024 * 1024 + 1), /the limit is/],
  ])('refuses %s', (_name, content, message) => {
    expect(() => parseFulcioConfig(content)).toThrow(message);
    expect(() => parseFulcioConfig(content)).toThrow(IdentityError);
  });

  test.each(['username', 'uri', 'spiffe', 'kubernetes', 'gitlab-pipeline', 'buildkite-job', 'ci-provider', 'toString'])(
    'says that issuer type %s is not supported, and which are',
    (type) => {
      expect(() => parseFulcioConfig(one({ Type: type }))).toThrow(
        `issuer type "${type}" is not supported by this version; supported: email, github-workflow`,
      );
    },
  );

  test.each([
    'ftp://a.example',
    'https://',
    'https://user@a.example',
    'https://a.example/?x',
    'https://a.example/#x',
    'https://a.example\\b',
    'a.example',
    'https://a b.example',
  ])('refuses issuer URL %s', (url) => {
    expect(() => parseFulcioConfig(one({}, url))).toThrow(/Cannot use issuer/);
  });

  test.each([
    'https://*',
    'https://*.com/x',
    'https://a.*/x',
    'https://a.example.*',
    'https://a.example/**',
    'https://a.example/*-x-*',
    '*://a.example/',
  ])('refuses pattern %s', (url) => {
    expect(() => parseFulcioConfig(one({}, url, 'MetaIssuers'))).toThrow(/Cannot use issuer/);
  });

  test.each([
    'https://*.oic.prod-aks.azure.com/*/*',
    'https://container.googleapis.com/v1/projects/*/locations/*/clusters/*',
    'https://oidc.eks.*.amazonaws.com/id/*',
    'https://oidc.prod-aks.azure.com/*/',
  ])('takes the pattern %s', (url) => {
    expect(parseFulcioConfig(one({}, url, 'MetaIssuers'))[0]?.issuerUrl).toBe(url);
  });
});
