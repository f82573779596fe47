"""A tiny Qwen3-VL checkpoint that says one thing: a thought and a tool call, whatever it is shown.

Random weights call no tools. These do: the layers compute all they would, but what attention and MLP give is multiplied
by nothing, so that a token depends on the one before it alone, and the head knows which follows which.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from environments import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from tiny_checkpoints import make

CALL = '<tool_call>\n{"name": "zoom_crop", "arguments": {"bbox_2d": [100, 100, 500, 500]}}\n</tool_call>'
THOUGHT = "abcdefghijklmnopqrstuvwxyz"
SURE = 20.0  # so that sampling at temperature 1 gives what the likeliest token is


def speaking(folder: Path, chat_template: str) -> int:
    """Write it to `folder`, with the chat template; gives the tokens of a reply, its end included."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    make(folder, "qwen3_vl")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([CALL])
    tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    said = ["<think>", *THOUGHT, "</think>", CALL, "<|im_end|>"]
    after_prompt = tokenizer.encode("\n", add_special_tokens=False)  # ends the template's generation prompt
    chain = after_prompt + [tokenizer.convert_tokens_to_ids(token) for token in said]

    model: Any = AutoModelForImageTextToText.from_pretrained(folder)
    text = model.model.language_model
    with torch.no_grad():
        for layer in text.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for token, following in pairwise(chain):
            state = text.norm(text.embed_tokens.weight[token])
            model.lm_head.weight[following] = SURE * state / state.norm()
    model.save_pretrained(folder)
    return len(said)
