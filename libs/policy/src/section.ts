import {
  Composer,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  Parser,
  visit,
  type CST,
  type Document,
  type Node,
  type ParsedNode,
  type YAMLMap,
} from 'yaml';
import { PolicyError, quote, reasonOf, type PolicyErrorCode, type Problem } from './error.js';

/** Policies are a few kilobytes; trust roots and compiled rules may stand in the file too. */
export const MAX_FILE = 8 * 1024 * 1024;
const MAX_DOCUMENTS = 256;
/** More of them help nobody. */
const MAX_PROBLEMS = 50;
const MAX_DEPTH = 32;
/** Of one map or list. The composer compares every name of a map with every other one. */
const MAX_ENTRIES = 4096;
/** Of the parser, which counts a document, and keys beside collections. */
const MAX_STACK = 4 * MAX_DEPTH;

/** Everything that is wrong in one file: authors see it all at once. */
export class Problems {
  readonly #found: Problem[] = [];
  #code: PolicyErrorCode = 'POLICY_FIELD';

  constructor(
    /** The file's name, for messages. */
    readonly source: string,
    readonly lines: LineCounter,
  ) {}

  add(node: Node | undefined, path: string, message: string, cure?: string, code?: PolicyErrorCode): void {
    this.#add({ line: this.line(node), path, message, ...(cure !== undefined && { cure }) }, code);
  }

  addAt(line: number, message: string, code: PolicyErrorCode): void {
    this.#add({ line, path: '', message }, code);
  }

  #add(problem: Problem, code: PolicyErrorCode | undefined): void {
    if (this.#found.length === 0 && code !== undefined) this.#code = code;
    if (this.#found.length < MAX_PROBLEMS) this.#found.push(problem);
  }

  line(node: Node | undefined): number {
    return this.lines.linePos(node?.range?.[0] ?? 0).line || 1;
  }

  get count(): number {
    return this.#found.length;
  }

  /** @throws PolicyError if there is any */
  check(): void {
    const [first] = this.#found;
    if (first === undefined) return;
    const others = this.#found.length - 1;
    throw new PolicyError(
      this.#code,
      `Cannot read ${this.source}: ${describeProblem(first)}${others === 0 ? '' : ` (and ${others} more)`}`,
      { problems: this.#found },
    );
  }
}

/** `line 7: ClusterImagePolicy "web": spec.images[0].glob: is empty` */
export function describeProblem({ line, path, message }: Problem): string {
  return `line ${line}: ${path === '' ? '' : `${path}: `}${message}`;
}

/**
 * The documents of a YAML or JSON text, as sections. Names that are there twice, aliases and tags that are not of YAML's core are refused: what a
 * reviewer sees must be what is read.
 * @throws PolicyError `POLICY_SYNTAX`, `POLICY_LIMIT`
 */
export function parseSections(text: string, source: string): { problems: Problems; sections: Section[] } {
  const tooMuch = (state: string) => new PolicyError('POLICY_LIMIT', `Cannot read ${source}: ${state}`);
  if (text.length > MAX_FILE) throw tooMuch(`it has ${text.length} characters, at most ${MAX_FILE}`);
  const problems = new Problems(source, new LineCounter());
  try {
    const sections = parseDocuments(text, problems).flatMap((document) => openDocument(document, problems));
    if (sections.length > MAX_DOCUMENTS) throw tooMuch(`it has more than ${MAX_DOCUMENTS} documents`);
    return { problems, sections };
  } catch (error) {
    if (error instanceof PolicyError) throw error;
    throw new PolicyError('POLICY_SYNTAX', `Cannot read ${source}: ${firstLine(reasonOf(error))}`, { cause: error });
  }
}

/** YAML's own steps, lexer to composer, with a look at the depth between them: only the composer descends by recursion. */
function parseDocuments(text: string, { lines, source }: Problems): Document.Parsed[] {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  function* tokens(): Generator<CST.Token> {
    for (const lexeme of new Lexer().lex(text)) {
      yield* parser.next(lexeme);
      if (parser.stack.length > MAX_STACK) {
        // A process whose stack ends in the middle of a regular expression is not thrown at: it is gone.
        throw new PolicyError('POLICY_LIMIT', `Cannot read ${source}: it is nested too deep`);
      }
      // Whatever grows is at the top.
      const growing = parser.stack.at(-1);
      if (growing !== undefined && 'items' in growing && growing.items.length > MAX_ENTRIES) {
        const state = `something in it has more than ${MAX_ENTRIES} entries`;
        throw new PolicyError('POLICY_LIMIT', `Cannot read ${source}: ${state}`);
      }
    }
    yield* parser.end();
  }
  const composer = new Composer<ParsedNode, true>({
    lineCounter: lines,
    uniqueKeys: true,
    stringKeys: true,
    version: '1.2',
    logLevel: 'silent',
  });
  return [...composer.compose(tokens(), true, text.length)];
}

function openDocument(document: Document.Parsed, problems: Problems): Section[] {
  for (const { message, pos } of [...document.errors, ...document.warnings]) {
    problems.addAt(problems.lines.linePos(pos[0]).line, firstLine(message), 'POLICY_SYNTAX');
  }
  if (document.directives.yaml.version !== '1.2') {
    // In 1.1 `on` is true, and `<<` copies what stands elsewhere.
    problems.addAt(1, `YAML ${document.directives.yaml.version} is not read, only 1.2`, 'POLICY_SYNTAX');
  }
  visit(document, {
    Alias: (_, alias) =>
      problems.add(alias, '', `alias *${alias.source}: aliases are not read`, 'Write it out', 'POLICY_SYNTAX'),
    Node: (_, node, path) => {
      // Each level is a collection and a pair.
      if (path.length <= MAX_DEPTH * 2) return undefined;
      problems.add(node, '', `it is nested deeper than ${MAX_DEPTH} levels`, undefined, 'POLICY_LIMIT');
      return visit.BREAK;
    },
  });
  problems.check();
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return [];
  if (isMap(contents)) return [new Section(problems, document, contents, '')];
  problems.add(contents, '', 'a document must have names with values', undefined, 'POLICY_SYNTAX');
  problems.check();
  return [];
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? '';
}

/**
 * Names with values. Each name that the format knows is asked for once; {@link Section.end} then objects to all that nobody asked for, so that no setting is
 * ever accepted and ignored. A missing value is `undefined`; a wrong one is a problem, and reads as `undefined`.
 */
export class Section {
  readonly #asked = new Set<string>();

  constructor(
    readonly problems: Problems,
    readonly document: Document.Parsed,
    readonly node: YAMLMap,
    /** `spec.authorities[0]`; starts with the document once that has a name. */
    readonly path: string,
  ) {}

  /** The same content under another path. */
  at(path: string): Section {
    return new Section(this.problems, this.document, this.node, path);
  }

  get line(): number {
    return this.problems.line(this.node);
  }

  /** Notes a problem with a member, or with the section as a whole. */
  fault(name: string | undefined, message: string, cure?: string, code?: PolicyErrorCode): void {
    const node = name === undefined ? this.node : (this.#pair(name)?.value ?? this.#pair(name)?.key ?? this.node);
    this.problems.add(node, this.pathOf(name), message, cure, code);
  }

  pathOf(name: string | undefined): string {
    if (name === undefined) return this.path.replace(/: $/, '');
    return this.path === '' || this.path.endsWith(': ') ? `${this.path}${name}` : `${this.path}.${name}`;
  }

  has(name: string): boolean {
    return this.#pair(name) !== undefined;
  }

  /** A text that is not empty. `maxLength` in characters. */
  text(name: string, maxLength = 2048): string | undefined {
    const node = this.#value(name);
    if (node === undefined) return undefined;
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value !== 'string') {
      this.fault(name, `is ${describe(node)}, expected a text`, 'Put it in quotes if it is meant as text');
      return undefined;
    }
    if (value === '') this.fault(name, 'is empty', 'Leave it out, or give it a value');
    else if (value.length > maxLength) this.fault(name, `has ${value.length} characters, at most ${maxLength}`);
    else return value;
    return undefined;
  }

  requiredText(name: string, maxLength?: number): string | undefined {
    if (!this.has(name)) this.#missing(name);
    return this.text(name, maxLength);
  }

  /** One of a few words. */
  choice<Word extends string>(name: string, words: readonly Word[]): Word | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) this.fault(name, `is ${quote(value)}, expected ${words.join(' or ')}`);
    return word;
  }

  /** A URL of http or https, without user, query or fragment. */
  url(name: string): string | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^https?:\/\/[^/?#@\\\s]+(\/[^?#\\\s]*)?$/.test(value) && URL.canParse(value)) return value;
    this.fault(name, `is ${quote(value)}, expected a URL of http or https without user, query or fragment`);
    return undefined;
  }

  flag(name: string): boolean | undefined {
    const node = this.#value(name);
    if (node === undefined) return undefined;
    if (isScalar(node) && typeof node.value === 'boolean') return node.value;
    this.fault(name, `is ${describe(node)}, expected true or false`);
    return undefined;
  }

  section(name: string): Section | undefined {
    const node = this.#value(name);
    if (node === undefined) return undefined;
    if (isMap(node)) return new Section(this.problems, this.document, node, this.pathOf(name));
    this.fault(name, `is ${describe(node)}, expected names with values`);
    return undefined;
  }

  requiredSection(name: string): Section | undefined {
    if (!this.has(name)) this.#missing(name);
    return this.section(name);
  }

  /** A list of sections; an absent one is empty. */
  sections(name: string, max: number): Section[] {
    return this.#items(name, max).flatMap(({ node, path }) => {
      if (isMap(node)) return [new Section(this.problems, this.document, node, path)];
      this.problems.add(node, path, `is ${describe(node)}, expected names with values`);
      return [];
    });
  }

  /** A list of texts; an absent one is empty. */
  texts(name: string, max: number): string[] {
    return this.#items(name, max).flatMap(({ node, path }) => {
      if (isScalar(node) && typeof node.value === 'string') return [node.value];
      this.problems.add(node, path, `is ${describe(node)}, expected a text`);
      return [];
    });
  }

  /** Names with texts, which may be empty: labels. */
  textMap(name: string): Record<string, string> {
    const section = this.section(name);
    const entries = (section?.node.items ?? []).flatMap((pair): [string, string][] => {
      const key = keyOf(pair);
      if (isScalar(pair.value) && typeof pair.value.value === 'string') return [[key, pair.value.value]];
      section?.fault(key, `is ${describe(pair.value as Node)}, expected a text`, 'Put it in quotes'); // the parser's own node
      return [];
    });
    return Object.fromEntries(entries);
  }

  /** The value as plain data, for content that has a reader of its own. */
  data(name: string): unknown {
    const node = this.#value(name);
    return node === undefined ? undefined : node.toJS(this.document);
  }

  /** A field of the format that we do not honour: its presence is a problem, for a reason and with a cure. */
  refused(name: string, why: string, cure: string): void {
    this.#asked.add(name);
    if (this.has(name)) this.fault(name, `is not supported: ${why}`, cure);
  }

  /** As {@link refused}, for a switch that may stand there turned off. */
  refusedIfTrue(name: string, why: string, cure: string): void {
    if (this.flag(name) === true) this.fault(name, `is not supported: ${why}`, cure);
  }

  /** Fields for the people and machines that keep the file, no part of any decision. */
  notes(...names: string[]): void {
    for (const name of names) this.#asked.add(name);
  }

  /** All names that the format knows have been asked for: what is left is unknown. */
  end(): void {
    for (const pair of this.node.items) {
      const name = keyOf(pair);
      if (this.#asked.has(name)) continue;
      if (this.problems.count >= MAX_PROBLEMS) return;
      const known = [...this.#asked];
      const twin = known.find((candidate) => candidate.toLowerCase() === name.toLowerCase());
      this.fault(
        name,
        'unknown field',
        twin === undefined ? `Known here: ${known.join(', ')}` : `It is written ${twin}`,
      );
    }
  }

  #missing(name: string): void {
    this.fault(undefined, `${name} is missing`);
  }

  #items(name: string, max: number): { node: Node; path: string }[] {
    const node = this.#value(name);
    if (node === undefined) return [];
    if (!isSeq(node)) {
      this.fault(name, `is ${describe(node)}, expected a list`);
      return [];
    }
    if (node.items.length > max) {
      this.fault(name, `has ${node.items.length} entries, at most ${max}`, undefined, 'POLICY_LIMIT');
      return [];
    }
    // The parser's items are nodes: nothing here was made by hand.
    return node.items.map((item, i) => ({ node: item as Node, path: `${this.pathOf(name)}[${i}]` }));
  }

  #pair(name: string): { key: Node; value: Node | undefined } | undefined {
    const pair = this.node.items.find((item) => keyOf(item) === name);
    if (pair === undefined) return undefined;
    return { key: pair.key as Node, value: (pair.value ?? undefined) as Node | undefined };
  }

  #value(name: string): Node | undefined {
    this.#asked.add(name);
    const pair = this.#pair(name);
    if (pair === undefined) return undefined;
    if (pair.value === undefined || (isScalar(pair.value) && pair.value.value === null)) {
      // Go reads it as absent, and so would a slip of indentation turn off what was meant.
      this.fault(name, 'has no value', 'Leave it out, or give it a value');
      return undefined;
    }
    return pair.value;
  }
}

function keyOf(pair: { key: unknown }): string {
  return isScalar(pair.key) ? String(pair.key.value) : '';
}

function describe(node: Node): string {
  if (isMap(node)) return 'names with values';
  if (isSeq(node)) return 'a list';
  return isScalar(node) ? (typeof node.value === 'string' ? quote(node.value) : String(node.value)) : 'an alias';
}
