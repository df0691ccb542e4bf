import { EncodingError, parseJson, type JsonValue } from '#libs/encoding';
import { formatReference, loadCredentials, parseReference, repositoryOf, type Digest, type Reference } from '#libs/oci';
import { readNotaryRepository, type NotaryPin, type NotaryRepository, type NotarySigner } from '#libs/notary';
import { opensslCrypto } from '#libs/openssl';
import { parseCertificatePem } from '#libs/x509';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { columns, jsonText, printable, style } from './style.js';
import { notaryServer } from './tag-notary-server.js';
import { parseOr } from './trust-files.js';

export interface ImportNotaryOptions {
  server?: string;
  pin?: string[];
  rootCert?: string;
  rootCa?: string;
  rootJson?: string;
  trustOnFirstUse?: boolean;
  seen?: string;
  commands?: boolean;
  json?: boolean;
}

const MAX_PEM_BYTES = 256 * 1024;
const MAX_ROOT_BYTES = 1024 * 1024;
const MAX_REPORT_BYTES = 64 * 1024 * 1024;

/** `tag import-notary` */
export async function importNotary(terminal: Terminal, gun: string, options: ImportNotaryOptions): Promise<ExitCode> {
  const reference = readGun(gun);
  const pin = await readPin(options);
  const seen = options.seen === undefined ? undefined : await readSeen(options.seen, gun);
  const { env, fetch, now } = terminal;
  const server = options.server ?? defaultServer(reference, env['DOCKER_CONTENT_TRUST_SERVER']);
  const source = notaryServer({
    server,
    gun,
    fetch,
    credentials: loadCredentials({ env, ...(env['HOME'] !== undefined && { home: env['HOME'] }) }),
    reference,
  });
  const repository = await readNotaryRepository({
    gun,
    source,
    pin,
    crypto: opensslCrypto,
    nowMs: now(),
    ...(seen !== undefined && { seen }),
  });
  if (options.json) terminal.out(jsonText({ ok: true, server, pinnedBy: pin.kind, ...repository }));
  else if (options.commands) terminal.out(commands(repository, reference));
  else print(terminal, repository);
  if (pin.kind === 'first-use') {
    terminal.err(
      `${style(terminal.colours.err).warn('WARNING:')} the root is what the server showed: whoever answers for it could have made it. ` +
        `Next time give --pin ${repository.root.pinned.keyId}\n`,
    );
  }
  return exitCodes.ok;
}

/** A name as it is in the certificate: in full, with nothing made up. */
function readGun(gun: string): Reference {
  const reference = parseReference(gun);
  if (reference.tag !== undefined || reference.digest !== undefined || repositoryOf(reference) !== gun) {
    throw new CliError(
      'usage',
      `Cannot use ${printable(gun)}: a repository is named in full here, without tag or digest`,
      {
        cure: `Perhaps ${formatReference({ registry: reference.registry, repository: reference.repository })}`,
      },
    );
  }
  return reference;
}

/** What Docker's client would ask. */
function defaultServer({ registry }: Reference, configured: string | undefined): string {
  if (configured !== undefined && configured !== '') return configured;
  return registry === 'docker.io' ? 'https://notary.docker.io' : `https://${registry}`;
}

async function readPin(options: ImportNotaryOptions): Promise<NotaryPin> {
  const { pin, rootCert, rootCa, rootJson, trustOnFirstUse } = options;
  const given = [pin, rootCert, rootCa, rootJson, trustOnFirstUse].filter((one) => one !== undefined);
  if (given.length !== 1) {
    throw new CliError(
      'usage',
      `Cannot believe a root: ${given.length === 0 ? 'nothing is pinned' : 'several things are pinned'}`,
      {
        cure: 'Give one of --pin, --root-cert, --root-ca and --root-json; --trust-on-first-use believes whatever comes',
      },
    );
  }
  if (pin !== undefined) {
    const sha256 = pin.map((one) => one.replaceAll(':', '').toLowerCase());
    if (!sha256.every((one) => /^[0-9a-f]{64}$/.test(one))) {
      throw new CliError('usage', 'Cannot use --pin: it is not 64 hexadecimal digits');
    }
    return { kind: 'hash', sha256 };
  }
  if (rootJson !== undefined) return { kind: 'root', bytes: await readInput(rootJson, 'the root', MAX_ROOT_BYTES) };
  const file = rootCert ?? rootCa;
  if (file === undefined) return { kind: 'first-use' };
  const pem = Buffer.from(await readInput(file, 'the certificates', MAX_PEM_BYTES)).toString('utf8');
  const certificates = parseOr('unreadable', `the certificates ${file}`, () => parseCertificatePem(pem));
  return { kind: rootCert === undefined ? 'ca' : 'certificate', certificates: certificates.map(({ der }) => der) };
}

/** The versions in what `--json` printed before. */
async function readSeen(file: string, gun: string): Promise<Map<string, number>> {
  const refuse = (state: string) => new CliError('unreadable', `Cannot use what was seen, ${file}: ${state}`);
  const bytes = await readInput(file, 'what was seen', MAX_REPORT_BYTES);
  let report: JsonValue;
  try {
    report = parseJson(bytes, { maxLength: MAX_REPORT_BYTES });
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw refuse('it is not JSON');
  }
  const { gun: seenGun, roles } = fieldsOf(report);
  if (seenGun !== gun || !Array.isArray(roles)) throw refuse('it is not what --json said about this repository');
  return new Map(
    roles.map((role) => {
      const { name, version } = fieldsOf(role);
      if (typeof name !== 'string' || typeof version !== 'number') throw refuse('a role has no name or version');
      return [name, version];
    }),
  );
}

function fieldsOf(value: JsonValue): { readonly [name: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {};
}

function print(terminal: Terminal, { gun, root, roles, tags, targets }: NotaryRepository): void {
  const paint = style(terminal.colours.out);
  terminal.out(`${paint.good('Verified:')} ${gun}\n`);
  terminal.out(
    columns([
      ['root', `version ${root.version}${root.from === root.version ? '' : `, followed from version ${root.from}`}`],
      ['pinned', describe(root.pinned)],
    ]),
  );
  for (const { name, version, expires, threshold, keys, signedBy, paths } of roles) {
    terminal.out(`\n${paint.bold(name)}\n`);
    terminal.out(
      columns([
        ['version', String(version)],
        ['expires', expires.toISOString()],
        ['signed by', `${signedBy.map(describe).join(', ')}; ${threshold} of ${keys.length} needed`],
        ...(paths === undefined ? [] : ([['tags', describePaths(paths)]] as const)),
      ]),
    );
  }
  terminal.out(`\n${paint.bold(`What ${tags.length} tag${tags.length === 1 ? '' : 's'} mean`)}\n`);
  for (const { tag, digest, size, role, signers } of tags) {
    const by = signers.length === 0 ? '' : `, signers ${signers.join(', ')}`;
    terminal.out(`  ${printable(tag)}  ${digest}  ${size} bytes, by ${role}${by}\n`);
  }
  const told = new Set(tags.map(({ tag }) => tag));
  const silent = targets.filter(({ tag }) => !told.has(tag));
  for (const { tag, digest, role } of silent) {
    terminal.out(`  ${paint.faint(`${printable(tag)}  ${digest}  by ${role}: Docker does not read it`)}\n`);
  }
}

function describePaths(paths: readonly string[]): string {
  if (paths.length === 0) return 'none';
  return paths.includes('') ? 'all' : paths.map((path) => printable(`${path}…`)).join(', ');
}

function describe({ keyId, kind, name, notAfter }: NotarySigner): string {
  const certificate = name === undefined ? '' : ` (${printable(name)}, until ${notAfter?.toISOString() ?? '?'})`;
  return `${kind} key ${keyId}${certificate}`;
}

/** What is to be run to say the same as trusted tags. Names of tags come from strangers: each must be one, or it is left out. */
function commands({ tags }: NotaryRepository, reference: Reference): string {
  const lines = tags.map(({ tag, digest }) => {
    const named = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(tag)
      ? formatReference({ ...reference, tag, digest: digest satisfies Digest })
      : undefined;
    return named === undefined
      ? `# left out, for it is no tag: ${JSON.stringify(printable(tag))}\n`
      : `chancery tag publish ${named} "$@"\n`;
  });
  return `# Give it the options of chancery tag publish: --policy, --url, and --init the first time.\nset -e\n${lines.join('')}`;
}
