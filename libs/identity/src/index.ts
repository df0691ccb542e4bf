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
export { type CiMetadata, type CiProvider, createCiProvider } from './ci-provider.js';
export { ciProviders } from './ci-providers.js';
export { claim, type Claims, claimText, encodeUri, isEmailAddress, requireText } from './claims.js';
export { IdentityError, type IdentityErrorCode } from './errors.js';
export {
  type ExplainOptions,
  explainToken,
  type TokenCheck,
  type TokenCheckName,
  type TokenExplanation,
} from './explain.js';
export {
  type ClaimNames,
  type ExtensionName,
  type IssuerKind,
  issuerKinds,
  type Principal,
  type PrincipalName,
  type VerifiedClaims,
} from './kinds.js';
export { createIssuerFetch, type IssuerFetch, type IssuerFetchOptions } from './fetch.js';
export { type Fetch, type FetchInit, type FetchResponse, type KeySource } from './provider.js';
export { parseTemplate, renderTemplate, type Template, type TemplateName, type TemplateValues } from './template.js';
export { TOKEN_LIMIT } from './token.js';
export { createTokenVerifier, type TokenRules, type TokenVerifier, type TokenVerifierOptions } from './verifier.js';
