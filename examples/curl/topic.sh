#!/bin/sh
# Creates a member, sends a message on a topic to the member, and prints the inbox.
set -eu
base=${CMBS_URL:-http://127.0.0.1:8090}

ask() {
  curl --fail-with-body -sS -H 'Content-Type: application/json' "$@"
}

ask -o /dev/null -X PUT "$base/cmbs/member/shell" \
  -d '{"kind":"http://houssem.org/cmbs#member","attributes":{"cmbs.member.topics":["shell.>"],"cmbs.member.start":["l32"]}}'
ask -o /dev/null "$base/cmbs/message/?send&from=shell" \
  -d '{"kind":"http://houssem.org/cmbs#message","mixins":["http://houssem.org/cmbs#l32"],"attributes":{"cmbs.message.topics":["shell.example"],"cmbs.message.message_content":"Hello"}}'
ask -H 'Accept: application/json' "$base/cmbs/member/shell/inbox/?wait=10"
