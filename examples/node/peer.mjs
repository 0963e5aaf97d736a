// A member without CMBS: takes messages on L1 with zeromq.js, prints their contents and replies.
import { Reply } from 'zeromq';

const ADDRESS = 'tcp://127.0.0.1:6020';

const socket = new Reply();
await socket.bind(ADDRESS);
console.log('listening on', ADDRESS);
for await (const [frame] of socket) {
  try {
    const { message_content } = JSON.parse(frame).attributes.cmbs.message;
    console.log(JSON.stringify(message_content));
    await socket.send(JSON.stringify({ received: message_content }));
  } catch (error) {
    await socket.send(JSON.stringify({ error: { code: 'bad_request', message: String(error) } }));
  }
}
