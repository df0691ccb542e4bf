import { expect, test } from 'vitest';
import { IdentityError } from '#libs/identity';
import { CaError, caShape } from './errors.js';

test.each([
  ['too many tokens wait for one issuer', new IdentityError('IDENTITY_BUSY', 'Cannot wait'), 503, '5'],
  ['the certificate cannot be recorded', new CaError('CA_RECORD', 'Cannot issue certificate'), 503, '5'],
  ['a rate is used up', new CaError('CA_RATE', 'Cannot issue', { retryAfterSeconds: 30 }), 429, '30'],
  ['the error knows better', new CaError('CA_RECORD', 'Cannot issue', { retryAfterSeconds: 60 }), 503, '60'],
  ['the token is wrong', new IdentityError('IDENTITY_EXPIRED', 'Cannot accept'), 400, undefined],
  ['the CT logs failed', new CaError('CA_LOG', 'Cannot log precertificate'), 500, undefined],
])('caShape says when to come back if %s', (_name, error, status, retryAfter) => {
  const answer = caShape.answer(error, 'request-1');
  expect([answer?.status, answer?.headers?.['retry-after']]).toEqual([status, retryAfter]);
});
