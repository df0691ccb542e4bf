import { z } from 'zod';
import { readConfig } from '#libs/nest';

const schema = z.object({
  /** Address to listen on. */
  CHANCERY_TRUST_HOST: z.string().default('127.0.0.1'),
  /** TCP port; 0 lets the system choose. */
  CHANCERY_TRUST_PORT: z.coerce.number().int().min(0).max(65535).default(8705),
  /** The trusted root to serve, as `chancery trust export` writes it. */
  CHANCERY_TRUST_ROOT_FILE: z.string(),
  /** The signing config to serve, as `chancery trust export` writes it. */
  CHANCERY_TRUST_SIGNING_CONFIG_FILE: z.string(),
});

export type TrustConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readTrustConfig(environment: NodeJS.ProcessEnv = process.env): TrustConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_TRUST_', known: Object.keys(schema.shape) });
}
