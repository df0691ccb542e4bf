import type { Signer } from '#libs/crypto';
import { ed25519NoteSigner, ed25519NoteVerifier } from '#libs/note';
import { opensslCrypto } from '#libs/openssl';
import { entriesFormat, openTree, type Tree, type TreeOptions } from '#libs/tlog';

/** Opens the tree of the transparency log, and says how trust material names the log. `signer`: Ed25519. @throws TlogError */
export async function openLogTree(
  options: Pick<TreeOptions, 'store' | 'objects' | 'origin' | 'now' | 'create' | 'report' | 'soleProcess'> & {
    signer: Signer;
  },
): Promise<{ tree: Tree; logId: Uint8Array }> {
  const { signer, ...rest } = options;
  const noteSigner = ed25519NoteSigner(options.origin, signer, opensslCrypto.hash);
  const tree = await openTree({
    ...rest,
    name: 'log',
    format: entriesFormat,
    signers: () => [noteSigner],
    verifier: ed25519NoteVerifier(options.origin, signer.publicKey, opensslCrypto),
  });
  return { tree, logId: noteSigner.logId };
}
