import { isIP } from 'node:net';
import type { ServiceError } from '@grpc/grpc-js';
import type { AmbientEnvironment } from './ambient-environment.js';
import { ambientProvider, MAX_ANSWER_BYTES, missing, setting } from './ambient-provider.js';
import { encodeJwtSvidRequest, parseJwtSvidResponse } from './ambient-spiffe-messages.js';
import { SignError, type SignErrorCode } from './error.js';
import { printable } from './http.js';

const TITLE = 'the SPIFFE Workload API';
const VARIABLE = 'SPIFFE_ENDPOINT_SOCKET';
/** Where a SPIRE agent listens unless it is told otherwise. */
const DEFAULT_SOCKET = '/tmp/spire-agent/public/api.sock';

const ATTEMPTS = 3;
const DEFAULT_TIMEOUT_MS = 30_000;
const FIRST_PAUSE_MS = 500;

/** @see SPIFFE Workload Endpoint §3, §4, §6; SPIFFE Workload API §6.2 (FetchJWTSVID) */
export const spiffe = ambientProvider({
  name: 'spiffe',
  title: TITLE,
  detect: (environment) => setting(environment, VARIABLE) !== undefined || environment.files.exists(DEFAULT_SOCKET),
  async obtain(environment) {
    const target = parseEndpoint(setting(environment, VARIABLE) ?? DEFAULT_SOCKET);
    const answer = await fetchWithPatience(environment, target);
    // The first one is the workload's default identity.
    const [first] = parseJwtSvidResponse(answer);
    if (first === undefined) throw missing(TITLE, 'it has no identity for this process');
    return first.svid;
  },
  cure: ({ audience }) =>
    `Register this workload (SPIRE: spire-server entry create), and check that \`spire-agent api fetch jwt -audience ${audience}\` works as the same user`,
});

/**
 * The target of a channel for an endpoint URI: `unix:///path` or `tcp://address:port`; also a bare absolute path, as other clients of Sigstore
 * take it.
 *
 * @throws SignError `SIGN_URL`
 * @see SPIFFE Workload Endpoint §4
 */
export function parseEndpoint(endpoint: string): string {
  const path = endpoint.startsWith('/') ? endpoint : unixPath(endpoint);
  // Two slashes in front would be read as an authority.
  if (path !== undefined && /^\/(?!\/)[^\0]+$/.test(path)) return `unix:${path}`;
  const [, v4, v6, port] = /^tcp:\/\/(?:([\d.]+)|\[([\dA-Fa-f:.]+)\]):(\d{1,5})$/.exec(endpoint) ?? [];
  if (port !== undefined && Number(port) > 0 && Number(port) < 65536) {
    if (v4 !== undefined && isIP(v4) === 4) return `ipv4:${v4}:${port}`;
    if (v6 !== undefined && isIP(v6) === 6) return `ipv6:[${v6}]:${port}`;
  }
  throw new SignError('SIGN_URL', `Cannot get an identity token from ${TITLE}: ${VARIABLE} is not an endpoint`, {
    cure: `Set ${VARIABLE} to unix:///PATH or tcp://ADDRESS:PORT, with an absolute path or an IP address`,
  });
}

function unixPath(endpoint: string): string | undefined {
  const encoded = /^unix:(?:\/\/)?(\/[^?#]*)$/.exec(endpoint)?.[1];
  try {
    return encoded === undefined ? undefined : decodeURIComponent(encoded);
  } catch {
    return undefined; // a lone percent sign: not a URI
  }
}

interface CallFailure {
  code: SignErrorCode;
  state: string;
  again?: true;
}

/** What the status codes of gRPC mean here; which of them deserve another try is in SPIFFE Workload Endpoint, appendix A. */
const callFailures: Readonly<Partial<Record<number, CallFailure>>> = {
  [2 /* UNKNOWN */]: { code: 'SIGN_REFUSED', state: 'it refused' },
  [3 /* INVALID_ARGUMENT */]: { code: 'SIGN_REFUSED', state: 'it refused' },
  [4 /* DEADLINE_EXCEEDED */]: { code: 'SIGN_NETWORK', state: 'there is no answer in time' },
  // Also said by an agent that has not yet heard of a workload which has just started.
  [7 /* PERMISSION_DENIED */]: { code: 'SIGN_REFUSED', state: 'it has no identity for this process', again: true },
  [8 /* RESOURCE_EXHAUSTED */]: {
    code: 'SIGN_RESPONSE_TOO_LARGE',
    state: `the answer is longer than ${MAX_ANSWER_BYTES} bytes`,
  },
  [14 /* UNAVAILABLE */]: { code: 'SIGN_NETWORK', state: 'it cannot be reached', again: true },
};
const otherFailure: CallFailure = { code: 'SIGN_UNAVAILABLE', state: 'the call failed' };

async function fetchWithPatience(environment: AmbientEnvironment, target: string): Promise<Uint8Array> {
  const { http, audience } = environment;
  const attempts = Math.min(http.attempts ?? ATTEMPTS, ATTEMPTS);
  const sleep = http.sleep ?? ((milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds)));
  for (let attempt = 1; ; attempt++) {
    try {
      return await fetchJwtSvid(target, encodeJwtSvidRequest([audience]), http.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    } catch (error) {
      const status = (error as { code?: unknown }).code;
      if (typeof status !== 'number') throw error;
      const failure = callFailures[status] ?? otherFailure;
      if (failure.again === undefined || attempt >= attempts) throw callError(error as ServiceError, failure);
    }
    await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1));
  }
}

/** One call, on a channel of its own that is closed afterwards, so that nothing keeps the process alive. */
async function fetchJwtSvid(target: string, request: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
  // Here and not above: it is large, and nobody else needs it.
  const { Client, credentials, Metadata } = await import('@grpc/grpc-js');
  const client = new Client(target, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    // An agent is on this machine or its link; a proxy that is set for the web has nothing to do with it.
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.service_config_disable_resolution': 1,
  });
  try {
    const metadata = new Metadata();
    // Against requests forged through a web server: those cannot set it (SPIFFE Workload Endpoint §3).
    metadata.set('workload.spiffe.io', 'true');
    return await new Promise<Uint8Array>((resolve, reject) => {
      client.makeUnaryRequest<Uint8Array, Uint8Array>(
        '/SpiffeWorkloadAPI/FetchJWTSVID',
        (bytes) => Buffer.from(bytes),
        (bytes) => bytes,
        request,
        metadata,
        { deadline: Date.now() + timeoutMs },
        (error, answer) => {
          if (error !== null) reject(error);
          else resolve(answer ?? new Uint8Array(0));
        },
      );
    });
  } finally {
    client.close();
  }
}

function callError(error: ServiceError, { code, state }: CallFailure): SignError {
  const said = printable(error.details);
  return new SignError(
    code,
    `Cannot get an identity token from ${TITLE}: ${state} (gRPC status ${error.code}${said === undefined ? '' : `: ${said}`})`,
    {
      cause: error,
      ...(code === 'SIGN_NETWORK' && {
        cure: `Check that an agent listens at ${VARIABLE} (default ${DEFAULT_SOCKET}), and that this user may open its socket`,
      }),
    },
  );
}
