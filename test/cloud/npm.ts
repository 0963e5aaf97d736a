/** Installs a deployable as an operator does. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Milliseconds for a hundred packages over a slow connection. */
const INSTALL_MS = 120_000;

/** `npm i --omit=dev` in a folder; rejects with npm's output. */
export async function install(directory: string): Promise<void> {
  // This process may be a child of npm and inherit the folder of another project.
  const args = ['install', '--omit=dev', '--no-audit', '--no-fund', `--prefix=${directory}`];
  try {
    await promisify(execFile)('npm', args, { cwd: directory, timeout: INSTALL_MS });
  } catch (cause) {
    const { killed, stderr } = cause as { readonly killed?: boolean; readonly stderr?: string };
    const what = killed === true ? `was not done within ${INSTALL_MS / 1000} s` : 'failed';
    throw new Error(`npm install in ${directory} ${what}: ${stderr ?? String(cause)}`, { cause });
  }
}
