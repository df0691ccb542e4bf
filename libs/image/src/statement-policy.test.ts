import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseJson, type JsonValue } from '#libs/encoding';
import { celPolicy, ImageError, regoPolicy, schemaPolicy, type StatementPolicy } from './index.js';

const builder = 'https://ci.example.com/builder';
function provenance(id: string, more: object = {}): JsonValue {
  return parseJson(
    JSON.stringify({
      _type: 'https://in-toto.io/Statement/v1',
      subject: [{ name: 'app', digest: { sha256: 'aa' } }],
      predicateType: 'https://slsa.dev/provenance/v1',
      predicate: { runDetails: { builder: { id } }, score: 7, ratio: 0.5, ...more },
    }),
  );
}
const vector = (name: string) =>
  new Uint8Array(readFileSync(join(import.meta.dirname, '../../../test/vectors/image', name)));

const schema = JSON.stringify({
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  required: ['predicate'],
  properties: {
    predicate: { properties: { runDetails: { properties: { builder: { properties: { id: { const: builder } } } } } } },
  },
});

const policies: [string, () => Promise<StatementPolicy>, string][] = [
  [
    'JSON Schema 2020-12',
    () => schemaPolicy('p', schema),
    '/predicate/runDetails/builder/id must be equal to constant',
  ],
  [
    'JSON Schema draft 7',
    () =>
      schemaPolicy(
        'p',
        schema.replace('https://json-schema.org/draft/2020-12/schema', 'http://json-schema.org/draft-07/schema#'),
      ),
    'must be equal to constant',
  ],
  ['CEL', () => celPolicy('p', `predicate.runDetails.builder.id == "${builder}"`), 'the expression is false'],
  [
    'CEL over the whole',
    () =>
      celPolicy(
        'p',
        `statement.predicate.runDetails.builder.id == "${builder}" && predicateType.startsWith("https://slsa.dev/") && subject.all(s, s.name == "app")`,
      ),
    'the expression is false',
  ],
  ['Rego', () => regoPolicy('p', vector('builder.wasm')), 'signature/allow is false'],
];

describe.each(policies)('a policy in %s', (_, load, reason) => {
  it('accepts the builder, and objects to another', async () => {
    const policy = await load();
    expect(policy.check(provenance(builder))).toBeUndefined();
    expect(policy.check(provenance('https://evil.example'))).toContain(reason);
    // And again: nothing is left over from the statement before.
    expect(policy.check(provenance(builder))).toBeUndefined();
  });
});

describe('schemaPolicy()', () => {
  it.each([
    ['no JSON', '{'],
    ['two of one name', '{"type":"object","type":"string"}'],
    ['a keyword that is none', '{"requiered":["x"]}'],
    ['a reference to elsewhere', '{"$ref":"https://example.com/schema.json"}'],
    ['a type that is none', '{"type":"objekt"}'],
  ])('refuses %s', async (_, text) => {
    await expect(schemaPolicy('bad.json', text)).rejects.toMatchObject({
      code: 'IMAGE_POLICY',
      message: expect.stringContaining('bad.json') as string,
    });
  });

  it('knows formats', async () => {
    const policy = await schemaPolicy('p', '{"properties":{"predicateType":{"type":"string","format":"email"}}}');
    expect(policy.check(provenance(builder))).toContain('must match format');
  });

  it('ends a pattern that would take for ever', async () => {
    const policy = await schemaPolicy('p', '{"properties":{"predicateType":{"pattern":"^(a+)+$"}}}', {
      timeoutMs: 200,
    });
    expect(policy.check({ predicateType: `${'a'.repeat(40)}b` })).toContain('no answer within 0.2 s');
  });
});

describe('celPolicy()', () => {
  it.each([
    ['syntax', 'predicate.'],
    ['an unknown name', 'predicat.x == 1'],
    ['an answer that is no yes or no', '"yes"'],
    ['an unknown function', 'predicate.x.exec("rm")'],
  ])('refuses %s', async (_, text) => {
    await expect(celPolicy('bad.cel', text)).rejects.toMatchObject({ code: 'IMAGE_POLICY' });
  });

  it('is not satisfied by what is not exactly true, and not by an error', async () => {
    for (const text of ['predicate.score', 'predicate.missing == 1', 'predicate.runDetails']) {
      expect((await celPolicy('p', text)).check(provenance(builder))).toBeDefined();
    }
  });

  it('compares numbers as one expects', async () => {
    for (const text of [
      'predicate.score == 7',
      'predicate.score > 6',
      'predicate.score <= 7.0',
      'predicate.ratio < 1',
    ]) {
      expect((await celPolicy('p', text)).check(provenance(builder)), text).toBeUndefined();
    }
  });

  it('knows no prototype', async () => {
    for (const name of ['constructor', '__proto__', 'toString']) {
      const policy = await celPolicy('p', `has(predicate.${name})`);
      expect(policy.check(provenance(builder)), name).toBeDefined();
    }
  });

  it('ends an expression that would take for ever', async () => {
    const policy = await celPolicy(
      'p',
      'predicate.l.all(a, predicate.l.all(b, predicate.l.all(c, predicate.l.all(d, a + b + c + d >= 0.0))))',
      { timeoutMs: 200 },
    );
    const l = Array.from({ length: 300 }, (_, i) => i + 0.5);
    expect(policy.check(provenance(builder, { l }))).toContain('no answer within 0.2 s');
  });
});

describe('schemaPolicy()', () => {
  it('refuses a schema whose verdict would be a promise', async () => {
    await expect(schemaPolicy('p', '{"$async":true,"type":"object","required":["x"]}')).rejects.toMatchObject({
      code: 'IMAGE_POLICY',
      message: expect.stringContaining('$async') as string,
    });
    await expect(schemaPolicy('p', '{"properties":{"a":{"$async":true,"required":["x"]}}}')).rejects.toThrow(
      ImageError,
    );
  });
});

describe('regoPolicy()', () => {
  it('ends a module that would take for ever as soon as it is loaded', async () => {
    // (module (func $f (loop (br 0))) (start $f))
    const hex = '0061736d01000000010401600000030201000801000a0901070003400c000b0b';
    const wasm = Uint8Array.from(Buffer.from(hex, 'hex'));
    await expect(regoPolicy('loop.wasm', wasm, { timeoutMs: 300 })).rejects.toMatchObject({ code: 'IMAGE_POLICY' });
  });

  it('takes an object with allow, and gives its reasons', async () => {
    const policy = await regoPolicy('p', vector('report.wasm'));
    expect(policy.check(provenance(builder))).toBeUndefined();
    expect(policy.check({ predicate: {} })).toBe('no builder');
  });

  it('refuses what is no policy, and an entrypoint that is not there', async () => {
    await expect(regoPolicy('bad.wasm', new Uint8Array([0, 97, 115, 109]))).rejects.toMatchObject({
      code: 'IMAGE_POLICY',
    });
    await expect(regoPolicy('bad.wasm', vector('builder.rego'))).rejects.toMatchObject({ code: 'IMAGE_POLICY' });
    const options = { entrypoint: 'signature/deny' };
    await expect(regoPolicy('p', vector('builder.wasm'), options)).rejects.toThrow(/no entrypoint signature\/deny/);
  });

  it('ends a policy that would take for ever, in bounded memory', async () => {
    const policy = await regoPolicy('p', vector('endless.wasm'), { timeoutMs: 500 });
    const begun = performance.now();
    expect(policy.check(provenance(builder))).toMatch(/no answer/);
    expect(performance.now() - begun).toBeLessThan(5_000);
  });
});
