// The package as `npm pack` makes it, and the React example on it, rendered against the real server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';

import React, { createElement } from 'react';
import TestRenderer, { act } from 'react-test-renderer';
import typescript from 'typescript';

import { TestServer, environment, eventually, newUser } from './server.mjs';

const HERE = import.meta.dirname;
const STATIC = join(HERE, '../../wellnet_sse/static');
const BUILD = join(HERE, 'build/packed');
const PACKAGE = join(BUILD, 'node_modules/wellnet-progress-client');

/** @type {TestServer} */
let server;
let files;
before(async () => {
  rmSync(BUILD, { recursive: true, force: true });
  mkdirSync(PACKAGE, { recursive: true });
  const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', BUILD], {
    cwd: STATIC,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [{ filename, files: packedFiles }] = JSON.parse(packed);
  files = packedFiles.map(({ path }) => path);
  execFileSync('tar', ['-xzf', join(BUILD, filename), '--strip-components=1', '-C', PACKAGE]);
  const example = readFileSync(join(HERE, '../../docs/examples/ConexionDetalles.tsx'), 'utf8');
  const compilerOptions = { module: 'ESNext', target: 'ES2022', jsx: typescript.JsxEmit.ReactJSX };
  const { outputText } = typescript.transpileModule(example, { compilerOptions });
  writeFileSync(join(BUILD, 'ConexionDetalles.mjs'), outputText);
  globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  const { error } = console;
  console.error = (text, ...rest) => /react-test-renderer is deprecated/.test(text) || error(text, ...rest);
  server = await TestServer.shared();
});
after(() => server.end());

test('the package holds what its modules import, and no more than code, types and the licence', () => {
  for (const path of files) assert.match(path, /^(package\.json|README\.md|LICENSE|(progress|use)-[a-z]+(\.d\.ts|\.js))$/);
  for (const path of files.filter((name) => name.endsWith('.js'))) {
    const imports = [...readFileSync(join(PACKAGE, path), 'utf8').matchAll(/^import .* from '\.\/(.*)';$/gm)];
    for (const [, imported] of imports) assert.ok(files.includes(imported), `${path} imports ${imported}`);
  }
  assert.ok(files.includes('use-operation.js'));
  const licence = readFileSync(join(HERE, '../../LICENSE'), 'utf8');
  assert.equal(readFileSync(join(PACKAGE, 'LICENSE'), 'utf8'), licence);
});

test('its version is the server’s', () => {
  const [, version] = readFileSync(join(STATIC, '../__init__.py'), 'utf8').match(/__version__ = "(.*)"/);
  assert.equal(JSON.parse(readFileSync(join(PACKAGE, 'package.json'), 'utf8')).version, version);
});

test('ConexionDetalles shows an operation from the click to its outcome', { timeout: 60_000 }, async (t) => {
  const { ConexionDetalles } = await import(join(BUILD, 'ConexionDetalles.mjs'));
  const { ProgressClient } = await import(join(PACKAGE, 'progress-client.js'));
  const client = new ProgressClient({ userId: newUser(), baseUrl: server.url, environment });
  const page = (id_conexion) =>
    createElement(React.StrictMode, null, createElement(ConexionDetalles, { client, connectionDetails: { id_conexion } }));
  let root;
  await act(async () => {
    root = TestRenderer.create(page(999));
  });
  t.after(() => act(async () => root.unmount()));
  const text = () => JSON.stringify(root.toJSON());
  const button = () => root.root.findByType('button');
  const shows = (wanted) => act(() => eventually(() => text().includes(wanted), wanted));

  await act(async () => void button().props.onClick());
  assert.ok(button().props.disabled);
  await shows('No se pudo completar');
  assert.equal(button().children[0], 'Reintentar');
  assert.equal(root.root.findAllByType('li')[0].props['data-status'], 'error');

  await act(async () => root.update(page(30)));
  assert.equal(button().children[0], 'Eliminar', 'another connection begins anew');
  assert.equal(root.root.findAllByType('li').length, 0);
  await act(async () => void button().props.onClick());
  await shows('Conexión eliminada por completo');
  const steps = root.root.findAllByType('li').map((li) => li.props['data-status']);
  assert.deepEqual(steps, ['completed', 'completed', 'completed']);
  assert.equal(root.root.findByType('progress').props.value, 100);
  await act(async () => root.unmount());
  assert.equal(client.connection.state, 'closed', 'nothing is left behind');
});

test('ConexionDetalles tries what failed again under its id, and what was cancelled under another', async (t) => {
  const { ConexionDetalles } = await import(join(BUILD, 'ConexionDetalles.mjs'));
  const runs = [];
  let outcome;
  const client = Object.assign(new EventTarget(), {
    connection: { state: 'live' },
    watch: () => Object.assign(new EventTarget(), { close() {} }),
    operation: () => operation,
    newOperationId: () => `op-${runs.length}`,
    run: async (_endpoint, _body, { operationId }) => {
      runs.push(operationId);
      operation = Object.freeze({ operation_id: operationId, outcome, progress: 0, steps: [] });
    },
  });
  let operation = null;
  let root;
  await act(async () => {
    root = TestRenderer.create(createElement(ConexionDetalles, { client, connectionDetails: { id_conexion: 1 } }));
  });
  t.after(() => act(async () => root.unmount()));
  for (outcome of ['failed', 'cancelled', 'completed']) {
    await act(async () => void root.root.findByType('button').props.onClick());
  }
  assert.deepEqual(runs, ['op-0', 'op-0', 'op-2']);
});
