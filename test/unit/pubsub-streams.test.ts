/** The bytes that a process allows Pub/Sub to send, as seen by a server that only records them. */
import { protos } from '@google-cloud/pubsub';
import { grpc } from 'google-gax';
import { systemClock } from '@cmbs/shared';
import {
  type PubsubStream,
  PubsubStreams,
  STREAM_LEAST_BYTES,
  STREAMS_BYTES,
} from '../../shared/bus/pubsub/streams';
import { PUBSUB_BUS_LIMITS, STREAM_BYTES } from '../../shared/bus/pubsub/limits';

// Google's client would look for the metadata server of a cloud.
process.env.METADATA_SERVER_DETECTION = 'none';

const { StreamingPullRequest } = protos.google.pubsub.v1;
type Request = InstanceType<typeof StreamingPullRequest>;

describe('streams from Pub/Sub', () => {
  /** By subscription, the bytes that a stream may bring before some are settled. */
  const promised = new Map<string, number>();
  let onRequest = (): void => undefined;
  const server = new grpc.Server();
  let streams: PubsubStreams;
  const emulator = process.env.PUBSUB_EMULATOR_HOST;

  beforeAll(async () => {
    server.addService(
      {
        streamingPull: {
          path: '/google.pubsub.v1.Subscriber/StreamingPull',
          requestStream: true,
          responseStream: true,
          requestSerialize: (request: Request) => Buffer.from(StreamingPullRequest.encode(request).finish()),
          requestDeserialize: (bytes: Buffer): Request => StreamingPullRequest.decode(bytes),
          responseSerialize: (bytes: Buffer) => bytes,
          responseDeserialize: (bytes: Buffer) => bytes,
        },
      },
      {
        streamingPull: (call: grpc.ServerDuplexStream<Request, Buffer>) => {
          call.once('data', ({ subscription, maxOutstandingBytes }: Request) => {
            promised.set(subscription, Number(maxOutstandingBytes));
            onRequest();
          });
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    process.env.PUBSUB_EMULATOR_HOST = `127.0.0.1:${port}`;
    streams = new PubsubStreams('demo', systemClock, PUBSUB_BUS_LIMITS);
  });
  afterAll(async () => {
    await streams.close();
    server.forceShutdown();
    if (emulator === undefined) delete process.env.PUBSUB_EMULATOR_HOST;
    else process.env.PUBSUB_EMULATOR_HOST = emulator;
  });

  const open = async (number: number): Promise<readonly PubsubStream[]> => {
    promised.clear();
    const all = new Promise<void>((resolve) => (onRequest = () => promised.size === number && resolve()));
    const handlers = { received: () => undefined, ended: () => undefined };
    const opened = Array.from({ length: number }, (_, at) => streams.open(`s${at}`, handlers));
    await all;
    return opened;
  };

  it('get much flow-control credit when they are few, and little when they are many', async () => {
    const few = await open(2);
    expect(Math.max(...promised.values())).toBe(STREAM_BYTES);
    for (const stream of few) stream.close();
    const many = await open(200);
    const bytes = [...promised.values()];
    expect(bytes.reduce((sum, one) => sum + one)).toBeLessThan(STREAMS_BYTES + 200 * STREAM_LEAST_BYTES);
    expect(Math.min(...bytes)).toBe(STREAM_LEAST_BYTES);
    for (const stream of many) stream.stop();
    for (const stream of await open(1)) stream.close();
    expect([...promised.values()]).toEqual([STREAM_BYTES]);
  });
});
