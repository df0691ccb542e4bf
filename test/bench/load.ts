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
  const connections = await Promise.all(
    Array.from({ length: options.connections }, () => Connection.open(options.port)),
  );
  const started = performance.now();
  await Promise.all(
    connections.map(async (connection) => {
      for (;;) {
        const index = next++;
        const request = options.requests[index];
        if (request === undefined) break;
        if (options.pace !== undefined) {
          const due = started + (index / options.pace) * 1000 - performance.now();
          if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
        }
        const sent = performance.now();
        const status = await connection.ask(request);
        latencies[index] = performance.now() - sent;
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
      connection.close();
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

/** Where reads go, of all connections: what came is counted, not kept. */
const CHUNK = Buffer.alloc(65_536);

/** A kept-alive connection. */
class Connection {
  readonly #socket: Socket;
  /** The beginning of a head that is not all there. */
  #head: Buffer = Buffer.alloc(0);
  #status = 0;
  /** Bytes of the answer's body that are still to come; undefined before its head is there. */
  #missing: number | undefined;
  #resolve: (status: number) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  private constructor(port: number) {
    const onread = { buffer: CHUNK, callback: (length: number) => (this.#read(CHUNK.subarray(0, length)), true) };
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread });
    this.#socket.on('error', (error) => this.#reject(error));
    this.#socket.on('close', () => this.#reject(new Error('The server closed the connection')));
  }

  static open(port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const connection = new Connection(port);
      connection.#reject = reject;
      connection.#socket.once('connect', () => resolve(connection));
    });
  }

  /** Sends a request, and gives the status once the whole answer is there. */
  ask(request: Buffer): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#socket.write(request);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#missing === undefined) {
      const bytes = this.#head.length === 0 ? chunk : Buffer.concat([this.#head, chunk]);
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) {
        this.#head = Buffer.from(bytes);
        return;
      }
      const head = bytes.toString('latin1', 0, end);
      const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
      if (length === undefined) return this.#reject(new Error('The answer has no content length'));
      this.#head = Buffer.alloc(0);
      this.#status = Number(head.slice(9, 12));
      this.#missing = end + 4 + Number(length) - bytes.length;
    } else {
      this.#missing -= chunk.length;
    }
    if (this.#missing > 0) return;
    if (this.#missing < 0) return this.#reject(new Error('The answer is longer than it says'));
    this.#missing = undefined;
    this.#resolve(this.#status);
  }
}
