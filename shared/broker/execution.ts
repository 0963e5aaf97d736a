/**
 * Runs the calls that messages carry, at most once each (docs/layers.md, "Calls"): `executing` is written before a call
 * and the answer after it. A call that a crash interrupts is answered "outcome unknown" and is not run again.
 */
import { CmbsError } from '../errors';
import { parseExactJson, stringifyExactJson, type ExactJson } from '../exact-json';
import type { Json } from '../json';
import { SERVICE_CALL_DEADLINE_MS } from '../limits';
import { type Path, readEntity, writeEntity } from '../occi';
import { type Call, type Codecs, Fault, FAULT, jsonOf, outcomeOf, type Services, xmlRpc } from '../services';
import type { Principal } from '../principal';
import type { Traceparent } from '../trace';
import type { Transaction } from '../store';
import { MESSAGE } from './cmbs';
import { registryOf, type BrokerContext } from './context';
import { existing } from './existing';
import { receiptOf, receiptValue, type Receipt } from './receipt';
import { isTrue } from './member';
import { MAX_REPLY_BYTES } from './wire';

/** Most unanswered calls that are checked together. */
const MAX_RUNS_RECOVERED = 10_000;
/** Bytes of an answer: a peer would not take a longer reply, and its sender would ask for it again and again. */
const MAX_ANSWER_BYTES = MAX_REPLY_BYTES - 64 * 1024;
/** Milliseconds after its deadline when a call without an answer counts as interrupted, whichever process ran it. */
const RUN_GRACE_MS = 30_000;

const INTERRUPTED = 'The call was cut off by a restart: its outcome is unknown, and it is not run again.';

/** Collection of calls in flight, each with its runner and its deadline. */
const RUNS = 'runs';

export interface ExecutionContext extends BrokerContext {
  readonly services: Services;
  /** Formats of the calls that messages carry. */
  readonly codecs: Codecs;
  /** Identifies the process that runs calls. */
  readonly runner: string;
  /** Whether every run of the runner has ended by the time this process starts. */
  readonly isOurs: (runner: string) => boolean;
}

/** The caller of a method. */
export interface MethodCaller {
  readonly principal: Principal;
  /** URI of the sending member, as the message claims. */
  readonly sender?: string;
  readonly way: 'execute' | 'message';
  readonly trace?: Traceparent | undefined;
}

/** Where the answer of a run is stored: in a receipt, in a message, or in both. */
export type RunTarget =
  { readonly inbox: string; readonly receipt: string; readonly message?: Path } | { readonly message: Path };

export class Execution {
  readonly #context: ExecutionContext;
  /** Answers of the runs of this process, by run id. */
  readonly #running = new Map<string, Promise<string>>();
  readonly #stop = new AbortController();

  constructor(context: ExecutionContext) {
    this.#context = context;
  }

  /**
   * Answers interrupted calls: runs of a runner that has ended, and runs that are past their deadline.
   * @param late only runs past their deadline, for use while this process runs calls itself
   */
  async recover({ late = false } = {}): Promise<void> {
    const { store, clock, isOurs } = this.#context;
    const { docs } = await store.query({ collection: RUNS, limit: MAX_RUNS_RECOVERED });
    for (const doc of docs) {
      const { runner, until } = doc.value;
      if (this.#running.has(doc.id)) continue;
      const hasRunnerEnded = !late && typeof runner === 'string' && isOurs(runner);
      if (!hasRunnerEnded && Number(until ?? 0) > clock.now()) continue;
      const target = doc.value.target as unknown as RunTarget;
      await this.#finish(doc.id, target, this.outcomeUnknown(recordedCall(doc.value.call), INTERRUPTED));
    }
  }

  /** The call that a content encodes; undefined for any other content. */
  decode(content: ExactJson): Call | undefined {
    return this.#context.codecs.decode(content);
  }

  /** The answer to a call that may or may not have run. */
  outcomeUnknown(call: Call, why: string): string {
    return this.#context.codecs.encode(call, new Fault(FAULT.outcomeUnknown, why));
  }

  /** Marks a call as begun, in the transaction that records the receipt. */
  begin(tx: Transaction, runId: string, call: Call, target: RunTarget): void {
    const { clock, runner } = this.#context;
    const until = clock.now() + SERVICE_CALL_DEADLINE_MS + RUN_GRACE_MS;
    tx.put(RUNS, runId, { call: stringifyExactJson(jsonOf({ ...call })), target, runner, until });
  }

  /** Waits for the calls in flight. Calls that do not end by `deadline` are aborted, and answered at the next start. */
  async close(deadline: Promise<void>): Promise<void> {
    await Promise.race([Promise.allSettled([...this.#running.values()]), deadline]);
    this.#stop.abort();
  }

  /** The answer of a run of this process; undefined for a run that is not in flight. */
  inFlight(runId: string): Promise<string> | undefined {
    return this.#running.get(runId);
  }

  /** Runs a call after {@link begin} and records its answer; resolves with the answer's JSON text. */
  run(runId: string, call: Call, target: RunTarget, caller: MethodCaller): Promise<string> {
    const running = this.#call(call, caller).then(async (answer) => {
      await this.#finish(runId, target, answer);
      return answer;
    });
    this.#running.set(runId, running);
    const forget = (): void => void this.#running.delete(runId);
    running.then(forget, forget);
    return running;
  }

  async #call(call: Call, caller: MethodCaller): Promise<string> {
    const { services, codecs, log, counters } = this.#context;
    const { value, type } = await outcomeOf(services, call, {
      ...caller,
      isStored: true,
      hasAllTypes: call.codec === xmlRpc.name,
      signal: this.#stop.signal,
      log,
    });
    counters.add('cmbs_calls', { outcome: value instanceof Fault ? 'fault' : 'answer' });
    const answer = codecs.encode(call, value, type);
    if (Buffer.byteLength(answer) <= MAX_ANSWER_BYTES) return answer;
    const text = `The answer has more than ${MAX_ANSWER_BYTES} bytes, which no reply can have; call the method over HTTP.`;
    return codecs.encode(call, new Fault(FAULT.internalError, text));
  }

  async #finish(runId: string, target: RunTarget, answer: string): Promise<void> {
    const { store } = this.#context;
    const registry = await registryOf(this.#context);
    await store.transact(async (tx) => {
      // Two processes may answer the same interrupted call; the first answer stays.
      if ((await tx.get(RUNS, runId)) === undefined) return;
      const receipt = 'inbox' in target ? await tx.get(target.inbox, target.receipt) : undefined;
      const message = target.message === undefined ? undefined : await readEntity(tx, target.message);
      tx.delete(RUNS, runId);
      if ('inbox' in target && receipt !== undefined) {
        const executed: Receipt = { ...receiptOf(receipt), state: 'executed', answer };
        const options = receipt.order === undefined ? {} : { order: receipt.order };
        tx.put(target.inbox, target.receipt, receiptValue(executed), {
          ...options,
          ...(receipt.expiresAt === undefined ? {} : { expiresAt: receipt.expiresAt }),
        });
      }
      if (message !== undefined) {
        const { entity } = message;
        const rawJson = { ...entity.rawJson, [MESSAGE.result]: answer };
        writeEntity(tx, { ...entity, rawJson }, entity, registry);
      }
    });
  }

  /**
   * Runs the message's own call, once per run id: the `execute` action.
   * @returns `stored` for a message that is not a call
   * @throws CmbsError `not_found`; `conflict` for a message that may not be executed; `idempotency_mismatch`
   */
  async executeMessage(path: Path, runId: string, caller: MethodCaller): Promise<'executed' | 'stored'> {
    const { store } = this.#context;
    const target: RunTarget = { message: path };
    const call = await store.transact(async (tx): Promise<Call | 'done' | undefined> => {
      const stored = await existing(tx, path);
      const finished = await tx.get(EXECUTED, runId);
      if (finished !== undefined && finished.value.message !== path) {
        throw new CmbsError('idempotency_mismatch', 'This Idempotency-Key was used for another request before.');
      }
      if (finished !== undefined) return 'done';
      if (!isTrue(stored.entity.attributes[MESSAGE.executable])) {
        throw new CmbsError('conflict', `${path} is not executable.`);
      }
      const content = stored.entity.rawJson[MESSAGE.content];
      const found = content === undefined ? undefined : this.decode(parseExactJson(content));
      if (found === undefined) return undefined;
      this.begin(tx, runId, found, target);
      tx.put(EXECUTED, runId, { message: path }, { expiresAt: this.#context.clock.now() + EXECUTED_MS });
      return found;
    });
    if (call === undefined) return 'stored';
    if (call === 'done') await this.#running.get(runId);
    else await this.run(runId, call, target, caller);
    return 'executed';
  }
}

/** Collection of the run ids of `execute` actions, so that a repeated request does not run the call again. */
const EXECUTED = 'executed-runs';
/** Milliseconds for which such a run id is kept: 24 hours, as every idempotency key. */
const EXECUTED_MS = 24 * 60 * 60 * 1000;

/** The call of a stored run: JSON text, or a JSON value as an earlier release stored it. */
function recordedCall(stored: Json | undefined): Call {
  return (typeof stored === 'string' ? parseExactJson(stored) : stored) as unknown as Call;
}
