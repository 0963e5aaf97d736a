/** Two companions: who holds the members' sockets when Firestore cannot be reached by one. */
import { describeTwoCompanions, testCutOff } from './companion-pair';

describeTwoCompanions('two companions', (pair) => {
  testCutOff(pair, 'refuses it', (firestore) => firestore.refuse());
});
