/** Who may import whom (DESIGN): the house's rules, checked by `npm run lint`. */

/** What every part may use: errors, bounds, time, JSON, log. They import only each other, and zod. */
const LEAVES =
  '^shared/(errors|limits|bounded-log|clock|back-off|json|log|metrics|version|trace|structured-log|concurrently|waiting|make-directory|authority|rfc3339|exact-json)\\.ts$';
const INTERFACES = '^shared/(store/store|bus/(bus|push)|link/(link|identity))\\.ts$';
/** Everything in the interfaces' folders that is no interface knows a database, a bus or a wire. */
const ENGINES =
  '^shared/(store/(?!(store|deployment)\\.ts$)|bus/(?!(bus|push)\\.ts$)|link/(?!(link|identity)\\.ts$))';
/** Where programs are put together: the deployed functions' and the companion's mains, the local stack, tests. */
const ASSEMBLERS = '^(functions/(main|cloud)\\.ts$|companion/(main|cloud)\\.ts$|emulator/|test/)';
/** The vocabulary of layers, a list of five words that the link's schemas name. */
const LAYERS = '^shared/broker/layers\\.ts$';

const anyOf = (...paths) => paths.map((path) => `(?:${path})`).join('|');
const npm = (...names) => `^node_modules/(?:${names.join('|')})/`;

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'everything-resolves',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'dependencies-are-declared',
      comment:
        'A program that is deployed cannot use what its package.json does not name, or names for development.',
      severity: 'error',
      from: { path: '^(shared|functions|companion|emulator)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'npm-optional', 'deprecated'] },
    },
    {
      name: 'packages-by-name',
      comment: 'Packages import each other through their doors (@cmbs/…), never by a relative path.',
      severity: 'error',
      from: { path: '^(shared|functions|companion|emulator|test)/' },
      to: { path: '^(shared|functions|companion|emulator|test)/', pathNot: '^$1/', dependencyTypes: ['local'] },
    },
    {
      name: 'own-package-by-path',
      comment: 'Inside a package files import each other directly, not through its own door.',
      severity: 'error',
      from: { path: '^(shared|functions|companion|emulator)/' },
      to: { path: '^$1/', dependencyTypesNot: ['local'] },
    },
    {
      name: 'shared-is-the-bottom',
      severity: 'error',
      from: { path: '^shared/' },
      to: { path: '^(functions|companion|emulator|test)/' },
    },
    {
      name: 'leaves-import-leaves',
      severity: 'error',
      from: { path: LEAVES },
      to: { path: '^shared/', pathNot: LEAVES },
    },
    {
      name: 'interfaces-import-leaves',
      comment: 'An interface says what an engine does and knows neither engines nor the domain.',
      severity: 'error',
      from: { path: INTERFACES },
      to: { path: '^shared/', pathNot: anyOf(LEAVES, LAYERS) },
    },
    {
      name: 'layers-is-a-leaf',
      comment: 'The link names layers, so their list must lead back to nothing.',
      severity: 'error',
      from: { path: LAYERS },
      to: { path: '.' },
    },
    {
      name: 'occi-imports-nothing-above',
      severity: 'error',
      from: { path: '^shared/occi/' },
      to: { path: '^shared/', pathNot: anyOf('^shared/occi/', INTERFACES, LEAVES) },
    },
    {
      name: 'services-import-nothing-above',
      comment: 'What services need from the broker they declare as an interface that the broker implements.',
      severity: 'error',
      from: { path: '^shared/services/' },
      to: { path: '^shared/', pathNot: anyOf('^shared/services/', INTERFACES, LEAVES) },
    },
    {
      name: 'broker-imports-downwards',
      severity: 'error',
      from: { path: '^shared/broker/' },
      to: { path: '^shared/', pathNot: anyOf('^shared/(broker|services|occi)/', INTERFACES, LEAVES) },
    },
    {
      name: 'engines-only-where-programs-are-assembled',
      severity: 'error',
      from: { path: '^(shared|functions|companion|emulator|test)/', pathNot: anyOf(ENGINES, ASSEMBLERS) },
      to: { path: ENGINES },
    },
    {
      name: 'shared-uses-zod-and-re2js',
      comment: 'Only engines know a database or a cloud. The API of OpenTelemetry does nothing by itself.',
      severity: 'error',
      from: { path: '^shared/', pathNot: ENGINES },
      to: { path: '^node_modules/', pathNot: npm('zod', 're2js', '@opentelemetry/api') },
    },
    {
      name: 'shared-knows-no-socket',
      comment: 'No HTTP server and no socket in the domain; the link over HTTP is an engine.',
      severity: 'error',
      from: { path: '^shared/', pathNot: ENGINES },
      to: { path: '^(node:)?(net|tls|dgram|http|https|http2|child_process|worker_threads)$' },
    },
    {
      name: 'functions-stand-alone',
      severity: 'error',
      from: { path: '^functions/' },
      to: { path: anyOf('^(companion|emulator|test)/', npm('zeromq', '@photostructure', 'prom-client')) },
    },
    {
      name: 'companion-stands-alone',
      severity: 'error',
      from: { path: '^companion/' },
      to: { path: anyOf('^(functions|emulator|test)/', npm('@google-cloud/functions-framework')) },
    },
    {
      name: 'zeromq-in-the-companion',
      comment: 'Tests and the benchmark speak to it from outside.',
      severity: 'error',
      from: { pathNot: '^(companion|test|node_modules)/' },
      to: { path: npm('zeromq') },
    },
    {
      name: 'nothing-needs-the-emulator',
      severity: 'error',
      from: { pathNot: '^(emulator|test)/' },
      to: { path: '^(emulator|test)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(dist|coverage)/' },
    // Imports of types count as well: a type is knowledge.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.json', '.node'],
      mainFields: ['main', 'types'],
    },
  },
};
