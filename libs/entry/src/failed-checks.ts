import { refused } from './error.js';

/**
 * Checks of signatures that fail, up to a bound. Envelopes do not say which verifier made which signature, so each may be tried with each; a check
 * takes about a millisecond and a half with P-521, and who fills an envelope with sixteen of both in the wrong order would get 120 for nothing.
 * A check that succeeds is not counted: there are no more of those than signatures.
 */
export class FailedChecks {
  #left: number;
  readonly #whole: FailedChecks | undefined;

  /** `most`: how many may fail; `whole`: where they count as well. */
  constructor(most: number, whole?: FailedChecks) {
    this.#left = most;
    this.#whole = whole;
  }

  /** @throws EntryError `ENTRY_SIGNATURE` when too many have failed */
  count(): void {
    this.#whole?.count();
    if (this.#left === 0)
      throw refused('ENTRY_SIGNATURE', 'too many signatures do not fit the keys they are tried with');
    this.#left--;
  }
}
