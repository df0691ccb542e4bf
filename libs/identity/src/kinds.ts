import type { Claims } from './claims.js';
import type { IssuerConfig, OptionalField } from './config.js';
import { ciProviderKind } from './ci-provider.js';
import { emailKind } from './kinds-email.js';
import { buildkiteKind, codefreshKind, githubKind, gitlabKind } from './kinds-vendor.js';
import { chainguardKind, kubernetesKind, spiffeKind, uriKind, usernameKind } from './kinds-workload.js';

/** Where a certificate states the identity: exactly one name. Shapes as in the SubjectAltName of libs/x509. */
export type PrincipalName =
  | { readonly kind: 'email'; readonly value: string }
  | { readonly kind: 'uri'; readonly value: string }
  | { readonly kind: 'other-name'; readonly oid: string; readonly value: string };

/** The certificate extensions 1.3.6.1.4.1.57264.1.N that a kind of issuer may fill; issuer and subject are apart. */
export type ExtensionName =
  | 'githubWorkflowTrigger'
  | 'githubWorkflowSha'
  | 'githubWorkflowName'
  | 'githubWorkflowRepository'
  | 'githubWorkflowRef'
  | 'buildSignerUri'
  | 'buildSignerDigest'
  | 'runnerEnvironment'
  | 'sourceRepositoryUri'
  | 'sourceRepositoryDigest'
  | 'sourceRepositoryRef'
  | 'sourceRepositoryIdentifier'
  | 'sourceRepositoryOwnerUri'
  | 'sourceRepositoryOwnerIdentifier'
  | 'buildConfigUri'
  | 'buildConfigDigest'
  | 'buildTrigger'
  | 'runInvocationUri'
  | 'sourceRepositoryVisibilityAtSigning'
  | 'deploymentEnvironment';

/** Extensions by name; those that are absent are not in the certificate. */
export type PrincipalExtensions = Readonly<Partial<Record<ExtensionName, string>>>;

/** Who holds a verified token, in the words of the certificate that will be issued. */
export interface Principal {
  /** Extensions 1 and 8. */
  readonly issuer: string;
  /** The token's `sub`: extension 24. */
  readonly subject: string;
  /** What the proof of possession signs, as UTF-8, without prefix or newline. */
  readonly challenge: string;
  /** The claim that the challenge is the value of: `email` or `sub`. */
  readonly challengeClaim: string;
  readonly san: PrincipalName;
  readonly extensions: PrincipalExtensions;
}

/** What a kind is given: the claims of a verified token, whose `iss` and non-empty `sub` are already read. */
export interface VerifiedClaims {
  readonly issuer: string;
  readonly subject: string;
  readonly claims: Claims;
}

/** The claims that a kind reads, each name once. `iss`, `sub`, `aud` and `exp` are read of every token and not listed. */
export interface ClaimNames {
  /** Without any of these no certificate is issued. */
  readonly required: readonly string[];
  readonly optional: readonly string[];
}

/** One row of the table: how the tokens of a type of issuer become principals. */
export interface IssuerKind {
  /** The claim that the proof of possession signs; clients are told by `GET /api/v2/configuration`. */
  readonly challengeClaim: string;
  /** The optional configuration fields it reads; any other would be accepted and ignored, so it is refused. */
  readonly fields: readonly OptionalField[];
  /** Whether it can be used under `meta-issuers`; default true. */
  readonly wildcard?: false;
  /** Which claims it reads, so that an explanation can name all that are missing and not only the first. */
  claims(issuer: IssuerConfig): ClaimNames;
  /** @throws IdentityError `IDENTITY_CONFIG` */
  checkConfig?(issuer: IssuerConfig): void;
  /** @throws IdentityError `IDENTITY_CLAIM`, `IDENTITY_EMAIL_UNVERIFIED` */
  principal(token: VerifiedClaims, issuer: IssuerConfig): Principal;
}

/** Every kind of issuer by the `Type` of Fulcio's configuration. */
export const issuerKinds: Readonly<Record<string, IssuerKind>> = {
  email: emailKind,
  username: usernameKind,
  uri: uriKind,
  spiffe: spiffeKind,
  kubernetes: kubernetesKind,
  'github-workflow': githubKind,
  'gitlab-pipeline': gitlabKind,
  'buildkite-job': buildkiteKind,
  'codefresh-workflow': codefreshKind,
  'chainguard-identity': chainguardKind,
  'ci-provider': ciProviderKind,
};
