import type { PublicKey } from '#libs/crypto';
import { algorithmForKey } from '#libs/crypto';
import { encodeSigningConfig, encodeTrustedRoot, type TlogInstance } from '#libs/trust';
import { type Certificate, parseName } from '#libs/x509';

/** The keys that the services really use, and where clients find the services. */
export interface InstanceKeys {
  /** Base URL of everything, no trailing slash. */
  readonly url: string;
  /** Since when these keys sign. */
  readonly since: Date;
  readonly ca: readonly Certificate[];
  readonly ct: PublicKey;
  readonly log: {
    readonly publicKey: PublicKey;
    /** Checkpoint origin: what the log is called, also when it has moved to another URL. */
    readonly origin: string;
    readonly logId: Uint8Array;
  };
  /** The tree behind the API of Rekor v1. Its origin has the same host name. */
  readonly logV1: { readonly publicKey: PublicKey; readonly logId: Uint8Array };
  readonly ctLogId: Uint8Array;
  /** CT logs of others whose SCTs our certificates may carry. */
  readonly furtherCtLogs?: readonly {
    readonly url: string;
    readonly publicKey: PublicKey;
    readonly logId: Uint8Array;
  }[];
  readonly tsa: readonly Certificate[];
  readonly oidcIssuers: readonly string[];
}

/** trusted_root.json: whose signatures to believe, and since when. */
export function makeTrustedRoot(keys: InstanceKeys): string {
  const validFor = { start: keys.since };
  return encodeTrustedRoot({
    // Clients find the log by its id; both answer under one base URL.
    tlogs: [keys.log, keys.logV1].map(({ publicKey, logId }) =>
      tlogInstance(logBaseUrl(keys), publicKey, logId, keys.since),
    ),
    certificateAuthorities: [{ subject: subjectOf(keys.ca), uri: keys.url, certChain: [...keys.ca], validFor }],
    ctlogs: [
      tlogInstance(`${keys.url}/ct`, keys.ct, keys.ctLogId, keys.since),
      // Nothing of ours was in them before there were we.
      ...(keys.furtherCtLogs ?? []).map(({ url, publicKey, logId }) => tlogInstance(url, publicKey, logId, keys.since)),
    ],
    timestampAuthorities: [
      { subject: subjectOf(keys.tsa), uri: `${keys.url}/api/v1/timestamp`, certChain: [...keys.tsa], validFor },
    ],
  });
}

/** Which of Rekor's API versions a signing config offers, the preferred one first. */
export type RekorVersions = readonly (1 | 2)[];

/**
 * signing_config.v0.2.json: which services to sign with. Clients take the highest version of Rekor that they speak; one that misreads the other, or
 * a company that wants one kind of entry only, asks for a config with one.
 */
export function makeSigningConfig(keys: InstanceKeys, rekorVersions: RekorVersions = [2, 1]): string {
  const operator = new URL(keys.url).hostname;
  const service = (url: string, majorApiVersion: number) => ({
    url,
    majorApiVersion,
    validFor: { start: keys.since },
    operator,
  });
  return encodeSigningConfig({
    // Version 1 is what signing configs call the API whose path says v2 (sigstore-go: pkg/sign/certificate.go).
    caUrls: [service(keys.url, 1)],
    oidcUrls: keys.oidcIssuers.map((issuer) => service(issuer, 1)),
    rekorTlogUrls: rekorVersions.map((version) => service(keys.url, version)),
    rekorTlogConfig: { selector: 'ANY' },
    tsaUrls: [service(`${keys.url}/api/v1/timestamp`, 1)],
    tsaConfig: { selector: 'ANY' },
  });
}

/**
 * Clients take the expected origin from the host of baseUrl, so it must be the log's own name even after a move; while nothing has moved, it is also
 * where the log is.
 */
function logBaseUrl({ url, log }: InstanceKeys): string {
  return new URL(url).hostname === log.origin ? url : `https://${log.origin}`;
}

function tlogInstance(baseUrl: string, publicKey: PublicKey, logId: Uint8Array, start: Date): TlogInstance {
  return {
    baseUrl,
    hashAlgorithm: 'sha256',
    publicKey,
    keyDetails: publicKey.kind === 'ed25519' ? 'PKIX_ED25519' : algorithmForKey(publicKey).keyDetails,
    validFor: { start },
    logId,
  };
}

function subjectOf(chain: readonly Certificate[]): { organization?: string; commonName?: string } {
  const first = chain[0];
  if (first === undefined) throw new Error('A certificate chain cannot be empty');
  const { organization, commonName } = parseName(first.subject);
  return { ...(organization !== undefined && { organization }), ...(commonName !== undefined && { commonName }) };
}
