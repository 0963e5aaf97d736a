/** The contract of `Rpc`, for every transport. */
import { ANONYMOUS, CmbsError, SYSTEM } from '@cmbs/shared';
import type { Rpc, RpcArguments, RpcCaller, RpcHandler, RpcMethod, RpcResult } from '@cmbs/shared/rpc';
import type { RpcOptions } from '../../shared/rpc/rpc';
import { PATIENCE_MS } from '../patience';

export interface OpenedRpc {
  readonly rpc: Rpc;
  /** Sets the companion that receives the calls; undefined when no companion runs. */
  serve(companion: RpcHandler | undefined): void;
  close(): Promise<void>;
}

interface Call {
  readonly member: string;
  readonly action: RpcMethod;
  readonly args: unknown;
  readonly caller: RpcCaller;
}

const BOB = '/cmbs/member/bob';

export function rpcContract(name: string, open: () => Promise<OpenedRpc>): void {
  describe(`the RPC contract, ${name}`, () => {
    let opened: OpenedRpc;
    let calls: Call[];
    beforeEach(async () => {
      opened = await open();
      calls = [];
    });
    afterEach(() => opened.close());

    const serve = (result: (call: Call) => Promise<unknown>): void =>
      opened.serve({
        handle: <A extends RpcMethod>(member: string, action: A, args: RpcArguments<A>, caller: RpcCaller) => {
          const call = { member, action, args, caller };
          calls.push(call);
          return result(call) as Promise<RpcResult<A>>;
        },
      });
    const call = <A extends RpcMethod>(
      action: A,
      args: RpcArguments<A>,
      options: Partial<RpcOptions> = {},
    ): Promise<RpcResult<A>> => opened.rpc.call(BOB, action, args, { deadlineMs: PATIENCE_MS, ...options });

    /** Serves a handler that waits until its signal aborts; the promises resolve when the handler begins and is aborted. */
    const serveEndlessly = (): { readonly began: Promise<void>; readonly aborted: Promise<void> } => {
      let begin = (): void => undefined;
      let abort = (): void => undefined;
      const began = new Promise<void>((resolve) => (begin = resolve));
      const aborted = new Promise<void>((resolve) => (abort = resolve));
      serve(({ caller: { signal } }) => {
        begin();
        return new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            abort();
            reject(new Error('aborted'));
          });
        });
      });
      return { began, aborted };
    };

    it('passes the member, the method, the arguments and the principal to the companion, and returns its result', async () => {
      serve(async () => ({ state: 'failed', reason: 'the port is taken', isOutage: true }));
      expect(await call('reconcile', { layer: 'l31' }, { principal: SYSTEM })).toEqual({
        state: 'failed',
        reason: 'the port is taken',
        isOutage: true,
      });
      expect(calls).toEqual([
        {
          member: BOB,
          action: 'reconcile',
          args: { layer: 'l31' },
          caller: { principal: SYSTEM, signal: expect.any(AbortSignal) as AbortSignal },
        },
      ]);
    });

    it('treats a call without a principal as anonymous', async () => {
      serve(async () => ({}));
      await call('release', {});
      expect(calls.map(({ caller }) => caller.principal)).toEqual([ANONYMOUS]);
    });

    it('handles several calls at the same time', async () => {
      const release: (() => void)[] = [];
      serve(async ({ args }) => {
        await new Promise<void>((resolve) => {
          release.push(resolve);
          // No call returns before all calls have begun.
          if (release.length === 5) for (const one of release) one();
        });
        return { outcome: 'queued', reason: (args as { sendId: string }).sendId };
      });
      const ids = ['1', '2', '3', '4', '5'];
      const results = await Promise.all(ids.map((sendId) => call('send', { sendId })));
      expect(results.map(({ reason }) => reason)).toEqual(ids);
    });

    it('rejects with the error of the handler', async () => {
      serve(async () => {
        throw new CmbsError('not_found', 'There is no such member.', { details: { member: BOB } });
      });
      await expect(call('check_neighbors', {})).rejects.toMatchObject({
        code: 'not_found',
        message: 'There is no such member.',
        details: { member: BOB },
      });
    });

    it('hides an internal error from the caller', async () => {
      serve(async () => {
        throw new TypeError('undefined is not a function');
      });
      const error: unknown = await call('release', {}).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'internal' });
      expect((error as Error).message).not.toContain('undefined');
    });

    it('refuses arguments of another form before they reach the companion', async () => {
      serve(async () => ({}));
      const wrong = { layer: 9 } as unknown as RpcArguments<'reconcile'>;
      await expect(call('reconcile', wrong)).rejects.toThrow();
      expect(calls).toEqual([]);
    });

    it('rejects a result of another form', async () => {
      serve(async () => ({ state: 'open' }));
      await expect(call('reconcile', { layer: 'l1' })).rejects.toThrow();
      expect(calls).toHaveLength(1);
    });

    it('is unavailable while no companion runs, and works after one starts', async () => {
      opened.serve(undefined);
      await expect(call('release', {})).rejects.toMatchObject({ code: 'unavailable' });
      serve(async () => ({}));
      expect(await call('release', {})).toEqual({});
    });

    it('ends at its deadline, and aborts the handler', async () => {
      const { aborted } = serveEndlessly();
      await expect(call('release', {}, { deadlineMs: 50 })).rejects.toMatchObject({ code: 'deadline_exceeded' });
      await aborted;
    });

    it('ends when its caller aborts, and aborts the handler', async () => {
      const { began, aborted } = serveEndlessly();
      const caller = new AbortController();
      const calling = call('release', {}, { signal: caller.signal });
      const refused = expect(calling).rejects.toMatchObject({ code: 'deadline_exceeded' });
      await began;
      caller.abort();
      await refused;
      await aborted;
    });
  });
}
