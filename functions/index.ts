/**
 * The public door of the functions. Each function is registered with functions-framework under its name in the table of
 * routes, and exported in camel case, because the Firebase emulator and deployments look for named exports.
 */
import { register } from './register';

export { provideRuntime, useRuntime, type Runtime } from './runtime';

export const query = register('query');
export const member = register('member');
export const memberInbox = register('member-inbox');
export const memberCheckNeighbors = register('member-check-neighbors');
export const memberStartL1 = register('member-start-l1');
export const memberStopL1 = register('member-stop-l1');
export const memberStartL2 = register('member-start-l2');
export const memberStopL2 = register('member-stop-l2');
export const memberStartL31 = register('member-start-l31');
export const memberStopL31 = register('member-stop-l31');
export const memberStartL32 = register('member-start-l32');
export const memberStopL32 = register('member-stop-l32');
export const memberStartL4 = register('member-start-l4');
export const memberStopL4 = register('member-stop-l4');
export const message = register('message');
export const messageExecute = register('message-execute');
export const messageSend = register('message-send');
export const messageSendL1 = register('message-send-l1');
export const messageSendL2 = register('message-send-l2');
export const messageSendL31 = register('message-send-l31');
export const messageSendL32 = register('message-send-l32');
export const messageSendL4 = register('message-send-l4');
export const messageResend = register('message-resend');
export const messagePurge = register('message-purge');
export const rpc = register('rpc');
export const topicPush = register('topic-push');
export const health = register('health');
export const occi = register('occi');
