import { processTerminal } from './config.js';
import { endWith } from './failure.js';
import { runConformance } from './protocol.js';

const terminal = processTerminal();
await endWith(terminal, runConformance(process.argv.slice(2), terminal));
