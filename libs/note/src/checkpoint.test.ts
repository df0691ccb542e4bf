import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBase64, readNote } from '../../../test/vectors/note/keys.js';
import { type Checkpoint, encodeCheckpoint, NoteError, parseCheckpoint, parseNote } from './index.js';

const root = 'rs1YPY0ydAV0lxgfrq5pE4oRpUJwo3syeps5+eGUTDI=';
const checkpoint: Checkpoint = { origin: 'log.example', size: 736n, rootHash: fromBase64(root), extensions: [] };
const malformed = expect.objectContaining({ code: 'NOTE_CHECKPOINT_MALFORMED' }) as NoteError;

describe('parseCheckpoint()', () => {
  it('gives origin, size and root', () => {
    expect(parseCheckpoint(`log.example\n736\n${root}\n`)).toEqual(checkpoint);
  });

  it('gives extension lines, such as the time in old checkpoints of Rekor v1', () => {
    const { text } = parseNote(readNote('wrong-rekor-v1-signature'));
    expect(parseCheckpoint(text).extensions).toEqual(['Timestamp: 1689177396617352539']);
  });

  it('takes an origin with spaces and an empty tree', () => {
    expect(parseCheckpoint(`rekor.example - 12\n0\n${root}\n`)).toMatchObject({
      origin: 'rekor.example - 12',
      size: 0n,
    });
  });

  it('keeps sizes beyond 2^53 exact', () => {
    expect(parseCheckpoint(`log.example\n9007199254740993\n${root}\n`).size).toBe(2n ** 53n + 1n);
    expect(parseCheckpoint(`log.example\n9223372036854775807\n${root}\n`).size).toBe(2n ** 63n - 1n);
  });

  it.each<[string, string]>([
    ['an empty origin', `\n736\n${root}\n`],
    ['no root', 'log.example\n736\n'],
    ['only an origin', 'log.example\n'],
    ['only a line feed', '\n'],
    ['a size with leading zero', `log.example\n0736\n${root}\n`],
    ['size 00', `log.example\n00\n${root}\n`],
    ['an empty size', `log.example\n\n${root}\n`],
    ['a negative size', `log.example\n-1\n${root}\n`],
    ['a size with sign', `log.example\n+1\n${root}\n`],
    ['a hexadecimal size', `log.example\n0x10\n${root}\n`],
    ['a size with exponent', `log.example\n1e3\n${root}\n`],
    ['a size with space', `log.example\n 1\n${root}\n`],
    ['a size in other digits', `log.example\n٣\n${root}\n`],
    ['size 2^63', `log.example\n9223372036854775808\n${root}\n`],
    ['a size of 20 digits', `log.example\n10000000000000000000\n${root}\n`],
    ['a root of 31 bytes', `log.example\n736\n${Buffer.alloc(31).toString('base64')}\n`],
    ['a root of 33 bytes', `log.example\n736\n${Buffer.alloc(33).toString('base64')}\n`],
    ['an empty root', 'log.example\n736\n\n'],
    ['a root in hex', `log.example\n736\n${'ab'.repeat(32)}\n`],
    ['a root without padding', `log.example\n736\n${root.slice(0, -1)}\n`],
    ['a root with bits in its padding', `log.example\n736\n${root.replace('I=', 'J=')}\n`],
    ['a root in URL-safe base64', `log.example\n736\n${root.replace('+', '-')}\n`],
    ['a space after the root', `log.example\n736\n${root} \n`],
    ['an empty extension line', `log.example\n736\n${root}\n\n`],
    ['an empty line before an extension', `log.example\n736\n${root}\n\nextension\n`],
  ])('rejects %s', (_name, text) => {
    expect(() => parseCheckpoint(text)).toThrow(malformed);
  });

  it.each<[string, string]>([
    ['no line feed at the end', `log.example\n736\n${root}`],
    ['nothing', ''],
    ['carriage returns', `log.example\r\n736\r\n${root}\r\n`],
    ['half a surrogate pair', `log.\udc00\n736\n${root}\n`],
  ])('rejects %s, which no note has', (_name, text) => {
    expect(() => parseCheckpoint(text)).toThrow(expect.objectContaining({ code: 'NOTE_MALFORMED' }) as NoteError);
  });

  it('rejects the conformance checkpoint without root hash', () => {
    expect(() => parseCheckpoint(parseNote(readNote('wrong-no-root')).text)).toThrow(malformed);
  });

  it('any text returns what encodes to it, or throws NoteError', () => {
    const line = fc.constantFrom('log.example', '0', '7', '07', '-', root, 'rs1Y', '', 'x', '\r');
    const nearly = fc.array(line, { maxLength: 6 }).map((lines) => `${lines.join('\n')}\n`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearly), (text) => {
        let parsed: Checkpoint;
        try {
          parsed = parseCheckpoint(text);
        } catch (error) {
          expect(error).toBeInstanceOf(NoteError);
          return;
        }
        expect(encodeCheckpoint(parsed)).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });
});

describe('encodeCheckpoint()', () => {
  it('writes one line each', () => {
    const frozen = { ...checkpoint, extensions: ['Log frozen — Mon Jan  2 15:04:05 UTC 2006'] };
    const text = `log.example\n736\n${root}\nLog frozen — Mon Jan  2 15:04:05 UTC 2006\n`;
    expect(encodeCheckpoint(frozen)).toBe(text);
  });

  it('is read back by parseCheckpoint()', () => {
    const line = fc.string({ unit: 'grapheme', minLength: 1 });
    const anyCheckpoint = fc.record({
      origin: line,
      size: fc.bigInt(0n, 2n ** 63n - 1n),
      rootHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      extensions: fc.array(line, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(anyCheckpoint, (any) => {
        expect(parseCheckpoint(encodeCheckpoint(any))).toEqual(any);
      }),
    );
  });

  it.each<[string, Partial<Checkpoint>]>([
    ['an empty origin', { origin: '' }],
    ['an origin of two lines', { origin: 'a\nb' }],
    ['a negative size', { size: -1n }],
    ['size 2^63', { size: 2n ** 63n }],
    ['a root of 20 bytes', { rootHash: new Uint8Array(20) }],
    ['an empty extension', { extensions: [''] }],
    ['an extension of two lines', { extensions: ['a\nb'] }],
  ])('refuses %s', (_name, wrong) => {
    expect(() => encodeCheckpoint({ ...checkpoint, ...wrong })).toThrow(malformed);
  });

  it('refuses control characters', () => {
    expect(() => encodeCheckpoint({ ...checkpoint, origin: 'log\t' })).toThrow(
      expect.objectContaining({ code: 'NOTE_MALFORMED' }) as NoteError,
    );
  });
});
