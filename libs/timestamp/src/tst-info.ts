import {
  DerReader,
  derTag,
  parseDer,
  readBoolean,
  readInteger,
  readOid,
  readTime,
  type DerElement,
} from '#libs/encoding';
import { TimestampError } from './errors.js';
import { checkImprint, readImprint, type MessageImprint } from './imprint.js';
import { readExtension } from './request.js';

/** How far `genTime` may be off, each way. Missing parts are zero. */
export interface Accuracy {
  readonly seconds: number;
  readonly millis: number;
  readonly micros: number;
}

/** What a timestamp authority states (RFC 3161 §2.4.2). */
export interface TstInfo {
  /** Dotted OID. */
  readonly policy: string;
  readonly imprint: MessageImprint;
  readonly serialNumber: bigint;
  /** With the milliseconds of a fraction, what is below them cut off. */
  readonly genTime: Date;
  readonly accuracy?: Accuracy;
  readonly ordering: boolean;
  /** Contents of the INTEGER. */
  readonly nonce?: Uint8Array;
  /** The authority's name: DER GeneralName. */
  readonly tsa?: Uint8Array;
  /** Whether there is an extension that a reader must understand. We understand none. */
  readonly criticalExtension: boolean;
}

const MAX_SERIAL = 64; // RFC 3161 §2.4.2 wants readers to take 160 bits; some authorities write more
const MAX_EXTENSIONS = 16;

// TSTInfo ::= SEQUENCE { version INTEGER { v1(1) }, policy OID, messageImprint, serialNumber INTEGER, genTime GeneralizedTime,
//   accuracy Accuracy OPTIONAL, ordering BOOLEAN DEFAULT FALSE, nonce INTEGER OPTIONAL, tsa [0] GeneralName OPTIONAL,
//   extensions [1] IMPLICIT Extensions OPTIONAL }
export function readTstInfo(der: Uint8Array): TstInfo {
  const reader = new DerReader(parseDer(der), derTag.sequence);
  if (readInteger(reader.next(derTag.integer)) !== 1n) throw malformed('version is not 1');
  const policy = readOid(reader.next(derTag.oid));
  const raw = readImprint(reader.next(derTag.sequence));
  const serial = reader.next(derTag.integer);
  if (serial.contents.length > MAX_SERIAL) throw malformed(`serial number has more than ${MAX_SERIAL} bytes`);
  const serialNumber = readInteger(serial);
  const genTime = readTime(reader.next(derTag.generalizedTime));
  const accuracy = reader.optional(derTag.sequence);
  const ordering = reader.optional(derTag.boolean);
  if (ordering !== undefined && !readBoolean(ordering)) throw malformed('the default of ordering is spelled out');
  const nonce = reader.optional(derTag.integer);
  if (nonce !== undefined) readInteger(nonce);
  const tsa = reader.optional(derTag.context(0));
  const extensions = reader.optional(derTag.context(1));
  reader.end();
  return {
    policy,
    serialNumber,
    genTime,
    ...(accuracy && { accuracy: readAccuracy(accuracy) }),
    ordering: ordering !== undefined,
    ...(nonce && { nonce: nonce.contents }),
    ...(tsa && { tsa: readExplicit(tsa) }),
    criticalExtension: extensions !== undefined && readExtensions(extensions),
    imprint: checkImprint(raw),
  };
}

// Accuracy ::= SEQUENCE { seconds INTEGER OPTIONAL, millis [0] INTEGER (1..999) OPTIONAL, micros [1] INTEGER (1..999) OPTIONAL }
function readAccuracy(element: DerElement): Accuracy {
  const reader = new DerReader(element);
  const seconds = reader.optional(derTag.integer);
  const millis = reader.optional(derTag.contextPrimitive(0));
  const micros = reader.optional(derTag.contextPrimitive(1));
  reader.end();
  return {
    seconds: seconds === undefined ? 0 : readSmall(seconds, Number.MAX_SAFE_INTEGER),
    millis: millis === undefined ? 0 : readSmall(millis, 999),
    micros: micros === undefined ? 0 : readSmall(micros, 999),
  };
}

/** An INTEGER, under its own tag or an implicit one, from 0 to `max`. */
function readSmall({ bytes, contents }: DerElement, max: number): number {
  const value = readInteger({ tag: derTag.integer, bytes, contents });
  if (value < 0n || value > BigInt(max)) throw malformed('accuracy is out of range');
  return Number(value);
}

function readExplicit(element: DerElement): Uint8Array {
  const reader = new DerReader(element);
  const inner = reader.next();
  reader.end();
  return inner.bytes;
}

function readExtensions(element: DerElement): boolean {
  const list = new DerReader(element);
  let critical = false;
  let count = 0;
  do {
    if (++count > MAX_EXTENSIONS) throw malformed(`more than ${MAX_EXTENSIONS} extensions`);
    if (readExtension(list.next(derTag.sequence))) critical = true;
  } while (!list.done);
  return critical;
}

function malformed(state: string): TimestampError {
  return new TimestampError('TIMESTAMP_MALFORMED', `Cannot parse timestamp: ${state}`);
}
