import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { SignError, type AmbientEnvironment, type CommandResult } from '../src/index.js';

/** A compact JWT with these claims, and a signature that nobody checks here. */
export function makeToken(claims: Record<string, unknown> = {}): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const payload = { iss: 'https://issuer.example', sub: 'subject', aud: 'sigstore', exp: 4_102_444_800, ...claims };
  return `${part({ alg: 'RS256', kid: 'k' })}.${part(payload)}.${Buffer.from('signature').toString('base64url')}`;
}

/** A request that a fake service saw. */
export interface Seen {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: string;
}

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  /** `endless`: bytes without end; `stall`: some bytes, then silence. */
  body?: string | { stream: 'endless' | 'stall' };
}

/** A real HTTP server on the loopback interface, until the test ends. */
export async function startService(answer: (seen: Seen) => Answer): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    void readBody(request).then((body) => {
      const { method = '', url: path = '' } = request;
      const entry = { method, path, headers: request.headers as Record<string, string>, body };
      seen.push(entry);
      send(response, answer(entry));
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function send(response: ServerResponse, { status = 200, headers = {}, body = '' }: Answer): void {
  response.writeHead(status, headers);
  if (typeof body === 'string') return void response.end(body);
  response.write('x'.repeat(1000));
  if (body.stream === 'stall') return;
  const more = () => {
    while (!response.destroyed && response.write('x'.repeat(16_384)));
  };
  response.on('drain', more);
  more();
}

/** One outgoing request, before it was redirected to a fake. */
export interface Outgoing {
  origin: string;
  headers: Headers;
  url: string;
}

export interface FakeMachine {
  env?: Record<string, string | undefined>;
  audience?: string;
  /** Path -> text; an Error is thrown. */
  files?: Record<string, string | Error>;
  /** Origin that is asked -> origin of the fake that answers. Loopback needs no entry; what is neither fails. */
  routes?: Record<string, string>;
  run?: (command: string, args: readonly string[]) => Promise<CommandResult>;
  timeoutMs?: number;
}

/** A machine with nothing but what is given; no pauses. */
export function fakeMachine({
  env = {},
  audience = 'sigstore',
  files = {},
  routes = {},
  run,
  timeoutMs,
}: FakeMachine): {
  environment: AmbientEnvironment;
  outgoing: Outgoing[];
} {
  const outgoing: Outgoing[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    const url = input as string;
    const { origin, hostname } = new URL(url);
    outgoing.push({ origin, url, headers: new Headers(init?.headers) });
    const to = routes[origin];
    if (to === undefined && hostname !== '127.0.0.1') {
      const cause = Object.assign(new Error(`no route to ${origin}`), { code: 'EHOSTUNREACH' });
      return Promise.reject(new TypeError('fetch failed', { cause }));
    }
    return globalThis.fetch(to === undefined ? url : to + url.slice(origin.length), init);
  };
  const environment: AmbientEnvironment = {
    env,
    audience,
    http: { fetch, sleep: async () => {}, jitter: () => 0, ...(timeoutMs !== undefined && { timeoutMs }) },
    files: {
      read: async (path) => {
        const text = files[path];
        if (text instanceof Error) throw text;
        return text;
      },
      exists: async (path) => files[path] !== undefined,
    },
    ...(run && { run }),
  };
  return { environment, outgoing };
}

/** The SignError that the work ends with. */
export async function failureOf(work: Promise<unknown>): Promise<SignError> {
  const error: unknown = await work.then(
    (value) => new Error(`it succeeded with ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof SignError)) throw error;
  return error;
}

/** Everything a person or a log could see of an error, causes included. */
export function everythingOf(error: Error): string {
  const texts: string[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    texts.push(at.message, at.stack ?? '', (at as { cure?: string }).cure ?? '');
  }
  return texts.join('\n');
}
