import { celPolicy, regoPolicy, schemaPolicy, type StatementPolicy } from '#libs/image';
import { parseBase64 } from '#libs/encoding';
import { reasonOf } from './error.js';
import type { Section } from './section.js';

/** What a statement, or the outcome of all authorities, must say. */
export type ContentRule = StatementPolicy;

const ours = ['cel', 'jsonschema', 'rego-wasm'] as const;
// A compiled Rego policy carries its runtime.
const MAX_DATA = 6 * 1024 * 1024;
const takeIn = 'Put its content into data';
/** What only the `policy` of the whole may have. */
const contextSwitches = {
  fetchConfigFile: ['the configuration of the image is not fetched', 'State it in an attestation, and check that'],
  includeSpec: ['a command has no Kubernetes object', 'Use a policy engine of the cluster for the spec of workloads'],
  includeObjectMeta: ['a command has no Kubernetes object', 'Use match, or a policy engine of the cluster'],
  includeTypeMeta: ['a command has no Kubernetes object', 'Use match, or a policy engine of the cluster'],
} as const;

/**
 * Reads a `policy` over content. The languages of policy-controller, CUE and Rego as text, are not read; ours are `cel` (an expression), `jsonschema`, and
 * `rego-wasm` (Rego compiled to WebAssembly, in base64).
 */
export async function readContentRule(
  policy: Section,
  level: 'attestation' | 'policy',
): Promise<ContentRule | undefined> {
  const before = policy.problems.count;
  const type = policy.requiredText('type');
  if (type === 'cue') {
    policy.fault(
      'type',
      'cue is not supported: there is no engine for it here',
      'Write it as jsonschema or cel, or compile Rego: rego-wasm',
    );
  } else if (type === 'rego') {
    policy.fault(
      'type',
      'rego is not supported as text: it runs compiled only',
      'Compile it with `opa build -t wasm`, and put policy.wasm in base64 under type rego-wasm; or write it as cel',
    );
  } else if (type !== undefined) policy.choice('type', ours);
  policy.refused('remote', 'a policy that another server may change is none, and no policy is fetched', takeIn);
  policy.refused('configMapRef', 'there is no cluster to read it from', takeIn);
  for (const [name, [why, cure]] of Object.entries(contextSwitches)) {
    if (level === 'policy') policy.refusedIfTrue(name, why, cure);
    else policy.refused(name, "it belongs to the policy of the whole, not to an attestation's", 'Leave it out');
  }
  const data =
    policy.has('remote') || policy.has('configMapRef')
      ? policy.text('data', MAX_DATA)
      : policy.requiredText('data', MAX_DATA);
  policy.end();
  if (data === undefined || policy.problems.count > before) return undefined;
  const name = policy.path;
  try {
    if (type === 'cel') return await celPolicy(name, data);
    if (type === 'jsonschema') return await schemaPolicy(name, data);
    return await regoPolicy(name, parseBase64(data.replace(/\s/g, '')));
  } catch (error) {
    policy.fault('data', reasonOf(error));
    return undefined;
  }
}
