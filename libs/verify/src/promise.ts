import { findAlgorithm, type CryptoPort } from '#libs/crypto';
import { canonicalizeJson, encodeBase64, encodeHex, encodeUtf8 } from '#libs/encoding';
import { isValidAt } from '#libs/trust';
import { Objection, type Finding } from './checks.js';
import { operatorOf, type KnownEntry } from './log.js';
import { describeInstant, describeTime, type TrustedTime } from './time.js';

/** B.2: each promise (signed entry timestamp) is the log's signature over entry, index and integrated time. */
export async function checkPromises(entries: KnownEntry[], crypto: CryptoPort): Promise<Finding<TrustedTime[]>> {
  const times: TrustedTime[] = [];
  for (const { entry, logs } of entries) {
    const { inclusionPromise, integratedTime } = entry;
    if (inclusionPromise === undefined) continue;
    if (integratedTime === undefined) throw new Objection(`entry ${entry.logIndex} has a promise but no time`);
    const time = new Date(Number(integratedTime) * 1000);
    const log = logs.find(({ validFor }) => isValidAt(validFor, time));
    if (log === undefined) {
      throw new Objection(
        `the log's key was not valid at ${describeInstant(time)}, when it took entry ${entry.logIndex}`,
      );
    }
    // The index counts over all shards of the log, the id is in hex, and numbers are numbers (RFC 8785).
    const promised = canonicalizeJson({
      body: encodeBase64(entry.canonicalizedBody),
      integratedTime,
      logID: encodeHex(entry.logId),
      logIndex: entry.logIndex,
    });
    const scheme = findAlgorithm(log.keyDetails)?.scheme;
    if (!scheme || !(await crypto.verify(log.publicKey, scheme, encodeUtf8(promised), inclusionPromise))) {
      throw new Objection(
        `the promise for entry ${entry.logIndex} is not signed by the log's key`,
        'Get the bundle anew: entry, index or time of its log entry were changed',
      );
    }
    times.push({ time, source: 'log-promise', operator: operatorOf(log) });
  }
  return { detail: times.map(describeTime).join('; '), value: times };
}
