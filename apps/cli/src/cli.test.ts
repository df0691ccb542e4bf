import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createWorld, jsonResponse, type World } from '../../../libs/sign/testing/world.js';
import type { Terminal } from './config.js';
import { run } from './program.js';
import { runConformance } from './protocol.js';

let world: World;
let folder: string;
let terminal: Terminal;
let out: string;
let err: string;
const at = (name: string) => join(folder, name);

beforeEach(async () => {
  world = createWorld();
  folder = await mkdtemp(join(tmpdir(), 'chancery-cli-'));
  out = '';
  err = '';
  terminal = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    colours: { out: false, err: false },
    columns: undefined,
    env: {},
    fetch: world.fetch,
    now: world.now,
  };
  await writeFile(at('file'), 'some file');
});
afterEach(() => rm(folder, { recursive: true }));

const chancery = (...argv: string[]) => {
  out = '';
  err = '';
  return run(argv, terminal);
};
const sign = (...more: string[]) =>
  chancery('sign', at('file'), '--url', world.baseUrl, '--identity-token', world.token(), ...more);
/** A signed file with its trusted root beside it. */
const signed = async () => {
  expect(await sign()).toBe(0);
  expect(await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder)).toBe(0);
};
const verify = (...more: string[]) =>
  chancery('verify', at('file'), '--trusted-root', at('trusted_root.json'), ...more);
const identity = [
  '--certificate-identity',
  'alice@example.com',
  '--certificate-oidc-issuer',
  'http://sign.example/oidc',
];
const json = () => JSON.parse(out) as Record<string, unknown>;

describe('chancery', () => {
  it('explains itself, with the exit codes, and every command with examples', async () => {
    expect(await chancery('--help')).toBe(0);
    expect(out).toContain('Exit codes:');
    for (const command of [
      ['up'],
      ['sign'],
      ['verify'],
      ['login'],
      ['logout'],
      ['log', 'checkpoint'],
      ['log', 'entry'],
      ['log', 'prove'],
      ['log', 'consistency'],
      ['trust', 'export'],
    ]) {
      expect(await chancery(...command, '--help')).toBe(0);
      expect(out).toContain('Examples:');
    }
    expect(await chancery('help', 'verify')).toBe(0);
  });

  it('prints its version', async () => {
    expect(await chancery('--version')).toBe(0);
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it.each([
    [[]],
    [['frobnicate']],
    [['verify']],
    [['verify', 'x', '--nonsense']],
    [['verify', 'x']],
    [['sign']],
    [['sign', 'x']],
    [['sign', 'x', '--url', 'http://a', '--signing-config', 'b']],
    [['sign', 'x', 'y', '--url', 'http://a', '--bundle', 'b']],
    [['sign', 'x', '--url', 'http://a', '--key', 'k', '--identity-token', 't']],
    [['log', 'entry', '--url', 'http://a']],
    [['log', 'entry', '-1', '--url', 'http://a']],
    [['log', 'entry', '01', '--url', 'http://a']],
    [['log', 'checkpoint']],
    [['log', 'consistency', '--url', 'http://a']],
    [['trust', 'export']],
    [['trust', 'export', '--url', 'http://a', '--data', 'b']],
    [['trust', 'export', '--url', 'http://a', '--public-url', 'b']],
    [['log', 'checkpoint', '--url', 'ftp://a']],
  ])('exits with 2 for %j', async (argv) => {
    expect(await chancery(...argv)).toBe(2);
    expect(err + out).not.toBe('');
  });
});

describe('chancery sign', () => {
  it('writes a bundle beside the file, and says who signed', async () => {
    expect(await sign()).toBe(0);
    expect(out).toContain('alice@example.com');
    expect(out).toContain('the bundle verifies');
    expect(err).toContain('came from the server itself');
    expect(await readFile(at('file.sigstore.json'), 'utf8')).toMatch(
      /^\{"mediaType":"application\/vnd.dev.sigstore.bundle.v0.3\+json".*\}\n$/,
    );
    expect((await readdir(folder)).sort()).toEqual(['file', 'file.sigstore.json']);
  });

  it('signs several files with one certificate', async () => {
    await writeFile(at('other'), 'other');
    expect(
      await chancery(
        'sign',
        at('file'),
        at('other'),
        '--url',
        world.baseUrl,
        '--identity-token',
        world.token(),
        '--json',
      ),
    ).toBe(0);
    expect(json()['signed']).toHaveLength(2);
    expect(world.calls.filter(({ path }) => path === '/api/v2/signingCert')).toHaveLength(1);
    expect(existsSync(at('other.sigstore.json'))).toBe(true);
  });

  it('takes signing config and trusted root from files, and then talks to nobody else', async () => {
    await signed();
    world.calls.length = 0;
    const files = ['--signing-config', at('signing_config.v0.2.json'), '--trusted-root', at('trusted_root.json')];
    expect(
      await chancery('sign', at('file'), ...files, '--identity-token', world.token(), '--bundle', at('b.json')),
    ).toBe(0);
    expect(world.calls.map(({ path }) => path)).toEqual([
      '/api/v2/signingCert',
      '/api/v1/timestamp',
      '/api/v2/log/entries',
    ]);
    expect(err).toBe(
      'WARNING: the identity token goes to http://sign.example without encryption: whoever reads it can sign as you.\n',
    );
    expect(await chancery('sign', at('file'), ...files.slice(0, 2), '--identity-token', world.token(), '--json')).toBe(
      0,
    );
    expect(json()).toMatchObject({ ok: true, signed: [{ selfChecked: false }] });
  });

  it('never prints the token, whatever happens', async () => {
    const token = world.token();
    await sign();
    await chancery('sign', at('file'), '--url', world.baseUrl, '--identity-token', `${token}!`);
    expect(out + err).not.toContain(token);
    world.before = ({ path }) =>
      path === '/api/v2/signingCert' ? jsonResponse({ code: 3, message: `bad token ${token}` }, 400) : undefined;
    expect(await chancery('sign', at('file'), '--url', world.baseUrl, '--identity-token', token)).toBe(5);
    expect(out + err).not.toContain(token);
    expect(err).toContain('bad token (token removed)');
  });

  it('takes the token from a file, from SIGSTORE_ID_TOKEN or from GitHub Actions', async () => {
    await writeFile(at('token'), `${world.token()}\n`);
    expect(await chancery('sign', at('file'), '--url', world.baseUrl, '--identity-token', at('token'))).toBe(0);
    terminal.env = { SIGSTORE_ID_TOKEN: world.token() };
    expect(await chancery('sign', at('file'), '--url', world.baseUrl)).toBe(0);
    terminal.env = {
      GITHUB_ACTIONS: 'true',
      ACTIONS_ID_TOKEN_REQUEST_URL: 'https://actions.example/token?api-version=2.0',
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'request-secret',
    };
    world.before = ({ path, headers }) => {
      if (path !== '/token') return undefined;
      expect(headers.get('authorization')).toBe('bearer request-secret');
      return jsonResponse({ value: world.token() });
    };
    expect(await chancery('sign', at('file'), '--url', world.baseUrl, '--oidc-client-id', 'sigstore')).toBe(0);
    expect(world.calls.filter(({ headers }) => headers.get('authorization')?.includes('request-secret'))).toHaveLength(
      1,
    );
  });

  it('tells what to do when there is no token, and when GitHub Actions may not request one', async () => {
    expect(await chancery('sign', at('file'), '--url', world.baseUrl)).toBe(2);
    expect(err).toContain('SIGSTORE_ID_TOKEN');
    terminal.env = { GITHUB_ACTIONS: 'true' };
    expect(await chancery('sign', at('file'), '--url', world.baseUrl)).toBe(2);
    expect(err).toContain('permissions: id-token: write');
  });

  it('signs with a key, and needs no token for it', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(
      at('key.pem'),
      privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open sesame' }),
    );
    await writeFile(at('key.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
    expect(await chancery('sign', at('file'), '--url', world.baseUrl, '--key', at('key.pem'))).toBe(3);
    terminal.env = { COSIGN_PASSWORD: 'open sesame' };
    expect(await chancery('sign', at('file'), '--url', world.baseUrl, '--key', at('key.pem'))).toBe(0);
    await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder);
    expect(await verify('--key', at('key.pub'))).toBe(0);
    expect(await verify(...identity)).toBe(1);
  });

  it('signs an in-toto statement as it is', async () => {
    const { createHash } = await import('node:crypto');
    const statement = `{ "_type":"https://in-toto.io/Statement/v1","subject":[{"name":"file","digest":{"sha256":"${createHash('sha256').update('some file').digest('hex')}"}}],\n"predicateType":"https://example.com/p" }\n`;
    await writeFile(at('statement.json'), statement);
    expect(
      await chancery(
        'sign',
        '--in-toto',
        at('statement.json'),
        '--url',
        world.baseUrl,
        '--identity-token',
        world.token(),
        '--bundle',
        at('file.sigstore.json'),
      ),
    ).toBe(0);
    const bundle = JSON.parse(await readFile(at('file.sigstore.json'), 'utf8')) as {
      dsseEnvelope: { payload: string };
    };
    expect(Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString()).toBe(statement);
    await chancery('trust', 'export', '--url', world.baseUrl, '--out', folder);
    expect(await verify(...identity)).toBe(0);
    expect(out).toContain('https://example.com/p');
    expect(
      await chancery('sign', '--in-toto', at('file'), '--url', world.baseUrl, '--identity-token', world.token()),
    ).toBe(3);
  });

  it('writes no bundle that does not verify', async () => {
    await signed();
    const root = JSON.parse(await readFile(at('trusted_root.json'), 'utf8')) as { certificateAuthorities: unknown[] };
    await writeFile(at('other_root.json'), JSON.stringify({ ...root, certificateAuthorities: [] }));
    expect(await sign('--trusted-root', at('other_root.json'), '--bundle', at('never.json'))).toBe(1);
    expect(existsSync(at('never.json'))).toBe(false);
  });

  it.each([
    ['the file is missing', 3, ['missing']],
    ['the folder for the bundle is missing', 3, ['file', '--bundle', 'no/where.json']],
    ['the signing config is missing', 3, ['file', '--signing-config', 'nowhere']],
    ['the key is missing', 3, ['file', '--key', 'nowhere']],
    ['the token file is missing', 3, ['file', '--identity-token', 'nowhere']],
  ])('exits when %s with %d', async (_, exit, args) => {
    const service = args.includes('--signing-config') ? [] : ['--url', world.baseUrl];
    const token =
      args.includes('--key') || args.includes('--identity-token') ? [] : ['--identity-token', world.token()];
    const placed = args.map((arg) => (arg.startsWith('--') ? arg : at(arg)));
    expect(await chancery('sign', ...placed, ...service, ...token)).toBe(exit);
    expect(err).toMatch(/^(.*\n)*error: Cannot /);
  });

  it('exits with 4 when the service does not work, and with 3 for an expired token', async () => {
    world.before = () => jsonResponse({ message: 'no such path' }, 301);
    expect(await sign()).toBe(4);
    world.before = () => undefined;
    const token = world.token({ exp: 1 });
    expect(await chancery('sign', at('file'), '--url', world.baseUrl, '--identity-token', token, '--json')).toBe(3);
    expect(json()).toMatchObject({ ok: false, error: { code: 'SIGN_TOKEN_EXPIRED' } });
  });
});

describe('chancery verify', () => {
  beforeEach(signed);

  it('verifies an identity, by name or by expression', async () => {
    expect(await verify(...identity)).toBe(0);
    expect(out).toContain('✓');
    expect(out).not.toContain('✗');
    expect(out).not.toContain('WARNING');
    expect(
      await verify(
        '--certificate-identity-regexp',
        '.*@example\\.com',
        '--certificate-oidc-issuer-regexp',
        'http://.*',
      ),
    ).toBe(0);
  });

  it('takes an expression for the whole name', async () => {
    expect(await verify('--certificate-identity-regexp', 'alice', '--certificate-oidc-issuer-regexp', '.*')).toBe(1);
    expect(await verify('--certificate-identity-regexp', '(', '--certificate-oidc-issuer-regexp', '.*')).toBe(2);
  });

  it('says which check failed, why, and what would cure it', async () => {
    expect(
      await verify(
        '--certificate-identity',
        'bob@example.com',
        '--certificate-oidc-issuer',
        'http://sign.example/oidc',
      ),
    ).toBe(1);
    expect(out).toContain(
      "✗ The certificate names the expected identity: the certificate's identity is alice@example.com, expected bob@example.com",
    );
    expect(out).toContain('cure:');
    expect(out).toContain('NOT VERIFIED');
    expect(
      await verify(
        '--certificate-identity',
        'alice@example.com',
        '--certificate-oidc-issuer',
        'http://other',
        '--json',
      ),
    ).toBe(1);
    expect(json()).toMatchObject({ ok: false, error: { code: 'VERIFY_CERTIFICATE_ISSUER' } });
  });

  it('lists the same checks to programs', async () => {
    await verify(...identity, '--json');
    const { ok, checks, signer, logEntries } = json();
    expect(ok).toBe(true);
    expect(signer).toMatchObject({ kind: 'certificate', san: 'alice@example.com' });
    expect(logEntries).toMatchObject([{ index: '0', origin: 'sign.example' }]);
    await verify(...identity);
    for (const check of checks as { title: string }[]) expect(out).toContain(check.title);
    expect(out.match(/^[✓✗–]/gm)).toHaveLength((checks as unknown[]).length);
  });

  it('without an identity makes every other check, and warns', async () => {
    expect(await verify()).toBe(0);
    expect(out).toContain(
      '– The certificate names the expected identity: not demanded; the certificate says alice@example.com',
    );
    expect(out).toContain('WARNING: no identity was demanded');
    await verify('--json');
    expect(json()).toMatchObject({ ok: true, demanded: 'any' });
    const skipped = (json()['checks'] as { id: string; state: string }[])
      .filter(({ state }) => state === 'skipped')
      .map(({ id }) => id);
    expect(skipped).toContain('certificate-identity');
    expect(skipped).toContain('certificate-issuer');
    await writeFile(at('file'), 'changed');
    expect(await verify()).toBe(1);
  });

  it.each([
    [['--certificate-identity', 'alice@example.com']],
    [['--certificate-oidc-issuer', 'x']],
    [['--certificate-identity-regexp', '.*']],
    [['--certificate-identity', 'a', '--certificate-identity-regexp', 'b', '--certificate-oidc-issuer', 'c']],
    [['--certificate-identity', '', '--certificate-oidc-issuer', 'c']],
    [[...identity, '--key', 'k']],
  ])('exits with 2 for %j', async (flags) => {
    expect(await verify(...flags)).toBe(2);
  });

  it('verifies a digest, unless it is the name of a file', async () => {
    const { createHash } = await import('node:crypto');
    const digest = `sha256:${createHash('sha256').update('some file').digest('hex')}`;
    const flags = ['--bundle', at('file.sigstore.json'), '--trusted-root', at('trusted_root.json'), ...identity];
    expect(await chancery('verify', digest, ...flags)).toBe(0);
    expect(await chancery('verify', digest, ...flags.slice(2))).toBe(2);
    expect(await chancery('verify', `sha256:${'0'.repeat(64)}`, ...flags)).toBe(1);
    expect(await chancery('verify', 'sha256:00', ...flags)).toBe(3);
    const before = process.cwd();
    process.chdir(folder);
    try {
      await writeFile(digest, 'not that file');
      expect(await chancery('verify', digest, ...flags)).toBe(1);
    } finally {
      process.chdir(before);
    }
  });

  it('exits with 3 for what cannot be read', async () => {
    const good = await readFile(at('file.sigstore.json'), 'utf8');
    for (const bad of ['', '{', '[]', good.slice(0, -10), good.replace('bundle.v0.3', 'bundle.v9.9')]) {
      await writeFile(at('file.sigstore.json'), bad);
      expect(await verify(...identity)).toBe(3);
    }
    await rm(at('file.sigstore.json'));
    expect(await verify(...identity)).toBe(3);
    await writeFile(at('file.sigstore.json'), good);
    await writeFile(at('trusted_root.json'), '{}');
    expect(await verify(...identity)).toBe(3);
    await rm(at('file'));
    expect(await verify(...identity)).toBe(3);
  });

  it('makes no network call', async () => {
    world.calls.length = 0;
    await verify(...identity);
    expect(world.calls).toEqual([]);
  });
});

describe('chancery log', () => {
  const log = (command: string, ...more: string[]) =>
    chancery('log', command, ...more, '--url', world.baseUrl, '--trusted-root', at('trusted_root.json'));
  beforeEach(signed);

  it('prints a checkpoint that can be kept, and later proves that the log only grew', async () => {
    expect(await log('checkpoint')).toBe(0);
    expect(out).toBe(world.checkpoint());
    expect(err).toContain('verified with the trusted root');
    await writeFile(at('old'), out);
    for (let i = 0; i < 300; i++) world.append(new TextEncoder().encode(`{"n":${i}}`));
    expect(await log('consistency', '--old', at('old'))).toBe(0);
    expect(out).toBe('The log sign.example has kept its first 1 entries; 300 came after them.\n');
    await writeFile(at('old'), world.checkpoint());
    expect(await log('consistency', '--old', at('old'), '--json')).toBe(0);
    expect(json()).toMatchObject({ ok: true, hashes: [], old: { treeSize: '301' }, new: { treeSize: '301' } });
  });

  it('prints an entry after proving it', async () => {
    expect(await log('entry', '0')).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ kind: 'hashedrekord' });
    expect(err).toContain('proven to be in the tree');
    expect(await log('entry', '0', '--json')).toBe(0);
    expect(json()).toMatchObject({ logIndex: '0', treeSize: '1', signatureVerified: true });
    expect(await log('entry', '1')).toBe(1);
  });

  it('prints a proof that stands alone', async () => {
    world.append(new TextEncoder().encode('{}'));
    expect(await log('prove', '1')).toBe(0);
    expect(out).toMatch(/^c2sp\.org\/tlog-proof@v1\nindex 1\n[A-Za-z0-9+/]{43}=\n\nsign\.example\n2\n/);
    expect(out.endsWith(world.checkpoint())).toBe(true);
    expect(await log('prove', '1', '--json')).toBe(0);
    expect(json()['hashes']).toHaveLength(1);
  });

  it('says that nothing is verified without a trusted root', async () => {
    expect(await chancery('log', 'checkpoint', '--url', world.baseUrl)).toBe(0);
    expect(err).toContain('not verified');
  });

  it('exits with 1 for a log that lies, 3 for a file that is no checkpoint, 5 for one that is not there', async () => {
    await writeFile(at('old'), createWorld().checkpoint());
    expect(await log('consistency', '--old', at('old'))).toBe(1);
    expect(await log('consistency', '--old', at('nowhere'))).toBe(3);
    world.entries[0] = new TextEncoder().encode('{"another":true}');
    expect(await log('entry', '0')).toBe(1);
    world.before = () => jsonResponse({ code: 5, message: 'Not Found' }, 404);
    expect(await log('checkpoint')).toBe(5);
    expect(err).toContain('Not Found');
  });
});

describe('chancery trust export', () => {
  it('writes what the server serves, and says what it is worth', async () => {
    expect(await chancery('trust', 'export', '--url', world.baseUrl, '--out', at('new/folder'))).toBe(0);
    expect(out).toBe(`${at('new/folder/trusted_root.json')}\n${at('new/folder/signing_config.v0.2.json')}\n`);
    expect(err).toContain('what the server says about itself');
    expect(await readFile(at('new/folder/trusted_root.json'), 'utf8')).toContain('certificateAuthorities');
  });

  it('writes nothing that does not parse', async () => {
    world.before = ({ path }) => (path.endsWith('trusted_root.json') ? new Response('{}') : undefined);
    expect(await chancery('trust', 'export', '--url', world.baseUrl, '--out', at('new'))).toBe(4);
    expect(existsSync(at('new'))).toBe(false);
  });
});

describe('conformance protocol', () => {
  const conformance = (...argv: string[]) => {
    out = '';
    err = '';
    return runConformance(argv, terminal);
  };
  beforeEach(signed);

  it('signs and verifies, with options in any order', async () => {
    const token = ['--identity-token', world.token()];
    const files = ['--trusted-root', at('trusted_root.json'), '--signing-config', at('signing_config.v0.2.json')];
    expect(await conformance('sign-bundle', ...token, '--bundle', at('b'), ...files, at('file'))).toBe(0);
    expect(await conformance('verify-bundle', '--bundle', at('b'), ...identity, ...files.slice(0, 2), at('file'))).toBe(
      0,
    );
    expect(
      await conformance(
        'verify-bundle',
        at('file'),
        ...files.slice(0, 2),
        ...identity,
        '--staging',
        '--bundle',
        at('b'),
      ),
    ).toBe(0);
    expect(await conformance('verify-bundle', '--bundle', at('b'), ...identity, at('file'))).toBe(1);
  });

  it.each([
    [[]],
    [['sign']],
    [['verify-bundle', 'file']],
    [['verify-bundle', '--bundle', 'b', 'file']],
    [['verify-bundle', '--bundle', 'b', '--certificate-identity', 'x', 'file']],
    [['verify-bundle', '--bundle', 'b', ...identity, 'file', 'another']],
    [['verify-bundle', '--bundle', 'b', '--bundle', 'c', ...identity, 'file']],
    [['verify-bundle', '--staging', '--bundle', 'b', ...identity, 'file']],
    [['verify-bundle', '--bundle', 'b', ...identity, '--frobnicate', 'file']],
    [['sign-bundle', '--identity-token', 'x', '--bundle', 'b', 'file']],
    [['sign-bundle', '--staging', '--identity-token', 'x', '--bundle', 'b', 'file']],
  ])('fails for %j', async (argv) => {
    expect(await conformance(...argv)).not.toBe(0);
    expect(err).toContain('error:');
  });
});
