import { encodeTilePath } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import type { TreeFormat } from '#libs/tlog';
import { merkleTreeLeaf, parseTileLeaf, splitDataTile, type TileLeaf } from '#libs/x509';
import { concatBytes } from '#libs/encoding';

/**
 * A CT log's records: the elements of C2SP static-ct-api data tiles. What is hashed is the MerkleTreeLeaf of RFC 6962 §3.4 that each contains.
 * The same submission is recognised by the SHA-256 of the certificate as it was submitted, because the leaf carries the time and is new each time.
 */
export const ctFormat: TreeFormat = {
  name: 'static-ct',
  leafInput: (record) => merkleTreeLeaf(parseTileLeaf(record)),
  identity: (record) => sha256(submittedCertificate(parseTileLeaf(record))),
  encodeBundle: (records) => concatBytes(...records),
  parseBundle: splitDataTile,
  // The same numbering as tiles of hashes, under `data` instead of a level.
  bundlePath: (index, width) => encodeTilePath({ level: 0, index, width }).replace(/^tile\/0\//, 'tile/data/'),
};

/** The certificate or precertificate that was submitted, DER. */
export function submittedCertificate(leaf: TileLeaf): Uint8Array {
  if (leaf.entry.kind === 'x509') return leaf.entry.certificate;
  // parseTileLeaf gives every precert entry its precertificate.
  return leaf.precertificate ?? new Uint8Array();
}
