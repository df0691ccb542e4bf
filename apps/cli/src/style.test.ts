import { describe, expect, it } from 'vitest';
import { columns, jsonText, printable, style } from './style.js';

describe('printable()', () => {
  it('replaces what could drive a terminal or turn text around', () => {
    expect(printable('a\u001b[31mb\u202ec\nd\u0085e\u2028f')).toBe('a\ufffd[31mb\ufffdc\ufffdd\ufffde\ufffdf');
    expect(printable('Grüße, 世界 ✓')).toBe('Grüße, 世界 ✓');
  });
});

describe('jsonText()', () => {
  it('writes bigints as strings and dates as ISO 8601, and ends in a newline', () => {
    expect(jsonText({ index: 2n ** 60n, time: new Date(0) })).toBe(
      '{\n  "index": "1152921504606846976",\n  "time": "1970-01-01T00:00:00.000Z"\n}\n',
    );
  });

  it('escapes what could drive a terminal, and is still the same JSON', () => {
    const value = { name: 'a\u202eb\u009bc\u001bd\u{e0001}é' };
    expect(jsonText(value)).toContain('"a\\u202eb\\u009bc\\u001bd\\udb40\\udc01é"');
    expect(JSON.parse(jsonText(value))).toEqual(value);
  });
});

describe('style()', () => {
  it('paints only where colours are wanted', () => {
    expect(style(true).bad('x')).toBe('\u001b[31mx\u001b[39m');
    expect(style(false).bad('x')).toBe('x');
  });
});

describe('columns()', () => {
  it('aligns values', () => {
    expect(
      columns([
        ['a', '1'],
        ['longer', '2'],
      ]),
    ).toBe('  a       1\n  longer  2\n');
  });
});
