import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IdentityError } from './errors.js';
import { parseTemplate, renderTemplate, type TemplateValues } from './template.js';

const from = (values: Record<string, string>): TemplateValues => ({
  get: (name) => (Object.hasOwn(values, name) ? values[name] : undefined),
});
const fill = (text: string, values: Record<string, string> = {}) => renderTemplate(parseTemplate(text), from(values));

describe('renderTemplate()', () => {
  // Each result as Go's text/template has it, with the option missingkey=error.
  test.each<[string, Record<string, string>, string]>([
    ['sha', { sha: 'abc' }, 'abc'],
    ['oidc.example/sha', { 'oidc.example/sha': 'abc' }, 'abc'],
    [' sha', { ' sha': 'abc' }, 'abc'],
    ['{{ .a }}', { a: 'x' }, 'x'],
    ['{{.a}}/{{.b}}', { a: 'x', b: 'y' }, 'x/y'],
    ['https://{{ .a }}/', { a: 'x' }, 'https://x/'],
    ['{{ .a_1 }}', { a_1: '<&"\'>' }, '<&"\'>'],
    ['{{ .ünï }}', { ünï: 'x' }, 'x'],
    ['{{ (.a) }}', { a: 'x' }, 'x'],
    ['{{ "lit" }}{{ `r\\aw` }}', {}, 'litr\\aw'],
    ['{{ "}}" }}', {}, '}}'],
    ['{{ "a\\"b\\\\c\\n" }}', {}, 'a"b\\c\n'],
    ['a }} b', { 'a }} b': 'x' }, 'x'],
    ['{{ .a }} }}', { a: 'x' }, 'x }}'],
    ['{{ index . "a/b.c" }}', { 'a/b.c': 'x' }, 'x'],
    ['{{(index . "a/b")}}', { 'a/b': 'x' }, 'x'],
    ['[{{ index . "none" }}]', {}, '[]'],
    ['{{ if .a }}y{{ end }}', { a: 'x' }, 'y'],
    ['{{ if .a }}y{{ end }}', { a: '' }, ''],
    ['{{ if .a }}y{{ else }}n{{ end }}', { a: '' }, 'n'],
    ['{{if eq .t "branch"}}heads/{{ else }}tags/{{end}}{{ .r }}', { t: 'branch', r: 'main' }, 'heads/main'],
    ['{{if eq .t "branch"}}heads/{{ else }}tags/{{end}}{{ .r }}', { t: 'tag', r: 'v1' }, 'tags/v1'],
    ['{{if(eq .t "x")}}y{{end}}', { t: 'x' }, 'y'],
    ['{{ if eq .t "a" "b" }}y{{ end }}', { t: 'b' }, 'y'],
    ['{{ if ne .t "a" }}y{{ end }}', { t: 'b' }, 'y'],
    ['{{ if not .t }}y{{ end }}', { t: '' }, 'y'],
    ['{{ if not (eq .t "a") }}y{{ end }}', { t: 'b' }, 'y'],
    ['{{ if and .a .b }}y{{ end }}', { a: 'x', b: 'x' }, 'y'],
    ['{{ if and .a .b }}y{{ else }}n{{ end }}', { a: '' }, 'n'],
    ['{{ if or (eq .a "1") (eq .a "2") }}y{{ end }}', { a: '2' }, 'y'],
    ['{{ or .a .b }}', { a: 'x' }, 'x'],
    ['{{ or .a "default" }}', { a: '' }, 'default'],
    ['{{ and .a .b }}', { a: 'x', b: 'y' }, 'y'],
    ['{{ eq .a "x" }}', { a: 'x' }, 'true'],
    ['{{ not .a }}', { a: 'x' }, 'false'],
    ['{{ if eq .a "1" }}one{{ else if eq .a "2" }}two{{ else if .a }}many{{ else }}none{{ end }}', { a: '2' }, 'two'],
    ['{{ if eq .a "1" }}one{{ else if eq .a "2" }}two{{ else if .a }}many{{ else }}none{{ end }}', { a: '3' }, 'many'],
    ['{{ if eq .a "1" }}one{{ else if eq .a "2" }}two{{ else if .a }}many{{ else }}none{{ end }}', { a: '' }, 'none'],
    ['{{ if .a }}{{ if .b }}both{{ else }}a{{ end }}{{ end }}', { a: 'x', b: '' }, 'a'],
    ['a {{- .a -}} b', { a: 'x' }, 'axb'],
    ['a \n{{- /* note */ -}}\n b', {}, 'ab'],
    ['a{{/* note }} */}}b', {}, 'ab'],
    ['a\n{{- if .a }} y {{- end }} b', { a: 'x' }, 'a y b'],
    ['{{\n.a\n}}', { a: 'x' }, 'x'],
    ['  {{ .a }}  ', { a: 'x' }, '  x  '],
    ['{{ .constructor }}', { constructor: 'x' }, 'x'],
  ])('fills %j with %j in as %j', (text, values, result) => {
    expect(fill(text, values)).toBe(result);
  });

  test.each([
    ['sha', 'sha'],
    ['{{ .sha }}', 'sha'],
    ['{{ if .sha }}{{ end }}', 'sha'],
    ['{{ if eq .sha "x" }}{{ end }}', 'sha'],
    ['{{ if eq "x" "x" .sha }}{{ end }}', 'sha'],
    ['{{ or .sha "x" }}', 'sha'],
    ['{{ if or "" .sha }}{{ end }}', 'sha'],
    ['{{ .toString }}', 'toString'],
  ])('refuses %j without the value', (text, name) => {
    expect(() => fill(text)).toThrow(`Cannot read claim ${name}: found nothing`);
    expect(() => fill(text)).toThrow(expect.objectContaining({ code: 'IDENTITY_CLAIM' }));
  });

  test('tells what printed nothing', () => {
    const seen: (readonly string[])[] = [];
    const template = parseTemplate('{{ .a }}{{ index . "b" }}{{ or .a (index . "b") }}{{ .c }}{{ if .a }}{{ end }}');
    renderTemplate(template, { ...from({ a: '', c: 'x' }), empty: (names) => seen.push(names) });
    expect(seen).toEqual([['a'], ['b'], ['a', 'b']]);
  });

  test('stops at 8192 characters', () => {
    const long = 'x'.repeat(4096);
    expect(fill('{{ .a }}{{ .a }}', { a: long })).toHaveLength(8192);
    expect(() => fill('{{ .a }}{{ .a }}.', { a: long })).toThrow(/more than 8192 characters/);
    expect(() => fill('{{ if .a }}{{ .a }}{{ .a }}.{{ end }}', { a: long })).toThrow(/more than 8192/);
  });
});

describe('parseTemplate()', () => {
  test.each<[string, RegExp]>([
    ['{{ .a | printf "%s" }}', /pipelines \(\|\) are not supported/],
    ['{{ $x := .a }}', /variables \(\$\) are not supported/],
    ['{{ range .a }}{{ end }}', /: range is not supported/],
    ['{{ with .a }}{{ end }}', /: with is not supported/],
    ['{{ define "x" }}{{ end }}', /: define is not supported/],
    ['{{ template "x" }}', /: template is not supported/],
    ['{{ block "x" . }}{{ end }}', /: block is not supported/],
    ['{{ break }}', /: break is not supported/],
    ['{{ printf "%s" .a }}', /function printf is not supported/],
    ['{{ len .a }}', /function len is not supported/],
    ['{{ lt .a "1" }}', /function lt is not supported/],
    ['{{ true }}', /function true is not supported/],
    ['{{ eq .a true }}', /"true" as an operand is not supported/],
    ['{{ 1 }}', /numbers are not supported/],
    ['{{ eq .a 1 }}', /numbers are not supported/],
    ['{{ eq .a -1 }}', /numbers are not supported/],
    ['{{ .5 }}', /numbers are not supported/],
    ["{{ 'a' }}", /character constants/],
    ['{{ . }}', /whole set of claims/],
    ['{{ if . }}{{ end }}', /whole set of claims/],
    ['{{ eq . "a" }}', /whole set of claims/],
    ['{{ .a.b }}', /field of a field/],
    ['{{ (.a).b }}', /field of an expression/],
    ['{{ .a .b }}', /after "a", which is not a function/],
    ['{{ "a" "b" }}', /not a function/],
    ['{{ .a-b }}', /unexpected "-" after "\.a"; names with other characters need index/],
    ['{{ .a"b" }}', /unexpected/],
    ['{{ eq .a "b""c" }}', /expected a space before it/],
    ['{{ eq(.a) "b" }}', /expected a space before it/],
    ['{{ index . }}', /index is supported only as/],
    ['{{ index . .a }}', /index is supported only as/],
    ['{{ index . "a" "b" }}', /index is supported only as/],
    ['{{ index .a "b" }}', /index is supported only as/],
    ['{{ eq .a }}', /eq takes two operands or more/],
    ['{{ eq }}', /eq takes/],
    ['{{ ne .a .b .c }}', /ne takes two operands/],
    ['{{ not }}', /not takes one operand/],
    ['{{ not .a .b }}', /not takes one operand/],
    ['{{ and }}', /and takes one operand or more/],
    ['{{ eq (eq .a .b) "true" }}', /eq compares texts/],
    ['{{ or .a (eq .a "b") }}', /texts and conditions together/],
    ['{{ eq eq .a }}', /"eq" as an operand is not supported/],
    ['{{ }}', /a value is missing/],
    ['{{ if }}{{ end }}', /a value is missing/],
    ['{{ () }}', /unexpected "\)"/],
    ['{{ (.a }}', /parenthesis is not closed/],
    ['{{ .a) }}', /unexpected "\)"/],
    ['{{ .a', /not closed by }}/],
    ['{{', /not closed by }}/],
    ['{{ "a }}', /a string is not closed/],
    ['{{ `a }}', /a string is not closed/],
    ['{{ "\\x41" }}', /the escape \\x is not supported/],
    ['{{ /* a */ }}', /unexpected "\/"/],
    ['{{/* a }}', /a comment is not closed/],
    ['{{/* a */ .b }}', /a comment must fill its action/],
    ['{{ if .a }}', /{{ if }} without {{ end }}/],
    ['{{ if .a }}{{ else }}', /{{ if }} without {{ end }}/],
    ['{{ end }}', /{{ end }} without {{ if }}/],
    ['{{ else }}', /{{ else }} without {{ if }}/],
    ['{{ if .a }}{{ else }}{{ else }}{{ end }}', /after {{ else }}/],
    ['{{ if .a }}{{ else }}{{ else if .a }}{{ end }}', /after {{ else }}/],
    ['{{ if .a }}{{ else .b }}{{ end }}', /after else/],
    ['{{ if .a }}{{ end .b }}', /after end/],
    ['{{ .a, .b }}', /lists \(,\) are not supported/],
    ['{{-.a }}', /numbers are not supported/],
    ['{{ .a-}}', /unexpected "-" after/],
  ])('refuses %j', (text, message) => {
    expect(() => parseTemplate(text)).toThrow(message);
    expect(() => parseTemplate(text)).toThrow(expect.objectContaining({ code: 'IDENTITY_CONFIG' }));
  });

  test('knows blank ones', () => {
    expect(['', ' ', '\t\n'].map((text) => parseTemplate(text).blank)).toEqual([true, true, true]);
    expect(parseTemplate('{{ "" }}').blank).toBe(false);
  });

  test('bounds length and depth', () => {
    expect(() => parseTemplate('x'.repeat(4097))).toThrow(/the limit is 4096/);
    const ifs = (n: number) => `${'{{ if .a }}'.repeat(n)}x${'{{ end }}'.repeat(n)}`;
    const brackets = (n: number) => `{{ ${'('.repeat(n)}.a${')'.repeat(n)} }}`;
    const elses = (n: number) => `{{ if .a }}${'{{ else if .a }}'.repeat(n)}{{ end }}`;
    for (const nest of [ifs, brackets, elses]) {
      expect(() => parseTemplate(nest(16))).not.toThrow();
      expect(() => parseTemplate(nest(17))).toThrow(/nests deeper than 16/);
    }
  });

  test.each<[string, Record<string, [required: boolean, printed: boolean]>]>([
    ['sha', { sha: [true, true] }],
    ['{{ .a }}{{ index . "b" }}', { a: [true, true], b: [false, true] }],
    ['{{ if .a }}{{ .b }}{{ else }}{{ .c }}{{ end }}', { a: [true, false], b: [false, false], c: [false, false] }],
    ['{{ if .a }}{{ else if .b }}{{ end }}', { a: [true, false], b: [false, false] }],
    ['{{ if .a }}{{ .b }}{{ end }}{{ .b }}', { a: [true, false], b: [true, true] }],
    ['{{ or .a .b }}', { a: [true, false], b: [false, false] }],
    ['{{ eq .a .b (index . "c") }}', { a: [true, false], b: [true, false], c: [false, false] }],
    ['{{ not (and .a .b) }}', { a: [true, false], b: [false, false] }],
    ['{{ index . "a" }}{{ .a }}', { a: [true, true] }],
  ])('knows what %j reads', (text, names) => {
    const { names: found } = parseTemplate(text);
    expect(Object.fromEntries(found.map(({ name, required, printed }) => [name, [required, printed]]))).toEqual(names);
  });

  test('any text parses or throws its own error, and what parses can be filled in', () => {
    const piece = fc.constantFrom(
      ...[
        '{{',
        '}}',
        '{{- ',
        ' -}}',
        ' ',
        '.',
        '.a',
        '"b"',
        'if ',
        'else',
        'end',
        'eq ',
        'index . ',
        '(',
        ')',
        '/*',
        '*/',
      ],
      ...['|', '$', '`', '\\', '\n', 'é', 'or ', 'not ', '1', 'x'],
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece, { maxLength: 24 }).map((all) => all.join('')),
          fc.string(),
        ),
        (text) => {
          try {
            const template = parseTemplate(text);
            const values = new Map(template.names.map(({ name }) => [name, 'v']));
            expect(typeof renderTemplate(template, { get: (name) => values.get(name) })).toBe('string');
          } catch (error) {
            expect(error).toBeInstanceOf(IdentityError);
          }
        },
      ),
      { numRuns: 3000 },
    );
  });

  test('says of each template which names it cannot do without, and which it can', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'd');
    const { expression } = fc.letrec<{ expression: string; truth: string }>((tie) => ({
      expression: fc.oneof(
        { maxDepth: 3 },
        name.map((each) => `.${each}`),
        name.map((each) => `(index . "${each}")`),
        fc.constant('"l"'),
        fc
          .tuple(fc.constantFrom('and', 'or'), tie('expression'), tie('expression'))
          .map(([f, x, y]) => `(${f} ${x} ${y})`),
      ),
      truth: fc.constant(''),
    }));
    const parts = fc.letrec<{ part: string }>((tie) => ({
      part: fc.oneof(
        { maxDepth: 3 },
        expression.map((each) => `{{ ${each} }}`),
        fc.tuple(expression, tie('part'), tie('part')).map(([x, y, z]) => `{{ if ${x} }}${y}{{ else }}${z}{{ end }}`),
        fc.tuple(tie('part'), tie('part')).map(([x, y]) => x + y),
      ),
    })).part;
    const values = fc.dictionary(name, fc.constantFrom('', 'v'));
    fc.assert(
      fc.property(parts, values, (text, given) => {
        const template = parseTemplate(text);
        const missing = template.names.filter((each) => !Object.hasOwn(given, each.name));
        let failed: unknown;
        const read = new Set<string>();
        try {
          renderTemplate(template, { get: (each) => (read.add(each), from(given).get(each)) });
        } catch (error) {
          failed = error;
        }
        // A required name that is missing always fails; and nothing is read that was not said to be.
        if (missing.some(({ required }) => required)) expect(failed).toBeInstanceOf(IdentityError);
        if (missing.length === 0) expect(failed).toBeUndefined();
        const said = new Set(template.names.map((each) => each.name));
        expect([...read].filter((each) => !said.has(each))).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });
});
