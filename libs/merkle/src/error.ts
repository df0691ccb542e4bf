/** Closed: a code is never renamed or reused. */
export type MerkleErrorCode =
  | 'MERKLE_INDEX_RANGE'
  | 'MERKLE_SIZE_RANGE'
  | 'MERKLE_PROOF_LENGTH'
  | 'MERKLE_HASH_LENGTH'
  | 'MERKLE_ROOT_MISMATCH'
  | 'MERKLE_TILE_PATH'
  | 'MERKLE_TILE_SHORT'
  | 'MERKLE_BUNDLE_MALFORMED';

/** What every function of this lib throws for wrong input. */
export class MerkleError extends Error {
  override readonly name = 'MerkleError';

  constructor(
    readonly code: MerkleErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
