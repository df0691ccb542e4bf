import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { parseArtifactDigest, type Artifact } from '#libs/verify';
import { CliError } from './exit.js';
import { exists, fileReason } from './files.js';

/**
 * What a command line names: a file, whatever it is called; else, spelled `sha256:<64 hex digits>`, a digest.
 * @throws CliError `unreadable` if it is neither
 */
export async function openArtifact(name: string): Promise<Artifact> {
  if (!(await exists(name))) {
    const digest = /^sha256:[0-9a-fA-F]{64}$/.test(name) ? parseArtifactDigest(name) : undefined;
    if (digest !== undefined) return digest;
    throw new CliError('unreadable', `Cannot read ${name}: there is no such file`, {
      cure: name.startsWith('sha256:') ? 'A digest is sha256: and exactly 64 hex digits' : 'Check the name of the file',
    });
  }
  return {
    digest: (algorithm) => orUnreadable(name, () => hashFile(name, algorithm)),
    bytes: () => orUnreadable(name, () => readFile(name)),
  };
}

async function hashFile(path: string, algorithm: string): Promise<Uint8Array> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) hash.update(chunk as Uint8Array);
  return hash.digest();
}

async function orUnreadable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new CliError('unreadable', `Cannot read ${path}: ${fileReason(cause)}`, { cause });
  }
}
