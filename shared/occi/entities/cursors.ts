/** The cursors of listings as clients see them. */
export interface Cursors {
  /** The text for the client. */
  seal(cursor: string): Promise<string>;
  /**
   * The cursor in a text of {@link seal}, of any process of the deployment.
   * @throws CmbsError `bad_request`
   */
  open(text: string): Promise<string>;
}

/** Cursors that clients can read: base64 of the last entity that the page looked at. */
export const READABLE_CURSORS: Cursors = {
  seal: (cursor) => Promise.resolve(cursor),
  open: (text) => Promise.resolve(text),
};
