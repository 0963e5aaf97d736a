/** What the container's health check runs: there is no shell in the image, and no curl. */
const port = process.env.CMBS_CONTROL_PORT ?? '8095';

fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
  ({ ok }) => process.exit(ok ? 0 : 1),
  () => process.exit(1),
);
