import { selectServices, type SigningConfig } from '#libs/trust';
import { SignError } from './error.js';

/** The URLs that one signing uses. */
export interface Services {
  /** Base URL of the CA (Fulcio's API v2); absent when a managed key signs. */
  certificateAuthority?: string;
  /** Full URLs that take RFC 3161 requests. Empty: no timestamps. */
  timestampAuthorities: readonly string[];
  /** Base URLs of logs. */
  logs: readonly string[];
  /** Which API of Rekor's they speak. Default 2; entries of 1 carry a promise with a time. */
  logVersion?: 1 | 2;
}

/**
 * Chooses from a signing configuration what is valid now and speaks a version we speak. `logVersion`: which API of Rekor's the logs must have; by default the
 * higher one that it names.
 *
 * @throws SignError `SIGN_SERVICES` when a kind that is needed has none
 */
export function chooseServices(
  config: SigningConfig,
  options: { now: Date; managedKey?: boolean; logVersion?: 1 | 2 },
): Services {
  const { now, managedKey, logVersion: wanted } = options;
  const choose = (kind: 'ca' | 'rekor' | 'tsa', versions: number[]) => {
    try {
      return selectServices(config, kind, { now, versions });
    } catch (cause) {
      throw new SignError(
        'SIGN_SERVICES',
        `Cannot choose services from the signing configuration: ${cause instanceof Error ? cause.message : 'none fits'}`,
        {
          cause,
          cure: `Use a signing configuration with services that are valid now; the log must speak version ${wanted ?? '1 or 2'} of the API`,
        },
      );
    }
  };
  const chosen = choose('rekor', wanted === undefined ? [1, 2] : [wanted]);
  const logs = chosen.map(({ url }) => url);
  // All of one version.
  const version = chosen[0]?.majorApiVersion === 1 ? ({ logVersion: 1 } as const) : {};
  const timestampAuthorities = choose('tsa', [1]).map(({ url }) => url);
  if (managedKey) return { logs, timestampAuthorities, ...version };
  const certificateAuthority = choose('ca', [1])[0]?.url;
  if (certificateAuthority === undefined) {
    throw new SignError(
      'SIGN_SERVICES',
      'Cannot choose services from the signing configuration: it names no certificate authority',
    );
  }
  return { certificateAuthority, timestampAuthorities, logs, ...version };
}
