/** Messages that are published on topics, and deliveries from programs that do not know CMBS. */
import { CloudEvent } from 'cloudevents';
import { busMessageOf, messageOfDelivery } from '../../shared/broker/publication';
import { contentOf, contentText } from '@cmbs/shared/broker';
import type { BusDelivery } from '@cmbs/shared/bus';

const frame = JSON.stringify({
  kind: 'http://houssem.org/cmbs#message',
  mixins: ['http://houssem.org/cmbs#l32'],
  id: 'hello',
  attributes: { cmbs: { message: { cmbs_layer: 'l32', topics: ['news'], message_content: { a: 1 } } } },
});

const published = {
  layer: 'l32',
  topic: 'news',
  message: '/cmbs/message/hello',
  sendId: 'send-1',
  sender: 'https://broker.example/cmbs/member/alice',
  at: Date.UTC(2026, 0, 2, 3, 4, 5),
  frame,
  orderingKey: undefined,
  traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
} as const;

const delivery = (data: string, attributes: Record<string, string> = {}): BusDelivery => ({
  id: '42',
  topic: 'news',
  message: { data, attributes },
  attempt: 1,
});

describe('a publication', () => {
  it('is the message entity, with attributes for readers', () => {
    const { data, attributes } = busMessageOf(published);
    expect(data).toBe(frame);
    expect(attributes).toMatchObject({
      id: 'hello',
      layer: 'l32',
      topic: 'news',
      sender: 'https://broker.example/cmbs/member/alice',
      send_id: 'send-1',
      content_type: 'application/occi+json',
      traceparent: published.traceparent,
    });
  });

  it('is a CloudEvent in binary mode', () => {
    const { data, attributes } = busMessageOf(published);
    const context = Object.fromEntries(
      Object.entries(attributes)
        .filter(([name]) => name.startsWith('ce-'))
        .map(([name, value]) => [name.slice(3), value]),
    );
    const event = new CloudEvent({
      ...context,
      datacontenttype: attributes['content-type'],
      data: JSON.parse(data) as object,
    } as ConstructorParameters<typeof CloudEvent>[0]);
    expect(event.validate()).toBe(true);
    expect(event).toMatchObject({
      specversion: '1.0',
      type: 'org.houssem.cmbs.message',
      source: 'https://broker.example/cmbs/member/alice',
      id: 'hello/send-1',
      subject: 'news',
      time: '2026-01-02T03:04:05.000Z',
      traceparent: published.traceparent,
    });
  });

  it('has an ordering key only if the message has one', () => {
    expect(busMessageOf(published)).not.toHaveProperty('orderingKey');
    expect(busMessageOf({ ...published, orderingKey: '' })).not.toHaveProperty('orderingKey');
    expect(busMessageOf({ ...published, orderingKey: 'k' }).orderingKey).toBe('k');
  });
});

describe('a delivery', () => {
  it('of a message entity is that message, with the same send id each time', () => {
    const { data, attributes } = busMessageOf(published);
    const message = messageOfDelivery('l32', delivery(data, { ...attributes }));
    expect([message.id, message.transfer.send_id, message.transfer.traceparent]).toEqual([
      'hello',
      'send-1',
      published.traceparent,
    ]);
    expect(message.text).toBe(frame);
  });

  it('of an entity from another program takes its send id from the bus', () => {
    const one = messageOfDelivery('l32', delivery(frame));
    expect(one.transfer.send_id).toMatch(/^[\w-]{22}$/);
    expect(messageOfDelivery('l32', delivery(frame)).transfer.send_id).toBe(one.transfer.send_id);
    expect(messageOfDelivery('l32', { ...delivery(frame), id: '43' }).transfer.send_id).not.toBe(
      one.transfer.send_id,
    );
    expect(messageOfDelivery('l4', delivery(frame)).transfer.send_id).not.toBe(one.transfer.send_id);
  });

  it.each([
    ['text', 'plain text', 'plain text'],
    [
      'a JSON object',
      '{"large":12345678901234567890,"a":{"b":[1,[2]]}}',
      { large: 12345678901234567000, a: { b: [1, [2]] } },
    ],
    ['a JSON string', '"quoted"', 'quoted'],
    ['nothing', '', ''],
    ['text that begins like JSON', '{"a":', '{"a":'],
    ['JSON that nests deep', '['.repeat(100) + ']'.repeat(100), '['.repeat(100) + ']'.repeat(100)],
  ])('of %s becomes a message with that content, which is not executed', (_, data, content) => {
    const message = messageOfDelivery('l32', delivery(data, { sender: 'urn:somebody', colour: 'red' }));
    expect(contentOf(message)).toEqual(content);
    expect(message).toMatchObject({
      executable: false,
      storable: true,
      topics: ['news'],
      pathHistory: ['urn:somebody'],
      layer: 'l32',
    });
    expect(messageOfDelivery('l32', delivery(data)).id).toBe(message.id);
  });

  it('keeps JSON byte for byte', () => {
    const data = '{"z":1e2,"a":12345678901234567890,"z":[1.0]}';
    expect(contentText(messageOfDelivery('l32', delivery(data)))).toBe(data);
  });

  it('of a broken message entity is refused permanently', () => {
    const broken = JSON.stringify({ kind: 'http://houssem.org/cmbs#message', id: 'x' });
    expect(() => messageOfDelivery('l32', delivery(broken))).toThrow(
      expect.objectContaining({ code: 'bad_request', retryable: false }) as Error,
    );
  });

  it('above the size limit of a frame is refused permanently', () => {
    expect(() => messageOfDelivery('l32', delivery('x'.repeat(1024 * 1024 + 1)))).toThrow(
      expect.objectContaining({ code: 'too_large', retryable: false }) as Error,
    );
  });
});
