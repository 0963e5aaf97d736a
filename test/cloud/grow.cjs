// Preloaded into a program by its test: takes 500 MB of memory at SIGUSR2 and does not give them back.
const held = [];
process.on('SIGUSR2', () => void held.push(Buffer.alloc(500 * 1024 * 1024, 1)));
