import {
  type Claims,
  claim,
  claimText,
  encodeUri,
  isEmailAddress,
  parseMemberPath,
  requireText,
  valueAt,
} from './claims.js';
import { type IssuerConfig, type OptionalField } from './config.js';
import { IdentityError, quote } from './errors.js';

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

/** Who holds a verified token, in the words of the certificate that will be issued. */
export interface Principal {
  /** Extensions 1 and 8. */
  readonly issuer: string;
  /** The token's `sub`: extension 24. */
  readonly subject: string;
  /** What the proof of possession signs, as UTF-8, without prefix or newline. */
  readonly challenge: string;
  readonly san: PrincipalName;
  readonly extensions: Readonly<Partial<Record<ExtensionName, string>>>;
}

/** What a kind is given: the claims of a verified token, whose `iss` and non-empty `sub` are already read. */
export interface VerifiedClaims {
  readonly issuer: string;
  readonly subject: string;
  readonly claims: Claims;
}

/** One row of the table: how the tokens of a type of issuer become principals. */
export interface IssuerKind {
  /** The claim that the proof of possession signs; clients are told by `GET /api/v2/configuration`. */
  readonly challengeClaim: string;
  /** The optional configuration fields it reads; any other would be accepted and ignored, so it is refused. */
  readonly fields: readonly OptionalField[];
  /** @throws IdentityError `IDENTITY_CONFIG` */
  checkConfig?(issuer: IssuerConfig): void;
  /** @throws IdentityError `IDENTITY_CLAIM`, `IDENTITY_EMAIL_UNVERIFIED` */
  principal(token: VerifiedClaims, issuer: IssuerConfig): Principal;
}

/** Every kind of issuer by the `Type` of Fulcio's configuration. */
export const issuerKinds: Readonly<Record<string, IssuerKind>> = {
  email: {
    challengeClaim: 'email',
    fields: ['issuerClaim', 'skipEmailVerification'],
    checkConfig: (issuer) => {
      if (issuer.issuerClaim !== undefined) parseMemberPath(issuer.issuerClaim);
    },
    principal: emailPrincipal,
  },
  'github-workflow': { challengeClaim: 'sub', fields: [], principal: githubPrincipal },
};

function emailPrincipal(token: VerifiedClaims, issuer: IssuerConfig): Principal {
  const email = requireText(token.claims, 'email');
  if (!isEmailAddress(email)) {
    throw new IdentityError(
      'IDENTITY_CLAIM',
      `Cannot read claim email: found ${quote(email)}, expected a mail address`,
    );
  }
  if (!issuer.skipEmailVerification && !isVerified(token.claims)) {
    throw new IdentityError(
      'IDENTITY_EMAIL_UNVERIFIED',
      `Cannot use claim email: email_verified is ${quote(claim(token.claims, 'email_verified'))}, expected true`,
    );
  }
  return {
    issuer: issuer.issuerClaim === undefined ? token.issuer : issuerFromClaim(token.claims, issuer.issuerClaim),
    subject: token.subject,
    challenge: email,
    san: { kind: 'email', value: email },
    extensions: {},
  };
}

/** Some providers send the boolean as a string, in either of two spellings; absent means false (OpenID Connect Core §5.1). */
function isVerified(claims: Claims): boolean {
  const value = claim(claims, 'email_verified');
  if (value === undefined || value === false || value === 'false' || value === 'False') return false;
  if (value === true || value === 'true' || value === 'True') return true;
  throw new IdentityError(
    'IDENTITY_CLAIM',
    `Cannot read claim email_verified: found ${quote(value)}, expected true or false`,
  );
}

/** A broker like Dex names the provider behind it in a claim; that one, not the broker, vouches for the address. */
function issuerFromClaim(claims: Claims, path: string): string {
  const value = valueAt(claims, parseMemberPath(path));
  const text = claimText(value);
  if (!text) {
    throw new IdentityError('IDENTITY_CLAIM', `Cannot read claim ${path}: found ${quote(value)}, expected the issuer`);
  }
  return text;
}

/** Fulcio's mapping of a GitHub Actions token (its OID documentation, extensions 2 to 6 and 9 to 23). */
function githubPrincipal(token: VerifiedClaims): Principal {
  const text = (name: string) => requireText(token.claims, name);
  const url = (path: string) => `https://github.com/${path}`;
  const workflow = text('job_workflow_ref');
  const repository = text('repository');
  return {
    issuer: token.issuer,
    subject: token.subject,
    challenge: token.subject,
    san: { kind: 'uri', value: encodeUri(url(workflow), 'job_workflow_ref') },
    extensions: {
      githubWorkflowTrigger: text('event_name'),
      githubWorkflowSha: text('sha'),
      githubWorkflowName: text('workflow'),
      githubWorkflowRepository: repository,
      githubWorkflowRef: text('ref'),
      buildSignerUri: url(workflow),
      buildSignerDigest: text('job_workflow_sha'),
      runnerEnvironment: text('runner_environment'),
      sourceRepositoryUri: url(repository),
      sourceRepositoryDigest: text('sha'),
      sourceRepositoryRef: text('ref'),
      sourceRepositoryIdentifier: text('repository_id'),
      sourceRepositoryOwnerUri: url(text('repository_owner')),
      sourceRepositoryOwnerIdentifier: text('repository_owner_id'),
      buildConfigUri: url(text('workflow_ref')),
      buildConfigDigest: text('workflow_sha'),
      buildTrigger: text('event_name'),
      runInvocationUri: url(`${repository}/actions/runs/${text('run_id')}/attempts/${text('run_attempt')}`),
      sourceRepositoryVisibilityAtSigning: text('repository_visibility'),
      // The one that not every job has. Fulcio's public instance states it through its template for GitHub.
      ...(claim(token.claims, 'environment') && { deploymentEnvironment: text('environment') }),
    },
  };
}
