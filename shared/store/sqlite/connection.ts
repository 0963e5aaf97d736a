/**
 * The database connection and its prepared statements. One object owns and keeps them until it is closed, because the
 * binding frees them when they are garbage-collected. All calls are synchronous.
 */
import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import type { Column } from './rows';

/** A prepared statement that returns rows as arrays, which is faster than objects. */
export interface Statement {
  get(...parameters: Column[]): readonly Column[] | undefined;
  all(...parameters: Column[]): readonly (readonly Column[])[];
  /** Row by row; the statement is free for another use when the loop ends. */
  iterate(...parameters: Column[]): Iterable<readonly Column[]>;
  run(...parameters: Column[]): { readonly changes: number; readonly lastInsertRowid: number | bigint };
}

export class Connection {
  readonly #db: DatabaseSyncInstance;
  readonly #statements = new Map<string, Statement>();

  constructor(db: DatabaseSyncInstance) {
    this.#db = db;
  }

  /** Prepares a statement once. */
  statement(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const prepared: StatementSyncInstance = this.#db.prepare(sql);
    prepared.setReturnArrays(true);
    const statement: Statement = {
      get: (...parameters) => prepared.get(...parameters) as readonly Column[] | undefined,
      all: (...parameters) => prepared.all(...parameters) as readonly (readonly Column[])[],
      iterate: (...parameters) => prepared.iterate(...parameters) as Iterable<readonly Column[]>,
      run: (...parameters) => prepared.run(...parameters),
    };
    this.#statements.set(sql, statement);
    return statement;
  }

  begin(): void {
    this.#db.exec('BEGIN IMMEDIATE');
  }

  commit(): void {
    this.#db.exec('COMMIT');
  }

  /** May be called after a failure by which SQLite itself ended the transaction. */
  rollback(): void {
    if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
  }

  /** Pages in the write-ahead log, and how many of them are in the database file. */
  walPages(): { readonly log: number; readonly checkpointed: number } {
    const row = this.statement('PRAGMA wal_checkpoint(NOOP)').get();
    return { log: Number(row?.[1]), checkpointed: Number(row?.[2]) };
  }

  /** From now on `WalSync` makes commits durable, and `Checkpointer` runs checkpoints. */
  prepareLog(sizeLimit: number): void {
    this.#db.exec(
      `PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=${sizeLimit}`,
    );
  }

  /** Runs checkpoints inside commits, each time after so many pages; for when the checkpoint thread failed. */
  checkpointInCommits(pages: number): void {
    this.#db.exec(`PRAGMA wal_autocheckpoint=${pages}`);
  }

  /** Runs a checkpoint and closes. SQLite's own checkpoint would come only when the last statement is collected. */
  close(): void {
    try {
      this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } finally {
      this.#statements.clear();
      this.#db.close();
    }
  }
}
