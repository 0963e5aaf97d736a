/**
 * The smallest function that does what every function of CMBS does first: it opens Firestore with Google's client
 * and reads one document. It is bundled in the same way, so any difference in size and start is due to CMBS.
 */
import { Firestore } from '@google-cloud/firestore';
import { http } from '@google-cloud/functions-framework';

const firestore = new Firestore();

http('readOne', async (_request, response) => {
  const { exists } = await firestore.doc('meta/deployment').get();
  response.json({ exists });
});
