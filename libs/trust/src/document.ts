import { JsonMessage } from '#libs/bundle';
import { EncodingError, parseJson } from '#libs/encoding';
import { TrustError } from './error.js';

/** The public instance's root has about 10 kB; thousands of keys fit in this. */
const MAX_BYTES = 4 * 1024 * 1024;

/** Opens a JSON document whose `mediaType` is one of `mediaTypes`. `what`: its name in errors. */
export function openDocument(text: string | Uint8Array, what: string, mediaTypes: readonly string[]): JsonMessage {
  if (text.length > MAX_BYTES)
    throw new TrustError('TRUST_LIMIT', `Cannot read ${what}: it is larger than ${MAX_BYTES} bytes`);
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw new TrustError('TRUST_JSON', `Cannot read ${what}: it is not valid JSON`, { cause: error });
  }
  const document = new JsonMessage(
    json,
    '',
    (fault, problem) =>
      new TrustError(fault === 'limit' ? 'TRUST_LIMIT' : 'TRUST_MALFORMED', `Cannot read ${what}: ${problem}`),
  );
  const mediaType = document.string('mediaType');
  if (!mediaTypes.includes(mediaType)) {
    throw new TrustError(
      'TRUST_MEDIA_TYPE',
      mediaType === ''
        ? `Cannot read ${what}: it has no media type`
        : `Cannot read ${what}: unknown media type ${JSON.stringify(mediaType.slice(0, 100))}`,
    );
  }
  return document;
}
