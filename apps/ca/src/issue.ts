import type { CryptoPort, PublicKey, SignatureAlgorithm } from '#libs/crypto';
import { encodePem, EncodingError, equalBytes, parseBase64 } from '#libs/encoding';
import type { Principal, ResolvedIssuer, TokenVerifier } from '#libs/identity';
import {
  encodeFulcioExtensions,
  encodeSct,
  merkleTreeLeaf,
  parseCertificate,
  parseDigitallySigned,
  prepareCertificate,
  type PreparedCertificate,
  preTbs,
  type Sct,
  sctScheme,
  X509Error,
} from '#libs/x509';
import type { CertificateAuthority } from './authority.js';
import { type KeyProof, proveKey } from './client-key.js';
import type { AddChainResponse, CtLog } from './ct-client.js';
import { CaError } from './errors.js';

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
  readonly ctLog: CtLog;
  /** The key that the log's SCTs are verified with. */
  readonly ctLogKey: PublicKey;
  /** What clients may sign with, see `clientAlgorithms`. */
  readonly permitted: readonly SignatureAlgorithm[];
  readonly crypto: CryptoPort;
  readonly now: () => Date;
}

/** An identity token and a key in, a ten-minute certificate with its SCT out. */
export class IssueCertificate {
  /** The authority's certificates as every answer carries them. */
  readonly chain: readonly string[];

  readonly #ctLogId: Uint8Array;
  readonly #issuerKeyHash: Uint8Array;

  constructor(private readonly parts: IssueParts) {
    this.#ctLogId = parts.crypto.hash('sha256', parts.ctLogKey.spki);
    // Of the whole SubjectPublicKeyInfo as it stands in the certificate (RFC 6962 §3.2).
    this.#issuerKeyHash = parts.crypto.hash('sha256', parts.authority.issuer.spki);
    this.chain = parts.authority.chain.map(({ der }) => encodePem('CERTIFICATE', der));
  }

  /** Whose tokens are accepted. */
  get issuers(): readonly ResolvedIssuer[] {
    return this.parts.tokens.issuers;
  }

  /**
   * @throws IdentityError, CaError, CryptoError, X509Error, for each of which errors.ts has the answer
   */
  async issue(request: SigningRequest): Promise<IssuedCertificate> {
    const { authority, tokens, ctLog, permitted, crypto } = this.parts;

    // 1. Who asks? First of all, so that without a token nobody learns anything else.
    const principal = await tokens.verify(request.token);

    // 2. Does the caller hold the key? Else a stolen token would certify the thief's key under a name that is not his.
    const key = await proveKey(request.key, principal.challenge, { permitted, crypto });

    // 3. Fix every byte that precertificate and certificate share, and lint them. A crash up to here leaves nothing.
    const prepared = this.#prepare(principal, key);

    // 4. The precertificate is the public intent to issue (RFC 6962 §3.1): it is logged before the certificate exists.
    //    If we fail from here on, the log has a precertificate without a certificate, which harms nobody; the client asks
    //    again and gets another serial.
    const precertificate = prepared.signPrecertificate(authority.signer);
    const sct = readSct(await submit(ctLog, [precertificate, ...authority.chain.map(({ der }) => der)]));

    // 5. Is that promise one that verifiers will believe? With another SCT the certificate would be refused everywhere.
    await this.#verifySct(sct, prepared.tbs());

    // 6. The certificate: the same bytes with the SCT in place of the poison, signed by the same key. Read back before
    //    it leaves: it must be what the log has promised to show.
    const leaf = prepared.signCertificate(authority.signer, [encodeSct(sct)]);
    if (!equalBytes(preTbs(parseCertificate(leaf)), prepared.tbs())) {
      throw new Error('Cannot issue certificate: it differs from its precertificate');
    }
    return { leaf: encodePem('CERTIFICATE', leaf), chain: this.chain };
  }

  #prepare(principal: Principal, key: PublicKey): PreparedCertificate {
    const { authority, crypto, now } = this.parts;
    // Whole seconds, rounded down, never earlier: what is signed must not look older than the key that signed it.
    const notBefore = new Date(Math.floor(now().getTime() / 1000) * 1000);
    try {
      return prepareCertificate(
        {
          issuer: authority.issuer,
          serial: randomSerial(crypto),
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
        },
        (algorithm, data) => crypto.hash(algorithm, data),
      );
    } catch (error) {
      // The token was good, but what it says has no place in a certificate: the caller's, not our fault.
      if (error instanceof X509Error && /^(san|extension|issuer-extension)/.test(error.details.rule ?? '')) {
        throw new CaError('CA_IDENTITY_NOT_EMBEDDABLE', 'Cannot prepare certificate: the identity does not fit', {
          cause: error,
        });
      }
      throw error;
    }
  }

  /** `tbs`: what the log has promised to include, the precertificate without its poison. @see RFC 6962 §3.2 */
  async #verifySct(sct: Sct, tbs: Uint8Array): Promise<void> {
    const { ctLogKey, crypto } = this.parts;
    const { timestampMs, extensions } = sct;
    const entry = { kind: 'precert', issuerKeyHash: this.#issuerKeyHash, tbs } as const;
    const input = merkleTreeLeaf({ timestampMs, extensions, entry });
    if (!equalBytes(sct.logId, this.#ctLogId)) {
      throw new CaError('CA_LOG', "Cannot use SCT: its log id is not that of the CT log's key");
    }
    if (!(await crypto.verify(ctLogKey, sctScheme(sct, ctLogKey), input, sct.signature))) {
      throw new CaError('CA_LOG', "Cannot use SCT: its signature over this precertificate is not by the CT log's key");
    }
  }
}

/** 20 bytes with the top bit clear: a positive number of at most 20 octets (RFC 5280 §4.1.2.2). */
function randomSerial(crypto: CryptoPort): Uint8Array {
  const serial = crypto.randomBytes(SERIAL_BYTES);
  serial[0] = (serial[0] ?? 0) & 0x7f;
  return serial;
}

async function submit(ctLog: CtLog, chain: readonly Uint8Array[]): Promise<AddChainResponse> {
  try {
    return await ctLog.addPreChain(chain);
  } catch (cause) {
    if (cause instanceof CaError) throw cause;
    throw new CaError('CA_LOG', 'Cannot submit precertificate: the CT log failed', { cause });
  }
}

function readSct(response: AddChainResponse): Sct {
  if (response.sct_version !== 0 || !Number.isSafeInteger(response.timestamp) || response.timestamp < 0) {
    throw new CaError('CA_LOG', "Cannot read the CT log's answer: version or timestamp is not that of an SCT");
  }
  try {
    return {
      version: 0,
      logId: parseBase64(response.id),
      timestampMs: BigInt(response.timestamp),
      // Opaque, and part of what is signed: carried as it came.
      extensions: parseBase64(response.extensions),
      ...parseDigitallySigned(parseBase64(response.signature)),
    };
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause;
    throw new CaError('CA_LOG', "Cannot read the CT log's answer: a member is not base64", { cause });
  }
}
