import { z } from 'zod';
import { EncodingError, parseUtf8 } from '#libs/encoding';
import type { V1Proposal } from '#libs/entry';
import { certificateKeys, encodeAnnexKeys, parseAnnexKeys, publicKeyKeys } from '#libs/search';
import { parseCertificate } from '#libs/x509';

/** What an entry is found by, and the part of it that its record must keep because the body does not say it. */
export interface EntryKeys {
  /** For the record: see `encodeAnnexKeys`. */
  readonly annex: Uint8Array;
  /** For the index. What follows from the record, and nothing else: a rebuilt index has the same. */
  readonly keys: readonly string[];
}

/** `logged`: keys that follow from the body. `unlogged`: keys that do not; of very many, not all are kept. */
export function entryKeys(logged: readonly string[], unlogged: readonly string[]): EntryKeys {
  const annex = encodeAnnexKeys(unlogged);
  return { annex, keys: unlogged.length === 0 ? logged : [...logged, ...parseAnnexKeys(annex)] };
}

/** The search keys of a verified entry of Rekor v1: Rekor's, and ours for its keys and certificates. */
export function proposalKeys(proposal: V1Proposal): EntryKeys {
  const unlogged = new Set(proposal.unloggedKeys);
  const logged = [
    ...proposal.keys.filter((key) => !unlogged.has(key)),
    ...proposal.certificates.flatMap((der) => certificateKeys(parseCertificate(der))),
    ...proposal.publicKeys.flatMap(publicKeyKeys),
  ];
  return entryKeys(logged, proposal.unloggedKeys);
}

const statement = z.looseObject({
  subject: z.unknown(),
  predicate: z.looseObject({ materials: z.unknown() }).optional().catch(undefined),
});
const digested = z.looseObject({ digest: z.record(z.string(), z.unknown()) });

/**
 * The search keys of an envelope's payload that is not stored: `<algorithm>:<digest>` of each subject and material, if it is
 * an in-toto statement. None for any other payload: what a payload says is its signer's business, and no reason to refuse it.
 */
export function statementKeys(payloadType: string, payload: Uint8Array): string[] {
  if (payloadType !== 'application/vnd.in-toto+json') return [];
  const { data } = statement.safeParse(jsonOf(payload));
  return [...digestKeysOf(data?.subject), ...digestKeysOf(data?.predicate?.materials)];
}

/** What is no digest among the items is left out, as by readers that are lenient. */
function digestKeysOf(items: unknown): string[] {
  if (!Array.isArray(items)) return [];
  return items.flatMap((item: unknown) =>
    Object.entries(digested.safeParse(item).data?.digest ?? {}).flatMap(([algorithm, value]) =>
      typeof value === 'string' ? [`${algorithm}:${value}`.toLowerCase()] : [],
    ),
  );
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(parseUtf8(bytes));
  } catch (error) {
    if (error instanceof EncodingError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
