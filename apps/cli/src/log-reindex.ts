import type { Terminal } from './config.js';
import { exitCodes, type ExitCode } from './exit.js';
import { startProgress } from './progress.js';
import { loadStack, stackFailure } from './stack.js';
import { jsonText } from './style.js';

/** `log reindex`: the search index of a stopped instance, made anew from what the trees have. */
export async function reindex(terminal: Terminal, options: { data?: string; json?: boolean }): Promise<ExitCode> {
  const { reindexSearch } = await loadStack();
  const quiet = options.json === true;
  const bars = new Map<string, ReturnType<typeof startProgress>>();
  const barOf = (tree: string) => {
    let bar = bars.get(tree);
    if (bar === undefined) bars.set(tree, (bar = startProgress(terminal, { what: `of ${tree} indexed`, quiet })));
    return bar;
  };
  const started = terminal.now();
  const results = await reindexSearch(
    options.data === undefined ? {} : { data: options.data },
    ({ tree, done, total }) => barOf(tree).update(done, total),
  ).catch((cause: unknown) => {
    throw stackFailure(cause);
  });
  for (const bar of bars.values()) bar.end();
  const seconds = (terminal.now() - started) / 1000;
  const trees = results.map(({ tree, total }) => ({ tree, entries: total }));
  if (options.json) terminal.out(jsonText({ ok: true, trees, seconds }));
  else for (const { tree, entries } of trees) terminal.out(`${tree}: ${entries} entries can be found again\n`);
  return exitCodes.ok;
}
