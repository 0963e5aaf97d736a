import { storeContract } from '../contract/store-contract';
import { describeOnEmulators } from './support';
import { openTemporaryFirestore } from './temporary-firestore';

describeOnEmulators('Firestore', ({ firestore }) => {
  storeContract('Firestore', () => openTemporaryFirestore(firestore), {
    readsAt: 'one moment',
    // A query of a transaction locks the documents it found, not those that it would find.
    skipped: {
      'keep a name unique that is looked up by a query': 'the emulator does not lock what a query ranges over',
    },
  });
});
