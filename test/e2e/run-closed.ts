/** Runs before each suite of the project `closed e2e`, so that its deployments are closed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closingWith } from './closed';
import { closeDeploymentsWith } from './engine';

const directory = mkdtempSync(join(tmpdir(), 'cmbs-closed-'));
closeDeploymentsWith(closingWith(directory));
afterAll(() => rmSync(directory, { recursive: true }));
