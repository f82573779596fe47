"""The agent as a model of lmms-eval: its tasks, their prompts and their scores, our glances and looks.

It is one of lmms-eval's simple models: a task gives the images in their order (`doc_to_visual`) and one text
(`doc_to_text`, after the task's description and few-shot examples), which are what the agent is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.usage_metrics import is_budget_exceeded, log_usage
from loguru import logger
from tqdm import tqdm

from .. import sync
from ..agent import VisionAgent
from ..errors import ConfigError, MisconfiguredError
from ..messages import StopReason
from .counts import Counts

if TYPE_CHECKING:
    from ..policy import Policy
    from ..result import Result


class AgenticVision(lmms):
    """`--model agentic_vision`; the arguments are those of `--model_args`, `batch_size` and `device` lmms-eval's own.

    `policy`, `base_url`, `api_key`: the folder or hub name of local weights; a model's name, with `base_url` (and
    `api_key`, else OPENAI_API_KEY) of its endpoint; or nothing for the checkpoint that we ship. `tools`: names with +
    in between, `zoom_crop+full_res`; empty for none. `temperature`: of the policy; None is 0 for local weights, and
    the endpoint's own. `glance`, `max_turns`, `max_visual_tokens`, `deadline`, `seed`: as in `VisionAgent`.
    `batch_size`: questions asked at a time. `device`: of local weights.

    Raises `ConfigError` for arguments that cannot be, `PolicyError` for weights that cannot be loaded.
    """

    is_simple = True

    def __init__(
        self,
        policy: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        tools: str | None = None,
        temperature: float | None = None,
        glance: float = 0.25,
        max_turns: int = 4,
        max_visual_tokens: int | None = None,
        deadline: float | None = None,
        seed: int | None = None,
        batch_size: int | str = 1,
        device: str | None = None,
    ) -> None:
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ConfigError("one process asks all questions: start lmms-eval without a launcher, with --batch_size N")
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise ConfigError(f"--batch_size {batch_size}: give the questions to be asked at a time, 1 or more")
        self.batch_size = int(batch_size)
        self.name = policy or "embedded"
        self.agent = VisionAgent(
            _policy(policy, base_url, api_key, temperature, device),
            tools=None if tools is None else [name for name in tools.split("+") if name],
            glance=glance,
            max_turns=max_turns,
            max_visual_tokens=max_visual_tokens,
            deadline=deadline,
            seed=seed,
        )
        self._answered = False

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """An answer a request, in their order; the agent's answer, not what it thought.

        Of a task's generation arguments `until` is honoured, but for the blank line: lmms-eval puts it where a task
        says nothing, and it would cut answers in paragraphs. The others (`max_new_tokens`, `temperature`, ...) are
        about one reply, and the agent has several: they are the policy's own.

        A question that failed, or was not asked since `--max_tokens` are spent, has an empty text without token
        counts, which lmms-eval scores as it scores silence and never caches; it is logged and counted. Raises
        `MisconfiguredError` where not even a first question can be asked (a wrong key, an unknown model).
        """
        counts = Counts()
        outputs = sync.run(self._outputs(requests, counts))
        counts.report()
        return outputs

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        """Not possible."""
        raise NotImplementedError(
            "agentic_vision has no loglikelihood: an agent's answer comes after turns of its own, and endpoints do not "
            "score given text; choose tasks, or variants of them, whose output_type is generate_until"
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> NoReturn:
        """Not possible."""
        raise NotImplementedError(
            "agentic_vision asks every question for itself: rounds that a task leads would have to share the agent's "
            "turns; choose tasks whose output_type is generate_until"
        )

    async def _outputs(self, requests: list[Instance], counts: Counts) -> list[GenerationResult]:
        """The outputs in the order of the requests, `batch_size` of which are under way at a time."""
        outputs: dict[int, GenerationResult] = {}
        waiting = enumerate(requests)
        with tqdm(total=len(requests), desc="Model Responding", disable=self.rank != 0) as bar:
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(self.batch_size):
                        workers.create_task(self._work(waiting, outputs, counts, bar))
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [outputs[number] for number in range(len(requests))]

    async def _work(
        self, waiting: Iterator[tuple[int, Instance]], outputs: dict[int, GenerationResult], counts: Counts, bar: Any
    ) -> None:
        for number, request in waiting:
            context, arguments, doc_to_visual, doc_id, task, split = request.args
            if is_budget_exceeded():
                counts.skipped += 1
                outputs[number] = GenerationResult("")
            else:
                images = list(doc_to_visual(self.task_dict[task][split][doc_id]) or ())
                # A batch of one: whatever goes wrong with this question is its result, and usage is known at once.
                (result,) = await self.agent.abatch([(images, context)], concurrency=1)
                counts.add(result)
                self._log(result, task, doc_id)
                outputs[number] = _output(result, arguments)
            bar.update()

    def _log(self, result: Result, task: str, doc_id: int) -> None:
        """Tells lmms-eval of the tokens, and whoever reads its log of a question without an answer."""
        for turn in result.trajectory.turns:
            log_usage(self.name, task, turn.input_tokens, turn.output_tokens)
        why = f"{task}, question {doc_id}: {result.stop_reason}: {result.trajectory.detail}"
        if result.stop_reason is StopReason.MISCONFIGURED and not self._answered:
            raise MisconfiguredError(why)  # later, what was answered is worth more than a clean end
        if result.stop_reason.failed:
            logger.error(f"Failed, with nothing to score: {why}")
        elif result.answer is None:
            logger.warning(f"No answer: {why}")
        self._answered |= not result.stop_reason.failed


def _output(result: Result, arguments: Mapping[str, Any]) -> GenerationResult:
    if result.stop_reason.failed:
        return GenerationResult("")
    usage = result.usage
    return GenerationResult(
        _cut(result.answer or "", arguments.get("until")), TokenCounts(usage.input_tokens, usage.output_tokens)
    )


def _cut(answer: str, until: str | Iterable[str] | None) -> str:
    """The answer as far as the first of the strings that end it."""
    for end in [until] if isinstance(until, str) else until or ():
        if end.strip("\n"):
            answer = answer.split(end, 1)[0]
    return answer


def _policy(
    policy: str | None, base_url: str | None, api_key: str | None, temperature: float | None, device: str | None
) -> Policy:
    # Imported here: whoever asks an endpoint need not load what runs local weights.
    if base_url is not None or api_key is not None:
        from ..policies.openai import OpenAIPolicy

        if policy is None or device is not None:
            raise ConfigError("base_url and api_key are an endpoint's: name its model, policy=MODEL, and no --device")
        return OpenAIPolicy(policy, base_url=base_url, api_key=api_key, temperature=temperature)
    if policy is None:
        from ..policies.embedded import EmbeddedPolicy

        return EmbeddedPolicy.load(device=device, temperature=temperature or 0.0)
    from ..policies.transformers import TransformersPolicy

    return TransformersPolicy.load(policy, device=device, temperature=temperature or 0.0)
