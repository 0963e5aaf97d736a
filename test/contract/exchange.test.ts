/** ZeroMQ over TCP and over Unix sockets, and the example in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zeroMq } from '@cmbs/companion';
import { AddressPolicy } from '../../companion/address-policy';
import { memoryExchange } from '../../examples/extending/memory-exchange';
import { freePort } from '../integration/free-port';
import { exchangeContract } from './exchange-contract';

const LOOPBACK = { isOnLoopback: true, ranges: [], ports: [[1024, 65_535]], ownHosts: [] } as const;

exchangeContract(
  'ZeroMQ over tcp',
  async () => ({
    definition: zeroMq(new AddressPolicy(LOOPBACK)),
    address: async () => `tcp://127.0.0.1:${await freePort()}`,
    respelled: (address) => address.replace('tcp:', 'TCP:'),
    malformed: 'tcp://127.0.0.1:70000',
    close: async () => undefined,
  }),
  { forbidden: { serve: 'tcp://127.0.0.1:80', connect: 'tcp://169.254.169.254:80' } },
);

exchangeContract('ZeroMQ over ipc', async () => {
  const ipcDirectory = await mkdtemp(join(tmpdir(), 'cmbs-'));
  let last = 0;
  return {
    definition: zeroMq(new AddressPolicy({ ...LOOPBACK, ipcDirectory })),
    address: async () => `ipc://member-${(last += 1)}`,
    respelled: (address) => address.replace('ipc:', 'IPC:'),
    malformed: 'ipc://a/b',
    close: () => rm(ipcDirectory, { recursive: true }),
  };
});

exchangeContract('the example in memory', async () => {
  let last = 0;
  return {
    definition: memoryExchange(),
    address: async () => `mem://member-${(last += 1)}`,
    respelled: (address) => address.replace('mem:', 'MEM:'),
    malformed: 'mem://No Name',
    close: async () => undefined,
  };
});
