/** The container's health check, a program of its own because the image has no shell and no curl. */
const port = process.env.CMBS_CONTROL_PORT ?? '8095';

fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
  ({ ok }) => process.exit(ok ? 0 : 1),
  () => process.exit(1),
);
