/** Two companions: who holds the members' sockets when Firestore cannot be reached by one. */
import { describeTwoCompanions, testCutOff } from './companion-pair';

describeTwoCompanions('with two companions', (pair) => {
  testCutOff(pair, 'that Firestore refuses', (firestore) => firestore.refuse());
});
