import { keyValueContract } from './kv-contract';
import { openTemporaryStore } from './temporary-store';

keyValueContract('SQLite', openTemporaryStore);
