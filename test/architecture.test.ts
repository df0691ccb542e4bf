import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');

/** Each part and its floor. An import between parts goes down at least one floor. */
const floors: Readonly<Record<string, number>> = {
  'libs/encoding': 0,
  'libs/crypto': 1,
  'libs/merkle': 1,
  'libs/nest': 1,
  'libs/openssl': 2,
  'libs/note': 2,
  'libs/x509': 2,
  'libs/entry': 2,
  'libs/identity': 2,
  'libs/bundle': 2,
  'libs/trust': 3,
  'libs/timestamp': 3,
  'libs/tlog': 3,
  'libs/pki': 3,
  'libs/login': 3,
  'libs/sign': 4,
  'libs/verify': 4,
  'libs/search': 4,
  'libs/audit': 4,
  'libs/oci': 2,
  'libs/keyfile': 2,
  'libs/simple-signing': 3,
  'libs/notary': 3,
  'libs/image': 5,
  'libs/tags': 6,
  'libs/policy': 6,
  'apps/ca': 7,
  'apps/ct': 7,
  'apps/log': 7,
  'apps/tsa': 7,
  'apps/trust': 7,
  'apps/cli': 7,
  'apps/npm': 7,
  'apps/stack': 8,
};

/** What verifies must run in a browser: no `node:*` here, nor in anything these import. */
const portable = [
  ...['encoding', 'crypto', 'merkle', 'note', 'x509', 'entry', 'bundle', 'trust', 'timestamp', 'verify'],
].map((name) => `libs/${name}`);

/** Outside packages that belong behind one door. */
const doors: Readonly<Record<string, readonly string[]>> = {
  '@nestjs/': ['libs/nest', 'apps/ca', 'apps/ct', 'apps/log', 'apps/tsa', 'apps/trust', 'apps/stack'],
  fastify: ['libs/nest', 'apps/ca', 'apps/ct', 'apps/log', 'apps/tsa', 'apps/trust', 'apps/stack'],
  typeorm: ['libs/tlog', 'apps/ca', 'apps/stack'],
  '@noble/': ['libs/crypto', 'libs/openssl', 'libs/keyfile'],
  '@peculiar/x509': ['apps/ca', 'apps/tsa'],
  jose: ['apps/stack'],
  commander: ['apps/cli'],
  openpgp: ['libs/pki', 'libs/simple-signing'],
  'openid-client': ['libs/login'],
  '@grpc/': ['libs/sign'],
  undici: ['libs/identity'],
  ajv: ['libs/image'],
  '@marcbachmann/cel-js': ['libs/image'],
  '@open-policy-agent/': ['libs/image'],
  'prom-client': ['libs/nest'],
};

interface Import {
  readonly file: string;
  readonly part: string;
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

function listSources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => name.endsWith('.ts') && statSync(join(root, name)).isFile());
}

function readImports(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
  const part = file.split('/').slice(0, 2).join('/');
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s+)?(?:([^'";]*?)\s+from\s+)?'([^']+)';/gm)) {
    const names = match[2] ?? '';
    // `import { type A, type B }` brings no code either.
    const inner = /^\{([\s\S]*)\}$/.exec(names.trim())?.[1];
    const onlyTypes =
      inner !== undefined &&
      inner
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== '')
        .every((name) => name.startsWith('type '));
    found.push({
      file,
      part,
      specifier: match[3] ?? '',
      typeOnly: match[1] !== undefined || onlyTypes,
      dynamic: false,
    });
  }
  for (const match of text.matchAll(/(?<!typeof )\bimport\(\s*'([^']+)'\s*\)/g)) {
    found.push({ file, part, specifier: match[1] ?? '', typeOnly: false, dynamic: true });
  }
  return found;
}

const sources = [...listSources('libs'), ...listSources('apps')];
const production = sources.filter((file) => !file.endsWith('.test.ts') && !file.includes('/testing/'));
const imports = production.flatMap(readImports);

/** The part an import leads to; undefined for packages and `node:*`. */
function target({ file, specifier }: Import): string | undefined {
  if (specifier.startsWith('#libs/')) return `libs/${specifier.slice('#libs/'.length).split('/')[0]}`;
  if (!specifier.startsWith('.')) return undefined;
  return relative(root, join(root, file, '..', specifier))
    .split('/')
    .slice(0, 2)
    .join('/');
}

describe('the house', () => {
  it('has a floor for every part, and a part for every floor', () => {
    const parts = new Set(sources.map((file) => file.split('/').slice(0, 2).join('/')));
    expect([...parts].sort()).toEqual(Object.keys(floors).sort());
  });

  it('imports between parts go down at least one floor', () => {
    const wrong = imports
      .map((entry) => ({ ...entry, to: target(entry) }))
      .filter(({ part, to }) => to !== undefined && to !== part)
      // `chancery up` starts the stack; a dynamic import, so that no other command loads it.
      .filter(({ part, to, dynamic }) => !(part === 'apps/cli' && to === 'apps/stack' && dynamic))
      .filter(({ part, to }) => {
        const from = floors[part] ?? -1;
        const down = floors[to ?? ''] ?? Number.POSITIVE_INFINITY;
        return down >= from;
      })
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  it('only apps import libs/nest, and only the stack imports apps', () => {
    const wrong = imports
      .map((entry) => ({ ...entry, to: target(entry) }))
      .filter(
        ({ part, to, dynamic }) =>
          (to === 'libs/nest' && part.startsWith('libs/') && part !== 'libs/nest') ||
          (to?.startsWith('apps/') === true &&
            to !== part &&
            part !== 'apps/stack' &&
            !(part === 'apps/cli' && to === 'apps/stack' && dynamic)),
      )
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  it('outsiders import a lib by its index only', () => {
    const wrong = imports
      .filter((entry) => {
        const to = target(entry);
        if (to === undefined || to === entry.part) return false;
        if (entry.specifier.startsWith('#libs/')) return entry.specifier.slice('#libs/'.length).includes('/');
        return to.startsWith('libs/');
      })
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  it('what verifies does not touch node:* nor Buffer, so that it runs in a browser', () => {
    const wrong = production
      .filter((file) => portable.some((part) => file.startsWith(`${part}/`)))
      .filter((file) => {
        const code = readFileSync(join(root, file), 'utf8')
          .replace(/\/\*[\s\S]*?\*\//g, '')
          .replace(/\/\/.*$/gm, '');
        return /'node:|\bBuffer\b|\bprocess\./.test(code);
      });
    expect(wrong).toEqual([]);
    const up = imports
      .filter(({ part, typeOnly }) => portable.includes(part) && !typeOnly)
      .filter((entry) => {
        const to = target(entry);
        return to !== undefined && to.startsWith('libs/') && !portable.includes(to);
      })
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(up).toEqual([]);
  });

  it('packages stay behind their doors', () => {
    const wrong = imports
      .filter(({ part, specifier, typeOnly }) => {
        const door = Object.keys(doors).find(
          (name) => specifier === name || (name.endsWith('/') && specifier.startsWith(name)),
        );
        return door !== undefined && !typeOnly && !(doors[door] ?? []).includes(part);
      })
      .map(({ file, specifier }) => `${file} imports ${specifier}`);
    expect(wrong).toEqual([]);
  });

  it('the environment is read in config.ts alone', () => {
    const wrong = production.filter(
      (file) => !file.endsWith('/config.ts') && /process\.env\b/.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(wrong).toEqual([]);
  });

  it('an index lists names and is the only barrel', () => {
    const wrong = production.filter((file) => /^export \*/m.test(readFileSync(join(root, file), 'utf8')));
    expect(wrong).toEqual([]);
  });

  it('each lib is flat: sources directly in src', () => {
    const wrong = sources.filter((file) => file.startsWith('libs/') && file.split('/').length > 4);
    expect(wrong).toEqual([]);
  });
});
