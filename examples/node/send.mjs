// Creates a member, sends a message on a topic to the member, and prints the received content. Node 20, no packages.
const BASE = process.env.CMBS_URL ?? 'http://127.0.0.1:8090';
const CMBS = 'http://houssem.org/cmbs#';

async function ask(method, path, body) {
  const answer = await fetch(BASE + path, {
    method,
    headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

await ask('PUT', '/cmbs/member/node', {
  kind: `${CMBS}member`,
  attributes: { 'cmbs.member.topics': ['node.>'], 'cmbs.member.start': ['l32'] },
});
const sent = await ask('POST', '/cmbs/message/?send&from=node', {
  kind: `${CMBS}message`,
  mixins: [`${CMBS}l32`],
  attributes: { 'cmbs.message.topics': ['node.example'], 'cmbs.message.message_content': { hello: 'from Node' } },
});
console.log(sent.attributes['cmbs.message.delivery'].state);

const { entries } = await ask('GET', '/cmbs/member/node/inbox/?wait=10');
console.log(JSON.stringify(entries.map(({ message }) => message.attributes.cmbs.message.message_content)));
await ask('DELETE', '/cmbs/member/node/inbox/', { entries: entries.map(({ id }) => id) });
