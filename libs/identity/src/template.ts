import { claimError } from './claims.js';
import { IdentityError, quote } from './errors.js';

/** A template's parsed form: parsed once, when the configuration is read, rendered for every certificate. */
export interface Template {
  readonly text: string;
  /** Nothing but white space: whatever it is for is left out. */
  readonly blank: boolean;
  /** The names it reads, each once. */
  readonly names: readonly TemplateName[];
  readonly parts: readonly Part[];
}

/** A name that a template reads. */
export interface TemplateName {
  readonly name: string;
  /** Whether rendering without it always fails: it is read on every path, and not by `index`, which takes absent for empty. */
  readonly required: boolean;
  /** Whether its text is a part of every result, by an action that prints it alone. */
  readonly printed: boolean;
}

/** Where a template finds what it names. */
export interface TemplateValues {
  /** The value, undefined if there is none. */
  get(name: string): string | undefined;
  /** Told when an action printed nothing, with the names it read. */
  empty?(names: readonly string[]): void;
}

type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly value: Expression }
  | { readonly kind: 'if'; readonly branches: readonly Branch[]; readonly otherwise: readonly Part[] };
interface Branch {
  readonly test: Expression;
  readonly then: readonly Part[];
}
/** The names that an expression reads, and whether it fails without each. */
type Reads = ReadonlyMap<string, boolean>;
type Expression =
  | {
      readonly type: 'text';
      readonly reads: Reads;
      readonly literal?: true;
      evaluate(values: TemplateValues): string;
    }
  | { readonly type: 'truth'; readonly reads: Reads; evaluate(values: TemplateValues): boolean };
type Text = Extract<Expression, { type: 'text' }>;

/** Longest template, in characters: the public instance's longest has 200. */
const TEMPLATE_LIMIT = 4096;
/** How deep conditions and parentheses may nest. */
const DEPTH_LIMIT = 16;
/** Longest result, in characters. A template may name a claim many times over, and claims are chosen by strangers. */
const OUTPUT_LIMIT = 8192;

/**
 * Reads a template as Fulcio's configuration has them. Text without `{{` is the name of a claim; otherwise it is the part of
 * Go's text/template that such files use: literal text, `{{ .name }}`, `{{ index . "a/b" }}`, string constants, comments,
 * `{{ if X }}…{{ else if Y }}…{{ else }}…{{ end }}` with `eq`, `ne`, `and`, `or`, `not`, parentheses and the trim markers
 * `{{-` and `-}}`. Anything else is refused by its name here, so that no template fails for its form on a day of signing.
 *
 *     renderTemplate(parseTemplate('refs/{{ if eq .ref_type "branch" }}heads{{ else }}tags{{ end }}/{{ .ref }}'), values)
 *
 * @throws IdentityError `IDENTITY_CONFIG`
 * @see https://pkg.go.dev/text/template
 */
export function parseTemplate(text: string): Template {
  if (text.length > TEMPLATE_LIMIT) {
    throw refuse(text, `it has ${text.length} characters, the limit is ${TEMPLATE_LIMIT}`);
  }
  if (text.trim() === '') return { text, blank: true, names: [], parts: [] };
  if (!text.includes('{{')) {
    const parts: Part[] = [{ kind: 'print', value: field(text) }];
    return { text, blank: false, names: [{ name: text, required: true, printed: true }], parts };
  }
  const parser = new Parser(text);
  const parts = parser.parse();
  return { text, blank: false, names: collectNames(parts), parts };
}

/**
 * Fills a template in.
 * @throws IdentityError `IDENTITY_CLAIM` when a name that it prints or tests by `.name` has no value, or the result is too long
 */
export function renderTemplate(template: Template, values: TemplateValues): string {
  return renderParts(template.parts, values, template);
}

function renderParts(parts: readonly Part[], values: TemplateValues, template: Template): string {
  let output = '';
  for (const part of parts) {
    if (part.kind === 'text') {
      output += part.text;
    } else if (part.kind === 'print') {
      const printed = String(part.value.evaluate(values));
      if (printed === '') values.empty?.([...part.value.reads.keys()]);
      output += printed;
    } else {
      const branch = part.branches.find(({ test }) => isTrue(test, values));
      output += renderParts(branch?.then ?? part.otherwise, values, template);
    }
    if (output.length > OUTPUT_LIMIT) {
      throw new IdentityError(
        'IDENTITY_CLAIM',
        `Cannot fill in template ${quote(template.text)}: the result has more than ${OUTPUT_LIMIT} characters`,
      );
    }
  }
  return output;
}

/** As in Go: a string is true unless it is empty. */
function isTrue(test: Expression, values: TemplateValues): boolean {
  return Boolean(test.evaluate(values));
}

function collectNames(parts: readonly Part[]): TemplateName[] {
  const names = new Map<string, TemplateName>();
  const add = ({ type, reads }: Expression, always: boolean, printed: boolean): void => {
    for (const [name, required] of reads) {
      const known = names.get(name);
      names.set(name, {
        name,
        required: (always && required) || known?.required === true,
        printed: (always && printed && type === 'text' && reads.size === 1) || known?.printed === true,
      });
    }
  };
  const walk = (list: readonly Part[], always: boolean): void => {
    for (const part of list) {
      if (part.kind === 'print') add(part.value, always, true);
      if (part.kind !== 'if') continue;
      part.branches.forEach(({ test, then }, i) => {
        // Only the first condition is always looked at.
        add(test, always && i === 0, false);
        walk(then, false);
      });
      walk(part.otherwise, false);
    }
  };
  walk(parts, true);
  return [...names.values()];
}

/** What operands read together, of which the first `sure` are always evaluated. */
function readsOf(operands: readonly Expression[], sure: number): Reads {
  const reads = new Map<string, boolean>();
  operands.forEach((operand, i) => {
    for (const [name, required] of operand.reads) {
      reads.set(name, (i < sure && required) || reads.get(name) === true);
    }
  });
  return reads;
}

function field(name: string): Text {
  return {
    type: 'text',
    reads: new Map([[name, true]]),
    evaluate(values) {
      const value = values.get(name);
      if (value === undefined) throw claimError(name, undefined, 'a value, because a template of the issuer reads it');
      return value;
    },
  };
}

function index(name: string): Text {
  return { type: 'text', reads: new Map([[name, false]]), evaluate: (values) => values.get(name) ?? '' };
}

function constant(text: string): Text {
  return { type: 'text', reads: new Map(), literal: true, evaluate: () => text };
}

// Tokens.

type Token =
  | { readonly kind: 'string' | 'field' | 'word'; readonly text: string; readonly spaced: boolean }
  | { readonly kind: 'dot' | '(' | ')' | 'end'; readonly text: string; readonly spaced: boolean };

interface Action {
  readonly tokens: readonly Token[];
  /** Where the text goes on. */
  readonly end: number;
  readonly trimLeft: boolean;
  readonly trimRight: boolean;
  readonly comment: boolean;
}

const WHITE_SPACE = ' \t\r\n';
const space = /[ \t\r\n]+/y;
const rightTrim = /[ \t\r\n]+-\}\}/y;
const interpreted = /"((?:[^"\\\n]|\\.)*)"/y;
const raw = /`([^`]*)`/y;
const fieldName = /\.([\p{L}_][\p{L}\p{Nd}_]*)/uy;
const word = /[\p{L}_][\p{L}\p{Nd}_]*/uy;
/** What may follow a field or a word (text/template/parse: atTerminator). */
const terminator = /[ \t\r\n.,|:()]|\}\}|$/y;
const escapes: Readonly<Record<string, string>> = { '\\': '\\', '"': '"', n: '\n', r: '\r', t: '\t' };
/** What Go's templates can do beyond us, for messages. */
const unsupported: Readonly<Record<string, string>> = {
  '|': 'pipelines (|) are',
  $: 'variables ($) are',
  ':': 'variables (:=) are',
  '=': 'assignments (=) are',
  ',': 'lists (,) are',
  "'": "character constants (') are",
};

const functions = new Set(['index', 'eq', 'ne', 'not', 'and', 'or']);
const keywords = new Set(['range', 'with', 'define', 'template', 'block', 'break', 'continue']);

class Parser {
  #position = 0;

  constructor(private readonly text: string) {}

  parse(): Part[] {
    const { parts, stop } = this.#parseList(0);
    if (stop !== undefined) throw this.#refuse(`{{ ${stop.word} }} without {{ if }}`);
    return parts;
  }

  /** Parts up to the end of the text, or up to an `else` or `end`, which is given back. */
  #parseList(depth: number): { parts: Part[]; stop: { word: 'else' | 'end'; tokens: readonly Token[] } | undefined } {
    this.#checkDepth(depth);
    const parts: Part[] = [];
    for (;;) {
      const open = this.text.indexOf('{{', this.#position);
      if (open < 0) {
        this.#addText(parts, this.text.slice(this.#position));
        this.#position = this.text.length;
        return { parts, stop: undefined };
      }
      const before = this.text.slice(this.#position, open);
      const action = this.#lex(open + 2);
      this.#addText(parts, action.trimLeft ? trimEnd(before) : before);
      this.#position = action.trimRight ? this.#skipSpace(action.end) : action.end;
      if (action.comment) continue;
      const [first, ...rest] = action.tokens;
      if (first?.kind === 'word' && (first.text === 'else' || first.text === 'end')) {
        return { parts, stop: { word: first.text, tokens: rest } };
      }
      if (first?.kind === 'word' && first.text === 'if') {
        parts.push(this.#parseIf(rest, depth));
      } else {
        parts.push({ kind: 'print', value: this.#parseWhole(action.tokens, depth) });
      }
    }
  }

  #parseIf(condition: readonly Token[], depth: number): Part {
    const branches: Branch[] = [];
    let test: readonly Token[] | undefined = condition;
    let otherwise: Part[] = [];
    for (;;) {
      const expression: Expression | undefined = test && this.#parseWhole(test, depth);
      const { parts, stop } = this.#parseList(depth + 1);
      if (stop === undefined) throw this.#refuse('{{ if }} without {{ end }}');
      if (expression) branches.push({ test: expression, then: parts });
      else otherwise = parts;
      const [next, ...rest] = stop.tokens;
      if (stop.word === 'end') {
        if (next?.kind !== 'end') throw this.#refuse(`unexpected ${quote(next?.text)} after end`);
        return { kind: 'if', branches, otherwise };
      }
      if (expression === undefined) throw this.#refuse('{{ else }} after {{ else }}');
      if (next?.kind === 'word' && next.text === 'if') test = rest;
      else if (next?.kind === 'end') test = undefined;
      else throw this.#refuse(`unexpected ${quote(next?.text)} after else`);
      // Each `else if` is an `if` within the `else` of the one before.
      this.#checkDepth(depth + branches.length);
    }
  }

  /** One expression, and nothing behind it. */
  #parseWhole(tokens: readonly Token[], depth: number): Expression {
    const { expression, rest } = this.#parseCommand(tokens, depth);
    const [next] = rest;
    if (next?.kind !== 'end') throw this.#refuse(`unexpected ${quote(next?.text)}`);
    return expression;
  }

  #parseCommand(tokens: readonly Token[], depth: number): { expression: Expression; rest: readonly Token[] } {
    this.#checkDepth(depth);
    const [first] = tokens;
    if (first?.kind === 'word') {
      const operands: (Expression | 'dot')[] = [];
      let rest: readonly Token[] = tokens.slice(1);
      while (rest[0] !== undefined && rest[0].kind !== 'end' && rest[0].kind !== ')') {
        if (!rest[0].spaced) throw this.#refuse(`unexpected ${quote(rest[0].text)}, expected a space before it`);
        const read = this.#parseOperand(rest, depth);
        operands.push(read.operand);
        rest = read.rest;
      }
      return { expression: this.#call(first.text, operands), rest };
    }
    const { operand, rest } = this.#parseOperand(tokens, depth);
    if (operand === 'dot') throw this.#refuse('the whole set of claims (.) cannot be used here');
    const [next] = rest;
    if (next !== undefined && next.kind !== 'end' && next.kind !== ')') {
      throw this.#refuse(`unexpected ${quote(next.text)} after ${quote(first?.text)}, which is not a function`);
    }
    return { expression: operand, rest };
  }

  #parseOperand(tokens: readonly Token[], depth: number): { operand: Expression | 'dot'; rest: readonly Token[] } {
    const [token, ...rest] = tokens;
    switch (token?.kind) {
      case 'string':
        return { operand: constant(token.text), rest };
      case 'field':
        if (rest[0]?.kind === 'field' && !rest[0].spaced) {
          throw this.#refuse(
            `a field of a field (.${token.text}.${rest[0].text}) is not supported: claims are text here`,
          );
        }
        return { operand: field(token.text), rest };
      case 'dot':
        return { operand: 'dot', rest };
      case '(': {
        const inner = this.#parseCommand(rest, depth + 1);
        const [close, ...after] = inner.rest;
        if (close?.kind !== ')') throw this.#refuse('a parenthesis is not closed');
        if (after[0] !== undefined && !after[0].spaced && (after[0].kind === 'field' || after[0].kind === 'dot')) {
          throw this.#refuse('a field of an expression is not supported: claims are text here');
        }
        return { operand: inner.expression, rest: after };
      }
      case 'word':
        throw this.#refuse(`${quote(token.text)} as an operand is not supported; calls within calls need parentheses`);
      default:
        throw this.#refuse(token?.kind === ')' ? 'unexpected ")"' : 'a value is missing');
    }
  }

  #call(name: string, operands: readonly (Expression | 'dot')[]): Expression {
    if (!functions.has(name)) {
      throw this.#refuse(`${keywords.has(name) ? '' : 'function '}${name} is not supported`);
    }
    if (name === 'index') {
      const [whole, key] = operands;
      if (operands.length !== 2 || whole !== 'dot' || key === undefined || key === 'dot' || !isLiteral(key)) {
        throw this.#refuse('index is supported only as index . "name"');
      }
      return index(key.evaluate({ get: () => undefined }));
    }
    const values = operands.filter((operand) => operand !== 'dot');
    if (values.length !== operands.length) throw this.#refuse('the whole set of claims (.) cannot be used here');
    switch (name) {
      case 'eq':
      case 'ne':
        return this.#compare(name, values);
      case 'not': {
        const [value] = values;
        if (value === undefined || values.length !== 1) throw this.#refuse('not takes one operand');
        return { type: 'truth', reads: value.reads, evaluate: (claims) => !isTrue(value, claims) };
      }
      default:
        return this.#choose(name === 'and' ? 'and' : 'or', values);
    }
  }

  #compare(name: 'eq' | 'ne', values: readonly Expression[]): Expression {
    const texts = values.filter((value) => value.type === 'text');
    if (texts.length !== values.length) throw this.#refuse(`${name} compares texts, not conditions`);
    const [left, ...others] = texts;
    if (left === undefined || others.length === 0 || (name === 'ne' && others.length > 1)) {
      throw this.#refuse(`${name} takes ${name === 'ne' ? 'two operands' : 'two operands or more'}`);
    }
    return {
      type: 'truth',
      reads: readsOf(texts, texts.length),
      evaluate(claims) {
        const text = left.evaluate(claims);
        // All of them, as in Go, where operands are evaluated before the call: a missing one is an error, not a matter of luck.
        const equal = others.map((other) => other.evaluate(claims)).includes(text);
        return name === 'eq' ? equal : !equal;
      },
    };
  }

  /** The first operand that settles it, or the last; those behind it are not evaluated. */
  #choose(name: 'and' | 'or', values: readonly Expression[]): Expression {
    const [first] = values;
    if (first === undefined) throw this.#refuse(`${name} takes one operand or more`);
    if (values.some(({ type }) => type !== first.type)) {
      throw this.#refuse(`${name} of texts and conditions together is not supported`);
    }
    const settles = (value: string | boolean) => Boolean(value) === (name === 'or');
    const choose = <T extends string | boolean>(operands: readonly { evaluate(claims: TemplateValues): T }[]) => {
      return (claims: TemplateValues): T => {
        let result: T | undefined;
        for (const operand of operands) {
          result = operand.evaluate(claims);
          if (settles(result)) break;
        }
        if (result === undefined) throw new Error('no operands after the check');
        return result;
      };
    };
    const reads = readsOf(values, 1);
    return first.type === 'text'
      ? { type: 'text', reads, evaluate: choose(values.filter((value) => value.type === 'text')) }
      : { type: 'truth', reads, evaluate: choose(values.filter((value) => value.type === 'truth')) };
  }

  /** The tokens of an action that starts behind `{{`. */
  #lex(start: number): Action {
    let at = start;
    const { text } = this;
    const trimLeft = text[at] === '-' && WHITE_SPACE.includes(text[at + 1] ?? 'x');
    if (trimLeft) at += 2;
    const close = (trimRight: boolean, end: number, tokens: readonly Token[], comment = false): Action => {
      return { tokens: [...tokens, { kind: 'end', text: '}}', spaced: true }], end, trimLeft, trimRight, comment };
    };

    const content = trimLeft ? this.#skipSpace(at) : at;
    if (text.startsWith('/*', content)) {
      const over = text.indexOf('*/', content + 2) + 2;
      if (over < 2) throw this.#refuse('a comment is not closed');
      if (text.startsWith('}}', over)) return close(false, over + 2, [], true);
      const trimmed = match(rightTrim, text, over);
      if (trimmed) return close(true, over + trimmed[0].length, [], true);
      throw this.#refuse('a comment must fill its action');
    }

    const tokens: Token[] = [];
    let spaced = true;
    for (;;) {
      if (text.startsWith('}}', at)) return close(false, at + 2, tokens);
      const trimmed = match(rightTrim, text, at);
      if (trimmed) return close(true, at + trimmed[0].length, tokens);
      const gap = match(space, text, at);
      if (gap) {
        at += gap[0].length;
        spaced = true;
        continue;
      }
      const { token, length } = this.#token(at, spaced);
      tokens.push(token);
      at += length;
      spaced = false;
    }
  }

  #token(at: number, spaced: boolean): { token: Token; length: number } {
    const { text } = this;
    const character = text[at];
    if (character === undefined) throw this.#refuse('an action is not closed by }}');
    if (character === '(' || character === ')')
      return { token: { kind: character, text: character, spaced }, length: 1 };
    const rawText = match(raw, text, at);
    if (rawText) return { token: { kind: 'string', text: rawText[1] ?? '', spaced }, length: rawText[0].length };
    const quoted = match(interpreted, text, at);
    if (quoted) {
      const unquoted = (quoted[1] ?? '').replace(/\\(.)/g, (escape, letter: string) => {
        const meant = escapes[letter];
        if (meant === undefined) throw this.#refuse(`the escape ${escape} is not supported`);
        return meant;
      });
      return { token: { kind: 'string', text: unquoted, spaced }, length: quoted[0].length };
    }
    for (const [kind, pattern] of [
      ['field', fieldName],
      ['word', word],
    ] as const) {
      const found = match(pattern, text, at);
      if (!found) continue;
      if (!match(terminator, text, at + found[0].length)) {
        throw this.#refuse(
          `unexpected ${quote(text[at + found[0].length])} after ${quote(found[0])}; names with other characters need index . "name"`,
        );
      }
      return { token: { kind, text: found[1] ?? found[0], spaced }, length: found[0].length };
    }
    if (character === '.') {
      if (/\d/.test(text[at + 1] ?? '')) throw this.#refuse('numbers are not supported');
      return { token: { kind: 'dot', text: '.', spaced }, length: 1 };
    }
    const known = Object.hasOwn(unsupported, character) ? unsupported[character] : undefined;
    if (known !== undefined) throw this.#refuse(`${known} not supported`);
    if (/[-+\d]/.test(character)) throw this.#refuse('numbers are not supported');
    if (character === '"' || character === '`') throw this.#refuse('a string is not closed');
    throw this.#refuse(`unexpected ${quote(character)}`);
  }

  #skipSpace(at: number): number {
    return at + (match(space, this.text, at)?.[0].length ?? 0);
  }

  #addText(parts: Part[], text: string): void {
    if (text !== '') parts.push({ kind: 'text', text });
  }

  #checkDepth(depth: number): void {
    if (depth > DEPTH_LIMIT) throw this.#refuse(`it nests deeper than ${DEPTH_LIMIT}`);
  }

  #refuse(state: string): IdentityError {
    return refuse(this.text, state);
  }
}

function isLiteral(expression: Expression): expression is Text {
  return expression.type === 'text' && expression.literal === true;
}

function match(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && WHITE_SPACE.includes(text[end - 1] ?? 'x')) end--;
  return text.slice(0, end);
}

function refuse(text: string, state: string): IdentityError {
  return new IdentityError('IDENTITY_CONFIG', `Cannot use template ${quote(text)}: ${state}`);
}
