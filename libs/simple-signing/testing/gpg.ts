/** GnuPG with a home folder of its own, and skopeo beside it: for showing that others read what we write, and we what they write. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const hasGpg = spawnSync('gpg', ['--version']).status === 0;
export const hasSkopeo = spawnSync('skopeo', ['--version']).status === 0;

export interface GpgHome {
  readonly env: NodeJS.ProcessEnv;
  readonly passphrase: string;
  /** Runs gpg; what it writes to stdout. */
  gpg(...args: string[]): Buffer;
  /** Makes a key that signs, under the passphrase. Returns its fingerprint. */
  generate(name: string, expires?: string): string;
  /** Ends the agent and removes the folder. */
  close(): void;
}

export function createGpgHome(): GpgHome {
  // Short: the agent's socket is in it, and its path has a limit.
  const home = mkdtempSync(join(tmpdir(), 'gpg-'));
  const passphrase = 'correct horse';
  const env = { PATH: process.env['PATH'] ?? '', HOME: home, GNUPGHOME: home, LC_ALL: 'C.UTF-8' };
  writeFileSync(join(home, 'passphrase'), passphrase);
  // Else the agent makes every use of a passphrase take a good part of a second.
  writeFileSync(join(home, 'gpg-agent.conf'), 's2k-count 65536\n');
  const gpg = (...args: string[]): Buffer =>
    execFileSync(
      'gpg',
      ['--batch', '--quiet', '--pinentry-mode', 'loopback', '--passphrase-file', join(home, 'passphrase'), ...args],
      {
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
  return {
    env,
    passphrase,
    gpg,
    generate: (name, expires = '0') => {
      gpg('--quick-generate-key', name, 'ed25519', 'sign', expires);
      const fingerprint = /^fpr:{9}([0-9A-F]{40}):/m.exec(
        gpg('--with-colons', '--list-keys', `=${name}`).toString(),
      )?.[1];
      if (fingerprint === undefined) throw new Error('gpg made no key');
      return fingerprint;
    },
    close: () => {
      spawnSync('gpgconf', ['--kill', 'all'], { env });
      rmSync(home, { recursive: true, force: true });
    },
  };
}
