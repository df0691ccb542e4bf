/** Entries as clients of Rekor v1 propose them, each one new. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';

peculiar.cryptoProvider.set(webcrypto as unknown as Parameters<typeof peculiar.cryptoProvider.set>[0]);

type Json = Record<string, unknown>;
export interface Proposal {
  readonly kind: string;
  readonly apiVersion: string;
  readonly spec: Json;
}

export const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const base64 = (data: string | Uint8Array): string => Buffer.from(data).toString('base64');
export const hexSha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');
export const pemOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
export const publicPem = pemOf(keys.publicKey);

/** A signature over a digest. `artifact`: what was signed. */
export function hashedRekord(artifact: Uint8Array = randomBytes(16), pem = publicPem, key = keys.privateKey): Proposal {
  return {
    kind: 'hashedrekord',
    apiVersion: '0.0.1',
    spec: {
      data: { hash: { algorithm: 'sha256', value: hexSha256(artifact) } },
      signature: { content: base64(sign('sha256', artifact, key)), publicKey: { content: base64(pem) } },
    },
  };
}

export function statement(subject = hexSha256(randomBytes(16)), material = hexSha256(randomBytes(16))): string {
  return JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'artifact', digest: { sha256: subject } }],
    predicateType: 'https://slsa.dev/provenance/v0.2',
    predicate: { materials: [{ uri: 'git+https://example.com/', digest: { sha1: material.slice(0, 40) } }] },
  });
}

export const inToto = 'application/vnd.in-toto+json';

function sealed(payload: string, payloadType: string) {
  const pae = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${Buffer.byteLength(payload)} ${payload}`;
  return { payload: base64(payload), payloadType, sig: base64(sign('sha256', Buffer.from(pae), keys.privateKey)) };
}

export function envelope(payload: string, payloadType = inToto): string {
  const { sig, ...rest } = sealed(payload, payloadType);
  return JSON.stringify({ ...rest, signatures: [{ keyid: '', sig }] });
}

export function dsse(payload = statement()): Proposal {
  return {
    kind: 'dsse',
    apiVersion: '0.0.1',
    spec: { proposedContent: { envelope: envelope(payload), verifiers: [base64(publicPem)] } },
  };
}

export function intoto1(payload = statement()): Proposal {
  return {
    kind: 'intoto',
    apiVersion: '0.0.1',
    spec: { content: { envelope: envelope(payload) }, publicKey: base64(publicPem) },
  };
}

export function intoto2(payload = statement()): Proposal {
  const { sig, ...rest } = sealed(payload, inToto);
  return {
    kind: 'intoto',
    apiVersion: '0.0.2',
    spec: {
      content: {
        envelope: {
          // In base64 twice, as clients do.
          payload: base64(rest.payload),
          payloadType: rest.payloadType,
          signatures: [{ publicKey: base64(publicPem), sig: base64(sig) }],
        },
        hash: { algorithm: 'sha256', value: hexSha256(payload + sig) },
      },
    },
  };
}

export function rekord(content: Uint8Array = randomBytes(16)): Proposal {
  return {
    kind: 'rekord',
    apiVersion: '0.0.1',
    spec: {
      signature: {
        format: 'x509',
        content: base64(sign('sha256', content, keys.privateKey)),
        publicKey: { content: base64(publicPem) },
      },
      data: { content: base64(content) },
    },
  };
}

/** The same each time. */
export function rfc3161(): Proposal {
  const file = join(import.meta.dirname, '../../../test/vectors/timestamp/rekor2-happy-path.tsr');
  return { kind: 'rfc3161', apiVersion: '0.0.1', spec: { tsr: { content: base64(readFileSync(file)) } } };
}

export const everyKind: Readonly<Record<string, () => Proposal>> = {
  'hashedrekord 0.0.1': () => hashedRekord(),
  'dsse 0.0.1': () => dsse(),
  'intoto 0.0.1': () => intoto1(),
  'intoto 0.0.2': () => intoto2(),
  'rekord 0.0.1': () => rekord(),
  'rfc3161 0.0.1': rfc3161,
};

/** A certificate of no CA in particular: the log asks for none. */
export async function certificate(names: readonly { type: 'email' | 'url' | 'dns'; value: string }[]) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const pkcs8 = privateKey.export({ type: 'pkcs8', format: 'der' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const made = await peculiar.X509CertificateGenerator.createSelfSigned({
    name: 'CN=somebody',
    serialNumber: '01',
    keys: {
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign']),
      publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
    },
    signingAlgorithm: algorithm,
    extensions: [new peculiar.SubjectAlternativeNameExtension([...names])],
  });
  return { pem: `${made.toString('pem')}\n`, privateKey };
}
