import { z } from 'zod';
import { signatureAlgorithms } from '#libs/crypto';
import type { IssuerConfig } from '#libs/identity';
import { ConfigError, readConfig } from '#libs/nest';
import { defaultClientAlgorithms } from './client-key.js';
import { parseDuration, parseRate } from './rate-limit.js';

/** A rate like `60/1m`; absent for none. */
export const rate = z
  .string()
  .transform((text, context) => {
    const parsed = parseRate(text);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: 'must be <count>/<number><s|m|h|d>, for example 60/1m' });
    return z.NEVER;
  })
  .optional();

/** A time like `10m`, in milliseconds; absent for none. */
export const duration = z
  .string()
  .transform((text, context) => {
    const parsed = parseDuration(text);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message: 'must be <number><s|m|h|d>, for example 10m' });
    return z.NEVER;
  })
  .optional();

/** Names, addresses and networks, separated by commas. */
export const privateHosts = z.string().default('').transform(commaSeparated);

/** Issuers as brokers name them, separated by commas; absent for all. Empty would be none, which is said by not configuring the broker. */
export const upstreamIssuers = z
  .string()
  .transform(commaSeparated)
  .refine((names) => names.length > 0, { error: 'names no issuer' })
  .optional();

/** A list of the issuers behind brokers where there is no broker would keep nobody out. @throws ConfigError */
export function requireBroker(
  setting: string,
  upstream: readonly string[] | undefined,
  issuers: readonly IssuerConfig[],
): void {
  if (upstream === undefined || issuers.some(({ issuerClaim }) => issuerClaim !== undefined)) return;
  throw new ConfigError([`${setting}: no configured issuer has an issuer claim, so none stands behind another`]);
}

function commaSeparated(text: string): string[] {
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

/** How many SCTs a certificate needs. */
export const ctMinimum = z.coerce.number().int().min(1).max(10).default(1);

const schema = z
  .object({
    /** Address to listen on. */
    CHANCERY_CA_HOST: z.string().default('127.0.0.1'),
    /** TCP port; 0 lets the system choose. */
    CHANCERY_CA_PORT: z.coerce.number().int().min(0).max(65535).default(8701),
    /** PEM file with the key of the issuing CA (PKCS#8, SEC1 or PKCS#1). */
    CHANCERY_CA_KEY_FILE: z.string(),
    /** File with the passphrase of that key, if it is encrypted. One line. */
    CHANCERY_CA_PASSPHRASE_FILE: z.string().optional(),
    /** PEM file with the chain: issuing CA first, root last. */
    CHANCERY_CA_CHAIN_FILE: z.string(),
    /** Issuers of identity tokens, a file in Fulcio's format (JSON or YAML). Default: Fulcio's own, the public ones. */
    CHANCERY_CA_OIDC_CONFIG: z.string().optional(),
    /** Hosts, addresses and networks (`10.0.0.0/8`) that are not public and where issuers may be all the same, separated by commas. */
    CHANCERY_CA_OIDC_PRIVATE: privateHosts,
    /** The longest time since a token's `iat`, like `10m`: what an issuer was tricked into harms only for so long. Default: as long as the token says. */
    CHANCERY_CA_OIDC_MAX_TOKEN_AGE: duration,
    /** The issuers that may stand behind a broker (an issuer with an issuer claim), separated by commas. Default: all that it names. */
    CHANCERY_CA_OIDC_UPSTREAM_ISSUERS: upstreamIssuers,
    /** Submission prefix of the CT log, without `/ct/v1`. */
    CHANCERY_CA_CT_URL: z
      .url({ protocol: /^https?$/ })
      .transform((url) => url.replace(/\/$/, ''))
      .optional(),
    /** PEM file with the public key of that CT log. */
    CHANCERY_CA_CT_KEY_FILE: z.string().optional(),
    /** More CT logs, a file (JSON or YAML): a list of `{ url, keyFile }`, or `key` with the PEM itself. */
    CHANCERY_CA_CT_LOGS_FILE: z.string().optional(),
    /** How many logs must have promised to show a certificate. It carries as many SCTs; sigstore-python reads certificates with one only. */
    CHANCERY_CA_CT_MIN: ctMinimum,
    /** Folder of the issuing record, `ca.db`: every certificate that was issued. Without it there is none. */
    CHANCERY_CA_DATA: z.string().optional(),
    /** The issuing record may come into being now. Without it, a missing one is a refusal. */
    CHANCERY_CA_CREATE: z
      .enum(['true', 'false'])
      .transform((value) => value === 'true')
      .default(false),
    /** Most certificates for one identity, `<count>/<time>` like `60/1m`. Default: no limit. */
    CHANCERY_CA_RATE_PER_IDENTITY: rate,
    /** Most certificates for all identities of one issuer. Default: no limit. */
    CHANCERY_CA_RATE_PER_ISSUER: rate,
    /** What clients may sign with: names of Sigstore's algorithm registry, separated by commas. */
    CHANCERY_CA_CLIENT_ALGORITHMS: z
      .string()
      .default(defaultClientAlgorithms.join(','))
      .transform((value) => value.split(',').map((flag) => flag.trim()))
      .refine((flags) => flags.every((flag) => signatureAlgorithms.some((algorithm) => algorithm.flag === flag)), {
        error: 'names an algorithm that the registry does not have',
      }),
  })
  .refine((config) => (config.CHANCERY_CA_CT_URL === undefined) === (config.CHANCERY_CA_CT_KEY_FILE === undefined), {
    error: 'CHANCERY_CA_CT_URL and CHANCERY_CA_CT_KEY_FILE belong together',
  })
  .refine((config) => config.CHANCERY_CA_CT_URL !== undefined || config.CHANCERY_CA_CT_LOGS_FILE !== undefined, {
    error: 'there is no CT log: give CHANCERY_CA_CT_URL and CHANCERY_CA_CT_KEY_FILE, or CHANCERY_CA_CT_LOGS_FILE',
  });

export type CaConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readCaConfig(environment: NodeJS.ProcessEnv = process.env): CaConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_CA_', known: Object.keys(schema.shape) });
}
