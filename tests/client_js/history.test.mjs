// What is new to the caller, and what the events add up to.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { History } from '../../wellnet_sse/static/progress-history.js';

const step = (id, operation_id, name, status = 'in_progress', progress = 10) => ({
  event: 'progress',
  id,
  data: { operation_id, step: name, status, message: 'm', progress, timestamp: 't' },
});
const ending = (id, operation_id, outcome = 'completed') => ({
  event: 'operation',
  id,
  data: { operation_id, outcome, progress: 100, timestamp: 't' },
});
const live = (id) => ({ event: 'live', id, data: {} });
const gap = { event: 'gap', id: null, data: { requested: 'a-1', earliest: null, latest: null } };
const taken = (history, ...messages) => messages.map((message) => history.receive(message));

test('each cursor is new once', () => {
  const history = new History();
  assert.deepEqual(taken(history, step('a-1', 'op', 's'), step('a-1', 'op', 's'), step('a-2', 'op', 's')), [
    true,
    false,
    true,
  ]);
  assert.deepEqual(taken(history, step('a-1', 'op', 's'), step('a-2', 'other', 't')), [false, false]);
  assert.equal(history.cursor, 'a-2');
});

test('the cursor never moves back, and a good one comes before the first event', () => {
  const history = new History();
  assert.deepEqual(taken(history, live('a-0')), [true]);
  assert.equal(history.cursor, 'a-0');
  taken(history, step('a-5', 'op', 's'), live('a-7'), live('a-6'));
  assert.equal(history.cursor, 'a-7');
  assert.deepEqual(taken(history, step('a-10', 'op', 's')), [true], 'numbers, not text');
});

test('after a gap, state that was seen is dropped, and a step that was never seen is news', () => {
  const history = new History();
  taken(history, live('a-3'), step('a-5', 'op', 's'));
  assert.deepEqual(taken(history, gap, step('a-2', 'op', 'earlier'), step('a-5', 'op', 's'), step('a-9', 'op', 's')), [
    true,
    true,
    false,
    true,
  ]);
  taken(history, live('a-9'));
  assert.deepEqual(taken(history, step('a-4', 'op', 'another')), [false]);
});

test('a new epoch is news from its first event on; a late word of the old one is not', () => {
  const history = new History();
  taken(history, step('a-5', 'op', 's', 'in_progress', 50), gap);
  assert.deepEqual(taken(history, step('b-1', 'op', 't'), live('b-1'), step('a-6', 'op', 's'), live('a-6')), [
    true,
    true,
    false,
    false,
  ]);
  assert.equal(history.cursor, 'b-1');
  assert.deepEqual(
    history.operation('op').steps.map((it) => it.step),
    ['t'],
    'the server’s state supersedes what was known',
  );
});

test('operations of a lost history are orphans until they are told of, or lost', () => {
  const history = new History();
  taken(history, step('a-1', 'gone', 's'), step('a-2', 'stays', 's'), ending('a-3', 'done'), gap);
  taken(history, step('b-1', 'stays', 's'), live('b-1'));
  assert.deepEqual(history.orphans(), ['gone']);
  const loss = { event: 'operation', id: null, data: { operation_id: 'gone', outcome: 'lost', progress: null } };
  assert.deepEqual(taken(history, loss, loss), [true, false]);
  assert.deepEqual(history.orphans(), []);
  assert.equal(history.operation('gone').outcome, 'lost');
});

test('an ending closes the operation, a later event re-opens it, and each opening has its ending', () => {
  const history = new History();
  taken(history, step('a-1', 'op', 's', 'error', 0), ending('a-2', 'op', 'failed'));
  assert.equal(history.operation('op').outcome, 'failed');
  taken(history, step('a-3', 'op', 's'));
  assert.equal(history.operation('op').outcome, null);
  assert.deepEqual(taken(history, ending('a-2', 'op', 'failed'), ending('a-4', 'op')), [false, true]);
  assert.equal(history.operation('op').outcome, 'completed');
});

test('the view is the same frozen object until something changes', () => {
  const history = new History();
  taken(history, step('a-1', 'op', 's', 'in_progress', 33), step('a-2', 'op', 't', 'pending', null));
  const view = history.operation('op');
  assert.equal(view.progress, 16);
  assert.equal(history.operation('op'), view);
  assert.ok(Object.isFrozen(view) && Object.isFrozen(view.steps));
  taken(history, step('a-1', 'op', 's'));
  assert.equal(history.operation('op'), view);
  taken(history, step('a-3', 'other', 's'));
  assert.equal(history.operation('op'), view);
  taken(history, step('a-4', 'op', 's'));
  assert.notEqual(history.operation('op'), view);
  assert.equal(view.cursor, 'a-2');
  assert.equal(history.operation('nothing'), null);
});

test('another tab’s snapshot makes a new tab equal; one that is behind is told of a gap', () => {
  const [leader, fresh, behind] = [new History(), new History(), new History()];
  taken(behind, live('a-0'), step('a-1', 'op', 's'));
  taken(leader, live('a-0'), step('a-1', 'op', 's'), step('a-2', 'op', 's', 'completed', 100), ending('a-3', 'op'));
  taken(leader, step('a-4', 'new', 's'));
  const early = behind.snapshot();
  const events = (history) => history.adopt(leader.snapshot()).map(({ event }) => event);
  assert.deepEqual(events(fresh), ['progress', 'operation', 'progress']);
  assert.deepEqual(events(fresh), []);
  assert.deepEqual(events(behind), ['gap', 'progress', 'operation', 'progress']);
  for (const history of [fresh, behind]) {
    assert.equal(history.cursor, leader.cursor);
    assert.deepEqual(history.operations(), leader.operations());
    assert.deepEqual(taken(history, step('a-4', 'new', 's'), step('a-5', 'new', 's')), [false, true]);
  }
  assert.deepEqual(leader.adopt(early), [], 'nobody is led back');
  assert.equal(leader.cursor, 'a-4');
});

test('state is what a reader who begins now has missed', () => {
  const history = new History();
  taken(history, step('a-1', 'op', 's'), step('a-2', 'done', 's'), step('a-3', 'op', 't'), ending('a-4', 'done'));
  assert.deepEqual(history.state(null).map(({ id }) => id), ['a-1', 'a-3']);
  assert.deepEqual(history.state('done').map(({ id }) => id), ['a-2', 'a-4']);
  assert.deepEqual(history.state('nothing'), []);
});

test('an operation that ended before is taken in, unless the stream will tell it', () => {
  const history = new History();
  const described = {
    operation_id: 'old',
    outcome: 'failed',
    progress: 50,
    cursor: 'a-5',
    finished_at: 'f',
    steps: [{ step: 's', status: 'error', message: 'm', progress: 0, attempt: 2, timestamp: 't' }],
  };
  taken(history, live('a-4'));
  assert.deepEqual(history.adoptEnded(described), []);
  taken(history, live('a-9'));
  assert.deepEqual(history.adoptEnded({ ...described, outcome: null }), []);
  assert.deepEqual(history.adoptEnded({ ...described, cursor: 'z-5' }), []);
  const [first, second] = history.adoptEnded(described);
  assert.deepEqual(Object.keys(first.data), ['operation_id', 'step', 'status', 'message', 'progress', 'timestamp']);
  assert.deepEqual(second.data, { operation_id: 'old', outcome: 'failed', progress: 50, timestamp: 'f' });
  assert.deepEqual(history.adoptEnded(described), [], 'once');
  assert.deepEqual(taken(history, step('a-10', 'old', 's')), [true]);
  assert.equal(history.operation('old').outcome, null);
});

test('an operation that took longer than hundreds of others is not forgotten with its ending', () => {
  const history = new History();
  taken(history, step('a-1', 'long', 's'));
  for (let n = 1; n < 300; n += 1) taken(history, step(`a-${2 * n}`, `op-${n}`, 's'), ending(`a-${2 * n + 1}`, `op-${n}`));
  taken(history, ending('a-1000', 'long'));
  assert.equal(history.operation('long').outcome, 'completed');
});

test('only the latest ended operations are kept', () => {
  const history = new History();
  for (let n = 0; n < 300; n += 1) taken(history, step(`a-${2 * n}`, `op-${n}`, 's'), ending(`a-${2 * n + 1}`, `op-${n}`));
  taken(history, step('a-1000', 'runs', 's'));
  assert.equal(history.operations().length, 201);
  assert.equal(history.operation('op-0'), null);
  assert.equal(history.operation('op-299').outcome, 'completed');
});
