import { type ErrorShape, plainAnswer } from '#libs/nest';

/** A version of Rekor that has no signing config of its own here. */
export class TrustQueryError extends Error {
  constructor() {
    super('Cannot give a signing config: rekor must be 1 or 2, and served here');
  }
}

const paths = ['/trust/trusted_root.json', '/trust/signing_config.v0.2.json'];

export const trustShape: ErrorShape = {
  owns: (path) => path.startsWith('/trust/'),
  methods: (path) => (paths.includes(path) ? ['GET', 'HEAD'] : undefined),
  answer: (error) => (error instanceof TrustQueryError ? plainAnswer(400, error.message) : undefined),
  notFound: () => plainAnswer(404, 'not found'),
  methodNotAllowed: (_method, allowed) => plainAnswer(405, 'method not allowed', { allow: allowed.join(', ') }),
  tooLarge: () => plainAnswer(413, 'request body too large'),
  malformed: () => plainAnswer(400, 'request could not be read'),
  internal: (requestId) => plainAnswer(500, `internal error (request ${requestId})`),
};
