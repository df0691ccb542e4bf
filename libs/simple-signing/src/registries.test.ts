import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { SimpleSigningError } from './error.js';
import { parseImageIdentity } from './reference.js';
import {
  encodeRegistries,
  lookasideToRead,
  lookasideToWrite,
  parseRegistries,
  type RegistriesConfig,
  usesSigstoreAttachments,
} from './registries.js';

const read = (...texts: string[]) =>
  parseRegistries(texts.map((text, i) => ({ name: `${i}.yaml`, content: encodeUtf8(text) })));

const config = read(
  `
default-docker:
  lookaside: https://default.example
  sigstore-staging: file:///default
docker:
  registry.example.com:
    sigstore: https://host.example   # the old name
    use-sigstore-attachments: true
  registry.example.com/ns:
    lookaside: https://ns.example
    lookaside-staging: file:///ns
  registry.example.com/ns/app:v1:
    lookaside: https://one.example
  registry.example.com/off:
    use-sigstore-attachments: false
`,
  'docker:\n  "*.example.org": {lookaside: https://wild.example}\n  empty.example:\n',
);

describe('parseRegistries()', () => {
  it.each([
    ['registry.example.com/ns/app:v1', 'https://one.example', 'https://one.example', true],
    ['registry.example.com/ns/app:v2', 'https://ns.example', 'file:///ns', true],
    ['registry.example.com/nsx/app:v1', 'https://host.example', 'https://host.example', true],
    ['registry.example.com/off/app', 'https://host.example', 'https://host.example', false],
    ['registry.example.com:5000/ns/app', 'https://default.example', 'file:///default', false],
    ['deep.sub.example.org/app', 'https://wild.example', 'https://wild.example', false],
    ['example.org/app', 'https://default.example', 'file:///default', false],
    ['empty.example/app', 'https://default.example', 'file:///default', false],
    ['busybox', 'https://default.example', 'file:///default', false],
  ])('%s is read at %s, written at %s, attachments %s', (text, reads, writes, attachments) => {
    const image = parseImageIdentity(text);
    expect(lookasideToRead(config, image)).toBe(reads);
    expect(lookasideToWrite(config, image)).toBe(writes);
    expect(usesSigstoreAttachments(config, image)).toBe(attachments);
  });

  it('knows nothing without files, and takes empty ones', () => {
    for (const nothing of [read(), read('', '# nothing\n'), read('docker:\n')]) {
      expect(lookasideToRead(nothing, parseImageIdentity('app'))).toBeUndefined();
      expect(usesSigstoreAttachments(nothing, parseImageIdentity('app'))).toBe(false);
    }
  });

  it.each([
    ['an unknown field', 'docker:\n  a.example:\n    lookasid: https://x.example\n'],
    ['an unknown section', 'podman:\n  a.example: {}\n'],
    ['both names of a field', 'docker:\n  a.example:\n    lookaside: https://x\n    sigstore: https://y\n'],
    ['the same scope twice', 'docker:\n  a.example: {}\n  a.example: {}\n'],
    ['a list', '- a\n'],
    ['a text', 'lookaside\n'],
    ['a section that is no mapping', 'docker:\n  a.example: https://x\n'],
    ['an address that is no text', 'docker:\n  a.example: {lookaside: 7}\n'],
    ['a switch that is no switch', 'docker:\n  a.example: {use-sigstore-attachments: "yes"}\n'],
    ['what is not YAML', 'docker: [\n'],
    ['two documents', 'docker: {}\n---\ndocker: {}\n'],
    ['aliases, which could be a bomb', 'default-docker: &a {lookaside: https://x}\ndocker:\n  a.example: *a\n'],
  ])('refuses %s', (_, text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code: 'SIMPLE_REGISTRIES' }) as Error);
  });

  it('refuses what two files say about the same scope', () => {
    expect(() => read('docker:\n  a.example: {}\n', 'docker:\n  a.example: {}\n')).toThrow('another file as well');
    expect(() => read('default-docker: {}\n', 'default-docker: {}\n')).toThrow('another file as well');
  });

  it('refuses megabytes, and what is not UTF-8', () => {
    expect(() => read('#'.repeat(2_000_000))).toThrow(expect.objectContaining({ code: 'SIMPLE_TOO_LARGE' }) as Error);
    expect(() => parseRegistries([{ name: 'a', content: Uint8Array.of(0xff) }])).toThrow('not UTF-8');
  });

  it('takes any text or refuses it by its own error', () => {
    const words = fc.constantFrom(
      'docker:',
      'default-docker:',
      '\n',
      '  ',
      'lookaside: ',
      'a',
      '&a ',
      '*a',
      '{',
      '}',
      '- ',
      ': ',
      '"',
      '!!int ',
      '? ',
    );
    fc.assert(
      fc.property(fc.array(words, { maxLength: 30 }), (parts) => {
        try {
          read(parts.join(''));
        } catch (error) {
          expect(error).toBeInstanceOf(SimpleSigningError);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('encodeRegistries()', () => {
  it('is read back as it was', () => {
    const text = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme-ascii' });
    const section = fc.record(
      { lookaside: text, lookasideStaging: text, useSigstoreAttachments: fc.boolean() },
      { requiredKeys: [] },
    );
    const configs: fc.Arbitrary<RegistriesConfig> = fc.record(
      {
        defaultDocker: section,
        docker: fc.dictionary(text, section).map((entries) => new Map(Object.entries(entries))),
      },
      { requiredKeys: ['docker'] },
    );
    fc.assert(
      fc.property(configs, (given) => {
        const again = parseRegistries([{ name: 'a', content: encodeRegistries(given) }]);
        expect({ ...again.defaultDocker }).toEqual({ ...given.defaultDocker });
        expect(JSON.stringify([...again.docker])).toBe(JSON.stringify([...given.docker]));
      }),
    );
  });
});
