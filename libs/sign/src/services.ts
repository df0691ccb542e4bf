import { selectServices, type SigningConfig } from '#libs/trust';
import { SignError } from './error.js';

/** The URLs that one signing uses. */
export interface Services {
  /** Base URL of the CA (Fulcio's API v2); absent when a managed key signs. */
  certificateAuthority?: string;
  /** Full URLs that take RFC 3161 requests. Empty: no timestamps. */
  timestampAuthorities: readonly string[];
  /** Base URLs of logs with Rekor's API v2. */
  logs: readonly string[];
}

/**
 * Chooses from a signing configuration what is valid now and speaks a version we speak.
 *
 * @throws SignError `SIGN_SERVICES` when a kind that is needed has none
 */
export function chooseServices(config: SigningConfig, options: { now: Date; managedKey?: boolean }): Services {
  const choose = (kind: 'ca' | 'rekor' | 'tsa', versions: number[]): string[] => {
    try {
      return selectServices(config, kind, { now: options.now, versions }).map(({ url }) => url);
    } catch (cause) {
      throw new SignError(
        'SIGN_SERVICES',
        `Cannot choose services from the signing configuration: ${cause instanceof Error ? cause.message : 'none fits'}`,
        {
          cause,
          cure: 'Use a signing configuration with services that are valid now; the log must speak version 2 of the API',
        },
      );
    }
  };
  const logs = choose('rekor', [2]);
  const timestampAuthorities = choose('tsa', [1]);
  if (options.managedKey) return { logs, timestampAuthorities };
  const [certificateAuthority] = choose('ca', [1]);
  if (certificateAuthority === undefined) {
    throw new SignError(
      'SIGN_SERVICES',
      'Cannot choose services from the signing configuration: it names no certificate authority',
    );
  }
  return { certificateAuthority, timestampAuthorities, logs };
}
