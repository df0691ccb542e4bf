/** A SPIFFE ID taken apart: `spiffe://<trust domain><path>`. */
export interface SpiffeId {
  readonly trustDomain: string;
  /** Empty, or `/a/b`. */
  readonly path: string;
}

// SPIFFE-ID §2.3: implementations support URIs of up to 2048 bytes; §2.1: a trust domain has at most 255.
const ID_LIMIT = 2048;
const TRUST_DOMAIN_LIMIT = 255;
const trustDomainPattern = /^[a-z0-9._-]+$/;
const segmentPattern = /^[A-Za-z0-9._-]+$/;

/**
 * Reads a SPIFFE ID; undefined for anything else. One spelling: the scheme in lower case, no port, user, query or fragment,
 * no percent-encoding, no empty segment, `.` or `..`, no slash at the end.
 * @see SPIFFE-ID §2 (the SPIFFE standard "The SPIFFE Identity and Verifiable Identity Document")
 */
export function parseSpiffeId(text: string): SpiffeId | undefined {
  const scheme = 'spiffe://';
  if (text.length > ID_LIMIT || !text.startsWith(scheme)) return undefined;
  const [trustDomain = '', ...segments] = text.slice(scheme.length).split('/');
  if (!isTrustDomain(trustDomain)) return undefined;
  const whole = segments.every((segment) => segmentPattern.test(segment) && segment !== '.' && segment !== '..');
  return whole ? { trustDomain, path: text.slice(scheme.length + trustDomain.length) } : undefined;
}

/** Whether this is the bare name of a trust domain, `example.org`. */
export function isTrustDomain(text: string): boolean {
  return text.length <= TRUST_DOMAIN_LIMIT && trustDomainPattern.test(text);
}
