import { z } from 'zod';
import { signatureAlgorithms } from '#libs/crypto';
import { readConfig } from '#libs/nest';
import { defaultClientAlgorithms } from './client-key.js';

const schema = z.object({
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
  /** Submission prefix of the CT log, without `/ct/v1`. */
  CHANCERY_CA_CT_URL: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/$/, '')),
  /** PEM file with the public key of the CT log. */
  CHANCERY_CA_CT_KEY_FILE: z.string(),
  /** What clients may sign with: names of Sigstore's algorithm registry, separated by commas. */
  CHANCERY_CA_CLIENT_ALGORITHMS: z
    .string()
    .default(defaultClientAlgorithms.join(','))
    .transform((value) => value.split(',').map((flag) => flag.trim()))
    .refine((flags) => flags.every((flag) => signatureAlgorithms.some((algorithm) => algorithm.flag === flag)), {
      error: 'names an algorithm that the registry does not have',
    }),
});

export type CaConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readCaConfig(environment: NodeJS.ProcessEnv = process.env): CaConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_CA_', known: Object.keys(schema.shape) });
}
