import { defineConfig } from 'vitest/config';

const here = import.meta.dirname;

export default defineConfig({
  // The same arrow as `imports` in package.json, but to the sources: tests run what was just edited.
  resolve: { alias: [{ find: /^#libs\/([a-z0-9-]+)$/, replacement: `${here}/libs/$1/src/index.ts` }] },
  oxc: { decorator: { legacy: true } },
  test: {
    include: ['{apps,libs}/*/src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Two cores are the machine we promise to build on: more workers only make each test slower.
    maxWorkers: 2,
  },
});
