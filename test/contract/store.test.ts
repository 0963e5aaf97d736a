import { storeContract } from './store-contract';
import { openTemporaryStore } from './temporary-store';

storeContract('SQLite', openTemporaryStore);
