import { EntitySchema, type MigrationInterface, type QueryRunner } from 'typeorm';

/** One certificate that left the CA. */
export interface CertificateRow {
  id: number;
  /** 20 bytes */
  serial: Uint8Array;
  not_before_ms: number;
  identity: string;
  san_kind: string;
  issuer: string;
  subject: string;
  request_id: string;
  /** 32 bytes */
  fingerprint: Uint8Array;
  /** JSON: a list of `[logId, timestampMs, leafIndex or null]`, the ids in hex, the index in decimal */
  scts: string;
}

/** The record's own name: one row. */
export interface RecordRow {
  id: number;
  name: string;
}

export const entities = [
  new EntitySchema<CertificateRow>({
    name: 'certificate',
    columns: {
      id: { type: 'integer', primary: true },
      serial: { type: 'blob', unique: true },
      not_before_ms: { type: 'bigint' },
      identity: { type: 'text' },
      san_kind: { type: 'text' },
      issuer: { type: 'text' },
      subject: { type: 'text' },
      request_id: { type: 'text' },
      fingerprint: { type: 'blob' },
      scts: { type: 'text' },
    },
  }),
  new EntitySchema<RecordRow>({
    name: 'record',
    columns: { id: { type: 'integer', primary: true }, name: { type: 'text' } },
  }),
];

/** The tables as of the first release. Never edited: a change is another migration. */
class CreateCertificates1800000000000 implements MigrationInterface {
  readonly name = 'CreateCertificates1800000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`CREATE TABLE "record" ("id" integer PRIMARY KEY CHECK ("id" = 1), "name" text NOT NULL)`);
    // The name tells this record from that of another CA, and from one that was made in its place.
    await runner.query(`INSERT INTO "record" VALUES (1, lower(hex(randomblob(16))))`);
    // A CA never gives a serial twice (RFC 5280 §4.1.2.2): if its randomness fails, it fails here and nothing leaves.
    await runner.query(
      `CREATE TABLE "certificate" ("id" integer PRIMARY KEY, "serial" blob NOT NULL UNIQUE, "not_before_ms" bigint NOT NULL,
        "identity" text NOT NULL, "san_kind" text NOT NULL, "issuer" text NOT NULL, "subject" text NOT NULL, "request_id" text NOT NULL,
        "fingerprint" blob NOT NULL, "scts" text NOT NULL)`,
    );
    // Each ends in the time: what was asked for is read newest first, a page at a time, without sorting. The request has none: an index over random
    // words costs as much as the row itself, at each certificate, and who asks for one request asks once; a million rows are read in a second.
    for (const column of ['identity', 'issuer'])
      await runner.query(`CREATE INDEX "certificate_${column}" ON "certificate" ("${column}", "not_before_ms")`);
    await runner.query(`CREATE INDEX "certificate_time" ON "certificate" ("not_before_ms")`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['certificate', 'record']) await runner.query(`DROP TABLE "${table}"`);
  }
}

export const migrations = [CreateCertificates1800000000000];
