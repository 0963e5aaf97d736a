/**
 * Runs Terraform's own binary, for checks that only Terraform can make. Without the binary, these tests are
 * skipped with a reason in their name.
 */
import { spawnSync } from 'node:child_process';
import { itNeeding } from '../skipping';

/** The files need version 1.9 or newer. */
function isThere(): boolean {
  const { status, stdout } = spawnSync('terraform', ['version', '-json'], { encoding: 'utf8' });
  if (status !== 0) return false;
  const { terraform_version } = JSON.parse(stdout) as { readonly terraform_version: string };
  const [major = 0, minor = 0] = terraform_version.split('.').map(Number);
  return major === 1 && minor >= 9;
}

export const itWithTerraform = itNeeding(isThere() ? undefined : 'needs terraform, 1.9 or newer');

/** Runs Terraform without network access. */
export function terraform(directory: string, args: readonly string[], input = ''): string {
  const { TF_CLI_CONFIG_FILE: _, ...environment } = process.env;
  const { status, stdout, stderr } = spawnSync('terraform', args, {
    cwd: directory,
    encoding: 'utf8',
    input,
    env: { ...environment, CHECKPOINT_DISABLE: '1', TF_IN_AUTOMATION: '1' },
  });
  if (status !== 0) throw new Error(`terraform ${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}
