import {
  type Claims,
  claim,
  claimError,
  claimText,
  isEmailAddress,
  parseMemberPath,
  requireText,
  valueAt,
} from './claims.js';
import type { IssuerConfig } from './config.js';
import { IdentityError, quote } from './errors.js';
import type { IssuerKind, Principal, VerifiedClaims } from './kinds.js';

/** A person's or service account's mail address, which the provider has verified. */
export const emailKind: IssuerKind = {
  challengeClaim: 'email',
  fields: ['issuerClaim', 'skipEmailVerification'],
  checkConfig: (issuer) => {
    if (issuer.issuerClaim !== undefined) parseMemberPath(issuer.issuerClaim);
  },
  claims: (issuer) => ({
    required: [
      'email',
      ...(issuer.skipEmailVerification ? [] : ['email_verified']),
      ...(issuer.issuerClaim === undefined ? [] : parseMemberPath(issuer.issuerClaim).slice(0, 1)),
    ],
    optional: [],
  }),
  principal: emailPrincipal,
};

function emailPrincipal(token: VerifiedClaims, issuer: IssuerConfig): Principal {
  const email = requireText(token.claims, 'email');
  if (!isEmailAddress(email)) throw claimError('email', email, 'a mail address');
  if (!issuer.skipEmailVerification) requireVerified(token.claims);
  return {
    issuer: issuer.issuerClaim === undefined ? token.issuer : issuerFromClaim(token.claims, issuer.issuerClaim),
    subject: token.subject,
    challenge: email,
    challengeClaim: 'email',
    san: { kind: 'email', value: email },
    extensions: {},
  };
}

/**
 * Demands that the provider has verified the address.
 * Some send the boolean as a string, in either of two spellings; absent means false (OpenID Connect Core §5.1).
 * @throws IdentityError `IDENTITY_EMAIL_UNVERIFIED`, or `IDENTITY_CLAIM` if it says neither true nor false
 */
export function requireVerified(claims: Claims): void {
  const value = claim(claims, 'email_verified');
  if (value === true || value === 'true' || value === 'True') return;
  if (value === undefined || value === false || value === 'false' || value === 'False') {
    throw new IdentityError(
      'IDENTITY_EMAIL_UNVERIFIED',
      `Cannot use claim email: email_verified is ${quote(value)}, expected true`,
    );
  }
  throw claimError('email_verified', value, 'true or false');
}

/** A broker like Dex names the provider behind it in a claim; that one, not the broker, vouches for the address. */
function issuerFromClaim(claims: Claims, path: string): string {
  const value = valueAt(claims, parseMemberPath(path));
  const text = claimText(value);
  if (!text) throw claimError(path, value, 'the issuer');
  return text;
}
