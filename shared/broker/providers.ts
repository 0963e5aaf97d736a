/** The CMBS extension: the built-in kinds with the providers behind them. */
import { CMBS_ALIASES, CMBS_CATEGORIES, MEMBER_KIND, MESSAGE_KIND } from './cmbs';
import { memberProvider } from './member-provider';
import { messageProvider } from './message-provider';
import type { BrokerOptions } from './options';
import type { Extension } from '../occi';

/** Without providers: for a program that reads and writes members and messages and does not act on them. */
export const CMBS_EXTENSION: Extension = {
  name: 'cmbs',
  categories: CMBS_CATEGORIES,
  providers: [],
  bindings: {},
  aliases: CMBS_ALIASES,
  mergeable: CMBS_CATEGORIES.map(({ scheme, term }) => scheme + term),
};

export type { BrokerOptions };

export function cmbsExtension(options: BrokerOptions): Extension {
  return {
    ...CMBS_EXTENSION,
    providers: [memberProvider(options), messageProvider(options)],
    bindings: { [MEMBER_KIND]: 'cmbs_member', [MESSAGE_KIND]: 'cmbs_message' },
  };
}
