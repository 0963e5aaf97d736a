/**
 * Which test files `npm test` runs, and how. `npm run test:nightly` runs all of them; `npx jest FILE` runs any file.
 */
const { readdirSync } = require('node:fs');
const { join, resolve } = require('node:path');

const ROOT = resolve(__dirname, '../..');

const ALL_PROCESSES =
  'every function as a process of its own (npm test starts some of them, and all in one process)';
const TAKEOVERS = 'more ways in which a companion is replaced (npm test kills and stops one)';
const OUTAGES = 'long outages of Pub/Sub and of emulators (npm test has shorter ones of Firestore)';
const SOAKS = 'load over minutes';

/**
 * Files of test/cloud that only the nightly run includes: soaks, and more cases of a kind that `npm test`
 * includes.
 */
const NIGHTLY_CLOUD = {
  'test/cloud/functions-alone.test.ts': ALL_PROCESSES,
  'test/cloud/companions-refused.test.ts': TAKEOVERS,
  'test/cloud/companions-silenced.test.ts': TAKEOVERS,
  'test/cloud/companions-paused.test.ts': TAKEOVERS,
  'test/cloud/faults-delivery.test.ts': OUTAGES,
  'test/cloud/faults-processes.test.ts': OUTAGES,
  'test/cloud/faults-publishing.test.ts': OUTAGES,
  'test/cloud/limits-flood.test.ts': SOAKS,
  'test/cloud/hot-documents.test.ts': SOAKS,
  'test/cloud/costs.test.ts': 'counts of what each operation costs (docs/costs.md), over many of them',
};

/** Files of test/e2e that `npm test` runs on the emulators too, since they depend on the store or the bus there. */
const ON_EMULATORS = {
  'test/e2e/broker-dead-letters.test.ts': 'what Pub/Sub or a peer cannot take is stored by Firestore',
  'test/e2e/broker-forwarding.test.ts': 'a message goes from one deployment to another by way of Firestore',
  'test/e2e/occi-collections.test.ts': 'lists, filters and pages are queries of Firestore',
  'test/e2e/occi-entities.test.ts': 'revisions and ETags come from Firestore',
};

/** Suites that run one at a time: they kill processes under load, fill disks or flood sockets. */
const ALONE = [
  'test/e2e/durability-disk.test.ts',
  'test/e2e/durability-kill.test.ts',
  'test/integration/sockets-floods.test.ts',
  'test/integration/store-kill.test.ts',
];

/** The suites that take longest, each with its project. */
const LONGEST_FIRST = [
  'cloud: test/cloud/store-faults.test.ts',
  'cloud: test/cloud/companions.test.ts',
  'cloud: test/cloud/faults-firestore.test.ts',
  'local: test/e2e/broker-l1.test.ts',
  'local: test/e2e/hostile-readers.test.ts',
  'local: test/e2e/supervisor.test.ts',
  'local: test/e2e/broker-absent.test.ts',
  'cloud: test/cloud/shards.test.ts',
  'cloud: test/cloud/push.test.ts',
  'cloud: test/cloud/bundles.test.ts',
  'cloud: test/cloud/start-cloud.test.ts',
  'cloud: test/cloud/topics.test.ts',
  'local: test/integration/emulators.test.ts',
  'cloud: test/cloud/store-firestore.test.ts',
  'local: test/integration/category-changes.test.ts',
  'cloud: test/cloud/bus-streams.test.ts',
  'local: test/e2e/broker-operation.test.ts',
  'local: test/e2e/occi-round-trip.test.ts',
  'local: test/e2e/broker-inbox.test.ts',
  'local: test/e2e/broker-topics.test.ts',
  'local: test/integration/functions.test.ts',
];

/** The suites of the local stack that run on Firestore and Pub/Sub as well; the others look into its data directory. */
const E2E = /^test\/e2e\/(broker|occi|hostile|wire)[^/]*\.test\.ts$/;
const LOCAL_ONLY = /(broker-release|hostile-readers)\.test\.ts$/;

const OWN_PROGRAMS = 'start programs as their users do, with settings and requests of their own';

/** The end-to-end suites that run only on open deployments, or choose themselves; the others run on closed ones as well. */
const OPEN_ONLY = {
  'test/e2e/access.test.ts': 'is about closed deployments itself',
  'test/e2e/access-attacks.test.ts': 'is about closed deployments itself',
  'test/e2e/access-cursors.test.ts': 'is about closed deployments itself',
  'test/e2e/schedules.test.ts': 'is about closed deployments itself',
  'test/e2e/service-domain.test.ts': 'has an open and a closed deployment itself',
  'test/e2e/tls.test.ts': OWN_PROGRAMS,
  'test/e2e/documents.test.ts': OWN_PROGRAMS,
  'test/e2e/scripts.test.ts': OWN_PROGRAMS,
  'test/e2e/supervisor.test.ts': OWN_PROGRAMS,
  'test/e2e/hostile-readers.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-backup.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-call.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-disk.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-kill.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-log.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-order.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-start.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-stop.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-taken.test.ts': OWN_PROGRAMS,
  'test/e2e/durability-release-before.test.ts':
    'opens data of an earlier release, in which nothing belongs to a user',
};

/** All test files, relative to the root. */
function testFiles() {
  const found = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' });
  return found
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/${file}`)
    .sort();
}

/** The files of each project. */
function filesByProject() {
  const files = testFiles();
  const isCloud = (file) => file.startsWith('test/cloud/');
  return {
    local: files.filter((file) => !isCloud(file)),
    cloud: files.filter(isCloud),
    'cloud e2e': files.filter((file) => E2E.test(file) && !LOCAL_ONLY.test(file)),
    'closed e2e': files.filter((file) => file.startsWith('test/e2e/') && OPEN_ONLY[file] === undefined),
  };
}

/** Why only the nightly run includes a file of a project; undefined if `npm test` includes the file. */
function nightlyReason(project, file) {
  if (project === 'cloud') return NIGHTLY_CLOUD[file];
  if (project === 'closed e2e') return 'end-to-end suites once more, on closed deployments';
  if (project !== 'cloud e2e' || ON_EMULATORS[file] !== undefined) return undefined;
  return 'end-to-end suites once more, on the emulators';
}

/**
 * The files of each project for a run.
 * @param which `together` or `alone`; all files if absent
 */
function selected({ which, isNightly }) {
  const chosen = Object.entries(filesByProject()).map(([project, files]) => [
    project,
    files.filter((file) => {
      if (!isNightly && nightlyReason(project, file) !== undefined) return false;
      return which === undefined || ALONE.includes(file) === (which === 'alone');
    }),
  ]);
  return Object.fromEntries(chosen);
}

/** Suites that `npm test` leaves out, by reason. */
function leftOut() {
  const counts = {};
  for (const [project, files] of Object.entries(filesByProject())) {
    for (const file of files) {
      const reason = nightlyReason(project, file);
      if (reason !== undefined) (counts[reason] ??= []).push(file);
    }
  }
  return counts;
}

/** Suites that never run on closed deployments, by reason. */
function openOnly() {
  const files = {};
  for (const [file, reason] of Object.entries(OPEN_ONLY)) (files[reason] ??= []).push(file);
  return files;
}

module.exports = {
  ALONE,
  filesByProject,
  leftOut,
  LONGEST_FIRST,
  NIGHTLY_CLOUD,
  ON_EMULATORS,
  OPEN_ONLY,
  openOnly,
  selected,
};
