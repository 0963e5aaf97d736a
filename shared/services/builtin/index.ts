/** The built-in service modules, beside `system` and `echo` of every program. */
export { keyValueModule, type KeyValuePorts } from './kv';
