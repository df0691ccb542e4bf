import { PolicyError, quote } from './error.js';
import { parseSections, type Section } from './section.js';

/** The Kubernetes object that would run the image. */
export interface Resource {
  readonly group: string;
  readonly version: string;
  /** Plural, lower case: `deployments`. */
  readonly resource: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Which objects a policy is for. What is not given is not asked. */
export interface ResourceMatch {
  readonly group?: string;
  readonly version?: string;
  readonly resource?: string;
  readonly labels: readonly LabelRule[];
}

/** One requirement of a label selector. */
export interface LabelRule {
  readonly key: string;
  readonly operator: 'In' | 'NotIn' | 'Exists' | 'DoesNotExist';
  readonly values: readonly string[];
}

/** The kinds that run images, as policy-controller knows them. */
const kinds: Readonly<Record<string, readonly [group: string, resource: string]>> = {
  Pod: ['', 'pods'],
  ReplicaSet: ['apps', 'replicasets'],
  Deployment: ['apps', 'deployments'],
  StatefulSet: ['apps', 'statefulsets'],
  DaemonSet: ['apps', 'daemonsets'],
  Job: ['batch', 'jobs'],
  CronJob: ['batch', 'cronjobs'],
};
const resources = Object.values(kinds).map(([, resource]) => resource);
const MAX_RULES = 64;

/** Reads one entry of `spec.match`. */
export function readMatch(match: Section): ResourceMatch {
  const group = match.text('group');
  const version = match.text('version');
  const resource = match.has('resource') ? match.choice('resource', resources) : undefined;
  const selector = match.section('selector');
  const labels = selector === undefined ? [] : readSelector(selector);
  match.end();
  if (selector !== undefined && !match.has('group') && !match.has('version') && !match.has('resource')) {
    match.fault('selector', 'a selector needs a group, version or resource beside it', 'Add resource: pods');
  }
  return {
    ...(group !== undefined && { group }),
    ...(version !== undefined && { version }),
    ...(resource !== undefined && { resource }),
    labels,
  };
}

function readSelector(selector: Section): LabelRule[] {
  const exact = selector.has('matchLabels') ? Object.entries(selector.textMap('matchLabels')) : [];
  const rules = selector.sections('matchExpressions', MAX_RULES).flatMap((expression): LabelRule[] => {
    const key = expression.requiredText('key');
    expression.requiredText('operator');
    const operator = expression.choice('operator', ['In', 'NotIn', 'Exists', 'DoesNotExist'] as const);
    const values = expression.texts('values', MAX_RULES);
    expression.end();
    const wantsValues = operator === 'In' || operator === 'NotIn';
    if (operator !== undefined && wantsValues !== values.length > 0) {
      expression.fault(undefined, `operator ${operator} ${wantsValues ? 'needs values' : 'takes no values'}`);
    }
    return key === undefined || operator === undefined ? [] : [{ key, operator, values }];
  });
  selector.end();
  return [...exact.map(([key, value]): LabelRule => ({ key, operator: 'In', values: [value] })), ...rules];
}

/** Whether one of the entries is for this object; without entries every object is meant. */
export function matchesResource(matches: readonly ResourceMatch[], object: Resource): boolean {
  const isMeant = (expected: string | undefined, found: string) =>
    expected === undefined || expected === '*' || expected === found;
  return (
    matches.length === 0 ||
    matches.some(
      ({ group, version, resource, labels }) =>
        isMeant(group, object.group) &&
        isMeant(version, object.version) &&
        (resource === undefined || resource === object.resource) &&
        labels.every((rule) => matchesLabel(rule, object.labels)),
    )
  );
}

// Kubernetes: labels and selectors; a label that is not there is in no set, so NotIn holds.
function matchesLabel({ key, operator, values }: LabelRule, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
  }
}

/**
 * Reads what `match` asks about a Kubernetes object in YAML or JSON: its kind and labels. The rest of the object is not looked at.
 * @throws PolicyError `POLICY_RESOURCE`, `POLICY_SYNTAX`, `POLICY_LIMIT`
 */
export function parseResource(text: string, source: string): Resource {
  const { problems, sections } = parseSections(text, source);
  problems.check();
  const refuse = (problem: string) => new PolicyError('POLICY_RESOURCE', `Cannot read ${source}: ${problem}`);
  const [object, second] = sections;
  if (object === undefined || second !== undefined) throw refuse(`it has ${sections.length} objects, expected one`);
  const apiVersion = object.requiredText('apiVersion') ?? '';
  const kind = object.requiredText('kind') ?? '';
  const metadata = object.section('metadata');
  const labels = metadata?.has('labels') === true ? metadata.textMap('labels') : {};
  problems.check();
  const known = Object.hasOwn(kinds, kind) ? kinds[kind] : undefined;
  const [version = '', group = ''] = apiVersion.split('/').reverse();
  if (known === undefined || known[0] !== group) {
    throw refuse(`${quote(`${apiVersion} ${kind}`)} is not one of ${Object.keys(kinds).join(', ')}`);
  }
  return { group, version, resource: known[1], labels };
}
