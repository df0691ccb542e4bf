import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { emptyConfig, mediaTypes, openRegistry, parseReference, type Descriptor } from '#libs/oci';
import { encodeUtf8 } from '#libs/encoding';
import { createWorld, type World } from '../../../libs/sign/testing/world.js';
import { hasDockerRegistry, startDockerRegistry, startTestRegistry } from '../../../test/world/registry.js';
import type { Terminal } from './config.js';
import { run } from './program.js';

if (!hasDockerRegistry) console.warn('docker-registry is not installed: trusted tags are not tested with it');

const registries = [
  ['a registry with the referrers API', () => startTestRegistry(), true],
  ["Debian's docker-registry, without it", () => startDockerRegistry(), hasDockerRegistry],
] as const;

describe.each(registries)('chancery tag, with %s', (_, start, isThere) => {
  describe.skipIf(!isThere)('', () => {
    let registry: Awaited<ReturnType<typeof start>>;
    let world: World;
    let folder: string;
    let out: string;
    let err: string;
    let image: string;
    let count = 0;
    const at = (name: string) => join(folder, name);
    let env: Record<string, string>;

    beforeAll(async () => {
      registry = await start();
    });
    afterAll(() => registry.close());
    beforeEach(async () => {
      world = createWorld();
      folder = await mkdtemp(join(tmpdir(), 'chancery-tag-'));
      env = { XDG_STATE_HOME: at('state'), COSIGN_PASSWORD: '', HOME: folder };
      image = `${registry.host}/ns/app${count++}`;
      expect(await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder)).toBe(0);
    });
    afterEach(() => rm(folder, { recursive: true }));

    const chancery = (...argv: string[]) => {
      out = '';
      err = '';
      const terminal: Terminal = {
        out: (text) => void (out += text),
        err: (text) => void (err += text),
        colours: { out: false, err: false },
        columns: undefined,
        env,
        fetch: world.fetch,
        now: world.now,
      };
      return run(argv, terminal);
    };
    const push = async (tag: string, content: string): Promise<Descriptor> => {
      const store = openRegistry({ repository: parseReference(image) });
      try {
        await store.putBlob(emptyConfig.bytes);
        const config = { mediaType: mediaTypes.empty, digest: emptyConfig.descriptor.digest, size: 2 };
        const manifest = {
          schemaVersion: 2,
          mediaType: mediaTypes.ociManifest,
          config,
          layers: [],
          annotations: { content },
        };
        return (await store.putManifest(encodeUtf8(JSON.stringify(manifest)), mediaTypes.ociManifest, tag)).descriptor;
      } finally {
        await store.close();
      }
    };
    const root = () => ['--trusted-root', at('trusted_root.json')];
    const alice = [
      '--certificate-identity',
      'alice@example.com',
      '--certificate-oidc-issuer',
      'http://sign.example/oidc',
    ];
    const publish = (name: string, ...more: string[]) =>
      chancery(
        'tag',
        'publish',
        name,
        '--url',
        world.baseUrl,
        ...root(),
        ...alice,
        '--identity-token',
        world.token(),
        ...more,
      );
    const verify = (name: string, ...more: string[]) => chancery('tag', 'verify', name, ...root(), ...alice, ...more);
    const json = () => JSON.parse(out) as Record<string, any>; // eslint-disable-line @typescript-eslint/no-explicit-any

    it('publishes, verifies, and prints what to pull', async () => {
      const { digest } = await push('1.4', 'one');
      expect(await publish(`${image}:1.4@${digest}`)).toBe(1);
      expect(err).toContain('--init');
      expect(await publish(`${image}:1.4@${digest}`, '--init')).toBe(0);
      expect(out).toContain('Published:');
      expect(await verify(`${image}:1.4`)).toBe(0);
      expect(out).toContain('Verified:');
      expect(err).toBe('');
      expect(await verify(`${image}:1.4`, '-q')).toBe(0);
      expect(out).toBe(`${image}@${digest}\n`);
      expect(await verify(`${image}:1.4@${digest}`, '-q')).toBe(0);
      expect(await verify(`${image}:1.4@sha256:${'7'.repeat(64)}`, '-q')).toBe(1);
      expect(out).toBe('');
    });

    it('is not moved by the tag of the registry', async () => {
      const { digest } = await push('1.4', 'one');
      await publish(`${image}:1.4`, '--init');
      expect(err).toContain('the registry says');
      await push('1.4', 'evil');
      expect(await verify(`${image}:1.4`, '--quiet')).toBe(0);
      expect(out).toBe(`${image}@${digest}\n`);
    });

    it('says on first use that it is one, and can refuse it', async () => {
      await push('1.4', 'one');
      await publish(`${image}:1.4`, '--init');
      env = { ...env, XDG_STATE_HOME: at('fresh') };
      expect(await verify(`${image}:1.4`, '--no-first-use')).toBe(1);
      expect(await verify(`${image}:1.4`)).toBe(0);
      expect(err).toContain('first use');
      expect(await verify(`${image}:1.4`, '--no-first-use')).toBe(0);
      expect(await verify(`${image}:1.4`, '--no-state')).toBe(0);
      expect(await chancery('tag', 'forget', image)).toBe(0);
      expect(out).toContain('Forgotten');
      expect(await verify(`${image}:1.4`, '--no-first-use', '--json')).toBe(1);
      expect(json()['error']).toMatchObject({ code: 'TAGS_FIRST_USE', check: 'first-use' });
    });

    it('revokes, publishes again, and shows the history', async () => {
      await push('1.4', 'one');
      await publish(`${image}:1.4`, '--init');
      const signing = ['--url', world.baseUrl, ...root(), ...alice, '--identity-token', world.token()];
      expect(await chancery('tag', 'revoke', `${image}:1.4`, '--reason', 'it eats data', ...signing)).toBe(0);
      expect(await verify(`${image}:1.4`, '-q')).toBe(1);
      expect(out).toBe('');
      expect(err).toContain('it eats data');
      await push('1.4', 'two');
      expect(await publish(`${image}:1.4`)).toBe(0);
      expect(await chancery('tag', 'history', `${image}:1.4`, ...root(), ...alice, '--json')).toBe(0);
      expect(json()).toMatchObject({ ok: true, gaps: [], snapshots: 3 });
      expect(
        (json()['entries'] as { entry: { version: number; state: string } }[]).map(({ entry }) => [
          entry.version,
          entry.state,
        ]),
      ).toEqual([
        [3, 'current'],
        [2, 'revoked'],
        [1, 'current'],
      ]);
      expect(await chancery('tag', 'history', `${image}:1.4`, ...root(), ...alice)).toBe(0);
      expect(out).toContain('3 versions in 3 snapshots');
    });

    it('refreshes what is about to be too old', async () => {
      await push('1.4', 'one');
      await publish(`${image}:1.4`, '--init', '--snapshot-valid-for', '1d');
      world.clock.nowMs += 2 * 86_400_000;
      expect(await verify(`${image}:1.4`)).toBe(1);
      expect(out).toContain('NOT VERIFIED');
      const signing = ['--url', world.baseUrl, ...root(), ...alice, '--identity-token', world.token()];
      expect(await chancery('tag', 'refresh', image, ...signing)).toBe(0);
      expect(await verify(`${image}:1.4`)).toBe(0);
    });

    it('signs with a key file, and several tags at once', async () => {
      await push('1.4', 'one');
      await push('latest', 'one');
      expect(await chancery('generate-key-pair', '-o', at('release'))).toBe(0);
      const names = [`${image}:1.4`, `${image}:latest`];
      expect(
        await chancery(
          'tag',
          'publish',
          ...names,
          '--init',
          '--key',
          at('release.key'),
          '--url',
          world.baseUrl,
          ...root(),
        ),
      ).toBe(0);
      expect(await chancery('tag', 'verify', ...names, ...root(), '--key', at('release.pub'), '-q')).toBe(0);
      expect(out.trim().split('\n')).toHaveLength(2);
      expect(await verify(`${image}:1.4`)).toBe(1);
      expect(out).toContain('not that of a signer here');
    });

    it('keeps a policy with two signers: the tag waits for the second', async () => {
      const { digest } = await push('v1', 'one');
      await writeFile(
        at('tags.yaml'),
        `format: chancery-tag-policy/v1
signers:
  alice: { identity: alice@example.com, issuer: http://sign.example/oidc }
  bob: { identity: bob@example.com, issuer: http://sign.example/oidc }
repositories:
  - repository: ${registry.host}/ns/*
    snapshot: { signers: [alice, bob], maxAge: 14d }
    tags:
      - { match: 'v*', signers: [alice, bob], threshold: 2 }
      - { match: '*', signers: [alice] }
`,
      );
      const policy = ['--policy', at('tags.yaml'), ...root()];
      const as = (email: string) => [...policy, '--url', world.baseUrl, '--identity-token', world.token({ email })];
      expect(await chancery('tag', 'publish', `${image}:v1@${digest}`, '--init', ...as('alice@example.com'))).toBe(0);
      expect(out).toContain('Waiting:');
      expect(await chancery('tag', 'verify', `${image}:v1`, ...policy)).toBe(1);
      expect(await chancery('tag', 'publish', `${image}:dev@${digest}`, '--init', ...as('alice@example.com'))).toBe(0);
      expect(await chancery('tag', 'pending', image, ...policy)).toBe(0);
      expect(out).toContain(`${image}:v1@${digest}`);
      expect(await chancery('tag', 'cosign', `${image}:v1`, ...as('bob@example.com'))).toBe(2);
      expect(await chancery('tag', 'cosign', `${image}:v1@${digest}`, ...as('alice@example.com'))).toBe(1);
      expect(await chancery('tag', 'cosign', `${image}:v1@${digest}`, ...as('bob@example.com'))).toBe(0);
      expect(await chancery('tag', 'verify', `${image}:v1`, ...policy)).toBe(0);
      expect(out).toMatch(/alice: alice@example\.com[^]*bob: bob@example\.com/);
      expect(await chancery('tag', 'pending', image, ...policy, '--json')).toBe(0);
      expect(json()['pending']).toEqual([]);
      // Beside a policy nothing else says who may sign.
      for (const more of [
        ['--key', at('k.pub')],
        ['--certificate-oidc-issuer', 'https://a.example'],
        ['--max-age', '1d'],
      ]) {
        expect(await chancery('tag', 'verify', `${image}:v1`, ...policy, ...more)).toBe(2);
      }
      // To revoke takes two as well, and the second says that this is what it means.
      expect(await chancery('tag', 'revoke', `${image}:v1`, ...as('alice@example.com'))).toBe(0);
      expect(out).toContain(`chancery tag cosign --revoke ${image}:v1@${digest}`);
      expect(await chancery('tag', 'cosign', `${image}:v1@${digest}`, ...as('bob@example.com'))).toBe(2);
      expect(await chancery('tag', 'cosign', '--revoke', `${image}:v1@${digest}`, ...as('bob@example.com'))).toBe(0);
      expect(await chancery('tag', 'verify', `${image}:v1`, ...policy)).toBe(1);
      // Somebody whom the policy does not name publishes nothing.
      expect(await chancery('tag', 'publish', `${image}:v2@${digest}`, ...as('eve@example.com'))).toBe(1);
      expect(err).toContain('would not count');
    });

    it('two publishers at once: both survive', async () => {
      const [one, two] = [await push('one', '1'), await push('two', '2')];
      await publish(`${image}:one@${one.digest}`, '--init');
      const states = ['a', 'b', 'c'];
      const codes = await Promise.all(
        states.map((name) => {
          const terminal: Terminal = {
            ...{ out: () => undefined, err: () => undefined, colours: { out: false, err: false }, columns: undefined },
            ...{ env: { XDG_STATE_HOME: at(name) }, fetch: world.fetch, now: world.now },
          };
          const args = ['--url', world.baseUrl, ...root(), ...alice, '--identity-token', world.token()];
          return run(['tag', 'publish', `${image}:${name}@${two.digest}`, ...args], terminal);
        }),
      );
      expect(codes).toEqual([0, 0, 0]);
      for (const name of ['one', ...states]) expect(await verify(`${image}:${name}`, '-q')).toBe(0);
    });

    it('of a copy is verified as what it is a copy of', async () => {
      await push('1.4', 'one');
      await publish(`${image}:1.4`, '--init', '--signed-repository', 'registry.example.com/ns/app');
      expect(await verify(`${image}:1.4`)).toBe(1);
      expect(await verify(`${image}:1.4`, '--signed-repository', 'registry.example.com/ns/app')).toBe(0);
    });

    it("remembers in a file that is only its owner's, and says when it is broken", async () => {
      await push('1.4', 'one');
      await publish(`${image}:1.4`, '--init', '--state', at('memory'));
      const [name = ''] = await readdir(at('memory'));
      expect(name).toMatch(/^[0-9a-f]{64}\.json$/);
      expect(await readFile(at(`memory/${name}`), 'utf8')).toContain(image);
      await writeFile(at(`memory/${name}`), '{}');
      expect(await verify(`${image}:1.4`, '--state', at('memory'))).toBe(3);
    });
  });
});

describe('chancery tag', () => {
  const terminal: Terminal = {
    ...{ out: () => undefined, err: () => undefined, colours: { out: false, err: false }, columns: undefined },
    ...{ env: {}, fetch, now: Date.now },
  };
  const image = 'registry.example.com/app:1';
  it.each([
    [['verify', image]],
    [['verify', '--trusted-root', 'x']],
    [['publish', image]],
    [['publish', image, '--url', 'http://a']],
    [['publish', image, '--url', 'http://a', '--valid-for', 'long', '--key', 'k']],
    [['publish', 'registry.example.com/app', '--url', 'http://a', '--key', 'k']],
    [['publish', image, 'registry.example.com/other:1', '--url', 'http://a', '--key', 'k']],
    [['refresh', image, '--url', 'http://a', '--key', 'k']],
    [['history', image, '--limit', '0', '--trusted-root', 'x']],
    [['forget', image]],
  ])('exits with 2 for %j', async (argv) => {
    expect(await run(['tag', ...argv], terminal)).toBe(2);
  });

  it.each(['publish', 'verify', 'history', 'revoke', 'refresh', 'cosign', 'pending', 'forget', 'import-notary'])(
    'explains %s with examples',
    async (command) => {
      let out = '';
      expect(await run(['tag', command, '--help'], { ...terminal, out: (text) => void (out += text) })).toBe(0);
      expect(out).toContain('Examples:');
    },
  );
});
