"""Training by stock verl, through its extension points: agent loop, rewards of groups, advantages, a CPU backend.

Nothing here patches verl. `agent_loop` runs the graph of inference as verl's agent loop; `sampler` scores whole groups
where verl collects them; `advantages` registers estimators; `cpu` lets verl train on a machine without a GPU.
"""

from agentic_vision.policies.torchvision_ops import declare_operators

declare_operators()  # before verl imports transformers
