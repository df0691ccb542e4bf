import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './fill.js';
import { measureFloors } from './floor.js';
import { startIssuers } from './issuers.js';
import { load } from './load.js';
import { certificateRequests } from './requests.js';
import { atLeast, middle, record, say } from './rows.js';
import { startServer } from './server.js';

const rounds = 5;

/**
 * Certificates per second by kind of issuer, all kinds in turns, beside the floor; and each beside the e-mail kind of the same round, which is what a kind
 * costs. Returns the folder of the instance. `count`: requests of one turn.
 */
export async function measureKinds({ connections, count }: { connections: number; count: number }): Promise<string> {
  const issuers = await startIssuers();
  const folder = await mkdtemp(join(tmpdir(), 'chancery-bench-'));
  const config = join(folder, 'issuers.json');
  await writeFile(config, issuers.config);
  const port = await freePort();
  const environment = { CHANCERY_OIDC_CONFIG: config, CHANCERY_OIDC_PRIVATE: '127.0.0.1' };
  const server = await startServer({ port, folder: join(folder, 'data'), environment });
  try {
    const measured = new Map(issuers.kinds.map((kind) => [kind, [] as { rate: number; floor: number }[]]));
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      say(`certificates by kind of issuer, round ${round} of ${rounds}`);
      for (const [kind, turns] of measured) {
        const requests = certificateRequests(count, await issuers.tokenOf(kind));
        const floor = measureFloors(0.1).certificate;
        const result = await load({ port, connections, requests });
        const bad = Object.keys(result.statuses).filter((status) => status !== '200');
        if (bad.length > 0) throw new Error(`${kind}: unexpected answers ${JSON.stringify(result.statuses)}`);
        if (round > 0) turns.push({ rate: result.rate, floor });
      }
    }
    const email = measured.get('email') ?? [];
    for (const [kind, turns] of measured) {
      const { rate, floor } = middle(turns, (turn) => turn.rate / turn.floor);
      record({
        name: `certificates, ${kind}`,
        value: rate,
        unit: '1/s',
        floor,
        ratio: rate / floor,
        target: '',
        met: true,
      });
      if (kind === 'email') continue;
      const shares = turns.map((turn, at) => turn.rate / (email[at]?.rate ?? Number.NaN));
      atLeast(
        `certificates, ${kind}, of the e-mail rate`,
        middle(shares, (share) => share),
        '',
        0.8,
      );
    }
  } finally {
    await server.stop();
    await issuers.stop();
  }
  return folder;
}
