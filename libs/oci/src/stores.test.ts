import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  hasDockerRegistry,
  startDockerRegistry,
  startTestRegistry,
  type TestRegistryOptions,
} from '../../../test/world/registry.js';
import { storeContract } from '../testing/store-contract.js';
import { openLayout, openRegistry, parseReference } from './index.js';

const impatient = { jitter: () => 0.2 };

const kinds: readonly (readonly [string, TestRegistryOptions])[] = [
  ['a registry with the referrers API', {}],
  ['a registry with the referrers API, in pages', { pageSize: 1 }],
  ['a registry with the referrers API that does not filter', { filters: false }],
  ['a registry without the referrers API', { referrers: false }],
  ['a registry without the referrers API that heeds ETags', { referrers: false, etags: true }],
  ['a registry that says OCI-Subject and has no referrers API', { referrers: false, saysSubject: true }],
  ['a registry that wants passwords', { auth: 'basic' }],
  ['a registry that wants tokens', { auth: 'bearer', referrers: false }],
];
for (const [name, options] of kinds) {
  storeContract(name, async () => {
    const registry = await startTestRegistry(options);
    const repository = parseReference(`${registry.host}/ns/app`);
    const limits = { chunkBytes: 1_000_000 };
    const store = openRegistry({ repository, credentials: registry.credentials, patience: impatient, limits });
    return { store, close: async () => void (await store.close(), await registry.close()) };
  });
}

if (hasDockerRegistry) {
  storeContract("Debian's docker-registry", async () => {
    const registry = await startDockerRegistry();
    const repository = parseReference(`${registry.host}/ns/app`);
    const store = openRegistry({ repository, patience: impatient, limits: { chunkBytes: 1_000_000 } });
    return { store, close: async () => void (await store.close(), await registry.close()) };
  });
} else {
  console.warn('docker-registry is not installed: its tests are skipped');
}

storeContract('an OCI image layout', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'layout-'));
  const store = await openLayout(join(folder, 'new'), { create: true });
  return { store, close: async () => rmSync(folder, { recursive: true }) };
});
