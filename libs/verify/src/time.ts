import type { Bundle } from '#libs/bundle';
import type { CryptoPort } from '#libs/crypto';
import { verifyTimestamp } from '#libs/timestamp';
import { isValidAt, type CertificateAuthority, type TimeRange, type TrustedRoot } from '#libs/trust';
import { Objection, type Finding } from './checks.js';

/** A time at which the signature existed, on the word of somebody trusted. */
export interface TrustedTime {
  time: Date;
  source: 'timestamp-authority' | 'log-promise';
  /** Who says so; two of one operator count once. */
  operator: string;
}

/** The bytes that timestamps are about: the raw signature, of a message or of an envelope. */
export function signatureOf({ content }: Bundle): Uint8Array {
  const signature = content.kind === 'message' ? content.signature : content.envelope.signatures[0]?.sig;
  if (signature === undefined) throw new Objection('the envelope has no signature');
  return signature;
}

/** B.1: every RFC 3161 timestamp is over this signature and by an authority of the trusted root, valid at that time. */
export async function checkTimestamps(
  bundle: Bundle,
  root: TrustedRoot,
  crypto: CryptoPort,
): Promise<Finding<TrustedTime[]>> {
  const signature = signatureOf(bundle);
  const times: TrustedTime[] = [];
  for (const timestamp of bundle.timestamps) {
    const { genTime, authority } = await verifyTimestamp(timestamp, {
      signature,
      authorities: root.timestampAuthorities,
      crypto,
    });
    times.push({
      time: genTime,
      source: 'timestamp-authority',
      operator: authorityName(authority),
    });
  }
  return { detail: times.map(describeTime).join('; '), value: times };
}

function authorityName({ operator, uri, subject }: CertificateAuthority): string {
  return operator ?? (uri || subject.commonName || subject.organization || 'timestamp authority');
}

/** B.3: enough distinct operators say when. */
export function checkTimeThreshold(times: TrustedTime[], threshold: number): Finding<void> {
  const operators = new Set(times.map(({ operator }) => operator));
  if (operators.size < threshold) {
    throw new Objection(
      times.length === 0
        ? 'the bundle has no timestamp, and no log entry with a signed time'
        : `${operators.size} operator(s) confirm the time, ${threshold} needed`,
    );
  }
  return { detail: times.map(describeTime).join('; '), value: undefined };
}

/** B.4: a managed key signed while it was good. */
export function checkKeyValidity(times: TrustedTime[], validFor: TimeRange): Finding<void> {
  for (const { time } of times) {
    if (!isValidAt(validFor, time)) {
      throw new Objection(
        `signed at ${describeInstant(time)}, but the key is valid from ${describeInstant(validFor.start)}` +
          (validFor.end === undefined ? '' : ` to ${describeInstant(validFor.end)}`),
      );
    }
  }
  return { detail: `every time of signing is in the key's validity`, value: undefined };
}

export function describeTime({ time, source, operator }: TrustedTime): string {
  return `${describeInstant(time)} by ${operator}${source === 'log-promise' ? ' (log)' : ''}`;
}

/** `2026-01-31T12:00:00Z`; numbers in a bundle may be no time at all. */
export function describeInstant(time: Date): string {
  if (Number.isNaN(time.getTime())) return 'an impossible time';
  return time.toISOString().replace('.000Z', 'Z');
}
