"""Registers the CPU engine and the CPU rollout with verl: named in `actor_rollout_ref.model.external_lib`.

verl imports it wherever it builds the model's configuration, in training workers before they open their process group.
"""

import os

from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplicaRegistry

from . import engine as engine
from .platform import start_process_group
from .replica import CpuReplica

ROLLOUT = "cpu"

RolloutReplicaRegistry.register(ROLLOUT, lambda: CpuReplica)
# The worker's side of a rollout has a table of names, and no function to add one.
base._ROLLOUT_REGISTRY[ROLLOUT, "async"] = f"{CpuReplica.__module__}.ServerAdapter"

if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
    start_process_group()
