/** The whole broker on this machine, with nothing but Node: what `npm start` runs under its supervisor (start.ts). */
import { runProgram } from './program';

runProgram(process.argv.slice(2));
