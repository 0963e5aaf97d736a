import { inboxContract } from './inbox-contract';
import { openTemporaryStore } from './temporary-store';

inboxContract('SQLite', openTemporaryStore, 900);
