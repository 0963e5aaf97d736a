/** The local stack as a program, which `npm start` runs under its supervisor (`start.ts`). */
import { runProgram } from './program';

runProgram(process.argv.slice(2));
