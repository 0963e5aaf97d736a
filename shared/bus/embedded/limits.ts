/** Limits that several files of this folder share: each with its unit and reason. */

/** Characters up to which each delivery holds its own copy of the message; larger ones share one document. */
export const MAX_INLINE_MESSAGE_CHARS = 4096;
