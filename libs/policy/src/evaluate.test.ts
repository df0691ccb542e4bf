import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { OciError, type Digest } from '#libs/oci';
import { forAll, identity, keyless, keyPem, policy, read, type Fields } from '../testing/policies.js';
import {
  evaluateImage,
  parseResource,
  type Decision,
  type EvaluateInput,
  type Evidence,
  type EvidencePort,
  type EvidenceQuery,
  type Explanation,
  type Signature,
} from './index.js';

const digest: Digest = `sha256:${'a'.repeat(64)}`;
const image = 'registry.test/web/app:v1';
const spdx = 'https://spdx.dev/Document';

/** A signature that the verifier found to be by this identity. */
function by(
  subject: string,
  more: { issuer?: string; tsa?: boolean; statement?: unknown; id?: string } = {},
): Signature {
  const { issuer = identity.issuer, tsa = false, statement = { predicateType: spdx, predicate: {} } } = more;
  return {
    state: 'accepted',
    id: more.id ?? `sha256:${subject}`,
    signer: { kind: 'certificate', san: subject, issuer, extensions: { issuer, githubWorkflowRepository: 'ns/app' } },
    times: [{ time: new Date(0), source: tsa ? 'timestamp-authority' : 'log-promise', operator: 'o' }],
    checks: [{ id: 'signature', title: 'The signature is by this signer', state: 'passed', detail: 'P-256' }],
    payload: encodeUtf8(JSON.stringify(statement)),
  };
}
const good = by(identity.subject);
const byKey: Signature = {
  state: 'accepted',
  id: 'sha256:key',
  signer: { kind: 'key' },
  times: [],
  checks: [],
  payload: encodeUtf8('{}'),
};
const rejected: Signature = { state: 'rejected', id: 'sha256:bad', check: 'log-inclusion', reason: 'not in the log' };
const other: Signature = { state: 'other', id: 'sha256:other', reason: 'an attestation' };

type Answer = readonly Signature[] | Evidence | Error;

/** A registry that has these, whatever is asked; or by kind. */
function having(answer: Answer | ((query: EvidenceQuery) => Answer | Promise<Answer>)): EvidencePort {
  return {
    resolve: async () => digest,
    find: async (query) => {
      const given = typeof answer === 'function' ? await answer(query) : answer;
      if (given instanceof Error) throw given;
      return 'signatures' in given ? given : { signatures: given };
    },
  };
}

async function decide(
  documents: Fields | readonly Fields[],
  evidence: EvidencePort,
  more: Partial<EvaluateInput> = {},
): Promise<Decision> {
  const { policies } = await read(documents);
  return evaluateImage({ image, policies, evidence, ...more });
}

const ci = keyless({}, { name: 'ci' });
const key = { name: 'key', key: { data: keyPem } };
const sbom = keyless({}, { name: 'sbom', attestations: [{ name: 'sbom', predicateType: spdx }] });
const network = new OciError('OCI_NETWORK', 'Cannot reach registry.test: connection refused');

describe('evaluateImage(): authority × evidence', () => {
  test.each<[name: string, authority: Fields, answer: Answer, allow: boolean, reason: RegExp]>([
    ['static pass', { static: { action: 'pass' } }, [], true, /^$/],
    ['static fail', { static: { action: 'fail', message: 'not here' } }, [good], false, /static: not here/],
    ['keyless, no signature', ci, [], false, /no signature in the legacy layout/],
    ['keyless, a good one', ci, [good], true, /^$/],
    ['keyless, a rejected one', ci, [rejected], false, /log-inclusion: not in the log/],
    ['keyless, an attestation instead', ci, [other], false, /no signature/],
    ['keyless, another subject', ci, [by('eve@example.com')], false, /signed by eve@example.com/],
    [
      'keyless, another issuer',
      ci,
      [by(identity.subject, { issuer: 'https://evil.test' })],
      false,
      /https:\/\/evil.test/,
    ],
    ['keyless, a key', ci, [byKey], false, /with a key, not with an identity/],
    ['keyless, bad ones before a good one', ci, [rejected, by('eve'), other, good], true, /^$/],
    [
      'keyless, the search ended before any',
      ci,
      { signatures: [], incomplete: 'more than 1000' },
      false,
      /ended early: more than 1000/,
    ],
    ['keyless, a good one before the search ended', ci, { signatures: [good], incomplete: 'x' }, true, /^$/],
    ['keyless, the registry cannot be reached', ci, network, false, /connection refused/],
    ['keyless, an unexpected error', ci, new TypeError('x is undefined'), false, /x is undefined/],
    ['key, a good one', key, [byKey], true, /^$/],
    ['key, an identity', key, [good], false, /with an identity, not with a key/],
    [
      'timestamp demanded, only the log knows when',
      keyless({}, { rfc3161timestamp: {} }),
      [good],
      false,
      /no timestamp authority confirms/,
    ],
    [
      'timestamp demanded and there',
      keyless({}, { rfc3161timestamp: {} }),
      [by(identity.subject, { tsa: true })],
      true,
      /^$/,
    ],
    ['attestation, a good one', sbom, [good], true, /^$/],
    ['attestation, none', sbom, [other], false, /no attestation sbom/],
    ['attestation, by another', sbom, [by('eve')], false, /signed by eve/],
    [
      'attestation, its content does not fit',
      keyless(
        {},
        { attestations: [{ name: 'a', predicateType: spdx, policy: { type: 'cel', data: 'predicate.ok == true' } }] },
      ),
      [by(identity.subject, { statement: { predicateType: spdx, predicate: { ok: false } } })],
      false,
      /content: the expression is false/,
    ],
    [
      'attestation, its content fits',
      keyless(
        {},
        { attestations: [{ name: 'a', predicateType: spdx, policy: { type: 'cel', data: 'predicate.ok == true' } }] },
      ),
      [by(identity.subject, { statement: { predicateType: spdx, predicate: { ok: true } } })],
      true,
      /^$/,
    ],
  ])('%s', async (_, authority, answer, allow, reason) => {
    const decision = await decide(forAll([authority]), having(answer));
    expect(decision.errors.join('\n')).toMatch(reason);
    expect(decision).toMatchObject({ allow, resolvedDigest: digest, warnings: [] });
  });

  test('each listed attestation is demanded', async () => {
    const both = keyless(
      {},
      {
        attestations: [
          { name: 'sbom', predicateType: spdx },
          { name: 'scan', predicateType: 'vuln' },
        ],
      },
    );
    const onlySbom = having(({ predicateType }) => (predicateType === spdx ? [good] : []));
    expect(await decide(forAll([both]), onlySbom)).toMatchObject({ allow: false });
    expect(await decide(forAll([both]), having([good]))).toMatchObject({ allow: true });
  });

  test('the policy over the content is asked only about what the right person signed', async () => {
    const asked = keyless(
      {},
      {
        attestations: [
          { name: 'a', predicateType: spdx, policy: { type: 'jsonschema', data: '{"required":["never"]}' } },
        ],
      },
    );
    const decision = await decide(forAll([asked]), having([by('eve')]));
    expect(decision.errors.join()).toMatch(/signed by eve/);
    expect(decision.errors.join()).not.toMatch(/never/);
  });

  test('subject and issuer must be of one identity', async () => {
    const authority = keyless({
      identities: [
        { subject: 'a@example.com', issuer: 'https://one.test' },
        { subject: 'b@example.com', issuer: 'https://two.test' },
      ],
    });
    const crossed = having([by('a@example.com', { issuer: 'https://two.test' })]);
    expect(await decide(forAll([authority]), crossed)).toMatchObject({ allow: false });
    expect(
      await decide(forAll([authority]), having([by('b@example.com', { issuer: 'https://two.test' })])),
    ).toMatchObject({
      allow: true,
    });
  });

  test.each([
    ['x@example.com', true],
    ['x@example.com.evil.org', false],
    ['evil x@example.com', true],
    ['x@exampleXcom', false],
  ])('trap 6: the expression .*@example\\.com is for the whole subject: %s is %s', async (subject, allow) => {
    const authority = keyless({
      identities: [{ subjectRegExp: '.*@example\\.com', issuerRegExp: 'https://accounts\\..*' }],
    });
    expect(await decide(forAll([authority]), having([by(subject)]))).toMatchObject({ allow });
  });

  test('an alternative cannot break out of its anchors', async () => {
    const authority = keyless({ identities: [{ subjectRegExp: 'a@example.com|b', issuerRegExp: '.*' }] });
    expect(await decide(forAll([authority]), having([by('bob@evil.org')]))).toMatchObject({ allow: false });
  });

  test('asks in the layout, repository and with the trust root of the authority', async () => {
    const queries: EvidenceQuery[] = [];
    const port = having((query) => {
      queries.push(query);
      return [good];
    });
    const away = keyless({}, { name: 'away', signatureFormat: 'bundle', source: [{ oci: 'other.test/signatures' }] });
    await decide(forAll([ci, { ...key, signatureFormat: 'bundle' }, away, sbom]), port);
    const seen = queries.map(({ repository, layout, kind, predicateType }) => [
      repository.registry,
      layout,
      kind,
      predicateType,
    ]);
    expect(seen.sort()).toEqual(
      [
        ['other.test', 'bundle', 'signature', undefined],
        ['registry.test', 'legacy', 'signature', undefined],
        ['registry.test', 'bundle', 'signature', undefined],
        ['registry.test', 'legacy', 'attestation', spdx],
      ].sort(),
    );
    expect(queries.every((query) => query.digest === digest && query.trustedRoot.tlogs.length > 0)).toBe(true);
  });
});

describe('evaluateImage(): several authorities and policies', () => {
  test('any authority suffices, also beside one that cannot be asked', async () => {
    const port = having(({ kind }) => (kind === 'attestation' ? network : [good]));
    expect(await decide(forAll([ci, sbom]), port)).toMatchObject({ allow: true });
  });

  test('all policies for an image must pass', async () => {
    const second = policy(
      { images: [{ glob: 'registry.test/**' }], authorities: [{ static: { action: 'fail' } }] },
      'second',
    );
    const decision = await decide([forAll([ci]), second], having([good]));
    expect(decision).toMatchObject({ allow: false, errors: ['failed policy: second: authority-0: static: refused'] });
  });

  test('a policy for other images hinders nothing', async () => {
    const second = policy(
      { images: [{ glob: 'other.test/**' }], authorities: [{ static: { action: 'fail' } }] },
      'second',
    );
    expect(await decide([forAll([ci]), second], having([good]))).toMatchObject({ allow: true });
  });

  test.each([
    ['warn', true],
    ['enforce', false],
  ])('mode %s alone', async (mode, allow) => {
    const decision = await decide(forAll([ci], { mode }), having([]));
    expect(decision.allow).toBe(allow);
    expect(allow ? decision.warnings : decision.errors).toHaveLength(1);
    expect(allow ? decision.errors : decision.warnings).toHaveLength(0);
  });

  // Upstream downgrades all errors collected so far once a warning policy fails, in the order of a map.
  test.each([
    ['warn first', ['a', 'b']],
    ['enforce first', ['b', 'a']],
  ])('trap 1b: one warn and one enforce both fail, %s: denied', async (_, [warn, enforce]) => {
    const documents = [
      { ...forAll([ci], { mode: 'warn' }), metadata: { name: warn } },
      { ...forAll([ci], { mode: 'enforce' }), metadata: { name: enforce } },
    ];
    for (const order of [documents, [...documents].reverse()]) {
      const decision = await decide(order, having([]));
      expect(decision.allow).toBe(false);
      expect(decision.errors).toHaveLength(1);
      expect(decision.warnings).toHaveLength(1);
      expect(decision.errors[0]).toContain(`failed policy: ${enforce}`);
    }
  });

  test('trap 1a: an error that is no judgement denies, and is told', async () => {
    const decision = await decide(forAll([ci]), having(new Error('context canceled')));
    expect(decision).toMatchObject({ allow: false, errors: ['failed policy: web: ci: context canceled'] });
    expect(decision.cause).toMatchObject({ message: 'context canceled' });
  });

  test('trap 2: no policy, no outcome, no yes', async () => {
    const decision = await evaluateImage({ image, policies: [], evidence: having([good]) });
    expect(decision).toMatchObject({ allow: false, errors: ['no matching policies'] });
    const bare = {
      name: 'bare',
      line: 1,
      mode: 'enforce',
      images: [{ text: '**', matches: () => true }],
      match: [],
      authorities: [],
    } as const;
    expect(await evaluateImage({ image, policies: [bare], evidence: having([good]) })).toMatchObject({
      allow: false,
      errors: ['failed policy: bare: it has no authority'],
    });
  });

  test.each([
    ['deny', false, ['no matching policies'], []],
    ['warn', true, [], ['no matching policies']],
    ['allow', true, [], []],
  ] as const)('no policy is for the image: %s', async (noMatch, allow, errors, warnings) => {
    const elsewhere = policy({ images: [{ glob: 'other.test/**' }], authorities: [ci] });
    expect(await decide(elsewhere, having([good]), { noMatch })).toMatchObject({ allow, errors, warnings });
  });

  test('denial by judgement has no cause, even beside one that nobody knows', async () => {
    const documents = [forAll([ci]), { ...forAll([{ static: { action: 'fail' } }]), metadata: { name: 'no' } }];
    const decision = await decide(documents, having(network));
    expect(decision.allow).toBe(false);
    expect(decision.cause).toBeUndefined();
    expect((await decide(forAll([ci]), having(network))).cause).toBe(network);
  });

  test('trap 3: the tag is resolved once', async () => {
    let resolved = 0;
    const port: EvidencePort = {
      ...having([good]),
      resolve: async () => {
        resolved++;
        return digest;
      },
    };
    const decision = await decide([forAll([ci, sbom]), { ...forAll([key]), metadata: { name: 'b' } }], port);
    expect(resolved).toBe(1);
    expect(decision.resolvedDigest).toBe(digest);
  });

  test('an image that is none, and one that cannot be resolved, are denied', async () => {
    expect(await decide(forAll([ci]), having([good]), { image: 'UPPER/case' })).toMatchObject({ allow: false });
    const port: EvidencePort = { ...having([good]), resolve: () => Promise.reject(network) };
    expect(await decide(forAll([{ static: { action: 'pass' } }]), port)).toMatchObject({
      allow: false,
      cause: network,
    });
  });

  test('policy over the outcome: sees who signed, and its word counts', async () => {
    const rule = (data: string) => forAll([ci, sbom], { policy: { type: 'cel', data } });
    const told = 'statement.authorityMatches.ci.signatures[0].subject == "ci@example.com"';
    const workflow = 'statement.authorityMatches.ci.signatures[0].githubWorkflowRepo == "ns/app"';
    const attested =
      'statement.authorityMatches.sbom.attestations.sbom[0].predicateType == "https://spdx.dev/Document"';
    for (const data of [told, workflow, attested]) {
      expect(await decide(rule(data), having([good]))).toMatchObject({ allow: true });
    }
    expect(await decide(rule('"absent" in statement.authorityMatches'), having([good]))).toMatchObject({
      allow: false,
    });
    // Trap 7: both a signature and an attestation, which authorities alone cannot demand.
    const both = rule('["ci", "sbom"].all(name, name in statement.authorityMatches)');
    expect(await decide(both, having([good]))).toMatchObject({ allow: true });
    expect(
      await decide(
        both,
        having(({ kind }) => (kind === 'attestation' ? [] : [good])),
      ),
    ).toMatchObject({ allow: false });
  });

  test('policy over the outcome: not asked when no authority accepts', async () => {
    const decision = await decide(forAll([ci], { policy: { type: 'cel', data: 'true' } }), having([]));
    expect(decision).toMatchObject({ allow: false });
  });
});

describe('evaluateImage(): match', () => {
  const deployment = parseResource(
    'apiVersion: apps/v1\nkind: Deployment\nmetadata: {labels: {app: web, tier: front, empty: ""}}',
    'x',
  );
  const pod = parseResource('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{}}', 'x');
  test.each<[name: string, match: Fields, resource: typeof pod, expected: boolean]>([
    ['the resource', { group: 'apps', version: 'v1', resource: 'deployments' }, deployment, true],
    ['another group', { group: 'batch' }, deployment, false],
    ['another version', { version: 'v2' }, deployment, false],
    ['any version', { version: '*' }, deployment, true],
    ['another resource', { resource: 'pods' }, deployment, false],
    ['the core group', { version: 'v1', resource: 'pods' }, pod, true],
    ['a label', { resource: 'deployments', selector: { matchLabels: { app: 'web' } } }, deployment, true],
    ['another label', { resource: 'deployments', selector: { matchLabels: { app: 'db' } } }, deployment, false],
    [
      'one of two labels',
      { resource: 'deployments', selector: { matchLabels: { app: 'web', tier: 'back' } } },
      deployment,
      false,
    ],
    [
      'In',
      {
        resource: 'deployments',
        selector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'x'] }] },
      },
      deployment,
      true,
    ],
    [
      'NotIn',
      { resource: 'deployments', selector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] } },
      deployment,
      false,
    ],
    [
      'NotIn of an absent label',
      { resource: 'pods', selector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] } },
      pod,
      true,
    ],
    ['Exists', { resource: 'pods', selector: { matchExpressions: [{ key: 'app', operator: 'Exists' }] } }, pod, false],
    [
      'DoesNotExist',
      { resource: 'pods', selector: { matchExpressions: [{ key: 'app', operator: 'DoesNotExist' }] } },
      pod,
      true,
    ],
  ])('%s', async (_, match, resource, expected) => {
    const decision = await decide(forAll([{ static: { action: 'pass' } }], { match: [match] }), having([]), {
      resource,
    });
    expect(decision.allow).toBe(expected);
  });

  test('a policy with match cannot be decided without an object, and so fails', async () => {
    const decision = await decide(
      forAll([{ static: { action: 'pass' } }], { match: [{ resource: 'pods' }] }),
      having([]),
    );
    expect(decision).toMatchObject({ allow: false, errors: [expect.stringContaining('no object was given')] });
  });

  test.each([
    ['apiVersion: v1\nkind: Service', /not one of Pod/],
    ['apiVersion: apps/v1\nkind: Pod', /not one of Pod/],
    ['kind: Pod', /apiVersion is missing/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {labels: {a: 1}}', /expected a text/],
    ['apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Pod', /2 objects, expected one/],
    ['', /0 objects/],
    ['apiVersion: v1\nkind: Pod\nmetadata: {labels: [a]}', /expected names with values/],
  ])('parseResource() refuses %j', (text, message) => {
    expect(() => parseResource(text, 'object.yaml')).toThrow(message);
  });
});

describe('evaluateImage(): bounds', () => {
  test('the deadline turns into a denial, in every mode, while the registry hangs', async () => {
    for (const mode of ['enforce', 'warn']) {
      const stop = new AbortController();
      const pending = decide(
        forAll([ci], { mode }),
        having(() => new Promise<never>(() => queueMicrotask(() => stop.abort()))),
        { signal: stop.signal },
      );
      const decision = await pending;
      expect(decision.allow).toBe(false);
      expect(decision.errors).toContain('no decision before the deadline');
    }
  });

  test('a deadline before the tag is resolved denies', async () => {
    const decision = await decide(
      forAll([ci]),
      { ...having([]), resolve: () => new Promise(() => undefined) },
      { signal: AbortSignal.abort() },
    );
    expect(decision).toMatchObject({ allow: false, errors: ['Cannot decide: the deadline is over'] });
  });

  test('asks at most so many questions at once, and all of them', async () => {
    let now = 0;
    let most = 0;
    let all = 0;
    const port = having(async () => {
      most = Math.max(most, ++now);
      all++;
      await Promise.resolve();
      await Promise.resolve();
      now--;
      return [good];
    });
    const documents = Array.from({ length: 20 }, (_, i) => ({ ...forAll([ci, key]), metadata: { name: `p${i}` } }));
    expect(await decide(documents, port, { parallel: 3 })).toMatchObject({ allow: true });
    expect([most, all]).toEqual([3, 40]);
  });

  test('a thousand signatures of which one is good: the explanation stays short, and shows the good one', async () => {
    const many = Array.from({ length: 999 }, (_, i): Signature => ({ ...rejected, id: `sha256:${i}` }));
    const decision = await decide(forAll([ci]), having([...many, good]));
    expect(decision.allow).toBe(true);
    expect(JSON.stringify(decision).length).toBeLessThan(10_000);
    expect(
      flatten(decision.explanation).filter(({ rule, state }) => rule === 'signature' && state === 'passed'),
    ).not.toEqual([]);
  });
});

describe('evaluateImage(): explanation', () => {
  test('has every policy, every authority and every check, with what was found and expected', async () => {
    const documents = [
      forAll([ci, { ...sbom, name: 'z' }]),
      policy({ images: [{ glob: 'other.test/**' }], authorities: [ci] }, 'elsewhere'),
      { ...forAll([{ static: { action: 'fail' } }], { mode: 'warn' }), metadata: { name: 'soft' } },
    ];
    const { explanation } = await decide(documents, having([by('eve@example.com'), rejected]));
    const outline = flatten(explanation)
      .filter(({ rule }) => rule !== 'check')
      .map(({ rule, title, state }) => `${rule} ${state}: ${title}`);
    expect(outline).toEqual([
      'image failed: image "registry.test/web/app:v1"',
      'policy skipped: policy elsewhere',
      'policy warned: policy soft (mode warn)',
      'match passed: glob **',
      'authority failed: authority authority-0 (static)',
      'policy failed: policy web',
      'match passed: glob **',
      'authority failed: authority ci (keyless)',
      'signature failed: signature in the legacy layout of registry.test/web/app',
      'signature failed: sha256:eve@example.com',
      'signature failed: sha256:bad',
      'authority failed: authority z (keyless)',
      `attestation failed: attestation sbom (${spdx}) in the legacy layout of registry.test/web/app`,
      'signature failed: sha256:eve@example.com',
      'signature failed: sha256:bad',
    ]);
    const eve = flatten(explanation).find(({ title }) => title === 'sha256:eve@example.com');
    expect(eve).toMatchObject({
      found: expect.stringContaining('eve@example.com of https://accounts.example.com'),
      cure: expect.stringContaining('identities'),
      children: [
        { rule: 'check', title: 'The signature is by this signer', state: 'passed', found: 'P-256' },
        { rule: 'check', title: 'Signed with what the authority is', state: 'passed', expected: 'certificate' },
        {
          rule: 'check',
          title: 'One of the identities signed it',
          state: 'failed',
          found: 'eve@example.com of https://accounts.example.com',
          expected: 'ci@example.com of https://accounts.example.com',
        },
      ],
    });
  });

  test('shows the anchors of expressions', async () => {
    const authority = keyless({ identities: [{ subjectRegExp: '.*@example\\.com', issuerRegExp: '.*' }] });
    const { explanation } = await decide(forAll([authority]), having([by('eve')]));
    expect(JSON.stringify(explanation)).toContain(
      JSON.stringify('/^(?:.*@example\\.com)$/ of /^(?:.*)$/').slice(1, -1),
    );
  });
});

describe('properties', () => {
  const authorities = [
    ci,
    key,
    sbom,
    keyless({}, { name: 'stamped', rfc3161timestamp: {} }),
    { name: 'no', static: { action: 'fail' } },
  ];
  const arbitraryPolicies = fc.array(
    fc.record({
      mode: fc.constantFrom('warn', 'enforce'),
      glob: fc.constantFrom('**', 'registry.test/**', 'other.test/**'),
      authorities: fc.subarray(authorities, { minLength: 1 }),
    }),
    { maxLength: 5 },
  );
  const arbitraryEvidence = fc.subarray([good, byKey, rejected, other, by('eve')]);

  test('the decision is the same in any order of policies and authorities', async () => {
    await fc.assert(
      fc.asyncProperty(
        arbitraryPolicies,
        arbitraryEvidence,
        fc.infiniteStream(fc.nat()),
        async (specs, evidence, random) => {
          if (specs.length === 0) return;
          const documents = specs.map((spec, i) =>
            policy({ ...spec, images: [{ glob: spec.glob }], glob: undefined }, `p${i}`),
          );
          const shuffle = <T>(list: readonly T[]): T[] =>
            list
              .map((item) => [random.next().value as number, item] as const)
              .sort((a, b) => a[0] - b[0])
              .map(([, item]) => item);
          const { policies } = await read(documents);
          const shuffled = shuffle(policies).map((each) => ({ ...each, authorities: shuffle(each.authorities) }));
          const port = having(evidence);
          expect(await evaluateImage({ image, policies: shuffled, evidence: port })).toEqual(
            await evaluateImage({ image, policies, evidence: port }),
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  test('an image is allowed exactly if each policy for it that enforces has an authority that accepts', async () => {
    const accepts = (name: string, evidence: readonly Signature[]): boolean => {
      if (name === 'ci' || name === 'sbom') return evidence.includes(good);
      return name === 'key' && evidence.includes(byKey);
    };
    await fc.assert(
      fc.asyncProperty(arbitraryPolicies, arbitraryEvidence, async (specs, evidence) => {
        if (specs.length === 0) return;
        const documents = specs.map((spec, i) =>
          policy({ ...spec, images: [{ glob: spec.glob }], glob: undefined }, `p${i}`),
        );
        const matching = specs.filter(({ glob }) => glob !== 'other.test/**');
        const expected =
          matching.length > 0 &&
          matching.every(
            (spec) => spec.mode === 'warn' || spec.authorities.some(({ name }) => accepts(String(name), evidence)),
          );
        expect((await decide(documents, having(evidence))).allow).toBe(expected);
      }),
      { numRuns: 60 },
    );
  });

  test('runs 200 times with the same result (tiles#709)', async () => {
    const { policies } = await read(forAll([ci, key, sbom]));
    const first = JSON.stringify(await evaluateImage({ image, policies, evidence: having([rejected, good, byKey]) }));
    for (let i = 0; i < 200; i++) {
      expect(JSON.stringify(await evaluateImage({ image, policies, evidence: having([rejected, good, byKey]) }))).toBe(
        first,
      );
    }
  });
});

function flatten(explanation: Explanation): Explanation[] {
  return [explanation, ...explanation.children.flatMap(flatten)];
}
