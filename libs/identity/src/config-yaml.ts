import { Composer, type CST, type Document, isAlias, isPair, isScalar, Lexer, Parser, visit } from 'yaml';

/** How often a file may use its anchors. */
const ALIAS_LIMIT = 1000;
/** Where Fulcio's own file keeps its anchors: a list of texts that nothing else reads. */
const ANCHORS = 'define';
/** Fulcio's own file has four levels. */
const MAX_DEPTH = 16;
/** Of the parser, which counts the document, and keys beside collections. */
const MAX_STACK = 4 * MAX_DEPTH;

/**
 * Reads YAML 1.2 as Fulcio's configuration files use it: one document, anchors on texts, gathered in a list named `define`, and aliases to them, also as
 * keys. Aliases to anything larger are refused: a file of a kilobyte could become gigabytes. So are a second document, keys that are there twice, tags that
 * YAML 1.2 does not have, and whatever else the parser only warns of: what a reviewer sees must be what is read.
 * @throws Error, the parser's or ours, that says what is wrong
 */
export function parseYaml(content: string): unknown {
  const [document, ...others] = parseDocuments(separateAliasKeys(content));
  if (document === undefined || others.length > 0) {
    throw new Error(`it has ${others.length + 1} documents, and only one is read`);
  }
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) throw problem;
  if (document.directives?.yaml.version !== '1.2') {
    // In 1.1 `on` is true, and `<<` copies what stands elsewhere.
    throw new Error(`YAML ${document.directives?.yaml.version ?? 'of no version'} is not read, only 1.2`);
  }
  checkNodes(document);
  const value: unknown = document.toJS({ maxAliasCount: ALIAS_LIMIT });
  return withoutAnchors(value);
}

/** YAML's own steps, lexer to composer, with a look at the depth between them: only the composer descends by recursion. */
function parseDocuments(content: string): Document.Parsed[] {
  const parser = new Parser();
  function* tokens(): Generator<CST.Token> {
    for (const lexeme of new Lexer().lex(content)) {
      yield* parser.next(lexeme);
      // A process whose stack ends in the middle of a regular expression is not thrown at: it is gone.
      if (parser.stack.length > MAX_STACK) throw tooDeep();
    }
    yield* parser.end();
  }
  // Keys are compared below: the composer does not know what aliases stand for, and compares each with each.
  const composer = new Composer({ uniqueKeys: false, version: '1.2', logLevel: 'silent' });
  return [...composer.compose(tokens(), true, content.length)];
}

function tooDeep(): Error {
  return new Error(`it is nested deeper than ${MAX_DEPTH} levels`);
}

/**
 * Fulcio's parser ends the name of an alias at the first character that is no letter, digit, `-` or `_`; YAML 1.2 (§6.9.2)
 * takes the colon of `*name:` for a part of the name, unless a space is before it.
 */
function separateAliasKeys(content: string): string {
  return content.replace(/^([ \t]*\*[A-Za-z0-9_-]+):(?=\s|$)/gm, '$1 :');
}

function checkNodes(document: Document): void {
  let aliases = 0;
  visit(document, {
    // First of all: to resolve one takes as long as all that stands before it.
    Alias: () => {
      if (++aliases > ALIAS_LIMIT) throw new Error(`it has more than ${ALIAS_LIMIT} aliases`);
    },
  });
  visit(document, {
    Alias: (_, alias) => {
      if (!isScalar(alias.resolve(document))) throw new Error(`alias *${alias.source} is not to a single text`);
    },
    Map: (_, map, path) => {
      checkDepth(path);
      const seen = new Set<string>();
      for (const { key } of map.items) {
        const name = nameOf(isAlias(key) ? key.resolve(document) : key);
        if (seen.has(name)) throw new Error(`key ${JSON.stringify(name)} is there twice`);
        seen.add(name);
      }
    },
    Seq: (_, _seq, path) => checkDepth(path),
  });
}

/** `path`: from the document down to the collection. Each level is a collection, and in a mapping a pair. */
function checkDepth(path: readonly unknown[]): void {
  if (path.filter((node) => !isPair(node)).length > MAX_DEPTH) throw tooDeep();
}

function nameOf(key: unknown): string {
  // Numbers, truth values and nothing would become texts that may be keys already.
  if (!isScalar(key) || typeof key.value !== 'string') throw new Error('a key is not a text; put it in quotes');
  return key.value;
}

function withoutAnchors(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, ANCHORS)) return value;
  const { [ANCHORS]: anchors, ...rest } = value as Record<string, unknown>;
  if (!Array.isArray(anchors) || anchors.some((anchor) => typeof anchor !== 'string')) {
    throw new Error(`${ANCHORS} is for a list of texts with anchors`);
  }
  return rest;
}
