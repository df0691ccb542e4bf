import { findAlgorithm, signatureAlgorithms } from '#libs/crypto';
import { malformed } from './proto-json.js';

const UNSPECIFIED = 'PUBLIC_KEY_DETAILS_UNSPECIFIED';

// Names of the enumeration that no algorithm of ours answers to: they are well-formed, and refused later as unknown.
const namesWithoutAlgorithm: ReadonlySet<string> = new Set([
  UNSPECIFIED,
  'PKIX_ECDSA_P256_HMAC_SHA_256',
  'LMS_SHA256',
  'LMOTS_SHA256',
  'ML_DSA_44',
  'ML_DSA_65',
  'ML_DSA_87',
]);

/** Every name of the enumeration. */
export const keyDetailsNames: readonly string[] = [
  ...signatureAlgorithms.map(({ keyDetails }) => keyDetails),
  ...namesWithoutAlgorithm,
];

/**
 * `PublicKeyDetails` by name or number, as a name; a number without a name as digits, because enumerations are open.
 * @throws EntryError `ENTRY_JSON`
 */
export function readKeyDetails(value: unknown, where: string): string {
  if (value === undefined || value === 0) return UNSPECIFIED;
  if (typeof value === 'string') {
    if (findAlgorithm(value) === undefined && !namesWithoutAlgorithm.has(value)) throw malformed(`${where} is unknown`);
    return value;
  }
  if (typeof value !== 'number' || (value | 0) !== value) throw malformed(`${where} is neither a name nor a number`);
  return findAlgorithm(value)?.keyDetails ?? String(value);
}
