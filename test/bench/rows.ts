/** One line of the result. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly floor?: number;
  readonly ratio?: number;
  readonly target: string;
  readonly met: boolean;
}

const rows: Row[] = [];

/** Progress, on standard error. */
export const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** A result: a line of JSON on standard output now, a row of the table at the end. */
export function record(row: Row): void {
  rows.push(row);
  process.stdout.write(`${JSON.stringify(row)}\n`);
}

/** What has no target. */
export function note(name: string, value: number, unit: string): void {
  record({ name, value, unit, target: '', met: true });
}

export function atLeast(name: string, value: number, unit: string, target: number, floor?: number): void {
  const beside = floor === undefined ? {} : { floor, ratio: value / floor };
  record({ name, value, unit, ...beside, target: `>= ${target}`, met: value >= target });
}

export function below(name: string, value: number, unit: string, target: number): void {
  record({ name, value, unit, target: `< ${Math.round(target)}`, met: value < target });
}

export function middle<T>(list: readonly T[], by: (one: T) => number): T {
  const found = [...list].sort((a, b) => by(a) - by(b))[Math.floor(list.length / 2)];
  if (found === undefined) throw new Error('There is no middle of nothing');
  return found;
}

/** Everything that was recorded. */
export function printTable(): void {
  const line = (cells: readonly string[]): void => {
    const [name = '', value = '', unit = '', floor = '', ratio = '', target = ''] = cells;
    say(
      [name.padEnd(44), value.padStart(12), unit.padEnd(5), floor.padStart(10), ratio.padStart(7), target].join('  '),
    );
  };
  say('');
  line(['what', 'value', 'unit', 'floor', 'ratio', 'target']);
  for (const { name, value, unit, floor, ratio, target, met } of rows) {
    const verdict = target === '' ? '' : met ? '  met' : '  MISSED';
    const figure = value.toFixed(value < 100 ? 2 : 0);
    line([name, figure, unit, floor?.toFixed(0) ?? '', ratio?.toFixed(3) ?? '', `${target}${verdict}`]);
  }
}
