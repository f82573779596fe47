"""Many questions, from a file into a file: `run_batch` asks them at once, `next_round` by OpenAI's Batch API."""

from .answers import Outcome
from .filed import FiledPolicy
from .rounds import Round, anext_round, next_round
from .run import arun_batch, run_batch
from .tally import Tally

__all__ = ["FiledPolicy", "Outcome", "Round", "Tally", "anext_round", "arun_batch", "next_round", "run_batch"]
