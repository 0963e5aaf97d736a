/** The demo's story, chapter by chapter. Every statement is checked over HTTP. */
import type { Json } from '@cmbs/shared';
import type { Layer } from '@cmbs/shared/broker';
import { at, messageField, textAt, type Answer, type Deployment, type Entry } from './deployment';
import { freePorts } from '../ports';
import type { Statements } from './statements';
import type { Narrator } from './terminal';

export interface Cast {
  readonly alice: Deployment;
  readonly bob: Deployment;
  readonly narrator: Narrator;
  readonly statements: Statements;
}

/** Messages of the chapter about the crash, and how many are sent before the crash. */
const QUEUE = 40;
const BEFORE_CRASH = 15;
/** Milliseconds until queued messages must have arrived: a deployment looks for absent peers at least every two seconds. */
const CATCH_UP_MS = 8000;

const LAYERS = ['l1', 'l2', 'l31', 'l32', 'l4'] as const;
type Sockets = Readonly<Record<(typeof LAYERS)[number], string>>;

async function sockets(): Promise<Sockets> {
  const ports = await freePorts(LAYERS.length);
  return Object.fromEntries(LAYERS.map((layer, n) => [layer, `tcp://127.0.0.1:${ports[n]}`])) as Sockets;
}

const delivery = (answer: Answer): string =>
  `delivery ${textAt(answer.json, 'attributes', 'cmbs', 'message', 'delivery', 'state')}${answer.reason === null ? '' : `: ${answer.reason}`}`;
const outcome = (answer: Answer): string =>
  `${delivery(answer)}, result ${JSON.stringify(messageField(answer.json, 'result') ?? null)}`;
const layersOf = (member: Answer): Json | undefined => at(member.json, 'attributes', 'cmbs', 'member', 'layers');
const contents = (entries: readonly Entry[]): readonly (Json | undefined)[] =>
  entries.map(({ content }) => content);

async function createMember(
  deployment: Deployment,
  own: Sockets,
  more: Readonly<Record<string, Json>>,
): Promise<void> {
  const described = Object.fromEntries(LAYERS.map((layer) => [`${layer}_socket`, own[layer]]));
  await deployment.ask('PUT', deployment.member, {
    body: {
      kind: 'http://houssem.org/cmbs#member',
      title: deployment.name,
      attributes: { cmbs: { member: { ...more, ...described } } },
    },
    tell: () => `Created ${deployment.member}`,
  });
}

async function startLayers(deployment: Deployment, layers: readonly Layer[]): Promise<void> {
  for (const layer of layers) {
    await deployment.ask('POST', `${deployment.member}?action=start_${layer}`, {
      tell: (answer) => `${layer} ${JSON.stringify(at(layersOf(answer), layer))}`,
    });
  }
}

const allStarted = (own: Sockets): Json =>
  Object.fromEntries(LAYERS.map((layer) => [layer, { state: 'started', address: own[layer] }]));

export async function tellStory(cast: Cast): Promise<void> {
  const { alice, bob, narrator } = cast;
  narrator.chapter('Two deployments start, each a process with its own data');
  await Promise.all([alice.start(), bob.start()]);
  narrator.say(`alice answers at ${alice.url}, her data is in ${alice.directory}.`);
  narrator.say(`bob   answers at ${bob.url}, his data is in ${bob.directory}.`);
  const ofBob = await sockets();
  await describeMembers(cast, ofBob);
  await discover(cast, ofBob);
  await exchange(cast, ofBob);
  await survive(cast, ofBob);
}

async function describeMembers({ alice, bob, statements }: Cast, ofBob: Sockets): Promise<void> {
  await createMember(bob, ofBob, { topics: ['weather.>'] });
  await startLayers(bob, LAYERS);
  await createMember(alice, await sockets(), { neighbors_socket: [ofBob.l1] });
  const member = await bob.ask('GET', bob.member, { tell: 'nothing' });
  statements.check('bob has a socket open on each of the five layers.', layersOf(member), allStarted(ofBob));
}

async function discover({ alice, bob, narrator, statements }: Cast, ofBob: Sockets): Promise<void> {
  narrator.chapter('They discover each other');
  const { json } = await alice.ask('POST', `${alice.member}?action=check_neighbors`);
  statements.check('alice knew one address and found bob there.', at(json, 'attributes', 'found'), [
    { socket: ofBob.l1, member: bob.member },
  ]);
  const known = await bob.ask('GET', alice.member, { tell: 'nothing' });
  statements.check(
    'bob now knows alice, without being told.',
    at(known.json, 'attributes', 'cmbs', 'member', 'local'),
    'false',
  );
}

async function exchange(cast: Cast, ofBob: Sockets): Promise<void> {
  const { alice, bob, narrator, statements } = cast;

  narrator.chapter('L1: a message to one socket; a call in it is executed there');
  await alice.create('call', 'l1', {
    message_content: { method: 'echo.echo', params: ['hello bob', 42], id: 1 },
    l1_socket_receiver_member: ofBob.l1,
  });
  const called = await alice.send(
    'call',
    'l1',
    (answer) =>
      `${delivery(answer)}, result.result ${JSON.stringify(messageField(answer.json, 'result', 'result'))}`,
  );
  statements.check(
    'bob executed the call, and its answer is in the message.',
    messageField(called.json, 'result', 'result'),
    {
      id: 1,
      result: ['hello bob', 42],
    },
  );
  const [received] = await bob.receive(1);
  statements.check(
    "bob's inbox has the message, as executed.",
    [received?.layer, received?.state],
    ['l1', 'executed'],
  );

  narrator.chapter('L2: a message to every known member');
  await alice.create('news', 'l2', { message_content: 'good morning, all' });
  const broadcast = await alice.send('news', 'l2', outcome);
  statements.check('The message was sent to bob.', messageField(broadcast.json, 'result'), {
    [bob.member]: 'sent',
  });
  statements.check('bob has received the message.', contents(await bob.receive(1)), ['good morning, all']);

  narrator.chapter('L3.1: a message to named members, who acknowledge it');
  await alice.create('order', 'l31', { message_content: { order: 7 }, providers: ['bob'] });
  const acknowledged = await alice.send('order', 'l31', delivery);
  statements.check(
    'bob has acknowledged the message.',
    messageField(acknowledged.json, 'result', 'bob', 'member_description', 'id'),
    'bob',
  );
  statements.check('bob has received the message.', contents(await bob.receive(1)), [{ order: 7 }]);

  narrator.chapter('L3.2: a message to every subscriber of a topic');
  await alice.create('report', 'l32', { message_content: { celsius: 21 }, topics: ['weather.paris'] });
  await alice.create('gossip', 'l32', { message_content: 'psst', topics: ['gossip.paris'] }, 'nothing');
  await alice.send('gossip', 'l32', 'nothing');
  const published = await alice.send('report', 'l32', delivery);
  statements.check('The message is delivered.', messageField(published.json, 'delivery', 'state'), 'delivered');
  statements.check(
    'bob, who subscribes to weather.>, has received this message and no gossip.',
    contents(await bob.receive(1)),
    [{ celsius: 21 }],
  );

  narrator.chapter('L4: a message to named members that subscribe to the topic');
  await alice.create('warning', 'l4', { message_content: 'storm', topics: ['weather.brest'], providers: ['bob'] });
  const warned = await alice.send('warning', 'l4', delivery);
  statements.check('The message is delivered.', messageField(warned.json, 'delivery', 'state'), 'delivered');
  const [warning] = await bob.receive(1);
  statements.check('bob has received the message on L4.', [warning?.layer, warning?.content], ['l4', 'storm']);
}

async function survive({ alice, bob, narrator, statements }: Cast, ofBob: Sockets): Promise<void> {
  narrator.chapter('bob crashes (kill -9) while alice sends');
  narrator.say(`alice sends bob ${QUEUE} messages, one after the other; bob is killed after ${BEFORE_CRASH}.`);
  const statuses: number[] = [];
  let dying: Promise<void> | undefined;
  for (let n = 1; n <= QUEUE; n++) {
    const told = n === 1 || n === QUEUE || (statuses.at(-1) === 202 && statuses.at(-2) !== 202);
    if (n === BEFORE_CRASH + 1) dying = bob.kill();
    await alice.create(`m${n}`, 'l1', { message_content: n, l1_socket_receiver_member: ofBob.l1 }, 'nothing');
    const { status } = await alice.send(`m${n}`, 'l1', told ? delivery : 'nothing');
    statuses.push(status);
  }
  await dying;
  const queued = statuses.filter((status) => status === 202).length;
  narrator.say(`${QUEUE - queued} were delivered (200), ${queued} are queued (202).`);
  statements.check(
    'alice has accepted every message.',
    statuses.every((status) => [200, 202].includes(status)),
    true,
  );
  statements.check(
    'The messages before the crash were delivered.',
    statuses.slice(0, BEFORE_CRASH).includes(202),
    false,
  );
  statements.check('Messages after the crash wait.', queued > 0, true);

  narrator.say('bob starts again with the same data. No request tells him to open his sockets.');
  const restarted = Date.now();
  await bob.start();
  const member = await bob.ask('GET', bob.member, { tell: (answer) => JSON.stringify(layersOf(answer)) });
  statements.check('His five sockets are open again.', layersOf(member), allStarted(ofBob));
  const numbers = contents(await bob.receive(QUEUE, { withinMs: CATCH_UP_MS, tell: false }));
  const took = ((Date.now() - restarted) / 1000).toFixed(1);
  narrator.say(`His inbox: ${JSON.stringify(numbers)}`);
  statements.check(
    `All ${QUEUE} messages are there, in order, each once, ${took} s after he started.`,
    numbers,
    Array.from({ length: QUEUE }, (_, n) => n + 1),
  );
  statements.check('alice knows that each message is delivered.', await outcomesOf(alice), { delivered: QUEUE });
  const rest = await bob.ask('GET', `${bob.member}/inbox/`);
  statements.check('No other message came.', rest.json.entries, []);
}

/** How many of the numbered messages are in each state, when none of them is queued or being sent. */
async function outcomesOf(alice: Deployment): Promise<Readonly<Record<string, number>>> {
  const deadline = Date.now() + CATCH_UP_MS;
  for (;;) {
    const states: Record<string, number> = {};
    for (let n = 1; n <= QUEUE; n++) {
      const { json } = await alice.ask('GET', `/cmbs/message/m${n}`, { tell: 'nothing' });
      const state = textAt(json, 'attributes', 'cmbs', 'message', 'delivery', 'state');
      states[state] = (states[state] ?? 0) + 1;
    }
    if ((states.queued ?? 0) + (states.sending ?? 0) === 0 || Date.now() > deadline) return states;
  }
}
