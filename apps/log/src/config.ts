import { z } from 'zod';
import { readConfig } from '#libs/nest';

const flag = z.enum(['true', 'false']).transform((value) => value === 'true');

const schema = z.object({
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
});

export type LogConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readLogConfig(environment: NodeJS.ProcessEnv = process.env): LogConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_LOG_', known: Object.keys(schema.shape) });
}
