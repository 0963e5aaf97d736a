/** The module `token`: the access tokens of the caller (docs/services.md, docs/access.md). */
import { z } from 'zod';
import { TOKEN, TOKEN_KIND, TOKENS } from '../../access';
import type { ExactObject } from '../../occi';
import type { ServiceModule } from '../module';
import type { Value } from '../value';
import { attributeOf, listAll, pathIn, present } from './access-entities';
import { argumentsOf, shortText } from './arguments';
import type { EntityAccess } from './ports';

const texts = z.array(z.string().max(1000)).max(1000);
const tokenOptions = z.strictObject({
  id: shortText.optional(),
  name: z.string().max(1000).optional(),
  expires_at: z.string().max(100).optional(),
  targets: texts.optional(),
  operations: texts.optional(),
});
const none = z.tuple([]);
const createArguments = z.tuple([tokenOptions.default({})]);
const revokeArguments = z.tuple([shortText]);

function tokenOf(entity: ExactObject): Value {
  return present({
    id: entity.id,
    name: attributeOf(entity, TOKEN.title),
    expires_at: attributeOf(entity, TOKEN.expiresAt),
    targets: attributeOf(entity, TOKEN.targets),
    operations: attributeOf(entity, TOKEN.operations),
  });
}

export function tokenModule(entities: EntityAccess): ServiceModule {
  return {
    name: 'token',
    methods: {
      create: {
        documentation:
          'Makes an access token of the caller, who is a user. The options are `id`, `name` (what the token is for), ' +
          '`expires_at` (RFC 3339), `targets` and `operations` (what the token is limited to). Returns `id` and the ' +
          '`token`, which nothing shows again. Refused for a call in a message, whose answer is stored.',
        signatures: [['struct'], ['struct', 'struct']],
        flags: { secret: true },
        call: async (caller, args) => {
          const [given] = argumentsOf(createArguments, args, 'create(options)');
          const { id, name, expires_at: expiresAt, targets, operations } = given;
          const attributes = present({
            [TOKEN.title]: name,
            [TOKEN.expiresAt]: expiresAt,
            [TOKEN.targets]: targets,
            [TOKEN.operations]: operations,
          });
          const { location, secret } = await entities.create(
            caller,
            present({ kind: TOKEN_KIND, id, attributes }),
          );
          return present({ id: location.slice(TOKENS.length), token: secret });
        },
      },
      list: {
        documentation:
          "Returns the caller's own tokens, without their secrets: `id`, `name`, `expires_at`, `targets`, `operations`.",
        signatures: [['array']],
        flags: { idempotent: true },
        call: async (caller, args) => {
          argumentsOf(none, args, 'list()');
          return listAll({ entities, caller }, TOKENS, tokenOf, { isOwn: true });
        },
      },
      revoke: {
        documentation: 'Deletes a token, which is refused from then on. Returns true.',
        signatures: [['boolean', 'string']],
        call: async (caller, args) => {
          const [id] = argumentsOf(revokeArguments, args, 'revoke(id)');
          await entities.delete(caller, pathIn(TOKENS, id));
          return true;
        },
      },
    },
  };
}
