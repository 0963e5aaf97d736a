/** The output of the demo: lines of text, coloured at a terminal. */

export interface Narrator {
  chapter(title: string): void;
  /** One sentence of the story. */
  say(sentence: string): void;
  /** A statement that was checked. */
  holds(statement: string): void;
  asks(who: string, request: string): void;
  answers(answer: string): void;
}

/** Columns of a line; longer requests and answers are cut. */
const COLUMNS = 118;

const COLOURS = { bold: 1, dim: 2, green: 32, cyan: 36 } as const;

export function narrator(write: (line: string) => void, inColour: boolean): Narrator {
  const paint = (colour: keyof typeof COLOURS, text: string): string =>
    inColour ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text;
  const line = (text = ''): void => write(`${text}\n`);
  const cut = (text: string): string => (text.length > COLUMNS ? `${text.slice(0, COLUMNS - 1)}…` : text);
  let chapters = 0;
  return {
    chapter(title) {
      chapters += 1;
      line();
      line(paint('bold', `${chapters}. ${title}`));
    },
    say: (sentence) => line(`   ${sentence}`),
    holds: (statement) => line(paint('green', `   ✓ ${statement}`)),
    asks: (who, request) => line(paint('cyan', cut(`     ${who} ← ${request}`))),
    answers: (answer) => line(paint('dim', cut(`        → ${answer}`))),
  };
}
