/** Runs before anything else: an old Node.js would fail with a syntax error. */
var needed = [20, 20];
var current = process.versions.node.split('.').map(Number);
if (current[0] < needed[0] || (current[0] === needed[0] && current[1] < needed[1])) {
  process.stderr.write(
    'CMBS needs Node.js ' +
      needed.join('.') +
      ' or newer, and this is ' +
      process.versions.node +
      ': install a newer one.\n',
  );
  process.exit(1);
}
