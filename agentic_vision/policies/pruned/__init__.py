"""What if visual tokens are dropped inside the model instead? The field's methods, as policies on local weights.

    policy = PrunedPolicy.load("Qwen/Qwen2.5-VL-3B-Instruct", "fastv", kept=0.36)
    agent = VisionAgent(policy)

`METHODS` are FastV, VisionDrop and ToDRE, each a module that cites its paper and says what had to be settled for
the Qwen-VL models. The agent works on such a policy as on any other: its views are pruned.
"""

from .policy import METHODS, PrunedPolicy

__all__ = ["METHODS", "PrunedPolicy"]
