import { expect, test } from 'vitest';
import { isValidAt } from './index.js';

const start = new Date('2026-01-01T00:00:00Z');
const end = new Date('2026-12-31T23:59:59.999Z');

test.each([
  ['a millisecond before the start', new Date(start.getTime() - 1), false],
  ['at the start', start, true],
  ['at the end', end, true],
  ['a millisecond after the end', new Date(end.getTime() + 1), false],
  ['at no time', new Date(NaN), false],
])('isValidAt() %s', (_, time, valid) => {
  expect(isValidAt({ start, end }, time)).toBe(valid);
});

test('isValidAt() is open without an end', () => {
  expect(isValidAt({ start }, new Date('9999-01-01T00:00:00Z'))).toBe(true);
});
