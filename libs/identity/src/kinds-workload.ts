import { claimError, encodeUri, isEmailAddress, optionalText, valueAt } from './claims.js';
import type { IssuerConfig } from './config.js';
import { IdentityError, quote } from './errors.js';
import { requireVerified } from './kinds-email.js';
import type { IssuerKind, PrincipalName, VerifiedClaims } from './kinds.js';
import { isTrustDomain, parseSpiffeId } from './spiffe.js';
import { haveOneOwner, isHost, parseAuthority, type UriAuthority } from './uri.js';

/** The otherName type of user names (Fulcio's OID registry: 1.3.6.1.4.1.57264.1.7). */
const USERNAME_OID = '1.3.6.1.4.1.57264.1.7';

/** A user name that means something at one site: `ann` becomes `ann!example.com`. */
export const usernameKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: ['subjectDomain'],
  claims: () => ({ required: [], optional: [] }),
  checkConfig(issuer) {
    const domain = requireDomain(issuer, 'example.com');
    if (!isHost(domain)) {
      throw refuse(
        issuer,
        `the subject domain is ${quote(domain)}, expected a host name in lower case without scheme, like example.com`,
      );
    }
    checkOwner(issuer, domain);
  },
  principal: (token, issuer) => {
    const { subject } = token;
    // `!` is the separator: with one in the name, two users could have one identity.
    // And what looks like a mail address would be read as one, which nobody has verified.
    // eslint-disable-next-line no-control-regex -- control characters are what is refused here
    if (/[!@\x00-\x20\x7f]/.test(subject) || isEmailAddress(subject)) {
      throw claimError('sub', subject, 'a user name without !, @ and white space');
    }
    return sanOnly(token, {
      kind: 'other-name',
      oid: USERNAME_OID,
      value: `${subject}!${requireDomain(issuer, 'example.com')}`,
    });
  },
};

/** A URI below a site that the issuer speaks for. */
export const uriKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: ['subjectDomain'],
  claims: () => ({ required: [], optional: [] }),
  checkConfig(issuer) {
    const { scheme, host } = uriDomain(issuer);
    if (authorityOf(issuer).scheme !== scheme) {
      throw refuse(
        issuer,
        `the subject domain has scheme ${quote(scheme)}, the issuer ${quote(authorityOf(issuer).scheme)}`,
      );
    }
    checkOwner(issuer, host);
  },
  principal: (token, issuer) => {
    const domain = uriDomain(issuer);
    const found = parseAuthority(token.subject);
    // Port and path are not compared, as in Fulcio: the domain is the host.
    if (found?.scheme !== domain.scheme || found.host !== domain.host) {
      throw claimError('sub', token.subject, `a URI that begins with ${domain.scheme}://${domain.host}`);
    }
    return sanOnly(token, { kind: 'uri', value: encodeUri(token.subject, 'sub') });
  },
};

/** A workload of a SPIFFE trust domain. */
export const spiffeKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: ['spiffeTrustDomain'],
  // One trust domain, one issuer: behind a wildcard strangers could all speak for it.
  wildcard: false,
  claims: () => ({ required: [], optional: [] }),
  checkConfig(issuer) {
    const domain = issuer.spiffeTrustDomain;
    if (domain === undefined)
      throw refuse(
        issuer,
        'type spiffe needs the SPIFFE trust domain (SPIFFETrustDomain, spiffe-trust-domain in YAML)',
      );
    if (!isTrustDomain(domain)) {
      throw refuse(
        issuer,
        `the SPIFFE trust domain is ${quote(domain)}, expected a bare name of the characters a-z, 0-9, ".", "_" and "-"`,
      );
    }
  },
  principal: (token, issuer) => {
    const id = parseSpiffeId(token.subject);
    if (id === undefined) throw claimError('sub', token.subject, 'a SPIFFE ID');
    if (id.trustDomain !== issuer.spiffeTrustDomain) {
      throw claimError('sub', token.subject, `a SPIFFE ID of trust domain ${quote(issuer.spiffeTrustDomain)}`);
    }
    return sanOnly(token, { kind: 'uri', value: token.subject });
  },
};

const KUBERNETES_CLAIM = 'kubernetes.io';
// RFC 1123 labels and subdomains, as Kubernetes names its objects: a name with a slash could be read as another account.
const objectName = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

/** A Kubernetes service account. */
export const kubernetesKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: [],
  claims: () => ({ required: [KUBERNETES_CLAIM], optional: [] }),
  principal: (token) => {
    const name = (...path: string[]): string => {
      const value = valueAt(token.claims, [KUBERNETES_CLAIM, ...path]);
      if (typeof value === 'string' && objectName.test(value)) return value;
      throw claimError([KUBERNETES_CLAIM, ...path].join('.'), value, 'the name of a Kubernetes object');
    };
    const [namespace, account] = [name('namespace'), name('serviceaccount', 'name')];
    return sanOnly(token, {
      kind: 'uri',
      value: `https://kubernetes.io/namespaces/${namespace}/serviceaccounts/${account}`,
    });
  },
};

/** A Chainguard identity: a path below its issuer. */
export const chainguardKind: IssuerKind = {
  challengeClaim: 'sub',
  fields: [],
  claims: () => ({ required: [], optional: ['email', 'email_verified'] }),
  principal: (token) => {
    const { issuer, subject, claims } = token;
    // Fulcio joins and cleans the path: with `..` in it the identity would be another's.
    if (subject.split('/').some((segment) => segment === '' || segment === '.' || segment === '..')) {
      throw claimError('sub', subject, 'a path without empty segments, "." and ".."');
    }
    const path = encodeUri(subject, 'sub').replace(/[?#]/g, (character) => encodeURIComponent(character));
    // What clients sign is the address where the token has one, so it must be a verified one.
    const email = optionalText(claims, 'email');
    if (email !== undefined) requireVerified(claims);
    return {
      ...sanOnly(token, { kind: 'uri', value: `${issuer.replace(/\/+$/, '')}/${path}` }),
      ...(email !== undefined && { challenge: email, challengeClaim: 'email' }),
    };
  },
};

function sanOnly({ issuer, subject }: VerifiedClaims, san: PrincipalName) {
  return { issuer, subject, challenge: subject, challengeClaim: 'sub', san, extensions: {} };
}

function requireDomain(issuer: IssuerConfig, example: string): string {
  if (issuer.subjectDomain !== undefined) return issuer.subjectDomain;
  throw refuse(
    issuer,
    `type ${issuer.type} needs the subject domain (SubjectDomain, subject-domain in YAML), like ${example}`,
  );
}

function uriDomain(issuer: IssuerConfig): UriAuthority {
  const text = requireDomain(issuer, 'https://example.com');
  const domain = parseAuthority(text);
  if (domain !== undefined) return domain;
  throw refuse(
    issuer,
    `the subject domain is ${quote(text)}, expected scheme and host in lower case, like https://example.com`,
  );
}

function authorityOf(issuer: IssuerConfig): UriAuthority {
  const [, scheme = '', host = ''] = /^(https?):\/\/([^/?#]*)/.exec(issuer.issuerUrl) ?? [];
  return { scheme, host: host.replace(/:\d+$/, '') };
}

function checkOwner(issuer: IssuerConfig, host: string): void {
  const { host: issuerHost } = authorityOf(issuer);
  if (!haveOneOwner(host, issuerHost)) {
    throw refuse(
      issuer,
      `the subject domain ${quote(host)} and the issuer's host ${quote(issuerHost)} do not look like one owner's: they must be equal in their last two labels, or in the last three below registries like co.uk`,
    );
  }
}

function refuse(issuer: IssuerConfig, state: string): IdentityError {
  return new IdentityError('IDENTITY_CONFIG', `Cannot use issuer ${quote(issuer.issuerUrl)}: ${state}`);
}
