import { runInNewContext } from 'node:vm';
import { EncodingError, parseJson, type JsonValue } from '#libs/encoding';
import { ImageError, reasonOf } from './error.js';
import { fieldsOf } from './statement.js';

/** What a verified statement must say. */
export interface StatementPolicy {
  /** For the report, as the file's name. */
  readonly name: string;
  /** `statement`: the whole statement, parsed. Returns the objection, or undefined. */
  readonly check: (statement: JsonValue) => string | undefined;
}

/** The compiler's own library has it only together with the rest of a browser. */
const { WebAssembly } = globalThis as unknown as { WebAssembly: { Module: new (bytes: Uint8Array) => object } };

const MAX_POLICY_BYTES = 32 * 1024 * 1024;
/** A policy that takes longer has no answer, and no answer is an objection. */
const DEFAULT_TIMEOUT_MS = 5_000;
/** Pages of 64 KiB: what a Rego policy may use, 256 MiB. */
const MAX_PAGES = 4096;

export interface PolicyLimits {
  /** Milliseconds for one statement. Default 5000. */
  readonly timeoutMs?: number;
}

/**
 * A policy from a JSON Schema (2020-12, or draft 7 if it says so) for the whole statement. Strict: a keyword that the schema language does not have would
 * be a condition that nobody checks.
 * @throws ImageError `IMAGE_POLICY`
 */
export async function schemaPolicy(name: string, text: string, limits: PolicyLimits = {}): Promise<StatementPolicy> {
  const refuse = refusing(name);
  if (text.length > MAX_POLICY_BYTES) throw refuse('it is too large');
  let schema: JsonValue;
  try {
    schema = parseJson(text);
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw refuse('it is not JSON', cause);
  }
  // Its verdict would be a promise, which nobody waits for.
  if ('$async' in fieldsOf(schema)) throw refuse('$async is not supported');
  const draft = fieldsOf(schema)['$schema'];
  const isDraft7 = typeof draft === 'string' && draft.startsWith('http://json-schema.org/draft-07/');
  const [{ Ajv }, { Ajv2020 }, formats] = await Promise.all([
    import('ajv'),
    import('ajv/dist/2020.js'),
    import('ajv-formats'),
  ]);
  const ajv = new (isDraft7 ? Ajv : Ajv2020)({
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
  });
  // A module of CommonJS: its function is the default of the default.
  formats.default.default(ajv);
  let validate;
  try {
    validate = ajv.compile(schema as object);
  } catch (cause) {
    throw refuse(reasonOf(cause), cause);
  }
  return bounded(name, limits, (statement) => {
    if (validate(statement) === true) return undefined;
    const [error] = validate.errors ?? [];
    return `${error?.instancePath || 'the statement'} ${error?.message ?? 'does not fit'}`;
  });
}

/**
 * A policy from a CEL expression that must be `true`. It knows `statement`, and its members `predicate`, `predicateType` and `subject`.
 * @throws ImageError `IMAGE_POLICY`
 */
export async function celPolicy(name: string, expression: string, limits: PolicyLimits = {}): Promise<StatementPolicy> {
  const refuse = refusing(name);
  const { Environment } = await import('@marcbachmann/cel-js');
  const environment = new Environment({ homogeneousAggregateLiterals: false });
  for (const variable of ['statement', 'predicate', 'subject']) environment.registerVariable(variable, 'dyn');
  environment.registerVariable('predicateType', 'string');
  let evaluate: (context: Record<string, unknown>) => unknown;
  try {
    const parsed = environment.parse(expression);
    const { valid, type, error } = parsed.check();
    if (!valid) throw error ?? new Error('it has no type');
    if (type !== 'bool' && type !== 'dyn') throw new Error(`it is of type ${type ?? 'unknown'}, not bool`);
    evaluate = parsed;
  } catch (cause) {
    throw refuse(firstLine(reasonOf(cause)), cause);
  }
  return bounded(name, limits, (statement) => {
    const { predicate = {}, predicateType = '', subject = [] } = fieldsOf(statement);
    const answer = evaluate({ statement, predicate, predicateType, subject });
    return answer === true ? undefined : `the expression is ${describe(answer)}`;
  });
}

/**
 * A policy from Rego that was compiled to WebAssembly (`opa build -t wasm -e signature/allow`). The statement is its input; its entrypoint's result must be
 * `true`, or an object whose `allow` is. Each statement gets an instance of its own, with at most 256 MiB.
 * `entrypoint`: which one; by default `signature/allow`, else the only one.
 * @throws ImageError `IMAGE_POLICY`
 */
export async function regoPolicy(
  name: string,
  wasm: Uint8Array,
  { entrypoint, ...limits }: PolicyLimits & { entrypoint?: string } = {},
): Promise<StatementPolicy> {
  const refuse = refusing(name);
  if (wasm.length > MAX_POLICY_BYTES) throw refuse('it is too large');
  const opa = await import('@open-policy-agent/opa-wasm');
  // Its types list what only the default export has.
  const { loadPolicySync } = (opa as unknown as { default: typeof opa }).default;
  let load: () => ReturnType<typeof loadPolicySync>;
  let chosen: string;
  try {
    const module = new WebAssembly.Module(wasm);
    load = () => loadPolicySync(module, { initial: 8, maximum: MAX_PAGES });
    // A module may run code of its own when it is loaded, too.
    const loaded = withinTime(load, limits.timeoutMs);
    chosen = chooseEntrypoint(Object.keys(loaded.entrypoints as Record<string, number>), entrypoint);
  } catch (cause) {
    throw refuse(typeof cause === 'string' ? cause : reasonOf(cause), cause);
  }
  return bounded(name, limits, (statement) => {
    // opa-wasm gives a list of results; a rule without a value has none.
    const [first] = load().evaluate(statement, chosen) as { result?: JsonValue }[];
    const result = first?.result;
    if (result === true || fieldsOf(result)['allow'] === true) return undefined;
    if (result === undefined) return `${chosen} has no result`;
    const reasons = fieldsOf(result)['deny'];
    const said = Array.isArray(reasons) ? reasons.filter((reason) => typeof reason === 'string').slice(0, 10) : [];
    return said.length > 0 ? said.join('; ') : `${chosen} is ${describe(result)}`;
  });
}

function chooseEntrypoint(known: readonly string[], wanted: string | undefined): string {
  const chosen = wanted ?? (known.includes('signature/allow') || known.length !== 1 ? 'signature/allow' : known[0]);
  if (chosen === undefined || !known.includes(chosen)) {
    throw new Error(`it has no entrypoint ${chosen ?? ''}, only ${known.slice(0, 10).join(', ')}`);
  }
  return chosen;
}

/** Whatever a policy does instead of answering is an objection. */
function bounded(
  name: string,
  { timeoutMs = DEFAULT_TIMEOUT_MS }: PolicyLimits,
  evaluate: (statement: JsonValue) => string | undefined,
): StatementPolicy {
  return {
    name,
    check: (statement) => {
      try {
        return withinTime(() => evaluate(statement), timeoutMs);
      } catch (error) {
        if ((error as { code?: unknown }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') {
          return `it gave no answer within ${timeoutMs / 1000} s`;
        }
        return `it gave no answer: ${firstLine(typeof error === 'string' ? error : reasonOf(error))}`;
      }
    },
  };
}

/** The clock of a script's run also stops what the script calls: expressions, patterns and WebAssembly alike. */
function withinTime<Value>(work: () => Value, timeoutMs = DEFAULT_TIMEOUT_MS): Value {
  return runInNewContext('work()', { work }, { timeout: timeoutMs }) as Value; // what `work` returns
}

function refusing(name: string): (problem: string, cause?: unknown) => ImageError {
  return (problem, cause) => new ImageError('IMAGE_POLICY', `Cannot use policy ${name}: ${problem}`, { cause });
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

function describe(value: unknown): string {
  const text = typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
  return (text ?? 'nothing').slice(0, 100);
}
