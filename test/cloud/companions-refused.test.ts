/** Two companions: which one holds the members' sockets when Firestore refuses the connections of one. */
import { describeTwoCompanions, testCutOff } from './companion-pair';

describeTwoCompanions('with two companions', (pair) => {
  testCutOff(pair, 'that Firestore refuses', (firestore) => firestore.refuse());
});
