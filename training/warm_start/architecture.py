"""The embedded checkpoint's make: its tokenizer, its chat template, its processor, its configuration.

A Qwen3-VL *architecture* at a five-hundredth of the smallest released size, so that transformers, verl and vLLM load
it by name. A visual token stands for 16 x 16 pixels (patch 8, merge 2).
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from agentic_vision.policies.trained_for import TrainedFor
from agentic_vision.policy import PromptStyle

from ..data.pocket.ink import COLORS, CORNERS, SHAPES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

PATCH, MERGE = 8, 2
CELL = PATCH * MERGE
"""Pixels a side that one visual token stands for."""

COORDINATE_STEP = 25
"""Boxes are spoken in steps of 1/40 of the picture: one token a coordinate."""

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Spoken as one token each, but not special: they are text of the protocol and stay in a decoded reply.
PHRASES = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<answer>", "</answer>",
    '{"name": "', '", "arguments": {', '"bbox_2d": [', "]}}", "}}",
)  # fmt: skip

CALL_THOUGHT = "Too small to read."
ANSWER_THOUGHT = "Clear enough."
TOOLS = ("zoom_crop", "full_res", "resize")

_SENTENCES = (
    "How many cards are there? How many bars are there? How many rooms are there? How many items are on the receipt?",
    "What number is on the card with the star? What shape is on the red card? What color is the card with the star?",
    "Where is the red card? What color is the top left card? What is the value of the tallest bar?",
    "What is the label of the shortest bar? What color is the first bar? What color is the last bar?",
    "Which bar is taller, the red one or the blue one? What is the total? What is the price of the first item?",
    "What color is the logo? What shape is the logo? What color is the stamp? Is there a stamp on the receipt?",
    "What color is the largest room? What is the label of the room with the star? Where is the star?",
    "system user assistant Tools: zoom_crop, full_res, resize.",
    CALL_THOUGHT,
    ANSWER_THOUGHT,
    "yes no " + " ".join((*COLORS, *SHAPES, *CORNERS)),
)

# A word with the blank before it, a coordinate with its comma, a lone digit, or any one character.
_PIECE = r" ?[A-Za-z_]+| ?\d+,| \d+|\d|\s|."

# Jinja strips line breaks beside `{%- -%}`: each one that must stay is an expression of its own.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + ('user' if message.role == 'tool' else message.role) + '\\n' -}}"
    "{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}{%- for part in message.content -%}"
    "{%- if part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else -%}{{- part.text -}}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def _vocabulary() -> dict[str, int]:
    words = [word for sentence in _SENTENCES for word in re.findall(r"[A-Za-z_]+", sentence)]
    tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += ["\n", *(chr(code) for code in range(32, 127))]
    tokens += [form for word in dict.fromkeys(words) for form in (word, f" {word}")]
    for coordinate in range(0, 1001, COORDINATE_STEP):
        tokens += [f"{coordinate},", f" {coordinate},", f" {coordinate}"]
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


@cache
def build_tokenizer() -> PreTrainedTokenizerFast:
    """Words of PocketVQA as one token each; any other text as characters, and bytes behind them: nothing is unknown."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE(vocab=_vocabulary(), merges=[], byte_fallback=True, ignore_merges=True))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(_PIECE), behavior="isolated")
    raw.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    raw.add_tokens([AddedToken(phrase, special=False, normalized=False) for phrase in PHRASES])
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[t for t in SPECIAL if t not in ("<|im_end|>", "<|endoftext|>")],
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def token_id(token: str) -> int:
    """The id of a token of the vocabulary."""
    found = build_tokenizer().convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def build_model(seed: int, *, vision_layers: int = 4, text_layers: int = 5) -> Qwen3VLForConditionalGeneration:
    """The network with fresh weights; position embeddings start as 2-D sines and cosines."""
    import torch
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    tokenizer = build_tokenizer()
    ids = {token: token_id(token) for token in SPECIAL}
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "head_dim": 32,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [6, 5, 5],
                "mrope_interleaved": True,
            },
            "pad_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "bos_token_id": None,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 1,
            "out_hidden_size": 192,
            "num_position_embeddings": 1024,
            "deepstack_visual_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    with torch.no_grad():
        model.model.visual.pos_embed.weight.copy_(_sines(32, 128) * 0.5)
    return model


def _sines(side: int, width: int) -> torch.Tensor:
    import torch

    frequency = torch.exp(torch.arange(width // 4) * (-torch.log(torch.tensor(100.0)) / (width // 4)))
    angle = torch.arange(side)[:, None] * frequency
    one = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows, columns = one[:, None].expand(side, side, -1), one[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).reshape(side * side, width)


def save_checkpoint(model: Qwen3VLForConditionalGeneration, folder: Path) -> None:
    """Writes what `from_pretrained` and `VisionAgent` need, in half precision."""
    import copy

    import torch

    folder.mkdir(parents=True, exist_ok=True)
    half = copy.deepcopy(model).half()
    half.config.dtype = torch.float16
    half.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    processor = {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen3VLProcessor",
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": 1,
        "size": {"shortest_edge": 64 * 64, "longest_edge": 256 * 256},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    TrainedFor(style=PromptStyle.COMPACT, family="pocket", max_new_tokens=96).write(folder)
