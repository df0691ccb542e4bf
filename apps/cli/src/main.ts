import { processTerminal } from './config.js';
import { endWith } from './failure.js';
import { run } from './program.js';

const terminal = processTerminal();
const argv = process.argv.slice(2);
await endWith(terminal, run(argv, terminal), argv.includes('--json'));
