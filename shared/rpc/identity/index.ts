/** Identity tokens: Google's in the cloud, local keys on a laptop. */
export { identitiesOf } from './identities';
export { newLocalKey } from './local';
