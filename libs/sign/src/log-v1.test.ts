import { describe, expect, it } from 'vitest';
import type { TlogEntry } from '#libs/bundle';
import { encodeBase64, encodeHex, encodeUtf8, parseJson } from '#libs/encoding';
import { generateSigner, sha256 } from '#libs/openssl';
import { bodyDsse1, bodyHashedRekord1 } from '../../../test/world/entry-bodies.js';
import { SmallSigstore } from '../../../test/world/small-sigstore.js';
import { encodeEnvelope, logEntryV1 } from './log-v1.js';
import type { LogRequest } from './log.js';

const world = new SmallSigstore();
const signer = generateSigner();
const digest = sha256(encodeUtf8('hello'));
const signature = signer.sign(encodeUtf8('hello'));
const logged = { digest, algorithm: 'sha256' as const, signature };
const request: LogRequest = {
  url: 'https://log.example',
  entry: {
    kind: 'hashedrekord',
    digest,
    signature,
    keyDetails: 'PKIX_ECDSA_P256_SHA_256',
    verifier: { publicKey: signer.publicKey.spki },
  },
  nowMs: world.now.getTime(),
  trustedRoot: world.trustedRoot(),
};

/** An entry as Rekor v1 answers. */
function answerOf(entry: TlogEntry): Record<string, unknown> {
  const proof = entry.inclusionProof;
  return {
    ['0'.repeat(80)]: {
      body: encodeBase64(entry.canonicalizedBody),
      integratedTime: Number(entry.integratedTime),
      logID: encodeHex(entry.logId),
      logIndex: Number(entry.logIndex),
      verification: {
        inclusionProof: {
          checkpoint: proof?.checkpoint,
          hashes: proof?.hashes.map(encodeHex),
          logIndex: Number(proof?.logIndex),
          rootHash: encodeHex(proof?.rootHash ?? new Uint8Array()),
          treeSize: Number(proof?.treeSize),
        },
        signedEntryTimestamp: encodeBase64(entry.inclusionPromise ?? new Uint8Array()),
      },
    },
  };
}

interface Sent {
  url: string;
  body: string;
}

function submit(
  answers: [status: number, body: unknown, headers?: Record<string, string>][],
  what = request,
  sent: Sent[] = [],
) {
  const left = [...answers];
  return logEntryV1(what, {
    attempts: 1,
    fetch: (url, init) => {
      // Both are texts: so the client under test gives them.
      sent.push({ url: url as string, body: (init?.body ?? '') as string });
      const [status, body, headers] = left.shift() ?? [500, 'no more answers'];
      return Promise.resolve(new Response(JSON.stringify(body), { status, ...(headers && { headers }) }));
    },
  });
}

const good = world.entry1(bodyHashedRekord1(logged, { signer }));

describe('logEntryV1()', () => {
  it('submits a hashedrekord 0.0.1 and returns the entry with promise and proof', async () => {
    const sent: Sent[] = [];
    expect(await submit([[201, answerOf(good)]], request, sent)).toEqual(good);
    expect(sent[0]?.url).toBe('https://log.example/api/v1/log/entries');
    expect(parseJson(sent[0]?.body ?? '')).toMatchObject({
      apiVersion: '0.0.1',
      kind: 'hashedrekord',
      spec: { data: { hash: { algorithm: 'sha256', value: encodeHex(digest) } } },
    });
  });

  it('submits an envelope as dsse 0.0.1, in the text that is stored too', async () => {
    const payload = encodeUtf8('{}');
    const entry = world.entry1(bodyDsse1({ ...logged, payload }, { signer }), { kind: 'dsse' });
    const sent: Sent[] = [];
    const envelope = { payloadType: 'text/x', payload };
    expect(await submit([[201, answerOf(entry)]], { ...request, envelope }, sent)).toEqual(entry);
    const text = encodeEnvelope({ ...envelope, signatures: [{ sig: signature, keyid: '' }] });
    expect(parseJson(sent[0]?.body ?? '')).toMatchObject({ spec: { proposedContent: { envelope: text } } });
    expect(parseJson(text)).toMatchObject({ payloadType: 'text/x', payload: 'e30=', signatures: [{ keyid: '' }] });
  });

  it('reads an entry that the log has already, at the name it gives and nowhere else', async () => {
    const sent: Sent[] = [];
    const location = `https://evil.example/api/v1/log/entries/${'a'.repeat(80)}`;
    expect(
      await submit(
        [
          [409, {}, { location }],
          [200, answerOf(good)],
        ],
        request,
        sent,
      ),
    ).toEqual(good);
    expect(sent[1]?.url).toBe(`https://log.example/api/v1/log/entries/${'a'.repeat(80)}`);
    await expect(submit([[409, {}]])).rejects.toMatchObject({ code: 'SIGN_REFUSED' });
  });

  const other = generateSigner();
  const payload = encodeUtf8('{}');
  const wrong: Record<string, [unknown, string]> = {
    'another signature': [
      answerOf(world.entry1(bodyHashedRekord1({ ...logged, signature: signer.sign(encodeUtf8('x')) }, { signer }))),
      'SIGN_LOG_BODY',
    ],
    'another digest': [
      answerOf(world.entry1(bodyHashedRekord1({ ...logged, digest: sha256(encodeUtf8('x')) }, { signer }))),
      'SIGN_LOG_BODY',
    ],
    'another key': [answerOf(world.entry1(bodyHashedRekord1(logged, { signer: other }))), 'SIGN_LOG_BODY'],
    'an entry of another kind': [
      answerOf(world.entry1(bodyDsse1({ ...logged, payload }, { signer }), { kind: 'dsse' })),
      'SIGN_LOG_BODY',
    ],
    'a proof that leads elsewhere': [
      answerOf({ ...good, inclusionProof: { ...(good.inclusionProof ?? never()), rootHash: digest } }),
      'SIGN_LOG_PROOF',
    ],
    'a promise over another time': [answerOf({ ...good, integratedTime: 1n }), 'SIGN_LOG_CHECKPOINT'],
    'a promise over another index': [answerOf({ ...good, logIndex: 5n }), 'SIGN_LOG_CHECKPOINT'],
    'a promise by another log': [answerOf({ ...good, logId: digest }), 'SIGN_LOG_CHECKPOINT'],
    'two entries': [{ ...answerOf(good), ['1'.repeat(80)]: {} }, 'SIGN_RESPONSE_MALFORMED'],
    'no entry': [{}, 'SIGN_RESPONSE_MALFORMED'],
    'a list': [[], 'SIGN_RESPONSE_MALFORMED'],
    'a negative index': [answerOf({ ...good, logIndex: -1n }), 'SIGN_RESPONSE_MALFORMED'],
  };
  it.each(Object.entries(wrong))('refuses %s', async (_, [answer, code]) => {
    await expect(submit([[201, answer]])).rejects.toMatchObject({ name: 'SignError', code });
  });

  it('believes the promise without a trusted root, as there is nothing to check it by', async () => {
    const { trustedRoot: _, ...blind } = request;
    await expect(submit([[201, answerOf({ ...good, logIndex: 5n })]], blind)).resolves.toMatchObject({ logIndex: 5n });
  });
});

function never(): never {
  throw new Error('the entry has a proof');
}
