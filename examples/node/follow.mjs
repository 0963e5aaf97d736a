// Follows a member's inbox as an event stream, prints the first entry and acknowledges it. Node 20, no packages.
const BASE = process.env.CMBS_URL ?? 'http://127.0.0.1:8090';
const member = process.argv[2] ?? 'node';

const answer = await fetch(`${BASE}/cmbs/member/${member}/inbox/`, { headers: { Accept: 'text/event-stream' } });
if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);

let text = '';
for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
  text += chunk;
  const [, data] = /^data: ?(.*)\n(?:.*\n)*?\n/m.exec(text) ?? [];
  if (data === undefined) continue;
  const entry = JSON.parse(data);
  console.log(JSON.stringify(entry.message.attributes.cmbs.message.message_content));
  await fetch(entry.href, { method: 'DELETE' });
  break;
}
