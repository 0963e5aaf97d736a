/** `npm run docs`: writes the generated documents. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { referencePages } from './reference';

const directory = join(process.cwd(), 'docs/reference');
mkdirSync(directory, { recursive: true });
for (const [name, text] of Object.entries(referencePages())) writeFileSync(join(directory, name), text);
