/** A caller as rules name one. */
import type { Principal } from '../principal';

/** A text that names callers in `allow` and `deny`: `user:alice`, `group:ops`, `prefix:/DC=org/`, `owner`, `everybody`. */
export type Subject = string;

const FORM = /^(?:owner|known|everybody|(?:user|group|prefix|member|service):\S(?:.*\S)?)$/;
/** Characters of a subject. */
const MAX_SUBJECT_CHARS = 1000;

/** Whether the text names callers. An empty prefix would name everybody by accident. */
export const isSubject = (text: string): boolean => text.length <= MAX_SUBJECT_CHARS && FORM.test(text);

export const isPrefix = (subject: Subject): boolean => subject.startsWith('prefix:');

export interface Caller {
  readonly principal: Principal;
  /** The owner of a member that acts: the member has the rights of its owner as well. */
  readonly owner?: Principal;
  /** Whether the caller is a member of the group, also by a group above it. */
  readonly isIn: (group: string) => boolean;
  /** The same, and true where it is not known, for a caller in very many groups. */
  readonly mayBeIn: (group: string) => boolean;
}

/** Callers who proved who they are. */
export const isKnown = ({ kind }: Principal): boolean => kind !== 'anonymous';

/** Whether a subject of `deny` names the caller, where it is not known whether the caller is in a group as well. */
export function mayName(subject: Subject, caller: Caller, owner: string | undefined): boolean {
  return names(subject, { ...caller, isIn: caller.mayBeIn }, owner);
}

/** @param owner name of the principal that the resource belongs to */
export function names(subject: Subject, caller: Omit<Caller, 'mayBeIn'>, owner: string | undefined): boolean {
  const acting = [caller.principal, ...(caller.owner === undefined ? [] : [caller.owner])];
  switch (subject) {
    case 'everybody':
      return true;
    case 'known':
      return isKnown(caller.principal);
    case 'owner':
      return owns(caller, owner);
  }
  const colon = subject.indexOf(':');
  const form = subject.slice(0, colon);
  const value = subject.slice(colon + 1);
  switch (form) {
    case 'user':
    case 'member':
    case 'service':
      return acting.some(({ kind, name }) => kind === form && name === value);
    case 'prefix':
      return acting.some(({ kind, name }) => kind === 'user' && name.startsWith(value));
    case 'group':
      return caller.isIn(value);
    default:
      return false;
  }
}

/** Whether a resource of the owner belongs to the caller, or to the owner of a member that acts. */
export function owns(
  { principal, owner: ofMember }: Pick<Caller, 'principal' | 'owner'>,
  owner: string | undefined,
): boolean {
  return isOwner(principal, owner) || (ofMember !== undefined && isOwner(ofMember, owner));
}

/** Users and members own entities. The topic bus, service accounts and callers without credentials own nothing. */
export function isOwner({ kind, name }: Principal, owner: string | undefined): boolean {
  return (kind === 'user' || kind === 'member') && owner !== undefined && name === owner;
}
