import { checkSearchKeys, type V1Proposal } from '#libs/entry';
import { encodeAnnexKeys, entryCertificateKeys, parseAnnexKeys, publicKeyKeys } from '#libs/search';

/** What an entry is found by, and the part of it that its record must keep because the body does not say it. */
export interface EntryKeys {
  /** For the record: see `encodeAnnexKeys`. */
  readonly annex: Uint8Array;
  /** For the index. What follows from the record, and nothing else: a rebuilt index has the same. */
  readonly keys: readonly string[];
}

/**
 * `logged`: keys that follow from the body. `unlogged`: keys that do not.
 * @throws EntryError for more than can be kept, see `checkSearchKeys`
 */
export function entryKeys(logged: readonly string[], unlogged: readonly string[]): EntryKeys {
  const keys = new Set(logged);
  checkSearchKeys(keys, new Set(unlogged));
  const annex = encodeAnnexKeys(unlogged);
  for (const key of parseAnnexKeys(annex)) keys.add(key);
  return { annex, keys: [...keys] };
}

/**
 * The search keys of a verified entry of Rekor v1: Rekor's, and ours for its keys and certificates.
 * @throws EntryError as `entryKeys`
 */
export function proposalKeys(proposal: V1Proposal): EntryKeys {
  const unlogged = new Set(proposal.unloggedKeys);
  const logged = [
    ...proposal.keys.filter((key) => !unlogged.has(key)),
    ...proposal.certificates.flatMap(entryCertificateKeys),
    ...proposal.publicKeys.flatMap(publicKeyKeys),
  ];
  return entryKeys(logged, proposal.unloggedKeys);
}
