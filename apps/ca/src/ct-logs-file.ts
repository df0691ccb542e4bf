import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { CryptoError, parsePublicKeyPem, type PublicKey } from '#libs/crypto';
import { ConfigError } from '#libs/nest';

/** A CT log of somebody else. */
export interface ConfiguredCtLog {
  /** Submission prefix, without `/ct/v1` and without trailing slash. */
  readonly url: string;
  readonly key: PublicKey;
  /** Nothing is submitted any more, but what it promised is still believed. */
  readonly retired: boolean;
}

const schema = z
  .array(
    z
      .strictObject({
        /** Submission prefix, without `/ct/v1`. */
        url: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, '')),
        /** PEM file with the log's public key; relative to the file that names it. */
        keyFile: z.string().optional(),
        /** The PEM itself, instead. */
        key: z.string().optional(),
        /** Nothing is submitted to it any more; trust material still names it, for the certificates of before. */
        retired: z.boolean().default(false),
      })
      .refine(({ key, keyFile }) => (key === undefined) !== (keyFile === undefined), {
        error: 'needs one of keyFile and key',
      }),
  )
  .min(1)
  .max(16);

/**
 * Reads a list of CT logs, JSON or YAML. `setting`: how the file came to be named, for messages.
 * @throws ConfigError with every problem
 */
export async function readCtLogsFile(setting: string, file: string): Promise<readonly ConfiguredCtLog[]> {
  const text = await readText(setting, file);
  let value: unknown;
  try {
    value = parseYaml(text, { maxAliasCount: 0 });
  } catch {
    throw new ConfigError([`${setting}: ${file} is neither JSON nor YAML`]);
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    throw new ConfigError(
      result.error.issues.map(
        (issue) => `${setting}: ${file}: ${issue.path.join('.') || 'the list'}: ${issue.message}`,
      ),
    );
  }
  return Promise.all(
    result.data.map(async ({ url, key, keyFile, retired }) => {
      const pem = key ?? (await readText(setting, resolve(dirname(file), keyFile ?? '')));
      return { url, key: parseCtLogKey(setting, url, pem), retired };
    }),
  );
}

/** The key of a log: P-256, or RSA of at least 2048 bits (RFC 6962 §2.1.4). @throws ConfigError */
export function parseCtLogKey(setting: string, url: string, pem: string): PublicKey {
  let key: PublicKey;
  try {
    key = parsePublicKeyPem(pem);
  } catch (error) {
    if (!(error instanceof CryptoError)) throw error;
    throw new ConfigError([`${setting}: the key of ${url} is not a public key in PEM`]);
  }
  const { type } = key;
  const isUsable = (type.kind === 'ecdsa' && type.curve === 'P-256') || (type.kind === 'rsa' && type.bits >= 2048);
  if (!isUsable) throw new ConfigError([`${setting}: the key of ${url} is neither P-256 nor RSA of 2048 bits or more`]);
  return key;
}

async function readText(setting: string, file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new ConfigError([`${setting}: cannot read ${file} (${error.code ?? 'unknown'})`]);
  });
}
