/** Runs the calls of arriving messages, at most once per send: a retry gets the answer of the first arrival. */
import type { NewId } from '../clock';
import type { Call } from '../services';
import { receiptFor, type Arrival } from './arrival';
import type { Execution, RunTarget } from './execution';
import { inboxOf, type IdentifiedReceipt } from './receipt';
import type { ReceiptWriter } from './receipt-writer';
import { contentOf, exactContentOf, type WireMessage } from './wire';

export class InboundCalls {
  readonly #execution: Execution;
  readonly #receipts: ReceiptWriter;
  readonly #newId: NewId;
  /** Answers of calls in flight, by run id. */
  readonly #inFlight = new Map<string, Promise<string>>();

  constructor(execution: Execution, receipts: ReceiptWriter, newId: NewId) {
    this.#execution = execution;
    this.#receipts = receipts;
    this.#newId = newId;
  }

  /** The call that a message carries; undefined where the message carries none or may not be executed. */
  callIn(message: WireMessage): Call | undefined {
    const call = message.executable ? this.#execution.decode(contentOf(message)) : undefined;
    // Most contents are not calls; only the numbers of calls are parsed exactly.
    return call === undefined ? undefined : (this.#execution.decode(exactContentOf(message)) ?? call);
  }

  /** Records the arrival and runs the call; resolves with the JSON text of the answer. */
  execute(arrival: Arrival, call: Call): Promise<string> {
    const identified = receiptFor(arrival, 'executing', this.#newId);
    const runId = runIdOf(arrival, identified.id);
    const inFlight = this.#inFlight.get(runId) ?? this.#execution.inFlight(runId);
    if (inFlight !== undefined) return inFlight;
    const answer = this.#executeOnce(arrival, identified, call);
    this.#inFlight.set(runId, answer);
    const forget = (): void => void this.#inFlight.delete(runId);
    answer.then(forget, forget);
    return answer;
  }

  async #executeOnce(arrival: Arrival, identified: IdentifiedReceipt, call: Call): Promise<string> {
    const { member, principal } = arrival;
    const { id, receipt } = identified;
    const runId = runIdOf(arrival, id);
    let target: RunTarget = { inbox: inboxOf(member.id), receipt: id };
    const earlier = await this.#receipts.record(arrival, identified, (tx, copy) => {
      target = { inbox: inboxOf(member.id), receipt: id, ...(copy === undefined ? {} : { message: copy }) };
      this.#execution.begin(tx, runId, call, target);
    });
    if (earlier !== undefined) return this.answerAgain(arrival, { id, receipt: earlier }, call);
    const answer = await this.#execution.run(runId, call, target, {
      principal,
      sender: receipt.sender ?? 'unknown',
      way: 'message',
      trace: arrival.trace,
    });
    this.#receipts.answered(member.id, answer);
    return answer;
  }

  /** The answer to a call that arrived before. */
  async answerAgain(
    arrival: Pick<Arrival, 'member'>,
    { id, receipt }: IdentifiedReceipt,
    call: Call,
  ): Promise<string> {
    return (
      receipt.answer ??
      (await this.#execution.inFlight(runIdOf(arrival, id))) ??
      this.#execution.outcomeUnknown(call, 'The outcome of this call is unknown; it is not run again.')
    );
  }
}

const runIdOf = ({ member }: Pick<Arrival, 'member'>, receiptId: string): string => `${member.id}/${receiptId}`;
