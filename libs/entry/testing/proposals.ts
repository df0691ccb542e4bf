import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { encodeBase64, encodeHex, encodeUtf8, parseUtf8 } from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { pkiFormats } from '#libs/pki';
import { entryAlgorithms, type PkiFormat, type PkiKey, type V1Ports } from '../src/index.js';
import { preAuthenticationEncoding } from '../src/verify.js';

/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- JSON to break in many ways */
export type Json = any;

/** What a client posts. */
export interface Proposed {
  kind: string;
  apiVersion: string;
  spec: Json;
}

export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

export const vectorBytes = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../../test/vectors/entry/${name}`, import.meta.url)));
export const vectorJson = (name: string): Json => JSON.parse(parseUtf8(vectorBytes(name)));

export const ecPair = (namedCurve: string): KeyPair => generateKeyPairSync('ec', { namedCurve });
export const pemOf = ({ publicKey }: KeyPair): Uint8Array =>
  encodeUtf8(publicKey.export({ type: 'spki', format: 'pem' }).toString());
export const spkiOf = ({ publicKey }: KeyPair): Uint8Array =>
  new Uint8Array(publicKey.export({ type: 'spki', format: 'der' }));
export const hashOf = (algorithm: string, data: Uint8Array): Uint8Array =>
  new Uint8Array(createHash(algorithm).update(data).digest());
export const sha256Hex = (data: Uint8Array): string => encodeHex(hashOf('sha256', data));
/** SHA-256 unless said otherwise; Ed25519 is pure. */
export function signOver({ privateKey }: KeyPair, message: Uint8Array, hash = 'sha256'): Uint8Array {
  return new Uint8Array(sign(privateKey.asymmetricKeyType === 'ed25519' ? null : hash, message, privateKey));
}
export const twice = (bytes: Uint8Array): string => encodeBase64(encodeUtf8(encodeBase64(bytes)));

class FakePkiError extends Error {
  readonly code = 'PKI_KEY';
  readonly detail = 'no key of the edge';
}

/**
 * A format at the edge: the key is `KEY <name>`, which its owner signs with by writing `SIG <name> <SHA-256>`; the canonical
 * forms differ from the submitted ones, and the name is the subject.
 */
const edgeFormat: PkiFormat = {
  async parseKey(bytes): Promise<PkiKey> {
    const name = /^KEY (\w+)$/.exec(new TextDecoder().decode(bytes))?.[1];
    if (name === undefined) throw new FakePkiError('Cannot read key: it is not KEY and a name');
    return {
      canonical: encodeUtf8(`canonical ${name}`),
      subjects: [`${name}@Example.com`],
      verify: async (message, signature) => new TextDecoder().decode(signature) === edgeSignature(name, message),
    };
  },
  canonicalSignature: (bytes) => encodeUtf8(`canonical ${encodeBase64(bytes)}`),
};

export const edgeSignature = (name: string, message: Uint8Array): string => `SIG ${name} ${sha256Hex(message)}`;

export const ports: V1Ports = {
  pki: { x509: pkiFormats.x509, pgp: edgeFormat, minisign: edgeFormat, ssh: edgeFormat },
  verifyDigest: opensslCrypto.verifyDigest,
  hash: opensslCrypto.hash,
  algorithms: entryAlgorithms,
  checkTimestampResponse(bytes) {
    if (!parseUtf8(bytes).startsWith('granted')) {
      throw Object.assign(new Error('Cannot read response: status is rejection'), { code: 'TIMESTAMP_REJECTED' });
    }
  },
};

export const message = encodeUtf8('what is signed');

export const statement = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [
    { name: 'a', digest: { sha256: 'AA'.repeat(32), sha512: 'bb'.repeat(64) } },
    { name: 'b', digest: { gitCommit: 'CC'.repeat(20) } },
  ],
  predicateType: 'https://slsa.dev/provenance/v0.2',
  predicate: { materials: [{ uri: 'git+https://example.com', digest: { sha1: 'dd'.repeat(20) } }] },
};
export const statementKeyTexts = [
  `sha256:${'aa'.repeat(32)}`,
  `sha512:${'bb'.repeat(64)}`,
  `gitcommit:${'cc'.repeat(20)}`,
  `sha1:${'dd'.repeat(20)}`,
];
export const inToto = 'application/vnd.in-toto+json';
export const payloadBytes = encodeUtf8(JSON.stringify(statement));

export function envelopeOf(
  pairs: readonly KeyPair[],
  { payload = payloadBytes, payloadType = inToto, keyid = '' } = {},
): { payload: string; payloadType: string; signatures: { keyid: string; sig: string }[] } {
  const encoded = preAuthenticationEncoding(payloadType, payload);
  return {
    payload: encodeBase64(payload),
    payloadType,
    signatures: pairs.map((pair) => ({
      keyid,
      sig: encodeBase64(signOver(pair, encoded)),
    })),
  };
}

export function hashedRekordProposal(pair: KeyPair, hash = 'sha256', data = message): Proposed {
  return {
    kind: 'hashedrekord',
    apiVersion: '0.0.1',
    spec: {
      signature: {
        content: encodeBase64(signOver(pair, data, hash)),
        publicKey: { content: encodeBase64(pemOf(pair)) },
      },
      data: { hash: { algorithm: hash, value: encodeHex(hashOf(hash, data)) } },
    },
  };
}

export function dsseProposal(
  pairs: readonly KeyPair[],
  { envelope = JSON.stringify(envelopeOf(pairs)), verifiers = pairs.map(pemOf) } = {},
): Proposed {
  return {
    kind: 'dsse',
    apiVersion: '0.0.1',
    spec: { proposedContent: { envelope, verifiers: verifiers.map(encodeBase64) } },
  };
}

export function intoto1Proposal(pair: KeyPair, envelope = JSON.stringify(envelopeOf([pair]))): Proposed {
  return {
    kind: 'intoto',
    apiVersion: '0.0.1',
    spec: { content: { envelope }, publicKey: encodeBase64(pemOf(pair)) },
  };
}

export function intoto2Proposal(pairs: readonly KeyPair[], options: Parameters<typeof envelopeOf>[1] = {}): Proposed {
  const envelope = envelopeOf(pairs, options);
  return {
    kind: 'intoto',
    apiVersion: '0.0.2',
    spec: {
      content: {
        envelope: {
          payload: encodeBase64(encodeUtf8(envelope.payload)),
          payloadType: envelope.payloadType,
          signatures: envelope.signatures.map(({ keyid, sig }, i) => ({
            ...(keyid === '' ? {} : { keyid }),
            publicKey: encodeBase64(pemOf(pairs[i] as KeyPair)), // one signature for each pair
            sig: encodeBase64(encodeUtf8(sig)),
          })),
        },
        hash: { algorithm: 'sha256', value: 'ab'.repeat(32) },
      },
    },
  };
}

export function rekordProposal(pair: KeyPair, content = message): Proposed {
  return {
    kind: 'rekord',
    apiVersion: '0.0.1',
    spec: {
      signature: {
        format: 'x509',
        content: encodeBase64(signOver(pair, content)),
        publicKey: { content: encodeBase64(pemOf(pair)) },
      },
      data: { content: encodeBase64(content), hash: { algorithm: 'sha256', value: sha256Hex(content) } },
    },
  };
}

export function edgeRekordProposal(format: 'pgp' | 'minisign' | 'ssh', name = 'alice', content = message): Proposed {
  return {
    kind: 'rekord',
    apiVersion: '0.0.1',
    spec: {
      signature: {
        format,
        content: encodeBase64(encodeUtf8(edgeSignature(name, content))),
        publicKey: { content: encodeBase64(encodeUtf8(`KEY ${name}`)) },
      },
      data: { content: encodeBase64(content) },
    },
  };
}

export function rfc3161Proposal(response = 'granted, they say'): Proposed {
  return {
    kind: 'rfc3161',
    apiVersion: '0.0.1',
    spec: { tsr: { content: encodeBase64(encodeUtf8(response)) } },
  };
}

const pair = ecPair('P-256');
const other = ecPair('P-256');

/** A valid proposal of each kind, those of several signatures and formats included. */
const samples: Readonly<Record<string, Proposed>> = {
  hashedrekord: hashedRekordProposal(pair),
  dsse: dsseProposal([pair, other]),
  'intoto 0.0.1': intoto1Proposal(pair),
  'intoto 0.0.2': intoto2Proposal([pair, other], { keyid: 'a key' }),
  'rekord x509': rekordProposal(pair),
  'rekord pgp': edgeRekordProposal('pgp'),
  'rekord minisign': edgeRekordProposal('minisign'),
  'rekord ssh': edgeRekordProposal('ssh'),
  rfc3161: rfc3161Proposal(),
};

export const sampleNames: readonly string[] = Object.keys(samples);

/** A sample by its name, for the caller to break. */
export function sample(name: string): Proposed {
  const found = samples[name];
  if (found === undefined) throw new Error(`There is no sample ${name}`);
  return structuredClone(found);
}
