"""The three business operations, their tables, their router and their stored answers. No Quart."""

from wellnet_sse.provisioning.answers import AnswerKey, Answers, Claim, Completed, Fresh, Running
from wellnet_sse.provisioning.removal import Removals, StepReporter, StepWork
from wellnet_sse.provisioning.rest import RouterLimits
from wellnet_sse.provisioning.router import Router, RouterClient, WriteState

__all__ = [
    "AnswerKey",
    "Answers",
    "Claim",
    "Completed",
    "Fresh",
    "Removals",
    "Router",
    "RouterClient",
    "RouterLimits",
    "Running",
    "StepReporter",
    "StepWork",
    "WriteState",
]
