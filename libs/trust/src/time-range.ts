import type { JsonMessage } from '#libs/bundle';

/** From `start` to `end`, both included; without `end` it is open. */
export interface TimeRange {
  start: Date;
  end?: Date;
}

/**
 * Whether `time` lies in the range. Both ends count: a signature made in the last second of a key is good.
 * @see sigstore/protobuf-specs: protos/sigstore_common.proto, TimeRange ("closed interval")
 */
export function isValidAt(range: TimeRange, time: Date): boolean {
  return range.start.getTime() <= time.getTime() && (range.end === undefined || time.getTime() <= range.end.getTime());
}

/** Reads `{start, end?}`. `start` is what a missing start means; undefined if it must be there. */
export function readTimeRange(range: JsonMessage, missingStart?: Date): TimeRange {
  range.only('start', 'end');
  const start = range.time('start') ?? missingStart;
  if (start === undefined) throw range.fault('malformed', 'start', 'is missing');
  const end = range.time('end');
  if (end !== undefined && end < start) throw range.fault('malformed', 'end', 'is before start');
  return { start, ...(end === undefined ? {} : { end }) };
}

/** The inverse of {@link readTimeRange}; milliseconds only where there are any. */
export function encodeTimeRange({ start, end }: TimeRange): { start: string; end?: string } {
  return { start: encodeTime(start), ...(end === undefined ? {} : { end: encodeTime(end) }) };
}

function encodeTime(time: Date): string {
  return time.toISOString().replace('.000Z', 'Z');
}
