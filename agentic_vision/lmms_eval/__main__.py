"""`python -m agentic_vision.lmms_eval ...` is `lmms-eval ...`, on machines too where that cannot import torchvision."""

from ..policies.torchvision_ops import declare_operators

declare_operators()  # before lmms-eval imports transformers

from lmms_eval.cli.dispatch import main  # noqa: E402

main()
