import { type Document, isAlias, isScalar, parseDocument, visit } from 'yaml';

/** How often a file may use its anchors. */
const ALIAS_LIMIT = 1000;
/** Where Fulcio's own file keeps its anchors: a list of texts that nothing else reads. */
const ANCHORS = 'define';

/**
 * Reads YAML as Fulcio's configuration files use it: anchors on texts, gathered in a list named `define`, and aliases to
 * them, also as keys. Aliases to anything larger are refused: a file of a kilobyte could become gigabytes.
 * @throws Error, the parser's or ours, that says what is wrong
 */
export function parseYaml(content: string): unknown {
  const document = parseDocument(separateAliasKeys(content), { logLevel: 'silent' });
  const [problem] = document.errors;
  if (problem !== undefined) throw problem;
  checkAliases(document);
  const value: unknown = document.toJS({ maxAliasCount: ALIAS_LIMIT });
  return withoutAnchors(value);
}

/**
 * Fulcio's parser ends the name of an alias at the first character that is no letter, digit, `-` or `_`; YAML 1.2 (§6.9.2)
 * takes the colon of `*name:` for a part of the name, unless a space is before it.
 */
function separateAliasKeys(content: string): string {
  return content.replace(/^([ \t]*\*[A-Za-z0-9_-]+):(?=\s|$)/gm, '$1 :');
}

function checkAliases(document: Document): void {
  visit(document, {
    Alias: (_, alias) => {
      if (!isScalar(alias.resolve(document))) throw new Error(`alias *${alias.source} is not to a single text`);
    },
    // The parser compares keys before it knows what their aliases stand for.
    Map: (_, map) => {
      const keys = map.items.map(({ key }) => (isAlias(key) ? key.resolve(document) : key));
      const names = keys.map((key) => (isScalar(key) ? String(key.value) : ''));
      const twice = names.find((name, i) => names.indexOf(name) !== i);
      if (twice !== undefined) throw new Error(`key ${JSON.stringify(twice)} is there twice`);
    },
  });
}

function withoutAnchors(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, ANCHORS)) return value;
  const { [ANCHORS]: anchors, ...rest } = value as Record<string, unknown>;
  if (!Array.isArray(anchors) || anchors.some((anchor) => typeof anchor !== 'string')) {
    throw new Error(`${ANCHORS} is for a list of texts with anchors`);
  }
  return rest;
}
