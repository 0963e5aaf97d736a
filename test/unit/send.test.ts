import { withPublished, type Receiver, type Send } from '@cmbs/shared/broker/send';

const receiver = (name: string, state: Receiver['state'], via: Receiver['via'] = 'bus'): Receiver => ({
  name,
  via,
  state,
  attempts: 0,
});

const send = (...receivers: Receiver[]): Send => ({
  id: 'one',
  wireId: 'one',
  message: '/cmbs/message/one',
  layer: 'l32',
  from: '/cmbs/member/alice',
  createdAt: 0,
  sequence: 0,
  expiresAt: 1,
  receivers,
});

const states = ({ receivers }: Send): readonly string[] => receivers.map(({ name, state }) => `${name} ${state}`);

describe('a send in hand that was published by somebody else', () => {
  it('takes over what the store says of its topics, and nothing of the others', () => {
    const held = send(receiver('news', 'queued'), receiver('bob', 'delivered', 'request'));
    const stored = send(receiver('news', 'delivered'), receiver('bob', 'queued', 'request'));
    expect(states(withPublished(held, stored))).toEqual(['news delivered', 'bob delivered']);
  });

  it('does not open again what is known to be published: reads may overtake each other', () => {
    const held = send(receiver('news', 'delivered'));
    expect(states(withPublished(held, send(receiver('news', 'queued'))))).toEqual(['news delivered']);
  });

  it('keeps a topic that the store knows nothing of', () => {
    expect(states(withPublished(send(receiver('news', 'queued')), send()))).toEqual(['news queued']);
  });
});
