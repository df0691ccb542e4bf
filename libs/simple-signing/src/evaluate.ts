import { createHash } from 'node:crypto';
import { quoted, SimpleSigningError } from './error.js';
import { describeIdentity, matchesIdentity, type SignedIdentity } from './identity.js';
import { type KeyRing, readKeyRing } from './key-ring.js';
import { parsePayload, type SignedPayload } from './payload.js';
import { findRequirements, type Material, type PodmanPolicy, type Requirement, type SigstoreSigned } from './policy.js';
import { formatImageName, type ImageIdentity } from './reference.js';
import type { SigstoreAttachment, SigstoreTrust } from './sigstore.js';

/** The image that is asked about. */
export interface PolicyImage {
  readonly name: ImageIdentity;
  /** The bytes of the manifest that would run: for an index that of one platform, which podman asks for signatures of. */
  readonly manifest: Uint8Array;
  /** The bytes of the index that has this manifest, if the name means an index. */
  readonly index?: Uint8Array;
  /** The signature objects of the lookaside storage; called once at most. */
  readonly signatures: () => Promise<readonly Uint8Array[]>;
  /** The signatures of Sigstore in the registry, none if registries.d does not say that they are used; called once at most. */
  readonly attachments: () => Promise<readonly SigstoreAttachment[]>;
}

/** What judging a policy needs of the world. */
export interface PolicyPorts {
  /** Reads a file that the policy names. */
  readonly readFile: (path: string) => Promise<Uint8Array>;
  /**
   * Proves that the payload of an attachment was signed by whom `trust` names, and logged if it has keys of logs; name and
   * digest in the payload are compared here. Throws with the reason, or returns by whom it is, in words.
   */
  readonly verifySigstoreSigned: (attachment: SigstoreAttachment, trust: SigstoreTrust) => Promise<string>;
  readonly now: Date;
}

/** What became of one signature. */
export interface SignatureVerdict {
  /** `signature 1`, in the order in which they were found. */
  readonly signature: string;
  readonly accepted: boolean;
  /** By whom and for what it is, or why it does not count. */
  readonly detail: string;
}

/** What became of one requirement. */
export interface RequirementVerdict {
  readonly requirement: Requirement;
  readonly passed: boolean;
  /** What was asked for. */
  readonly asked: string;
  readonly detail: string;
  /** What was found; up to the first that is accepted. */
  readonly signatures: readonly SignatureVerdict[];
}

export interface PolicyDecision {
  readonly allowed: boolean;
  /** The section of the policy that decides: `docker "registry.example.com"`, or `default`. */
  readonly scope: string;
  readonly image: string;
  readonly manifestDigest: string;
  /** All of the section, also after one that did not hold: they explain. */
  readonly requirements: readonly RequirementVerdict[];
}

/**
 * Whether a policy lets an image run, as podman and skopeo decide it: the most specific section counts, and all of its
 * requirements must hold. A requirement that cannot be judged (a key file that is missing, a storage that does not answer)
 * does not hold, and says why.
 * @throws SimpleSigningError `SIMPLE_DIGEST` if the manifest is not the one that the name asks for
 * @see containers-policy.json(5)
 */
export async function evaluatePolicy(
  policy: PodmanPolicy,
  image: PolicyImage,
  ports: PolicyPorts,
): Promise<PolicyDecision> {
  const { name, manifest, index } = image;
  if (name.digest !== undefined && digestLike(name.digest, index ?? manifest) !== name.digest) {
    throw new SimpleSigningError(
      'SIMPLE_DIGEST',
      `Cannot judge ${formatImageName(name)}: the manifest has another digest`,
    );
  }
  const { scope, requirements } = findRequirements(policy, name);
  const signatures = once(image.signatures);
  const attachments = once(image.attachments);
  const verdicts: RequirementVerdict[] = [];
  for (const requirement of requirements) {
    verdicts.push(await judge(requirement, { ...image, signatures, attachments }, ports));
  }
  return {
    // The parser lets no empty list through; an empty list allows nothing all the same.
    allowed: verdicts.length > 0 && verdicts.every(({ passed }) => passed),
    scope,
    image: formatImageName(name),
    manifestDigest: digestLike(index === undefined ? (name.digest ?? 'sha256:') : 'sha256:', manifest),
    requirements: verdicts,
  };
}

async function judge(requirement: Requirement, image: PolicyImage, ports: PolicyPorts): Promise<RequirementVerdict> {
  switch (requirement.type) {
    case 'insecureAcceptAnything':
      return {
        requirement,
        passed: true,
        asked: 'nothing',
        detail: 'any image is accepted, signed or not',
        signatures: [],
      };
    case 'reject':
      return {
        requirement,
        passed: false,
        asked: 'what nobody can give',
        detail: 'every image is refused',
        signatures: [],
      };
    case 'signedBaseLayer':
      return {
        requirement,
        passed: false,
        asked: 'a signed base layer',
        detail: 'nobody has implemented this: every image is refused',
        signatures: [],
      };
    case 'signedBy': {
      const { keyType, keys, signedIdentity } = requirement;
      const asked = `an OpenPGP signature for ${describeIdentity(signedIdentity, image.name)}`;
      if (keyType !== 'GPGKeys') {
        return {
          requirement,
          passed: false,
          asked,
          detail: `nobody has implemented keyType ${keyType}: every image is refused`,
          signatures: [],
        };
      }
      return explain(requirement, asked, async () => {
        const ring = await readKeyRing(await load(keys, ports));
        const objects = await image.signatures();
        return firstAccepted(objects, (object) => acceptSimple(object, ring, signedIdentity, image, ports.now));
      });
    }
    case 'sigstoreSigned': {
      const { signedIdentity } = requirement;
      const asked = `a signature of Sigstore ${describeSigner(requirement)} for ${describeIdentity(signedIdentity, image.name)}`;
      return explain(requirement, asked, async () => {
        const trust = await loadTrust(requirement, ports);
        const found = await image.attachments();
        return firstAccepted(found, (attachment) => acceptSigstore(attachment, trust, signedIdentity, image, ports));
      });
    }
  }
}

async function explain(
  requirement: Requirement,
  asked: string,
  collect: () => Promise<SignatureVerdict[]>,
): Promise<RequirementVerdict> {
  let signatures: SignatureVerdict[];
  try {
    signatures = await collect();
  } catch (error) {
    return { requirement, passed: false, asked, detail: `could not be judged: ${wordsOf(error)}`, signatures: [] };
  }
  const accepted = signatures.find((verdict) => verdict.accepted);
  const detail =
    accepted !== undefined
      ? `${accepted.signature} ${accepted.detail}`
      : signatures.length === 0
        ? 'there is no signature'
        : `none of ${signatures.length} ${signatures.length === 1 ? 'signature' : 'signatures'} is accepted`;
  return { requirement, passed: accepted !== undefined, asked, detail, signatures };
}

/** One accepted signature is enough. */
async function firstAccepted<T>(found: readonly T[], accept: (one: T) => Promise<string>): Promise<SignatureVerdict[]> {
  const verdicts: SignatureVerdict[] = [];
  for (const [i, one] of found.entries()) {
    const signature = `signature ${i + 1}`;
    try {
      verdicts.push({ signature, accepted: true, detail: await accept(one) });
      return verdicts;
    } catch (error) {
      verdicts.push({ signature, accepted: false, detail: wordsOf(error) });
    }
  }
  return verdicts;
}

async function acceptSimple(
  object: Uint8Array,
  ring: KeyRing,
  identity: SignedIdentity,
  image: PolicyImage,
  now: Date,
): Promise<string> {
  const { content, fingerprint, signingFingerprint } = await ring.verify(object, now);
  // What GnuPG names as the signer is the subkey, and containers/image looks for that among the primary keys it imported.
  if (signingFingerprint !== fingerprint) {
    throw new SimpleSigningError(
      'SIMPLE_SIGNER',
      `Cannot accept signature: it is by subkey ${signingFingerprint} of key ${fingerprint}, and podman and skopeo accept primary keys only`,
    );
  }
  const payload = parsePayload(content);
  checkPayload(payload, identity, image);
  return `is by key ${fingerprint} for ${quoted(payload.dockerReference)}`;
}

async function acceptSigstore(
  attachment: SigstoreAttachment,
  trust: SigstoreTrust,
  identity: SignedIdentity,
  image: PolicyImage,
  ports: PolicyPorts,
): Promise<string> {
  const signer = await ports.verifySigstoreSigned(attachment, trust);
  const payload = parsePayload(attachment.payload, 'cosign container image signature');
  checkPayload(payload, identity, image);
  return `is by ${signer} for ${quoted(payload.dockerReference)}`;
}

/**
 * That a payload, whose signer has been verified, is about this image.
 * @throws SimpleSigningError `SIMPLE_DIGEST`, `SIMPLE_IDENTITY`
 */
export function checkPayload(
  { manifestDigest, dockerReference }: SignedPayload,
  identity: SignedIdentity,
  { name, manifest }: Pick<PolicyImage, 'name' | 'manifest'>,
): void {
  const digest = digestLike(manifestDigest, manifest);
  if (digest !== manifestDigest) {
    throw new SimpleSigningError(
      'SIMPLE_DIGEST',
      `Cannot accept signature: it is for the manifest ${manifestDigest}, and the image's is ${digest}`,
    );
  }
  if (!matchesIdentity(identity, name, dockerReference)) {
    throw new SimpleSigningError(
      'SIMPLE_IDENTITY',
      `Cannot accept signature: it is for ${quoted(dockerReference)}, and must be for ${describeIdentity(identity, name)}`,
    );
  }
}

/** The digest of these bytes by the same algorithm as a digest that has been read. */
export function digestLike(digest: string, bytes: Uint8Array): string {
  const algorithm = digest.slice(0, digest.indexOf(':'));
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

async function load(material: Material, { readFile }: PolicyPorts): Promise<Uint8Array[]> {
  return material.kind === 'data' ? [...material.data] : Promise.all(material.paths.map((path) => readFile(path)));
}

/** For the fields of which there can be only one. */
async function loadOnly(material: Material, ports: PolicyPorts): Promise<Uint8Array> {
  const [only, ...more] = await load(material, ports);
  if (only === undefined || more.length > 0) throw new Error('A policy has one file of certificates');
  return only;
}

async function loadTrust({ by, rekorKeys }: SigstoreSigned, ports: PolicyPorts): Promise<SigstoreTrust> {
  const logs = rekorKeys && { rekorKeys: await load(rekorKeys, ports) };
  switch (by.kind) {
    case 'keys':
      return { by: { kind: 'keys', keys: await load(by.keys, ports) }, ...logs };
    case 'fulcio': {
      const { ca, ...rest } = by;
      return { by: { ...rest, ca: await loadOnly(ca, ports) }, ...logs };
    }
    case 'pki': {
      const { roots, intermediates, ...rest } = by;
      const between = intermediates && { intermediates: await loadOnly(intermediates, ports) };
      return { by: { ...rest, roots: await loadOnly(roots, ports), ...between }, ...logs };
    }
  }
}

function describeSigner({ by }: SigstoreSigned): string {
  switch (by.kind) {
    case 'keys':
      return 'by a given key';
    case 'fulcio':
      return `by ${quoted(by.subjectEmail)} of ${quoted(by.oidcIssuer)}`;
    case 'pki':
      return `by a certificate of ${quoted([by.subjectEmail, by.subjectHostname].filter((name) => name !== undefined).join(', '))}`;
  }
}

/** An error of ours or of a port says what is the matter; one that is a fault of this program must not pass for a verdict. */
function wordsOf(error: unknown): string {
  if (error instanceof TypeError || error instanceof RangeError || !(error instanceof Error)) throw error;
  return error.message;
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => (result ??= work());
}
