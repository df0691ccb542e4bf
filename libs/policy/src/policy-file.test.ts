import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodePem, encodeUtf8 } from '#libs/encoding';
import { generateSigner } from '#libs/openssl';
import { encodeTrustedRoot } from '#libs/trust';
import {
  forAll,
  identity,
  keyless,
  keyPem,
  policy,
  problemsOf,
  read,
  small,
  type Fields,
} from '../testing/policies.js';
import { parsePolicyFile, PolicyError } from './index.js';

const p384 = encodePem('PUBLIC KEY', generateSigner('P-384').publicKey.spki);
const attestation = { name: 'sbom', predicateType: 'https://spdx.dev/Document' };
const cel = { type: 'cel', data: 'predicateType != ""' };
const key = (fields: Fields = {}, rest: Fields = {}): Fields => ({ key: { data: keyPem, ...fields }, ...rest });
const trusted = encodeTrustedRoot(small.trustedRoot());
const trustedRootDocument = (name: string, spec: Fields): Fields => ({
  apiVersion: 'chancery/v1',
  kind: 'TrustedRoot',
  metadata: { name },
  spec,
});

describe('parsePolicyFile() accepts', () => {
  test.each<[field: string, document: Fields]>([
    ['images[].glob', policy({ images: [{ glob: 'registry.test/**' }], authorities: [keyless()] })],
    ['apiVersion v1alpha1', { ...forAll([keyless()]), apiVersion: 'policy.sigstore.dev/v1alpha1' }],
    ['mode enforce', forAll([keyless()], { mode: 'enforce' })],
    ['mode warn', forAll([keyless()], { mode: 'warn' })],
    ['match by resource', forAll([keyless()], { match: [{ group: 'apps', version: 'v1', resource: 'deployments' }] })],
    [
      'match with a selector',
      forAll([keyless()], {
        match: [
          {
            version: '*',
            selector: {
              matchLabels: { app: 'web' },
              matchExpressions: [{ key: 'tier', operator: 'In', values: ['a'] }],
            },
          },
        ],
      }),
    ],
    ['authorities[].name', forAll([keyless({}, { name: 'ci' })])],
    ['keyless.url of the trust root', forAll([keyless({ url: 'https://ca.small.test/' })])],
    [
      'keyless.identities by expression',
      forAll([keyless({ identities: [{ subjectRegExp: '.*', issuerRegExp: '.*' }] })]),
    ],
    ['keyless.insecureIgnoreSCT false', forAll([keyless({ insecureIgnoreSCT: false })])],
    ['ctlog.url of the trust root', forAll([keyless({}, { ctlog: { url: 'https://log.small.test' } })])],
    ['rfc3161timestamp', forAll([keyless({}, { rfc3161timestamp: {} })])],
    ['source[].oci', forAll([keyless({}, { source: [{ oci: 'registry.test/signatures' }] })])],
    ['signatureFormat bundle', forAll([keyless({}, { signatureFormat: 'bundle' })])],
    ['signatureFormat legacy', forAll([keyless({}, { signatureFormat: 'legacy' })])],
    ['attestations', forAll([keyless({}, { attestations: [attestation] })])],
    ['attestations by a short name', forAll([keyless({}, { attestations: [{ name: 'a', predicateType: 'vuln' }] })])],
    ['attestations[].policy cel', forAll([keyless({}, { attestations: [{ ...attestation, policy: cel }] })])],
    [
      'attestations[].policy jsonschema',
      forAll([
        keyless({}, { attestations: [{ ...attestation, policy: { type: 'jsonschema', data: '{"type":"object"}' } }] }),
      ]),
    ],
    ['key.data', forAll([key()])],
    ['key.data with several keys', forAll([key({ data: keyPem + p384 })])],
    ['key.hashAlgorithm of the key', forAll([key({ hashAlgorithm: 'sha256' })])],
    ['static pass', forAll([{ static: { action: 'pass' } }])],
    ['static fail with a message', forAll([{ static: { action: 'fail', message: 'ask the platform team' } }])],
    ['policy over the outcome', forAll([keyless()], { policy: { ...cel, fetchConfigFile: false } })],
    [
      'what the API server adds',
      policy({ images: [{ glob: '**' }], authorities: [keyless()] }, 'web', {
        metadata: {
          name: 'web',
          uid: '1',
          resourceVersion: '7',
          generation: 1,
          creationTimestamp: null,
          managedFields: [],
        },
        status: { conditions: [] },
      }),
    ],
  ])('%s', async (_, document) => {
    const { policies } = await read(document);
    expect(policies.map(({ name }) => name)).toEqual(['web']);
  });

  test('YAML, several documents, comments and lists of kubectl', async () => {
    const text = `# whom we trust
apiVersion: v1
kind: List
items:
- apiVersion: policy.sigstore.dev/v1beta1
  kind: ClusterImagePolicy
  metadata:
    name: a
  spec:
    images:
    - glob: "**"
    authorities:
    - static:
        action: fail
---
---
apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {name: b}
spec: {images: [{glob: "**"}], authorities: [{static: {action: pass}}]}
`;
    const { policies } = await parsePolicyFile(text);
    expect(policies.map(({ name, line }) => [name, line])).toEqual([
      ['a', 10],
      ['b', 20],
    ]);
  });

  test('defaults: names by index, mode enforce, layout legacy', async () => {
    const { policies } = await read(forAll([keyless(), key({}, { name: 'release' })]));
    expect(policies[0]).toMatchObject({
      mode: 'enforce',
      authorities: [
        { name: 'authority-0', kind: 'keyless', layout: 'legacy', timestamp: false },
        { name: 'release', kind: 'key' },
      ],
    });
  });
});

describe('parsePolicyFile() refuses', () => {
  const spec = { images: [{ glob: '**' }], authorities: [keyless()] };
  test.each<[rule: string, document: Fields, path: string, message: RegExp]>([
    // Unknown fields, at every level
    ['an unknown field beside spec', { ...policy(spec), data: 1 }, 'data', /unknown field/],
    [
      'an unknown field in metadata',
      policy(spec, 'web', { metadata: { name: 'web', lables: {} } }),
      'metadata.lables',
      /unknown/,
    ],
    ['an unknown field in spec', policy({ ...spec, authority: [] }), 'spec.authority', /unknown/],
    [
      'an unknown field in images',
      policy({ ...spec, images: [{ glob: '**', regex: 'x' }] }),
      'spec.images[0].regex',
      /unknown/,
    ],
    ['an unknown field in an authority', forAll([keyless({}, { tlog: {} })]), 'spec.authorities[0].tlog', /unknown/],
    ['an unknown field in keyless', forAll([keyless({ roots: '' })]), 'spec.authorities[0].keyless.roots', /unknown/],
    [
      'an unknown field in identities',
      forAll([keyless({ identities: [{ ...identity, subjectRegex: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0].subjectRegex',
      /unknown/,
    ],
    [
      'an unknown field in ctlog',
      forAll([keyless({}, { ctlog: { url: 'https://log.small.test', key: 'x' } })]),
      'spec.authorities[0].ctlog.key',
      /unknown/,
    ],
    [
      'an unknown field in rfc3161timestamp',
      forAll([keyless({}, { rfc3161timestamp: { url: 'x' } })]),
      'spec.authorities[0].rfc3161timestamp.url',
      /unknown/,
    ],
    [
      'an unknown field in source',
      forAll([keyless({}, { source: [{ oci: 'registry.test/a', tag: 'x' }] })]),
      'spec.authorities[0].source[0].tag',
      /unknown/,
    ],
    [
      'an unknown field in attestations',
      forAll([keyless({}, { attestations: [{ ...attestation, type: 'x' }] })]),
      'spec.authorities[0].attestations[0].type',
      /unknown/,
    ],
    [
      'an unknown field in a policy',
      forAll([keyless()], { policy: { ...cel, rule: 'x' } }),
      'spec.policy.rule',
      /unknown/,
    ],
    ['an unknown field in key', forAll([key({ pem: 'x' })]), 'spec.authorities[0].key.pem', /unknown/],
    [
      'an unknown field in static',
      forAll([{ static: { action: 'pass', reason: 'x' } }]),
      'spec.authorities[0].static.reason',
      /unknown/,
    ],
    ['an unknown field in match', policy({ ...spec, match: [{ kind: 'Pod' }] }), 'spec.match[0].kind', /unknown/],
    [
      'an unknown field in a selector',
      policy({ ...spec, match: [{ version: 'v1', selector: { labels: {} } }] }),
      'spec.match[0].selector.labels',
      /unknown/,
    ],
    ['a field in another case', policy({ ...spec, Mode: 'warn' }), 'spec.Mode', /unknown/],

    // Validation rules
    ['no images', policy({ authorities: [keyless()] }), 'spec', /images is missing/],
    ['empty images', policy({ images: [], authorities: [keyless()] }), 'spec', /images is missing or empty/],
    ['an image without glob', policy({ ...spec, images: [{}] }), 'spec.images[0]', /glob is missing/],
    [
      'a glob with other characters',
      policy({ ...spec, images: [{ glob: '[a-z]*' }] }),
      'spec.images[0].glob',
      /only letters/,
    ],
    ['no authorities', policy({ images: spec.images }), 'spec', /authorities is missing/],
    ['empty authorities', policy({ ...spec, authorities: [] }), 'spec', /authorities is missing or empty/],
    [
      'an authority of no kind',
      forAll([{ name: 'x' }]),
      'spec.authorities[0]',
      /one of key, keyless and static is missing/,
    ],
    [
      'an authority of two kinds',
      forAll([{ ...keyless(), ...key() }]),
      'spec.authorities[0]',
      /key and keyless exclude/,
    ],
    [
      'two authorities of one name',
      forAll([keyless({}, { name: 'x' }), keyless({}, { name: 'x' })]),
      'spec.authorities',
      /two authorities/,
    ],
    ['another mode', policy({ ...spec, mode: 'audit' }), 'spec.mode', /expected enforce or warn/],
    ['a key without material', forAll([{ key: {} }]), 'spec.authorities[0].key', /data is missing/],
    ['a key that is none', forAll([key({ data: 'x' })]), 'spec.authorities[0].key.data', /PEM/],
    [
      'a certificate as key',
      forAll([key({ data: encodePem('CERTIFICATE', Uint8Array.of(1)) })]),
      'spec.authorities[0].key.data',
      /expected PUBLIC KEY/,
    ],
    [
      'another hash than the key has',
      forAll([key({ hashAlgorithm: 'sha512' })]),
      'spec.authorities[0].key.hashAlgorithm',
      /this key signs with sha256/,
    ],
    ['an unknown hash', forAll([key({ hashAlgorithm: 'md5' })]), 'spec.authorities[0].key.hashAlgorithm', /md5/],
    [
      'no identities',
      forAll([keyless({ identities: [] })]),
      'spec.authorities[0].keyless',
      /identities is missing or empty/,
    ],
    [
      'an identity without subject',
      forAll([keyless({ identities: [{ issuer: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0]',
      /subject/,
    ],
    [
      'an identity without issuer',
      forAll([keyless({ identities: [{ subject: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0]',
      /issuer/,
    ],
    [
      'both forms of a subject',
      forAll([keyless({ identities: [{ ...identity, subjectRegExp: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0].subjectRegExp',
      /exclude/,
    ],
    [
      'both forms of an issuer',
      forAll([keyless({ identities: [{ ...identity, issuerRegExp: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0].issuerRegExp',
      /exclude/,
    ],
    [
      'an expression that is none',
      forAll([keyless({ identities: [{ subjectRegExp: '(', issuer: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0].subjectRegExp',
      /RE2/,
    ],
    [
      'a lookahead, which RE2 does not have',
      forAll([keyless({ identities: [{ subjectRegExp: '(?=a)', issuer: 'x' }] })]),
      'spec.authorities[0].keyless.identities[0].subjectRegExp',
      /RE2/,
    ],
    [
      'an action of static',
      forAll([{ static: { action: 'allow' } }]),
      'spec.authorities[0].static.action',
      /expected pass or fail/,
    ],
    ['static without action', forAll([{ static: {} }]), 'spec.authorities[0].static', /action is missing/],
    ...(['attestations', 'source', 'ctlog', 'rfc3161timestamp', 'signatureFormat'] as const).map(
      (field): [string, Fields, string, RegExp] => [
        `static with ${field}`,
        forAll([{ static: { action: 'pass' }, [field]: field === 'signatureFormat' ? 'bundle' : [] }]),
        `spec.authorities[0].${field}`,
        /static looks at no signature/,
      ],
    ),
    [
      'two sources',
      forAll([keyless({}, { source: [{ oci: 'a.test/b' }, { oci: 'a.test/c' }] })]),
      'spec.authorities[0].source',
      /at most one/,
    ],
    [
      'a source with a tag',
      forAll([keyless({}, { source: [{ oci: 'a.test/b:v1' }] })]),
      'spec.authorities[0].source[0].oci',
      /without tag/,
    ],
    [
      'a source that is none',
      forAll([keyless({}, { source: [{ oci: 'https://a.test/b' }] })]),
      'spec.authorities[0].source[0].oci',
      /scheme/,
    ],
    [
      'a source without oci',
      forAll([keyless({}, { source: [{}] })]),
      'spec.authorities[0].source[0]',
      /oci is missing/,
    ],
    [
      'an attestation without name',
      forAll([keyless({}, { attestations: [{ predicateType: 'vuln' }] })]),
      'spec.authorities[0].attestations[0]',
      /name is missing/,
    ],
    [
      'an attestation without type',
      forAll([keyless({}, { attestations: [{ name: 'x' }] })]),
      'spec.authorities[0].attestations[0]',
      /predicateType is missing/,
    ],
    [
      'a type that is no URI',
      forAll([keyless({}, { attestations: [{ name: 'x', predicateType: 'sbom' }] })]),
      'spec.authorities[0].attestations[0].predicateType',
      /sbom/,
    ],
    [
      'two attestations of one name',
      forAll([keyless({}, { attestations: [attestation, attestation] })]),
      'spec.authorities[0].attestations[1].name',
      /two attestations/,
    ],
    [
      'an empty list of attestations',
      forAll([keyless({}, { attestations: [] })]),
      'spec.authorities[0].attestations',
      /is empty/,
    ],
    [
      'another signature format',
      forAll([keyless({}, { signatureFormat: 'simple' })]),
      'spec.authorities[0].signatureFormat',
      /expected legacy or bundle/,
    ],
    [
      'a selector alone',
      policy({ ...spec, match: [{ selector: { matchLabels: { a: 'b' } } }] }),
      'spec.match[0].selector',
      /a selector needs/,
    ],
    [
      'an unknown resource',
      policy({ ...spec, match: [{ resource: 'replicationcontrollers' }] }),
      'spec.match[0].resource',
      /expected pods/,
    ],
    [
      'an operator without values',
      policy({ ...spec, match: [{ version: 'v1', selector: { matchExpressions: [{ key: 'a', operator: 'In' }] } }] }),
      'spec.match[0].selector.matchExpressions[0]',
      /needs values/,
    ],

    // Fields that are not honoured, each with a reason
    [
      'key.secretRef',
      forAll([{ key: { secretRef: { name: 's' } } }]),
      'spec.authorities[0].key.secretRef',
      /no cluster/,
    ],
    ['key.kms', forAll([{ key: { kms: 'awskms:///alias/x' } }]), 'spec.authorities[0].key.kms', /no key service/],
    [
      'keyless.ca-cert',
      forAll([keyless({ 'ca-cert': { data: 'x' } })]),
      'spec.authorities[0].keyless.ca-cert',
      /not supported/,
    ],
    [
      'keyless.insecureIgnoreSCT',
      forAll([keyless({ insecureIgnoreSCT: true })]),
      'spec.authorities[0].keyless.insecureIgnoreSCT',
      /CT log/,
    ],
    [
      'an empty ctlog',
      forAll([keyless({}, { ctlog: {} })]),
      'spec.authorities[0].ctlog',
      /turns the check of the log off/,
    ],
    [
      'source.tagPrefix',
      forAll([keyless({}, { source: [{ oci: 'a.test/b', tagPrefix: 'x-' }] })]),
      'spec.authorities[0].source[0].tagPrefix',
      /usual tags/,
    ],
    [
      'source.signaturePullSecrets',
      forAll([keyless({}, { source: [{ oci: 'a.test/b', signaturePullSecrets: [{ name: 's' }] }] })]),
      'spec.authorities[0].source[0].signaturePullSecrets',
      /no cluster/,
    ],
    [
      'policy type cue',
      forAll([keyless()], { policy: { type: 'cue', data: 'x' } }),
      'spec.policy.type',
      /cue is not supported/,
    ],
    [
      'policy type rego',
      forAll([keyless()], { policy: { type: 'rego', data: 'x' } }),
      'spec.policy.type',
      /runs compiled only/,
    ],
    [
      'policy type of nobody',
      forAll([keyless()], { policy: { type: 'js', data: 'x' } }),
      'spec.policy.type',
      /expected cel/,
    ],
    [
      'policy.remote',
      forAll([keyless()], { policy: { type: 'cel', remote: { url: 'https://x', sha256sum: 'x' } } }),
      'spec.policy.remote',
      /no policy is fetched/,
    ],
    [
      'policy.configMapRef',
      forAll([keyless()], { policy: { type: 'cel', configMapRef: { name: 'x', key: 'y' } } }),
      'spec.policy.configMapRef',
      /no cluster/,
    ],
    ...(['fetchConfigFile', 'includeSpec', 'includeObjectMeta', 'includeTypeMeta'] as const).flatMap(
      (field): [string, Fields, string, RegExp][] => [
        [
          `policy.${field}`,
          forAll([keyless()], { policy: { ...cel, [field]: true } }),
          `spec.policy.${field}`,
          /not supported/,
        ],
        [
          `${field} in an attestation's policy`,
          forAll([keyless({}, { attestations: [{ ...attestation, policy: { ...cel, [field]: false } }] })]),
          `spec.authorities[0].attestations[0].policy.${field}`,
          /belongs to the policy of the whole/,
        ],
      ],
    ),
    [
      'an expression of CEL that is none',
      forAll([keyless()], { policy: { type: 'cel', data: '1 +' } }),
      'spec.policy.data',
      /Cannot use policy/,
    ],
    [
      'a schema that is none',
      forAll([keyless()], { policy: { type: 'jsonschema', data: '{"typo":1}' } }),
      'spec.policy.data',
      /Cannot use policy/,
    ],
    [
      'Rego that is no WebAssembly',
      forAll([keyless()], { policy: { type: 'rego-wasm', data: 'AAAA' } }),
      'spec.policy.data',
      /Cannot use policy/,
    ],
    [
      'several keys with attestations',
      forAll([key({ data: keyPem + p384 }, { attestations: [attestation] })]),
      'spec.authorities[0].key',
      /several keys/,
    ],

    [
      'rfc3161timestamp of attestations in the legacy layout',
      forAll([keyless({}, { attestations: [attestation], rfc3161timestamp: {} })]),
      'spec.authorities[0].rfc3161timestamp',
      /not over the signature/,
    ],

    // Values of the wrong type, or none
    ['a number as text', policy({ ...spec, mode: 1 }), 'spec.mode', /expected a text/],
    [
      'a text as flag',
      forAll([keyless({ insecureIgnoreSCT: 'false' })]),
      'spec.authorities[0].keyless.insecureIgnoreSCT',
      /expected true or false/,
    ],
    ['a section as list', policy({ ...spec, images: { glob: '**' } }), 'spec.images', /expected a list/],
    ['a text as section', forAll([{ keyless: 'yes' }]), 'spec.authorities[0].keyless', /expected names with values/],
    ['null', forAll([keyless({}, { attestations: null })]), 'spec.authorities[0].attestations', /has no value/],
    ['an empty text', policy({ ...spec, mode: '' }), 'spec.mode', /is empty/],
    [
      'a URL with a user',
      forAll([keyless({ url: 'https://a@ca.small.test' })]),
      'spec.authorities[0].keyless.url',
      /expected a URL/,
    ],

    // Documents
    ['another kind', { ...policy(spec), kind: 'Policy' }, 'kind', /expected ClusterImagePolicy/],
    ['another version', { ...policy(spec), apiVersion: 'policy.sigstore.dev/v1' }, 'apiVersion', /v1beta1 or/],
    ['no name', policy(spec, 'x', { metadata: {} }), 'metadata', /name is missing/],
    [
      'no spec',
      { apiVersion: 'policy.sigstore.dev/v1beta1', kind: 'ClusterImagePolicy', metadata: { name: 'web' } },
      '',
      /spec is missing/,
    ],
    [
      'a list in a list',
      { apiVersion: 'v1', kind: 'List', items: [{ apiVersion: 'v1', kind: 'List', items: [] }] },
      'items[0].kind',
      /is "List"/,
    ],
  ])('%s', async (_, document, path, message) => {
    const problems = await problemsOf(document);
    expect(problems.map((problem) => problem.path.replace(/^ClusterImagePolicy "web"(: )?/, ''))).toContain(path);
    expect(problems.map((problem) => problem.message).join('\n')).toMatch(message);
  });

  test('and says where: path, line and cure', async () => {
    const text = `apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata:
  name: web
spec:
  images:
  - glob: "**"
  authorities:
  - keyless:
      identities:
      - subject: ci@example.com
        issuer: https://accounts.example.com
        subjectRegexp: .*
`;
    expect(await problemsOf(text)).toEqual([
      {
        line: 13,
        path: 'ClusterImagePolicy "web": spec.authorities[0].keyless.identities[0].subjectRegexp',
        message: 'unknown field',
        cure: 'It is written subjectRegExp',
      },
    ]);
  });

  test('and tells all problems at once', async () => {
    const problems = await problemsOf([
      policy({ mode: 'x', images: [{ glob: '?' }], authorities: [{}] }, 'a'),
      policy({}, 'b'),
    ]);
    expect(problems.length).toBeGreaterThanOrEqual(4);
  });

  test.each<[string, string, string]>([
    ['what is no YAML', 'a: [', 'POLICY_SYNTAX'],
    ['a name twice', 'kind: a\nkind: b', 'POLICY_SYNTAX'],
    ['an alias', 'a: &x 1\nb: *x', 'POLICY_SYNTAX'],
    ['an alias in JSON-like YAML', '{a: &x {b: 1}, c: *x}', 'POLICY_SYNTAX'],
    ['a custom tag', 'a: !!js/function x', 'POLICY_SYNTAX'],
    ['YAML 1.1', '%YAML 1.1\n---\na: on', 'POLICY_SYNTAX'],
    ['a key that is no text', '? [a]\n: b', 'POLICY_SYNTAX'],
    ['a list', '- a', 'POLICY_SYNTAX'],
    ['a text', 'a', 'POLICY_SYNTAX'],
    ['nesting beyond 32 levels', `${'{"a":'.repeat(40)}1${'}'.repeat(40)}`, 'POLICY_LIMIT'],
    ['a hundred thousand brackets', `a: ${'['.repeat(100_000)}`, 'POLICY_LIMIT'],
    ['nine megabytes', ' '.repeat(9 * 1024 * 1024), 'POLICY_LIMIT'],
    ['nothing', '', 'POLICY_FIELD'],
    ['no policy', '---\n---\n', 'POLICY_FIELD'],
  ])('%s', async (_, text, code) => {
    await expect(parsePolicyFile(text)).rejects.toMatchObject({ name: 'PolicyError', code });
  });

  test('two policies, or two trust roots, of one name', async () => {
    const one = forAll([{ static: { action: 'pass' } }]);
    expect(await problemsOf([one, one])).toMatchObject([{ message: 'there are two policies "web"' }, {}]);
    const root = trustedRootDocument('r', { inline: JSON.parse(trusted) as Fields });
    expect(await problemsOf([root, root, one])).toMatchObject([{ message: 'there are two trust roots "r"' }]);
    const given = new Map([['r', small.trustedRoot()]]);
    expect(await problemsOf([root, one], { trustRoots: given })).toMatchObject([
      { message: 'there are two trust roots "r"' },
    ]);
  });

  test('property: any text is a file or a PolicyError', async () => {
    const word = fc.constantFrom(
      'a',
      ':',
      ' ',
      '\n',
      '-',
      '{',
      '}',
      '[',
      ']',
      '"',
      '&',
      '*',
      '!',
      '|',
      '#',
      '%',
      'spec',
      'kind',
    );
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.array(word).map((words) => words.join('')),
        ),
        async (text) => {
          const outcome = await parsePolicyFile(text).catch((error: unknown) => error);
          expect(outcome).toBeInstanceOf(PolicyError);
        },
      ),
    );
  });

  test('property: a policy with any one field replaced is read or a PolicyError', async () => {
    const full = forAll(
      [
        keyless(
          { url: 'https://ca.small.test' },
          { name: 'a', ctlog: { url: 'https://log.small.test' }, source: [{ oci: 'a.test/b' }] },
        ),
        key({}, { attestations: [{ ...attestation, policy: cel }] }),
        { static: { action: 'pass' } },
      ],
      { mode: 'warn', match: [{ resource: 'pods', selector: { matchLabels: { a: 'b' } } }], policy: cel },
    );
    const paths = listPaths(full);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), fc.jsonValue(), async (path, value) => {
        const outcome = await read(replaceAt(full, path, value)).catch((error: unknown) => error);
        if (!(outcome instanceof PolicyError)) expect(outcome).toHaveProperty('policies');
      }),
      { numRuns: 300 },
    );
  });
});

describe('trust roots', () => {
  const one = { keyless: { identities: [identity], trustRootRef: 'r' } };
  const inline = trustedRootDocument('r', { inline: JSON.parse(trusted) as Fields });

  test('a TrustedRoot inline, and by path', async () => {
    const byPath = trustedRootDocument('r', { path: 'trusted_root.json' });
    for (const document of [inline, byPath]) {
      const { policies, trustRoots } = await read([document, forAll([one])], {
        readFile: async (path) => (path === 'trusted_root.json' ? encodeUtf8(trusted) : encodeUtf8('')),
      });
      expect([...trustRoots.keys()]).toEqual(['r']);
      expect(policies[0]?.authorities[0]).toMatchObject({ trustedRoot: { tlogs: [{}, {}] } });
    }
  });

  test.each<[string, Fields, RegExp]>([
    ['neither', {}, /one of inline and path is missing/],
    ['both', { inline: JSON.parse(trusted) as Fields, path: 'x' }, /exclude each other/],
    ['an unknown field', { url: 'https://x' }, /unknown field/],
    ['a file that cannot be read', { path: 'absent.json' }, /cannot be read/],
    ['content that is none', { inline: { mediaType: 'x' } }, /media type/],
    ['an unknown field in the content', { inline: { ...(JSON.parse(trusted) as Fields), extra: [] } }, /extra/],
  ])('a TrustedRoot with %s is refused', async (_, spec, message) => {
    const problems = await problemsOf([trustedRootDocument('r', spec), forAll([one])]);
    expect(problems[0]?.path).toMatch(/^TrustedRoot "r": spec/);
    expect(problems[0]?.message).toMatch(message);
  });

  test.each<[string, Fields, RegExp]>([
    ['remote', { remote: { root: 'e30=', mirror: 'https://tuf.test' } }, /no TUF client/],
    ['repository', { repository: { root: 'e30=', mirrorFS: 'e30=' } }, /no TUF client/],
    ['nothing', {}, /sigstoreKeys is missing/],
    ['an unknown form', { keys: {} }, /unknown field/],
  ])('a TrustRoot with %s is refused', async (_, spec, message) => {
    const document = { apiVersion: 'policy.sigstore.dev/v1alpha1', kind: 'TrustRoot', metadata: { name: 'r' }, spec };
    const problems = await problemsOf([document, forAll([one])]);
    expect(problems.map((problem) => problem.message).join('\n')).toMatch(message);
    expect(problems.every(({ path }) => path.startsWith('TrustRoot "r": spec'))).toBe(true);
  });

  const noTlogs = encodeTrustedRoot({ ...small.trustedRoot(), tlogs: [] });
  const noCt = encodeTrustedRoot({ ...small.trustedRoot(), ctlogs: [] });
  const noTsa = encodeTrustedRoot({ ...small.trustedRoot(), timestampAuthorities: [] });
  const noCa = encodeTrustedRoot({ ...small.trustedRoot(), certificateAuthorities: [] });
  const withRoot = (text: string) => trustedRootDocument('r', { inline: JSON.parse(text) as Fields });
  test.each<[string, Fields[], string, RegExp]>([
    ['that is not there', [forAll([one])], 'keyless.trustRootRef', /there is no trust root "r"/],
    [
      'of ctlog that is not there',
      [forAll([keyless({}, { ctlog: { trustRootRef: 'x' } })])],
      'ctlog',
      /there is no trust root "x"/,
    ],
    [
      'of timestamps that is not there',
      [forAll([keyless({}, { rfc3161timestamp: { trustRootRef: 'x' } })])],
      'rfc3161timestamp',
      /"x"/,
    ],
    [
      'without this CA',
      [forAll([keyless({ url: 'https://fulcio.sigstore.dev' })])],
      'keyless.url',
      /no certificate authority https:\/\/fulcio/,
    ],
    [
      'without this log',
      [forAll([keyless({}, { ctlog: { url: 'https://rekor.sigstore.dev' } })])],
      'ctlog',
      /no transparency log https:\/\/rekor/,
    ],
    ['without a log', [withRoot(noTlogs), forAll([one])], '', /no transparency log, and every signature/],
    ['without a CT log', [withRoot(noCt), forAll([one])], 'keyless.trustRootRef', /no CT log/],
    ['without a CA', [withRoot(noCa), forAll([one])], 'keyless.trustRootRef', /no certificate authority/],
    [
      'without a timestamp authority',
      [withRoot(noTsa), forAll([{ ...one, rfc3161timestamp: {} }])],
      'rfc3161timestamp',
      /no timestamp authority/,
    ],
    [
      'of a bundle that differs between services',
      [inline, forAll([{ ...one, signatureFormat: 'bundle', ctlog: { trustRootRef: 'x' } }])],
      'ctlog',
      /judged with one trust root/,
    ],
  ])('a trust root %s is refused', async (_, documents, path, message) => {
    const problems = await problemsOf(documents);
    expect(problems).toHaveLength(1);
    expect(problems[0]?.message).toMatch(message);
    expect(problems[0]?.path).toBe(`ClusterImagePolicy "web": spec.authorities[0]${path === '' ? '' : `.${path}`}`);
  });

  test('no trust root at all is refused', async () => {
    const problems = await problemsOf(forAll([keyless()]), { defaultTrustRoot: undefined });
    expect(problems).toMatchObject([{ message: 'it names no trust root, and there is no default one' }]);
  });

  test('each service may be of another root: the authority is judged with their parts', async () => {
    const { policies } = await read(
      [
        trustedRootDocument('log', { inline: JSON.parse(noCa) as Fields }),
        trustedRootDocument('ca', { inline: JSON.parse(noTlogs) as Fields }),
        forAll([
          {
            keyless: { identities: [identity], trustRootRef: 'ca' },
            ctlog: { trustRootRef: 'log', url: 'https://log.small.test' },
          },
        ]),
      ],
      { defaultTrustRoot: undefined },
    );
    const [authority] = policies[0]?.authorities ?? [];
    if (authority?.kind !== 'keyless') throw new Error('not keyless');
    expect(authority.trustedRoot.certificateAuthorities).toHaveLength(1);
    expect(authority.trustedRoot.tlogs.map(({ baseUrl }) => baseUrl)).toEqual(['https://log.small.test']);
  });
});

type Path = readonly (string | number)[];

function listPaths(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const inner = Object.entries(value).flatMap(([name, member]) =>
    listPaths(member, [...path, Array.isArray(value) ? Number(name) : name]),
  );
  return path.length === 0 ? inner : [path, ...inner];
}

function replaceAt(value: unknown, [head, ...rest]: Path, by: unknown): Fields {
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as Fields) }) as Fields;
  if (head !== undefined) copy[head] = rest.length === 0 ? by : replaceAt(copy[head], rest, by);
  return copy;
}

describe('a file that is made to be read slowly', () => {
  test.each([
    ['a map', (n: number) => Array.from({ length: n }, (_, i) => `k${i}: 1`).join('\n')],
    ['a map in braces', (n: number) => `{${Array.from({ length: n }, (_, i) => `k${i}: 1`).join(',')}}`],
    ['a list', (n: number) => `a:\n${'- 1\n'.repeat(n)}`],
    ['a list of maps in brackets', (n: number) => `a: [${'{b: 1},'.repeat(n)}]`],
  ])('%s of too many entries is refused at once', async (_, make) => {
    const started = performance.now();
    await expect(parsePolicyFile(make(200_000))).rejects.toMatchObject({
      code: 'POLICY_LIMIT',
      message: expect.stringContaining('more than 4096 entries') as string,
    });
    expect(performance.now() - started).toBeLessThan(10_000);
    await expect(parsePolicyFile(make(4000))).rejects.toMatchObject({ code: 'POLICY_FIELD' });
    expect(performance.now() - started).toBeLessThan(15_000);
  });
});
