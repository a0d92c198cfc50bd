// tsc --strict over the JavaScript, its declarations, callers and the examples; and that the two first agree.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const HERE = import.meta.dirname;
const MADE = join(HERE, 'build/made');

test('the types of the client hold', async () => {
  rmSync(MADE, { recursive: true, force: true });
  cpSync(join(HERE, '../../wellnet_sse/static'), MADE, { recursive: true });
  // tsc would read the declarations beside them instead.
  for (const name of ['progress-client', 'use-operation']) {
    copyFileSync(join(MADE, `${name}.js`), join(MADE, `${name}-implementation.js`));
  }
  const tsc = [join(HERE, 'node_modules/typescript/bin/tsc'), '--project', HERE];
  const { stdout } = await promisify(execFile)(process.execPath, tsc).catch((error) => error);
  assert.equal(stdout, '');
});
