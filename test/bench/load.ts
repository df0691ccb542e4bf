import { connect, type Socket } from 'node:net';

export interface LoadResult {
  readonly requests: number;
  readonly seconds: number;
  /** Answers per second. */
  readonly rate: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  /** How often each status came. */
  readonly statuses: Readonly<Record<number, number>>;
}

/** A GET as it goes over the wire. */
export function wireGet(path: string): Buffer {
  return Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n\r\n`);
}

/** A POST as it goes over the wire. */
export function wireRequest(options: { path: string; body: Uint8Array; contentType: string }): Buffer {
  const head =
    `POST ${options.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ${options.contentType}\r\n` +
    `Content-Length: ${options.body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), options.body]);
}

/**
 * Sends each request once over `connections` kept-alive connections, each waiting for its answer before it sends the next. Plain sockets: a client
 * library would take the core that the server's database threads need.
 */
export async function load(options: {
  port: number;
  connections: number;
  requests: readonly Buffer[];
  /** Requests a second, each sent when it is due; without it as fast as the answers come. */
  pace?: number;
}): Promise<LoadResult> {
  const latencies = new Float64Array(options.requests.length);
  const statuses: Record<number, number> = {};
  let next = 0;
  const sockets = await Promise.all(Array.from({ length: options.connections }, () => open(options.port)));
  const started = performance.now();
  await Promise.all(
    sockets.map(async (socket) => {
      const read = answers(socket);
      for (;;) {
        const index = next++;
        const request = options.requests[index];
        if (request === undefined) break;
        if (options.pace !== undefined) {
          const due = started + (index / options.pace) * 1000 - performance.now();
          if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
        }
        const sent = performance.now();
        socket.write(request);
        const status = await read();
        latencies[index] = performance.now() - sent;
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
      socket.destroy();
    }),
  );
  const seconds = (performance.now() - started) / 1000;
  const sorted = latencies.sort();
  const quantile = (q: number): number => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  const requests = options.requests.length;
  return {
    requests,
    seconds,
    rate: requests / seconds,
    p50: quantile(0.5),
    p95: quantile(0.95),
    p99: quantile(0.99),
    statuses,
  };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** A function that resolves with the status of the next answer, once it is all there. */
function answers(socket: Socket): () => Promise<number> {
  let buffered: Buffer = Buffer.alloc(0);
  let waiting: ((status: number) => void) | undefined;
  let failed: ((error: Error) => void) | undefined;
  const deliver = (): void => {
    const end = buffered.indexOf('\r\n\r\n');
    if (end < 0 || waiting === undefined) return;
    const head = buffered.toString('latin1', 0, end);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN);
    if (Number.isNaN(length)) throw new Error('The answer has no content length');
    if (buffered.length < end + 4 + length) return;
    const status = Number(head.slice(9, 12));
    buffered = buffered.subarray(end + 4 + length);
    const resolve = waiting;
    waiting = undefined;
    resolve(status);
  };
  socket.on('data', (chunk: Buffer) => {
    buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    deliver();
  });
  socket.on('error', (error) => failed?.(error));
  socket.on('close', () => failed?.(new Error('The server closed the connection')));
  return () =>
    new Promise((resolve, reject) => {
      waiting = resolve;
      failed = reject;
      deliver();
    });
}
