import { Buffer } from 'node:buffer';
import process from 'node:process';
import {
  builtInIssuers,
  createIssuerFetch,
  explainToken,
  IdentityError,
  type IssuerConfig,
  type IssuerFetch,
  parseFulcioConfig,
  type Principal,
  TOKEN_LIMIT,
  type TokenCheck,
  type TokenExplanation,
} from '#libs/identity';
import { encodeFulcioExtensions, fulcioExtensionNumber, X509Error } from '#libs/x509';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { exists, readInput } from './files.js';
import { columns, jsonText, printable, style } from './style.js';

export interface ExplainTokenOptions {
  /** A file with issuers, as Fulcio has it; without it the issuers that a CA accepts by itself. */
  config?: string;
  /** Do not fetch the issuer's keys: the signature is not checked. */
  offline?: boolean;
  json?: boolean;
  /** Host names, addresses and networks that keys may be fetched from although they are not public. */
  allowPrivate?: string[];
  /** The longest time since `iat`, like `10m`, as CHANCERY_OIDC_MAX_TOKEN_AGE. */
  maxTokenAge?: string;
  /** The issuers that may stand behind a broker, as CHANCERY_OIDC_UPSTREAM_ISSUERS. */
  upstreamIssuer?: string[];
}

const CONFIG_LIMIT = 1024 * 1024;
/** A file may have a line feed after the token. */
const TOKEN_FILE_LIMIT = TOKEN_LIMIT + 16;

/**
 * `ca explain-token`: what a CA with these issuers would make of a token, and what its certificate would say. The token is not sent to anybody, and
 * never printed. `input`: what `-` reads.
 */
export async function explainTokenCommand(
  terminal: Terminal,
  token: string,
  options: ExplainTokenOptions = {},
  input: AsyncIterable<Uint8Array | string> = process.stdin,
): Promise<ExitCode> {
  const compact = await readToken(token, input);
  const explanation = await explain(terminal, compact, options);
  const certificate = explanation.principal === undefined ? undefined : describeCertificate(explanation.principal);
  if (options.json) terminal.out(jsonText(toJson(explanation, certificate)));
  else terminal.out(toText(explanation, certificate, terminal));
  return exitOf(explanation, certificate);
}

async function explain(terminal: Terminal, token: string, options: ExplainTokenOptions): Promise<TokenExplanation> {
  const now = () => new Date(terminal.now());
  const { upstreamIssuer: upstreamIssuers, maxTokenAge } = options;
  const maxTokenAgeMs = maxTokenAge === undefined ? undefined : readAge(maxTokenAge);
  let fetch: IssuerFetch | undefined;
  try {
    const issuers = await readIssuers(options.config);
    if (upstreamIssuers !== undefined && !issuers.some(({ issuerClaim }) => issuerClaim !== undefined)) {
      // A CA with these settings does not start.
      throw new CliError('usage', 'Cannot use --upstream-issuer: no configured issuer has an issuer claim');
    }
    const allowPrivate = options.allowPrivate ?? [];
    if (!options.offline) {
      const warn = (message: string, { file = '' }: Readonly<Record<string, string>>) =>
        terminal.err(`${style(terminal.colours.err).warn('warning:')} ${printable(`${message} (${file})`)}\n`);
      fetch = createIssuerFetch({ issuers, allowPrivate, warn });
    }
    return await explainToken(token, { issuers, fetch, now, maxTokenAgeMs, upstreamIssuers });
  } catch (cause) {
    // What is no token, and what is no configuration: everything else is in the explanation.
    if (!(cause instanceof IdentityError)) throw cause;
    throw new CliError('unreadable', cause.message, { cause, code: cause.code });
  } finally {
    await fetch?.close();
  }
}

const unitsMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

function readAge(text: string): number {
  const [, count, unit = ''] = /^([1-9]\d{0,4})([smhd])$/.exec(text) ?? [];
  const unitMs = unitsMs[unit];
  if (unitMs !== undefined) return Number(count) * unitMs;
  throw new CliError('usage', `Cannot read --max-token-age ${text}: expected <number><s|m|h|d>, for example 10m`);
}

async function readIssuers(file: string | undefined): Promise<readonly IssuerConfig[]> {
  if (file === undefined) return builtInIssuers;
  const content = Buffer.from(await readInput(file, 'the issuer configuration', CONFIG_LIMIT)).toString('utf8');
  return parseFulcioConfig(content);
}

/** The token itself, a file that has it, or `-` for standard input. No message repeats what was given: it may be a token. */
async function readToken(given: string, input: AsyncIterable<Uint8Array | string>): Promise<string> {
  if (given === '-') return (await readAll(input)).trim();
  const isToken = /^[\w-]+\.[\w-]+\.[\w-]*$/.test(given);
  if (isToken && !(given.length < 1024 && (await exists(given)))) return given;
  if (given === '' || given.length > 4096 || !(await exists(given))) {
    throw new CliError(
      'unreadable',
      'Cannot read the token: what was given is neither a token nor the name of a file',
      {
        cure: 'Give a compact JWT (three parts with dots between them), a file that contains one, or - for standard input',
      },
    );
  }
  return Buffer.from(await readInput(given, 'the token in', TOKEN_FILE_LIMIT))
    .toString('utf8')
    .trim();
}

async function readAll(input: AsyncIterable<Uint8Array | string>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > TOKEN_FILE_LIMIT) {
      throw new CliError('unreadable', `Cannot read the token from standard input: more than ${TOKEN_LIMIT} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** What a certificate would say of its holder. */
interface CertificateText {
  readonly subjectAlternativeName: { readonly type: string; readonly value: string };
  readonly extensions: readonly { readonly oid: string; readonly name: string; readonly value: string }[];
  /** Why it cannot be made. */
  readonly problem?: string;
}

const nameTypes = { email: 'rfc822Name', uri: 'uniformResourceIdentifier', 'other-name': 'otherName' } as const;

function describeCertificate(principal: Principal): CertificateText {
  const { san } = principal;
  const type = san.kind === 'other-name' ? `${nameTypes[san.kind]} ${san.oid}` : nameTypes[san.kind];
  const subjectAlternativeName = { type, value: san.value };
  const { issuer, subject } = principal;
  const values = { ...principal.extensions, issuer, subject };
  try {
    const extensions = Object.entries(values).flatMap(([name, value]) =>
      // One by one, to learn the numbers of each. Without an issuer nothing is encoded.
      encodeFulcioExtensions({ issuer, [name]: value }).flatMap((extension) => {
        const number = fulcioExtensionNumber(extension.oid);
        if (number === undefined || issuerNumbers.has(number) !== (name === 'issuer')) return [];
        return [{ number, oid: extension.oid, name, value }];
      }),
    );
    extensions.sort((a, b) => a.number - b.number);
    return {
      subjectAlternativeName,
      extensions: extensions.map(({ oid, name, value }) => ({ oid, name, value })),
    };
  } catch (error) {
    if (!(error instanceof X509Error)) throw error;
    return { subjectAlternativeName, extensions: [], problem: error.message };
  }
}

/** Fulcio's registry has the issuer twice: 1 as bare bytes, 8 as a UTF8String. */
const issuerNumbers: ReadonlySet<number> = new Set([1, 8]);

const keysUnreachable: ReadonlySet<string> = new Set(['IDENTITY_DISCOVERY', 'IDENTITY_JWKS', 'IDENTITY_BUSY']);

function exitOf({ checks }: TokenExplanation, certificate: CertificateText | undefined): ExitCode {
  const failed = checks.filter(({ ok }) => ok === false);
  const signature = failed.find(({ name }) => name === 'signature');
  const unreachable = signature?.code !== undefined && keysUnreachable.has(signature.code);
  if (signature !== undefined && !unreachable) return exitCodes.failed;
  if (failed.some(({ name }) => name !== 'signature') || certificate?.problem !== undefined) return exitCodes.refused;
  return unreachable ? exitCodes.network : exitCodes.ok;
}

function verdictOf(explanation: TokenExplanation, certificate: CertificateText | undefined): string {
  const exit = exitOf(explanation, certificate);
  if (exit === exitCodes.network) return "could not tell: the issuer's keys cannot be fetched";
  if (exit !== exitCodes.ok) return 'no certificate: the CA would refuse this token';
  const unchecked = explanation.checks.some(({ name, ok }) => name === 'signature' && ok === 'skipped');
  return unchecked
    ? 'a certificate, if the signature is good: it was not checked'
    : 'a certificate: the CA would accept this token';
}

function toJson(explanation: TokenExplanation, certificate: CertificateText | undefined): object {
  const { issuer, match, checks, claims } = explanation;
  const { code, verdict } = { code: exitOf(explanation, certificate), verdict: verdictOf(explanation, certificate) };
  return {
    ok: code === exitCodes.ok,
    verdict,
    issuer,
    match:
      match === undefined
        ? null
        : {
            issuerUrl: match.config.issuerUrl,
            by: match.by,
            type: match.config.type,
            clientId: match.config.clientId,
            challengeClaim: match.config.challengeClaim,
          },
    checks,
    claims,
    certificate: certificate ?? null,
  };
}

function toText(
  explanation: TokenExplanation,
  certificate: CertificateText | undefined,
  { colours }: Terminal,
): string {
  const paint = style(colours.out);
  const exit = exitOf(explanation, certificate);
  const { match, checks, claims } = explanation;
  const verdict = (exit === exitCodes.ok ? paint.good : paint.bad)(verdictOf(explanation, certificate));
  const sections: (readonly [string, readonly (readonly [string, string])[]])[] = [
    [
      'issuer',
      [
        ['named by the token', printable(explanation.issuer)],
        [
          'matched',
          match === undefined
            ? 'no issuer of the configuration'
            : `${printable(match.config.issuerUrl)} (${match.by === 'pattern' ? 'a pattern' : 'exactly'})`,
        ],
        ...(match === undefined
          ? []
          : ([
              ['type', printable(match.config.type)],
              ['proof of possession over', printable(match.config.challengeClaim)],
            ] as const)),
      ],
    ],
    ['checks', checks.map((check) => [check.name, checkText(check, paint)] as const)],
    ['claims used', claims.used.map(({ name, value }) => [printable(name), printable(value)] as const)],
    ['claims missing', claims.missing.map((name) => [printable(name), paint.bad('needed')] as const)],
    ['claims not used', claims.unused.length === 0 ? [] : [[printable(claims.unused.join(', ')), '']]],
    ['certificate', certificate === undefined ? [] : certificateRows(certificate, paint)],
  ];
  const text = sections
    .filter(([, rows]) => rows.length > 0)
    .map(([title, rows]) => `${paint.bold(title)}\n${columns(rows).replace(/ +$/gm, '')}`);
  return `${verdict}\n${text.join('')}`;
}

function checkText({ name, ok, found, expected, message }: TokenCheck, paint: ReturnType<typeof style>): string {
  const state = ok === 'skipped' ? paint.warn('skipped') : ok ? paint.good('ok') : paint.bad('failed');
  const sides = [found === undefined ? '' : `found ${found}`, expected === undefined ? '' : `expected ${expected}`];
  // What failed or was skipped says why, which has both sides already; but for an issuer it does not list the others.
  const others = ok === false && name === 'issuer' ? `, expected ${expected ?? 'none'}` : '';
  const text = ok === true ? sides.filter((side) => side !== '').join(', ') : `${message ?? ''}${others}`;
  return text === '' ? state : `${state}: ${printable(text)}`;
}

function certificateRows(certificate: CertificateText, paint: ReturnType<typeof style>): (readonly [string, string])[] {
  const { subjectAlternativeName: san, extensions, problem } = certificate;
  const width = Math.max(...extensions.map(({ name }) => name.length), san.type.length);
  return [
    ['2.5.29.17', `${san.type.padEnd(width)}  ${printable(san.value)}`],
    ...extensions.map(({ oid, name, value }) => [oid, `${name.padEnd(width)}  ${printable(value)}`] as const),
    ...(problem === undefined ? [] : [['problem', paint.bad(printable(problem))] as const]),
  ];
}
