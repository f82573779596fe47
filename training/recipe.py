"""What a recipe says, and how `key=value` changes it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentic_vision.errors import ConfigError
from agentic_vision.imports import load
from agentic_vision.policy import Policy, PromptStyle

from .imports import absolute
from .plans import read_plan

if TYPE_CHECKING:
    from agentic_vision import Toolbox, VisionAgent

RECIPES = Path(__file__).parent / "recipes"

Target = dict[str, Any]
"""`{"target": "package.module:name" or "file.py:name", **arguments}`"""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AgentSettings(_Section):
    """The agent that is trained. `tools`: names of installed tools, or `file.py:name`, `package.module:name`.

    `family`: a name of `visual_tokens.FAMILIES`; None reads it from the checkpoint.
    """

    tools: tuple[str, ...] = ("zoom_crop", "full_res", "resize")
    glance: float = Field(default=0.25, gt=0, le=1)
    max_turns: int = Field(default=4, ge=1)
    max_visual_tokens: int | None = None
    max_new_tokens: int = Field(default=256, ge=1)
    style: PromptStyle = PromptStyle.TEXT
    family: str | None = None

    def toolbox(self) -> Toolbox:
        """The tools. Raises `ConfigError` for one that is not to be found."""
        from agentic_vision import Toolbox

        return Toolbox.of([load(tool) if ":" in tool else tool for tool in self.tools])

    def agent(self, policy: Policy) -> VisionAgent:
        """The agent with these settings. Raises `ConfigError` for a tool that is not to be found."""
        from agentic_vision import VisionAgent

        return VisionAgent(
            policy,
            tools=self.toolbox(),
            glance=self.glance,
            max_turns=self.max_turns,
            max_visual_tokens=self.max_visual_tokens,
        )


class PocketData(_Section):
    """PocketVQA, drawn for the run: `train` and `val` questions, of other pictures each."""

    train: int = Field(default=4000, ge=1)
    val: int = Field(default=200, ge=1)
    seed: int = 100


class FileData(_Section):
    """Data sets of one's own, in any form that `agentic-vision data verl` reads."""

    train: str
    val: str


class Recipe(_Section):
    """A training run. `verl` holds settings of verl's own, by its own names; they win over what we derive.

    `prompts` x `rollouts` trajectories are a step. `reward`, and `side` for estimators of two channels, are targets;
    `weights` are those of outcome and side; `decision_entropy` pays, in the side channel, for surprise where a
    trajectory decided. `model`: "open_decision" (the small checkpoint before it learned when
    to look), "embedded" (after), a checkpoint folder, or a name on the hub. `frozen`: parameters with one of these in
    their name do not learn. `trained_share`: how much of the trained weights is in the policy; the rest are
    those that it began from.
    """

    name: str = ""
    description: str
    model: str
    device: Literal["cpu", "cuda"] = "cuda"
    pocket: PocketData | None = None
    files: FileData | None = None
    agent: AgentSettings = AgentSettings()
    reward: Target
    side: Target | None = None
    decision_entropy: float = Field(default=0.0, ge=0)
    drop_alike: bool = False
    frozen: tuple[Annotated[str, Field(pattern=r"^[\w.]+$")], ...] = ()
    trained_share: float = Field(default=1.0, gt=0, le=1)
    advantage: str = "grpo"
    weights: tuple[float, float] | None = None
    steps: int = Field(ge=1)
    prompts: int = Field(ge=1)
    rollouts: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    temperature: float = Field(default=1.0, gt=0)
    prompt_length: int = Field(default=1024, ge=1)
    response_length: int = Field(default=2048, ge=2)
    save_every: int = Field(default=20, ge=1)
    test_every: int = -1
    seed: int = 1
    verl: dict[str, Any] = {}


SECTIONS: dict[str, type[BaseModel]] = {"": Recipe, "agent": AgentSettings, "pocket": PocketData, "files": FileData}


def read(name_or_path: str, changes: Iterable[str] = ()) -> Recipe:
    """The recipe of this name or in this file, with `key=value` changes; keys of sections are dotted.

    Raises `ConfigError` for an unknown recipe, an unknown key, or a value that cannot be.
    """
    name, said = read_plan(RECIPES, name_or_path, "recipe")
    if not isinstance(said, dict):
        raise ConfigError(f"{name_or_path} is no recipe: it holds no settings")
    said.setdefault("name", name)
    for change in changes:
        _change(said, change)
    try:
        recipe = Recipe.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"the recipe {name} cannot have {where}: {first['msg'].lower()}{_meant(first)}") from error
    if (recipe.pocket is None) == (recipe.files is None):
        raise ConfigError(f"the recipe {name} needs data: either pocket or files")
    return _findable(recipe)


def _meant(error: Mapping[str, Any]) -> str:
    """The key that was meant by one that there is not, where it is like one that there is."""
    *sections, key = map(str, error["loc"])
    known = SECTIONS.get(".".join(sections))
    if error["type"] != "extra_forbidden" or known is None:
        return ""
    like = difflib.get_close_matches(key, known.model_fields, n=1)
    return f" (did you mean {'.'.join([*sections, like[0]])}?)" if like else ""


def _findable(recipe: Recipe) -> Recipe:
    """The recipe with files by their absolute paths: other processes work in other folders."""
    tools = tuple(absolute(tool) if ":" in tool else tool for tool in recipe.agent.tools)
    changed: dict[str, Any] = {"agent": recipe.agent.model_copy(update={"tools": tools})}
    for name in ("reward", "side"):
        target = getattr(recipe, name)
        if target and isinstance(target.get("target"), str):
            changed[name] = {**target, "target": absolute(target["target"])}
    return recipe.model_copy(update=changed)


def _change(said: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ConfigError(f"{change!r} changes nothing: write key=value, such as learning_rate=1e-6")
    *sections, last = key.split(".")
    inner = said
    for section in sections:
        value = inner.setdefault(section, {})
        if value is None:
            value = inner[section] = {}
        if not isinstance(value, dict):
            raise ConfigError(f"{key}: {section} is a value, not a section")
        inner = value
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"{change!r} has no YAML behind its = ({why}): put the value into quotes") from error
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(text)  # YAML takes 1e-6 for a text
    inner[last] = value
