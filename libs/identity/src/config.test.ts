import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type CiProvider } from './ci-provider.js';
import { ciProviders } from './ci-providers.js';
import { builtInIssuers, checkIssuer, parseFulcioConfig } from './config.js';
import { IdentityError } from './errors.js';
import { issuerKinds } from './kinds.js';

/** YAML of so many mappings, one in the other. */
const indented = (levels: number): string =>
  Array.from({ length: levels }, (_, level) => `${' '.repeat(level)}a:\n`).join('');
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
      one({
        ChallengeClaim: '',
        IssuerClaim: '',
        SPIFFETrustDomain: '',
        SubjectDomain: '',
        CIProvider: '',
        CACert: '',
      }),
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
    ['no issuer', '{"OIDCIssuers":{}}', /names no issuer/],
    ['a list', '[]', /expected names with values/],
    ['an empty file', '', /expected names with values/],
    ['an issuer that is a text', '{"OIDCIssuers":{"https://a.example":"email"}}', /expected names with values/],
    ['broken JSON', '{"OIDCIssuers":', /it is not JSON/],
    ['a JSON key twice', '{"OIDCIssuers":{},"OIDCIssuers":{}}', /it is not JSON: .*duplicate/],
    ['broken YAML', 'a: [', /it is not YAML/],
    ['a YAML key twice', 'oidc-issuers: {}\noidc-issuers: {}', /it is not YAML/],
    ['YAML aliases', 'meta-issuers: &a {}\noidc-issuers: *a', /it is not YAML/],
    ['a second YAML document', `${yaml}\n---\n${yaml}`, /it is not YAML: it has 2 documents, and only one is read/],
    ['a second YAML document without content', `${yaml}\n---\n`, /it has 2 documents/],
    ['a second YAML document after the end of the first', `${yaml}\n...\n---\noidc-issuers: {}`, /it has 2 documents/],
    ['lists nested as deep as may be in YAML', `a: ${'['.repeat(15)}${']'.repeat(15)}`, /unknown field "a"/],
    ['mappings nested as deep as may be in YAML', indented(16), /unknown field "a"/],
    ['lists nested deep in YAML', `a: ${'['.repeat(16)}${']'.repeat(16)}`, /nested deeper than 16 levels/],
    ['mappings nested deep in YAML', indented(17), /nested deeper than 16 levels/],
    ['mappings nested in mappings in one line', 'a: '.padEnd(3 + 16, '{').padEnd(3 + 32, '}'), /it is not YAML/],
    ['YAML nested without end', 'x: ' + '['.repeat(500_000), /nested deeper than 16 levels/],
    ['YAML indented without end', '- '.repeat(500_000), /nested deeper than 16 levels/],
    ['keys nested without end', '? '.repeat(500_000), /nested deeper than 16 levels/],
    ['YAML 1.1', `%YAML 1.1\n---\n${yaml}`, /YAML 1\.1 is not read, only 1\.2/],
    ['a YAML directive that nobody knows', `%INCLUDE other.yaml\n---\n${yaml}`, /it is not YAML: Unknown directive/],
    ['a YAML tag that nobody knows', 'oidc-issuers: !include other.yaml', /it is not YAML: Unresolved tag/],
    ['a YAML merge key', 'oidc-issuers:\n  <<: {}', /issuer "<<": issuer-url is nothing/],
    ['a YAML key that is a number', 'oidc-issuers: {}\n1: x', /a key is not a text/],
    ['a YAML key that is nothing', 'oidc-issuers: {}\n~: x', /a key is not a text/],
    ['a YAML key that is a list', 'oidc-issuers: {}\n? [a]\n: x', /a key is not a text/],
    ['a YAML key twice, once in quotes', 'oidc-issuers: {}\n"oidc-issuers": {}', /key "oidc-issuers" is there twice/],
    ['too much', ' '.repeat(1024 * 1024 + 1), /the limit is/],
  ])('refuses %s', (_name, content, message) => {
    expect(() => parseFulcioConfig(content)).toThrow(message);
    expect(() => parseFulcioConfig(content)).toThrow(IdentityError);
  });

  test.each(['toString', 'Email', 'github', 'saml'])(
    'says that there is no issuer type %s, and which there are',
    (type) => {
      expect(() => parseFulcioConfig(one({ Type: type }))).toThrow(
        `issuer type "${type}" is not supported by this version; supported: email, username, uri, spiffe, kubernetes, github-workflow, gitlab-pipeline, buildkite-job, codefresh-workflow, chainguard-identity, ci-provider`,
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

describe('fields that only some types read', () => {
  const spiffe = { Type: 'spiffe', SPIFFETrustDomain: 'example.org' };
  const uri = { Type: 'uri', SubjectDomain: 'https://users.a.example' };
  const username = { Type: 'username', SubjectDomain: 'users.a.example' };
  const job = { Type: 'ci-provider', CIProvider: 'buildkite-job' };

  test.each<[string, Record<string, unknown>, object]>([
    ['spiffe', spiffe, { spiffeTrustDomain: 'example.org' }],
    ['uri', uri, { subjectDomain: 'https://users.a.example' }],
    ['uri with the port of its own', { ...uri, SubjectDomain: 'https://a.example:8443/people' }, {}],
    ['username', username, { subjectDomain: 'users.a.example' }],
    ['ci-provider', job, { ciProvider: expect.objectContaining({ name: 'buildkite-job' }) as object }],
  ])('type %s is read', (_name, fields, expected) => {
    expect(parseFulcioConfig(one(fields))[0]).toMatchObject(expected);
  });

  const all = {
    IssuerClaim: '$.a',
    SkipEmailVerification: true,
    SubjectDomain: 'a.example',
    SPIFFETrustDomain: 'a.example',
    CIProvider: 'github-workflow',
  };
  const read: Record<string, (keyof typeof all)[]> = {
    email: ['IssuerClaim', 'SkipEmailVerification'],
    username: ['SubjectDomain'],
    uri: ['SubjectDomain'],
    spiffe: ['SPIFFETrustDomain'],
    'ci-provider': ['CIProvider'],
  };
  const unread = Object.keys(issuerKinds).flatMap((type) =>
    Object.keys(all)
      .filter((field) => !(read[type] as string[] | undefined)?.includes(field))
      .map((field) => [type, field] as const),
  );
  // The lesson of kyverno CVE-2025-29778, where policies with ignored fields let everybody in, for issuers.
  test.each(unread)('CVE-2025-29778: type %s with %s is an error, exact and behind a wildcard', (type, field) => {
    const own = { 'ci-provider': job, username, uri, spiffe }[type] ?? { Type: type };
    const change = { ...own, [field]: all[field as keyof typeof all] };
    for (const [key, section] of [
      ['https://a.example', 'OIDCIssuers'],
      ['https://*.a.example/x', 'MetaIssuers'],
    ] as const) {
      expect(() => parseFulcioConfig(one(change, key, section))).toThrow(`type ${type} does not read ${field}`);
    }
  });

  test.each<[string, Record<string, unknown>, RegExp]>([
    [
      'spiffe without a trust domain',
      { ...spiffe, SPIFFETrustDomain: '' },
      /type spiffe needs the SPIFFE trust domain/,
    ],
    ['spiffe with a trust domain in capitals', { ...spiffe, SPIFFETrustDomain: 'Example.org' }, /expected a bare name/],
    ['spiffe with an ID for a name', { ...spiffe, SPIFFETrustDomain: 'spiffe://example.org' }, /expected a bare name/],
    ['uri without a domain', { Type: 'uri' }, /type uri needs the subject domain/],
    ['uri without a scheme', { ...uri, SubjectDomain: 'a.example' }, /expected scheme and host in lower case/],
    ['uri with another scheme', { ...uri, SubjectDomain: 'http://a.example' }, /has scheme "http", the issuer "https"/],
    ['uri of another owner', { ...uri, SubjectDomain: 'https://b.example' }, /do not look like one owner's/],
    ['uri with a user', { ...uri, SubjectDomain: 'https://a@a.example' }, /expected scheme and host/],
    ['username without a domain', { Type: 'username' }, /type username needs the subject domain/],
    [
      'username with a scheme',
      { ...username, SubjectDomain: 'https://a.example' },
      /host name in lower case without scheme/,
    ],
    ['username of another owner', { ...username, SubjectDomain: 'b.example' }, /do not look like one owner's/],
    ['ci-provider without a name', { Type: 'ci-provider' }, /type ci-provider needs the name of one/],
    [
      'a CI provider that nobody knows',
      { ...job, CIProvider: 'buildkite' },
      /there is no CI provider "buildkite".*built in: github-workflow, /,
    ],
    ['a CI provider called like a method', { ...job, CIProvider: 'toString' }, /there is no CI provider "toString"/],
  ])('refuses %s', (_name, fields, message) => {
    expect(() => parseFulcioConfig(one(fields))).toThrow(message);
  });

  test('checks the fields of patterns as well, which Fulcio does not', () => {
    const meta = (fields: Record<string, unknown>) => () =>
      parseFulcioConfig(one(fields, 'https://*.a.example/x', 'MetaIssuers'));
    expect(meta(spiffe)).toThrow(/type spiffe cannot be behind a wildcard/);
    expect(meta({ ...uri, SubjectDomain: 'https://b.example' })).toThrow(/one owner's/);
    expect(meta({ ...username, SubjectDomain: 'https://a.example' })).toThrow(/without scheme/);
    expect(meta({ Type: 'ci-provider' })).toThrow(/needs the name/);
    expect(meta({ Type: 'kubernetes', CACert: 'x' })).toThrow(/PEM certificates/);
    expect(meta(username)()[0]).toMatchObject({ subjectDomain: 'users.a.example', wildcard: true });
  });
});

describe('CACert', () => {
  const root = readFileSync(new URL('../../../test/vectors/identity/root.pem', import.meta.url), 'utf8');

  test('is kept as it is', () => {
    for (const caCert of [root, `# ours\n${root}\n${root}`]) {
      expect(parseFulcioConfig(one({ CACert: caCert }))[0]).toMatchObject({ caCert });
    }
    const indented = root.replace(/^/gm, '      ');
    const config = `oidc-issuers:\n  https://a.example:\n    issuer-url: https://a.example\n    client-id: x\n    type: email\n    ca-cert: |\n${indented}`;
    expect(parseFulcioConfig(config)[0]?.caCert?.trim()).toBe(root.trim());
  });

  test.each<[string, string, string?]>([
    ['no PEM', 'x'],
    ['another kind of PEM', root.replaceAll('CERTIFICATE', 'PUBLIC KEY')],
    ['a key beside it', `${root}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n`],
    ['a certificate cut short', root.slice(0, -40)],
    ['what is no certificate', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'],
    ['too much', root.repeat(200)],
    ['an issuer without TLS', root, 'http://a.example'],
  ])('refuses %s', (_name, caCert, key) => {
    expect(() => parseFulcioConfig(one({ CACert: caCert }, key))).toThrow(/issuer "https?:\/\/a\.example": .*CACert/);
  });
});

describe('ci-issuer-metadata', () => {
  const issuer = { Type: 'ci-provider', CIProvider: 'ours' };
  const config = (metadata: unknown, fields: object = issuer) =>
    JSON.stringify({ ...(JSON.parse(one({ ...fields })) as object), CIIssuerMetadata: { ours: metadata } });
  const san = { SubjectAlternativeNameTemplate: 'https://{{ .host }}/{{ .job }}' };

  test('is compiled, and goes before what is built in', () => {
    const [read] = parseFulcioConfig(
      config({
        ...san,
        DefaultTemplateValues: { host: 'ci' },
        ExtensionTemplates: { BuildTrigger: 'why', RunnerEnvironment: ' ', Subject: '' },
      }),
    );
    expect(read?.ciProvider).toMatchObject({
      name: 'ours',
      defaults: { host: 'ci' },
      san: { text: 'https://{{ .host }}/{{ .job }}' },
    });
    expect(Object.keys(read?.ciProvider?.extensions ?? {})).toEqual(['buildTrigger']);
    const [own] = parseFulcioConfig(
      JSON.stringify({
        ...(JSON.parse(one({ Type: 'ci-provider', CIProvider: 'github-workflow' })) as object),
        CIIssuerMetadata: { 'github-workflow': { SubjectAlternativeNameTemplate: 'https://{{ .mine }}' } },
      }),
    );
    expect(own?.ciProvider?.san.text).toBe('https://{{ .mine }}');
  });

  test.each<[string, unknown, RegExp]>([
    [
      'no SAN',
      {},
      /CIIssuerMetadata: Cannot use CI provider "ours": the template of its subject alternative name is blank/,
    ],
    ['a blank SAN', { SubjectAlternativeNameTemplate: ' ' }, /is blank/],
    ['an unknown field', { ...san, Extensions: {} }, /CIIssuerMetadata "ours": unknown field "Extensions"/],
    ['the other format', { 'extension-templates': {} }, /in JSON it is written ExtensionTemplates/],
    [
      'an unknown extension',
      { ...san, ExtensionTemplates: { BuildTriger: 'a' } },
      /"ours": ExtensionTemplates: unknown field "BuildTriger"/,
    ],
    [
      'an extension in the other format',
      { ...san, ExtensionTemplates: { 'build-trigger': 'a' } },
      /written BuildTrigger/,
    ],
    [
      'a subject',
      { ...san, ExtensionTemplates: { Subject: 'a' } },
      /Subject is not supported: the subject is always the token's sub/,
    ],
    ['an issuer', { ...san, ExtensionTemplates: { Issuer: 'a' } }, /Issuer is not supported: the issuer is always/],
    [
      'an extension that is no text',
      { ...san, ExtensionTemplates: { BuildTrigger: 1 } },
      /BuildTrigger is 1, expected a string/,
    ],
    [
      'a default that is no text',
      { ...san, DefaultTemplateValues: { host: 1 } },
      /DefaultTemplateValues "host" is 1, expected a string/,
    ],
    [
      'a default that nothing reads',
      { ...san, DefaultTemplateValues: { hots: 'x' } },
      /no template reads its default value "hots"/,
    ],
    [
      'a SAN that does not parse',
      { SubjectAlternativeNameTemplate: '{{ .a | html }}' },
      /Cannot use template .*pipelines/,
    ],
    [
      'an extension that does not parse',
      { ...san, ExtensionTemplates: { BuildTrigger: '{{' } },
      /Cannot use template "{{": an action is not closed/,
    ],
    ['a text', 'x', /"ours": found "x", expected names with values/],
    ['a list', { ...san, ExtensionTemplates: [] }, /ExtensionTemplates: found a list of 0/],
  ])('refuses %s', (_name, metadata, message) => {
    expect(() => parseFulcioConfig(config(metadata))).toThrow(message);
    expect(() => parseFulcioConfig(config(metadata))).toThrow(IdentityError);
  });

  test('refuses templates that no issuer uses', () => {
    expect(() => parseFulcioConfig(config(san, {}))).toThrow(
      'CIIssuerMetadata "ours": no issuer names it in its CIProvider',
    );
  });
});

describe("a file as Fulcio's public instance has it", () => {
  const text = readFileSync(new URL('../../../test/vectors/identity/public-instance.yaml', import.meta.url), 'utf8');

  test('is read, with its anchors, its aliases as keys, and its templates', () => {
    const issuers = parseFulcioConfig(text);
    expect(issuers).toHaveLength(12);
    const providers = issuers.flatMap(({ ciProvider }) => (ciProvider ? [ciProvider.name] : []));
    expect(new Set(providers)).toEqual(
      new Set(['github-workflow', 'gitlab-pipeline', 'codefresh-workflow', 'buildkite-job', 'circleci-job']),
    );
  });

  test('describes the same CI systems as the built-in ones', () => {
    for (const { ciProvider } of parseFulcioConfig(text)) {
      if (!ciProvider) continue;
      const builtIn = ciProviders[ciProvider.name];
      const texts = ({ defaults, san, extensions }: CiProvider) => ({
        defaults,
        san: plain(san),
        extensions: Object.fromEntries(Object.entries(extensions).map(([name, template]) => [name, plain(template)])),
      });
      expect(builtIn && texts(builtIn)).toEqual(texts(ciProvider));
    }
  });
  // White space within actions and the parentheses around a whole one mean nothing.
  const plain = (template: { text: string }) =>
    template.text.replace(/\{\{\(?\s*(.*?)\s*\)?\}\}/g, '{{$1}}').replace(/\)\s*$/, '');

  test.each<[string, string, RegExp]>([
    ['an alias to a mapping', 'a: &a {x: y}\noidc-issuers: *a', /alias \*a is not to a single text/],
    ['an unknown alias', 'oidc-issuers: {*a : x}', /it is not YAML/],
    [
      'one key by name and by alias',
      'define: [&k a]\nci-issuer-metadata:\n  *k:\n    x: y\n  a: {}\n',
      /key "a" is there twice/,
    ],
    ['anchors on more than texts', 'define: [&k {a: b}]', /define is for a list of texts/],
    ['definitions that are none', 'define: x', /define is for a list of texts/],
    ['too many aliases', `define: [&k a]\nx: [${'*k, '.repeat(1001)}]`, /it has more than 1000 aliases/],
    ['far too many aliases', `define: [&k a]\nx: [${'*k, '.repeat(200_000)}]`, /it has more than 1000 aliases/],
    ['definitions in JSON', '{"define":["x"]}', /unknown field "define"/],
  ])('refuses %s', (_name, content, message) => {
    expect(() => parseFulcioConfig(content)).toThrow(message);
  });
});
