/** Limits that several files of this room share, each with its unit and reason. */

/** Entities in one creation request, and in one step of bulk work: one transaction must hold them all. */
export const MAX_BATCH_ENTITIES = 500;
/** Milliseconds that one request works on a large collection before it answers with its progress: well below its deadline. */
export const STEPS_BUDGET_MS = 20_000;
/**
 * Categories that clients define, and characters of all stored definitions: every process of a deployment holds them in
 * memory, at about six bytes a character.
 */
export const MAX_CATEGORIES = 5000;
export const MAX_DEFINITIONS_CHARS = 4 * 1024 * 1024;
/** Characters of a scheme, a location or an entity's path: below Firestore's 1,500 bytes for a document id. */
export const MAX_PATH_LENGTH = 1000;
