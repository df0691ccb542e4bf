import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chancery, executable, timeProcess } from './process.js';
import { below, note, say } from './rows.js';
import type { Server } from './server.js';

/** The verifier as a whole process, beside a process of Node that does nothing. */
export async function measureVerify(server: Server, folder: string): Promise<void> {
  say('chancery verify, whole process');
  const file = join(folder, 'artifact');
  await writeFile(file, 'what is signed');
  const body = '{"email":"bench@example.com"}';
  const response = await fetch(`${server.url}/dev/oidc/token`, { method: 'POST', body });
  const { id_token: token } = (await response.json()) as { id_token: string };
  chancery(['sign', file, '--url', server.url, '--identity-token', token, '--bundle', `${file}.json`]);
  chancery(['trust', 'export', '--url', server.url, '--out', join(folder, 'trust')]);
  const bare = timeProcess(['-e', '0']);
  const verifying = timeProcess([
    ...[executable, 'verify', file, '--bundle', `${file}.json`],
    ...['--trusted-root', join(folder, 'trust', 'trusted_root.json')],
    ...['--certificate-identity', 'bench@example.com', '--certificate-oidc-issuer', `${server.url}/dev/oidc`],
  ]);
  note('node -e 0', bare, 'ms');
  below('chancery verify', verifying, 'ms', 2.5 * bare + 100);
}
