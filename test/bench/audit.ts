import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { benchEmail } from './fill.js';
import { measureRate } from './floor.js';
import { load, wireGet } from './load.js';
import { chancery } from './process.js';
import { rekor1Requests } from './requests.js';
import { atLeast, below, note, say } from './rows.js';
import type { Server } from './server.js';

/** As large as a v1 entry with a certificate. */
const entryBytes = 1900;
/** Entries written, and searches made, each second. */
const pace = { entries: 500, searches: 25 };

/**
 * What an auditor does with a full v1 tree: search while others write, copy, check, scan; and the operator, rebuild the search index. Stops the server.
 * Returns a folder to remove.
 */
export async function measureAudit(options: { server: Server; folder: string; seconds: number }): Promise<string> {
  const { server, folder, seconds } = options;
  const scratch = await mkdtemp(join(tmpdir(), 'chancery-bench-audit-'));
  const mirror = join(scratch, 'mirror');

  say(`search by e-mail, while ${pace.entries} entries a second are written`);
  const time = Math.max(8, seconds);
  const entries = await rekor1Requests(Math.round(pace.entries * (time + 1)));
  const asked = Array.from({ length: Math.round(pace.searches * time) }, (_, n) =>
    wireGet(`/api/search?email=${benchEmail(n * 7)}`),
  );
  const writing = load({ port: server.port, connections: 32, requests: entries, pace: pace.entries });
  const searches = await load({ port: server.port, connections: 4, requests: asked, pace: pace.searches });
  expectAll('search', searches.statuses, 200);
  const written = await writing;
  expectAll('append', written.statuses, 201);
  note('entries written beside the search', written.rate, '1/s');
  note('search by e-mail p50', searches.p50, 'ms');
  below('search by e-mail p95', searches.p95, 'ms', 50);

  // What no check of a log can do without: one hash for each leaf, and one for each node above.
  const leaf = randomBytes(entryBytes);
  const node = randomBytes(65);
  const hash = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();
  const floor = measureRate(() => {
    hash(leaf);
    hash(node);
  });
  note('floor: SHA-256 of an entry and a node', floor, '1/s');

  say('mirror, over HTTP');
  const log = ['--url', server.url, '--log', 'v1'];
  const copied = chancery(['log', 'mirror', ...log, '--to', mirror, '--json']);
  const { treeSize } = JSON.parse(copied.out) as { treeSize: string };
  const size = Number(treeSize);
  note('mirror, whole process', size / copied.seconds, '1/s');

  say('fsck, from local tiles');
  const checked = chancery(['log', 'fsck', '--tiles', mirror, '--json']);
  atLeast('fsck, whole process', size / checked.seconds, '1/s', 100_000, floor);

  say('scan for an identity, from local tiles');
  const scanned = chancery(['log', 'search', '--scan', '--tiles', mirror, '--email', benchEmail(1), '--json']);
  atLeast('scan for an identity, whole process', size / scanned.seconds, '1/s', 20_000, floor);

  await server.stop();
  say('rebuilding the search index');
  const reindexed = chancery(['log', 'reindex', '--data', folder, '--json']);
  atLeast('reindex, whole process', size / reindexed.seconds, '1/s', 5_000);
  return scratch;
}

function expectAll(what: string, statuses: Readonly<Record<number, number>>, expected: number): void {
  const bad = Object.keys(statuses).filter((status) => Number(status) !== expected);
  if (bad.length > 0) throw new Error(`${what}: unexpected answers ${JSON.stringify(statuses)}`);
}
