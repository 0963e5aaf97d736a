import { storeContract } from '../contract/store-contract';
import { describeOnEmulators } from './support';
import { openTemporaryFirestore } from './temporary-firestore';

describeOnEmulators('Firestore', ({ firestore }) => {
  storeContract('Firestore', () => openTemporaryFirestore(firestore), {
    readsAt: 'one moment',
  });
});
