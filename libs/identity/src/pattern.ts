import { IdentityError, quote } from './errors.js';

/**
 * The pattern of a meta issuer as a regular expression: each `*` stands for one or more of `[-_a-zA-Z0-9]`, so never for a
 * dot, slash, colon, question mark or nothing; everything else is literal; both ends are anchored (without the anchors
 * any URL that merely contained an allowed one was accepted: GHSA-59jp-pj84-45mr).
 */
export function patternExpression(pattern: string): RegExp {
  const escaped = pattern.replace(/[\\^$.|?+()[\]{}/-]/g, (character) => `\\x${hex(character)}`);
  return new RegExp(`^${escaped.replaceAll('*', '[-_a-zA-Z0-9]+')}$`);
}

function hex(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, '0');
}

/** How specific a pattern is: more literal characters win, then fewer wildcards, then the alphabet, so that order never is luck. */
export function compareSpecificity(a: string, b: string): number {
  const wildcards = (text: string) => text.split('*').length - 1;
  const literals = (text: string) => text.length - wildcards(text);
  return literals(b) - literals(a) || wildcards(a) - wildcards(b) || (a < b ? -1 : a > b ? 1 : 0);
}

/**
 * Checks an issuer URL of the configuration: http or https, a host, no user, query or fragment (OpenID Connect Discovery
 * §2 and §4.1). With `pattern`, at least one `*`, none in the last two labels of the host, and something that no `*`
 * matches between two of them: otherwise strangers choose the host, or the match takes polynomial time.
 * @throws IdentityError `IDENTITY_CONFIG`
 */
export function checkIssuerUrl(text: string, kind: 'exact' | 'pattern'): void {
  const refuse = (state: string): never => {
    throw new IdentityError('IDENTITY_CONFIG', `Cannot use issuer ${quote(text)}: ${state}`);
  };
  const wildcard = text.includes('*');
  if (kind === 'exact' && wildcard) refuse('a wildcard belongs under MetaIssuers (meta-issuers in YAML)');
  if (kind === 'pattern' && !wildcard) refuse('a meta issuer needs a wildcard, others belong under OIDCIssuers');
  const shape = /^https?:\/\/([^/?#@\\]+)(\/[^?#\\]*)?$/.exec(text);
  const authority = shape?.[1];
  if (authority === undefined || !URL.canParse(text.replaceAll('*', 'x'))) {
    return refuse('expected http or https, a host and a path, without user, query or fragment');
  }
  const host = authority.replace(/:\d+$/, '');
  if (kind === 'pattern') {
    if (host.split('.').slice(-2).join('.').includes('*')) refuse('a wildcard in the last two labels of the host');
    if (/\*[-_a-zA-Z0-9]*\*/.test(text)) refuse('two wildcards need a character between them that neither matches');
  }
}
