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
 * Chooses from a signing configuration what is valid now and speaks a version we speak. `logVersion`: which API of Rekor's the logs must have, default 2.
 *
 * @throws SignError `SIGN_SERVICES` when a kind that is needed has none
 */
export function chooseServices(
  config: SigningConfig,
  options: { now: Date; managedKey?: boolean; logVersion?: 1 | 2 },
): Services {
  const choose = (kind: 'ca' | 'rekor' | 'tsa', versions: number[]): string[] => {
    try {
      return selectServices(config, kind, { now: options.now, versions }).map(({ url }) => url);
    } catch (cause) {
      throw new SignError(
        'SIGN_SERVICES',
        `Cannot choose services from the signing configuration: ${cause instanceof Error ? cause.message : 'none fits'}`,
        {
          cause,
          cure: `Use a signing configuration with services that are valid now; the log must speak version ${options.logVersion ?? 2} of the API`,
        },
      );
    }
  };
  const { logVersion = 2 } = options;
  const version = logVersion === 1 ? { logVersion } : {};
  const logs = choose('rekor', [logVersion]);
  const timestampAuthorities = choose('tsa', [1]);
  if (options.managedKey) return { logs, timestampAuthorities, ...version };
  const [certificateAuthority] = choose('ca', [1]);
  if (certificateAuthority === undefined) {
    throw new SignError(
      'SIGN_SERVICES',
      'Cannot choose services from the signing configuration: it names no certificate authority',
    );
  }
  return { certificateAuthority, timestampAuthorities, logs, ...version };
}
