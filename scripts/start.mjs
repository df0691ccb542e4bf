// `npm start`: everything in one process, with the OIDC issuer for trying things out.
import { setUp } from './setup.mjs';

setUp();
// In this process, not a child: a SIGTERM sent to it reaches the server.
process.argv.splice(2, 0, 'up', '--dev');
await import('../dist/apps/cli/src/main.js');
