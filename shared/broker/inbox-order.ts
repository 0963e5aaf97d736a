/**
 * Where the entries of an inbox are in its order. An entry arrives with the order of its arrival, a time. A lease moves
 * the entry before all of those, by the time at which the lease ends (`!`, the end, the order of its arrival), so that
 * one index has three parts, one after the other:
 *
 * 1. entries whose lease has ended, the earliest end first,
 * 2. entries that are leased now,
 * 3. entries that were never leased, in the order of their arrival.
 *
 * A reader takes the first part, passes the second one without reading it, and takes the third one. The write that leases
 * an entry moves it; no other write and no further index are needed.
 *
 * The order only tells what to look at. The receipt decides whether an entry is leased: release 1.0 leases an entry
 * without moving it, and a process knows the ends of its own leases even if the wall clock was set (`InboxLeases`).
 */
import { orderKey } from '../clock';

const LEASED = '!';
const TIME_LENGTH = orderKey(0).length;

/** An order after those of all leased entries, and before those of all others. */
export const AFTER_LEASED = `${LEASED}~`;

/** @param until milliseconds since the epoch */
export function leasedOrder(order: string, until: number): string {
  return LEASED + orderKey(until, arrivalOrder(order));
}

/** The order with which the entry arrived. */
export function arrivalOrder(order: string): string {
  return order.startsWith(LEASED) ? order.slice(LEASED.length + TIME_LENGTH + 1) : order;
}

/** When the lease ends that moved the entry, in milliseconds since the epoch; undefined for an entry at its first place. */
export function movedUntil(order: string): number | undefined {
  return order.startsWith(LEASED) ? Number(order.slice(LEASED.length, LEASED.length + TIME_LENGTH)) : undefined;
}
