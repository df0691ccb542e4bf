import { createHash } from 'node:crypto';
import { algorithmForKey, parsePublicKeyPem, type PublicKey } from '#libs/crypto';
import { encodeUtf8, equalBytes, parseBase64, parseUtf8 } from '#libs/encoding';
import { noteLogId } from '#libs/note';
import { parseTrustedRoot, type CertificateAuthority, type TlogInstance, type TrustedRoot } from '#libs/trust';
import { parseCertificatePem } from '#libs/x509';
import { quote, reasonOf } from './error.js';
import type { Section } from './section.js';

/** Reads a file that a policy file names. @throws what the caller wants the user to see */
export type ReadFile = (path: string) => Promise<Uint8Array>;

const MAX_INSTANCES = 256;
const MAX_BASE64 = 256 * 1024;
const fetchIt =
  'Fetch trusted_root.json with a TUF client that you trust, and give it as --trusted-root NAME=FILE or in a TrustedRoot document';

/** The hash names that policy-controller and the trusted root know for a log. */
const SHA256 = ['sha-256', 'sha256', 'SHA2_256'] as const;

/**
 * Reads the `spec` of a TrustRoot of policy-controller. Of its three forms only keys that stand in the document are read: the other two are a TUF client's work.
 * There is no validity in it, so keys count for all times, and certificates for their own.
 * @see policy-controller: pkg/apis/policy/v1alpha1/trustroot_types.go
 */
export function readTrustRoot(spec: Section): TrustedRoot | undefined {
  spec.refused('remote', 'this command runs no TUF client', fetchIt);
  spec.refused('repository', 'this command runs no TUF client', fetchIt);
  const keys =
    spec.has('remote') || spec.has('repository') ? spec.section('sigstoreKeys') : spec.requiredSection('sigstoreKeys');
  spec.end();
  if (keys === undefined) return undefined;
  const root = {
    certificateAuthorities: keys.sections('certificateAuthorities', MAX_INSTANCES).flatMap(readAuthority),
    tlogs: keys.sections('tLogs', MAX_INSTANCES).flatMap((log) => readLog(log, true)),
    ctlogs: keys.sections('ctLogs', MAX_INSTANCES).flatMap((log) => readLog(log, false)),
    timestampAuthorities: keys.sections('timestampAuthorities', MAX_INSTANCES).flatMap(readAuthority),
  };
  keys.end();
  return root;
}

/**
 * Reads the `spec` of our own TrustedRoot document: a trusted_root.json, as `inline` content or as the `path` of a file.
 */
export async function readTrustedRootDocument(spec: Section, readFile: ReadFile): Promise<TrustedRoot | undefined> {
  const inline = spec.section('inline');
  const path = spec.text('path');
  const content = spec.data('inline');
  spec.end();
  if ((inline === undefined) === (path === undefined)) {
    if (!spec.has('inline') && !spec.has('path')) spec.fault(undefined, 'one of inline and path is missing');
    else if (spec.has('inline') && spec.has('path')) spec.fault(undefined, 'inline and path exclude each other');
    return undefined;
  }
  const name = path === undefined ? 'inline' : 'path';
  let bytes: Uint8Array;
  try {
    bytes = path === undefined ? encodeUtf8(JSON.stringify(content)) : await readFile(path);
  } catch (error) {
    spec.fault(name, reasonOf(error));
    return undefined;
  }
  return attempt(spec, name, () => parseTrustedRoot(bytes));
}

function readAuthority(authority: Section): CertificateAuthority[] {
  const subject = authority.section('subject');
  const organization = subject?.text('organization');
  const commonName = subject?.text('commonName');
  subject?.end();
  const uri = authority.url('uri');
  const certChain = readBase64Pem(authority, 'certChain', parseCertificatePem);
  authority.end();
  if (certChain === undefined) return [];
  return [
    {
      subject: { ...(organization !== undefined && { organization }), ...(commonName !== undefined && { commonName }) },
      uri: uri ?? '',
      certChain,
      validFor: { start: new Date(0) },
    },
  ];
}

function readLog(log: Section, isRekor: boolean): TlogInstance[] {
  if (!log.has('baseURL')) log.fault(undefined, 'baseURL is missing');
  const baseUrl = log.url('baseURL');
  log.requiredText('hashAlgorithm');
  log.choice('hashAlgorithm', SHA256);
  const publicKey = readBase64Pem(log, 'publicKey', parsePublicKeyPem);
  log.end();
  if (baseUrl === undefined || publicKey === undefined) return [];
  return attempt(log, 'publicKey', () => logInstances(baseUrl, publicKey, isRekor)) ?? [];
}

/** The document does not say how the log is called in entries, so it goes by both names it can have: that of Rekor v1, and that of Rekor v2. */
function logInstances(baseUrl: string, publicKey: PublicKey, isRekor: boolean): TlogInstance[] {
  const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());
  const spkiId = sha256(publicKey.spki);
  const noteId = isRekor ? noteLogId(new URL(baseUrl).host, publicKey, (_, bytes) => sha256(bytes)) : spkiId;
  const log: TlogInstance = {
    baseUrl,
    hashAlgorithm: 'sha256',
    publicKey,
    // The plain variant is what logs use; the registry's default for Ed25519 is the prehashed one.
    keyDetails: publicKey.kind === 'ed25519' ? 'PKIX_ED25519' : algorithmForKey(publicKey).keyDetails,
    validFor: { start: new Date(0) },
    logId: spkiId,
  };
  if (equalBytes(noteId, spkiId)) return [log];
  return [
    { ...log, checkpointKeyId: noteId.slice(0, 4) },
    { ...log, logId: noteId },
  ];
}

function readBase64Pem<Value>(section: Section, name: string, parse: (pem: string) => Value): Value | undefined {
  const text = section.requiredText(name, MAX_BASE64);
  if (text === undefined) return undefined;
  return attempt(
    section,
    name,
    () => parse(parseUtf8(parseBase64(text.replace(/\s/g, '')))),
    'It is base64 of PEM: base64 -w0 FILE',
  );
}

function attempt<Value>(section: Section, name: string, read: () => Value, cure?: string): Value | undefined {
  try {
    return read();
  } catch (error) {
    section.fault(name, reasonOf(error), cure);
    return undefined;
  }
}

/** What an authority asks of trust roots, by their names; undefined: the default one. */
export interface TrustNeeds {
  readonly kind: 'keyless' | 'key';
  /** The certificate authority's URL: only authorities of the trust root with this `uri` count. */
  readonly url?: string | undefined;
  readonly trustRootRef?: string | undefined;
  readonly ctlog?: { readonly url?: string | undefined; readonly trustRootRef?: string | undefined } | undefined;
  readonly rfc3161timestamp?: { readonly trustRootRef?: string | undefined } | undefined;
}

/** The name that messages have for the trust root that authorities without a name mean. */
const DEFAULT_ROOT = 'the default trust root';

/** A trust root that is not there, or that cannot do what is asked of it. `field`: where the authority asks. */
export interface TrustFault {
  readonly field: 'trustRootRef' | 'url' | 'ctlog' | 'rfc3161timestamp';
  readonly message: string;
  readonly cure: string;
}

/**
 * The one trust root that an authority is judged with: certificate authorities and CT logs of the root that it names, logs and timestamp authorities
 * of those that `ctlog` and `rfc3161timestamp` name, each narrowed to the URL given. Empty lists would let nothing pass; they are refused here, where
 * it can be said what is missing.
 */
export function composeTrust(
  needs: TrustNeeds,
  roots: ReadonlyMap<string, TrustedRoot>,
  defaultRoot: TrustedRoot | undefined,
): TrustedRoot | TrustFault {
  const { ctlog, rfc3161timestamp } = needs;
  const main =
    needs.trustRootRef ?? (needs.kind === 'key' ? (ctlog?.trustRootRef ?? rfc3161timestamp?.trustRootRef) : undefined);
  const find = (name: string | undefined, field: TrustFault['field']): TrustedRoot | TrustFault => {
    if (name === undefined) {
      return (
        defaultRoot ?? {
          field,
          message: 'it names no trust root, and there is no default one',
          cure: 'Give the default one with --trusted-root FILE, or name one with trustRootRef',
        }
      );
    }
    return (
      roots.get(name) ?? {
        field,
        message: `there is no trust root ${quote(name)}; there ${describeNames([...roots.keys()])}`,
        cure: `Add a document of kind TrustRoot or TrustedRoot with this name, or give --trusted-root ${name}=FILE`,
      }
    );
  };
  const base = find(main, 'trustRootRef');
  if (isFault(base)) return base;
  const logs = find(ctlog?.trustRootRef ?? main, 'ctlog');
  if (isFault(logs)) return logs;
  const times = find(rfc3161timestamp?.trustRootRef ?? main, 'rfc3161timestamp');
  if (isFault(times)) return times;

  const nameOf = (name: string | undefined) => (name === undefined ? DEFAULT_ROOT : `trust root ${quote(name)}`);
  const lacks = (field: TrustFault['field'], name: string | undefined, what: string, cure: string): TrustFault => ({
    field,
    message: `${nameOf(name)} has no ${what}`,
    cure,
  });
  const certificateAuthorities = base.certificateAuthorities.filter(({ uri }) => isUrl(uri, needs.url));
  if (needs.kind === 'keyless' && certificateAuthorities.length === 0) {
    const known = base.certificateAuthorities.map(({ uri }) => uri);
    return needs.url === undefined
      ? lacks('trustRootRef', main, 'certificate authority', 'Use a trust root that has one')
      : lacks(
          'url',
          main,
          `certificate authority ${needs.url}; there ${describeNames(known)}`,
          'Correct url or leave it out. Policy-controller fills in https://fulcio.sigstore.dev when a policy is stored, and does not compare it',
        );
  }
  if (needs.kind === 'keyless' && base.ctlogs.length === 0) {
    return lacks(
      'trustRootRef',
      main,
      'CT log, and every certificate must be in one',
      'Add the CT log to the trust root',
    );
  }
  const tlogs = logs.tlogs.filter(({ baseUrl }) => isUrl(baseUrl, ctlog?.url));
  const logsRoot = ctlog?.trustRootRef ?? main;
  if (tlogs.length === 0) {
    return ctlog?.url === undefined
      ? lacks(
          'ctlog',
          logsRoot,
          'transparency log, and every signature must be in one',
          'Add the log to the trust root',
        )
      : lacks(
          'ctlog',
          logsRoot,
          `transparency log ${ctlog.url}; there ${describeNames(logs.tlogs.map(({ baseUrl }) => baseUrl))}`,
          'Correct ctlog.url or leave it out',
        );
  }
  const { timestampAuthorities } = times;
  if (rfc3161timestamp !== undefined && timestampAuthorities.length === 0) {
    return lacks(
      'rfc3161timestamp',
      rfc3161timestamp.trustRootRef ?? main,
      'timestamp authority',
      'Add one to the trust root, or leave rfc3161timestamp out',
    );
  }
  return { certificateAuthorities, ctlogs: base.ctlogs, tlogs, timestampAuthorities };
}

export function isFault(value: TrustedRoot | TrustFault): value is TrustFault {
  return 'field' in value;
}

function isUrl(found: string, expected: string | undefined): boolean {
  const plain = (url: string) => url.replace(/\/$/, '');
  return expected === undefined || plain(found) === plain(expected);
}

function describeNames(names: readonly string[]): string {
  return names.length === 0
    ? 'is none'
    : `${names.length === 1 ? 'is' : 'are'} ${[...new Set(names)].map(quote).join(', ')}`;
}
