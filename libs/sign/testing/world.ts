import { encodeTlogEntry, type TlogEntry } from '#libs/bundle';
import { parsePublicKey, type CryptoPort, type PublicKey, type Signer } from '#libs/crypto';
import {
  derBitString,
  derBoolean,
  derExplicit,
  derInteger,
  derOctetString,
  derOid,
  derSequence,
  derTime,
  encodeBase64Url,
  encodePem,
  encodeUtf8,
  parseBase64,
  parseBase64Url,
  parseJson,
  parsePem,
  parseUtf8,
} from '#libs/encoding';
import { canonicalizeEntry, parseCreateEntryRequest, verifyEntry } from '#libs/entry';
import {
  CompactRange,
  encodeEntryBundle,
  leafHash,
  parseEntryBundlePath,
  parseTilePath,
  proveInclusion,
  TILE_HEIGHT,
  TILE_WIDTH,
} from '#libs/merkle';
import { ed25519NoteSigner, encodeCheckpoint, signNote } from '#libs/note';
import { generateSigner, opensslCrypto, sha256, verifyDigestSync } from '#libs/openssl';
import { issueTimestamp, parseTimestampRequest } from '#libs/timestamp';
import { encodeSigningConfig, encodeTrustedRoot, type SigningConfig, type TrustedRoot } from '#libs/trust';
import {
  csrScheme,
  ctHash,
  ctSignature,
  encodeFulcioExtensions,
  encodeName,
  encodeSct,
  keyIdentifier,
  parseCertificate,
  parseCsr,
  prepareCertificate,
  sctSignedInput,
  type Certificate,
} from '#libs/x509';

/** A request as the world sees it, and an answer that a test may put in place of the real one. */
export interface Call {
  method: string;
  path: string;
  headers: Headers;
  body: Uint8Array;
}
export type Answer = Response | undefined;

/** A small Sigstore in memory: real certificates, timestamps and proofs, and an edge (`fetch`) that can be made to fail or lie. */
export interface World {
  baseUrl: string;
  fetch: typeof globalThis.fetch;
  /** Every request so far. */
  calls: Call[];
  trustedRoot: TrustedRoot;
  signingConfig: SigningConfig;
  /** A token for an e-mail address; `claims` go over the usual ones. */
  token(claims?: Record<string, unknown>): string;
  /** Milliseconds since 1970; the clock stands still unless a test moves it. */
  clock: { nowMs: number };
  now: () => number;
  /** Bodies in the log, in order. */
  entries: Uint8Array[];
  /** Adds an entry that nobody sent. */
  append(body: Uint8Array): bigint;
  checkpoint(): string;
  /** Seconds that a certificate is valid. */
  certificateSeconds: number;
  /** Whether the log takes `dsse` 0.0.2 entries, as it did before it refused them. */
  logTakesDsse: boolean;
  /** Issue certificates that no CT log has seen. */
  withoutSct: boolean;
  /** Asked before each request; an answer goes out instead of the real one. */
  before: (call: Call) => Answer | Promise<Answer>;
  /** Asked after each answer, which it may replace. */
  after: (call: Call, response: Response) => Response | Promise<Response>;
}

const hash: CryptoPort['hash'] = (algorithm, data) => opensslCrypto.hash(algorithm, data);
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const TIME_STAMPING = '1.3.6.1.5.5.7.3.8';
/** A JSON answer, as services give them. */
export const jsonResponse = (value: unknown, status = 200): Response =>
  new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json' } });

export function createWorld({ host = 'sign.example' }: { host?: string } = {}): World {
  const clock = { nowMs: Date.UTC(2026, 5, 1, 12, 0, 0) };
  const start = new Date(Date.UTC(2026, 0, 1));
  const baseUrl = `http://${host}`;
  const keys = {
    ca: generateSigner('P-256'),
    ct: generateSigner('P-256'),
    tsa: generateSigner('P-256'),
    tsaRoot: generateSigner('P-256'),
    log: generateSigner('ed25519'),
  };
  const authority = (name: string, key: Signer) =>
    makeCertificate({ name, publicKey: key.publicKey, start, isCa: true, signedBy: { key } });
  const ca = authority('world CA', keys.ca);
  const tsaRoot = authority('world TSA root', keys.tsaRoot);
  const tsa = makeCertificate({
    name: 'world TSA',
    publicKey: keys.tsa.publicKey,
    start,
    isCa: false,
    signedBy: { certificate: tsaRoot, key: keys.tsaRoot },
  });
  const logSigner = ed25519NoteSigner(host, keys.log, hash);

  const entries: Uint8Array[] = [];
  const nodes = new Map<string, Uint8Array>();
  const tree = CompactRange.empty(sha256);
  const readNode = (level: number, index: bigint) => {
    const stored = nodes.get(`${level}/${index}`);
    if (stored === undefined) throw new Error(`no node ${level}/${index}`);
    return stored;
  };
  const append = (body: Uint8Array) => {
    entries.push(body);
    tree.append(leafHash(sha256, body), (level, index, hash) => nodes.set(`${level}/${index}`, hash));
    return tree.size - 1n;
  };
  const checkpoint = () =>
    signNote(encodeCheckpoint({ origin: host, size: tree.size, rootHash: tree.root(), extensions: [] }), [logSigner]);

  const issue = (call: Call): Response => {
    const claims = readClaims(call.headers.get('authorization'));
    const body = parseJson(call.body) as { certificateSigningRequest: string };
    const csr = parseCsr(parsePem(parseUtf8(parseBase64(body.certificateSigningRequest)))[0]?.der ?? new Uint8Array());
    if (!verifyDigestSync(csr.publicKey, csrScheme(csr), sha256(csr.info), csr.signature))
      return jsonResponse({ code: 3, message: 'bad CSR' }, 400);
    if (world.withoutSct) {
      const leaf = makeCertificate({
        name: 'leaf',
        publicKey: csr.publicKey,
        start,
        isCa: false,
        signedBy: { certificate: ca, key: keys.ca },
      });
      return jsonResponse({
        signedCertificateEmbeddedSct: { chain: { certificates: [encodePem('CERTIFICATE', leaf.der)] } },
      });
    }
    const notBefore = new Date(Math.floor(clock.nowMs / 1000) * 1000);
    const serial = opensslCrypto.randomBytes(20);
    serial[0] = ((serial[0] ?? 0) & 0x7f) | 1;
    const prepared = prepareCertificate(
      {
        issuer: ca,
        serial,
        notBefore,
        notAfter: new Date(notBefore.getTime() + world.certificateSeconds * 1000),
        spki: csr.spki,
        san: { kind: 'email', value: String(claims['email']) },
        extensions: encodeFulcioExtensions({ issuer: String(claims['iss']), subject: String(claims['sub']) }),
        signatureScheme: keys.ca.scheme,
      },
      hash,
    );
    const precertificate = parseCertificate(prepared.signPrecertificate(keys.ca));
    const half = { timestampMs: BigInt(clock.nowMs), extensions: new Uint8Array() };
    const sct = encodeSct({
      version: 0,
      logId: sha256(keys.ct.publicKey.spki),
      ...half,
      hashAlgorithm: ctHash.sha256,
      signatureAlgorithm: ctSignature.ecdsa,
      signature: keys.ct.sign(sctSignedInput(half, precertificate, ca, hash)),
    });
    const leaf = prepared.signCertificate(keys.ca, [sct]);
    return jsonResponse({
      signedCertificateEmbeddedSct: {
        chain: { certificates: [encodePem('CERTIFICATE', leaf), encodePem('CERTIFICATE', ca.der)] },
      },
    });
  };

  const stamp = (call: Call): Response =>
    new Response(
      issueTimestamp({
        request: parseTimestampRequest(call.body),
        signer: keys.tsa,
        chain: [tsa, tsaRoot],
        policy: '1.3.6.1.4.1.57264.2',
        acceptedPolicies: [],
        hash,
        now: new Date(clock.nowMs),
        serial: Uint8Array.of(1, ...opensslCrypto.randomBytes(8)),
      }) as Uint8Array<ArrayBuffer>,
      { status: 201 },
    );

  const log = async (call: Call): Promise<Response> => {
    const request = parseCreateEntryRequest(parseJson(call.body));
    if (request.kind === 'dsse' && !world.logTakesDsse) {
      return jsonResponse({ code: 3, message: 'invalid type, must be hashedrekord', details: [] }, 400);
    }
    const entry = await verifyEntry(request, {
      publicKeyOf: (verifier) =>
        'publicKey' in verifier
          ? parsePublicKey(verifier.publicKey)
          : parseCertificate(verifier.x509Certificate).publicKey,
      verifyDigest: verifyDigestSync,
      hash,
    });
    const body = canonicalizeEntry(entry);
    const logIndex = append(body);
    const answer: TlogEntry = {
      logIndex,
      logId: logSigner.logId,
      kind: entry.kind,
      version: '0.0.2',
      inclusionProof: {
        logIndex,
        treeSize: tree.size,
        rootHash: tree.root(),
        hashes: proveInclusion(sha256, logIndex, tree.size, readNode),
        checkpoint: checkpoint(),
      },
      canonicalizedBody: body,
    };
    return jsonResponse(encodeTlogEntry(answer, { emitDefaults: true }), 201);
  };

  const tile = (path: string): Response => {
    const bytes = readTile(path);
    return bytes === undefined
      ? jsonResponse({ code: 5, message: 'Not Found' }, 404)
      : new Response(bytes as Uint8Array<ArrayBuffer>);
  };
  const readTile = (path: string): Uint8Array | undefined => {
    if (path.startsWith('tile/entries/')) {
      const { index, width } = parseEntryBundlePath(path);
      const first = Number(index) * TILE_WIDTH;
      const bodies = entries.slice(first, first + width);
      return bodies.length === width ? encodeEntryBundle(bodies) : undefined;
    }
    const { level, index, width } = parseTilePath(path);
    const hashes = Array.from({ length: width }, (_, at) =>
      nodes.get(`${level * TILE_HEIGHT}/${index * BigInt(TILE_WIDTH) + BigInt(at)}`),
    );
    return hashes.every((hash) => hash !== undefined) ? Buffer.concat(hashes) : undefined;
  };

  const answer = async (call: Call): Promise<Response> => {
    const { method, path } = call;
    switch (`${method} ${path}`) {
      case 'POST /api/v2/signingCert':
        return issue(call);
      case 'POST /api/v1/timestamp':
        return stamp(call);
      case 'POST /api/v2/log/entries':
        return log(call);
      case 'GET /api/v2/checkpoint':
        return new Response(checkpoint());
      case 'GET /trust/trusted_root.json':
        return new Response(encodeTrustedRoot(world.trustedRoot));
      case 'GET /trust/signing_config.v0.2.json':
        return new Response(encodeSigningConfig(world.signingConfig));
    }
    if (method === 'GET' && path.startsWith('/api/v2/tile/')) return tile(path.slice('/api/v2/'.length));
    return jsonResponse({ code: 5, message: 'Not Found', details: [] }, 404);
  };

  const service = { url: baseUrl, majorApiVersion: 1, validFor: { start }, operator: host };
  const world: World = {
    baseUrl,
    calls: [],
    clock,
    now: () => clock.nowMs,
    entries,
    append,
    checkpoint,
    certificateSeconds: 600,
    logTakesDsse: false,
    withoutSct: false,
    before: () => undefined,
    after: (_, response) => response,
    token: (claims = {}) =>
      makeToken({
        iss: `${baseUrl}/oidc`,
        sub: 'subject-1',
        aud: 'sigstore',
        email: 'alice@example.com',
        email_verified: true,
        iat: Math.floor(clock.nowMs / 1000),
        exp: Math.floor(clock.nowMs / 1000) + 600,
        ...claims,
      }),
    async fetch(input, init) {
      const request = new Request(input, init);
      const call: Call = {
        method: request.method,
        path: new URL(request.url).pathname,
        headers: request.headers,
        body: new Uint8Array(await request.arrayBuffer()),
      };
      world.calls.push(call);
      const given = await world.before(call);
      return given ?? world.after(call, await answer(call));
    },
    trustedRoot: {
      tlogs: [
        {
          baseUrl,
          hashAlgorithm: 'sha256',
          publicKey: keys.log.publicKey,
          keyDetails: 'PKIX_ED25519',
          validFor: { start },
          logId: logSigner.logId,
        },
      ],
      certificateAuthorities: [
        { subject: { commonName: 'world CA' }, uri: baseUrl, certChain: [ca], validFor: { start } },
      ],
      ctlogs: [
        {
          baseUrl: `${baseUrl}/ct`,
          hashAlgorithm: 'sha256',
          publicKey: keys.ct.publicKey,
          keyDetails: 'PKIX_ECDSA_P256_SHA_256',
          validFor: { start },
          logId: sha256(keys.ct.publicKey.spki),
        },
      ],
      timestampAuthorities: [
        {
          subject: { commonName: 'world TSA' },
          uri: `${baseUrl}/api/v1/timestamp`,
          certChain: [tsa, tsaRoot],
          validFor: { start },
        },
      ],
    },
    signingConfig: {
      caUrls: [service],
      oidcUrls: [{ ...service, url: `${baseUrl}/oidc` }],
      rekorTlogUrls: [{ ...service, majorApiVersion: 2 }],
      rekorTlogConfig: { selector: 'ANY' },
      tsaUrls: [{ ...service, url: `${baseUrl}/api/v1/timestamp` }],
      tsaConfig: { selector: 'ANY' },
    },
  };
  return world;
}

/** A JWT whose signature nobody in this world looks at. */
export function makeToken(claims: Record<string, unknown>): string {
  const part = (value: unknown) => encodeBase64Url(encodeUtf8(JSON.stringify(value)));
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.${encodeBase64Url(opensslCrypto.randomBytes(32))}`;
}

function readClaims(authorization: string | null): Record<string, unknown> {
  const payload = authorization?.replace(/^Bearer /, '').split('.')[1] ?? '';
  return parseJson(parseUtf8(parseBase64Url(payload))) as Record<string, unknown>;
}

/** RFC 5280 §4.1, just enough of it for an authority. */
function makeCertificate(options: {
  name: string;
  publicKey: PublicKey;
  start: Date;
  isCa: boolean;
  /** Whose key signs; without a certificate the new one signs itself. */
  signedBy: { certificate?: Certificate; key: Signer };
}): Certificate {
  const { name, publicKey, start, isCa, signedBy } = options;
  const subject = encodeName({ organization: 'world', commonName: name });
  const extension = (oid: string, critical: boolean, value: Uint8Array) =>
    derSequence(derOid(oid), ...(critical ? [derBoolean(true)] : []), derOctetString(value));
  const algorithm = derSequence(derOid('1.2.840.10045.4.3.2'));
  const keyId = keyIdentifier(publicKey.spki, hash);
  const tbs = derSequence(
    derExplicit(0, derInteger(2n)),
    derInteger(Uint8Array.of(1, ...opensslCrypto.randomBytes(8))),
    algorithm,
    signedBy.certificate?.subject ?? subject,
    derSequence(derTime(start), derTime(new Date(Date.UTC(2036, 0, 1)))),
    subject,
    publicKey.spki,
    derExplicit(
      3,
      derSequence(
        // keyCertSign and cRLSign, or digitalSignature
        extension(
          '2.5.29.15',
          true,
          isCa ? derBitString(Uint8Array.of(0x06), 1) : derBitString(Uint8Array.of(0x80), 7),
        ),
        ...(isCa
          ? [extension('2.5.29.19', true, derSequence(derBoolean(true)))]
          : [extension('2.5.29.37', true, derSequence(derOid(TIME_STAMPING)))]),
        ...(isCa && name.endsWith('CA') ? [extension('2.5.29.37', false, derSequence(derOid(CODE_SIGNING)))] : []),
        extension('2.5.29.14', false, derOctetString(keyId)),
      ),
    ),
  );
  const signature = signedBy.key.sign(tbs);
  return parseCertificate(derSequence(tbs, algorithm, derBitString(signature)));
}
