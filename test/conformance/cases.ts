import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** One case of the Sigstore client conformance suite: test/assets/bundle-verify/<name>. All paths are absolute. */
export interface ConformanceCase {
  name: string;
  /** Names that end in `_fail` must be rejected. */
  mustFail: boolean;
  bundle: string;
  artifact: string;
  identity: string;
  issuer: string;
  /** PEM; then identity and issuer play no role. */
  key?: string;
  trustedRoot: string;
}

/** Beside the checkout; not part of it. */
const folder = resolve(import.meta.dirname, '../../../shared/testdata/conformance');

// What holds where a case has no file of its own.
const IDENTITY =
  'https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main';
const ISSUER = 'https://token.actions.githubusercontent.com';

/** All cases at hand, by name; none if the suite's data is not there. */
export function listCases(): ConformanceCase[] {
  const cases = join(folder, 'bundle-verify');
  if (!existsSync(cases)) return [];
  return readdirSync(cases, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => readCase(cases, name))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readCase(cases: string, name: string): ConformanceCase {
  const own = (file: string) => (existsSync(join(cases, name, file)) ? join(cases, name, file) : undefined);
  const text = (file: string) => {
    const path = own(file);
    return path === undefined ? undefined : readFileSync(path, 'utf8').trim();
  };
  const key = own('key.pub');
  return {
    name,
    mustFail: name.endsWith('_fail'),
    bundle: join(cases, name, 'bundle.sigstore.json'),
    artifact: own('artifact') ?? join(cases, 'a.txt'),
    identity: text('identity') ?? IDENTITY,
    issuer: text('issuer') ?? ISSUER,
    ...(key === undefined ? {} : { key }),
    trustedRoot: own('trusted_root.json') ?? join(folder, 'public-good-trusted_root.json'),
  };
}
