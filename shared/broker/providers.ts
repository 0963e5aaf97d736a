/** The CMBS extension: the built-in kinds with the providers behind them. */
import { cmbsCategories } from './categories';
import { MEMBER_KIND, MESSAGE_KIND } from './cmbs';
import { memberProvider } from './member-provider';
import { messageProvider } from './message-provider';
import type { BrokerOptions } from './options';
import type { Extension } from '../occi';

export function cmbsExtension(options: BrokerOptions): Extension {
  return {
    ...cmbsCategories(options.layers),
    providers: [memberProvider(options), messageProvider(options)],
    bindings: { [MEMBER_KIND]: 'cmbs_member', [MESSAGE_KIND]: 'cmbs_message' },
  };
}
