/**
 * Evaluates Terraform's expressions without Terraform, as far as `terraform/modules/layout/routing.tf` uses the
 * language, so that routes can be tested on every machine. An unknown expression is an error.
 */
import type { TFExpressionSyntaxTree as Ast } from '@cdktf/hcl2json';
import type { HclParser } from './hcl-parser';

export type Value = null | boolean | number | string | readonly Value[] | { readonly [name: string]: Value };
type Names = Readonly<Record<string, Value>>;

function list(value: Value = null): readonly Value[] {
  if (!Array.isArray(value)) throw new Error(`This is no list: ${JSON.stringify(value)}`);
  return value as readonly Value[];
}

function text(value: Value = null): string {
  if (typeof value !== 'string') throw new Error(`This is no string: ${JSON.stringify(value)}`);
  return value;
}

const same = (one: Value, other: Value): boolean => JSON.stringify(one) === JSON.stringify(other);

const flatten = (values: readonly Value[]): readonly Value[] =>
  values.flatMap((value) => (Array.isArray(value) ? flatten(value as readonly Value[]) : [value]));

/** Terraform's `replace` takes a regular expression between slashes. */
function replace(whole: string, what: string, by: string): string {
  const pattern = /^\/(.+)\/$/.exec(what)?.[1];
  return pattern === undefined ? whole.replaceAll(what, by) : whole.replace(new RegExp(pattern, 'g'), by);
}

const FUNCTIONS: Readonly<Record<string, (...values: Value[]) => Value>> = {
  concat: (...lists) => lists.flatMap(list),
  contains: (values, value = null) => list(values).some((one) => same(one, value)),
  flatten: (values) => flatten(list(values)),
  length: (values) => list(values).length,
  one: (values) => list(values)[0] ?? null,
  replace: (whole, what, by) => replace(text(whole), text(what), text(by)),
  strcontains: (whole, part) => text(whole).includes(text(part)),
};

const OPERATORS: Readonly<Record<string, (left: Value, right: Value) => Value>> = {
  equal: same,
  notEqual: (left, right) => !same(left, right),
  logicalAnd: (left, right) => left === true && right === true,
  logicalOr: (left, right) => left === true || right === true,
  greaterThan: (left, right) => Number(left) > Number(right),
  add: (left, right) => Number(left) + Number(right),
  multiply: (left, right) => Number(left) * Number(right),
};

function known<T>(table: Readonly<Record<string, T>>, name: string): T {
  const found = Object.hasOwn(table, name) ? table[name] : undefined;
  if (found === undefined) throw new Error(`${name} is not known here; add it to test/unit/hcl.ts.`);
  return found;
}

/** The `locals` of a module, evaluated on demand. */
export class Locals {
  readonly #sources: Readonly<Record<string, string>>;
  readonly #variables: Names;
  readonly #values = new Map<string, Promise<Value>>();
  readonly #trees = new Map<string, Promise<Ast.ExpressionType>>();
  readonly #parser: HclParser;

  constructor(parser: HclParser, sources: Readonly<Record<string, string>>, variables: Names) {
    this.#parser = parser;
    this.#sources = sources;
    this.#variables = variables;
  }

  get(name: string): Promise<Value> {
    const value = this.#values.get(name) ?? this.#evaluate(expressionOf(known(this.#sources, name)), {});
    this.#values.set(name, value);
    return value;
  }

  async #evaluate(expression: string, names: Names): Promise<Value> {
    const parsing = this.#trees.get(expression) ?? this.#parser.expression(expression);
    this.#trees.set(expression, parsing);
    return this.#valueOf(await parsing, names);
  }

  async #valueOf(node: Ast.ExpressionType, names: Names): Promise<Value> {
    switch (node.type) {
      case 'literalValue':
        return node.meta.type === 'string' ? node.meta.value : (JSON.parse(node.meta.value) as Value);
      case 'template':
        return (await this.#all(node.children, names)).map(String).join('');
      case 'tuple':
        return this.#all(node.children, names);
      case 'object': {
        const entries: [string, Value][] = [];
        for (const [name, value] of Object.entries(node.meta.items)) {
          entries.push([name, await this.#evaluate(value, names)]);
        }
        return Object.fromEntries(entries);
      }
      case 'scopeTraversal':
        return this.#follow(
          node.meta.traversal.map(({ segment }) => segment),
          names,
        );
      case 'function':
        return known(FUNCTIONS, node.meta.name)(...(await this.#all(node.children, names)));
      case 'conditional': {
        const { conditionExpression, trueExpression, falseExpression } = node.meta;
        const holds = (await this.#evaluate(conditionExpression, names)) === true;
        return this.#evaluate(holds ? trueExpression : falseExpression, names);
      }
      case 'unaryOp':
        known({ logicalNot: true }, node.meta.operator);
        return (await this.#evaluate(node.meta.valueExpression, names)) !== true;
      case 'binaryOp': {
        const left = await this.#evaluate(node.meta.lhsExpression, names);
        return known(OPERATORS, node.meta.operator)(left, await this.#evaluate(node.meta.rhsExpression, names));
      }
      case 'for':
        return this.#repeat(node, names);
      default: {
        // Parentheses have a node without a type.
        const [inner] = node.children;
        if (node.children.length === 1 && inner !== undefined) return this.#valueOf(inner, names);
        return known({}, node.type);
      }
    }
  }

  async #all(nodes: readonly Ast.ExpressionType[], names: Names): Promise<Value[]> {
    const values: Value[] = [];
    for (const node of nodes) values.push(await this.#valueOf(node, names));
    return values;
  }

  async #repeat({ meta }: Ast.ForExpression, names: Names): Promise<Value> {
    known({ '[': true }, meta.openRangeValue);
    const results: Value[] = [];
    for (const [at, value] of list(await this.#evaluate(meta.collectionExpression, names)).entries()) {
      const inner = { ...names, [meta.keyVar]: at, [meta.valVar]: value };
      const condition = meta.conditionalExpression || 'true';
      const isWanted = await this.#evaluate(condition, inner);
      if (isWanted === true) results.push(await this.#evaluate(meta.valueExpression, inner));
    }
    return results;
  }

  async #follow([root = '', first = '', ...rest]: readonly string[], names: Names): Promise<Value> {
    const steps = first === '' ? [] : [first, ...rest];
    if (root === 'local') return steps.slice(1).reduce(member, await this.get(first));
    return steps.reduce(member, root === 'var' ? this.#variables : known(names, root));
  }
}

function member(value: Value, name: string): Value {
  if (value === null || typeof value !== 'object') throw new Error(`${JSON.stringify(value)} has no ${name}.`);
  return known(value as Names, name);
}

/** JSON has an expression as a template that contains nothing else. */
function expressionOf(source: string): string {
  return /^\$\{([^]*)\}$/.exec(source)?.[1] ?? JSON.stringify(source);
}
