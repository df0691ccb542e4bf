import type { Signer } from '#libs/crypto';
import { rfc6962NoteSigner, rfc6962NoteVerifier } from '#libs/note';
import { opensslCrypto } from '#libs/openssl';
import { openTree, type Tree, type TreeOptions } from '#libs/tlog';
import { ctFormat } from './format.js';

/** Opens the tree of the CT log. `signer`: P-256, the one curve that all verifiers of SCTs know. @throws TlogError */
export function openCtTree(
  options: Pick<TreeOptions, 'store' | 'objects' | 'origin' | 'now' | 'create' | 'report' | 'soleProcess'> & {
    signer: Signer;
  },
): Promise<Tree> {
  const { signer, ...rest } = options;
  const { origin } = options;
  const { hash } = opensslCrypto;
  return openTree({
    ...rest,
    name: 'ct',
    format: ctFormat,
    // The head's own time is signed with it.
    signers: (timestampMs) => [rfc6962NoteSigner(origin, signer, hash, { timestampMs: () => timestampMs })],
    verifier: rfc6962NoteVerifier(origin, signer.publicKey, opensslCrypto),
  });
}
