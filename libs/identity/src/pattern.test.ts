import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareSpecificity, patternExpression } from './pattern.js';

describe('patternExpression()', () => {
  test('takes every character but the star literally', () => {
    const literal = fc.string({ unit: 'grapheme-ascii' }).filter((text) => !text.includes('*'));
    fc.assert(
      fc.property(literal, literal, (a, b) => {
        expect(patternExpression(a).test(a)).toBe(true);
        expect(patternExpression(a).test(b)).toBe(a === b);
      }),
    );
  });

  test('lets a star stand for one or more of -, _, letters and digits', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme-ascii' }), (text) => {
        expect(patternExpression('a/*/b').test(`a/${text}/b`)).toBe(/^[-_a-zA-Z0-9]+$/.test(text));
      }),
    );
  });
});

describe('compareSpecificity()', () => {
  test('orders by literal characters, then fewer stars, then alphabet', () => {
    const sorted = [
      'https://a.example/team/*',
      'https://a.example/*/x',
      'https://b.example/*/x',
      'https://a.example/*/*',
    ];
    expect([...sorted].reverse().sort(compareSpecificity)).toEqual(sorted);
  });
});
