/** The code of an error of the system or of zeromq (`EAGAIN`), or undefined. */
export function codeOf(error: unknown): string | undefined {
  // Not `instanceof Error`: an error of the runtime may come from another realm than this file.
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
