#!/bin/sh
# Calls a method by JSON-RPC. With the same Idempotency-Key, a repeated request is one call.
set -eu
base=${CMBS_URL:-http://127.0.0.1:8090}

curl --fail-with-body -sS "$base/rpc" -H 'Content-Type: application/json' -H 'Idempotency-Key: example 1' \
  -d '{"jsonrpc":"2.0","id":1,"method":"echo.echo","params":["hello",7]}'
