import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodePem } from '#libs/encoding';
import { leafHash } from '#libs/merkle';
import { loadSigner, sha256 } from '#libs/openssl';
import { recordKeysV1 } from '#libs/search';
import { encodeAnnexedEntry, folderObjects, openSqlStore, type Tree } from '#libs/tlog';
import { openLogTree, openLogV1Tree } from '../../apps/log/src/tree.js';
import { signatureSource } from './requests.js';
import { startServer } from './server.js';

const noAnnex = new Uint8Array();

/** Identities among the entries of a filled v1 tree. */
export const benchEmails = 2000;
export const benchEmail = (n: number): string => `user${n % benchEmails}@example.com`;

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('No port');
  return address.port;
}

/** A new instance, made by the real server, and stopped again. */
export async function newInstance(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'chancery-bench-'));
  const server = await startServer({ port: await freePort(), folder });
  await server.stop();
  return folder;
}

/** Fills the v2 tree of a stopped instance through the engine: the entries need no valid signature to be in the way. */
export async function fillLog(folder: string, count: number, say: (text: string) => void): Promise<void> {
  // As large as a real entry with a certificate.
  const padding = randomBytes(900).toString('base64');
  await filling(folder, 'log', count, say, () => ({
    entry: new Uint8Array(Buffer.from(`${randomBytes(16).toString('hex')}${padding}`)),
  }));
}

/**
 * Fills the v1 tree with entries as clients make them, with their search keys: certificates of 2000 identities, each time with another serial number, over
 * digests that are all different. The signatures are random bytes: nobody looks at them again.
 */
export async function fillRekor1(folder: string, count: number, say: (text: string) => void): Promise<void> {
  const source = await signatureSource(benchEmail);
  const certificates = Array.from({ length: Math.min(count, benchEmails) }, (_, n) => source(n).certificate);
  await filling(folder, 'log-v1', count, say, (n) => {
    const certificate = Buffer.from(certificates[n % certificates.length] ?? Buffer.alloc(0));
    // SEQUENCE (4 bytes) { TBSCertificate SEQUENCE (4) { [0] version (5), INTEGER tag and length (2), twenty bytes
    randomBytes(19).copy(certificate, 4 + 4 + 5 + 2 + 1);
    const pem = Buffer.from(encodePem('CERTIFICATE', certificate)).toString('base64');
    const content = randomBytes(70).toString('base64');
    const hash = `{"algorithm":"sha256","value":"${randomBytes(32).toString('hex')}"}`;
    const signature = `{"content":"${content}","publicKey":{"content":"${pem}"}}`;
    const body = `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":${hash}},"signature":${signature}}}`;
    const entry = new Uint8Array(Buffer.from(body));
    return { entry, keys: recordKeysV1(encodeAnnexedEntry({ timestampMs: 0n, annex: noAnnex, entry })) };
  });
}

async function filling(
  folder: string,
  name: 'log' | 'log-v1',
  count: number,
  say: (text: string) => void,
  make: (n: number) => { entry: Uint8Array; keys?: readonly string[] },
): Promise<void> {
  const store = await openSqlStore({ file: join(folder, 'chancery.db') });
  const tree = await openInstanceTree(folder, name, store);
  const started = performance.now();
  for (let done = 0; done < count;) {
    const size = Math.min(512, count - done);
    await Promise.all(
      Array.from({ length: size }, (_, n) => {
        const { entry, keys } = make(done + n);
        return tree.add({
          identity: leafHash(sha256, entry),
          encode: (_index, timestampMs) => encodeAnnexedEntry({ timestampMs, annex: noAnnex, entry }),
          ...(keys && { keys }),
        });
      }),
    );
    done += size;
    if (done % 102_400 < 512)
      say(`  ${done} of ${count} entries, ${Math.round((performance.now() - started) / 1000)} s`);
  }
  await tree.close();
  await store.close();
}

async function openInstanceTree(
  folder: string,
  name: 'log' | 'log-v1',
  store: Awaited<ReturnType<typeof openSqlStore>>,
): Promise<Tree> {
  const manifest = JSON.parse(await readFile(join(folder, 'instance.json'), 'utf8')) as {
    origins: { log: string; logV1: { hostname: string; treeId: string } };
  };
  const { log: origin, logV1 } = manifest.origins;
  const signer = loadSigner(await readFile(join(folder, 'keys', `${name}.pem`), 'utf8'));
  const common = { store, objects: folderObjects(join(folder, 'tiles')), signer, now: Date.now, create: false };
  const { tree } =
    name === 'log'
      ? await openLogTree({ ...common, origin })
      : await openLogV1Tree({ ...common, hostname: logV1.hostname, treeId: BigInt(logV1.treeId) });
  return tree;
}
