import { z } from 'zod';
import { readConfig } from '#libs/nest';

const flag = z.enum(['true', 'false']).transform((value) => value === 'true');

const fields = z.object({
  /** Address to listen on. */
  CHANCERY_LOG_HOST: z.string().default('127.0.0.1'),
  /** TCP port; 0 lets the system choose. */
  CHANCERY_LOG_PORT: z.coerce.number().int().min(0).max(65535).default(8702),
  /** Folder with the database and the tiles. */
  CHANCERY_LOG_DATA: z.string(),
  /** PEM file with the Ed25519 key that signs checkpoints. */
  CHANCERY_LOG_KEY_FILE: z.string(),
  /** The log's name in its checkpoints, for ever: the host name that clients know it by, without port. */
  CHANCERY_LOG_ORIGIN: z.string().regex(/^[^\s+/]+$/),
  /** The log may come into being now. Without it, a missing database is a refusal. */
  CHANCERY_LOG_CREATE: flag.default(false),
  /** What a repeated entry gets: the receipt of the first (201) or a conflict (409) as upstream. */
  CHANCERY_LOG_DUPLICATES: z.enum(['receipt', 'conflict']).default('receipt'),
  /** Take `dsse` 0.0.2 entries, which sigstore-js 4 sends for attestations. */
  CHANCERY_LOG_DSSE: flag.default(true),
  /** Threads that verify signatures beside the one that serves; 0 verifies there. */
  CHANCERY_LOG_VERIFY_THREADS: z.coerce.number().int().min(0).max(64).default(1),
  /** PEM file with the P-256 key of the second tree, which speaks Rekor v1. Without it there is none. */
  CHANCERY_LOG_V1_KEY_FILE: z.string().optional(),
  /** The host name in the second tree's checkpoints, for ever. */
  CHANCERY_LOG_V1_HOSTNAME: z
    .string()
    .regex(/^[^\s+/]+$/)
    .optional(),
  /** The second tree's ID, for ever: decimal, 1 to 2^63-1, best drawn at random. */
  CHANCERY_LOG_V1_TREE_ID: z
    .string()
    .regex(/^[1-9][0-9]{0,18}$/)
    .transform(BigInt)
    .refine((id) => id < 1n << 63n, 'must be below 2^63')
    .optional(),
  /** Keep the statements of `intoto` entries beside the second tree, and hand them out with the entries. */
  CHANCERY_LOG_V1_ATTESTATIONS: flag.default(false),
  /** Longer statements are not kept, bytes. */
  CHANCERY_LOG_V1_MAX_ATTESTATION_SIZE: z.coerce
    .number()
    .int()
    .min(0)
    .max(1 << 22)
    .default(102_400),
});

const schema = fields.superRefine((config, context) => {
  if (config.CHANCERY_LOG_V1_KEY_FILE === undefined) return;
  for (const name of ['CHANCERY_LOG_V1_HOSTNAME', 'CHANCERY_LOG_V1_TREE_ID'] as const) {
    if (config[name] !== undefined) continue;
    context.addIssue({ code: 'custom', path: [name], message: 'is needed with CHANCERY_LOG_V1_KEY_FILE' });
  }
});

export type LogConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readLogConfig(environment: NodeJS.ProcessEnv = process.env): LogConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_LOG_', known: Object.keys(fields.shape) });
}
