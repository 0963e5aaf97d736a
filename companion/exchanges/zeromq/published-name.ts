/**
 * The name of a Unix socket in a directory that several processes use: at most one of them has it, a name that a dead
 * process left is free again, and no file of anybody else is ever removed.
 *
 * A process listens at a path of its own first (its claim, `.NAME.` and random digits), then looks at the claims of
 * others to the same name. It takes the name only when it finds no other claim alive: of two processes, the later one to
 * look sees the other, so they never both go on. Where the other has the name, or a claim with lower digits, the process
 * gives way; where the other has higher digits, it waits until that one has gone, or has the name since it looked
 * earlier. So of several that come at once exactly one gets the name. The name itself is a symbolic link to the claim,
 * made only where no file is; what is removed is such a link to a claim that nobody serves.
 */
import { randomBytes } from 'node:crypto';
import { lstat, readdir, readlink, rename, link, symlink, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { type Clock } from '@cmbs/shared';
import { IPC_CLAIM_DIGITS } from '../../limits';
import { codeOf } from './errno';

/** Milliseconds until the operating system must have taken back a port that was closed. */
const RELEASE_MS = 2000;
/** Milliseconds that one process waits for another to give a name up that both want, and between two looks. */
const IPC_CONTEST_MS = 2000;
const IPC_CONTEST_LOOK_MS = 5;

/** Why a name cannot be had. */
export type NameTaken = 'address in use' | 'a file of another program is there';

export class NameTakenError extends Error {
  constructor(readonly reason: NameTaken) {
    super(reason);
  }
}

/** True when a process accepts connections at the path, or may: a full queue is one, too. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const answer = (served: boolean): void => {
      probe.destroy();
      resolve(served);
    };
    probe.setTimeout(RELEASE_MS, () => answer(true));
    probe.once('connect', () => answer(true));
    probe.once('error', (error) => answer(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT'));
  });
}

/** The result, or undefined where the file is not there, or is not of the kind that was asked for. */
async function unless<T>(codes: readonly string[], work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (codes.includes(codeOf(error) ?? '')) return undefined;
    throw error;
  }
}

export class PublishedName {
  readonly #path: string;
  readonly #taken: Set<string>;
  /** Where to listen. */
  readonly claim: string;
  readonly #directory: string;
  readonly #prefix: string;
  #isPublished = false;

  /**
   * @param path of the socket
   * @param taken the paths that this process has; it is the caller's to keep
   * @throws NameTakenError when the path is among them
   */
  constructor(path: string, taken: Set<string>) {
    this.#path = path;
    this.#taken = taken;
    if (taken.has(path)) throw new NameTakenError('address in use');
    taken.add(path);
    this.#directory = dirname(path);
    this.#prefix = `.${basename(path)}.`;
    this.claim = join(this.#directory, this.#prefix + randomBytes(IPC_CLAIM_DIGITS / 2).toString('hex'));
  }

  /** Takes the name, once somebody listens at {@link claim}. @throws NameTakenError when somebody else has it */
  async publish(clock: Clock): Promise<void> {
    const looks = IPC_CONTEST_MS / IPC_CONTEST_LOOK_MS;
    for (let look = 1; await this.#isContested(); look += 1) {
      if (look >= looks) throw new NameTakenError('address in use');
      await new Promise<void>((resolve) => clock.after(IPC_CONTEST_LOOK_MS, resolve));
    }
    if (await this.#link()) return;
    const target = await unless(['ENOENT', 'EINVAL'], readlink(this.#path));
    if (target === undefined || !this.#isClaim(target)) {
      throw new NameTakenError('a file of another program is there');
    }
    if (await isServed(join(this.#directory, target))) throw new NameTakenError('address in use');
    await this.#remove(target);
    if (!(await this.#link())) throw new NameTakenError('a file of another program is there');
  }

  /** Gives the name back; before the socket closes, so that nobody else can have it yet. */
  async withdraw(): Promise<void> {
    try {
      if (this.#isPublished) await this.#remove(basename(this.claim));
    } finally {
      this.#taken.delete(this.#path);
    }
  }

  /** Whether others that will give way to this claim are still there. @throws NameTakenError where this one has to */
  async #isContested(): Promise<boolean> {
    let isContested = false;
    const names = await readdir(this.#directory);
    // Somebody who looked just before this process listened took the claim for one that nobody serves.
    if (!names.includes(basename(this.claim))) throw new NameTakenError('address in use');
    for (const name of names) {
      const other = join(this.#directory, name);
      if (!this.#isClaim(name) || other === this.claim) continue;
      const found = await unless(['ENOENT'], lstat(other));
      if (found?.isSocket() !== true) continue;
      if (!(await isServed(other))) {
        await unless(['ENOENT'], unlink(other)); // such a name is never used a second time
        continue;
      }
      const owner = await unless(['ENOENT', 'EINVAL'], readlink(this.#path));
      if (other < this.claim || owner === name) throw new NameTakenError('address in use');
      isContested = true;
    }
    return isContested;
  }

  #isClaim(name: string): boolean {
    const digits = name.slice(this.#prefix.length);
    return name.startsWith(this.#prefix) && digits.length === IPC_CLAIM_DIGITS && /^[0-9a-f]+$/.test(digits);
  }

  /** False where a file is. */
  async #link(): Promise<boolean> {
    try {
      await symlink(basename(this.claim), this.#path);
      this.#isPublished = true;
      return true;
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw error;
    }
  }

  /** Removes the name if it is the link to `target`: moved aside first, since another file may have come in its place. */
  async #remove(target: string): Promise<void> {
    if ((await unless(['ENOENT', 'EINVAL'], readlink(this.#path))) !== target) return;
    const aside = `${this.claim}.old`;
    if (
      (await unless(
        ['ENOENT'],
        rename(this.#path, aside).then(() => true),
      )) !== true
    )
      return;
    if ((await unless(['EINVAL'], readlink(aside))) !== target) await link(aside, this.#path);
    await unlink(aside);
  }
}
