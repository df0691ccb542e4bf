import { z } from 'zod';
import { readConfig } from '#libs/nest';

const flag = z.enum(['true', 'false']).transform((value) => value === 'true');

const schema = z.object({
  /** Address to listen on. */
  CHANCERY_CT_HOST: z.string().default('127.0.0.1'),
  /** TCP port; 0 lets the system choose. */
  CHANCERY_CT_PORT: z.coerce.number().int().min(0).max(65535).default(8703),
  /** Folder with the database, the tiles and the issuers' certificates. */
  CHANCERY_CT_DATA: z.string(),
  /** PEM file with the P-256 key that signs SCTs and tree heads. */
  CHANCERY_CT_KEY_FILE: z.string(),
  /** PEM file with the roots whose certificates are taken. */
  CHANCERY_CT_ROOTS_FILE: z.string(),
  /** Base URL of the log, its submission prefix, without trailing slash. Without its scheme it is the log's origin, for ever. */
  CHANCERY_CT_URL: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, '')),
  /** The log may come into being now. Without it, a missing database is a refusal. */
  CHANCERY_CT_CREATE: flag.default(false),
});

export type CtConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readCtConfig(environment: NodeJS.ProcessEnv = process.env): CtConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_CT_', known: Object.keys(schema.shape) });
}
