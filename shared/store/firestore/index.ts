/** The cloud store: Firestore. */
export { openFirestoreStore } from './firestore-store';
export type { FirestoreLimits } from './limits';
