/** The files of the programs that have a disk: the local stack and the companion. */
import type { Authorize, Clock } from '@cmbs/shared';
import type { Config } from '@cmbs/shared/config';
import type { Visibility } from '@cmbs/shared/occi';
import { type FileLimits, GovernedFiles, VirtualFiles } from '@cmbs/shared/services/builtin';

export interface FileEnvironment {
  readonly config: Pick<Config, 'CMBS_FILES_DIR' | 'CMBS_FILES_BYTES'>;
  readonly clock: Clock;
  readonly authorize: Authorize;
  /** The access rules may be assembled later than the files. */
  readonly visibility: () => Visibility;
  /** Limits in place of the defaults. */
  readonly limits?: Partial<FileLimits> | undefined;
}

export interface OpenFiles {
  readonly files: GovernedFiles;
  close(): Promise<void>;
}

/**
 * Opens the files of `CMBS_FILES_DIR`; undefined without this setting. The caller closes them.
 * @throws CmbsError `bad_request` for a directory that cannot be used
 */
export async function openFiles({
  config,
  clock,
  authorize,
  visibility,
  limits,
}: FileEnvironment): Promise<OpenFiles | undefined> {
  const { CMBS_FILES_DIR: directory, CMBS_FILES_BYTES: bytes } = config;
  if (directory === undefined) return undefined;
  const disk = await VirtualFiles.open(directory, { clock, bytes, ...(limits === undefined ? {} : { limits }) });
  const files = new GovernedFiles({
    disk,
    authorize,
    visibility: {
      partsFor: (principal) => visibility().partsFor(principal),
      maySee: (principal, resource) => visibility().maySee(principal, resource),
    },
  });
  return { files, close: () => disk.close() };
}
