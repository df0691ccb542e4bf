/**
 * Who holds this token? OpenID Connect identity tokens, checked against a set of issuers, become principals in the words
 * of a signing certificate. Issuers come in kinds (`email`, `github-workflow`): rows of the table `issuerKinds`.
 *
 * Not here: certificates (`#libs/x509`), signing in (the client), sessions. Nothing is stored; replays are not noticed.
 *
 * A token is a compact JWS, `<header>.<payload>.<signature>` in base64url, with the claims `iss`, `aud`, `exp`, `sub` and
 * what its kind needs. The token of `{"iss":"https://accounts.google.com","email":"ann@example.com",…}` becomes
 * `{ issuer: 'https://accounts.google.com', challenge: 'ann@example.com', san: { kind: 'email', value: 'ann@example.com' }, … }`.
 */
export {
  builtInIssuers,
  type IssuerConfig,
  type OptionalField,
  parseFulcioConfig,
  type ResolvedIssuer,
} from './config.js';
export { claim, type Claims, claimText, encodeUri, isEmailAddress, requireText } from './claims.js';
export { IdentityError, type IdentityErrorCode } from './errors.js';
export {
  type ExtensionName,
  type IssuerKind,
  issuerKinds,
  type Principal,
  type PrincipalName,
  type VerifiedClaims,
} from './kinds.js';
export { type Fetch } from './provider.js';
export { TOKEN_LIMIT } from './token.js';
export { createTokenVerifier, type TokenVerifier, type TokenVerifierOptions } from './verifier.js';
