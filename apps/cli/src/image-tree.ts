import { listArtifacts, type Artifact } from '#libs/image';
import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { pinned, resolveImage, withImages, type RegistryFlags } from './image-registry.js';
import { jsonText, printable, style } from './style.js';

export interface TreeOptions extends RegistryFlags {
  json?: boolean;
}

/** `image tree`: lists, and verifies nothing. */
export async function showTree(terminal: Terminal, text: string, options: TreeOptions): Promise<ExitCode> {
  return withImages(terminal, [text], options, async (image) => {
    if (image === undefined) throw new Error('no image was opened');
    const { digest } = await resolveImage(image);
    const artifacts = await listArtifacts(image.signatures, digest);
    const name = pinned(image.reference, digest);
    if (options.json === true) {
      terminal.out(jsonText({ ok: true, image: name, digest, artifacts }));
      return exitCodes.ok;
    }
    terminal.out(`${printable(name)}\n`);
    if (artifacts.length === 0) terminal.out('nothing is attached to it\n');
    printBranches(terminal, artifacts, '');
    terminal.out(style(terminal.colours.out).faint('Listed, not verified: see `chancery image verify`.\n'));
    return exitCodes.ok;
  });
}

function printBranches(terminal: Terminal, artifacts: readonly Artifact[], indent: string): void {
  artifacts.forEach((artifact, at) => {
    const isLast = at === artifacts.length - 1;
    const { kind, digest, tag, predicateType, artifactType, layers, attached } = artifact;
    const what = predicateType ?? (tag === undefined ? artifactType : `${layers.length} under the tag ${tag}`) ?? '';
    terminal.out(`${indent}${isLast ? '└─' : '├─'} ${kind} ${digest} ${printable(what)}\n`);
    printBranches(terminal, attached, `${indent}${isLast ? '   ' : '│  '}`);
  });
}
