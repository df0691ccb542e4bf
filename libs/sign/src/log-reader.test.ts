import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { encodeUtf8 } from '#libs/encoding';
import { leafHash, verifyInclusion } from '#libs/merkle';
import { sha256 } from '#libs/openssl';
import { createWorld, type World } from '../testing/world.js';
import { SignError } from './index.js';
import { createLogReader, readCheckpoint, type LogReader } from './log-reader.js';

let world: World;
let reader: LogReader;

beforeEach(() => {
  world = createWorld();
  reader = createLogReader({
    url: `${world.baseUrl}/`,
    trustedRoot: world.trustedRoot,
    nowMs: world.now(),
    http: { fetch: world.fetch, sleep: async () => undefined },
  });
});

const grow = (count: number) => {
  for (let i = 0; i < count; i++) world.append(encodeUtf8(`entry ${world.entries.length}`));
};
const failureOf = async (work: Promise<unknown>): Promise<SignError> => {
  const error: unknown = await work.catch((thrown: unknown) => thrown);
  if (!(error instanceof SignError)) throw new Error(`not a SignError: ${String(error)}`);
  return error;
};

describe('createLogReader()', () => {
  it('reads the head and who signed it', async () => {
    grow(3);
    const head = await reader.readHead();
    expect(head).toMatchObject({ origin: 'sign.example', size: 3n });
    expect(head.signedBy).toBe(world.trustedRoot.tlogs[0]);
  });

  it.each([1, 2, 255, 256, 257, 600])('proves every kind of entry of a log of size %d', async (size) => {
    grow(size);
    const head = await reader.readHead();
    for (const index of new Set([0, Math.floor(size / 2), size - 1])) {
      const { body, hashes } = await reader.proveEntry(BigInt(index), head);
      expect(body).toEqual(world.entries[index]);
      const claim = { index: BigInt(index), size: head.size, leafHash: leafHash(sha256, body), proof: hashes };
      expect(() => verifyInclusion(sha256, { ...claim, root: head.rootHash })).not.toThrow();
    }
  });

  it('takes the full tile when the partial one is gone', async () => {
    grow(100);
    const old = await reader.readHead();
    grow(200);
    world.before = ({ path }) => (path.includes('.p/') ? new Response('', { status: 404 }) : undefined);
    expect((await reader.proveEntry(7n, old)).body).toEqual(encodeUtf8('entry 7'));
  });

  it('refuses an index beyond the tree', async () => {
    grow(3);
    expect((await failureOf(reader.proveEntry(3n, await reader.readHead()))).code).toBe('SIGN_LOG_PROOF');
  });

  it('refuses an entry that the log exchanged', async () => {
    grow(3);
    world.entries[1] = encodeUtf8('another');
    expect(await failureOf(reader.proveEntry(1n, await reader.readHead()))).toMatchObject({ code: 'SIGN_LOG_PROOF' });
  });

  it.each([
    ['tile/0/000.p/3', 1n],
    ['tile/entries/000.p/3', 0n],
  ])('refuses a wrong %s', async (path, index) => {
    grow(3);
    const head = await reader.readHead();
    world.after = async (call, response) => {
      if (call.path !== `/api/v2/${path}`) return response;
      const bytes = new Uint8Array(await response.arrayBuffer());
      bytes[2] = (bytes[2] ?? 0) ^ 1;
      return new Response(bytes);
    };
    expect((await failureOf(reader.proveEntry(index, head))).code).toBe('SIGN_LOG_PROOF');
    world.after = (call, response) => (call.path === `/api/v2/${path}` ? new Response('short') : response);
    expect((await failureOf(reader.proveEntry(index, head))).code).toBe('SIGN_LOG_PROOF');
  });
});

describe('readCheckpoint()', () => {
  const trust = () => ({ trustedRoot: world.trustedRoot, nowMs: world.now() });

  it('refuses the checkpoint of another log, also one of the same name', async () => {
    grow(1);
    expect((await failureOf(readCheckpoint(createWorld({ host: 'other.example' }).checkpoint(), trust()))).code).toBe(
      'SIGN_LOG_CHECKPOINT',
    );
    expect((await failureOf(readCheckpoint(createWorld().checkpoint(), trust()))).code).toBe('SIGN_LOG_CHECKPOINT');
  });

  it('refuses a log outside its validity', async () => {
    expect((await failureOf(readCheckpoint(world.checkpoint(), { ...trust(), nowMs: 0 }))).code).toBe(
      'SIGN_LOG_CHECKPOINT',
    );
  });

  it('reads without a trusted root, and says that nobody is known to have signed', async () => {
    const { signedBy } = await readCheckpoint(createWorld().checkpoint(), { nowMs: 0 });
    expect(signedBy).toBeUndefined();
  });

  it('returns or throws its own error for any text', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string(), fc.uint8Array()), async (note) => {
        await readCheckpoint(note, trust()).catch((error: unknown) => expect(error).toBeInstanceOf(SignError));
      }),
    );
  });
});
