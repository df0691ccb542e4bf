import type { PublicKey } from '#libs/crypto';
import type { Certificate } from '#libs/x509';
import type { IdentityPolicy, KeyPolicy } from './policy.js';

/** Who signed, as far as bundle and policy say, with the part of the policy that is about such a signer. */
export type Signer =
  | {
      kind: 'certificate';
      certificate: Certificate;
      /** What else the bundle brought: untrusted hints for the path. */
      extras: Certificate[];
      key: PublicKey;
      policy: IdentityPolicy;
    }
  | { kind: 'key'; key: PublicKey; policy: KeyPolicy };
