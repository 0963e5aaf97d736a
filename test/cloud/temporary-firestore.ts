/** A store on the Firestore emulator, in a new project, with a clock that the test moves. */
import { type Log, systemClock } from '@cmbs/shared';
import type { FirestoreStoreOptions } from '../../shared/store/firestore/firestore-store';
import { openFirestoreStore } from '@cmbs/shared/store/firestore';
import type { OpenedStore } from '../contract/store-contract';
import { uniqueProject } from './support';

export interface TemporaryFirestore extends OpenedStore {
  readonly projectId: string;
}

export async function openTemporaryFirestore(
  emulatorHost: string,
  options: Partial<Omit<FirestoreStoreOptions, 'clock' | 'emulatorHost'>> = {},
): Promise<TemporaryFirestore> {
  const { projectId = uniqueProject() } = options;
  // A fixed time, so that only `advance` reaches an expiry.
  const start = systemClock.now();
  let ahead = 0;
  const now = (): number => start + ahead;
  const open = () => openFirestoreStore({ ...options, clock: { now }, emulatorHost, projectId });
  let store = open();
  return {
    projectId,
    store,
    now,
    advance: (ms) => {
      ahead += ms;
    },
    reopen: async () => {
      await store.close();
      store = open();
      return store;
    },
    // The data stay in a project that no other test uses.
    close: () => store.close(),
  };
}

/** A log that keeps its lines. */
export function keptLog(): Log & {
  readonly lines: readonly { readonly level: string; readonly message: string }[];
} {
  const lines: { readonly level: string; readonly message: string }[] = [];
  const keep =
    (level: string) =>
    (message: string): void => {
      lines.push({ level, message });
    };
  return { lines, debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') };
}
