import { quoted, SimpleSigningError } from './error.js';
import { type Fields, openFields } from './json.js';
import type { JsonValue } from '#libs/encoding';
import {
  formatImageName,
  type ImageIdentity,
  type ImageName,
  isHost,
  parseImageName,
  repositoryName,
} from './reference.js';

/** Which name a signature must be for, given the name of the image that is asked about. @see containers-policy.json(5), `signedIdentity` */
export type SignedIdentity =
  | { readonly type: 'matchExact' }
  | { readonly type: 'matchRepoDigestOrExact' }
  | { readonly type: 'matchRepository' }
  | { readonly type: 'exactReference'; readonly dockerReference: string }
  | { readonly type: 'exactRepository'; readonly dockerRepository: string }
  | { readonly type: 'remapIdentity'; readonly prefix: string; readonly signedPrefix: string };

const code = 'SIMPLE_POLICY';

/**
 * Reads a `signedIdentity`; the default is `matchRepoDigestOrExact`.
 * @throws SimpleSigningError `SIMPLE_POLICY`
 */
export function readSignedIdentity(value: JsonValue | undefined, what: string): SignedIdentity {
  if (value === undefined) return { type: 'matchRepoDigestOrExact' };
  const type = openFields(value, { code, what, known: 'any' }).requiredText('type');
  const open = (...known: string[]) => openFields(value, { code, what, known: ['type', ...known] });
  switch (type) {
    case 'matchExact':
    case 'matchRepoDigestOrExact':
    case 'matchRepository':
      open();
      return { type };
    case 'exactReference': {
      const dockerReference = nameIn(open('dockerReference'), 'dockerReference', 'image');
      return { type, dockerReference };
    }
    case 'exactRepository': {
      const dockerRepository = nameIn(open('dockerRepository'), 'dockerRepository', 'repository');
      return { type, dockerRepository };
    }
    case 'remapIdentity': {
      const fields = open('prefix', 'signedPrefix');
      return { type, prefix: prefixIn(fields, 'prefix'), signedPrefix: prefixIn(fields, 'signedPrefix') };
    }
    default:
      throw new SimpleSigningError(code, `Cannot read ${what}: its type ${quoted(type)} is unknown`);
  }
}

function nameIn(fields: Fields, field: string, kind: 'image' | 'repository'): string {
  const text = fields.requiredText(field);
  let name: ImageName;
  try {
    name = parseImageName(text);
  } catch (cause) {
    if (!(cause instanceof SimpleSigningError)) throw cause;
    throw fields.fault(field, `is no name of an ${kind === 'image' ? 'image' : 'image repository'}: ${quoted(text)}`);
  }
  if (kind === 'image' && isNameOnly(name)) throw fields.fault(field, 'has neither tag nor digest');
  return text;
}

/** A host, or a host and the beginning of a path, in the expanded form. */
function prefixIn(fields: Fields, field: string): string {
  const text = fields.requiredText(field);
  if (isHost(text)) return text;
  try {
    const name = parseImageName(text);
    if (isNameOnly(name) && repositoryName(name) === text) return text;
  } catch (error) {
    if (!(error instanceof SimpleSigningError)) throw error;
  }
  throw fields.fault(field, `is no prefix of expanded names: ${quoted(text)}`);
}

/**
 * Whether a signature for the name `signed` is one for `image`. Names are compared in the expanded form; what is no name fits nothing.
 * @see containers/image: signature/policy_reference_match.go
 */
export function matchesIdentity(identity: SignedIdentity, image: ImageIdentity, signed: string): boolean {
  const name = parseOrUndefined(signed);
  if (name === undefined) return false;
  switch (identity.type) {
    case 'matchExact':
      return matchesExactly(image, name);
    case 'matchRepoDigestOrExact':
      return matchesDigestOrExactly(image, name);
    case 'matchRepository':
      return repositoryName(image) === repositoryName(name);
    case 'exactReference': {
      const asked = parseOrUndefined(identity.dockerReference);
      return asked !== undefined && matchesExactly(asked, name);
    }
    case 'exactRepository': {
      const asked = parseOrUndefined(identity.dockerRepository);
      return asked !== undefined && repositoryName(asked) === repositoryName(name);
    }
    case 'remapIdentity': {
      const asked = remap(identity, image);
      return asked !== undefined && matchesDigestOrExactly(asked, name);
    }
  }
}

/** What a signature would have to be for, in words. */
export function describeIdentity(identity: SignedIdentity, image: ImageIdentity): string {
  switch (identity.type) {
    case 'matchExact':
      return `exactly ${formatImageName(image)}`;
    case 'matchRepoDigestOrExact':
      return describeName(image);
    case 'matchRepository':
      return `any image of ${repositoryName(image)}`;
    case 'exactReference':
      return `exactly ${formatImageName(parseImageName(identity.dockerReference))}`;
    case 'exactRepository':
      return `any image of ${repositoryName(parseImageName(identity.dockerRepository))}`;
    case 'remapIdentity': {
      const asked = remap(identity, image);
      return asked === undefined ? `a name that ${quoted(identity.signedPrefix)} makes malformed` : describeName(asked);
    }
  }
}

function describeName(image: ImageName): string {
  return image.tag === undefined
    ? `any tag or digest of ${repositoryName(image)}`
    : `exactly ${formatImageName(image)}`;
}

function matchesExactly(asked: ImageName, signed: ImageName): boolean {
  return !isNameOnly(asked) && !isNameOnly(signed) && formatImageName(asked) === formatImageName(signed);
}

/** By tag: exactly. By digest: in this repository; that the digest is the one signed is checked beside this. */
function matchesDigestOrExactly(asked: ImageName, signed: ImageName): boolean {
  if (isNameOnly(asked) || isNameOnly(signed)) return false;
  if (asked.tag !== undefined) return formatImageName(asked) === formatImageName(signed);
  return repositoryName(asked) === repositoryName(signed);
}

/** The name with the prefix replaced; unchanged if it has another, undefined if the result is no name in the expanded form. */
function remap(
  { prefix, signedPrefix }: { prefix: string; signedPrefix: string },
  image: ImageIdentity,
): ImageName | undefined {
  const repository = repositoryName(image);
  if (repository !== prefix && !repository.startsWith(`${prefix}/`)) return image;
  const text = signedPrefix + formatImageName(image).slice(prefix.length);
  const name = parseOrUndefined(text);
  return name !== undefined && formatImageName(name) === text ? name : undefined;
}

function isNameOnly(name: ImageName): boolean {
  return name.tag === undefined && name.digest === undefined;
}

function parseOrUndefined(text: string): ImageName | undefined {
  try {
    return parseImageName(text);
  } catch (error) {
    if (error instanceof SimpleSigningError) return undefined;
    throw error;
  }
}
