/**
 * All that differs between the databases. The statements elsewhere are common SQL with `?` for parameters; on
 * PostgreSQL the placeholders would be numbered, the head row taken with `FOR UPDATE OF tree`, a blob called `bytea`,
 * `WITHOUT ROWID` fall away, and search keys be read from a list of numbers by its own functions.
 */
export interface Dialect {
  /** Opens a transaction that will write. */
  readonly begin: string;
  /** Ends the statement that reads a tree's head in order to move it. */
  readonly lockHead: string;
  /** Most parameters of one statement. */
  readonly maxParameters: number;
  readonly types: { readonly integer: string; readonly bytes: string; readonly text: string };
  /** Ends the definition of a table that is nothing but its primary key and a little more. */
  readonly clustered: string;
  /** Run once on each new connection. */
  readonly settings: { readonly writer: readonly string[]; readonly reader: readonly string[] };
}

export const sqlite: Dialect = {
  // IMMEDIATE takes the one write lock now: a transaction that read first and wanted to write later could be refused
  // halfway.
  begin: 'BEGIN IMMEDIATE',
  // The write lock covers the head row.
  lockHead: '',
  // SQLITE_MAX_VARIABLE_NUMBER since 3.32
  maxParameters: 32_766,
  types: { integer: 'bigint', bytes: 'blob', text: 'text' },
  clustered: 'WITHOUT ROWID',
  settings: {
    writer: [
      'PRAGMA busy_timeout = 10000',
      // Readers never wait for the writer, nor it for them.
      'PRAGMA journal_mode = WAL',
      // Sync the write-ahead log at each commit: NORMAL would let a power cut take back a head that is already signed
      // and published.
      'PRAGMA synchronous = FULL',
      // 4000 pages of 4 KiB: the deduplication keys fall all over their tree, and a page written twice between two
      // checkpoints is copied once.
      'PRAGMA wal_autocheckpoint = 4000',
      // KiB, when negative
      'PRAGMA cache_size = -32768',
    ],
    reader: ['PRAGMA busy_timeout = 10000', 'PRAGMA query_only = ON', 'PRAGMA cache_size = -8192'],
  },
};
