/** `npm start`: the whole broker on this machine, with nothing but Node. */
import { runProgram } from './program';

runProgram(process.argv.slice(2));
