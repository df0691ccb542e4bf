import { encodeBundle } from '#libs/bundle';
import { encodeUtf8, parseJson, type JsonValue } from '#libs/encoding';
import {
  attestImage,
  layerOfBundle,
  predicateTypeUri,
  signImage,
  type Attested,
  type Layout,
  type SignedImage,
  type SignImageOptions,
} from '#libs/image';
import { repositoryOf, type Descriptor } from '#libs/oci';
import { parseCertificate, subjectAltNames } from '#libs/x509';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { readInput, writeAtomically } from './files.js';
import { pinned, resolveImage, withImages, type OpenImage, type RegistryFlags } from './image-registry.js';
import { readSigningKey } from './key-load.js';
import { checkSigningUsage, prepare, type SigningOptions } from './sign.js';
import { columns, jsonText, printable, style } from './style.js';

export interface SignImagesOptions extends SigningOptions, RegistryFlags {
  layout: Layout;
  annotations?: Record<string, string>;
  recursive?: boolean;
  upload: boolean;
  bundle?: string;
  json?: boolean;
}

export interface AttestOptions extends Omit<SignImagesOptions, 'annotations'> {
  predicate?: string;
  statement?: string;
  type: string;
}

const MAX_PREDICATE_BYTES = 16 * 1024 * 1024;

/** `image sign`: each image's digest is read once, and that digest is signed. */
export async function signImages(terminal: Terminal, images: string[], options: SignImagesOptions): Promise<ExitCode> {
  return signEach(terminal, images, options, (image, target, setup) =>
    signImage(image.store, target, { ...setup, ...(options.annotations && { annotations: options.annotations }) }),
  );
}

/** `image attest` */
export async function attestImages(terminal: Terminal, images: string[], options: AttestOptions): Promise<ExitCode> {
  const attested = await readAttested(terminal, options);
  return signEach(terminal, images, options, (image, target, setup) =>
    attestImage(image.store, target, { ...setup, ...attested }),
  );
}

type SignOne = (image: OpenImage, target: Descriptor, setup: SignImageOptions) => Promise<SignedImage[]>;

async function signEach(
  terminal: Terminal,
  texts: readonly string[],
  options: Omit<SignImagesOptions, 'annotations'>,
  sign: SignOne,
): Promise<ExitCode> {
  checkSigningUsage(options);
  if (!options.upload && options.bundle === undefined) {
    throw new CliError('usage', 'Cannot sign with --no-upload alone: the signature would go nowhere', {
      cure: 'Give --bundle to write it to a file',
    });
  }
  const { layout, recursive = false, upload } = options;
  const results = await withImages(terminal, texts, options, async (...images) => {
    // Every image before any signing: a wrong name costs no certificate.
    const targets: Descriptor[] = [];
    for (const image of images) targets.push(await resolveAndSay(terminal, image));
    const key = options.key === undefined ? undefined : await readSigningKey(terminal, options.key);
    // The legacy layout holds a promise of the log, which only version 1 gives.
    const setup = await prepare(terminal, options, key, layout === 'legacy' ? 1 : undefined);
    const done: { image: OpenImage; signed: SignedImage }[] = [];
    for (const [at, image] of images.entries()) {
      const target = targets[at] as Descriptor; // one for each image
      const all = await sign(image, target, {
        ...setup,
        layout,
        recursive,
        upload,
        repository: repositoryOf(image.reference, { hub: 'index.docker.io' }),
        signatures: image.signatures,
      });
      for (const signed of all) {
        done.push({ image, signed });
        if (options.json !== true) printSigned(terminal, image, signed);
      }
    }
    return done;
  });
  if (options.bundle !== undefined)
    await writeBundles(
      options.bundle,
      results.map(({ signed }) => signed),
    );
  if (options.json === true) {
    terminal.out(jsonText({ ok: true, signed: results.map(({ image, signed }) => signedJson(image, signed)) }));
  }
  return exitCodes.ok;
}

async function resolveAndSay(terminal: Terminal, image: OpenImage): Promise<Descriptor> {
  const target = await resolveImage(image);
  if (image.reference.digest === undefined) {
    const paint = style(terminal.colours.err);
    terminal.err(
      `${paint.warn('note:')} ${image.name} is ${target.digest} now, and that is what is signed: a tag may mean something else by the time you read this.\n`,
    );
  }
  return target;
}

/** One a line, so that several can share the file. */
async function writeBundles(path: string, signed: readonly SignedImage[]): Promise<void> {
  const lines = signed.map(({ bundle, layout }) => {
    if (layout === 'bundle') return encodeBundle(bundle);
    const { annotations } = layerOfBundle(bundle, { bytes: encodeUtf8(''), chain: [] });
    return JSON.stringify(annotations);
  });
  await writeAtomically(path, `${lines.join('\n')}\n`);
}

async function readAttested(terminal: Terminal, { predicate, statement, type }: AttestOptions): Promise<Attested> {
  if ((predicate === undefined) === (statement === undefined)) {
    throw new CliError('usage', 'Cannot attest: give either --predicate with --type, or --statement');
  }
  if (statement !== undefined) {
    return { statement: await readInput(statement, 'the statement', MAX_PREDICATE_BYTES) };
  }
  const bytes =
    predicate === '-'
      ? await readStandardInput()
      : await readInput(predicate ?? '', 'the predicate', MAX_PREDICATE_BYTES);
  const predicateType = predicateTypeUri(type);
  const text = Buffer.from(bytes).toString('utf8');
  // cosign's own type wraps whatever it is given.
  if (type === 'custom') {
    const Timestamp = new Date(terminal.now()).toISOString().replace(/\.\d+Z$/, 'Z');
    return { predicateType, predicate: { Data: text, Timestamp } };
  }
  // SPDX has a form that is no JSON.
  if (type === 'spdx' && !text.trimStart().startsWith('{')) return { predicateType, predicate: text };
  return { predicateType, predicate: parsePredicate(bytes) };
}

function parsePredicate(bytes: Uint8Array): JsonValue {
  try {
    return parseJson(bytes, { bigIntegers: true });
  } catch (cause) {
    throw new CliError('unreadable', 'Cannot read the predicate: it is not JSON, or says something twice', { cause });
  }
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer);
    size += (chunk as Buffer).length;
    if (size > MAX_PREDICATE_BYTES) {
      throw new CliError('unreadable', `Cannot read the predicate: more than ${MAX_PREDICATE_BYTES} bytes`);
    }
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Who the bundle says signed; our verifier agreed, if there was a trusted root. */
function signerOf({ bundle: { material } }: SignedImage): string {
  const der = material.kind === 'certificate' ? material.certificates[0] : undefined;
  if (der === undefined) return 'the given key';
  const [name] = subjectAltNames(parseCertificate(der));
  return name?.value ?? 'unknown';
}

function printSigned(terminal: Terminal, image: OpenImage, signed: SignedImage): void {
  const { target, layout, manifest, checked, bundle } = signed;
  terminal.out(`${style(terminal.colours.out).good('Signed:')} ${printable(pinned(image.reference, target.digest))}\n`);
  terminal.out(
    columns([
      ['signer', printable(signerOf(signed))],
      ['layout', layout],
      ...(manifest === undefined ? [] : ([['stored', manifest]] as const)),
      ...bundle.tlogEntries.map(({ logIndex }) => ['log index', logIndex.toString()] as const),
      ['checked', checked ? 'the signature verifies' : 'no: there was no trusted root'],
    ]),
  );
}

function signedJson(image: OpenImage, signed: SignedImage): object {
  const { target, layout, manifest, checked, bundle } = signed;
  return {
    image: pinned(image.reference, target.digest),
    digest: target.digest,
    signer: signerOf(signed),
    layout,
    ...(manifest !== undefined && { stored: manifest }),
    selfChecked: checked,
    logIndexes: bundle.tlogEntries.map(({ logIndex }) => logIndex),
  };
}
