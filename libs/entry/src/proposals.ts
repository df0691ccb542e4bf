// What `loadProposals` loads: everything that needs the schemas.
export { createEntryRequestSchema } from './request-schema.js';
export { violationOf } from './v1-schema.js';
export { proposedEntrySchema, proposedKinds, proposeEntry } from './v1.js';
export { FailedChecks } from './failed-checks.js';
export { bodyKeys, parseV1Body } from './v1-body.js';
