/** The embedded store: SQLite in one file. */
export { backupDirectory } from './backup';
export { DATABASE_FILE } from './schema';
export { openSqliteStore } from './sqlite-store';
