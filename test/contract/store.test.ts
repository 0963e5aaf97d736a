import { storeContract } from './store-contract';
import { openTemporaryStore } from './temporary-store';

storeContract('SQLite', openTemporaryStore);
storeContract('SQLite that writes its index entries often', () => openTemporaryStore({ indexedTogether: 3 }));
