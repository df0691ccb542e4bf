import { OciError } from './error.js';

const MAX_LENGTH = 8192;
const MAX_LINKS = 16;

/**
 * The target of the link to the next page, as it was written; undefined if there is none.
 * @throws OciError `OCI_RESPONSE`
 * @see RFC 8288 §3
 */
export function parseNextLink(header: string | readonly string[] | undefined): string | undefined {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  if (text.length > MAX_LENGTH) throw fail(`it is longer than ${MAX_LENGTH} characters`);
  const link =
    /[ \t,]*<([^<>\s]*)>((?:[ \t]*;[ \t]*[!#$&+.^_`|~0-9A-Za-z*-]+(?:[ \t]*=[ \t]*(?:"(?:[^"\\]|\\.)*"|[^\s",;<>]+))?)*)[ \t]*(?=,|$)/y;
  let next: string | undefined;
  for (let at = 0, count = 0; at < text.length; count++) {
    if (/^[ \t,]*$/.test(text.slice(at))) break;
    if (count === MAX_LINKS) throw fail(`it has more than ${MAX_LINKS} links`);
    link.lastIndex = at;
    const match = link.exec(text);
    if (match === null) throw fail('it is malformed');
    at = link.lastIndex;
    const [, target = '', parameters = ''] = match;
    const pairs = parameters.matchAll(/;[ \t]*([^\s=;"]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",;<>]+)))?/g);
    // RFC 8288 §3.3: of several only the first one counts.
    const rel = [...pairs].find(([, name]) => name?.toLowerCase() === 'rel');
    const relations = (rel?.[2] ?? rel?.[3] ?? '').toLowerCase().split(' ');
    if (!relations.includes('next')) continue;
    if (next !== undefined) throw fail('it has two next pages');
    next = target;
  }
  return next;
}

function fail(state: string): OciError {
  return new OciError('OCI_RESPONSE', `Cannot read the registry's Link header: ${state}`);
}
