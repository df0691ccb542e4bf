import { execFileSync } from 'node:child_process';
import { createPrivateKey, createPublicKey } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeBase64, encodeUtf8 } from '#libs/encoding';
import { opensslCrypto } from '#libs/openssl';
import { parseCertificatePem } from '#libs/x509';
import {
  draftRepository,
  keyOf,
  keysOf,
  makeKey,
  NOW_MS,
  serve,
  signRole,
  TARGET,
  type Draft,
  type WriterKey,
} from '../testing/notary-writer.js';
import { NotaryError, readNotaryRepository, type NotaryErrorCode, type NotaryPin } from './index.js';

const GUN = 'registry.example.com/ns/app';
const pinOf = (...keys: WriterKey[]): NotaryPin => ({ kind: 'hash', sha256: keys.map(({ id }) => id) });
const read = (draft: Draft, options: { pin?: NotaryPin; nowMs?: number; seen?: Map<string, number> } = {}) =>
  readNotaryRepository({
    gun: GUN,
    source: serve(draft),
    pin: options.pin ?? pinOf(...draft.root.keys),
    crypto: opensslCrypto,
    nowMs: options.nowMs ?? NOW_MS,
    ...(options.seen !== undefined && { seen: options.seen }),
  });
const refusal = async (reading: Promise<unknown>) => {
  const error: unknown = await reading.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error === undefined) return undefined;
  if (!(error instanceof NotaryError)) throw new Error('not its own error', { cause: error });
  return [error.code, error.role];
};

describe('readNotaryRepository()', () => {
  it('reads what each role says, and what Docker makes of it', async () => {
    const { tags, roles, targets, root } = await read(draftRepository());
    expect(tags.map(({ tag, role, signers }) => [tag, role, signers])).toEqual([
      ['latest', 'targets/releases', []],
      ['v1', 'targets', []],
      ['v2', 'targets/releases', ['alice']],
    ]);
    expect(tags[1]).toMatchObject({ digest: `sha256:${'01'.repeat(32)}`, size: 528 });
    expect(targets).toHaveLength(5);
    expect(roles.map(({ name }) => name)).toEqual([
      'root',
      'timestamp',
      'snapshot',
      'targets',
      'targets/releases',
      'targets/alice',
    ]);
    expect(roles[0]).toMatchObject({ version: 1, threshold: 1, expires: new Date('2029-06-01T00:00:00.123Z') });
    expect(root).toMatchObject({ version: 1, from: 1 });
  });

  it.each(['ecdsa', 'ed25519', 'rsa'] as const)('takes a root key of kind %s', async (kind) => {
    expect((await read(draftRepository([makeKey(kind)]))).tags).toHaveLength(3);
  });

  const roleNames = ['root', 'timestamp', 'snapshot', 'targets', 'targets/releases'] as const;
  const roleIn = (draft: Draft, name: (typeof roleNames)[number]) =>
    name === 'targets/releases' ? (draft.delegations[name] as Draft['root']) : draft[name];

  it.each(roleNames)('refuses a bad signature on %s', async (name) => {
    const draft = draftRepository();
    roleIn(draft, name).after = (file) => {
      const sig = Buffer.from(String(file.signatures[0]?.['sig']), 'base64');
      sig[5] = (sig[5] ?? 0) ^ 1;
      Object.assign(file.signatures[0] ?? {}, { sig: sig.toString('base64') });
    };
    expect(await refusal(read(draft))).toEqual(['NOTARY_SIGNATURE', name]);
  });

  it.each(roleNames)('refuses %s changed after it was signed', async (name) => {
    const draft = draftRepository();
    roleIn(draft, name).after = ({ signed }) => void (signed['version'] = 7);
    expect(await refusal(read(draft))).toEqual(['NOTARY_SIGNATURE', name]);
  });

  it.each(roleNames)('refuses %s signed by a key of another role', async (name) => {
    const draft = draftRepository();
    roleIn(draft, name).keys = name === 'root' ? draft.targets.keys : draft.root.keys;
    expect(await refusal(read(draft, { pin: { kind: 'first-use' } }))).toEqual(['NOTARY_SIGNATURE', name]);
  });

  it.each(roleNames)('refuses %s after its end', async (name) => {
    const draft = draftRepository();
    roleIn(draft, name).signed['expires'] = '2026-05-31T23:59:59Z';
    expect(await refusal(read(draft))).toEqual(['NOTARY_EXPIRED', name]);
  });

  it.each(roleNames)('refuses a version of %s that is older than one seen before', async (name) => {
    expect(await refusal(read(draftRepository(), { seen: new Map([[name, 2]]) }))).toEqual(['NOTARY_VERSION', name]);
    expect(await refusal(read(draftRepository(), { seen: new Map([[name, 1]]) }))).toBeUndefined();
  });

  it.each(['snapshot', 'targets', 'targets/releases'] as const)(
    'refuses %s of another time, well signed',
    async (name) => {
      const draft = draftRepository();
      const other = structuredClone(roleIn(draft, name).signed);
      other['version'] = 2;
      if (name === 'snapshot') other['meta'] = {};
      draft.served.set(name, signRole({ signed: other, keys: roleIn(draft, name).keys }));
      expect(await refusal(read(draft))).toEqual(['NOTARY_HASH', name]);
    },
  );

  it('refuses a root that is not the one of the snapshot', async () => {
    const draft = draftRepository();
    const newer = { signed: { ...draft.root.signed, version: 2 }, keys: draft.root.keys };
    draft.served.set('root', signRole(newer));
    expect(await refusal(read(draft))).toEqual(['NOTARY_HASH', 'root']);
  });

  it.each(['sha256', 'sha512', 'length'] as const)(
    'refuses a role whose %s is not that of the snapshot',
    async (name) => {
      const draft = draftRepository();
      draft.changeMeta = ({ targets }) => {
        if (targets === undefined) throw new Error('it has targets');
        if (name === 'length') targets.length += 1;
        else targets.hashes[name] = encodeBase64(new Uint8Array(name === 'sha256' ? 32 : 64));
      };
      // A hash of nothing is not found, others are.
      expect((await refusal(read(draft)))?.[0]).toBe(name === 'sha256' ? 'NOTARY_NOT_FOUND' : 'NOTARY_HASH');
    },
  );

  it('reads tens of thousands of tags in seconds', async () => {
    const draft = draftRepository();
    const targets = Object.fromEntries(Array.from({ length: 60_000 }, (_, i) => [`v${i}`, TARGET(i & 0xff)]));
    Object.assign(draft.targets.signed, { targets });
    Object.assign(draft.delegations['targets/releases']?.signed ?? {}, { targets });
    const begun = performance.now();
    expect((await read(draft)).tags).toHaveLength(60_000);
    // Looking for each among all took more than a minute.
    expect(performance.now() - begun).toBeLessThan(30_000);
  }, 60_000);

  it('counts keys, not signatures: twice the same is one', async () => {
    const [one, two] = [makeKey(), makeKey()];
    const draft = draftRepository([one, two]);
    Object.assign((draft.root.signed['roles'] as { root: object }).root, { threshold: 2 });
    expect(await refusal(read(draft))).toBeUndefined();
    draft.root.keys = [one, one];
    expect(await refusal(read(draft, { pin: pinOf(one) }))).toEqual(['NOTARY_SIGNATURE', 'root']);
    draft.root.keys = [one];
    expect(await refusal(read(draft, { pin: pinOf(one) }))).toEqual(['NOTARY_SIGNATURE', 'root']);
  });

  it.each([
    ['a threshold of 0', (root: { threshold: number }) => void (root.threshold = 0)],
    ['a negative threshold', (root: { threshold: number }) => void (root.threshold = -1)],
    ['no keys', (root: { keyids: string[] }) => void (root.keyids = [])],
    ['a key twice', (root: { keyids: string[] }) => void root.keyids.push(root.keyids[0] ?? '')],
    ['an unknown key', (root: { keyids: string[] }) => void root.keyids.push('00')],
  ] as const)('refuses a role with %s', async (_, change) => {
    const draft = draftRepository();
    change((draft.root.signed['roles'] as { targets: never }).targets);
    expect(await refusal(read(draft))).toEqual(['NOTARY_FORMAT', 'targets']);
  });

  it('refuses a key under an id that is not its own', async () => {
    const draft = draftRepository();
    Object.assign(draft.root.signed['keys'] as object, { ['0'.repeat(64)]: makeKey().json });
    expect(await refusal(read(draft))).toEqual(['NOTARY_FORMAT', 'root']);
  });

  it.each([
    ['a type without its capital', { _type: 'targets' }],
    ['the type of another role', { _type: 'Snapshot' }],
    ['version 0', { version: 0 }],
    ['a version as text', { version: '1' }],
    ['a fraction as version', { version: 1.5 }],
    ['no expiry', { expires: undefined }],
    ['an expiry that is none', { expires: '2026-02-30T00:00:00Z' }],
    ['no targets', { targets: undefined }],
    ['a target without a hash', { targets: { v1: { hashes: {}, length: 1 } } }],
    ['a target with a hash in hex', { targets: { v1: { hashes: { sha256: 'ab'.repeat(32) }, length: 1 } } }],
  ])('refuses targets with %s', async (_, change) => {
    const draft = draftRepository();
    Object.assign(draft.targets.signed, change);
    expect(await refusal(read(draft))).toEqual(['NOTARY_FORMAT', 'targets']);
  });

  it('given any file for a role, returns or throws its own error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('root', 'timestamp'), fc.json(), async (name, text) => {
        const draft = draftRepository();
        draft.served.set(name, encodeUtf8(text));
        expect((await refusal(read(draft)))?.[0]).toMatch(/^NOTARY_/);
      }),
      { numRuns: 30 },
    );
  });

  it.each(['timestamp', 'snapshot', 'targets', 'targets/releases'])('says which role is missing: %s', async (name) => {
    const source = serve(draftRepository());
    for (const file of [...source.files.keys()])
      if (file === name || file.startsWith(`${name}.`)) source.files.delete(file);
    const pin: NotaryPin = { kind: 'first-use' };
    const reading = readNotaryRepository({ gun: GUN, source, pin, crypto: opensslCrypto, nowMs: NOW_MS });
    expect(await refusal(reading)).toEqual(['NOTARY_NOT_FOUND', name]);
  });
});

describe('delegations', () => {
  type Delegations = { keys: object; roles: { name: string; paths?: string[]; keyids: string[] }[] };
  const delegationsOf = (draft: Draft) => draft.targets.signed['delegations'] as Delegations;

  it('may speak about what their paths begin with, and nothing else', async () => {
    const draft = draftRepository();
    const alice = draft.delegations['targets/alice'];
    Object.assign(alice?.signed ?? {}, { targets: { latest: TARGET(3) } });
    expect(await refusal(read(draft))).toEqual(['NOTARY_DELEGATION', 'targets/alice']);
  });

  it.each(['targets', 'targets/a/b', 'other/a', 'targets/../root', 'targets/A', 'root', ''])(
    'may not be called %j',
    async (name) => {
      const draft = draftRepository();
      Object.assign(delegationsOf(draft).roles[1] ?? {}, { name });
      expect((await refusal(read(draft)))?.[0]).toBe('NOTARY_FORMAT');
    },
  );

  it('may delegate below themselves, within their own paths', async () => {
    const draft = draftRepository();
    const key = makeKey();
    const alice = draft.delegations['targets/alice'];
    Object.assign(alice?.signed ?? {}, {
      delegations: {
        keys: keysOf([key]),
        roles: [{ name: 'targets/alice/ci', paths: ['v2', 'latest'], keyids: [key.id], threshold: 1 }],
      },
    });
    const signed = {
      _type: 'Targets',
      version: 1,
      expires: '2029-01-01T00:00:00Z',
      targets: { v2: TARGET(2) },
      delegations: {},
    };
    draft.delegations['targets/alice/ci'] = {
      keys: [key],
      signed: { ...signed, delegations: { keys: {}, roles: [] } },
    };
    expect((await read(draft)).tags.find(({ tag }) => tag === 'v2')?.signers).toEqual(['alice', 'alice/ci']);
    Object.assign(draft.delegations['targets/alice/ci']?.signed ?? {}, { targets: { latest: TARGET(2) } });
    expect(await refusal(read(draft))).toEqual(['NOTARY_DELEGATION', 'targets/alice/ci']);
  });

  it('that have signed nothing yet say nothing', async () => {
    const draft = draftRepository();
    delete draft.delegations['targets/alice'];
    expect((await read(draft)).tags.find(({ tag }) => tag === 'v2')?.signers).toEqual([]);
  });

  it('that nobody made are refused', async () => {
    const draft = draftRepository();
    delegationsOf(draft).roles.pop();
    expect(await refusal(read(draft))).toEqual(['NOTARY_DELEGATION', 'snapshot']);
  });
});

describe('the pin', () => {
  const codeWith = async (draft: Draft, pin: NotaryPin): Promise<NotaryErrorCode | undefined> =>
    (await refusal(read(draft, { pin })))?.[0] as NotaryErrorCode | undefined;

  it('of another key is refused', async () => {
    expect(await codeWith(draftRepository(), pinOf(makeKey()))).toBe('NOTARY_PIN');
  });

  it('is not met by a root that lists the pinned key and is signed by another', async () => {
    const [honest, evil] = [makeKey(), makeKey()];
    const draft = draftRepository([honest, evil]);
    draft.root.keys = [evil];
    expect(await codeWith(draft, pinOf(evil))).toBeUndefined();
    expect(await codeWith(draft, pinOf(honest))).toBe('NOTARY_PIN');
  });

  it('of an older root leads to the newest, if each signed the next', async () => {
    const [first, second] = [makeKey(), makeKey()];
    const old = draftRepository([first]);
    const draft = draftRepository([second]);
    draft.root.signed['version'] = 2;
    // The new root is signed by both, and lists the old key for nothing.
    Object.assign(draft.root.signed['keys'] as object, keysOf([first]));
    draft.root.keys = [second, first];
    const oldBytes = signRole(old.root);
    draft.olderRoots.set(1, oldBytes);
    expect((await read(draft, { pin: pinOf(first) })).root).toMatchObject({ version: 2, from: 1 });
    expect((await read(draft, { pin: { kind: 'root', bytes: oldBytes } })).root.from).toBe(1);

    draft.root.keys = [second];
    expect(await codeWith(draft, pinOf(first))).toBe('NOTARY_ROTATION');
  });

  it('of an older root is refused where a version in between is missing or another', async () => {
    const [first, second] = [makeKey(), makeKey()];
    const draft = draftRepository([second]);
    draft.root.signed['version'] = 3;
    expect(await codeWith(draft, pinOf(first))).toBe('NOTARY_PIN');
    draft.olderRoots.set(2, signRole(draftRepository([first]).root));
    expect(await codeWith(draft, pinOf(first))).toBe('NOTARY_VERSION');
  });

  it('of a root file is that very file', async () => {
    const draft = draftRepository();
    expect(await codeWith(draft, { kind: 'root', bytes: encodeUtf8('{}') })).toBe('NOTARY_PIN');
  });

  describe('of a certificate', () => {
    /** A CA, and a root key with a certificate of it for the name. */
    const withCertificate = (name: string, days = 36_500) => {
      const folder = mkdtempSync(join(tmpdir(), 'notary-'));
      const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
      try {
        const ca = ['-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=Some CA', '-days', '36500'];
        openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', ...ca);
        openssl(
          'req',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:P-256',
          '-nodes',
          '-keyout',
          'key',
          '-out',
          'csr',
          '-subj',
          `/CN=${name.replaceAll('/', '\\/')}`,
        );
        openssl(
          'x509',
          '-req',
          '-in',
          'csr',
          '-CA',
          'ca.pem',
          '-CAkey',
          'ca.key',
          '-CAcreateserial',
          '-out',
          'leaf.pem',
          '-days',
          String(days),
          '-extfile',
          writeExtensions(folder),
        );
        const pem = readFileSync(join(folder, 'leaf.pem'), 'utf8');
        const [leaf] = parseCertificatePem(pem);
        const [authority] = parseCertificatePem(readFileSync(join(folder, 'ca.pem'), 'utf8'));
        if (leaf === undefined || authority === undefined) throw new Error('openssl made none');
        const key = keyOf(
          'ecdsa-x509',
          encodeBase64(encodeUtf8(pem)),
          createPrivateKey(readFileSync(join(folder, 'key'))),
        );
        expect(createPublicKey(pem).asymmetricKeyType).toBe('ec');
        return { key, leaf: leaf.der, authority: authority.der };
      } finally {
        rmSync(folder, { recursive: true });
      }
    };
    const writeExtensions = (folder: string) => {
      writeFileSync(join(folder, 'extensions'), 'basicConstraints=critical,CA:FALSE\n');
      return 'extensions';
    };
    const nowMs = Date.now() + 86_400_000;

    it('holds for itself, its hash, its key id and its authority', async () => {
      const { key, leaf, authority } = withCertificate(GUN);
      const draft = draftRepository([key]);
      const pins: NotaryPin[] = [
        { kind: 'certificate', certificates: [leaf] },
        { kind: 'hash', sha256: [Buffer.from(opensslCrypto.hash('sha256', leaf)).toString('hex')] },
        pinOf(key),
        { kind: 'ca', certificates: [authority] },
      ];
      for (const pin of pins) expect((await read(draft, { pin, nowMs })).root.pinned.name).toBe(GUN);
      const other = withCertificate(GUN);
      expect(await refusal(read(draft, { pin: { kind: 'ca', certificates: [other.authority] }, nowMs }))).toEqual([
        'NOTARY_PIN',
        'root',
      ]);
      expect(await refusal(read(draft, { pin: { kind: 'certificate', certificates: [other.leaf] }, nowMs }))).toEqual([
        'NOTARY_PIN',
        'root',
      ]);
    });

    it('for another repository is refused, whatever it is pinned by', async () => {
      const { key, authority } = withCertificate('registry.example.com/ns/other');
      const draft = draftRepository([key]);
      for (const pin of [pinOf(key), { kind: 'ca', certificates: [authority] }, { kind: 'first-use' }] as NotaryPin[]) {
        expect(await refusal(read(draft, { pin, nowMs }))).toEqual(['NOTARY_PIN', 'root']);
      }
    });

    it('is not met by one that is listed beside the key that signed', async () => {
      const { key } = withCertificate(GUN);
      const evil = makeKey();
      const draft = draftRepository([key, evil]);
      const first: NotaryPin = { kind: 'first-use' };
      expect(await refusal(read(draft, { pin: first, nowMs }))).toBeUndefined();
      draft.root.keys = [evil];
      expect(await refusal(read(draft, { pin: first, nowMs }))).toEqual(['NOTARY_SIGNATURE', 'root']);
      // Nor by one that has ended beside one that has not.
      const ended = withCertificate(GUN, 30);
      const mixed = draftRepository([key, ended.key]);
      const later = Date.now() + 40 * 86_400_000;
      mixed.root.keys = [ended.key];
      expect(await refusal(read(mixed, { pin: first, nowMs: later }))).toEqual(['NOTARY_SIGNATURE', 'root']);
    });

    it('that has ended is refused', async () => {
      const { key } = withCertificate(GUN, 30);
      const draft = draftRepository([key]);
      const later = Date.now() + 40 * 86_400_000;
      expect(await refusal(read(draft, { pin: pinOf(key), nowMs: later }))).toEqual(['NOTARY_EXPIRED', 'root']);
    });
  });
});
