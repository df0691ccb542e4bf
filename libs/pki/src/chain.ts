import { equalBytes } from '#libs/encoding';
import { verifySync } from '#libs/openssl';
import { buildChainSync, type Certificate, X509Error } from '#libs/x509';

/** Fewer than a verifier allows: nothing else happens meanwhile, and the longest path needs seven. */
const MAX_SIGNATURE_CHECKS = 32;

/**
 * Whether the first certificate leads to the last one, over any of those between, at the time when the first became
 * valid. Nobody is trusted by this: the sender chose the root. It only makes sure that what is logged as a chain is
 * one, for any purpose. Synchronous, because a log computes the keys of an entry while it holds a transaction.
 * @see RFC 5280 §6.1
 */
export function isChain(certificates: readonly Certificate[]): boolean {
  const [leaf] = certificates;
  const root = certificates.at(-1);
  if (leaf === undefined || root === undefined) return false;
  // One certificate and itself, which is as little of a chain as a lone one.
  if (equalBytes(leaf.der, root.der)) return true;
  const intermediates = certificates.slice(1, -1);
  const options = {
    intermediates,
    anchors: [root],
    time: leaf.notBefore,
    maxSignatureChecks: MAX_SIGNATURE_CHECKS,
  };
  try {
    buildChainSync(leaf, options, verifySync);
    return true;
  } catch (error) {
    // No path: whatever is the reason, the answer is the same.
    if (error instanceof X509Error) return false;
    throw error;
  }
}
