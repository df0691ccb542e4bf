import { describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { entryAlgorithms, proposeEntry, type V1Ports } from '#libs/entry';
import { opensslCrypto } from '#libs/openssl';
import { pkiFormats } from '#libs/pki';
import { indexEntry, parseAnnexKeys } from '#libs/search';
import { certificate, dsse, everyKind, hashedRekord, inToto, type Proposal } from '../testing/proposals.js';
import { entryKeys, proposalKeys, statementKeys } from './entry-keys.js';

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
  it.each(Object.entries({ ...everyKind, 'a certificate': certified, 'more subjects than are kept': many }))(
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

describe('entryKeys()', () => {
  it('keeps unlogged keys in the annex, and indexes those that it keeps', () => {
    const { annex, keys } = entryKeys(['logged'], ['a', 'b', 'x'.repeat(70_000)]);
    expect(parseAnnexKeys(annex)).toEqual(['a', 'b']);
    expect(keys).toEqual(['logged', 'a', 'b']);
    expect(entryKeys(['logged'], [])).toEqual({ annex: new Uint8Array(), keys: ['logged'] });
  });
});

describe('statementKeys()', () => {
  const keysOf = (json: string, type = inToto) => statementKeys(type, encodeUtf8(json));

  it('names subjects and materials', () => {
    const json = JSON.stringify({
      subject: [{ name: 'x', digest: { sha256: 'AB', sha1: 'cd' } }, { digest: { gitCommit: 'ef' } }],
      predicate: { materials: [{ uri: 'x', digest: { sha256: '01' } }] },
    });
    expect(keysOf(json)).toEqual(['sha256:ab', 'sha1:cd', 'gitcommit:ef', 'sha256:01']);
    expect(keysOf(json, 'application/json')).toEqual([]);
  });

  it('leaves out what is no digest', () => {
    const json = JSON.stringify({
      subject: [null, 1, {}, { digest: null }, { digest: { sha256: 7, sha512: 'ab' } }],
      predicate: [],
    });
    expect(keysOf(json)).toEqual(['sha512:ab']);
    for (const other of ['', '{', 'null', '[]', '1', '{"subject":{}}', '{"predicate":{"materials":1}}']) {
      expect(keysOf(other)).toEqual([]);
    }
    expect(statementKeys(inToto, Uint8Array.of(0x22, 0xff, 0x22))).toEqual([]);
  });
});
