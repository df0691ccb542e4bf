import { readFile } from 'node:fs/promises';
import { type IssuerConfig, type IssuerKind, issuerKinds, parseFulcioConfig } from '#libs/identity';
import { ConfigError } from '#libs/nest';
import { requireBroker } from '../../ca/src/config.js';
import { type ConfiguredCtLog, readCtLogsFile } from '../../ca/src/ct-logs-file.js';
import type { StackConfig } from './config.js';

/** The development issuer gives tokens of both shapes: with an e-mail address, and like GitHub's. */
export const devKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: [],
  claims: (issuer) => {
    const shapes = (['email', 'github-workflow'] as const).map((shape) => kindOf(shape).claims(issuer));
    const names = shapes.flatMap(({ required, optional }) => [...required, ...optional]);
    return { required: [], optional: [...new Set(names)] };
  },
  principal: (token, issuer) =>
    kindOf('job_workflow_ref' in token.claims ? 'github-workflow' : 'email').principal(token, issuer),
};

function kindOf(shape: 'email' | 'github-workflow'): IssuerKind {
  const kind = issuerKinds[shape];
  if (kind === undefined) throw new Error(`There is no issuer kind ${shape}`);
  return kind;
}

export function devIssuer(url: string): IssuerConfig {
  return { issuerUrl: url, clientId: 'sigstore', type: 'dev', wildcard: false };
}

/** Whose tokens are taken. @throws ConfigError, IdentityError */
export async function readIssuers(config: StackConfig): Promise<IssuerConfig[]> {
  const issuers = await readIssuersFile(config);
  requireBroker('CHANCERY_OIDC_UPSTREAM_ISSUERS', config.CHANCERY_OIDC_UPSTREAM_ISSUERS, issuers);
  return issuers;
}

async function readIssuersFile(config: StackConfig): Promise<IssuerConfig[]> {
  const file = config.CHANCERY_OIDC_CONFIG;
  if (file !== undefined) {
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new ConfigError([`CHANCERY_OIDC_CONFIG: cannot read ${file} (${error.code ?? 'unknown'})`]);
    });
    return [...parseFulcioConfig(text)];
  }
  if (config.CHANCERY_DEV) return [];
  throw new ConfigError([
    'CHANCERY_OIDC_CONFIG: nobody could get a certificate; name a file with the issuers of identity tokens (--oidc-config), or try things out with --dev',
  ]);
}

/** The CT logs beside our own. @throws ConfigError */
export async function readCtLogs(config: StackConfig): Promise<readonly ConfiguredCtLog[]> {
  const file = config.CHANCERY_CT_LOGS;
  const logs = file === undefined ? [] : await readCtLogsFile('CHANCERY_CT_LOGS', file);
  const working = 1 + logs.filter(({ retired }) => !retired).length;
  if (config.CHANCERY_CT_MIN > working) {
    throw new ConfigError([`CHANCERY_CT_MIN: ${config.CHANCERY_CT_MIN} SCTs of ${working} CT logs cannot be had`]);
  }
  return logs;
}

/** Where the development issuer is, if there is one. */
export function devIssuerUrl(config: StackConfig): string | undefined {
  return config.CHANCERY_DEV ? `http://${hostInUrl(config.CHANCERY_HOST)}:${config.CHANCERY_PORT}/dev/oidc` : undefined;
}

/** The issuers that the signing config names: where a client can go for a token. Nobody can go to a pattern. */
export function issuerUrls(config: StackConfig, issuers: readonly IssuerConfig[]): string[] {
  const devUrl = devIssuerUrl(config);
  const exact = issuers.filter(({ wildcard }) => !wildcard).map(({ issuerUrl }) => issuerUrl);
  return [...exact, ...(devUrl === undefined ? [] : [devUrl])];
}

/** Under which URL clients reach this server; no trailing slash. */
export function baseUrl(config: StackConfig): string {
  const given = config.CHANCERY_URL?.replace(/\/+$/, '');
  return given ?? `http://${hostInUrl(config.CHANCERY_HOST)}:${config.CHANCERY_PORT}`;
}

function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
