import { posix } from 'node:path';

/** Something that `path.Clean` of Go would change: most paths have none of it. */
const unclean = /\/\/|\/\.|.\/$/;
const rekorPath = /^\/api\/v1\/(?:log|index)(?:\/|$)/;

/**
 * The URL of a request with its path cleaned as Rekor v1 cleans it before routing, if it leads to Rekor v1's own paths: clients post to
 * `/api/v1/log/entries/retrieve/`, and join base URLs that end in a slash. Any other URL comes back as it is: the path of a tile has one spelling.
 * @see go-openapi/runtime, middleware/router.go
 */
export function cleanRekorPath(url: string): string {
  const query = url.indexOf('?');
  const path = query < 0 ? url : url.slice(0, query);
  if (!unclean.test(path)) return url;
  const clean = posix.normalize(path).replace(/(?!^)\/$/, '');
  return rekorPath.test(clean) ? clean + url.slice(path.length) : url;
}
