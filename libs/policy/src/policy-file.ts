import type { TrustedRoot } from '#libs/trust';
import { readImagePolicy, type ImagePolicy, type TrustRoots } from './cluster-image-policy.js';
import { PolicyError, quote } from './error.js';
import { parseSections, type Section } from './section.js';
import { readTrustRoot, readTrustedRootDocument, type ReadFile } from './trust-roots.js';

/** What a deployment accepts. */
export interface PolicyFile {
  /** By name; at least one. */
  readonly policies: readonly ImagePolicy[];
  /** All trust roots that can be named: those of the file, and those given beside it. */
  readonly trustRoots: ReadonlyMap<string, TrustedRoot>;
}

export interface PolicyFileOptions {
  /** The file's name, for messages. Default `the policy`. */
  readonly source?: string;
  /** Trust roots that policies may name, beside those of the file. */
  readonly trustRoots?: ReadonlyMap<string, TrustedRoot>;
  /** For authorities that name none. */
  readonly defaultTrustRoot?: TrustedRoot | undefined;
  /** Reads the file that a TrustedRoot document names. Without it such documents are refused. */
  readonly readFile?: ReadFile;
}

type DocumentKind = 'ClusterImagePolicy' | 'TrustRoot' | 'TrustedRoot' | 'List';

const versions: Readonly<Record<DocumentKind, readonly string[]>> = {
  ClusterImagePolicy: ['policy.sigstore.dev/v1beta1', 'policy.sigstore.dev/v1alpha1'],
  TrustRoot: ['policy.sigstore.dev/v1alpha1'],
  TrustedRoot: ['chancery/v1'],
  List: ['v1'],
};
const kinds = Object.keys(versions) as DocumentKind[]; // the keys of the literal above

interface Document {
  readonly kind: DocumentKind;
  readonly name: string;
  readonly section: Section;
}

const MAX_ITEMS = 256;
/** What the API server and people write into `metadata`, beside the name. */
const metadataNotes = [
  'annotations',
  'creationTimestamp',
  'deletionGracePeriodSeconds',
  'deletionTimestamp',
  'finalizers',
  'generateName',
  'generation',
  'labels',
  'managedFields',
  'namespace',
  'ownerReferences',
  'resourceVersion',
  'selfLink',
  'uid',
];

/**
 * Reads a file of policies and trust roots, YAML (with any number of documents) or JSON: kinds ClusterImagePolicy and TrustRoot of
 * `policy.sigstore.dev`, and our own TrustedRoot (`chancery/v1`) with a trusted_root.json under a name. What is not known, not honoured or
 * not possible is refused, all of it at once; nothing in the file is ever ignored.
 * @throws PolicyError with all problems: `POLICY_SYNTAX`, `POLICY_LIMIT`, `POLICY_FIELD`, `POLICY_TRUST`
 */
export async function parsePolicyFile(text: string, options: PolicyFileOptions = {}): Promise<PolicyFile> {
  const { problems, sections } = parseSections(text, options.source ?? 'the policy');
  const documents = sections.flatMap((section) => readHeader(section));

  // 1. Trust roots, wherever they stand: policies name them.
  const before = problems.count;
  const trustRoots = new Map(options.trustRoots ?? []);
  for (const { kind, name, section } of documents) {
    if (kind !== 'TrustRoot' && kind !== 'TrustedRoot') continue;
    if (trustRoots.has(name)) {
      section.fault('metadata', `there are two trust roots ${quote(name)}`, 'Give each a name of its own');
    }
    const spec = readBody(section);
    const root =
      spec &&
      (kind === 'TrustRoot' ? readTrustRoot(spec) : await readTrustedRootDocument(spec, options.readFile ?? noFiles));
    if (root !== undefined) trustRoots.set(name, root);
  }
  // A root that could not be read is missing below: its own problem says more than those that follow from it.
  if (problems.count > before) problems.check();

  // 2. Policies
  const roots: TrustRoots = { byName: trustRoots, default: options.defaultTrustRoot };
  const policies: ImagePolicy[] = [];
  for (const { kind, name, section } of documents) {
    if (kind !== 'ClusterImagePolicy') continue;
    if (documents.some((other) => other.kind === kind && other.name === name && other.section !== section)) {
      section.fault(
        'metadata',
        `there are two policies ${quote(name)}`,
        'A cluster would keep only the last: give each a name of its own',
      );
    }
    const spec = readBody(section);
    const policy = spec && (await readImagePolicy(name, spec, roots));
    if (policy !== undefined) policies.push(policy);
  }
  problems.check();
  if (policies.length === 0) {
    throw new PolicyError('POLICY_FIELD', `Cannot read ${problems.source}: it has no ClusterImagePolicy`);
  }
  return { policies, trustRoots };
}

/** The kind and name of a document, or of each in a List, as `kubectl get -o yaml` writes them. */
function readHeader(section: Section, inList = false): Document[] {
  const found = section.requiredText('kind');
  const apiVersion = section.requiredText('apiVersion');
  if (found === undefined || apiVersion === undefined) return [];
  const kind = kinds.find((candidate) => candidate === found);
  if (kind === undefined || (kind === 'List' && inList)) {
    section.fault('kind', `is ${quote(found)}, expected ${kinds.filter((known) => known !== 'List').join(', ')}`);
    return [];
  }
  if (!versions[kind].includes(apiVersion)) {
    section.fault('apiVersion', `is ${quote(apiVersion)}, expected ${versions[kind].join(' or ')} for a ${kind}`);
    return [];
  }
  if (kind === 'List') {
    section.notes('metadata');
    const items = section.sections('items', MAX_ITEMS);
    section.end();
    return items.flatMap((item) => readHeader(item, true));
  }
  const name = section.requiredSection('metadata')?.requiredText('name', 253);
  return name === undefined ? [] : [{ kind, name, section: section.at(`${kind} ${quote(name)}: `) }];
}

function readBody(section: Section): Section | undefined {
  section.notes('apiVersion', 'kind', 'status');
  const metadata = section.requiredSection('metadata');
  metadata?.notes('name', ...metadataNotes);
  metadata?.end();
  const spec = section.requiredSection('spec');
  section.end();
  return spec;
}

const noFiles: ReadFile = (path) => Promise.reject(new Error(`${quote(path)} cannot be read here`));
