/** Who may import whom (docs/design.md), checked by `npm run lint`. */

/** What every room may use: errors, limits, time, JSON, log. They import only each other, and zod. */
const COMMON =
  '^shared/(errors|limits|bounded-log|clock|back-off|json|json-depth|log|metrics|principal|version|trace|structured-log|concurrently|waiting|make-directory|authority|rfc3339|exact-json|grpc-status)\\.ts$';
/** The rooms, each behind one door. An engine is a room of its own inside the room of its interface. */
const ENGINES = [
  'store/sqlite',
  'store/firestore',
  'bus/embedded',
  'bus/pubsub',
  'rpc/http',
  'rpc/identity',
  'rpc/in-process',
  'services/modules',
];
/** Rooms inside other rooms that are no engines: every program may enter them. */
const BUILT_IN = 'services/builtin';
const INNER = [BUILT_IN];
const ROOMS = [
  'config',
  'store',
  'bus',
  'rpc',
  'occi',
  'access',
  'services',
  'broker',
  'devices',
  'domain',
  ...INNER,
  ...ENGINES,
];
/** Doors besides the `index.ts` of a room. */
const SIDE_DOORS = ['bus/pubsub/connect.ts', 'services/modules/kit.ts'];
/** Where programs are assembled: the mains of the functions and the companion, the local stack, tests. */
const ASSEMBLERS =
  '^(functions/(main|cloud|without-bus)\\.ts$|companion/(main|cloud|assembly)\\.ts$|emulator/|test/)';

const exactly = (file) => `^shared/${file.replace('.', '\\.')}$`;
const anyOf = (...paths) => paths.map((path) => `(?:${path})`).join('|');
const IN_ENGINES = anyOf(...ENGINES.map((engine) => `^shared/${engine}/`));
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
      comment: 'Packages import each other through their doors (@cmbs/…); a test may look behind one.',
      severity: 'error',
      from: { path: '^(shared|functions|companion|emulator)/' },
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
      name: 'common-files-import-common-files',
      severity: 'error',
      from: { path: COMMON },
      to: { path: '^shared/', pathNot: COMMON },
    },
    ...ROOMS.map((room) => ({
      name: `door-of-${room.replace('/', '-')}`,
      comment: 'A room is entered by its index.ts; a test may look at the file that it tests.',
      severity: 'error',
      from: { pathNot: anyOf(`^shared/${room}/`, '^test/') },
      to: {
        path: `^shared/${room}/`,
        pathNot: anyOf(
          `^shared/${room}/index\\.ts$`,
          ...SIDE_DOORS.map(exactly),
          // The files of an inner room belong to that room, whose door is checked by itself.
          ...[...INNER, ...ENGINES].filter((one) => one.startsWith(`${room}/`)).map((one) => `^shared/${one}/`),
        ),
      },
    })),
    ...ROOMS.map((room) => ({
      name: `not-through-the-own-door-of-${room.replace('/', '-')}`,
      comment: 'Inside a room files import each other; a way through the door would be a cycle.',
      severity: 'error',
      from: { path: `^shared/${room}/`, pathNot: IN_ENGINES },
      to: { path: `^shared/${room}/index\\.ts$` },
    })),
    ...Object.entries({
      store: [],
      bus: ['store'],
      rpc: ['store'],
      occi: ['store', 'bus', 'rpc'],
      access: ['store', 'occi'],
      services: ['store', 'occi'],
      [BUILT_IN]: ['store', 'occi', 'access', 'services'],
      broker: ['store', 'bus', 'rpc', 'occi', 'services'],
      devices: ['store', 'bus', 'rpc', 'occi', 'access', 'services'],
    }).map(([room, below]) => ({
      name: `${room}-imports-downwards`,
      comment:
        'The order of the rooms: broker and devices, services, occi, and the interfaces of store, bus and rpc.',
      severity: 'error',
      from: {
        path: `^shared/${room}/`,
        pathNot: anyOf(...SIDE_DOORS.map(exactly), ...(room === BUILT_IN ? [] : [`^shared/${BUILT_IN}/`])),
      },
      to: {
        path: '^shared/',
        pathNot: anyOf(COMMON, `^shared/${room}/`, ...below.map((one) => `^shared/${one}/`)),
      },
    })),
    {
      name: 'engines-only-where-programs-are-assembled',
      severity: 'error',
      from: {
        path: '^(shared|functions|companion|emulator|test)/',
        pathNot: anyOf(IN_ENGINES, ASSEMBLERS),
      },
      to: { path: IN_ENGINES },
    },
    {
      name: 'shared-uses-few-packages',
      comment: 'Only engines know a database or a cloud. The API of OpenTelemetry does nothing by itself.',
      severity: 'error',
      from: { path: '^shared/', pathNot: IN_ENGINES },
      to: {
        path: '^node_modules/',
        pathNot: npm('zod', 're2js', 'jose', 'saxes', 'croner', '@opentelemetry/api'),
      },
    },
    {
      name: 'saxes-for-xml',
      comment: 'Reads XML from outside, strictly and without entities: XML-RPC, and objects of devices.',
      severity: 'error',
      from: { pathNot: '^(shared/services/codecs/|shared/devices/formats/|node_modules/)' },
      to: { path: npm('saxes') },
    },
    {
      name: 'croner-for-schedules',
      comment: 'Reads cron expressions and computes their times; it starts no timer here.',
      severity: 'error',
      from: { pathNot: '^(shared/services/schedules/|test/|node_modules/)' },
      to: { path: npm('croner') },
    },
    {
      name: 'jose-for-identities',
      comment: 'Checks tokens of other issuers, which only the identities do.',
      severity: 'error',
      from: { pathNot: '^(shared/access/identities|test|node_modules)/' },
      to: { path: npm('jose') },
    },
    {
      name: 'shared-knows-no-socket',
      comment: 'No HTTP server and no socket in the domain; RPC over HTTP is an engine.',
      severity: 'error',
      from: { path: '^shared/', pathNot: IN_ENGINES },
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
      name: 'zeromq-in-its-exchange',
      comment: 'Tests, the benchmark and the examples speak to it from outside.',
      severity: 'error',
      from: { pathNot: '^(companion/exchanges/zeromq|test|examples|node_modules)/' },
      to: { path: npm('zeromq') },
    },
    {
      name: 'exchanges-behind-their-interface',
      comment: 'The companion knows the interface; the program that assembles it chooses the exchanges.',
      severity: 'error',
      from: { path: '^companion/', pathNot: '^companion/(exchanges/zeromq/|(cloud|index)\\.ts$)' },
      to: { path: '^companion/exchanges/zeromq/' },
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
