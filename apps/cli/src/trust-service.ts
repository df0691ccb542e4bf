import { callService, joinUrl, type HttpOptions } from '#libs/sign';
import { parseSigningConfig, parseTrustedRoot, type SigningConfig, type TrustedRoot } from '#libs/trust';
import { MAX_TRUST_BYTES, parseOr } from './trust-files.js';

/** What a server says about its own keys and services, each parsed, and as the text that was sent. */
export interface ServedTrust {
  /**
   * As good as the way it came: enough to check one's own signing, not to judge others.
   */
  trustedRoot: TrustedRoot;
  signingConfig: SigningConfig;
  texts: { trustedRoot: string; signingConfig: string };
}

/** `rekor`: a signing config with this version of Rekor alone. @throws CliError `network`; SignError as `callService` */
export async function fetchTrust(baseUrl: string, http: HttpOptions, rekor?: '1' | '2'): Promise<ServedTrust> {
  const [trustedRoot, signingConfig] = await Promise.all([
    fetchText(joinUrl(baseUrl, '/trust/trusted_root.json'), http),
    fetchText(joinUrl(baseUrl, `/trust/signing_config.v0.2.json${rekor ? `?rekor=${rekor}` : ''}`), http),
  ]);
  return {
    trustedRoot: parseOr('network', `the trusted root of ${baseUrl}`, () => parseTrustedRoot(trustedRoot)),
    signingConfig: parseOr('network', `the signing configuration of ${baseUrl}`, () =>
      parseSigningConfig(signingConfig),
    ),
    texts: { trustedRoot, signingConfig },
  };
}

async function fetchText(url: string, http: HttpOptions): Promise<string> {
  const { body } = await callService({ service: 'server', url, maxBytes: MAX_TRUST_BYTES }, http);
  return Buffer.from(body).toString('utf8');
}
