import { describe, expect, it } from 'vitest';
import type { JsonValue } from '#libs/encoding';
import { MemoryStore, pushImage, smallSign, SmallSigstore } from '../testing/small-registry.js';
import { ISSUER, SAN } from '../../../test/world/small-sigstore.js';
import { predicateFault, predicateTypeUri, verifyAttestations } from './index.js';

/** One of each type as it should be, and what is wrong once a member is taken away. */
const good: Record<string, [name: string, predicate: JsonValue, without: string]> = {
  slsaprovenance1: [
    'https://slsa.dev/provenance/v1',
    { buildDefinition: { buildType: 'https://x/y', externalParameters: {} }, runDetails: { builder: { id: 'b' } } },
    'runDetails',
  ],
  slsaprovenance: ['https://slsa.dev/provenance/v0.2', { builder: { id: 'b' }, buildType: 't' }, 'builder'],
  spdxjson: [
    'https://spdx.dev/Document',
    { spdxVersion: 'SPDX-2.3', SPDXID: 'SPDXRef-DOCUMENT', name: 'app' },
    'spdxVersion',
  ],
  cyclonedx: ['https://cyclonedx.org/bom', { bomFormat: 'CycloneDX', specVersion: '1.6' }, 'bomFormat'],
  vuln: [
    'https://cosign.sigstore.dev/attestation/vuln/v1',
    {
      invocation: {},
      scanner: { uri: 'https://s' },
      metadata: { scanStartedOn: '2026-03-01T12:00:00Z', scanFinishedOn: '2026-03-01T12:01:00Z' },
    },
    'scanner',
  ],
  link: [
    'https://in-toto.io/Link/v1',
    { name: 'build', command: [], materials: {}, byproducts: {}, environment: {} },
    'materials',
  ],
  openvex: [
    'https://openvex.dev/ns',
    { '@context': 'https://openvex.dev/ns/v0.2.0', author: 'a', statements: [] },
    'statements',
  ],
  custom: ['https://cosign.sigstore.dev/attestation/v1', { Data: 'x', Timestamp: '' }, 'Data'],
};

describe.each(Object.entries(good))('predicate type %s', (name, [uri, predicate, without]) => {
  it('has its URI, takes what it should be, and misses what is required', () => {
    expect(predicateTypeUri(name)).toBe(uri);
    expect(predicateFault(uri, predicate)).toBeUndefined();
    const { [without]: _, ...less } = predicate as Record<string, JsonValue>;
    expect(predicateFault(uri, less)).toEqual(expect.any(String));
    for (const other of [null, [], 'text', 7, undefined, {}]) {
      expect(predicateFault(uri, other), JSON.stringify(other)).toEqual(expect.any(String));
    }
  });

  it('is not believed when it is something else under that name, in a statement by the right signer', async () => {
    const world = new SmallSigstore();
    const store = new MemoryStore();
    const image = await pushImage(store, 'hello');
    await smallSign(world, store, image, 'bundle', { predicateType: uri, predicate: { something: 'else' } });
    const demand = {
      policy: { kind: 'identity', san: SAN, issuer: ISSUER } as const,
      trustedRoot: world.trustedRoot(),
      layouts: ['bundle'] as const,
      predicateType: uri,
    };
    const report = await verifyAttestations(store, image.digest, demand);
    expect(report).toMatchObject({ ok: false, failure: 'none-matching', candidates: [{ check: 'predicate-shape' }] });
    await smallSign(world, store, image, 'bundle', { predicateType: uri, predicate });
    expect(await verifyAttestations(store, image.digest, demand)).toMatchObject({ ok: true, accepted: { length: 1 } });
    const statementPolicies = [{ name: 'never', check: () => 'it is Monday' }];
    const objected = await verifyAttestations(store, image.digest, { ...demand, statementPolicies });
    expect(objected.candidates.at(-1)).toMatchObject({ check: 'statement-policy', reason: 'never: it is Monday' });
  });
});

it('takes SPDX as text, and SPDX 3', () => {
  expect(predicateFault('https://spdx.dev/Document', 'SPDXVersion: SPDX-2.3\n')).toBeUndefined();
  expect(predicateFault('https://spdx.dev/Document', { '@context': 'x', '@graph': [] })).toBeUndefined();
});

it('takes any predicate of a type it does not know, and no name that is neither known nor a URI', () => {
  expect(predicateFault('https://example.com/x', 7)).toBeUndefined();
  expect(predicateTypeUri('https://example.com/x')).toBe('https://example.com/x');
  expect(() => predicateTypeUri('slsa')).toThrow(/Cannot use predicate type/);
});
