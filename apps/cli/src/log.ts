import { encodeBase64, encodeHex, parseJson } from '#libs/encoding';
import { createLogReader, readCheckpoint, type LogHead, type LogReader, type LogTrust } from '#libs/sign';
import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { readInput } from './files.js';
import { columns, jsonText, printable, style } from './style.js';
import { readTrustedRoot } from './trust-files.js';

export interface LogOptions {
  url: string;
  trustedRoot?: string;
  json?: boolean;
}

const MAX_CHECKPOINT_BYTES = 64 * 1024;

/** `log checkpoint`: the note on stdout, so that it can be kept and compared later. */
export async function showCheckpoint(terminal: Terminal, options: LogOptions): Promise<ExitCode> {
  const { reader } = await openLog(terminal, options);
  const head = await reader.readHead();
  if (options.json) terminal.out(jsonText({ ok: true, ...headJson(head) }));
  else {
    terminal.out(head.note);
    explain(terminal, head, []);
  }
  return exitCodes.ok;
}

/** `log entry`: the entry's body on stdout, after its proof was verified. */
export async function showEntry(terminal: Terminal, index: bigint, options: LogOptions): Promise<ExitCode> {
  const { reader } = await openLog(terminal, options);
  const head = await reader.readHead();
  const { body, leafHash, hashes } = await reader.proveEntry(index, head);
  if (options.json) {
    terminal.out(
      jsonText({ ok: true, ...proofJson(index, head, leafHash, hashes), canonicalizedBody: encodeBase64(body) }),
    );
    return exitCodes.ok;
  }
  terminal.out(bodyText(body));
  explain(terminal, head, [
    ['entry', `${index}, proven to be in the tree of that size`],
    ['leaf hash', encodeHex(leafHash)],
  ]);
  return exitCodes.ok;
}

/** `log prove`: a proof that can be verified without the log. @see C2SP tlog-proof */
export async function showProof(terminal: Terminal, index: bigint, options: LogOptions): Promise<ExitCode> {
  const { reader } = await openLog(terminal, options);
  const head = await reader.readHead();
  const { leafHash, hashes } = await reader.proveEntry(index, head);
  if (options.json) {
    terminal.out(jsonText({ ok: true, ...proofJson(index, head, leafHash, hashes) }));
    return exitCodes.ok;
  }
  terminal.out(
    `c2sp.org/tlog-proof@v1\nindex ${index}\n${hashes.map((hash) => `${encodeBase64(hash)}\n`).join('')}\n${head.note}`,
  );
  explain(terminal, head, [
    ['entry', `${index}, proven by ${hashes.length} hashes`],
    ['leaf hash', encodeHex(leafHash)],
  ]);
  return exitCodes.ok;
}

/** `log consistency`: the log of today contains the log of then. Both checkpoints are verified alike. */
export async function showConsistency(terminal: Terminal, options: LogOptions & { old: string }): Promise<ExitCode> {
  const { reader, trust } = await openLog(terminal, options);
  const older = await readCheckpoint(await readInput(options.old, 'the older checkpoint', MAX_CHECKPOINT_BYTES), trust);
  const newer = await reader.readHead();
  const hashes = await reader.proveConsistency(older, newer);
  if (options.json) {
    terminal.out(
      jsonText({
        ok: true,
        old: headJson(older),
        new: headJson(newer),
        hashes: hashes.map((hash) => encodeBase64(hash)),
      }),
    );
    return exitCodes.ok;
  }
  const grown = newer.size - older.size;
  terminal.out(
    `The log ${printable(newer.origin)} has kept its first ${older.size} entries${grown === 0n ? ' and has no new ones' : `; ${grown} came after them`}.\n`,
  );
  explain(terminal, newer, [
    ['older size', older.size.toString()],
    ['older root', encodeHex(older.rootHash)],
    ['proof', `${hashes.length} hashes`],
  ]);
  return exitCodes.ok;
}

async function openLog(terminal: Terminal, options: LogOptions): Promise<{ reader: LogReader; trust: LogTrust }> {
  const trust: LogTrust = {
    nowMs: terminal.now(),
    ...(options.trustedRoot !== undefined && { trustedRoot: await readTrustedRoot(options.trustedRoot) }),
  };
  return { reader: createLogReader({ ...trust, url: options.url, http: { fetch: terminal.fetch } }), trust };
}

/** What was found, on stderr: stdout has the result alone. */
function explain(terminal: Terminal, head: LogHead, facts: readonly (readonly [string, string])[]): void {
  const paint = style(terminal.colours.err);
  terminal.err(
    columns([
      ['log', printable(head.origin)],
      ['size', head.size.toString()],
      ['root', encodeHex(head.rootHash)],
      ...facts,
      [
        'signature',
        head.signedBy === undefined
          ? paint.warn('not verified: give --trusted-root to know that the log itself signed this')
          : paint.good('verified with the trusted root'),
      ],
    ]),
  );
}

/** As JSON with indentation if it is JSON, which is what these logs contain. */
function bodyText(body: Uint8Array): string {
  try {
    return jsonText(parseJson(body, { bigIntegers: true }));
  } catch {
    return `${encodeBase64(body)}\n`; // still the entry, in a form that any terminal survives
  }
}

function headJson(head: LogHead): object {
  return {
    origin: head.origin,
    treeSize: head.size,
    rootHash: encodeBase64(head.rootHash),
    signatureVerified: head.signedBy !== undefined,
    checkpoint: head.note,
  };
}

function proofJson(index: bigint, head: LogHead, leafHash: Uint8Array, hashes: Uint8Array[]): object {
  return {
    logIndex: index,
    leafHash: encodeBase64(leafHash),
    hashes: hashes.map((hash) => encodeBase64(hash)),
    ...headJson(head),
  };
}
