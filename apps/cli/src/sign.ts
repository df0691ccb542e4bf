import { encodeBundle, parseStatement, type Bundle } from '#libs/bundle';
import { parseHex } from '#libs/encoding';
import { chooseServices, signMany, type Artifact, type SigningKey, type SignOptions } from '#libs/sign';
import type { TrustedRoot } from '#libs/trust';
import type { Artifact as VerifiedArtifact, Report } from '#libs/verify';
import { openArtifact } from './artifact.js';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput, writeAtomically } from './files.js';
import { audienceOf, findIdentityToken, type IdentityOptions } from './identity-token.js';
import { readSigningKey } from './key-load.js';
import { columns, jsonText, printable, style } from './style.js';
import { issuersIn, readSigningConfig, readTrustedRoot } from './trust-files.js';
import { fetchTrust } from './trust-service.js';
import { verifyBytes, type Demand } from './verify.js';

export interface SignFilesOptions extends SigningOptions {
  bundle?: string;
  inToto?: boolean;
  json?: boolean;
}

/** A bundle that was written, and what our own verifier said about it; no report without a trusted root. */
interface Signed {
  file: string;
  bundlePath: string;
  bundle: Bundle;
  report: Report | undefined;
}

const MAX_STATEMENT_BYTES = 16 * 1024 * 1024;

/** `sign`: each bundle is verified like anybody else's before it gets its name. */
export async function signFiles(terminal: Terminal, files: string[], options: SignFilesOptions): Promise<ExitCode> {
  checkUsage(files, options);
  const key = options.key === undefined ? undefined : await readSigningKey(terminal, options.key);
  const artifacts = await Promise.all(files.map((file) => readArtifact(file, options)));
  const setup = await prepare(terminal, options, key);
  const demand: Demand = key === undefined ? { kind: 'any' } : { kind: 'key', publicKey: key.publicKey };

  const signed: Signed[] = [];
  let at = 0;
  for await (const bundle of signMany(artifacts, setup)) {
    const file = files[at] as string; // one bundle for each artifact, in order
    const artifact = artifacts[at] as Artifact;
    at += 1;
    const text = encodeBundle(bundle);
    const report =
      setup.trustedRoot && (await selfCheck(text, { file, artifact, demand, trustedRoot: setup.trustedRoot }));
    const bundlePath = options.bundle ?? `${file}.sigstore.json`;
    await writeAtomically(bundlePath, `${text}\n`);
    const done = { file, bundlePath, bundle, report };
    signed.push(done);
    if (!options.json) printSigned(terminal, done);
  }
  if (options.json) terminal.out(jsonText({ ok: true, signed: signed.map(signedJson) }));
  return exitCodes.ok;
}

function checkUsage(files: string[], options: SignFilesOptions): void {
  if (options.bundle !== undefined && files.length > 1) {
    throw new CliError('usage', 'Cannot sign several files into one --bundle', {
      cure: 'Leave --bundle out: each bundle goes to <file>.sigstore.json',
    });
  }
  checkSigningUsage(options);
}

/** @throws CliError `usage` */
export function checkSigningUsage(options: SigningOptions): void {
  if ((options.url === undefined) === (options.signingConfig === undefined)) {
    throw new CliError('usage', 'Cannot sign: give either --url or --signing-config, to say which services to use');
  }
  if (options.key !== undefined && options.identityToken !== undefined) {
    throw new CliError('usage', 'Cannot sign with both --key and --identity-token: a signature is by one of them');
  }
}

async function readArtifact(file: string, { inToto }: SignFilesOptions): Promise<Artifact> {
  if (inToto) return { kind: 'statement', bytes: await readInput(file, 'the statement', MAX_STATEMENT_BYTES) };
  // Opened once before anything is sent, so that a wrong name costs no certificate.
  await openArtifact(file);
  return { kind: 'file', path: file };
}

/** The flags about how to sign, whatever is signed. */
export interface SigningOptions extends IdentityOptions {
  url?: string;
  signingConfig?: string;
  trustedRoot?: string;
  key?: string;
}

/** Services, trust and token. `logVersion`: which API of Rekor's the log must have; by default the higher one there is. */
export async function prepare(
  terminal: Terminal,
  options: SigningOptions,
  key: SigningKey | undefined,
  logVersion?: 1 | 2,
): Promise<SignOptions> {
  const http = { fetch: terminal.fetch };
  const paint = style(terminal.colours.err);
  const served = options.url === undefined ? undefined : await fetchTrust(options.url, http);
  const config = served?.signingConfig ?? (await readSigningConfig(options.signingConfig ?? ''));
  const trustedRoot =
    options.trustedRoot === undefined ? served?.trustedRoot : await readTrustedRoot(options.trustedRoot);
  if (trustedRoot === undefined) {
    terminal.err(
      `${paint.warn('note:')} without --trusted-root the answers of the services are only checked against each other.\n`,
    );
  } else if (options.trustedRoot === undefined) {
    terminal.err(
      `${paint.warn('note:')} the trusted root came from the server itself: good enough to check this signing, not to verify with.\n`,
    );
  }
  const services = chooseServices(config, {
    now: new Date(terminal.now()),
    managedKey: key !== undefined,
    ...(logVersion !== undefined && { logVersion }),
  });
  const ca = services.certificateAuthority;
  if (ca !== undefined && isPlainRemote(ca)) {
    terminal.err(
      `${paint.warn('WARNING:')} the identity token goes to ${printable(ca)} without encryption: whoever reads it can sign as you.\n`,
    );
  }
  const base: SignOptions = { ...http, services, now: terminal.now, ...(trustedRoot && { trustedRoot }) };
  if (key !== undefined) return { ...base, key };
  const identityToken = await findIdentityToken(terminal, options, {
    http,
    issuers: issuersIn(config, terminal.now()),
  });
  return { ...base, audience: audienceOf(options), identityToken };
}

interface Check {
  file: string;
  artifact: Artifact;
  demand: Demand;
  trustedRoot: TrustedRoot;
}

/** @throws CliError `failed`: such a bundle is not written, for nobody else would accept it */
async function selfCheck(text: string, { file, artifact, demand, trustedRoot }: Check): Promise<Report> {
  const verified = artifact.kind === 'statement' ? subjectOf(artifact.bytes) : await openArtifact(file);
  const report = await verifyBytes(text, verified, demand, trustedRoot);
  if (!report.ok) {
    throw new CliError(
      'failed',
      `Cannot write the bundle of ${file}, which does not verify: ${report.failure?.message ?? 'unknown'}`,
      {
        cure: report.failure?.cure ?? 'Check that the trusted root belongs to these services',
      },
    );
  }
  return report;
}

/** The statement's first subject stands for the artifact: here it is the statement that was signed. */
function subjectOf(statement: Uint8Array): VerifiedArtifact {
  const { subjects } = parseStatement(statement);
  return {
    digest: (algorithm) => {
      const hex = subjects.map(({ digests }) => digests[algorithm]).find((digest) => digest !== undefined);
      return hex === undefined ? undefined : parseHex(hex);
    },
  };
}

/** Tokens may travel unencrypted within this machine only. */
function isPlainRemote(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'http:' && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

function printSigned(terminal: Terminal, { file, bundlePath, bundle, report }: Signed): void {
  terminal.out(`${style(terminal.colours.out).good('Signed:')} ${printable(file)}\n`);
  const signer = report?.signer;
  terminal.out(
    columns([
      ['bundle', bundlePath],
      ...(signer?.kind === 'certificate'
        ? ([
            ['signer', printable(signer.san)],
            ['issuer', printable(signer.issuer)],
          ] as const)
        : []),
      ...(report?.times ?? []).map(
        ({ time, operator }) => ['time', `${time.toISOString()} according to ${printable(operator)}`] as const,
      ),
      ...bundle.tlogEntries.map(({ logIndex }) => ['log index', logIndex.toString()] as const),
      ['checked', report === undefined ? 'no: there was no trusted root' : 'the bundle verifies'],
    ]),
  );
}

function signedJson({ file, bundlePath, bundle, report }: Signed): object {
  return {
    file,
    bundle: bundlePath,
    selfChecked: report !== undefined,
    ...(report?.signer && { signer: report.signer }),
    ...(report?.times && { times: report.times }),
    logIndexes: bundle.tlogEntries.map(({ logIndex }) => logIndex),
  };
}
