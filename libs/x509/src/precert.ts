import { type DerElement, derOid, DerReader, derSequence, derTag, equalBytes } from '#libs/encoding';
import type { Certificate } from './certificate.js';
import { DerBuffer, elementLength } from './der-buffer.js';
import { converting, X509Error } from './errors.js';
import { findExtension } from './extensions.js';
import { oid } from './oid.js';

/** The extnValue of the poison extension: ASN.1 NULL (RFC 6962 §3.1). */
export const poisonValue: Uint8Array = Uint8Array.of(0x05, 0x00);

/** The two extensions that a certificate gets last and that a log looks past. */
export type CtExtension = 'poison' | 'sct-list';

const ctOids: Readonly<Record<CtExtension, string>> = { poison: oid.poison, 'sct-list': oid.sctList };
const ctOidDer: Readonly<Record<CtExtension, Uint8Array>> = {
  poison: derOid(oid.poison),
  'sct-list': derOid(oid.sctList),
};

/**
 * Whether this is a precertificate.
 * @throws X509Error `X509_POISON` when the poison extension is there but not critical, or its value is not NULL: such a thing is neither
 *   a precertificate nor fit to be a certificate
 * @see RFC 6962 §3.1
 */
export function isPrecertificate(certificate: Certificate): boolean {
  const poison = findExtension(certificate, oid.poison);
  if (!poison) return false;
  if (!poison.critical || !equalBytes(poison.value, poisonValue)) {
    throw new X509Error(
      'X509_POISON',
      'Cannot read precertificate: the poison extension is not critical with value NULL',
    );
  }
  return true;
}

/**
 * The TBSCertificate that a log entry for this certificate holds: without the poison extension of a precertificate, or without the SCT list of a final
 * certificate; every other byte as it was, only the lengths around the gap are new. For both halves of one issuance the result is the same.
 * `without`: which one to take out; by default the poison if it is there, else the SCT list.
 * @throws X509Error `X509_POISON` for a malformed poison, `X509_MALFORMED` when the extension is not there
 * @see RFC 6962 §3.2
 */
export function preTbs(certificate: Certificate, without?: CtExtension): Uint8Array {
  const poisoned = isPrecertificate(certificate);
  const target = without ?? (poisoned ? 'poison' : 'sct-list');
  return converting('Cannot take out extension', 'X509_MALFORMED', () => splice(certificate.tbs, target));
}

/** By offsets, never by encoding again what was read: another encoder might write a name or a time differently, and the hash would not match. */
function splice(tbs: Uint8Array, target: CtExtension): Uint8Array {
  const fields = new DerReader(contentsOf(tbs));
  let field: DerElement | undefined;
  while (!fields.done && field?.tag !== derTag.context(3)) field = fields.next();
  const list = field && new DerReader(field, derTag.context(3)).next(derTag.sequence);
  const gap = list && findExtensionElement(list, target);
  if (!field || !gap) throw malformed(target, 'the certificate does not have it');

  // Views of one array: their distance is the offset. The list of extensions is the end of the list, of its field, and of the TBSCertificate.
  const head = tbs.subarray(contentsOf(tbs).byteOffset - tbs.byteOffset, field.bytes.byteOffset - tbs.byteOffset);
  const before = list.contents.subarray(0, gap.byteOffset - list.contents.byteOffset);
  const after = list.contents.subarray(before.length + gap.length);
  const kept = before.length + after.length;
  // RFC 5280 §4.1: the list is never empty; with its last element the field goes.
  if (kept === 0) return derSequence(head);
  const contents = head.length + elementLength(elementLength(kept));
  return new DerBuffer(elementLength(contents))
    .header(derTag.sequence, contents)
    .append(head)
    .header(derTag.context(3), elementLength(kept))
    .header(derTag.sequence, kept)
    .append(before)
    .append(after).bytes;
}

/** The structure was checked when the certificate was parsed; here it is only walked. */
function contentsOf(tbs: Uint8Array): Uint8Array {
  const first = tbs[1] ?? 0;
  return tbs.subarray(first < 0x80 ? 2 : 2 + (first & 0x7f));
}

function findExtensionElement(list: DerElement, target: CtExtension): Uint8Array | undefined {
  const reader = new DerReader(list, derTag.sequence);
  let found: Uint8Array | undefined;
  while (!reader.done) {
    const extension = reader.next(derTag.sequence);
    if (!startsWith(extension.contents, ctOidDer[target])) continue;
    if (found) throw malformed(target, 'it occurs twice');
    found = extension.bytes;
  }
  return found;
}

function startsWith(bytes: Uint8Array, start: Uint8Array): boolean {
  for (let i = 0; i < start.length; i++) if (bytes[i] !== start[i]) return false;
  return true;
}

function malformed(target: CtExtension, state: string): X509Error {
  return new X509Error('X509_MALFORMED', `Cannot take out extension ${ctOids[target]}: ${state}`);
}
