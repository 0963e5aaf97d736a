/** The local stack, which takes 300 MB of memory for each SIGUSR2 and does not give them back. */
import { runProgram } from '@cmbs/emulator/program';

const held: Buffer[] = [];
process.on('SIGUSR2', () => void held.push(Buffer.alloc(300 * 1024 * 1024, 1)));
runProgram(process.argv.slice(2));
