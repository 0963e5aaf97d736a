/**
 * The name of a Unix socket in a directory that several processes use. At most one process has the name, the name of a
 * dead process is free again, and the file of another program is never removed.
 *
 * A process first listens at a path of its own (its claim: `.NAME.` and random digits). Then it looks for claims of other
 * processes to the same name, and takes the name only when none of them is alive. Of two processes, the one that looks
 * later sees the other, so they never both take the name. If the other process has the name, or a claim with lower
 * digits, this process gives up. If the other claim has higher digits, this process waits until that claim is gone, or
 * until its process has the name because it looked earlier. So of several processes that start at once, exactly one gets
 * the name.
 *
 * The name itself is a symbolic link to the claim, and is made only where no file is. Only a link to a claim that no
 * process serves is ever removed.
 */
import { randomBytes } from 'node:crypto';
import { lstat, readdir, readlink, rename, link, symlink, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { type Clock } from '@cmbs/shared';
import { IPC_CLAIM_DIGITS } from '../../limits';
import { codeOf } from './errno';

/** Milliseconds after which a claim that does not answer counts as served. */
const PROBE_ANSWER_MS = 2000;
/** Milliseconds that a process waits for another to give up a name that both want, and between two looks. */
const IPC_CONTEST_MS = 2000;
const IPC_CONTEST_LOOK_MS = 5;

/** Why a name cannot be taken. */
export type NameTaken = 'address in use' | 'a file of another program is there';

export class NameTakenError extends Error {
  constructor(readonly reason: NameTaken) {
    super(reason);
  }
}

/** True when a process accepts connections at the path, or may do so: its queue may be full. */
function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const answer = (served: boolean): void => {
      probe.destroy();
      resolve(served);
    };
    probe.setTimeout(PROBE_ANSWER_MS, () => answer(true));
    probe.once('connect', () => answer(true));
    probe.once('error', (error) => answer(codeOf(error) !== 'ECONNREFUSED' && codeOf(error) !== 'ENOENT'));
  });
}

/** The result of `work`, or undefined when it fails with one of these codes. */
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
   * @param taken paths of the sockets that this process has bound; the caller keeps the set
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

  /** Takes the name; a server must listen at {@link claim}. @throws NameTakenError when another process has the name */
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

  /** Frees the name. Call it before the server closes, so that no other process has taken the name yet. */
  async withdraw(): Promise<void> {
    try {
      if (this.#isPublished) await this.#remove(basename(this.claim));
    } finally {
      this.#taken.delete(this.#path);
    }
  }

  /** Whether claims are alive that will give way to this one. @throws NameTakenError when this claim must give way */
  async #isContested(): Promise<boolean> {
    let isContested = false;
    const names = await readdir(this.#directory);
    // A process that looked just before this one listened has removed the claim as one that no process serves.
    if (!names.includes(basename(this.claim))) throw new NameTakenError('address in use');
    for (const name of names) {
      const other = join(this.#directory, name);
      if (!this.#isClaim(name) || other === this.claim) continue;
      const found = await unless(['ENOENT'], lstat(other));
      if (found?.isSocket() !== true) continue;
      if (!(await isServed(other))) {
        await unless(['ENOENT'], unlink(other)); // no process uses the same digits again
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

  /** Makes the link. False when a file has the name. */
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

  /** Removes the name if it is the link to `target`. It is renamed first, since another file may have taken its place. */
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
