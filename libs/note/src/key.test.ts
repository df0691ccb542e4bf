import { describe, expect, it } from 'vitest';
import { ecdsaSigner, hash, hex, knownKey, knownKeys, rsaSigner, seedSigner } from '../../../test/vectors/note/keys.js';
import {
  encodeVerifierKey,
  type NoteError,
  noteKeyHash,
  type NoteKey,
  type NoteKeyKind,
  noteLogId,
  parseVerifierKey,
} from './index.js';

const malformed = expect.objectContaining({ code: 'NOTE_KEY_MALFORMED' }) as NoteError;
const titles = Object.keys(knownKeys);
const withVkey = titles.filter((title) => knownKeys[title]?.vkey !== undefined);
const withHash = titles.filter((title) => knownKeys[title]?.hash !== undefined);

describe('noteKeyHash()', () => {
  it.each(withHash)('of %s', (title) => {
    expect(hex(noteKeyHash(knownKey(title), hash))).toBe(knownKeys[title]?.hash);
  });

  it('of a static CT log digests its log id, not its key', () => {
    expect(hex(noteKeyHash(knownKey('static ct'), hash).subarray(0, 4))).toBe(knownKeys['static ct']?.keyId);
  });

  it('of an RSA key digests the name of the scheme', () => {
    const name = 'log.example';
    const input = Buffer.concat([Buffer.from(`${name}\n\xffPKIX-RSA-PKCS#1v1.5`, 'latin1'), rsaSigner.publicKey.spki]);
    expect(noteKeyHash({ kind: 'rsa', name, key: rsaSigner.publicKey }, hash)).toEqual(hash('sha256', input));
  });

  it('of one Ed25519 key differs between log and witness, and between names', () => {
    const key = seedSigner(1).publicKey;
    const hashes = (['ed25519', 'cosignature'] as const).flatMap((kind) =>
      ['a', 'b'].map((name) => hex(noteKeyHash({ kind, name, key }, hash))),
    );
    expect(new Set(hashes).size).toBe(4);
  });

  it.each(['', 'a b', 'a+b', 'a\n'])('refuses the name %j', (name) => {
    expect(() => noteKeyHash({ kind: 'ed25519', name, key: seedSigner(1).publicKey }, hash)).toThrow(malformed);
  });

  const keys = { ed25519: seedSigner(1).publicKey, ecdsa: ecdsaSigner.publicKey, rsa: rsaSigner.publicKey };
  it.each<[NoteKeyKind, keyof typeof keys]>([
    ['ed25519', 'ecdsa'],
    ['ed25519', 'rsa'],
    ['ecdsa', 'ed25519'],
    ['ecdsa', 'rsa'],
    ['rsa', 'ed25519'],
    ['rsa', 'ecdsa'],
    ['rfc6962', 'ed25519'],
    ['cosignature', 'ecdsa'],
    ['cosignature', 'rsa'],
  ])('refuses kind %s with an %s key', (kind, type) => {
    expect(() => noteKeyHash({ kind, name: 'log.example', key: keys[type] }, hash)).toThrow(malformed);
  });
});

describe('noteLogId()', () => {
  it('of an Ed25519 log is not the hash of its SubjectPublicKeyInfo', () => {
    const { name, key } = knownKey('rekor v2 production');
    expect(Buffer.from(noteLogId(name, key, hash)).toString('base64')).toBe(
      'zxGZFVvd0FEmjR8WrFwMdcAJ9vtaY/QXf44Y1wUeP6A=',
    );
    expect(noteLogId(name, key, hash)).not.toEqual(hash('sha256', key.spki));
  });

  it('of an ECDSA log is the hash of its SubjectPublicKeyInfo, whatever its name', () => {
    const { key } = knownKey('rekor v1');
    expect(noteLogId('any.example', key, hash)).toEqual(hash('sha256', key.spki));
  });
});

describe('parseVerifierKey()', () => {
  it.each(withVkey)('reads that of %s, and encodeVerifierKey() writes it', (title) => {
    const { kind, name, vkey } = knownKeys[title] as { kind: NoteKeyKind; name: string; vkey: string };
    const parsed = parseVerifierKey(vkey, hash);
    expect(parsed).toMatchObject({ kind, name });
    expect(encodeVerifierKey(parsed, hash)).toBe(vkey);
  });

  it('gives the known public key', () => {
    const { vkey } = knownKeys['rekor v2 production'] as { vkey: string };
    expect(parseVerifierKey(vkey, hash)).toEqual(knownKey('rekor v2 production'));
  });

  it.each<[string, NoteKey]>([
    ['ecdsa', { kind: 'ecdsa', name: 'log.example', key: ecdsaSigner.publicKey }],
    ['rfc6962', { kind: 'rfc6962', name: 'log.example/ct', key: ecdsaSigner.publicKey }],
    ['rfc6962 with RSA', { kind: 'rfc6962', name: 'log.example/ct', key: rsaSigner.publicKey }],
    ['rsa', { kind: 'rsa', name: 'log.example', key: rsaSigner.publicKey }],
    ['cosignature', { kind: 'cosignature', name: 'witness.example', key: seedSigner(3).publicKey }],
  ])('reads back %s', (_name, noteKey) => {
    const parsed = parseVerifierKey(encodeVerifierKey(noteKey, hash), hash);
    expect(parsed).toMatchObject({ kind: noteKey.kind, name: noteKey.name });
    expect(hex(parsed.key.spki)).toBe(hex(noteKey.key.spki));
  });

  const { vkey } = knownKeys['deterministic log'] as { vkey: string };
  const ofBytes = (bytes: Uint8Array): string => {
    const input = Buffer.concat([Buffer.from('log.example\n'), bytes]);
    const keyId = hex(hash('sha256', input).subarray(0, 4));
    return `log.example+${keyId}+${Buffer.from(bytes).toString('base64')}`;
  };

  it('takes a key whose id it computes itself', () => {
    const raw = Buffer.from(vkey.split('+')[2] as string, 'base64');
    expect(parseVerifierKey(ofBytes(raw), hash).kind).toBe('ed25519');
  });

  it.each<[string, string]>([
    ['nothing', ''],
    ['no key id', 'log.example+AQ=='],
    ['no name', vkey.slice(vkey.indexOf('+'))],
    ['a name with a space', vkey.replace('log.example', 'log example')],
    ['another name', vkey.replace('log.example', 'log.exemple')],
    ['another key id', vkey.replace('fae20353', 'fae20354')],
    ['a key id in upper case', vkey.replace('fae20353', 'FAE20353')],
    ['a key id of seven digits', vkey.replace('fae20353', 'fae2035')],
    ['another key', vkey.replace('AYqI', 'AYqJ')],
    ['a line feed at the end', `${vkey}\n`],
    ['base64 without padding', ofBytes(Uint8Array.of(1, 2)).replaceAll('=', '')],
    ['foreign characters in the base64', vkey.replace('AYqI', 'A*qI')],
    ['an empty key', ofBytes(new Uint8Array(0))],
    ['a key of 31 bytes', ofBytes(Uint8Array.of(1, ...new Uint8Array(31)))],
    ['a key of 33 bytes', ofBytes(Uint8Array.of(1, ...new Uint8Array(33)))],
    ['a witness key of 31 bytes', ofBytes(Uint8Array.of(4, ...new Uint8Array(31)))],
    ['an ECDSA key that is no SubjectPublicKeyInfo', ofBytes(Uint8Array.of(2, 0x30, 0))],
    ['an unknown kind', ofBytes(Uint8Array.of(6, ...new Uint8Array(32)))],
    ['an unknown long kind', ofBytes(Uint8Array.of(0xff, ...Buffer.from('other')))],
    ['5000 characters', `log.example+fae20353+${'A'.repeat(5000)}`],
  ])('rejects %s', (_name, text) => {
    expect(() => parseVerifierKey(text, hash)).toThrow(malformed);
  });
});
