import { repositoryOf, withDefaultTag, type Reference } from '#libs/oci';
import { PolicyError, quote } from './error.js';

/** A compiled pattern of image names. */
export interface Glob {
  /** As it was written. */
  readonly text: string;
  /** Whether it is the whole of `name`, from the first character to the last. */
  readonly matches: (name: string) => boolean;
}

type Token = { readonly kind: 'character'; readonly value: string } | { readonly kind: 'segment' | 'anything' };

// policy-controller: pkg/apis/glob, with the @ that its later versions allow
const characters = /^[a-zA-Z0-9_:/*.@-]+$/;
const MAX_GLOB = 1024;

/** What policy-controller takes these two for: images of Docker Hub, whose host nobody writes. */
const special: ReadonlyMap<string, string> = new Map([
  ['*', 'index.docker.io/library/*'],
  ['*/*', 'index.docker.io/*/*'],
]);

/**
 * Compiles a pattern of image names: `**` is any text, `*` any text without `/` (but with `:`), all else is itself, both ends are anchored.
 * Matching takes time linear in the name, whatever the pattern: it is no regular expression.
 * @throws PolicyError `POLICY_GLOB`
 * @see policy-controller: pkg/apis/glob/glob.go
 */
export function compileGlob(text: string): Glob {
  if (text.length > MAX_GLOB || !characters.test(text)) {
    throw new PolicyError(
      'POLICY_GLOB',
      `Cannot use glob ${quote(text)}: only letters, digits and - _ : / * . @ are allowed, at most ${MAX_GLOB}`,
      { cure: 'Write the name of an image with * for a part of it, and ** for parts with slashes' },
    );
  }
  const tokens = tokenize(special.get(text) ?? text);
  return { text, matches: (name) => matchTokens(tokens, name) };
}

function tokenize(glob: string): Token[] {
  return (glob.match(/\*\*|\*|[^*]/g) ?? []).map((part): Token => {
    if (part === '**') return { kind: 'anything' };
    return part === '*' ? { kind: 'segment' } : { kind: 'character', value: part };
  });
}

/** `alive[i]`: the name so far may be what the first `i` tokens stand for. One pass over the name, no backtracking. */
function matchTokens(tokens: readonly Token[], name: string): boolean {
  let alive = skipStars(
    tokens,
    Array.from({ length: tokens.length + 1 }, (_, i) => i === 0),
  );
  for (const character of name) {
    const next = new Array<boolean>(tokens.length + 1).fill(false);
    for (const [i, token] of tokens.entries()) {
      if (alive[i] !== true) continue;
      if (token.kind === 'anything' || (token.kind === 'segment' && character !== '/')) next[i] = true;
      else if (token.kind === 'character' && token.value === character) next[i + 1] = true;
    }
    alive = skipStars(tokens, next);
  }
  return alive[tokens.length] === true;
}

/** A star may stand for nothing. */
function skipStars(tokens: readonly Token[], alive: boolean[]): boolean[] {
  for (const [i, token] of tokens.entries()) {
    if (alive[i] === true && token.kind !== 'character') alive[i + 1] = true;
  }
  return alive;
}

/**
 * The names by which an image is looked for in policies, without repetition: first qualified as go-containerregistry does it (`index.docker.io/library/nginx:latest`; with
 * a digest the tag is left out), then as it was written. With `digest`, that of what the tag means now, also the two names under which the image would
 * be admitted to a cluster, where tags are replaced before policies are asked. All of them with `docker.io` too, where upstream looks only for what was
 * written: nobody shall get around a policy for `docker.io/**` by another spelling.
 */
export function namesOf(image: string, reference: Reference, digest?: string): string[] {
  const { tag, digest: given } = withDefaultTag(reference);
  const qualified = (hub: 'docker.io' | 'index.docker.io'): string[] => {
    const repository = repositoryOf(reference, { hub });
    if (given !== undefined) return [`${repository}@${given}`];
    const resolved = digest === undefined ? [] : [`${repository}@${digest}`, `${repository}:${tag}@${digest}`];
    return [`${repository}:${tag}`, ...resolved];
  };
  const [name = '', ...resolved] = qualified('index.docker.io');
  return [...new Set([name, image, ...resolved, ...qualified('docker.io')])];
}
