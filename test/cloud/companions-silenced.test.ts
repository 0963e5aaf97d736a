/** Two companions: which one holds the members' sockets when Firestore does not answer one. */
import { describeTwoCompanions, testCutOff } from './companion-pair';

describeTwoCompanions('with two companions', (pair) => {
  testCutOff(pair, 'that Firestore does not answer', (firestore) => firestore.silence());
});
