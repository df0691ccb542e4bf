import { z } from 'zod';
import { readConfig } from '#libs/nest';
import { defaultPolicy } from './issue.js';

const flag = z.enum(['true', 'false']).transform((value) => value === 'true');

const schema = z.object({
  /** Address to listen on. */
  CHANCERY_TSA_HOST: z.string().default('127.0.0.1'),
  /** TCP port; 0 lets the system choose. */
  CHANCERY_TSA_PORT: z.coerce.number().int().min(0).max(65535).default(8704),
  /** PEM file with the signing key (PKCS#8, SEC1 or PKCS#1). */
  CHANCERY_TSA_KEY_FILE: z.string(),
  /** PEM file with the chain: signing certificate first, root last. */
  CHANCERY_TSA_CHAIN_FILE: z.string(),
  /** Policies that a request may name, separated by commas. */
  CHANCERY_TSA_POLICIES: z
    .string()
    .default(defaultPolicy)
    .transform((value) => value.split(',').map((oid) => oid.trim())),
  /** Whole chain in each token that asks for certificates, instead of the signing certificate alone. */
  CHANCERY_TSA_INCLUDE_CHAIN: flag.default(false),
  /** Answer 201 instead of 200, for clients that want it. */
  CHANCERY_TSA_HTTP_201: flag.default(false),
});

export type TsaConfig = Readonly<z.infer<typeof schema>>;

/** @throws ConfigError with every problem */
export function readTsaConfig(environment: NodeJS.ProcessEnv = process.env): TsaConfig {
  return readConfig(schema, environment, { prefix: 'CHANCERY_TSA_', known: Object.keys(schema.shape) });
}
