/** The messages between the program and the thread of a module. All are plain data. */
import type { Json, JsonObject } from '../../json';
import type { Principal } from '../../principal';
import type { MethodFlags, Settings } from './kit';

/** An error of the other thread. */
export type PortError =
  | { readonly kind: 'fault'; readonly code: number; readonly text: string; readonly data?: Json }
  | { readonly kind: 'error'; readonly text: string; readonly stack?: string };

/** The first message: what to load. */
export interface LoadMessage {
  readonly type: 'load';
  readonly name: string;
  /** Absolute path of the entry. */
  readonly file: string;
  /** Appended to the entry's URL where several versions share a thread. */
  readonly query: string;
  /** Absolute path of esbuild's main file; TypeScript is left to Node.js when absent. */
  readonly esbuild?: string;
  readonly settings: Settings;
  /** Names of the functions that the program offers. */
  readonly functions: readonly string[];
}

export interface CallMessage {
  readonly type: 'call';
  readonly id: string;
  /** The part of the name after the dot. */
  readonly method: string;
  readonly methodName: string;
  readonly principal: Principal;
  readonly sender?: string;
  readonly session?: string;
  readonly args: unknown;
}

/** From the program to the module. */
export type ToModule =
  | LoadMessage
  | CallMessage
  /** The caller is gone. The module confirms it, which shows that its thread is not blocked. */
  | { readonly type: 'cancel'; readonly id: string }
  | { readonly type: 'startup'; readonly version: string }
  | { readonly type: 'shutdown' }
  /** The answer to an `ask`. */
  | { readonly type: 'answer'; readonly ask: number; readonly value?: unknown; readonly error?: PortError }
  /** Another process may have taken over a task of `once`. */
  | { readonly type: 'lost'; readonly ask: number };

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a module exports, with the functions left out. */
export interface RawManifest {
  readonly methods: unknown;
  readonly version: unknown;
  readonly priority: unknown;
  readonly depends: unknown;
  readonly hasStartup: boolean;
  readonly hasShutdown: boolean;
}

/** A method as the program knows it. */
export interface MethodManifest {
  readonly documentation: string;
  readonly signatures: readonly (readonly string[])[];
  /** JSON Schemas beside the types of each signature, where the module gave schemas. */
  readonly schemas?: readonly (readonly (JsonObject | null)[])[];
  readonly flags: MethodFlags;
}

/** From the module to the program. */
export type FromModule =
  | { readonly type: 'loaded'; readonly manifest: RawManifest }
  | { readonly type: 'failed'; readonly error: PortError }
  | { readonly type: 'result'; readonly id: string; readonly value: unknown }
  | { readonly type: 'thrown'; readonly id: string; readonly error: PortError }
  | { readonly type: 'cancelled'; readonly id: string }
  | { readonly type: 'started'; readonly error?: PortError }
  | { readonly type: 'stopped'; readonly error?: PortError }
  /** Asks for a function of the program, for a call or (without one) for the module itself. */
  | {
      readonly type: 'ask';
      readonly ask: number;
      readonly call?: string;
      readonly name: string;
      readonly args: unknown;
    }
  /** Asks to run a task once; the answer is whether to run it. */
  | { readonly type: 'once'; readonly ask: number; readonly name: string }
  | { readonly type: 'onceEnded'; readonly ask: number; readonly done: boolean }
  | {
      readonly type: 'log';
      readonly level: LogLevel;
      readonly text: string;
      readonly fields: Readonly<Record<string, string | number | boolean>>;
      readonly call?: string;
      readonly method?: string;
    };
