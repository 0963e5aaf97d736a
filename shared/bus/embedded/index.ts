/** The embedded bus: topics in the store of one process. */
export { embeddedBus } from './embedded-bus';
