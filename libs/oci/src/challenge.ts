import { OciError } from './error.js';

/** How a server wants to be convinced (RFC 9110 §11.6.1). */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** By lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
}

const MAX_LENGTH = 8192;
const MAX_CHALLENGES = 8;
const MAX_PARAMETERS = 16;
const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";

/**
 * Reads the `WWW-Authenticate` fields of an answer.
 * @throws OciError `OCI_CHALLENGE`
 * @see RFC 9110 §11.2, §11.6.1
 */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  const text = typeof header === 'string' ? header : (header ?? []).join(', ');
  if (text.length > MAX_LENGTH) throw fail(`it is longer than ${MAX_LENGTH} characters`);
  const reader = new Reader(text);
  const challenges: Challenge[] = [];
  for (;;) {
    reader.take(/[ \t,]*/y);
    if (reader.atEnd) return challenges;
    if (challenges.length === MAX_CHALLENGES) throw fail(`it has more than ${MAX_CHALLENGES} challenges`);
    challenges.push(readChallenge(reader));
  }
}

function readChallenge(reader: Reader): Challenge {
  const scheme = reader.take(new RegExp(token, 'y'));
  if (scheme === undefined) throw fail('a challenge has no scheme');
  const parameters = new Map<string, string>();
  const end = reader.take(/[ \t]*(?=,|$)/y);
  if (end !== undefined) return { scheme: scheme.toLowerCase(), parameters };
  if (reader.take(/ +/y) === undefined) throw fail('after a scheme comes neither a space nor a comma');
  // A token68 stands alone: nothing that we know how to answer has one.
  if (reader.take(/[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)/y) !== undefined)
    return { scheme: scheme.toLowerCase(), parameters };
  for (;;) {
    const name = reader.take(new RegExp(`${token}(?=[ \\t]*=)`, 'y'))?.toLowerCase();
    if (name === undefined) throw fail('a parameter has no name');
    reader.take(/[ \t]*=[ \t]*/y);
    if (parameters.has(name)) throw fail('a parameter is there twice');
    if (parameters.size === MAX_PARAMETERS) throw fail(`a challenge has more than ${MAX_PARAMETERS} parameters`);
    parameters.set(name, readValue(reader));
    if (reader.take(/[ \t]*(?=,|$)/y) === undefined) throw fail('after a parameter comes neither a comma nor the end');
    // What follows a comma is another parameter if an equals sign comes next, and another challenge if not.
    if (reader.take(new RegExp(`[ \\t]*,[ \\t,]*(?=${token}[ \\t]*=)`, 'y')) === undefined) {
      return { scheme: scheme.toLowerCase(), parameters };
    }
  }
}

function readValue(reader: Reader): string {
  const quoted = reader.take(/"(?:[^"\\\p{Cc}]|\\[^\p{Cc}]|\t)*"/uy);
  if (quoted !== undefined) return quoted.slice(1, -1).replace(/\\(.)/gs, '$1');
  const plain = reader.take(new RegExp(token, 'y'));
  if (plain === undefined) throw fail('a parameter has no value');
  return plain;
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.#at === this.#text.length;
  }

  /** What a sticky expression matches here; undefined if nothing does. */
  take(expression: RegExp): string | undefined {
    expression.lastIndex = this.#at;
    const match = expression.exec(this.#text)?.[0];
    if (match !== undefined) this.#at += match.length;
    return match;
  }
}

function fail(state: string): OciError {
  return new OciError('OCI_CHALLENGE', `Cannot read the registry's WWW-Authenticate header: ${state}`);
}
