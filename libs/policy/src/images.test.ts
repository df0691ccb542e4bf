/** Decisions about real signatures: images in memory, signed by two small Sigstores. */
import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { encodeBase64, encodePem, encodeUtf8 } from '#libs/encoding';
import { generateSigner } from '#libs/openssl';
import { digestOf, OciError, repositoryOf, type Descriptor, type Reference } from '#libs/oci';
import type { TrustedRoot } from '#libs/trust';
import { MemoryStore, pushImage, smallSign } from '../../image/testing/small-registry.js';
import { ISSUER, SAN, SmallSigstore } from '../../../test/world/small-sigstore.js';
import { forAll, policy, read, type Fields } from '../testing/policies.js';
import { evaluateImage, imageEvidence, type Decision, type EvaluateInput, type Explanation } from './index.js';

const ours = new SmallSigstore('ours');
const theirs = new SmallSigstore('theirs');
const me = { subject: SAN, issuer: ISSUER };
const keyless = (more: Fields = {}, rest: Fields = {}): Fields => ({
  name: 'me',
  signatureFormat: 'bundle',
  keyless: { identities: [me], ...more },
  ...rest,
});
const slsa = 'https://slsa.dev/provenance/v1';
const provenance = {
  buildDefinition: { buildType: 'https://build.test/v1', externalParameters: {} },
  runDetails: { builder: { id: 'https://build.test' } },
};
const attested = (policyOver?: Fields): Fields =>
  keyless({}, { attestations: [{ name: 'build', predicateType: slsa, ...(policyOver && { policy: policyOver }) }] });

let store: MemoryStore;
let app: Descriptor;
let opened: string[];

beforeEach(async () => {
  store = new MemoryStore();
  app = await pushImage(store, 'app', 'v1');
  opened = [];
});

async function decide(
  documents: Fields | Fields[],
  more: Partial<EvaluateInput> & { root?: TrustedRoot; stores?: Record<string, MemoryStore> } = {},
): Promise<Decision> {
  const { root = ours.trustedRoot(), stores = {}, ...input } = more;
  const { policies } = await read(documents, {
    defaultTrustRoot: root,
    trustRoots: new Map([
      ['ours', ours.trustedRoot()],
      ['theirs', theirs.trustedRoot()],
    ]),
  });
  const evidence = imageEvidence({
    open: (repository: Reference) => {
      opened.push(repositoryOf(repository));
      return stores[repositoryOf(repository)] ?? store;
    },
  });
  try {
    return await evaluateImage({ image: 'registry.test/ns/app:v1', policies, evidence, ...input });
  } finally {
    await evidence.close();
  }
}

describe('evaluateImage() over real signatures', () => {
  test.each(['bundle', 'legacy'] as const)('in the %s layout', async (layout) => {
    expect(await decide(forAll([keyless({}, { signatureFormat: layout })]))).toMatchObject({ allow: false });
    await smallSign(ours, store, app, layout);
    const decision = await decide(forAll([keyless({}, { signatureFormat: layout })]));
    expect(decision).toMatchObject({ allow: true, errors: [], resolvedDigest: app.digest });
    // The other layout is not looked at: what a registry hides must not lead elsewhere.
    const other = layout === 'bundle' ? 'legacy' : 'bundle';
    const elsewhere = await decide(forAll([keyless({}, { signatureFormat: other })]));
    expect(elsewhere.errors.join()).toContain(`no signature in the ${other} layout`);
    expect(JSON.stringify(elsewhere.explanation)).toContain(`signatureFormat: ${layout}`);
  });

  test('a rejected one is explained by every check up to the one that objected', async () => {
    const checksOf = ({ explanation }: Decision): string[] => {
      const all = (at: Explanation): Explanation[] => [at, ...at.children.flatMap(all)];
      return all(explanation)
        .filter(({ rule }) => rule === 'check')
        .map(({ state, title }) => `${state}: ${title}`);
    };
    await smallSign(theirs, store, app, 'bundle');
    const stranger = checksOf(await decide(forAll([keyless()])));
    expect(stranger.slice(0, 2)).toEqual([
      'passed: The bundle is well formed',
      'passed: The bundle is signed with what the policy expects',
    ]);
    expect(stranger.at(-1)).toBe('failed: The trusted root knows the transparency log');
    // A check that only images have comes after all of the verifier's.
    const other = await pushImage(store, 'other', 'v2');
    await smallSign(ours, store, app, 'legacy', { about: other.digest });
    const misplaced = checksOf(await decide(forAll([keyless({}, { signatureFormat: 'legacy' })])));
    expect(misplaced.length).toBeGreaterThan(10);
    expect(misplaced.filter((line) => line.startsWith('failed'))).toEqual(['failed: payload']);
  });

  test('by a key, one of several', async () => {
    const key = generateSigner();
    const pem = [generateSigner(), key].map(({ publicKey }) => encodePem('PUBLIC KEY', publicKey.spki)).join('');
    const byKey = { name: 'k', key: { data: pem }, signatureFormat: 'bundle' };
    await smallSign(ours, store, app, 'bundle', { managedKey: generateSigner() });
    expect(await decide(forAll([byKey]))).toMatchObject({ allow: false });
    await smallSign(ours, store, app, 'bundle', { managedKey: key });
    expect(await decide(forAll([byKey]))).toMatchObject({ allow: true });
  });

  test('trust roots side by side: each policy believes its own alone', async () => {
    await smallSign(ours, store, app, 'bundle');
    const byOurs = policy({ images: [{ glob: '**' }], authorities: [keyless({ trustRootRef: 'ours' })] }, 'a');
    const byTheirs = policy({ images: [{ glob: '**' }], authorities: [keyless({ trustRootRef: 'theirs' })] }, 'b');
    expect(await decide(byOurs, { root: theirs.trustedRoot() })).toMatchObject({ allow: true });
    const denied = await decide([byOurs, byTheirs]);
    expect(denied.errors).toEqual([expect.stringMatching(/^failed policy: b: me: signature: log-key: /)]);
    await smallSign(theirs, store, app, 'bundle');
    expect(await decide([byOurs, byTheirs])).toMatchObject({ allow: true });
  });

  test('a log of one trust root for certificates of another', async () => {
    await smallSign(ours, store, app, 'bundle');
    const mixed = keyless({ trustRootRef: 'ours' }, { signatureFormat: 'legacy', ctlog: { trustRootRef: 'theirs' } });
    await smallSign(ours, store, app, 'legacy');
    expect((await decide(forAll([mixed]))).errors.join()).toContain('log-key');
  });

  test('ctlog.url: another log of the same trust root does not count', async () => {
    await smallSign(ours, store, app, 'bundle', { log: 'v2' });
    const at = (url: string) => forAll([keyless({}, { ctlog: { url } })]);
    expect(await decide(at('https://log.ours.test'))).toMatchObject({ allow: true });
    expect((await decide(at('https://rekor.ours.test'))).errors.join()).toContain('log-key');
  });

  test('rfc3161timestamp: the word of the log alone does not do', async () => {
    await smallSign(ours, store, app, 'bundle', { log: 'v1', timestamp: false });
    expect(await decide(forAll([keyless()]))).toMatchObject({ allow: true });
    const stamped = keyless({}, { rfc3161timestamp: {} });
    expect((await decide(forAll([stamped]))).errors.join()).toContain('no timestamp authority confirms');
    await smallSign(ours, store, app, 'bundle', { log: 'v1', timestamp: true });
    expect(await decide(forAll([stamped]))).toMatchObject({ allow: true });
  });

  test('source: signatures in another repository, and there alone', async () => {
    const elsewhere = new MemoryStore('elsewhere');
    await smallSign(ours, elsewhere, app, 'bundle');
    const fromThere = keyless({}, { source: [{ oci: 'signatures.test/all' }] });
    const stores = { 'signatures.test/all': elsewhere };
    expect(await decide(forAll([fromThere]), { stores })).toMatchObject({ allow: true });
    expect(await decide(forAll([keyless()]), { stores })).toMatchObject({ allow: false });
    expect(opened).toContain('signatures.test/all');
  });

  test('attestations: type and content', async () => {
    const isOurs = { type: 'cel', data: 'predicate.runDetails.builder.id == "https://build.test"' };
    await smallSign(ours, store, app, 'bundle', { predicateType: slsa, predicate: provenance });
    expect(await decide(forAll([attested(isOurs)]))).toMatchObject({ allow: true });
    const isOther = { type: 'jsonschema', data: '{"type":"object","required":["absent"]}' };
    expect((await decide(forAll([attested(isOther)]))).errors.join()).toContain('its content');
  });

  test('attestations: Rego compiled to WebAssembly, in base64', async () => {
    const wasm = readFileSync(new URL('../../../test/vectors/image/builder.wasm', import.meta.url));
    const rule = { type: 'rego-wasm', data: encodeBase64(wasm) };
    await smallSign(ours, store, app, 'bundle', { predicateType: slsa, predicate: provenance });
    expect((await decide(forAll([attested(rule)]))).errors.join()).toContain('signature/allow is false');
    const predicate = { ...provenance, runDetails: { builder: { id: 'https://ci.example.com/builder' } } };
    await smallSign(ours, store, app, 'bundle', { predicateType: slsa, predicate });
    expect(await decide(forAll([attested(rule)]))).toMatchObject({ allow: true });
  });

  test('a TrustRoot with sigstoreKeys: both logs, CA, CT log and timestamps of a Sigstore', async () => {
    const pem = (label: string, der: Uint8Array) => encodePem(label, der);
    const base64 = (text: string) => encodeBase64(encodeUtf8(text));
    const root = ours.trustedRoot();
    const log = ({ baseUrl, publicKey }: TrustedRoot['tlogs'][number]) => ({
      baseURL: baseUrl,
      hashAlgorithm: 'sha-256',
      publicKey: base64(pem('PUBLIC KEY', publicKey.spki)),
    });
    const authority = ({ uri, certChain }: TrustedRoot['certificateAuthorities'][number]) => ({
      subject: { organization: 'ours', commonName: 'root' },
      uri,
      certChain: base64(certChain.map(({ der }) => pem('CERTIFICATE', der)).join('')),
    });
    const document: Fields = {
      apiVersion: 'policy.sigstore.dev/v1alpha1',
      kind: 'TrustRoot',
      metadata: { name: 'inline' },
      spec: {
        sigstoreKeys: {
          certificateAuthorities: root.certificateAuthorities.map(authority),
          tLogs: root.tlogs.map(log),
          ctLogs: root.ctlogs.map(log),
          timestampAuthorities: root.timestampAuthorities.map(authority),
        },
      },
    };
    const documents = [document, forAll([keyless({ trustRootRef: 'inline' })])];
    expect(await decide(documents, { root: theirs.trustedRoot() })).toMatchObject({ allow: false });
    for (const version of ['v1', 'v2'] as const) {
      store = new MemoryStore();
      app = await pushImage(store, 'app', 'v1');
      await smallSign(ours, store, app, 'bundle', { log: version });
      expect(await decide(documents, { root: theirs.trustedRoot() })).toMatchObject({ allow: true });
      await smallSign(theirs, store, app, 'bundle', { log: version });
    }
  });

  test('trap 4: with tag and digest the digest is meant, and the tag is not asked for', async () => {
    await smallSign(ours, store, app, 'bundle');
    const other = await pushImage(store, 'other', 'v2');
    for (const tag of ['v1', 'v2', 'absent']) {
      const image = `registry.test/ns/app:${tag}@${app.digest}`;
      expect(await decide(forAll([keyless()]), { image })).toMatchObject({ allow: true, resolvedDigest: app.digest });
    }
    expect(await decide(forAll([keyless()]), { image: `registry.test/ns/app:v1@${other.digest}` })).toMatchObject({
      allow: false,
      resolvedDigest: other.digest,
    });
  });

  test('a registry is asked once for what several authorities judge', async () => {
    await smallSign(ours, store, app, 'bundle');
    const asked: string[] = [];
    store.before = (action) => void asked.push(action);
    await decide([
      forAll([keyless(), keyless({}, { name: 'b' })]),
      policy({ images: [{ glob: '**' }], authorities: [keyless()] }, 'second'),
    ]);
    expect(asked.filter((action) => action === 'referrers')).toHaveLength(1);
    expect(asked.filter((action) => action === 'blob')).toHaveLength(1);
  });

  test('an image of no registry, and a registry that fails, are denied with the cause', async () => {
    const missing = await decide(forAll([keyless()]), { image: 'registry.test/ns/app:absent' });
    expect(missing.cause).toMatchObject({ code: 'OCI_NOT_FOUND' });
    await smallSign(ours, store, app, 'bundle');
    store.before = (action) => {
      if (action === 'referrers') throw new OciError('OCI_UNAVAILABLE', 'Cannot list referrers: 503');
    };
    const failed = await decide(forAll([keyless()]));
    expect(failed).toMatchObject({ allow: false, cause: { code: 'OCI_UNAVAILABLE' } });
  });

  test('sixty signatures of strangers before the good one', async () => {
    const bundles = new SmallSigstore('strangers');
    for (let i = 0; i < 60; i++) await smallSign(bundles, store, app, 'bundle');
    await smallSign(ours, store, app, 'bundle');
    const decision = await decide(forAll([keyless()]));
    expect(decision.allow).toBe(true);
    expect(JSON.stringify(decision.explanation)).toContain('1 accepted, 60 rejected');
  });
});

describe('lessons', () => {
  test('CVE-2022-35930 GHSA-739f policy-controller: an attestation of another type by the right signer does not satisfy', async () => {
    await smallSign(ours, store, app, 'bundle', { predicateType: 'https://example.test/other', predicate: {} });
    expect(await decide(forAll([attested()]))).toMatchObject({ allow: false });
    // Nor is it a signature, nor a signature an attestation.
    expect(await decide(forAll([keyless()]))).toMatchObject({ allow: false });
    await smallSign(ours, store, app, 'bundle');
    expect(await decide(forAll([attested()]))).toMatchObject({ allow: false });
    await smallSign(ours, store, app, 'bundle', { predicateType: slsa, predicate: provenance });
    expect(await decide(forAll([attested()]))).toMatchObject({ allow: true });
  });

  test('CVE-2022-35930: the annotation that names the type is not believed', async () => {
    await smallSign(ours, store, app, 'bundle', { predicateType: 'https://example.test/other', predicate: {} });
    for (const [digest, stored] of [...store.manifests]) {
      const text = new TextDecoder().decode(stored.bytes).replaceAll('https://example.test/other', slsa);
      store.manifests.delete(digest);
      const bytes = encodeUtf8(text);
      store.manifests.set(digestOf(bytes), { ...stored, bytes });
    }
    expect(await decide(forAll([attested()]), { image: `registry.test/ns/app@${app.digest}` })).toMatchObject({
      allow: false,
    });
  });

  test('CVE-2022-47633, CVE-2023-47630 Kyverno: a registry that answers each request with another manifest: what is allowed is what was verified', async () => {
    await smallSign(ours, store, app, 'bundle');
    const evil = await pushImage(store, 'evil');
    let asked = 0;
    const resolve = store.resolve.bind(store);
    store.resolve = async (reference) => {
      // The signed one for whoever verifies, another for whoever looks again.
      if (reference === 'v1') return asked++ === 0 ? app : evil;
      return resolve(reference);
    };
    const decision = await decide([
      forAll([keyless()]),
      policy({ images: [{ glob: '**' }], authorities: [keyless()] }, 'again'),
    ]);
    expect(decision).toMatchObject({ allow: true, resolvedDigest: app.digest });
    expect(asked).toBe(1);
    // And when the other comes first, that is what is judged, and denied.
    expect(await decide(forAll([keyless()]))).toMatchObject({ allow: false, resolvedDigest: evil.digest });
  });

  test('CVE-2022-47633 Kyverno: a signature of another image, attached to this one', async () => {
    const other = await pushImage(store, 'other', 'v2');
    await smallSign(ours, store, app, 'bundle', { about: other.digest });
    await smallSign(ours, store, app, 'legacy', { about: other.digest });
    for (const signatureFormat of ['bundle', 'legacy']) {
      expect(await decide(forAll([keyless({}, { signatureFormat })]))).toMatchObject({ allow: false });
    }
  });

  test.each([
    ['CVE-2023-42813', 'more signatures than are looked at', { signatures: 5 }],
    ['CVE-2023-42814', 'more bytes of signatures than are read', { bytes: 30_000 }],
    ['CVE-2023-42815', 'more time than there is', { milliseconds: -1 }],
  ])('%s Kyverno: %s end the search, and deny', async (_, __, limits) => {
    const strangers = new SmallSigstore('strangers');
    for (let i = 0; i < 10; i++) await smallSign(strangers, store, app, 'bundle');
    const { policies } = await read(forAll([keyless()]), { defaultTrustRoot: ours.trustedRoot() });
    const evidence = imageEvidence({ open: () => store, limits });
    const decision = await evaluateImage({ image: 'registry.test/ns/app:v1', policies, evidence });
    expect(decision).toMatchObject({ allow: false });
    expect(decision.errors.join()).toContain('the search ended early');
  });

  test('CVE-2023-42816 Kyverno: a registry that never answers is cut off by the deadline', async () => {
    const stop = new AbortController();
    store.before = (action) => {
      if (action !== 'referrers') return undefined;
      queueMicrotask(() => stop.abort());
      return new Promise(() => undefined);
    };
    const decision = await decide(forAll([keyless()]), { signal: stop.signal });
    expect(decision).toMatchObject({ allow: false });
    expect(decision.errors).toContain('no decision before the deadline');
  });

  test('CVE-2025-29778 Kyverno: subject and issuer expressions are not ignored', async () => {
    await smallSign(ours, store, app, 'bundle');
    const by = (subjectRegExp: string, issuerRegExp: string) =>
      forAll([keyless({ identities: [{ subjectRegExp, issuerRegExp }] })]);
    expect(await decide(by('me@.*', 'https://accounts\\..*'))).toMatchObject({ allow: true });
    expect(await decide(by('you@.*', 'https://accounts\\..*'))).toMatchObject({ allow: false });
    expect(await decide(by('me@.*', 'https://other\\..*'))).toMatchObject({ allow: false });
    // As in a policy whose author misspelt them: refused, not matched with everything.
    await expect(read(forAll([keyless({ identities: [{ ...me, subjectRegexp: 'you@.*' }] })]))).rejects.toMatchObject({
      code: 'POLICY_FIELD',
    });
  });

  test.each(['CVE-2026-41323', 'CVE-2026-40868'])(
    '%s Kyverno: nothing that a policy names is asked but repositories of images: no URL of it gets a request, or a token',
    async () => {
      await smallSign(ours, store, app, 'bundle');
      const urls = keyless({ url: 'https://ca.ours.test' }, { ctlog: { url: 'https://log.ours.test' } });
      const realFetch = globalThis.fetch;
      const fetched: string[] = [];
      globalThis.fetch = (input) => {
        fetched.push(input instanceof Request ? input.url : input.toString());
        return Promise.reject(new Error('no network'));
      };
      try {
        expect(await decide(forAll([urls]))).toMatchObject({ allow: true });
      } finally {
        globalThis.fetch = realFetch;
      }
      expect(fetched).toEqual([]);
      expect(opened).toEqual(['registry.test/ns/app']);
      // A policy cannot be made to fetch anything else either.
      for (const rule of [
        { remote: { url: 'https://evil.test', sha256sum: 'x' } },
        { configMapRef: { name: 'x', key: 'y' } },
      ]) {
        await expect(read(forAll([keyless()], { policy: { type: 'cel', ...rule } }))).rejects.toMatchObject({
          code: 'POLICY_FIELD',
        });
      }
    },
  );

  test('CVE-2025-25204: no attestation found is a denial', async () => {
    expect(await decide(forAll([attested()]))).toMatchObject({ allow: false });
  });
});
