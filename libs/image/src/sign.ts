import { parseStatement, type Bundle } from '#libs/bundle';
import { encodeUtf8, parseJson, type JsonValue } from '#libs/encoding';
import { splitDigest, type Descriptor, type Digest, type ImageStore } from '#libs/oci';
import { opensslCrypto } from '#libs/openssl';
import { encodeEnvelope, signMany, type Artifact, type SignOptions } from '#libs/sign';
import { isValidAt, type TrustedRoot } from '#libs/trust';
import { buildChain, parseCertificate, X509Error, type Certificate } from '#libs/x509';
import { attachBundle, attachLayers, type Patience } from './attach.js';
import { ImageError, reasonOf } from './error.js';
import { judge } from './judge.js';
import type { Kind, Layout } from './layout.js';
import { layerOfBundle, type LegacyLayer } from './legacy.js';
import { encodePayload } from './payload.js';
import { listManifests } from './platforms.js';
import { predicateFault } from './predicate.js';
import { attestationStatement, fieldsOf, signatureStatement, SIGN_PREDICATE_TYPE } from './statement.js';

/** How to sign: who and with which services, as for files, and where the signatures go. */
export interface SignImageOptions extends SignOptions {
  layout: Layout;
  /** The repository's name, which the legacy payload states and statements of attestations have as a hint. */
  repository: string;
  /** Signed along with the digest. */
  annotations?: Readonly<Record<string, string>>;
  /** Also every manifest in an index: the signature of an index says nothing about what is pulled by another digest. */
  recursive?: boolean;
  /** Where the signatures go, if not beside the image. */
  signatures?: ImageStore;
  /** False: sign, and store nothing. */
  upload?: boolean;
  patience?: Patience;
}

/** What was signed, and where it is. */
export interface SignedImage {
  target: Descriptor;
  layout: Layout;
  bundle: Bundle;
  /** The manifest that holds the signature now; absent if nothing was stored. */
  manifest?: Digest;
  /** Whether our own verifier accepted it before it was stored: only with a trusted root. */
  checked: boolean;
}

/**
 * Signs the manifest `target`, with `recursive` all that are in it too, under one certificate as long as it lasts. Each signature is verified before it is
 * stored, and stored before the next is made.
 * @throws SignError, OciError; ImageError `IMAGE_SERVICES`, `IMAGE_SELF_CHECK`, `IMAGE_CONFLICT`, `IMAGE_LIMIT`
 */
export async function signImage(
  store: ImageStore,
  target: Descriptor,
  options: SignImageOptions,
): Promise<SignedImage[]> {
  const { annotations = {}, layout, repository: dockerReference } = options;
  const targets = await targetsOf(store, target, options);
  const works = targets.map((one): Work => {
    const bytes =
      layout === 'bundle'
        ? signatureStatement(one.digest, annotations)
        : encodePayload(one.digest, { dockerReference, annotations });
    return { target: one, bytes, predicateType: SIGN_PREDICATE_TYPE };
  });
  return signAll('signature', store, works, options);
}

/** What to attest: a predicate of a type, or a whole statement that was made elsewhere. */
export type Attested =
  /** `predicateType`: a URI; see `predicateTypeUri` for the short names. */
  | { predicateType: string; predicate: JsonValue; statement?: undefined }
  /** Signed as it is, byte for byte; it must be about this image. */
  | { statement: Uint8Array };

export type AttestImageOptions = SignImageOptions & Attested;

/**
 * Makes and stores an attestation: a statement about the image, of a type, with a predicate.
 * @throws ImageError `IMAGE_PREDICATE` if the predicate lacks what its type requires, or the statement is not about this image; and as `signImage`
 */
export async function attestImage(
  store: ImageStore,
  target: Descriptor,
  options: AttestImageOptions,
): Promise<SignedImage[]> {
  const targets = await targetsOf(store, target, options);
  const works = targets.map((one): Work => {
    if (options.statement !== undefined) {
      return { target: one, bytes: options.statement, predicateType: checkGiven(options.statement, one.digest) };
    }
    const { predicateType, predicate, repository: name } = options;
    checkPredicate(predicateType, predicate);
    return { target: one, bytes: attestationStatement(one.digest, { name, predicateType, predicate }), predicateType };
  });
  return signAll('attestation', store, works, options);
}

function checkGiven(bytes: Uint8Array, digest: Digest): string {
  let statement;
  try {
    statement = parseStatement(bytes);
  } catch (cause) {
    throw new ImageError('IMAGE_PREDICATE', reasonOf(cause), { cause });
  }
  const { algorithm, hex } = splitDigest(digest);
  if (!statement.subjects.some(({ digests }) => digests[algorithm] === hex)) {
    throw new ImageError('IMAGE_PREDICATE', `Cannot attest with this statement: it is not about ${digest}`, {
      cure: 'Give the statement that was made for this image',
    });
  }
  checkPredicate(statement.predicateType, fieldsOf(parseJson(bytes))['predicate']);
  return statement.predicateType;
}

function checkPredicate(predicateType: string, predicate: JsonValue | undefined): void {
  const fault = predicateFault(predicateType, predicate);
  if (fault !== undefined) {
    throw new ImageError('IMAGE_PREDICATE', `Cannot attest ${predicateType}: ${fault}`, {
      cure: 'Give a predicate of that type, or another type',
    });
  }
  if (predicateType === SIGN_PREDICATE_TYPE) {
    throw new ImageError('IMAGE_PREDICATE', `Cannot attest ${predicateType}: that is the type of signatures`, {
      cure: 'Sign the image instead',
    });
  }
}

interface Work {
  target: Descriptor;
  /** Statement, or legacy payload. */
  bytes: Uint8Array;
  predicateType: string;
}

async function targetsOf(
  store: ImageStore,
  target: Descriptor,
  { recursive }: SignImageOptions,
): Promise<Descriptor[]> {
  if (recursive !== true) return [target];
  return (await listManifests(store, target.digest)).map(({ descriptor }) => descriptor);
}

async function signAll(
  kind: Kind,
  store: ImageStore,
  works: readonly Work[],
  options: SignImageOptions,
): Promise<SignedImage[]> {
  const { layout, trustedRoot, services, upload = true, signatures = store } = options;
  if (layout === 'legacy' && services.logVersion !== 1) {
    throw new ImageError(
      'IMAGE_SERVICES',
      'Cannot sign in the legacy layout: it can only hold entries of a log with the API of Rekor v1',
      {
        cure: 'Use a signing configuration with such a log, or the bundle layout',
      },
    );
  }
  const isMessage = layout === 'legacy' && kind === 'signature';
  const artifacts = works.map(({ bytes }): Artifact => ({ kind: isMessage ? 'bytes' : 'statement', bytes }));
  const signed: SignedImage[] = [];
  // As cosign can verify it; an option of the caller's wins.
  for await (const bundle of signMany(artifacts, { envelopeEntry: 'hashedrekord', ...options })) {
    const work = works[signed.length] as Work; // one bundle for each, in order
    const { target, predicateType } = work;
    if (trustedRoot !== undefined)
      await selfCheck(kind, target.digest, bundle, isMessage ? work.bytes : undefined, options);
    const done: SignedImage = { target, layout, bundle, checked: trustedRoot !== undefined };
    if (upload) {
      done.manifest =
        layout === 'bundle'
          ? await attachBundle(signatures, target, bundle, { predicateType, now: options.now() })
          : await attachLayers(
              signatures,
              target.digest,
              kind,
              [await legacyLayer(kind, bundle, work, trustedRoot)],
              options.patience,
            );
    }
    signed.push(done);
  }
  return signed;
}

async function legacyLayer(
  kind: Kind,
  bundle: Bundle,
  { bytes, predicateType }: Work,
  trustedRoot: TrustedRoot | undefined,
): Promise<LegacyLayer> {
  const chain = await chainOf(bundle, trustedRoot);
  if (kind === 'signature') return layerOfBundle(bundle, { bytes, chain });
  if (bundle.content.kind !== 'dsse') throw new Error('an attestation is an envelope');
  // The log keeps the hash of this text.
  const text = encodeUtf8(encodeEnvelope(bundle.content.envelope));
  return layerOfBundle(bundle, { bytes: text, chain, predicateType });
}

/** What is above the certificate in the trusted root: readers of the legacy layout may have no other way to it. */
async function chainOf({ material }: Bundle, trustedRoot: TrustedRoot | undefined): Promise<Certificate[]> {
  const der = material.kind === 'certificate' ? material.certificates[0] : undefined;
  if (der === undefined || trustedRoot === undefined) return [];
  const leaf = parseCertificate(der);
  const time = leaf.notBefore;
  for (const { certChain, validFor } of trustedRoot.certificateAuthorities) {
    if (!isValidAt(validFor, time)) continue;
    try {
      const found = await buildChain(
        leaf,
        { intermediates: certChain.slice(0, -1), anchors: certChain.slice(-1), time },
        opensslCrypto,
      );
      return found.slice(1);
    } catch (error) {
      if (!(error instanceof X509Error)) throw error;
      // Another authority of the trusted root may have issued it.
    }
  }
  return [];
}

/** What nobody would accept is not stored. */
async function selfCheck(
  kind: Kind,
  digest: Digest,
  bundle: Bundle,
  payload: Uint8Array | undefined,
  { trustedRoot, key, annotations, layout }: SignImageOptions,
): Promise<void> {
  if (trustedRoot === undefined) return;
  const candidate = await judge(
    { layout, manifest: digest, bundle, ...(payload !== undefined && { payload }) },
    kind,
    digest,
    {
      trustedRoot,
      policy: key
        ? { kind: 'key', publicKey: key.publicKey }
        : { kind: 'identity', san: () => true, issuer: () => true },
      ...(kind === 'signature' && annotations && { annotations }),
    },
  );
  if (candidate.state === 'accepted') return;
  const cure = candidate.state === 'rejected' ? candidate.cure : undefined;
  throw new ImageError(
    'IMAGE_SELF_CHECK',
    `Cannot store the signature of ${digest}, which does not verify: ${candidate.reason}`,
    {
      cure: cure ?? 'Check that the trusted root belongs to these services',
    },
  );
}
