import type { Signer } from '#libs/crypto';
import { ecdsaNoteSigner, ed25519NoteSigner, ed25519NoteVerifier, ecdsaNoteVerifier } from '#libs/note';
import { opensslCrypto } from '#libs/openssl';
import { annexedEntriesFormat, openTree, type Tree, type TreeOptions } from '#libs/tlog';
import type { RekorShard } from './rekor1-log.js';

type StoreOptions = Pick<TreeOptions, 'store' | 'objects' | 'now' | 'create' | 'report' | 'soleProcess'>;

/** Opens the tree of the transparency log (Rekor v2), and says how trust material names the log. `signer`: Ed25519. @throws TlogError */
export async function openLogTree(
  options: StoreOptions & { origin: string; signer: Signer },
): Promise<{ tree: Tree; logId: Uint8Array }> {
  const { signer, ...rest } = options;
  const noteSigner = ed25519NoteSigner(options.origin, signer, opensslCrypto.hash);
  const tree = await openTree({
    ...rest,
    name: 'log',
    format: annexedEntriesFormat,
    signers: () => [noteSigner],
    verifier: ed25519NoteVerifier(options.origin, signer.publicKey, opensslCrypto),
  });
  return { tree, logId: noteSigner.logId };
}

/**
 * Opens the tree of the log that speaks Rekor v1. `hostname` and `treeId` (1 to 2^63-1) name it for ever: its checkpoints begin with
 * `<hostname> - <treeId>` and are signed as `<hostname>`, by a key whose id is the SHA-256 of its SubjectPublicKeyInfo alone.
 * `signer`: P-256; it also signs the promise of each entry.
 * @throws TlogError
 */
export async function openLogV1Tree(
  options: StoreOptions & { hostname: string; treeId: bigint; signer: Signer },
): Promise<RekorShard> {
  const { signer, hostname, treeId, ...rest } = options;
  if (treeId < 1n || treeId >= 1n << 63n) throw new Error(`Cannot open tree: ${treeId} is no tree ID of 63 bits`);
  const noteSigner = ecdsaNoteSigner(hostname, signer, opensslCrypto.hash);
  const tree = await openTree({
    ...rest,
    name: 'log-v1',
    origin: `${hostname} - ${treeId}`,
    format: annexedEntriesFormat,
    signers: () => [noteSigner],
    verifier: ecdsaNoteVerifier(hostname, signer.publicKey, opensslCrypto),
  });
  return { tree, treeId, logId: noteSigner.logId, signer };
}
