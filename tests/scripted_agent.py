"""An agent whose policy is a script: what the tests of the loop share."""

import asyncio

from agentic_vision import VisionAgent, family
from agentic_vision.policies.scripted import ScriptedPolicy
from agentic_vision.protocol import write

FAMILY = family("qwen3-vl")
ANSWER = write(thought="I see it.", answer="417")
FULL = write(thought="Too small.", calls=[("full_res", {})])


def crop(*box, **more):
    return write(calls=[("zoom_crop", {"bbox_2d": list(box), **more})])


def ask(replies, images, question="Which number?", **options):
    return VisionAgent(ScriptedPolicy(replies), **options).ask(images, question)


class Failing(ScriptedPolicy):
    """Fails with `error`, after `seconds`."""

    def __init__(self, error=None, seconds=0.0):
        super().__init__([ANSWER])
        self.error, self.seconds, self.forgotten = error, seconds, []

    async def reply(self, conversation, *, seed=None):
        await asyncio.sleep(self.seconds)
        if self.error:
            raise self.error
        return await super().reply(conversation, seed=seed)

    def forget(self, conversation_id):
        self.forgotten.append(conversation_id)
