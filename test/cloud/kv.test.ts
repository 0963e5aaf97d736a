import { keyValueContract } from '../contract/kv-contract';
import { describeOnEmulators } from './support';
import { openTemporaryFirestore } from './temporary-firestore';

describeOnEmulators('Firestore', ({ firestore }) => {
  keyValueContract('Firestore', () => openTemporaryFirestore(firestore));
});
