import { OciError } from './error.js';
import { parseRegistry } from './reference.js';

/** What convinces a registry, or the token service it names. */
export type Credential =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  /** A refresh token of the token service (distribution: docs/spec/auth/oauth.md). */
  | { readonly kind: 'identity-token'; readonly token: string }
  /** Sent to the registry as it is. */
  | { readonly kind: 'registry-token'; readonly token: string };

/** Finds the credential for a repository of a registry; undefined: go without. */
export interface Credentials {
  /** `registry`: as in a `Reference`. @throws OciError `OCI_CREDENTIALS` */
  find(registry: string, repository: string): Promise<Credential | undefined>;
}

/** No credentials at all. */
export const anonymous: Credentials = { find: async () => undefined };

/**
 * One credential for one registry, by its exact name; others get none.
 * `registry`: host, and port if it has one.
 * @throws OciError `OCI_REFERENCE`, `OCI_CREDENTIALS`
 */
export function credentialsFor(registry: string, credential: Credential): Credentials {
  const only = parseRegistry(registry);
  const checked = checkCredential(credential);
  return { find: async (asked) => (asked === only ? checked : undefined) };
}

const MAX_SECRET = 64 * 1024;

/** @throws OciError `OCI_CREDENTIALS` on what no header can carry; the message has nothing of it */
export function checkCredential(credential: Credential): Credential {
  if (credential.kind === 'basic') {
    const { username, password } = credential;
    // RFC 7617 §2: the first colon ends the user name, and there are no control characters.
    if (username.includes(':') || /\p{Cc}/u.test(username + password)) {
      throw new OciError(
        'OCI_CREDENTIALS',
        'Cannot use the user name and password: they have a character that HTTP does not allow',
      );
    }
    if (username.length + password.length > MAX_SECRET) throw tooLong();
  } else {
    if (credential.token.length > MAX_SECRET) throw tooLong();
    if (!/^[\x21-\x7e]+$/.test(credential.token)) {
      throw new OciError(
        'OCI_CREDENTIALS',
        'Cannot use the token: it is empty or has a character that HTTP does not allow',
      );
    }
  }
  return credential;
}

function tooLong(): OciError {
  return new OciError('OCI_CREDENTIALS', `Cannot use the credentials: they are longer than ${MAX_SECRET} characters`);
}
