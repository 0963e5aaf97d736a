/**
 * `application/occi+json`. Clients of the original expect its nested form under this type, and GFD.226 defines its own form
 * for the same type. Each kind is therefore shown in the form in which it was defined, and a profile forces one of the two
 * (docs/occi.md, "Renderings").
 */
import { gfd226 } from './gfd226-json';
import { parseJsonBody } from './json/body';
import { nestedJson, OCCI_JSON } from './nested-json';
import type { TextRendering } from './rendering';

/** With `;profile=gfd226`. Definitions that do not show their dialect are read as GFD.226. */
const strictJson: TextRendering = {
  ...gfd226(`${OCCI_JSON};profile=gfd226`),
  mediaTypes: [OCCI_JSON],
  profile: 'gfd226',
  parse: (input) => parseJsonBody(input.body, 'strict'),
};

/** Without a profile. Definitions that do not show their dialect are read as nested, for clients of the original. */
export const occiJson: TextRendering = {
  ...strictJson,
  profile: 'by category',
  parse: (input) => parseJsonBody(input.body, 'nested'),
  inDialect: (dialect) => (dialect === 'nested' ? nestedJson : strictJson),
};

/** The renderings that `;profile=` selects. */
export const PROFILES: readonly TextRendering[] = [nestedJson, strictJson];
