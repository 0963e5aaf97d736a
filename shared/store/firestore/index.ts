/** The cloud store: Firestore. */
export { openFirestoreStore } from './firestore-store';
