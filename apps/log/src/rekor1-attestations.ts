import { z } from 'zod';
import { parseUtf8 } from '#libs/encoding';
import type { ObjectStore } from '#libs/tlog';

/** The digest of its statement in a stored `intoto` entry, of either version. */
const storedEntry = z.object({
  kind: z.literal('intoto'),
  spec: z.object({
    content: z.object({ payloadHash: z.object({ value: z.string().regex(/^[0-9a-f]{64}$/) }) }),
  }),
});
/** How the canonical form of an `intoto` entry begins, so that no other need be read. */
const intoto = /^\{"apiVersion":"[0-9.]{1,32}","kind":"intoto",/;

/** Statements of `intoto` entries, which are kept beside the log and not in it: the log has their digest. */
export class Attestations {
  /** `maxBytes`: longer statements are not kept; their entries are logged all the same. */
  constructor(
    private readonly objects: ObjectStore,
    private readonly maxBytes: number,
  ) {}

  /** Durable when it returns. `key`: `sha256:<hex>`, the digest of `data`. */
  async keep({ key, data }: { readonly key: string; readonly data: Uint8Array }): Promise<void> {
    if (data.length > this.maxBytes) return;
    await this.objects.putIfAbsent(pathOf(key.replace(/^sha256:/, '')), data);
  }

  /** The statement of an entry by its canonical body; undefined if there is or was none. */
  async find(body: Uint8Array): Promise<Uint8Array | undefined> {
    const text = parseUtf8(body);
    if (!intoto.test(text)) return undefined;
    const stored = storedEntry.safeParse(JSON.parse(text));
    return stored.success ? this.objects.get(pathOf(stored.data.spec.content.payloadHash.value)) : undefined;
  }
}

function pathOf(digest: string): string {
  return `attestations/sha256/${digest}`;
}
