/** Configuration: environment variables, read and checked at the start of a program. */
export {
  type CertificateFiles,
  certificateFilesOf,
  type CertificatePair,
  type CertificateSettings,
  checkPair,
  unreadableFile,
} from './certificate';
export { type CloudConfig, readCloudConfig, readFunctionConfig } from './cloud';
export { settingsHelp } from './help';
export { type Config, readConfig } from './local';
export { ConfigError, type EnvironmentVariables, type Setting } from './read';
export { CLOUD_SETTINGS, EXTENSIONS, type ExtensionName, LEAST_MEMORY_LIMIT_MB, SETTINGS } from './settings';
export type { PortRange } from './values';
