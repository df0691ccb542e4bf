import { basename } from 'node:path';
import { parseJson } from '#libs/encoding';
import {
  celPolicy,
  openSaved,
  predicateTypeUri,
  regoPolicy,
  schemaPolicy,
  verifyAttestations,
  verifyImage,
  verifyImageRecursively,
  type Candidate,
  type ImageReport,
  type Layout,
  type StatementPolicy,
  type VerifyImageOptions,
} from '#libs/image';
import { openLayout, type Digest, type ImageStore } from '#libs/oci';
import { VerifyError } from '#libs/verify';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { pinned, resolveImage, withDeadline, withImages, type RegistryFlags } from './image-registry.js';
import { columns, jsonText, printable, style } from './style.js';
import { readTrustedRoot } from './trust-files.js';
import { readPolicy, type PolicyOptions } from './verify.js';

export interface VerifyImagesOptions extends PolicyOptions, RegistryFlags {
  trustedRoot?: string;
  layout?: Layout[];
  annotations?: Record<string, string>;
  recursive?: boolean;
  localImage?: boolean;
  maxSignatures?: number;
  certificateGithubWorkflowTrigger?: string;
  certificateGithubWorkflowSha?: string;
  certificateGithubWorkflowName?: string;
  certificateGithubWorkflowRepository?: string;
  certificateGithubWorkflowRef?: string;
  output?: 'json' | 'text';
  json?: boolean;
}

export interface VerifyAttestationOptions extends VerifyImagesOptions {
  type: string;
  policy?: string[];
}

/** A digest that was judged, and how to call it. */
interface Judged {
  name: string;
  platform?: string;
  report: ImageReport;
}

const MAX_POLICY_BYTES = 32 * 1024 * 1024;

/** `image verify` */
export async function verifyImages(
  terminal: Terminal,
  images: string[],
  options: VerifyImagesOptions,
): Promise<ExitCode> {
  const demand = await readDemand(options);
  return verifyEach(terminal, images, options, async (store, digest, signatures) => {
    const full = { ...demand, signatures };
    if (options.recursive !== true) return [{ report: await verifyImage(store, digest, full) }];
    return (await verifyImageRecursively(store, digest, full)).platforms;
  });
}

/** `image verify-attestation` */
export async function verifyImageAttestations(
  terminal: Terminal,
  images: string[],
  options: VerifyAttestationOptions,
): Promise<ExitCode> {
  const predicateType = predicateTypeUri(options.type);
  const statementPolicies = await Promise.all((options.policy ?? []).map(readStatementPolicy));
  const demand = { ...(await readDemand(options)), predicateType, statementPolicies };
  return verifyEach(terminal, images, options, async (store, digest, signatures) => [
    { report: await verifyAttestations(store, digest, { ...demand, signatures }) },
  ]);
}

type VerifyOne = (
  store: ImageStore,
  digest: Digest,
  signatures: ImageStore,
) => Promise<readonly { platform?: string; report: ImageReport }[]>;

async function verifyEach(
  terminal: Terminal,
  texts: readonly string[],
  options: VerifyImagesOptions,
  verify: VerifyOne,
): Promise<ExitCode> {
  const judged: Judged[] = [];
  const bounded = withDeadline(options);
  try {
    for (const text of texts) judged.push(...(await verifyOne(terminal, text, bounded, verify)));
  } catch (cause) {
    if (!(cause instanceof VerifyError)) throw cause;
    throw new CliError('usage', cause.message, { cause, cure: cause.cure });
  }
  if (options.json === true || options.output === 'json') {
    terminal.out(jsonText({ ok: judged.every(({ report }) => report.ok), images: judged.map(judgedJson) }));
  } else judged.forEach((one) => printJudged(terminal, one));
  return exitCodeOf(judged);
}

async function verifyOne(
  terminal: Terminal,
  text: string,
  options: VerifyImagesOptions,
  verify: VerifyOne,
): Promise<Judged[]> {
  if (options.localImage === true) {
    // The same image that `image load` would push.
    const { root, store } = await openSaved(await openLayout(text));
    return (await verify(store, root.digest, store)).map((one) => ({ ...one, name: `${text}@${one.report.digest}` }));
  }
  return withImages(terminal, [text], options, async (image) => {
    if (image === undefined) throw new Error('no image was opened');
    // A tag is asked for once. Whoever goes on with the digest in the report has what was verified.
    const digest = image.reference.digest ?? (await resolveImage(image)).digest;
    const reports = await verify(image.store, digest, image.signatures);
    return reports.map((one) => ({ ...one, name: pinned(image.reference, one.report.digest) }));
  });
}

/** What the flags demand. Without identity or key any stranger's signature would do, which is no verification. */
async function readDemand(options: VerifyImagesOptions): Promise<VerifyImageOptions> {
  if (options.trustedRoot === undefined) {
    throw new CliError('usage', 'Cannot verify: --trusted-root is missing', {
      cure: 'Get the trusted root of the service that signed, once and by a way you trust; its operator makes it with `chancery trust export`',
    });
  }
  const policy = await readPolicy(options);
  if (policy.kind === 'any') {
    throw new CliError('usage', 'Cannot verify: nothing says who must have signed', {
      cure: 'Give --certificate-identity and --certificate-oidc-issuer (or their -regexp forms), or --key',
    });
  }
  const certificate = {
    githubWorkflowTrigger: options.certificateGithubWorkflowTrigger,
    githubWorkflowSha: options.certificateGithubWorkflowSha,
    githubWorkflowName: options.certificateGithubWorkflowName,
    githubWorkflowRepository: options.certificateGithubWorkflowRepository,
    githubWorkflowRef: options.certificateGithubWorkflowRef,
  };
  const asked = Object.fromEntries(
    Object.entries(certificate).filter((field): field is [string, string] => field[1] !== undefined),
  );
  return {
    policy,
    trustedRoot: await readTrustedRoot(options.trustedRoot),
    layouts: options.layout ?? ['bundle', 'legacy'],
    ...(options.annotations && { annotations: options.annotations }),
    ...(Object.keys(asked).length > 0 && { certificate: asked }),
    ...(options.maxSignatures !== undefined && { limits: { signatures: options.maxSignatures } }),
  };
}

/** By the end of its name: .json is a JSON Schema, .cel an expression, .wasm compiled Rego. */
async function readStatementPolicy(path: string): Promise<StatementPolicy> {
  const name = basename(path);
  const bytes = await readInput(path, 'the policy', MAX_POLICY_BYTES);
  const text = (): string => Buffer.from(bytes).toString('utf8');
  if (path.endsWith('.json')) return schemaPolicy(name, text());
  if (path.endsWith('.cel')) return celPolicy(name, text());
  if (path.endsWith('.wasm')) return regoPolicy(name, bytes);
  throw new CliError(
    'usage',
    `Cannot use the policy ${path}: its name must end in .json (JSON Schema), .cel or .wasm (Rego)`,
    {
      cure: 'Compile Rego with `opa build -t wasm -e signature/allow`, and take policy.wasm out of the bundle',
    },
  );
}

/** cosign's numbers, for attestations as for signatures, in either layout. */
function exitCodeOf(judged: readonly Judged[]): ExitCode {
  const failed = judged.find(({ report }) => !report.ok);
  switch (failed?.report.failure) {
    case undefined:
      return exitCodes.ok;
    case 'none-found':
      return exitCodes.noSignature;
    case 'no-certificate':
      return exitCodes.noCertificate;
    case 'none-matching':
      return exitCodes.noMatch;
  }
}

const failures = {
  'none-found': 'nothing of the kind is attached to it',
  'no-certificate': 'an identity was asked for, and its signatures were made with keys',
  'none-matching': 'none of what is attached holds',
} as const;

function printJudged(terminal: Terminal, { name, platform, report }: Judged): void {
  const paint = style(terminal.colours.out);
  const called = platform === undefined ? printable(name) : `${printable(name)} (${printable(platform)})`;
  for (const candidate of report.candidates) printCandidate(terminal, report, candidate);
  if (report.incomplete !== undefined) {
    terminal.out(`${paint.warn('!')} The search ended early: ${report.incomplete}\n`);
  }
  if (report.ok) terminal.out(`${paint.good(`Verified: ${called}`)}\n\n`);
  else terminal.out(`${paint.bad(`NOT VERIFIED: ${called}`)}: ${failures[report.failure ?? 'none-found']}\n\n`);
}

function printCandidate(terminal: Terminal, { kind }: ImageReport, candidate: Candidate): void {
  const paint = style(terminal.colours.out);
  const place = `${candidate.layout}, ${candidate.manifest}`;
  if (candidate.state === 'accepted') {
    const { report, annotations, predicateType } = candidate;
    const { signer } = report;
    terminal.out(`${paint.good('✓')} ${kind} (${place})\n`);
    terminal.out(
      columns([
        ['signer', signer?.kind === 'certificate' ? printable(signer.san) : 'the given key'],
        ...(signer?.kind === 'certificate' ? ([['issuer', printable(signer.issuer)]] as const) : []),
        ...(report.times ?? []).map(
          ({ time, operator }) => ['signed', `${time.toISOString()} according to ${printable(operator)}`] as const,
        ),
        ...(report.logEntries ?? []).map(
          ({ origin, index }) => ['log', `entry ${index} of ${printable(origin)}`] as const,
        ),
        ...(kind === 'attestation' && predicateType !== undefined
          ? ([['predicate', printable(predicateType)]] as const)
          : []),
        ...Object.entries(annotations).map(([key, value]) => ['annotation', printable(`${key}=${value}`)] as const),
      ]),
    );
    return;
  }
  if (candidate.state === 'other') {
    terminal.out(paint.faint(`– ${printable(candidate.reason)} (${place})`) + '\n');
    return;
  }
  terminal.out(`${paint.bad('✗')} ${candidate.check}: ${printable(candidate.reason)} (${place})\n`);
  if (candidate.cure !== undefined) terminal.out(`  ${paint.bold('cure:')} ${printable(candidate.cure)}\n`);
}

function judgedJson({ name, platform, report }: Judged): object {
  const { ok, digest, kind, layouts, incomplete, failure, candidates } = report;
  return {
    ok,
    image: name,
    digest,
    ...(platform !== undefined && { platform }),
    kind,
    layouts,
    ...(incomplete !== undefined && { incomplete }),
    ...(failure !== undefined && { failure }),
    candidates: candidates.map(candidateJson),
  };
}

function candidateJson(candidate: Candidate): object {
  if (candidate.state !== 'accepted') return candidate;
  const { layout, manifest, blob, state, report, annotations, predicateType, payload } = candidate;
  const { signer, times, logEntries } = report;
  return {
    layout,
    manifest,
    ...(blob !== undefined && { blob }),
    state,
    signer,
    times,
    logEntries,
    checks: report.checks,
    annotations,
    ...(predicateType !== undefined && { predicateType }),
    payload: parseJson(payload, { bigIntegers: true }),
  };
}
