import { CryptoError, checkKeyStrength, parsePublicKey, type PublicKey, type SignatureScheme } from '#libs/crypto';
import { equalBytes } from '#libs/encoding';
import { issuingScheme, sameScheme } from './algorithm.js';
import type { Certificate, Extension } from './certificate.js';
import { converting } from './errors.js';
import { basicConstraints, extendedKeyUsage, keyUsage, subjectKeyId } from './extensions.js';
import { fulcioExtensionNumber, fulcioExtensionValue, isFulcioValue } from './fulcio.js';
import { oid } from './oid.js';
import { isPrintableAscii, type SubjectAltName } from './san.js';

/** What a leaf certificate shall say. Everything else is fixed by Fulcio's certificate specification. */
export interface LeafProfile {
  /** The CA certificate whose key will sign. */
  readonly issuer: Certificate;
  /** 20 random bytes, top bit clear, not all zero. */
  readonly serial: Uint8Array;
  /** Whole seconds, both. */
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** The key to be certified: SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly san: SubjectAltName;
  /** As `encodeFulcioExtensions` gives them. */
  readonly extensions: readonly Extension[];
  /** The scheme of the signer that will sign. */
  readonly signatureScheme: SignatureScheme;
}

/** One objection of the lint. */
export interface LintFinding {
  readonly rule: LintRuleName;
  /** What is wrong, without the value itself where it is not ours. */
  readonly problem: string;
}

/** A profile and what was read out of it, so that no rule parses. */
export interface LintSubject {
  readonly profile: LeafProfile;
  readonly publicKey: PublicKey;
  readonly issuer: IssuerFacts;
  /** Fulcio's numbers of the profile's extensions, in their order; undefined for one that is not Fulcio's. */
  readonly numbers: readonly (number | undefined)[];
}

/** What the rules and the writer need of a CA certificate; read once for each, not once for each leaf. */
export interface IssuerFacts {
  readonly ca: boolean;
  readonly signs: boolean;
  readonly forCodeSigning: boolean;
  readonly keyId: Uint8Array | undefined;
}

const factsOf = new WeakMap<Certificate, IssuerFacts>();

/** @throws X509Error `X509_MALFORMED` */
function issuerFacts(issuer: Certificate): IssuerFacts {
  const known = factsOf.get(issuer);
  if (known) return known;
  const purposes = extendedKeyUsage(issuer)?.oids;
  const facts: IssuerFacts = {
    ca: basicConstraints(issuer)?.ca ?? false,
    signs: keyUsage(issuer)?.includes('keyCertSign') ?? false,
    forCodeSigning: !purposes || purposes.includes(oid.codeSigning) || purposes.includes(oid.anyExtendedKeyUsage),
    keyId: subjectKeyId(issuer),
  };
  factsOf.set(issuer, facts);
  return facts;
}

/**
 * The rules, each of which says what is wrong or nothing. They stand between a bug above us and a certificate that cannot be taken back:
 * what is in a log is there for good.
 */
const rules = {
  // RFC 5280 §4.1.2.2 allows 20 octets; fewer random ones than that are not what the profile promises.
  'serial-length': ({ profile }) =>
    profile.serial.length === 20 ? '' : `serial has ${profile.serial.length} bytes, must be 20`,
  // With the top bit set the INTEGER is negative, or 21 octets long.
  'serial-positive': ({ profile }) => ((profile.serial[0] ?? 0) < 0x80 ? '' : 'the top bit of the serial is set'),
  'serial-non-zero': ({ profile }) => (profile.serial.some((byte) => byte !== 0) ? '' : 'serial is zero'),
  // A certificate counts in seconds: a fraction would be cut, and the validity not be the one that was asked for.
  'validity-exact': ({ profile }) =>
    [profile.notBefore, profile.notAfter].every((date) => date.getTime() % 1000 === 0)
      ? ''
      : 'validity is not in whole seconds',
  'validity-order': ({ profile }) => (profile.notBefore >= profile.notAfter ? 'validity ends before it begins' : ''),
  'validity-in-issuer': ({ profile: { notBefore, notAfter, issuer } }) =>
    notBefore < issuer.notBefore || notAfter > issuer.notAfter
      ? `validity ${show(notBefore)} to ${show(notAfter)} is not inside the issuer's ${show(issuer.notBefore)} to ${show(issuer.notAfter)}`
      : '',
  'key-strength': ({ publicKey }) => {
    try {
      checkKeyStrength(publicKey);
      return '';
    } catch (error) {
      if (error instanceof CryptoError) return error.message;
      throw error;
    }
  },
  // A leaf with its CA's key would be a CA in all but name.
  'key-not-issuer': ({ profile }) =>
    equalBytes(profile.spki, profile.issuer.spki) ? "the key is the issuer's own" : '',
  'san-kind': ({ profile: { san } }) =>
    san.kind === 'email' || san.kind === 'uri' || san.kind === 'other-name'
      ? ''
      : `a name of kind ${san.kind} is not issued`,
  'san-not-empty': ({ profile: { san } }) => (san.value === '' ? 'the name is empty' : ''),
  // RFC 5280 §4.2.1.6: rfc822Name and URI are IA5String.
  'san-ascii': ({ profile: { san } }) =>
    (san.kind === 'email' || san.kind === 'uri') && !isPrintableAscii(san.value)
      ? 'the name is not printable ASCII'
      : '',
  'san-email': ({ profile: { san } }) => {
    const at = san.value.lastIndexOf('@');
    const twoSides = at > 0 && at < san.value.length - 1;
    return san.kind === 'email' && san.value !== '' && !twoSides ? 'the e-mail name has no two sides of an @' : '';
  },
  'san-uri': ({ profile: { san } }) =>
    san.kind === 'uri' && san.value !== '' && !/^[A-Za-z][A-Za-z0-9+.-]*:./s.test(san.value)
      ? 'the URI has no scheme'
      : '',
  // Readers refuse a certificate with an otherName of another type.
  'san-other-name': ({ profile: { san } }) =>
    san.kind === 'other-name' && san.oid !== oid.fulcioOtherName
      ? `otherName type is ${san.oid}, must be ${oid.fulcioOtherName}`
      : '',
  'extension-known': ({ profile, numbers }) => {
    const foreign = profile.extensions[numbers.indexOf(undefined)];
    return foreign ? `extension ${foreign.oid} is not one of Fulcio's` : '';
  },
  'extension-not-critical': ({ profile }) => {
    const critical = profile.extensions.find((extension) => extension.critical);
    return critical ? `extension ${critical.oid} is critical` : '';
  },
  // Strictly rising: so none occurs twice.
  'extension-order': ({ numbers }) => {
    const known = numbers.filter((number) => number !== undefined);
    return known.every((number, i) => number > (known[i - 1] ?? 0))
      ? ''
      : 'extensions are not in the order of their numbers';
  },
  'extension-encoding': ({ profile, numbers }) => {
    const bad = profile.extensions.find((extension, i) => {
      const number = numbers[i];
      return number !== undefined && !isFulcioValue(extension, number);
    });
    return bad ? `extension ${bad.oid} is empty or not encoded as its number demands` : '';
  },
  // 8 is where readers look first, 1 where old ones do. An unreadable value is the business of the rule above.
  'issuer-extension': ({ profile, numbers }) => {
    const [old, current] = [1, 8].map((number) => profile.extensions[numbers.indexOf(number)]);
    if (!old || !current) return 'issuer extension 1 or 8 is missing';
    if (!isFulcioValue(old, 1) || !isFulcioValue(current, 8)) return '';
    return fulcioExtensionValue(old, 1) === fulcioExtensionValue(current, 8) ? '' : 'issuer extensions 1 and 8 differ';
  },
  'issuer-ca': ({ issuer }) => (issuer.ca && issuer.signs ? '' : 'the issuer is not a CA that may sign certificates'),
  'issuer-purpose': ({ issuer }) => (issuer.forCodeSigning ? '' : 'the issuer may not issue for code signing'),
  'issuer-key-id': ({ issuer }) => (issuer.keyId ? '' : 'the issuer has no subject key identifier'),
  'signature-scheme': ({ profile }) =>
    sameScheme(profile.signatureScheme, issuingScheme(profile.issuer.publicKey))
      ? ''
      : "the signature scheme is not the one of the issuer's key",
} satisfies Record<string, (subject: LintSubject) => string>;

export type LintRuleName = keyof typeof rules;

/** The names of all rules. */
export const lintRules = Object.keys(rules) as LintRuleName[]; // Object.keys forgets the key type of a literal object

/** Reads out of a profile what the rules ask for. @throws X509Error `X509_PROFILE` when the key cannot be read */
export function lintSubject(profile: LeafProfile): LintSubject {
  return {
    profile,
    publicKey: converting('Cannot prepare certificate', 'X509_PROFILE', () => parsePublicKey(profile.spki)),
    issuer: issuerFacts(profile.issuer),
    numbers: profile.extensions.map((extension) => fulcioExtensionNumber(extension.oid)),
  };
}

/** What every rule has to say; empty when the profile may be issued. */
export function lint(subject: LintSubject): LintFinding[] {
  const findings: LintFinding[] = [];
  for (const rule of lintRules) {
    const problem = rules[rule](subject);
    if (problem) findings.push({ rule, problem });
  }
  return findings;
}

function show(date: Date): string {
  return Number.isNaN(date.getTime()) ? 'never' : date.toISOString();
}
