"""Which policy is meant by what a user names?"""

from __future__ import annotations

from ..errors import ConfigError
from ..policy import Policy


def policy_of(policy: Policy | str | None, base_url: str | None, api_key: str | None) -> Policy:
    """A policy, a model of an endpoint, a checkpoint by folder or hub name, or (None) the one that we ship.

    Raises `ConfigError` for anything else.
    """
    # Imported here: torch and transformers are for those who run local weights.
    if base_url is not None or api_key is not None:
        if not isinstance(policy, str):
            raise ConfigError(
                "base_url and api_key are an endpoint's: name its model, VisionAgent('model', base_url=...)"
            )
        from .openai import OpenAIPolicy

        return OpenAIPolicy(policy, base_url=base_url, api_key=api_key)
    if policy is None:
        from .embedded import EmbeddedPolicy

        return EmbeddedPolicy.load()
    if isinstance(policy, str):
        from .transformers import TransformersPolicy

        return TransformersPolicy.load(policy)
    if not isinstance(policy, Policy):
        raise ConfigError(f"{policy!r} is not a policy: give a model's name, or an object with reply() and forget()")
    return policy
