import { TagError, type TagErrorCode } from './error.js';

/** Every check of the verification in order: its title, and what would cure its failing. */
const table = {
  'snapshot-found': [
    'The repository has trusted tags',
    'Publish the first with `chancery tag publish --init`; if there were some before, the registry or somebody with write access to it hides them',
  ],
  'snapshot-form': [
    'The snapshot of all tags can be read',
    'Publish anew from a client that has seen the newest state; see `chancery tag history`',
  ],
  'snapshot-signer': [
    'The snapshot is signed by somebody who may',
    'If that signer is the one you mean to trust, name it in the policy',
  ],
  'snapshot-repository': [
    'The snapshot is about this repository',
    'Ask for the repository that the statement names; for a copy of it give --signed-repository',
  ],
  clock: ['The local clock is not behind what is proven', 'Set the clock of this machine'],
  'snapshot-time': ['The snapshot was signed when it says', 'Publish anew, on a machine whose clock is right'],
  'snapshot-fresh': [
    'The snapshot is not too old',
    'Let a publisher run `chancery tag refresh`; if one did lately, the registry shows an old state',
  ],
  'first-use': ['This client knows the repository', 'Leave out --no-first-use once, on a connection that you trust'],
  'snapshot-rollback': [
    'The snapshot is not older than one seen before',
    'Do not use it: the registry shows an old state. Only if the publishers started anew on purpose, run `chancery tag forget`',
  ],
  'snapshot-fork': [
    'There is one snapshot of this version',
    'Try again in a minute: two publishers may be at work. If it stays, somebody shows different states to different clients',
  ],
  'snapshot-continuity': [
    'No tag seen before has disappeared or gone back',
    'A tag is withdrawn with `chancery tag revoke`, never by leaving it out. Ask who signed the snapshot',
  ],
  'tag-listed': ['The snapshot has the tag', 'Check the name of the tag, or publish it with `chancery tag publish`'],
  'tag-found': [
    'The registry has the statement that the snapshot names',
    'Publish the tag anew: its statement was removed from the registry',
  ],
  'tag-form': ['The statement about the tag can be read', 'Publish the tag anew'],
  'tag-binding': [
    'The statement is about this repository and this tag, as the snapshot says',
    'Do not use it: it was made for something else',
  ],
  'tag-signers': [
    'Enough signers of the policy signed the statement',
    'Let the missing signers run `chancery tag cosign`; if those are the ones you mean to trust, name them in the policy',
  ],
  'tag-time': ['The statement was signed when it says', 'Publish the tag anew, on a machine whose clock is right'],
  'tag-revoked': ['The tag is not revoked', 'Do not use this image; ask its publishers for another'],
  'tag-fresh': ['The statement holds now', 'Publish the tag anew'],
  image: [
    'The registry has the image that the statement names',
    'Push the image again: it is gone from the registry, or another',
  ],
} as const satisfies Record<string, readonly [title: string, cure: string]>;

export type TagCheckId = keyof typeof table;

/** The ids of all checks, in order. */
export const tagCheckIds = Object.keys(table) as readonly TagCheckId[]; // the keys of the literal above

/** One line of the report. `tag`: which tag it is about, if about one. */
export interface TagCheck {
  id: TagCheckId;
  title: string;
  tag?: string;
  state: 'passed' | 'failed' | 'skipped';
  /** What was found. */
  detail: string;
  /** For a failed check: what would cure it. */
  cure?: string;
}

/** Thrown by a check: it objects. `cure` where the check knows better than the table. */
export class Objection extends Error {
  constructor(
    message: string,
    readonly cure?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The report in the making: the first objection ends it, and nothing passes by default. */
export class Checklist {
  readonly #done: TagCheck[] = [];
  #failure: TagError | undefined;

  /** @throws TagError if the check objects; what is no objection rises as it is */
  async run<Value>(
    id: TagCheckId,
    check: () => readonly [detail: string, value: Value] | Promise<readonly [detail: string, value: Value]>,
    tag?: string,
  ): Promise<Value> {
    const line = { id, title: table[id][0], ...(tag !== undefined && { tag }) };
    try {
      const [detail, value] = await check();
      this.#done.push({ ...line, state: 'passed', detail });
      return value;
    } catch (error) {
      if (!(error instanceof Objection)) throw error;
      const cure = error.cure ?? table[id][1];
      this.#done.push({ ...line, state: 'failed', detail: error.message, cure });
      // ids are lower case with hyphens, which is what the type of the code says
      const code = `TAGS_${id.toUpperCase().replaceAll('-', '_')}` as TagErrorCode;
      this.#failure = new TagError(code, error.message, { check: id, cure, cause: error.cause });
      throw this.#failure;
    }
  }

  skip(id: TagCheckId, why: string): void {
    this.#done.push({ id, title: table[id][0], state: 'skipped', detail: why });
  }

  get failure(): TagError | undefined {
    return this.#failure;
  }

  /** What was checked, and what was not reached. */
  list(): TagCheck[] {
    const made = new Set(this.#done.map(({ id }) => id));
    const why = this.#failure?.check === undefined ? 'not made' : `not reached: ${this.#failure.check} failed`;
    const rest = tagCheckIds.filter((id) => !made.has(id));
    return [...this.#done, ...rest.map((id) => ({ id, title: table[id][0], state: 'skipped' as const, detail: why }))];
  }
}
