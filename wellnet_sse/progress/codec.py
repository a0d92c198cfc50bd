"""An operation as text and back, for brokers that keep its state beside the log."""

import json
from typing import Any

from wellnet_sse.progress.events import Ending, Event, Outcome, Status
from wellnet_sse.progress.operation import Operation
from wellnet_sse.progress.step import Run, Step


def dump(operation: Operation) -> str:
    """The operation's whole state as compact JSON."""
    ending = operation.ending
    return json.dumps(
        {
            "steps": {
                name: [
                    step.event[2:], step.declared, step.attempt, step.floor, step.seq, step.run,
                    step.began_ms, step.silence_ms, step.place,
                ]
                for name, step in operation.steps.items()
            },
            "runs": [[r.run_id, r.holder, r.ends, r.plan, r.step] for r in operation.runs.values()],
            "outcome": operation.outcome,
            "flags": [operation.cancelling, operation.closing, operation.failed],
            "times": [operation.started_ms, operation.updated_ms, operation.finished_ms],
            "seqs": [operation.first_seq, operation.last_seq, operation.ending_seq],
            "ending": None if ending is None else ending[1:],
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )  # fmt: skip


def load(operation_id: str, text: str) -> Operation:
    """The operation that `dump` wrote."""
    state: dict[str, Any] = json.loads(text)
    operation = Operation(operation_id)
    for name, (event, declared, attempt, floor, seq, run, *timing) in state["steps"].items():
        status, message, progress, at_ms = event
        last = Event(operation_id, name, Status(status), message, progress, at_ms)
        # What an older version wrote has no timing.
        operation.steps[name] = Step(last, declared, attempt, floor, seq, run, *timing)
    for run_id, holder, ends, plan, step in state["runs"]:
        operation.runs[run_id] = Run(run_id, holder, ends, tuple(plan), step)
    operation.outcome = None if state["outcome"] is None else Outcome(state["outcome"])
    operation.cancelling, operation.closing, operation.failed = state["flags"]
    operation.started_ms, operation.updated_ms, operation.finished_ms = state["times"]
    operation.first_seq, operation.last_seq, operation.ending_seq = state["seqs"]
    if state["ending"] is not None:
        outcome, progress, at_ms = state["ending"]
        operation.ending = Ending(operation_id, Outcome(outcome), progress, at_ms)
    return operation


def copy(operation: Operation) -> Operation:
    """A copy that shares nothing which may change."""
    return Operation(
        operation.operation_id,
        {
            name: Step(
                step.event,
                step.declared,
                step.attempt,
                step.floor,
                step.seq,
                step.run,
                step.began_ms,
                step.silence_ms,
                step.place,
            )
            for name, step in operation.steps.items()
        },
        {
            key: Run(run.run_id, run.holder, run.ends, run.plan, run.step)
            for key, run in operation.runs.items()
        },
        operation.outcome,
        operation.cancelling,
        operation.closing,
        operation.failed,
        operation.started_ms,
        operation.updated_ms,
        operation.finished_ms,
        operation.first_seq,
        operation.last_seq,
        operation.ending,
        operation.ending_seq,
    )
