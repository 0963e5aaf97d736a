/**
 * The files, as callers may use them: each access is decided by the path `/files/<name>`, for service calls and for HTTP
 * alike. A caller who may not read something is answered as if it were not there.
 */
import { CmbsError } from '../../../errors';
import type { Authorize, Operation, Principal, Resource } from '../../../principal';
import type { Part, Visibility } from '../../../occi';
import { type FileName, nothingAt, pathOf } from './names';
import type { FileInfo, Found, Listing, OpenFile, VirtualFiles } from './virtual-files';

export interface GovernedFilesOptions {
  readonly disk: VirtualFiles;
  readonly authorize: Authorize;
  readonly visibility: Pick<Visibility, 'partsFor' | 'maySee'>;
}

/** Who asks, and how long the caller waits. */
export interface FileCaller {
  readonly principal: Principal;
  readonly signal: AbortSignal;
}

/** A condition on what has the name now. Throws `precondition_failed`. */
export type FileCondition = (current: FileInfo | undefined) => void;
const NO_CONDITION: FileCondition = () => undefined;

/** The files of a program. */
export class GovernedFiles {
  readonly #disk: VirtualFiles;
  readonly #authorize: Authorize;
  readonly #visibility: Pick<Visibility, 'partsFor' | 'maySee'>;

  constructor({ disk, authorize, visibility }: GovernedFilesOptions) {
    this.#disk = disk;
    this.#authorize = authorize;
    this.#visibility = visibility;
  }

  get limits(): VirtualFiles['limits'] {
    return this.#disk.limits;
  }

  /** @throws CmbsError as {@link VirtualFiles.stat}, and as `Authorize` */
  async stat({ principal }: FileCaller, name: FileName): Promise<FileInfo> {
    if (name.length === 0) {
      await this.#mayRead(principal, name, 'directory');
      return this.#disk.stat(name);
    }
    let info: FileInfo;
    try {
      info = await this.#disk.stat(name);
    } catch (error) {
      // A caller without credentials learns that they are needed.
      await this.#mayRead(principal, name, 'file');
      throw error;
    }
    await this.#mayRead(principal, name, info.type);
    return info;
  }

  /** @throws CmbsError as {@link VirtualFiles.read}, and as `Authorize` */
  async read(caller: FileCaller, name: FileName, offset: number, length: number): Promise<Uint8Array> {
    await this.#mayRead(caller.principal, name, 'file');
    return this.#disk.read(name, offset, length, caller.signal);
  }

  /** Opens a file for reading; the caller closes it. @throws CmbsError as {@link VirtualFiles.openFile}, and as `Authorize` */
  async open({ principal }: FileCaller, name: FileName): Promise<OpenFile> {
    await this.#mayRead(principal, name, 'file');
    return this.#disk.openFile(name);
  }

  /** @throws CmbsError as {@link VirtualFiles.digest}, and as `Authorize` */
  async digest({ principal, signal }: FileCaller, name: FileName, algorithm: 'md5' | 'sha256'): Promise<string> {
    await this.#mayRead(principal, name, 'file');
    return this.#disk.digest(name, algorithm, signal);
  }

  /** @throws CmbsError as {@link VirtualFiles.list}, and as `Authorize` */
  async list(
    { principal, signal }: FileCaller,
    name: FileName,
    page: { readonly after?: string; readonly limit: number },
  ): Promise<Listing> {
    await this.#mayRead(principal, name, 'directory');
    return this.#disk.list(name, { ...page, shows: await this.#shownTo(principal), signal });
  }

  /** Does not enter directories that the caller may not read. @throws CmbsError as {@link VirtualFiles.find}, and as `Authorize` */
  async find({ principal, signal }: FileCaller, name: FileName, pattern: string): Promise<Found> {
    await this.#mayRead(principal, name, 'directory');
    return this.#disk.find(name, pattern, { shows: await this.#shownTo(principal), signal });
  }

  /** @throws CmbsError as {@link VirtualFiles.put}, and as `Authorize` and the condition */
  async put(
    { principal }: FileCaller,
    name: FileName,
    bytes: Uint8Array,
    condition = NO_CONDITION,
  ): Promise<{ readonly info: FileInfo; readonly isNew: boolean }> {
    await this.#mayWriteSomehow(principal, name, ['entity.create', 'entity.update']);
    return this.#disk.put(name, bytes, async (current) => {
      await this.#mayPut(principal, name, current);
      condition(current);
    });
  }

  /** @throws CmbsError as {@link VirtualFiles.append}, and as `Authorize` */
  async append({ principal }: FileCaller, name: FileName, offset: number, bytes: Uint8Array): Promise<FileInfo> {
    await this.#decide(principal, 'entity.update', resourceOf(name, 'file'));
    return this.#disk.append(name, offset, bytes, () => undefined);
  }

  /** @throws CmbsError as {@link VirtualFiles.makeDirectory}, and as `Authorize` */
  async makeDirectory({ principal }: FileCaller, name: FileName, condition = NO_CONDITION): Promise<boolean> {
    await this.#decide(principal, 'entity.create', resourceOf(name, 'directory'));
    return this.#disk.makeDirectory(name, condition);
  }

  /** Removes a file or an empty directory. @throws CmbsError as {@link VirtualFiles.remove}, and as `Authorize` */
  async remove({ principal }: FileCaller, name: FileName, condition = NO_CONDITION): Promise<void> {
    if (name.length === 0) await this.#decide(principal, 'entity.delete', resourceOf(name, 'directory'));
    await this.#disk.remove(name, async (current) => {
      await this.#decide(principal, 'entity.delete', resourceOf(name, current?.type ?? 'file'), name);
      condition(current);
    });
  }

  /** The caller's decision about each entry. Most entries are outside the parts that rules show, and cost no decision. */
  async #shownTo(principal: Principal): Promise<(name: FileName, type: FileInfo['type']) => Promise<boolean>> {
    const parts = await this.#visibility.partsFor(principal);
    if (parts === undefined) return () => Promise.resolve(true);
    return async (name, type) => {
      const resource = resourceOf(name, type);
      return parts.some((part) => covers(part, resource.path)) && this.#visibility.maySee(principal, resource);
    };
  }

  #mayRead(principal: Principal, name: FileName, type: FileInfo['type']): Promise<void> {
    return this.#decide(principal, 'entity.read', resourceOf(name, type), name);
  }

  /** @param hidden the name that must not be told from one that is not there; absent: the refusal is shown */
  async #decide(principal: Principal, operation: Operation, resource: Resource, hidden?: FileName): Promise<void> {
    try {
      await this.#authorize(principal, operation, resource);
    } catch (error) {
      const isRefusal = error instanceof CmbsError && error.code === 'forbidden';
      // A refusal about a file hides the file already. About a directory, it is shown for the root, which everybody
      // knows, and for a directory that the caller may read.
      if (!isRefusal || hidden === undefined || hidden.length === 0 || !resource.path.endsWith('/')) throw error;
      if (operation === 'entity.read' || !(await this.#visibility.maySee(principal, resource)))
        throw nothingAt(hidden);
      throw error;
    }
  }

  /** Refuses a caller who may neither create nor change the file before anything is read from the disk. */
  async #mayWriteSomehow(principal: Principal, name: FileName, operations: readonly Operation[]): Promise<void> {
    const refusals: unknown[] = [];
    for (const operation of operations) {
      try {
        await this.#authorize(principal, operation, resourceOf(name, 'file'));
        return;
      } catch (error) {
        refusals.push(error);
      }
    }
    throw refusals[0];
  }

  async #mayPut(principal: Principal, name: FileName, current: FileInfo | undefined): Promise<void> {
    const resource = resourceOf(name, 'file');
    if (current === undefined) return this.#authorize(principal, 'entity.create', resource);
    try {
      await this.#authorize(principal, 'entity.update', resource);
    } catch (error) {
      // A caller who may create files here, and not read them, would read that there is nothing.
      if (!(error instanceof CmbsError && error.code === 'not_found')) throw error;
      throw new CmbsError(
        'forbidden',
        `You may not do this (entity.update of ${resource.path}); ask an administrator for a rule.`,
      );
    }
  }
}

const resourceOf = (name: FileName, type: FileInfo['type']): Resource => ({ path: pathOf(name, type) });

/** Whether a path can be in a part of what the caller sees. Files have no owners and no categories. */
function covers(part: Part, path: string): boolean {
  if ('below' in part) return path.startsWith(part.below);
  if ('paths' in part) return part.paths.includes(path);
  return false;
}
