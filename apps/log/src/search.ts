import { encodeSearchAnswer, parseSearchQuery, type SearchableTree, searchTrees } from '#libs/search';

/** One search over all trees of a log: the parameters of a URL in, an answer in JSON out. */
export class SearchTrees {
  /** `trees`: those of Rekor v1 and v2, and that of the CT log where it is at hand. */
  constructor(private readonly trees: readonly SearchableTree[]) {}

  /**
   * @throws SearchError for a query or cursor that makes no sense
   * @throws TlogError when the log cannot be read now
   */
  async search(params: Readonly<Record<string, unknown>>): Promise<string> {
    return JSON.stringify(encodeSearchAnswer(await searchTrees(this.trees, parseSearchQuery(params))));
  }
}
