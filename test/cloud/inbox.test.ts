import { inboxContract } from '../contract/inbox-contract';
import { describeOnEmulators } from './support';
import { openTemporaryFirestore } from './temporary-firestore';

describeOnEmulators('Firestore', ({ firestore }) => {
  inboxContract('Firestore', () => openTemporaryFirestore(firestore), 300);
});
