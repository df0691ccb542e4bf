import { encodeBase64, encodeHex, encodePem } from '#libs/encoding';
import { claimedSigner, VerifiedTree, type Layout, type LogHead, type ProvenEntry } from '#libs/audit';
import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { openLog, type LogOptions, type OpenLog } from './log-open.js';
import { bodyText, explain, headJson, headRows, signatureRow } from './log-text.js';
import { columns, jsonText, printable } from './style.js';

/** `log checkpoint`: the note on stdout, so that it can be kept and compared later. */
export async function showCheckpoint(terminal: Terminal, options: LogOptions): Promise<ExitCode> {
  const log = await openLog(terminal, options);
  const head = await log.readHead();
  if (options.json) terminal.out(jsonText({ ok: true, ...headJson(head) }));
  else {
    terminal.out(head.note);
    explain(terminal, head, []);
  }
  return exitCodes.ok;
}

/** `log info`: what can be said about a log from its newest checkpoint. */
export async function showInfo(terminal: Terminal, options: LogOptions): Promise<ExitCode> {
  const log = await openLog(terminal, options);
  const head = await log.readHead();
  const { name, keyId } = claimedSigner(head.note);
  const layout = log.source === undefined ? 'rekor-v1-api' : await log.layoutOf(head.size);
  const shards = log.rekor === undefined ? [] : (await log.rekor.readNotes()).slice(1);
  if (options.json) {
    terminal.out(
      jsonText({
        ok: true,
        location: log.location,
        layout,
        ...headJson(head),
        signer: { name, keyId },
        verifierKey: head.signedBy?.verifierKey ?? null,
        inactiveShards: shards,
      }),
    );
    return exitCodes.ok;
  }
  terminal.out(
    columns([
      ['location', printable(log.location)],
      ['layout', layout],
      ...headRows(head),
      ['signed by', printable(`${name}+${keyId}`)],
      ...(head.signedBy === undefined ? [] : [['key', head.signedBy.verifierKey] as const]),
      signatureRow(head, terminal.colours.out),
      ...head.extensions.map((line) => ['extension', printable(line)] as const),
      ...shards.map((note) => ['earlier shard', printable(note.split('\n', 2).join(', size '))] as const),
    ]),
  );
  return exitCodes.ok;
}

/** `log get`: the entry on stdout, after its proof was verified. */
export async function showEntry(terminal: Terminal, index: bigint, options: LogOptions): Promise<ExitCode> {
  const { head, layout, proven, indexInTree } = await proveEntry(await openLog(terminal, options), index);
  const { record, leafHash } = proven;
  if (options.json) {
    const content =
      layout === 'static-ct' ? { tileLeaf: encodeBase64(record) } : { canonicalizedBody: encodeBase64(record) };
    terminal.out(jsonText({ ok: true, ...proofJson(index, indexInTree, head, proven), ...content }));
    return exitCodes.ok;
  }
  const described = layout === 'static-ct' ? await describeCertificate(record) : { text: bodyText(record), facts: [] };
  terminal.out(described.text);
  explain(terminal, head, [
    ['entry', `${index}, proven to be in the tree of that size`],
    ['leaf hash', encodeHex(leafHash)],
    ...described.facts,
  ]);
  return exitCodes.ok;
}

/** `log prove`: a proof that can be verified without the log. @see C2SP tlog-proof */
export async function showProof(terminal: Terminal, index: bigint, options: LogOptions): Promise<ExitCode> {
  const { head, proven, indexInTree } = await proveEntry(await openLog(terminal, options), index);
  if (options.json) {
    terminal.out(jsonText({ ok: true, ...proofJson(index, indexInTree, head, proven) }));
    return exitCodes.ok;
  }
  const lines = proven.hashes.map((hash) => `${encodeBase64(hash)}\n`).join('');
  terminal.out(`c2sp.org/tlog-proof@v1\nindex ${indexInTree}\n${lines}\n${head.note}`);
  explain(terminal, head, [
    ['entry', `${index}, proven by ${proven.hashes.length} hashes`],
    ['leaf hash', encodeHex(proven.leafHash)],
  ]);
  return exitCodes.ok;
}

async function proveEntry(
  log: OpenLog,
  index: bigint,
): Promise<{ head: LogHead; layout: Layout; proven: ProvenEntry; indexInTree: bigint }> {
  if (log.rekor !== undefined) {
    const { head, indexInTree, ...proven } = await log.rekor.proveEntry(index, log.trust);
    return { head, layout: 'tlog-tiles', proven, indexInTree };
  }
  if (log.source === undefined) throw new Error('a log has neither tiles nor an API');
  const head = await log.readHead();
  const layout = await log.layoutOf(head.size);
  const proven = await new VerifiedTree([log.source], head).proveEntry(layout, index);
  return { head, layout, proven, indexInTree: index };
}

/** An entry of a CT log: the certificate as PEM, and who it is for. */
async function describeCertificate(
  record: Uint8Array,
): Promise<{ text: string; facts: (readonly [string, string])[] }> {
  const [{ ctFacts }, { parseTileLeaf }] = await Promise.all([import('#libs/search'), import('#libs/x509')]);
  const { entry, precertificate } = parseTileLeaf(record);
  const facts = ctFacts(record);
  const der = entry.kind === 'x509' ? entry.certificate : (precertificate ?? new Uint8Array());
  return {
    text: encodePem('CERTIFICATE', der),
    facts: [
      ['kind', facts.kind],
      ['time', new Date(Number(facts.timestampMs)).toISOString()],
      ...facts.identities.map(({ value }) => ['identity', printable(value)] as const),
      ...(facts.issuer === undefined ? [] : [['issuer', printable(facts.issuer)] as const]),
    ],
  };
}

function proofJson(index: bigint, indexInTree: bigint, head: LogHead, { leafHash, hashes }: ProvenEntry): object {
  return {
    logIndex: index,
    ...(index !== indexInTree && { indexInTree }),
    leafHash: encodeBase64(leafHash),
    hashes: hashes.map((hash) => encodeBase64(hash)),
    ...headJson(head),
  };
}
