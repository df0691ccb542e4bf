import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { readConfig } from '#libs/nest';
import { ctMinimum, duration, privateHosts, rate, upstreamIssuers } from '../../ca/src/config.js';

const flag = z.enum(['true', 'false']).transform((value) => value === 'true');

const schema = z.object({
  /** Address to listen on. */
  CHANCERY_HOST: z.string().default('127.0.0.1'),
  /** TCP port of everything. */
  CHANCERY_PORT: z.coerce.number().int().min(1).max(65535).default(8700),
  /** Folder with the database, the tiles and the keys. Created if it does not exist. */
  CHANCERY_DATA: z.string().default('data'),
  /** Base URL under which clients reach this server; default: http://<host>:<port>. Its host names the log at creation. */
  CHANCERY_URL: z.url({ protocol: /^https?$/ }).optional(),
  /** Organization in the names of the certificates made at creation. */
  CHANCERY_ORGANIZATION: z.string().min(1).max(64).default('chancery'),
  /** Issuers of identity tokens, a file in Fulcio's format (JSON or YAML). */
  CHANCERY_OIDC_CONFIG: z.string().optional(),
  /** Hosts, addresses and networks (`10.0.0.0/8`) that are not public and where issuers may be all the same, separated by commas. */
  CHANCERY_OIDC_PRIVATE: privateHosts,
  /** The longest time since a token's `iat`, like `10m`: what an issuer was tricked into harms only for so long. Default: as long as the token says. */
  CHANCERY_OIDC_MAX_TOKEN_AGE: duration,
  /** The issuers that may stand behind a broker (an issuer with an issuer claim), separated by commas. Default: all that it names. */
  CHANCERY_OIDC_UPSTREAM_ISSUERS: upstreamIssuers,
  /** Most certificates for one identity, `<count>/<time>` like `60/1m`. Default: no limit. */
  CHANCERY_CA_RATE_PER_IDENTITY: rate,
  /** Most certificates for all identities of one issuer. Default: no limit. */
  CHANCERY_CA_RATE_PER_ISSUER: rate,
  /** CT logs beside our own, a file (JSON or YAML): a list of `{ url, keyFile }`, or `key` with the PEM itself. */
  CHANCERY_CT_LOGS: z.string().optional(),
  /** How many logs must have promised to show a certificate. It carries as many SCTs; sigstore-python reads certificates with one only. */
  CHANCERY_CT_MIN: ctMinimum,
  /** Adds an OIDC issuer under /dev/oidc that gives a token to anyone who asks. Loopback only. */
  CHANCERY_DEV: flag.default(false),
  /** What a repeated log entry gets: the receipt of the first (201) or a conflict (409) as upstream. */
  CHANCERY_LOG_DUPLICATES: z.enum(['receipt', 'conflict']).default('receipt'),
  /** Take `dsse` 0.0.2 log entries, which sigstore-js 4 sends for attestations. */
  CHANCERY_LOG_DSSE: flag.default(true),
  /** Keep the statements of `intoto` entries of Rekor v1 beside the log, and hand them out with the entries. */
  CHANCERY_LOG_ATTESTATIONS: flag.default(false),
  /** Longer statements are not kept, bytes. */
  CHANCERY_LOG_MAX_ATTESTATION_SIZE: z.coerce
    .number()
    .int()
    .min(0)
    .max(1 << 22)
    .default(102_400),
  /** Threads that verify signatures beside the one that serves; 0 verifies there. Default: one less than there are cores, 1 to 4. */
  CHANCERY_VERIFY_THREADS: z.coerce
    .number()
    .int()
    .min(0)
    .max(64)
    .default(() => Math.min(4, Math.max(1, availableParallelism() - 1))),
  /** Lines of JSON, or text for a person. */
  CHANCERY_LOG_FORMAT: z.enum(['json', 'text']).optional(),
});

export type StackConfig = Readonly<z.infer<typeof schema>>;

/** What the command line gives; it wins over the environment. */
export interface StackOptions {
  readonly host?: string | undefined;
  readonly port?: string | undefined;
  readonly data?: string | undefined;
  readonly url?: string | undefined;
  readonly oidcConfig?: string | undefined;
  readonly dev?: boolean | undefined;
}

/** @throws ConfigError with every problem */
export function readStackConfig(options: StackOptions = {}, environment: NodeJS.ProcessEnv = process.env): StackConfig {
  const settings = {
    ...environment,
    ...(options.host !== undefined && { CHANCERY_HOST: options.host }),
    ...(options.port !== undefined && { CHANCERY_PORT: options.port }),
    ...(options.data !== undefined && { CHANCERY_DATA: options.data }),
    ...(options.url !== undefined && { CHANCERY_URL: options.url }),
    ...(options.oidcConfig !== undefined && { CHANCERY_OIDC_CONFIG: options.oidcConfig }),
    ...(options.dev === true && { CHANCERY_DEV: 'true' }),
  };
  return readConfig(schema, settings, { prefix: 'CHANCERY_', known: Object.keys(schema.shape) });
}
