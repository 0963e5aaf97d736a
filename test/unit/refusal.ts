import type { ErrorCode } from '@cmbs/shared';

/** For `toThrow`: an error of the catalogue with this code, whose sentence contains `says`. */
export function refusal(code: ErrorCode, says = ''): Error {
  return expect.objectContaining({ code, message: expect.stringContaining(says) as string }) as Error;
}
