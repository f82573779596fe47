"""Tiny random checkpoint folders of the three Qwen-VL architectures, as the hub serves them but for their
size.

`make(folder, "qwen2_5_vl")` writes config.json, model.safetensors, tokenizer.json, tokenizer_config.json, the
chat template and preprocessor_config.json: what `from_pretrained` reads, in well under two seconds, with no
network.

The weights are spread wider than a trained model's first ones: logits then differ by far more than rounding
errors do, so that greedy answers can be compared token by token between two ways of computing them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

Architecture = Literal["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
ARCHITECTURES: tuple[Architecture, ...] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ADDED = ("<tool_call>", "</tool_call>", "<think>", "</think>")  # one token each, but not special, as in Qwen3

# Qwen2-VL's and Qwen2.5-VL's own, less its video branch; it knows no role "tool".
QWEN2_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Qwen3-VL's, less videos and native tools: what a tool gave is a user's message, consecutive ones share it.
QWEN3_TEMPLATE = (
    "{%- macro render(content) -%}{%- if content is string -%}{{- content -}}{%- else -%}"
    "{%- for item in content -%}"
    "{%- if item.type == 'image' or 'image' in item -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif 'text' in item -%}{{- item.text -}}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endmacro -%}"
    "{%- for message in messages %}"
    "{%- if message.role == 'tool' %}"
    "{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}"
    "{{- '\n<tool_response>\n' + render(message.content) + '\n</tool_response>' }}"
    "{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\n' + render(message.content) + '<|im_end|>\n' }}"
    "{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)


def make(
    folder: Path,
    architecture: Architecture,
    *,
    seed: int = 0,
    layers: int = 2,
    template: Literal["tokenizer_config.json", "chat_template.jinja", "chat_template.json"] = "tokenizer_config.json",
) -> Path:
    """Write a checkpoint to `folder` (made if need be), its chat template in the file named; gives the folder
    back.

    `layers`: of the language model. 28 x 28 pixels are a visual token (Qwen3-VL: 32 x 32), at least 4 and at most 64
    to an image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, QWEN3_TEMPLATE if architecture == "qwen3_vl" else QWEN2_TEMPLATE, template)
    _write_processor(folder, architecture)
    _write_model(folder, architecture, seed, layers)
    return folder


def _vocabulary() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {token: index for index, token in enumerate((*bytes_to_unicode().values(), *SPECIAL, *ADDED))}


def _write_tokenizer(folder: Path, chat_template: str, file: str) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = _vocabulary()
    letters = {token: index for token, index in vocabulary.items() if token not in (*SPECIAL, *ADDED)}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    tokenizer.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": 32768,
    }
    if file == "tokenizer_config.json":
        config["chat_template"] = chat_template
    elif file == "chat_template.jinja":
        (folder / file).write_text(chat_template, encoding="utf-8")
    else:
        _write_json(folder / file, {"chat_template": chat_template})
    _write_json(folder / "tokenizer_config.json", config)


def _write_processor(folder: Path, architecture: Architecture) -> None:
    patch = 16 if architecture == "qwen3_vl" else 14
    token = (2 * patch) ** 2
    config: dict[str, Any] = {
        "image_processor_type": "Qwen2VLImageProcessorFast" if architecture == "qwen3_vl" else "Qwen2VLImageProcessor",
        "patch_size": patch,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    if architecture == "qwen3_vl":
        config["size"] = {"shortest_edge": 4 * token, "longest_edge": 64 * token}
    else:
        config |= {"min_pixels": 4 * token, "max_pixels": 64 * token}
    _write_json(folder / "preprocessor_config.json", config)


def _write_model(folder: Path, architecture: Architecture, seed: int, layers: int) -> None:
    import torch

    from agentic_vision.policies.torchvision_ops import declare_operators

    declare_operators()  # before transformers is imported
    from transformers import AutoConfig, AutoModelForImageTextToText

    vocabulary = _vocabulary()
    text: dict[str, Any] = {
        "vocab_size": len(vocabulary) + 4,  # some rows belong to no token, as in the real ones
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]},
        "eos_token_id": vocabulary["<|im_end|>"],
        "bos_token_id": None,
    }
    vision: dict[str, Any] = {"depth": 2, "num_heads": 2, "initializer_range": 0.3}
    match architecture:
        case "qwen2_vl":
            vision |= {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
        case "qwen2_5_vl":
            vision |= {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24, "window_size": 56}
            vision["fullatt_block_indexes"] = [1]
        case "qwen3_vl":
            text["head_dim"] = 8
            text["rope_parameters"]["mrope_interleaved"] = True
            vision |= {"hidden_size": 16, "out_hidden_size": 32, "intermediate_size": 24}
            vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    config = AutoConfig.for_model(
        architecture,
        text_config=text,
        vision_config=vision,
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
    model.generation_config.eos_token_id = vocabulary["<|im_end|>"]
    model.save_pretrained(folder, safe_serialization=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
