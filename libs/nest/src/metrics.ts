import type { FastifyReply, FastifyRequest } from 'fastify';
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** A gauge or counter that is read when somebody looks, not before. */
export interface GaugeOptions {
  /** With the unit in it, as Prometheus names metrics: `chancery_tree_size_entries`. */
  readonly name: string;
  readonly help: string;
  /** What the values are told apart by, if there is more than one. Never anything that comes from a request. */
  readonly label?: string;
  /** The value now, or with `label` one value for each of its values. What it throws fails the whole scrape. */
  readonly collect: () => Sample | Promise<Sample>;
}

/** One value, or by label. A bigint loses what a float has no room for. */
export type Sample = number | bigint | Readonly<Record<string, number | bigint>>;

/** What requests are told apart by. Whatever else is sent counts as `other`: a label has as many values as clients can think of. */
const methods = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** Seconds. From a millisecond, what reading a tile takes, to the minute after which a request is cut. */
const durationBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60];

/**
 * The metrics of one server, in Prometheus' text format: how many requests by route, method and status, how long they took, what the apps add,
 * and what the process uses.
 *
 * No label is ever taken from a request: a route counts under its own pattern, `/tile/*`, a path that nobody serves as `unmatched`. Else each path that
 * somebody makes up would stay in memory for ever.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = new Counter({
    name: 'http_requests_total',
    help: 'Requests answered',
    labelNames: ['route', 'method', 'status'],
    registers: [this.#registry],
  });
  readonly #durations = new Histogram({
    name: 'http_request_duration_seconds',
    help: 'Time from the head of a request to the end of its answer',
    labelNames: ['route', 'method'],
    buckets: durationBuckets,
    registers: [this.#registry],
  });

  readonly contentType = this.#registry.contentType;

  /**
   * ```ts
   * metrics.gauge({ name: 'chancery_tree_size_entries', help: 'Entries in the published tree', label: 'tree', collect: () => ({ v2: tree.head().size }) });
   * ```
   */
  gauge({ name, help, label, collect }: GaugeOptions): void {
    new Gauge({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [this.#registry],
      async collect() {
        const sample = await collect();
        if (label === undefined) return this.set(Number(sample));
        // What was there and is no more would stay as it was last.
        this.reset();
        for (const [value, number] of Object.entries(sample)) this.set({ [label]: value }, Number(number));
      },
    });
  }

  /** The same for a number that only grows while the process lives: named `…_total`. */
  counter({ name, help, label, collect }: GaugeOptions): void {
    new Counter({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [this.#registry],
      async collect() {
        const sample = await collect();
        // The count is kept by whoever counts; here it is only shown.
        this.reset();
        if (label === undefined) return this.inc(Number(sample));
        for (const [value, number] of Object.entries(sample)) this.inc({ [label]: value }, Number(number));
      },
    });
  }

  /** Counts an answered request; in the path of every one. */
  observe(request: FastifyRequest, reply: FastifyReply): void {
    const route = request.routeOptions.url ?? 'unmatched';
    const method = methods.has(request.method) ? request.method : 'other';
    this.#requests.inc({ route, method, status: reply.statusCode });
    this.#durations.observe({ route, method }, reply.elapsedTime / 1000);
  }

  /** Counts a request that could not even be read. */
  observeUnreadable(status: number): void {
    this.#requests.inc({ route: 'unmatched', method: 'other', status });
  }

  async scrape(): Promise<string> {
    return `${await this.#registry.metrics()}\n${await processMetrics().metrics()}`;
  }
}

let ofProcess: Registry | undefined;

/** Memory, CPU time, event loop and garbage collection belong to the process, however many servers it has; their observers cannot be taken back. */
function processMetrics(): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}
