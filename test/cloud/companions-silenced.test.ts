/** Two companions: who holds the members' sockets when Firestore says nothing to one. */
import { describeTwoCompanions, testCutOff } from './companion-pair';

describeTwoCompanions('two companions', (pair) => {
  testCutOff(pair, 'says nothing to it', (firestore) => firestore.silence());
});
