import {
  cleanImage,
  copyImage,
  loadImage,
  saveImage,
  type AttachmentKind,
  type CleanType,
  type CopyResult,
} from '#libs/image';
import { openLayout } from '#libs/oci';
import type { Terminal } from './config.js';
import { CliError, exitCodes, type ExitCode } from './exit.js';
import { pinned, resolveImage, wanted, withImages, type OpenImage, type RegistryFlags } from './image-registry.js';
import { columns, jsonText, printable, style } from './style.js';

export interface CopyCommandOptions extends RegistryFlags {
  platform?: string;
  only?: AttachmentKind[];
  json?: boolean;
}

export interface FolderOptions extends RegistryFlags {
  dir: string;
  json?: boolean;
}

export interface CleanOptions extends RegistryFlags {
  type: CleanType;
  force?: boolean;
  json?: boolean;
}

/** `image copy` */
export async function copy(
  terminal: Terminal,
  from: string,
  to: string,
  options: CopyCommandOptions,
): Promise<ExitCode> {
  return withImages(terminal, [from, to], options, async (source, target) => {
    if (source === undefined || target === undefined) throw new Error('no image was opened');
    if (target.reference.digest !== undefined) {
      throw new CliError('usage', 'Cannot copy to a digest: the destination has a tag, or only a repository');
    }
    const { digest } = await resolveImage(source);
    const tag = target.reference.tag ?? source.reference.tag;
    const result = await copyImage(source.store, target.store, digest, {
      ...(tag !== undefined && { tag }),
      ...(options.platform !== undefined && { platform: options.platform }),
      ...(options.only && { only: options.only }),
      ...(source.reference.registry === target.reference.registry && { mountFrom: source.reference.repository }),
      signatures: source.signatures,
    });
    report(terminal, 'Copied', pinned(target.reference, result.descriptor.digest), result, options.json);
    return exitCodes.ok;
  });
}

/** `image save` */
export async function save(terminal: Terminal, text: string, options: FolderOptions): Promise<ExitCode> {
  return withImages(terminal, [text], options, async (image) => {
    const { store, reference } = opened(image);
    const { digest } = await resolveImage(opened(image));
    const layout = await openLayout(options.dir, { create: true });
    const { tag } = reference;
    const { signatures } = opened(image);
    const result = await saveImage(store, layout, digest, { signatures, ...(tag !== undefined && { tag }) });
    report(terminal, 'Saved', `${options.dir}@${digest}`, result, options.json);
    return exitCodes.ok;
  });
}

/** `image load` */
export async function load(terminal: Terminal, text: string, options: FolderOptions): Promise<ExitCode> {
  return withImages(terminal, [text], options, async (image) => {
    const { store, reference } = opened(image);
    const layout = await openLayout(options.dir);
    const { digest, tag } = reference;
    const result = await loadImage(layout, store, {
      ...(digest === undefined ? { tag: wanted(reference) } : { expected: digest, ...(tag !== undefined && { tag }) }),
    });
    report(terminal, 'Loaded', pinned(reference, result.descriptor.digest), result, options.json);
    return exitCodes.ok;
  });
}

/** `image clean` */
export async function clean(terminal: Terminal, text: string, options: CleanOptions): Promise<ExitCode> {
  return withImages(terminal, [text], options, async (image) => {
    const { digest } = await resolveImage(opened(image));
    await confirm(
      terminal,
      `Remove ${options.type === 'all' ? 'everything' : `every ${options.type}`} attached to ${opened(image).name}? [y/N] `,
      options,
    );
    const removed = await cleanImage(opened(image).signatures, digest, options.type);
    if (options.json === true) terminal.out(jsonText({ ok: true, digest, removed }));
    else {
      terminal.out(
        `${style(terminal.colours.out).good('Cleaned:')} ${printable(pinned(opened(image).reference, digest))}\n`,
      );
      terminal.out(columns(Object.entries(removed).map(([kind, digests]) => [kind, String(digests.length)] as const)));
    }
    return exitCodes.ok;
  });
}

async function confirm(terminal: Terminal, question: string, { force }: CleanOptions): Promise<void> {
  if (force === true) return;
  if (terminal.ask === undefined) {
    throw new CliError('usage', 'Cannot remove anything: there is nobody to ask', { cure: 'Give --force' });
  }
  if (!/^y(es)?$/i.test((await terminal.ask(printable(question))).trim())) {
    throw new CliError('usage', 'Removed nothing: it was not confirmed');
  }
}

function opened(image: OpenImage | undefined): OpenImage {
  if (image === undefined) throw new Error('no image was opened');
  return image;
}

function report(terminal: Terminal, done: string, name: string, result: CopyResult, json: boolean | undefined): void {
  const { descriptor, manifests, blobs, bytes, present, attached } = result;
  if (json === true) {
    terminal.out(
      jsonText({ ok: true, image: name, digest: descriptor.digest, manifests, blobs, bytes, present, attached }),
    );
    return;
  }
  terminal.out(`${style(terminal.colours.out).good(`${done}:`)} ${printable(name)}\n`);
  terminal.out(
    columns([
      ['manifests', String(manifests)],
      ['blobs', `${blobs} copied (${bytes} bytes), ${present} were there`],
      ['signatures', String(attached.signature)],
      ['attestations', String(attached.attestation)],
      ['SBOMs', String(attached.sbom)],
      ['other referrers', String(attached.referrer)],
    ]),
  );
}
