import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeBundle, parseBundle, type Bundle } from '#libs/bundle';
import { encodeBase64, encodePem, encodeUtf8, parseBase64, parseJson, parsePem, parseUtf8 } from '#libs/encoding';
import { parseEntryBody } from '#libs/entry';
import { opensslCrypto, sha256 } from '#libs/openssl';
import { parseCertificate, subjectAltNames } from '#libs/x509';
import { createWorld, jsonResponse, makeToken, type Call, type World } from '../testing/world.js';
import { chooseServices, loadSigningKey, sign, SignError, signMany, type Artifact, type SignOptions } from './index.js';

const message: Artifact = { kind: 'bytes', bytes: encodeUtf8('an artifact') };
const statement = encodeUtf8(
  JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: 'a', digest: { sha256: '0'.repeat(64) } }],
    predicateType: 'https://example.com/p',
  }),
);

let world: World;
let slept: number[];
let options: SignOptions & { identityToken: string };

beforeEach(() => {
  world = createWorld();
  slept = [];
  options = {
    services: chooseServices(world.signingConfig, { now: new Date(world.now()) }),
    identityToken: world.token(),
    trustedRoot: world.trustedRoot,
    fetch: world.fetch,
    now: world.now,
    sleep: async (milliseconds) => void slept.push(milliseconds),
    jitter: () => 0.5,
  };
});

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SignError)) throw new Error(`not a SignError: ${String(error)}`);
  return error.code;
};
const leafOf = (bundle: Bundle) => {
  if (bundle.material.kind !== 'certificate') throw new Error('no certificate');
  return parseCertificate(bundle.material.certificates[0] ?? new Uint8Array());
};

describe('sign()', () => {
  it('makes a bundle of version 0.3 with one certificate, one timestamp and one log entry', async () => {
    const bundle = await sign(message, options);
    expect(parseBundle(encodeBundle(bundle))).toEqual(bundle);
    expect(bundle.version).toBe('0.3');
    expect(bundle.timestamps).toHaveLength(1);
    expect(bundle.tlogEntries).toHaveLength(1);
    const leaf = leafOf(bundle);
    expect(subjectAltNames(leaf)).toEqual([{ kind: 'email', value: 'alice@example.com' }]);
    if (bundle.content.kind !== 'message') throw new Error('no message');
    expect(bundle.content.digest).toEqual({ algorithm: 'sha256', digest: sha256(encodeUtf8('an artifact')) });
    expect(
      await opensslCrypto.verify(
        leaf.publicKey,
        { kind: 'ecdsa', hash: 'sha256' },
        encodeUtf8('an artifact'),
        bundle.content.signature,
      ),
    ).toBe(true);
  });

  it('signs a file of several chunks as it signs its bytes', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'chancery-sign-'));
    try {
      const bytes = randomBytes(300_000);
      await writeFile(join(folder, 'artifact'), bytes);
      const bundle = await sign({ kind: 'file', path: join(folder, 'artifact') }, options);
      if (bundle.content.kind !== 'message') throw new Error('no message');
      expect(bundle.content.digest?.digest).toEqual(sha256(bytes));
      const { signature } = bundle.content;
      expect(
        await opensslCrypto.verify(leafOf(bundle).publicKey, { kind: 'ecdsa', hash: 'sha256' }, bytes, signature),
      ).toBe(true);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('refuses a file that is not there, and logs nothing', async () => {
    expect(await codeOf(sign({ kind: 'file', path: '/nonexistent/file' }, options))).toBe('SIGN_ARTIFACT');
    expect(world.entries).toHaveLength(0);
  });

  it('logs an envelope as dsse where the log takes that, which sigstore-js 4 can verify', async () => {
    world.logTakesDsse = true;
    const bundle = await sign({ kind: 'statement', bytes: statement }, options);
    expect(bundle.tlogEntries[0]).toMatchObject({ kind: 'dsse', version: '0.0.2' });
    const [body] = world.entries;
    expect(JSON.stringify(parseJson(body ?? ''))).toContain(encodeBase64(sha256(statement)));
  });

  it('puts the exact bytes of a statement into a DSSE envelope, and logs the hash of its PAE', async () => {
    const bundle = await sign({ kind: 'statement', bytes: statement }, options);
    if (bundle.content.kind !== 'dsse') throw new Error('no envelope');
    expect(bundle.content.envelope.payload).toEqual(statement);
    expect(bundle.content.envelope.payloadType).toBe('application/vnd.in-toto+json');
    const pae = encodeUtf8(
      `DSSEv1 28 application/vnd.in-toto+json ${statement.length} ${Buffer.from(statement).toString()}`,
    );
    const body = parseEntryBody(world.entries[0] ?? new Uint8Array());
    expect(body).toMatchObject({ kind: 'hashedrekord', version: '0.0.2' });
    expect(JSON.stringify(parseJson(world.entries[0] ?? ''))).toContain(encodeBase64(sha256(pae)));
  });

  it.each([
    ['JSON that is no statement', '{}'],
    ['no JSON', 'hello'],
    [
      'a statement without subjects',
      JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject: [], predicateType: 'p' }),
    ],
    [
      'a statement whose subjects nobody could compare with',
      JSON.stringify({
        _type: 'https://in-toto.io/Statement/v1',
        subject: [{ digest: { sha1: 'ab' } }],
        predicateType: 'p',
      }),
    ],
  ])('refuses %s before anything is sent', async (_, text) => {
    expect(await codeOf(sign({ kind: 'statement', bytes: encodeUtf8(text) }, options))).toBe('SIGN_STATEMENT');
    expect(world.calls).toEqual([]);
  });

  it('proves possession of the key with a certificate request, and sends the token to nobody else', async () => {
    await sign(message, options);
    const withToken = world.calls.filter(({ headers }) => headers.has('authorization'));
    expect(withToken.map(({ path }) => path)).toEqual(['/api/v2/signingCert']);
    const { certificateSigningRequest } = parseJson(withToken[0]?.body ?? '') as { certificateSigningRequest: string };
    const [block] = parsePem(Buffer.from(parseBase64(certificateSigningRequest)).toString());
    expect(block?.label).toBe('CERTIFICATE REQUEST');
  });

  it('works without a trusted root, checking the answers against each other', async () => {
    const { trustedRoot: _, ...rest } = options;
    expect((await sign(message, rest)).tlogEntries).toHaveLength(1);
  });

  it('stamps the raw signature, with a nonce, after the certificate and before the log', async () => {
    await sign(message, options);
    expect(world.calls.map(({ path }) => path)).toEqual([
      '/api/v2/signingCert',
      '/api/v1/timestamp',
      '/api/v2/log/entries',
    ]);
  });

  it('says what is missing when there is neither token nor key', async () => {
    const { identityToken: _, ...rest } = options;
    expect(await codeOf(sign(message, rest))).toBe('SIGN_TOKEN_MISSING');
  });

  it('asks for a token only when it needs one', async () => {
    let asked = 0;
    await sign(message, { ...options, identityToken: async () => (asked++, world.token()) });
    expect(asked).toBe(1);
  });

  it('refuses a certificate without a timestamp authority: a v2 log gives no time', async () => {
    const services = { ...options.services, timestampAuthorities: [] };
    expect(await codeOf(sign(message, { ...options, services }))).toBe('SIGN_SERVICES');
  });

  it('refuses to sign without a log', async () => {
    expect(await codeOf(sign(message, { ...options, services: { ...options.services, logs: [] } }))).toBe(
      'SIGN_SERVICES',
    );
  });
});

interface CaAnswer {
  signedCertificateEmbeddedSct: { chain: { certificates: string[] } };
}

/** Every field is there, but a test may take it away. */
interface LogAnswer {
  logIndex: string;
  logId: { keyId: string };
  canonicalizedBody: string;
  inclusionProof: { rootHash: string; treeSize: string; hashes: string[]; checkpoint: { envelope: string } };
}

describe('sign() refuses a wrong answer:', () => {
  /** Replaces the JSON answer to one path. */
  const lie = <Answer>(path: string, change: (answer: Answer) => unknown) => {
    world.after = async (call, response) =>
      call.path === path ? jsonResponse(change((await response.json()) as Answer), response.status) : response;
  };
  const flip = (base64: string, at = 40) => {
    const bytes = parseBase64(base64);
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    return encodeBase64(bytes);
  };
  /** An answer that was right for another signing. */
  const otherAnswer = async (path: string): Promise<Response> => {
    const kept: Response[] = [];
    world.after = (call, response) => (call.path === path && kept.push(response.clone()), response);
    await sign({ kind: 'bytes', bytes: encodeUtf8('another artifact') }, options);
    const [answer] = kept;
    if (answer === undefined) throw new Error('never called');
    return answer;
  };

  it('a certificate for another key', async () => {
    const other = await otherAnswer('/api/v2/signingCert');
    world.after = (call, response) => (call.path === '/api/v2/signingCert' ? other : response);
    expect(await codeOf(sign(message, options))).toBe('SIGN_CERTIFICATE_KEY');
  });

  it('a certificate by an authority that the trusted root does not have', async () => {
    const trustedRoot = {
      ...world.trustedRoot,
      certificateAuthorities: createWorld().trustedRoot.certificateAuthorities,
    };
    expect(await codeOf(sign(message, { ...options, trustedRoot }))).toBe('SIGN_CERTIFICATE_CHAIN');
  });

  it('a certificate by an authority that is no longer valid', async () => {
    const trustedRoot = {
      ...world.trustedRoot,
      certificateAuthorities: world.trustedRoot.certificateAuthorities.map((ca) => ({
        ...ca,
        validFor: { start: ca.validFor.start, end: new Date(world.now() - 2000) },
      })),
    };
    expect(await codeOf(sign(message, { ...options, trustedRoot }))).toBe('SIGN_CERTIFICATE_CHAIN');
  });

  it('without a trusted root, a certificate that the next one did not sign', async () => {
    const { trustedRoot: _, ...rest } = options;
    const foreign = createWorld().trustedRoot.certificateAuthorities[0]?.certChain[0]?.der ?? new Uint8Array();
    lie('/api/v2/signingCert', (answer: CaAnswer) => {
      answer.signedCertificateEmbeddedSct.chain.certificates[1] = encodePem('CERTIFICATE', foreign);
      return answer;
    });
    expect(await codeOf(sign(message, rest))).toBe('SIGN_CERTIFICATE_CHAIN');
  });

  it('an SCT of a log that the trusted root does not have', async () => {
    expect(await codeOf(sign(message, { ...options, trustedRoot: { ...world.trustedRoot, ctlogs: [] } }))).toBe(
      'SIGN_CERTIFICATE_SCT',
    );
  });

  it('an SCT whose signature is by another key than the one its log id names', async () => {
    const [log] = world.trustedRoot.ctlogs;
    const [foreign] = createWorld().trustedRoot.ctlogs;
    if (log === undefined || foreign === undefined) throw new Error('no CT log');
    const trustedRoot = { ...world.trustedRoot, ctlogs: [{ ...foreign, logId: log.logId }] };
    expect(await codeOf(sign(message, { ...options, trustedRoot }))).toBe('SIGN_CERTIFICATE_SCT');
  });

  it('an SCT apart from the certificate', async () => {
    lie('/api/v2/signingCert', (answer: CaAnswer) => ({
      signedCertificateDetachedSct: answer.signedCertificateEmbeddedSct,
    }));
    expect(await codeOf(sign(message, options))).toBe('SIGN_CERTIFICATE_SCT');
  });

  it('a certificate without an SCT', async () => {
    world.withoutSct = true;
    const { trustedRoot: _, ...rest } = options;
    expect(await codeOf(sign(message, rest))).toBe('SIGN_CERTIFICATE_SCT');
  });

  it('a certificate that is expired already', async () => {
    const now = () => world.clock.nowMs + 700_000;
    const identityToken = world.token({ exp: Math.floor(now() / 1000) + 60 });
    expect(await codeOf(sign(message, { ...options, identityToken, now }))).toBe('SIGN_CERTIFICATE_TIME');
  });

  it.each([
    ['no JSON', () => new Response('<html>')],
    ['no chain', () => jsonResponse({})],
    ['an empty chain', () => jsonResponse({ signedCertificateEmbeddedSct: { chain: { certificates: [] } } })],
    ['a chain of numbers', () => jsonResponse({ signedCertificateEmbeddedSct: { chain: { certificates: [1] } } })],
    ['no PEM', () => jsonResponse({ signedCertificateEmbeddedSct: { chain: { certificates: ['x'] } } })],
    [
      'a PEM of no certificate',
      () =>
        jsonResponse({
          signedCertificateEmbeddedSct: { chain: { certificates: [encodePem('CERTIFICATE', Uint8Array.of(5, 0))] } },
        }),
    ],
  ])('%s from the certificate authority', async (_, answer) => {
    world.before = ({ path }) => (path === '/api/v2/signingCert' ? answer() : undefined);
    expect(await codeOf(sign(message, options))).toBe('SIGN_RESPONSE_MALFORMED');
  });

  it('a timestamp over another signature', async () => {
    const other = await otherAnswer('/api/v1/timestamp');
    world.after = (call, response) => (call.path === '/api/v1/timestamp' ? other : response);
    const error: unknown = await sign(message, options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SIGN_TIMESTAMP', message: expect.stringContaining('over other data') });
  });

  it('a timestamp that answers another request for the same signature', async () => {
    // The same signature twice: the first answer is kept and replayed for the second request.
    const { requestTimestamp } = await import('./timestamp.js');
    const request = {
      url: `${world.baseUrl}/api/v1/timestamp`,
      signature: encodeUtf8('signature'),
      trustedRoot: world.trustedRoot,
    };
    const first = await requestTimestamp(request, options);
    world.before = () => new Response(first as Uint8Array<ArrayBuffer>);
    const error: unknown = await requestTimestamp(request, options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SIGN_TIMESTAMP', message: expect.stringContaining('nonce') });
  });

  it('a timestamp by an authority that the trusted root does not have', async () => {
    const trustedRoot = { ...world.trustedRoot, timestampAuthorities: createWorld().trustedRoot.timestampAuthorities };
    expect(await codeOf(sign(message, { ...options, trustedRoot }))).toBe('SIGN_TIMESTAMP');
  });

  it('a timestamp after the end of the certificate, which no verifier would accept', async () => {
    world.before = ({ path }) => {
      if (path === '/api/v1/timestamp') world.clock.nowMs += 700_000;
      return undefined;
    };
    const error: unknown = await sign(message, options).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'SIGN_TIMESTAMP', message: expect.stringContaining('outside') });
    expect(world.entries).toHaveLength(0);
  });

  it('a timestamp that is none', async () => {
    world.before = ({ path }) => (path === '/api/v1/timestamp' ? new Response('hello') : undefined);
    expect(await codeOf(sign(message, options))).toBe('SIGN_TIMESTAMP');
  });

  it('a valid log entry of another signature (GHSA-8pmp)', async () => {
    const other = await otherAnswer('/api/v2/log/entries');
    world.after = (call, response) => (call.path === '/api/v2/log/entries' ? other : response);
    expect(await codeOf(sign(message, options))).toBe('SIGN_LOG_BODY');
  });

  it.each<[string, string, (answer: LogAnswer) => void]>([
    [
      'a body with one bit flipped',
      'SIGN_LOG_BODY',
      (answer) => (answer.canonicalizedBody = flip(answer.canonicalizedBody)),
    ],
    ['no inclusion proof', 'SIGN_LOG_PROOF', (answer) => delete (answer as Partial<LogAnswer>).inclusionProof],
    [
      'no checkpoint',
      'SIGN_LOG_PROOF',
      (answer) => delete (answer.inclusionProof as Partial<LogAnswer['inclusionProof']>).checkpoint,
    ],
    [
      'another root than that of the checkpoint',
      'SIGN_LOG_PROOF',
      (answer) => (answer.inclusionProof.rootHash = flip(answer.inclusionProof.rootHash, 0)),
    ],
    ['another size than that of the checkpoint', 'SIGN_LOG_PROOF', (answer) => (answer.inclusionProof.treeSize = '9')],
    [
      'a proof with one bit flipped',
      'SIGN_LOG_PROOF',
      (answer) => (answer.inclusionProof.hashes[0] = flip(answer.inclusionProof.hashes[0] ?? '', 0)),
    ],
    ['a proof with one hash too few', 'SIGN_LOG_PROOF', (answer) => answer.inclusionProof.hashes.pop()],
    ['another index outside than inside the proof', 'SIGN_LOG_PROOF', (answer) => (answer.logIndex = '1')],
    [
      'another log id than that of the signer',
      'SIGN_LOG_CHECKPOINT',
      (answer) => (answer.logId.keyId = flip(answer.logId.keyId, 31)),
    ],
    [
      'a checkpoint with one bit of its signature flipped',
      'SIGN_LOG_CHECKPOINT',
      (answer) => {
        const { checkpoint } = answer.inclusionProof;
        checkpoint.envelope = checkpoint.envelope.replace(/ (\S+)\n$/, (_: string, blob: string) => ` ${flip(blob)}\n`);
      },
    ],
    ['an unknown field', 'SIGN_RESPONSE_MALFORMED', (answer) => Object.assign(answer, { surprise: true })],
  ])('from the log, %s', async (_, code, change) => {
    for (let i = 0; i < 4; i++) world.append(encodeUtf8(`entry ${i}`));
    lie('/api/v2/log/entries', (answer: LogAnswer) => (change(answer), answer));
    expect(await codeOf(sign(message, options))).toBe(code);
  });

  it('a checkpoint of a log that the trusted root does not have (GHSA-xvrc)', async () => {
    const trustedRoot = { ...world.trustedRoot, tlogs: createWorld().trustedRoot.tlogs };
    expect(await codeOf(sign(message, { ...options, trustedRoot }))).toBe('SIGN_LOG_CHECKPOINT');
  });
});

describe('sign() after a lost answer', () => {
  const conflict = (index: string | undefined) => {
    world.after = (call, response) => {
      if (call.path !== '/api/v2/log/entries') return response;
      return new Response('{"code":6,"message":"an equivalent entry already exists"}', {
        status: 409,
        headers: index === undefined ? {} : { 'x-log-index': index },
      });
    };
  };

  it('takes the proof from the tiles when the log answers 409 with the index', async () => {
    for (let i = 0; i < 300; i++) world.append(encodeUtf8(`entry ${i}`));
    conflict('300');
    const bundle = await sign(message, options);
    expect(bundle.tlogEntries[0]).toMatchObject({ logIndex: 300n, logId: world.trustedRoot.tlogs[0]?.logId });
  });

  it('refuses an index at which another entry is', async () => {
    world.append(encodeUtf8('entry 0'));
    conflict('0');
    expect(await codeOf(sign(message, options))).toBe('SIGN_LOG_BODY');
  });

  it.each([[undefined], ['-1'], ['01'], ['x']])('refuses index %s', async (index) => {
    conflict(index);
    expect(await codeOf(sign(message, options))).toBe('SIGN_REFUSED');
  });

  it('needs a trusted root for it, which has the id of the log', async () => {
    conflict('0');
    const { trustedRoot: _, ...rest } = options;
    expect(await codeOf(sign(message, rest))).toBe('SIGN_REFUSED');
  });
});

describe('signMany()', () => {
  const artifacts: Artifact[] = ['a', 'b', 'c'].map((text) => ({ kind: 'bytes', bytes: encodeUtf8(text) }));
  const certificates = () => world.calls.filter(({ path }: Call) => path === '/api/v2/signingCert').length;

  it('uses one certificate for several artifacts', async () => {
    const bundles: Bundle[] = [];
    for await (const bundle of signMany(artifacts, options)) bundles.push(bundle);
    expect(new Set(bundles.map((bundle) => encodePem('CERTIFICATE', leafOf(bundle).der))).size).toBe(1);
    expect(bundles.map(({ tlogEntries }) => tlogEntries[0]?.logIndex)).toEqual([0n, 1n, 2n]);
    expect(certificates()).toBe(1);
  });

  it('gets a new one when less than a minute is left', async () => {
    for await (const _ of signMany(artifacts, { ...options, identityToken: async () => world.token() })) {
      world.clock.nowMs += 541_000;
    }
    expect(certificates()).toBe(3);
  });

  it('never uses a key again for another certificate', async () => {
    const keys: string[] = [];
    for await (const bundle of signMany(artifacts, { ...options, identityToken: async () => world.token() })) {
      keys.push(encodeBase64(leafOf(bundle).spki));
      world.clock.nowMs += 600_000;
    }
    expect(new Set(keys).size).toBe(3);
  });

  it('keeps the bundles that were complete when a later one fails', async () => {
    const done: Bundle[] = [];
    const work = async () => {
      for await (const bundle of signMany([...artifacts.slice(0, 1), { kind: 'file', path: '/nonexistent' }], options))
        done.push(bundle);
    };
    expect(await codeOf(work())).toBe('SIGN_ARTIFACT');
    expect(done).toHaveLength(1);
  });
});

describe('sign() with a managed key', () => {
  const pemOf = (kind: 'P-256' | 'P-384' | 'P-521' | 'rsa' | 'ed25519') => {
    const { privateKey } =
      kind === 'rsa'
        ? generateKeyPairSync('rsa', { modulusLength: 2048 })
        : kind === 'ed25519'
          ? generateKeyPairSync('ed25519')
          : generateKeyPairSync('ec', { namedCurve: kind });
    return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  };

  it.each([
    ['P-256', 'PKIX_ECDSA_P256_SHA_256'],
    ['P-384', 'PKIX_ECDSA_P384_SHA_384'],
    ['P-521', 'PKIX_ECDSA_P521_SHA_512'],
    ['rsa', 'PKIX_RSA_PKCS1V15_2048_SHA256'],
    ['ed25519', 'PKIX_ED25519_PH'],
  ] as const)('of kind %s needs no certificate and logs the key as %s', async (kind, keyDetails) => {
    const key = loadSigningKey(pemOf(kind));
    const { identityToken: _, ...rest } = options;
    const bundle = await sign(message, { ...rest, key });
    expect(world.calls.map(({ path }) => path)).toEqual(['/api/v1/timestamp', '/api/v2/log/entries']);
    expect(bundle.material).toEqual({ kind: 'publicKey', hint: encodeBase64(sha256(key.publicKey.spki)) });
    expect(Buffer.from(world.entries[0] ?? []).toString()).toContain(`"keyDetails":"${keyDetails}"`);
    expect(key.algorithm.keyDetails).toBe(keyDetails);
  });

  it.each([
    ['P-384', 'sha256'],
    ['P-521', 'sha256'],
    ['ed25519', null],
  ] as const)('of kind %s signs envelopes for a log of version 1 as that verifies them', async (kind, hash) => {
    const pem = pemOf(kind);
    const key = loadSigningKey(pem);
    const { signature } = (await key.forEnvelopesV1?.signChunks([encodeUtf8('in '), encodeUtf8('parts')])) ?? {};
    const verifies = (given: Uint8Array | undefined) =>
      verify(hash, encodeUtf8('in parts'), createPublicKey(pem), given ?? new Uint8Array());
    expect(verifies(signature)).toBe(true);
    expect(verifies((await key.signChunks([encodeUtf8('in parts')])).signature)).toBe(false);
  });

  it.each([
    ['a log of version 1', { logVersion: 1 }, '/api/v1/log/entries', 'sha256'],
    ['one of version 2', {}, '/api/v2/log/entries', 'sha384'],
  ] as const)('of a larger curve signs an envelope for %s with the hash that it takes', async (_, more, path, hash) => {
    const pem = pemOf('P-384');
    // What is published is enough: no log has to take it.
    world.before = (call) => (call.path === path ? jsonResponse({}, 400) : undefined);
    const services = { ...options.services, ...more };
    const given = { ...options, services, key: loadSigningKey(pem) };
    expect(await codeOf(sign({ kind: 'statement', bytes: statement }, given))).toBe('SIGN_REFUSED');
    const [proposed] = world.calls.filter((call) => call.path === path);
    // In the API v1 the envelope is a text within the text.
    const [, signature = ''] = /sig\W+([A-Za-z0-9+/=]+)/.exec(parseUtf8(proposed?.body ?? new Uint8Array())) ?? [];
    const pae = encodeUtf8(`DSSEv1 28 application/vnd.in-toto+json ${statement.length} ${parseUtf8(statement)}`);
    expect(verify(hash, pae, createPublicKey(pem), parseBase64(signature))).toBe(true);
  });

  it.each(['P-256', 'rsa'] as const)('of kind %s signs everything for every log alike', (kind) => {
    expect(loadSigningKey(pemOf(kind)).forEnvelopesV1).toBeUndefined();
  });

  it('works without a timestamp authority', async () => {
    const services = { ...options.services, timestampAuthorities: [] };
    expect((await sign(message, { ...options, services, key: loadSigningKey(pemOf('P-256')) })).timestamps).toEqual([]);
  });

  it('reads an encrypted key with its passphrase only', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = privateKey
      .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' })
      .toString();
    expect(loadSigningKey(pem, 'secret').algorithm.keyDetails).toBe('PKIX_ECDSA_P256_SHA_256');
    expect(() => loadSigningKey(pem)).toThrow(SignError);
    expect(() => loadSigningKey(pem, 'wrong')).toThrow(SignError);
  });

  it.each([
    ['no PEM', () => 'hello'],
    ['a public key', () => generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()],
    [
      'a weak RSA key',
      () =>
        generateKeyPairSync('rsa', { modulusLength: 1024 })
          .privateKey.export({ type: 'pkcs8', format: 'pem' })
          .toString(),
    ],
  ])('refuses %s', (_, pem) => {
    expect(() => loadSigningKey(pem())).toThrow(expect.objectContaining({ code: 'SIGN_KEY' }));
  });
});

describe('chooseServices()', () => {
  it('takes the v2 log even if a v1 log is listed', () => {
    const [log] = world.signingConfig.rekorTlogUrls;
    if (log === undefined) throw new Error('no log');
    const v1 = { ...log, url: 'https://v1.example', majorApiVersion: 1 };
    const config = { ...world.signingConfig, rekorTlogUrls: [v1, log] };
    expect(chooseServices(config, { now: new Date(world.now()) }).logs).toEqual([world.baseUrl]);
  });

  it('takes the v1 log if no other is listed, unless another version is needed', () => {
    const config = {
      ...world.signingConfig,
      rekorTlogUrls: world.signingConfig.rekorTlogUrls.map((log) => ({ ...log, majorApiVersion: 1 })),
    };
    const now = new Date(world.now());
    expect(chooseServices(config, { now })).toMatchObject({ logs: [world.baseUrl], logVersion: 1 });
    expect(chooseServices(world.signingConfig, { now })).not.toHaveProperty('logVersion');
    for (const [listed, logVersion] of [
      [config, 2],
      [world.signingConfig, 1],
    ] as const) {
      expect(() => chooseServices(listed, { now, logVersion })).toThrow(
        expect.objectContaining({ code: 'SIGN_SERVICES' }),
      );
    }
  });

  it('needs no certificate authority for a managed key', () => {
    const services = chooseServices(
      { ...world.signingConfig, caUrls: [] },
      { now: new Date(world.now()), managedKey: true },
    );
    expect(services).toEqual({ logs: [world.baseUrl], timestampAuthorities: [`${world.baseUrl}/api/v1/timestamp`] });
    expect(() => chooseServices({ ...world.signingConfig, caUrls: [] }, { now: new Date(world.now()) })).toThrow(
      SignError,
    );
  });
});

describe('tokens', () => {
  it.each([
    ['is expired', 'SIGN_TOKEN_EXPIRED', (w: World) => w.token({ exp: Math.floor(w.now() / 1000) - 10 })],
    ['is for another audience', 'SIGN_TOKEN_AUDIENCE', (w: World) => w.token({ aud: 'elsewhere' })],
    ['has no audience', 'SIGN_TOKEN_AUDIENCE', (w: World) => w.token({ aud: undefined })],
    ['has no subject', 'SIGN_TOKEN_MALFORMED', (w: World) => w.token({ sub: undefined })],
    ['has a date for exp', 'SIGN_TOKEN_MALFORMED', (w: World) => w.token({ exp: '2030-01-01' })],
    ['is no token', 'SIGN_TOKEN_MALFORMED', () => 'hello'],
    ['has four parts', 'SIGN_TOKEN_MALFORMED', (w: World) => `${w.token()}.x`],
    ['has claims that are a list', 'SIGN_TOKEN_MALFORMED', () => `e30.${Buffer.from('[]').toString('base64url')}.x`],
    ['is 1 MB of dots', 'SIGN_TOKEN_MALFORMED', () => '.'.repeat(1_000_000)],
  ])('a token that %s is refused before anything is sent', async (_, code, token) => {
    const identityToken = token(world);
    const error: unknown = await sign(message, { ...options, identityToken }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code });
    expect((error as Error).message).not.toContain(identityToken);
    expect(world.calls).toEqual([]);
  });

  it('take a list of audiences, and another audience when asked', async () => {
    expect((await sign(message, { ...options, identityToken: world.token({ aud: ['x', 'sigstore'] }) })).version).toBe(
      '0.3',
    );
    const elsewhere = {
      ...options,
      identityToken: makeToken({ iss: 'i', sub: 's', aud: 'elsewhere', exp: 9e9, email: 'a@b.c' }),
      audience: 'elsewhere',
    };
    expect((await sign(message, elsewhere)).version).toBe('0.3');
  });
});
