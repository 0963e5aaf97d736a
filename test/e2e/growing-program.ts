/** The local stack, which allocates 300 MB at each SIGUSR2 and keeps them. */
import { runProgram } from '@cmbs/emulator/program';

const held: Buffer[] = [];
process.on('SIGUSR2', () => void held.push(Buffer.alloc(300 * 1024 * 1024, 1)));
runProgram(process.argv.slice(2));
