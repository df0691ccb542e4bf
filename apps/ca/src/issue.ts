import type { CryptoPort, PublicKey, SignatureAlgorithm } from '#libs/crypto';
import { encodeHex, encodePem, equalBytes, parseJson, parseBase64Url } from '#libs/encoding';
import { IdentityError, type Principal, type ResolvedIssuer, TOKEN_LIMIT, type TokenVerifier } from '#libs/identity';
import {
  encodeFulcioExtensions,
  encodeSct,
  type LeafProfile,
  lintProfile,
  parseCertificate,
  parseLeafIndex,
  prepareCertificate,
  type PreparedCertificate,
  preTbs,
  type Sct,
  X509Error,
} from '#libs/x509';
import type { CertificateAuthority } from './authority.js';
import { type KeyProof, proveKey } from './client-key.js';
import type { CtLogs } from './ct-logs.js';
import { answeredCode, CaError, metBy, type Requester } from './errors.js';
import { IssuedError, type IssuedStore, type RecordedSct } from './issued-store.js';
import type { IssuanceRates } from './rate-limit.js';

/** Ten minutes: long enough to sign, too short to be worth stealing (Fulcio's certificate specification). */
const LIFETIME_MS = 10 * 60_000;
const SERIAL_BYTES = 20;

/** A request for a certificate, whichever API it came through. */
export interface SigningRequest {
  /** Compact JWS. */
  readonly token: string | undefined;
  readonly key: KeyProof;
}

/** PEM, each with its final line feed. */
export interface IssuedCertificate {
  readonly leaf: string;
  /** Issuing CA first, root last. */
  readonly chain: readonly string[];
}

export interface IssueParts {
  readonly authority: CertificateAuthority;
  readonly tokens: TokenVerifier;
  readonly ctLogs: CtLogs;
  /** What clients may sign with, see `clientAlgorithms`. */
  readonly permitted: readonly SignatureAlgorithm[];
  readonly crypto: CryptoPort;
  readonly now: () => Date;
  /** Where each certificate is recorded before it leaves. Absent: nobody asks later. */
  readonly issued?: Pick<IssuedStore, 'append'> | undefined;
  /** Absent: no limits. */
  readonly rates?: IssuanceRates | undefined;
}

/** What a CA has done since it started. */
export interface IssuanceCounts {
  readonly issued: number;
  /** By the code of the error; `internal` for faults of ours. */
  readonly refused: Readonly<Record<string, number>>;
}

/** An identity token and a key in, a ten-minute certificate with its SCTs out. */
export class IssueCertificate {
  /** The authority's certificates as every answer carries them. */
  readonly chain: readonly string[];

  readonly #issuerKeyHash: Uint8Array;
  #issued = 0;
  readonly #refused: Record<string, number> = {};

  constructor(private readonly parts: IssueParts) {
    // Of the whole SubjectPublicKeyInfo as it stands in the certificate (RFC 6962 §3.2).
    this.#issuerKeyHash = parts.crypto.hash('sha256', parts.authority.issuer.spki);
    this.chain = parts.authority.chain.map(({ der }) => encodePem('CERTIFICATE', der));
  }

  /** Whose tokens are accepted. */
  get issuers(): readonly ResolvedIssuer[] {
    return this.parts.tokens.issuers;
  }

  get counts(): IssuanceCounts {
    return { issued: this.#issued, refused: this.#refused };
  }

  /**
   * `requestId`: ties the answer, our log and the record together.
   * @throws IdentityError, CaError, CryptoError, X509Error, for each of which errors.ts has the answer
   */
  async issue(request: SigningRequest, requestId: string): Promise<IssuedCertificate> {
    // 1. Who asks? First of all, so that without a token nobody learns anything else.
    let principal: Principal;
    try {
      principal = await this.parts.tokens.verify(request.token);
    } catch (error) {
      throw this.#refuse(error, { claimedIssuer: claimedIssuer(error, request.token) });
    }
    try {
      const certificate = await this.#issueTo(principal, request.key, requestId);
      this.#issued++;
      return certificate;
    } catch (error) {
      throw this.#refuse(error, { issuer: principal.issuer, identity: principal.san.value });
    }
  }

  async #issueTo(principal: Principal, proof: KeyProof, requestId: string): Promise<IssuedCertificate> {
    const { authority, ctLogs, permitted, crypto } = this.parts;

    // 2. Does the caller hold the key? Else a stolen token would certify the thief's key under a name that is not his.
    const key = await proveKey(proof, principal, { permitted, crypto });

    // 3. Not too many. Only now, so that nobody can use up somebody else's budget, not even with his token alone.
    this.#checkRates(principal);

    // 4. Fix every byte that precertificate and certificate share, and lint them. A crash up to here leaves nothing.
    const { prepared, serial, notBefore } = this.#prepare(principal, key);
    const tbs = prepared.tbs();

    // 5. The precertificate is the public intent to issue (RFC 6962 §3.1): it is logged before the certificate exists.
    //    If we fail from here on, the logs have a precertificate without a certificate, which harms nobody; the client asks
    //    again and gets another serial. With promises that do not hold the certificate would be refused everywhere.
    const precertificate = prepared.signPrecertificate(authority.signer);
    const scts = await ctLogs.submit({
      chain: [precertificate, ...authority.chain.map(({ der }) => der)],
      issuerKeyHash: this.#issuerKeyHash,
      tbs,
    });

    // 6. The certificate: the same bytes with the SCTs in place of the poison, signed by the same key. Read back before
    //    it leaves: it must be what the logs have promised to show.
    const leaf = prepared.signCertificate(authority.signer, scts.map(encodeSct));
    if (!equalBytes(preTbs(parseCertificate(leaf)), tbs)) {
      throw new Error('Cannot issue certificate: it differs from its precertificate');
    }

    // 7. On record before it is out of our hands: a certificate that we know nothing of cannot be asked about. A crash here leaves a record
    //    of a certificate that nobody got.
    await this.#record({ principal, serial, notBefore, leaf, scts, requestId });
    return { leaf: encodePem('CERTIFICATE', leaf), chain: this.chain };
  }

  #checkRates({ issuer, san }: Principal): void {
    const refusal = this.parts.rates?.take({ issuer, identity: san.value }, this.parts.now().getTime());
    if (refusal === undefined) return;
    const { scope, rate, retryAfterSeconds } = refusal;
    const shown = `this CA permits ${rate.text} for each ${scope}, try again in ${retryAfterSeconds} s`;
    throw new CaError('CA_RATE', `Cannot issue certificate: rate of the ${scope} is exceeded`, {
      shown,
      retryAfterSeconds,
    });
  }

  #prepare(
    principal: Principal,
    key: PublicKey,
  ): { prepared: PreparedCertificate; serial: Uint8Array; notBefore: Date } {
    const { authority, crypto, now } = this.parts;
    // Whole seconds, rounded down, never earlier: what is signed must not look older than the key that signed it.
    const notBefore = new Date(Math.floor(now().getTime() / 1000) * 1000);
    const serial = randomSerial(crypto);
    const profile: LeafProfile = {
      issuer: authority.issuer,
      serial,
      notBefore,
      notAfter: new Date(notBefore.getTime() + LIFETIME_MS),
      spki: key.spki,
      san: principal.san,
      extensions: encodeFulcioExtensions({
        ...principal.extensions,
        issuer: principal.issuer,
        subject: principal.subject,
      }),
      signatureScheme: authority.signer.scheme,
    };
    try {
      const prepared = prepareCertificate(profile, (algorithm, data) => crypto.hash(algorithm, data));
      return { prepared, serial, notBefore };
    } catch (error) {
      // The token was good, but what it says has no place in a certificate: the caller's, not our fault.
      if (!(error instanceof X509Error) || !/^(san|extension|issuer-extension)/.test(error.details.rule ?? ''))
        throw error;
      // The rules quote nothing that is not ours.
      const shown = lintProfile(profile)[0]?.problem;
      throw new CaError('CA_IDENTITY_NOT_EMBEDDABLE', 'Cannot prepare certificate: the identity does not fit', {
        cause: error,
        ...(shown !== undefined && { shown }),
      });
    }
  }

  async #record(certificate: {
    principal: Principal;
    serial: Uint8Array;
    notBefore: Date;
    leaf: Uint8Array;
    scts: readonly Sct[];
    requestId: string;
  }): Promise<void> {
    const { issued, crypto } = this.parts;
    if (issued === undefined) return;
    const { principal, serial, notBefore, leaf, scts, requestId } = certificate;
    try {
      await issued.append({
        serial: encodeHex(serial),
        notBeforeMs: notBefore.getTime(),
        identity: principal.san.value,
        sanKind: principal.san.kind,
        issuer: principal.issuer,
        subject: principal.subject,
        requestId,
        fingerprint: encodeHex(crypto.hash('sha256', leaf)),
        scts: scts.map(recordedSct),
      });
    } catch (cause) {
      if (!(cause instanceof IssuedError)) throw cause;
      // A damaged record is not well again in seconds.
      const code = cause.code === 'ISSUED_STORE' ? 'CA_RECORD' : 'CA_BACKEND';
      throw new CaError(code, 'Cannot issue certificate: it cannot be recorded', { cause });
    }
  }

  /** Counts what was refused, and notes whom. */
  #refuse(error: unknown, requester: Requester): unknown {
    const code = answeredCode(error) ?? 'internal';
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
    return metBy(error, requester);
  }
}

/** 20 bytes with the top bit clear: a positive number of at most 20 octets (RFC 5280 §4.1.2.2). */
function randomSerial(crypto: CryptoPort): Uint8Array {
  const serial = crypto.randomBytes(SERIAL_BYTES);
  serial[0] = (serial[0] ?? 0) & 0x7f;
  return serial;
}

function recordedSct({ logId, timestampMs, extensions }: Sct): RecordedSct {
  const leafIndex = leafIndexIn(extensions);
  return {
    logId: encodeHex(logId),
    timestampMs: Number(timestampMs),
    ...(leafIndex !== undefined && { leafIndex }),
  };
}

/** Logs may write there what they like: RFC 6962 leaves extensions open, only static-ct-api has an index in them. */
function leafIndexIn(extensions: Uint8Array): bigint | undefined {
  if (extensions.length === 0) return undefined;
  try {
    return parseLeafIndex(extensions);
  } catch (error) {
    if (error instanceof X509Error) return undefined;
    throw error;
  }
}

/** Whom a token that was refused says it is from, short and printable, for our log. Not believed. */
function claimedIssuer(error: unknown, token: string | undefined): string | undefined {
  const isReadable =
    error instanceof IdentityError &&
    error.code !== 'IDENTITY_TOKEN_MALFORMED' &&
    token !== undefined &&
    token.length <= TOKEN_LIMIT;
  if (!isReadable) return undefined;
  try {
    const claims = parseJson(parseBase64Url(token.split('.', 2)[1] ?? ''));
    const issuer = typeof claims === 'object' && claims !== null && !Array.isArray(claims) ? claims['iss'] : undefined;
    return typeof issuer === 'string' ? issuer.slice(0, 200).replace(/[^\x20-\x7e]/g, '?') : undefined;
  } catch {
    // It was readable to the verifier in some other way; the log line goes without.
    return undefined;
  }
}
