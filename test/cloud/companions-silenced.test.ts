/** Two companions: who holds the members' sockets when Firestore says nothing to one. */
import { describeTwoCompanions, testCutOff } from './companion-pair';

describeTwoCompanions('with two companions', (pair) => {
  testCutOff(pair, 'that Firestore does not answer', (firestore) => firestore.silence());
});
