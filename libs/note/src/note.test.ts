import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hex, readNote } from '../../../test/vectors/note/keys.js';
import {
  encodeNote,
  encodeSignatureLines,
  isKeyName,
  MAX_NOTE_LENGTH,
  type Note,
  NoteError,
  parseNote,
  parseSignatureLines,
} from './index.js';

const malformed = expect.objectContaining({ name: 'NoteError', code: 'NOTE_MALFORMED' }) as NoteError;
const line = '— key.example AAECAwQF\n';
const good = `text\n\n${line}`;
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('parseNote()', () => {
  it('gives text and signatures', () => {
    expect(parseNote(good)).toEqual({
      text: 'text\n',
      signatures: [{ name: 'key.example', keyId: Uint8Array.of(0, 1, 2, 3), signature: Uint8Array.of(4, 5) }],
    });
  });

  it('reads bytes as well as a string', () => {
    expect(parseNote(bytes(good))).toEqual(parseNote(good));
  });

  it('reads a checkpoint with a cosignature', () => {
    const { text, signatures } = parseNote(readNote('rekor-v2-cosigned'));
    expect(text).toBe('log2025-alpha1.rekor.sigstage.dev\n736\nrs1YPY0ydAV0lxgfrq5pE4oRpUJwo3syeps5+eGUTDI=\n');
    expect(signatures.map(({ name, keyId, signature }) => [name, hex(keyId), signature.length])).toEqual([
      ['log2025-alpha1.rekor.sigstage.dev', 'f30d5a99', 64],
      ['witness.example', '3bc3c7e4', 72],
    ]);
  });

  it('splits at the last blank line: what looks like a signature line before it is text', () => {
    const { text, signatures } = parseNote(`text\n\n${line}\n${line}`);
    expect(text).toBe(`text\n\n${line}`);
    expect(signatures).toHaveLength(1);
  });

  it('takes non-ASCII text, a text of one line feed, and 16 signatures', () => {
    expect(parseNote(`Log frozen — größer 🔒\n\n${line}`).text).toBe('Log frozen — größer 🔒\n');
    expect(parseNote(`\n\n${line}`).text).toBe('\n');
    expect(parseNote(`text\n\n${line.repeat(16)}`).signatures).toHaveLength(16);
  });

  it('keeps a byte order mark: it is signed like any character', () => {
    expect(parseNote(bytes(`\ufeff${good}`)).text).toBe('\ufefftext\n');
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['no blank line', `text\n${line}`],
    ['no signatures', 'text\n\n'],
    ['no text', `\n${line}`],
    ['a blank line at the end', `${good}\n`],
    ['no line feed at the end', good.slice(0, -1)],
    ['text after the signatures', `${good}more\n`],
    ['a line that is no signature among them', `text\n\n${line}text\n${line}`],
    ['carriage returns', good.replaceAll('\n', '\r\n')],
    ['a carriage return in the text', `te\rxt\n\n${line}`],
    ['a tab', `te\txt\n\n${line}`],
    ['a NUL', `te\0xt\n\n${line}`],
    ['an escape', `te\u001b[2Kxt\n\n${line}`],
    ['a DEL', `te\u007fxt\n\n${line}`],
    ['a hyphen for the em dash', good.replace('—', '-')],
    ['an en dash for the em dash', good.replace('—', '–')],
    ['a horizontal bar for the em dash', good.replace('—', '―')],
    ['no space after the em dash', good.replace('— ', '—')],
    ['two spaces after the em dash', good.replace('— ', '—  ')],
    ['a no-break space after the em dash', good.replace('— ', '—\u00a0')],
    ['a space before the em dash', good.replace('— ', ' — ')],
    ['two spaces before the base64', good.replace(' AA', '  AA')],
    ['a space at the end of the line', good.replace('F\n', 'F \n')],
    ['a third field', good.replace('F\n', 'F more\n')],
    ['no name', good.replace('key.example ', '')],
    ['an empty name', good.replace('key.example', '')],
    ['a plus in the name', good.replace('key', 'k+y')],
    ['a no-break space in the name', good.replace('key', 'k\u00a0y')],
    ['an ideographic space in the name', good.replace('key', 'k\u3000y')],
    ['a line separator in the name', good.replace('key', 'k\u2028y')],
    ['no base64', good.replace(' AAECAwQF', '')],
    ['foreign characters in the base64', good.replace('AAEC', 'A*EC')],
    ['URL-safe base64', good.replace('AAEC', 'A-_C')],
    ['base64 without padding', good.replace('AAECAwQF', 'AAECAwQ')],
    ['base64 with bits in its padding', good.replace('AAECAwQF', 'AAECAwR=')],
    ['a key id without signature', good.replace('AAECAwQF', 'AAECAw==')],
    ['half a key id', good.replace('AAECAwQF', 'AAEC')],
    ['101 signatures', `text\n\n${line.repeat(101)}`],
  ])('rejects %s', (_name, note) => {
    expect(() => parseNote(note)).toThrow(malformed);
    expect(() => parseNote(bytes(note))).toThrow(malformed);
  });

  it.each<[string, number[]]>([
    ['a lone continuation byte', [0x80]],
    ['an overlong line feed', [0xc0, 0x8a]],
    ['a surrogate', [0xed, 0xa0, 0x80]],
    ['a character cut short', [0xe2, 0x80]],
  ])('rejects %s', (_name, invalid) => {
    expect(() => parseNote(Uint8Array.of(...invalid, ...bytes(good)))).toThrow(malformed);
  });

  it('rejects a string with half a surrogate pair', () => {
    expect(() => parseNote(`te\ud800xt\n\n${line}`)).toThrow(malformed);
  });

  it('rejects a note above 64 KiB, and takes one of 64 KiB', () => {
    // The em dash has three bytes and one character.
    const filled = (length: number): string => 'x'.repeat(length - good.length - 2) + good;
    expect(parseNote(filled(MAX_NOTE_LENGTH)).signatures).toHaveLength(1);
    expect(() => parseNote(filled(MAX_NOTE_LENGTH + 1))).toThrow(malformed);
    expect(() => parseNote(bytes(filled(MAX_NOTE_LENGTH + 1)))).toThrow(malformed);
  });

  it('counts bytes, not characters', () => {
    expect(() => parseNote('ä'.repeat(MAX_NOTE_LENGTH / 2) + good)).toThrow(malformed);
  });

  it('rejects a conformance note whose signature line is missing', () => {
    expect(() => parseNote(readNote('wrong-no-signature'))).toThrow(malformed);
  });

  it('sigstore-js hardening #1722: any text returns or throws NoteError, and has one spelling', () => {
    const parts = fc.array(
      fc.constantFrom('\n', '— ', ' ', 'name', 'AAECAwQF', '=', 'text', '+', '\r', '🔒', '\ud800'),
    );
    const nearly = fc.tuple(parts, parts).map(([text, end]) => `${text.join('')}\n\n— name ${end.join('')}\n`);
    fc.assert(
      fc.property(fc.oneof(fc.string(), nearly), (source) => {
        let note: Note;
        try {
          note = parseNote(source);
        } catch (error) {
          expect(error).toBeInstanceOf(NoteError);
          return;
        }
        expect(encodeNote(note)).toBe(source);
      }),
      { numRuns: 1000 },
    );
  });

  it('sigstore-js hardening #1722: any bytes return or throw NoteError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(), (noise, at) => {
        const source = bytes(good);
        source.set(noise.subarray(0, source.length - (at % source.length)), at % source.length);
        for (const input of [noise, source]) {
          try {
            parseNote(input);
          } catch (error) {
            expect(error).toBeInstanceOf(NoteError);
          }
        }
      }),
    );
  });
});

const anyName = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter(isKeyName);
const anySignature = fc.record({
  name: anyName,
  keyId: fc.uint8Array({ minLength: 4, maxLength: 4 }),
  signature: fc.uint8Array({ minLength: 1, maxLength: 100 }),
});
const anyText = fc
  .array(fc.string({ unit: 'grapheme' }), { minLength: 1, maxLength: 6 })
  // eslint-disable-next-line no-control-regex -- these are what a text does not have
  .map((lines) => `${lines.join('\n').replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f]/g, '')}\n`);

describe('encodeNote()', () => {
  it('is read back by parseNote()', () => {
    const anyNote = fc.record({ text: anyText, signatures: fc.array(anySignature, { minLength: 1, maxLength: 20 }) });
    fc.assert(
      fc.property(anyNote, (note) => {
        expect(parseNote(encodeNote(note))).toEqual(note);
      }),
    );
  });

  const signature = { name: 'key.example', keyId: new Uint8Array(4), signature: new Uint8Array(64) };

  it.each<[string, Note]>([
    ['text without line feed at the end', { text: 'text', signatures: [signature] }],
    ['empty text', { text: '', signatures: [signature] }],
    ['control characters', { text: 'te\txt\n', signatures: [signature] }],
    ['half a surrogate pair', { text: 'te\udfffxt\n', signatures: [signature] }],
    ['no signatures', { text: 'text\n', signatures: [] }],
    ['101 signatures', { text: 'text\n', signatures: Array.from({ length: 101 }, () => signature) }],
    ['a name with a space', { text: 'text\n', signatures: [{ ...signature, name: 'a b' }] }],
    ['a name with a plus', { text: 'text\n', signatures: [{ ...signature, name: 'a+b' }] }],
    ['a name with a line feed', { text: 'text\n', signatures: [{ ...signature, name: 'a\nb' }] }],
    ['a key id of 3 bytes', { text: 'text\n', signatures: [{ ...signature, keyId: new Uint8Array(3) }] }],
    ['an empty signature', { text: 'text\n', signatures: [{ ...signature, signature: new Uint8Array(0) }] }],
    ['a signature of 64 KiB', { text: 'text\n', signatures: [{ ...signature, signature: new Uint8Array(65_536) }] }],
    ['a text of 64 KiB', { text: `${'x'.repeat(65_536)}\n`, signatures: [signature] }],
  ])('refuses %s', (_name, note) => {
    expect(() => encodeNote(note)).toThrow(malformed);
  });
});

describe('parseSignatureLines()', () => {
  it('reads what a witness answers', () => {
    const lines = readNote('rekor-v2-two-witnesses').split('\n\n')[1] as string;
    expect(parseSignatureLines(lines).map(({ name }) => name)).toEqual([
      ...['log2025-alpha1.rekor.sigstage.dev', 'witness.example/w1', 'witness.example/w2'],
    ]);
    expect(encodeSignatureLines(parseSignatureLines(lines))).toBe(lines);
  });

  it.each(['', '\n', line.slice(0, -1), `\n${line}`, `${line}\n`, 'x'.repeat(100_000)])('rejects %j', (lines) => {
    expect(() => parseSignatureLines(lines)).toThrow(malformed);
  });
});

describe('isKeyName()', () => {
  it.each(['rekor.sigstore.dev', 'example.com/foo', 'localhost:3000', 'größe', '🔒'])('takes %s', (name) => {
    expect(isKeyName(name)).toBe(true);
  });

  it.each(['', 'a b', 'a+b', '+', ' ', 'a\n', 'a\u0085', 'a\u00a0', 'a\u2003', 'a\u0000', '\ud800'])(
    'refuses %j',
    (name) => {
      expect(isKeyName(name)).toBe(false);
    },
  );
});
