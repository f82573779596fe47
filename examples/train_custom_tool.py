"""Train the embedded policy with a tool and a reward of your own, on two CPU cores, in a few minutes.

The tool is the very function that inference runs; the reward is any function of a trajectory and the right answer. Both
are named by file, so nothing has to be installed.

python examples/train_custom_tool.py OUT [KEY=VALUE...]
"""

import sys
from pathlib import Path

from agentic_vision import Box, View, VisionAgent, visual_tool
from agentic_vision.messages import Trajectory
from agentic_vision.training import ExactMatch, FunctionReward
from agentic_vision.training import recipe as recipes
from agentic_vision.training.launch import launch
from agentic_vision.training.rewards import Reward

MARGIN = 0.15  # of the box, on every side


@visual_tool
def zoom_crop(view: View, bbox_2d: Box) -> View:
    """Look at a region of the image in full detail, with a margin around it for boxes that are drawn too small."""
    x, y = MARGIN * bbox_2d.width, MARGIN * bbox_2d.height
    wide = Box(x0=bbox_2d.x0 - x, y0=bbox_2d.y0 - y, x1=bbox_2d.x1 + x, y1=bbox_2d.y1 + y)
    return view.crop(wide)


def few_looks(trajectory: Trajectory, reference: str) -> float:  # noqa: ARG001 (a reward gets both)
    """1 for no call, 1/2 for one, 1/3 for two."""
    return 1 / (1 + len(trajectory.calls))


def reward(thrift: float = 0.2) -> Reward:
    """A right answer is worth 1, looking little `thrift`."""
    return ExactMatch() + thrift * FunctionReward(few_looks)


def main(out: Path, *changes: str) -> None:
    here = Path(__file__).resolve()
    plan = recipes.read(
        "pocket_smoke",
        [f"agent.tools=['{here}:zoom_crop']", f"reward.target={here}:reward", "steps=10", *changes],
    )
    policy = launch(plan, out, lambda step, told: print(f"step {step}: {told}"))
    agent = VisionAgent(str(policy), tools=[zoom_crop])
    print(agent.ask(Path(__file__).parent / "receipt.png", "What is the total?").answer)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("where should the run go? python examples/train_custom_tool.py OUT [KEY=VALUE...]")
    main(Path(sys.argv[1]), *sys.argv[2:])
