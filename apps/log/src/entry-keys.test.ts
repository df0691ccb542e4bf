import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entryAlgorithms, EntryError, type V1Ports, loadProposals } from '#libs/entry';
import { opensslCrypto } from '#libs/openssl';
import { pkiFormats } from '#libs/pki';
import { indexEntry, parseAnnexKeys } from '#libs/search';
import { encodeAnnexedEntry } from '#libs/tlog';
import { certificate, dsse, everyKind, hashedRekord, type Proposal } from '../testing/proposals.js';
import { type EntryKeys, entryKeys, proposalKeys } from './entry-keys.js';

const { proposeEntry } = await loadProposals();

const ports: V1Ports = {
  ...{ pki: pkiFormats, hash: opensslCrypto.hash, verifyDigest: opensslCrypto.verifyDigest },
  ...{ algorithms: entryAlgorithms, checkTimestampResponse: () => undefined },
};

describe('proposalKeys()', () => {
  const certified = async (): Promise<Proposal> => {
    const { pem, privateKey } = await certificate([
      { type: 'email', value: 'Somebody@Example.com' },
      { type: 'url', value: 'https://example.com/Workflow' },
    ]);
    return hashedRekord(undefined, pem, privateKey);
  };
  const many = (): Proposal => {
    const subject = Array.from({ length: 700 }, (_, i) => ({ digest: { x: `${i}` } }));
    return dsse(JSON.stringify({ subject }));
  };
  const manyNames = async (): Promise<Proposal> => {
    const names = Array.from({ length: 256 }, (_, i) => ({ type: 'dns' as const, value: `${i}.example` }));
    const { pem, privateKey } = await certificate(names);
    return hashedRekord(undefined, pem, privateKey);
  };
  it.each(Object.entries({ ...everyKind, 'a certificate': certified, 'many subjects': many, 'many names': manyNames }))(
    'gives of %s what a rebuilt index will have, and nothing else',
    async (_name, propose) => {
      const proposal = await proposeEntry(await propose(), ports, { insert: true });
      const { annex, keys } = proposalKeys(proposal);
      const rebuilt = indexEntry(proposal.body, proposal.unloggedKeys);
      expect([...new Set(keys)].sort()).toEqual([...rebuilt.keys].sort());
      expect(annex).toEqual(rebuilt.annex);
    },
  );
});

describe('proposalKeys() of a certificate that our parser refuses', () => {
  it('has none of its keys, as a rebuilt index', async () => {
    const proposal = await proposeEntry(hashedRekord(), ports, { insert: true });
    const refused = { ...proposal, certificates: [{ der: Uint8Array.of(0x30, 0) }] };
    expect(proposalKeys(refused)).toEqual(proposalKeys(proposal));
  });
});

describe('entryKeys()', () => {
  it('keeps unlogged keys in the annex, and indexes each key once', () => {
    const { annex, keys } = entryKeys(['logged', 'b', 'logged'], ['a', 'b']);
    expect(parseAnnexKeys(annex)).toEqual(['a', 'b']);
    expect(keys).toEqual(['logged', 'b', 'a']);
    expect(entryKeys(['logged'], [])).toEqual({ annex: new Uint8Array(), keys: ['logged'] });
  });

  const keysOf = (count: number) => Array.from({ length: count }, (_, i) => `sha256:${i}`);
  it.each<[string, string[], string[], string]>([
    ['too many unlogged keys', ['logged'], keysOf(900), 'ENTRY_TOO_LARGE'],
    ['too many logged keys', keysOf(901), [], 'ENTRY_TOO_LARGE'],
    ['too long keys', [], ['a'.repeat(30_000), 'b'.repeat(29_997)], 'ENTRY_TOO_LARGE'],
    ['half a surrogate pair', [], ['sha256:\ud800'], 'ENTRY_PROPOSAL'],
  ])('refuses %s rather than to keep some', (_name, logged, unlogged, code) => {
    expect(() => entryKeys(logged, unlogged)).toThrow(expect.objectContaining({ code, name: 'EntryError' }));
  });

  it.each<[string, string[], string[]]>([
    ['900 keys', ['logged'], keysOf(899)],
    ['900 keys, some of them twice', keysOf(899), ['a', ...keysOf(899)]],
    ['60,000 bytes in two', [], ['a'.repeat(30_000), 'b'.repeat(29_996)]],
    ['60,000 bytes in one', [], ['é'.repeat(29_999)]],
  ])('an annex has room for %s, the most that an entry may have', (_name, logged, unlogged) => {
    expect(parseAnnexKeys(entryKeys(logged, unlogged).annex)).toEqual(unlogged);
  });

  it('what it takes fits into annex and index, whatever it is', () => {
    const texts = fc.array(fc.string({ unit: 'binary', maxLength: 200 }), { maxLength: 1000, size: 'max' });
    fc.assert(
      fc.property(texts, texts, (logged, unlogged) => {
        let taken: EntryKeys;
        try {
          taken = entryKeys(logged, unlogged);
        } catch (error) {
          expect(error).toBeInstanceOf(EntryError);
          return;
        }
        const distinct = [...new Set(unlogged)].filter((key) => key !== '');
        expect(parseAnnexKeys(taken.annex)).toEqual(distinct);
        expect(new Set(taken.keys)).toEqual(new Set([...logged, ...distinct]));
        expect(taken.keys.length).toBeLessThanOrEqual(1024);
        expect(() =>
          encodeAnnexedEntry({ timestampMs: 0n, annex: taken.annex, entry: new Uint8Array() }),
        ).not.toThrow();
      }),
      { numRuns: 50 },
    );
  });
});
