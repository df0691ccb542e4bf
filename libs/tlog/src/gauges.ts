import type { Tree } from './tree.js';

/** A number that somebody may look at, for each tree under its label. */
export interface TreeGauge {
  /** As Prometheus names metrics. */
  readonly name: string;
  readonly help: string;
  readonly label: 'tree';
  readonly collect: () => Readonly<Record<string, number | bigint>>;
}

/** What trees say of themselves while they run; `trees`: by the label that tells them apart. */
export function treeGauges(trees: Readonly<Record<string, Tree>>): readonly TreeGauge[] {
  const gauge = (name: string, help: string, value: (tree: Tree) => number | bigint): TreeGauge => ({
    name,
    help,
    label: 'tree',
    collect: () => Object.fromEntries(Object.entries(trees).map(([label, tree]) => [label, value(tree)])),
  });
  return [
    gauge('chancery_tree_size_entries', 'Entries in the published tree', (tree) => tree.head().size),
    gauge('chancery_waiting_entries', 'Entries that wait for the next batch', (tree) => tree.waiting),
    gauge('chancery_tree_halted', '1 if the tree has stopped because what is stored is wrong', (tree) =>
      tree.halted === undefined ? 0 : 1,
    ),
  ];
}
