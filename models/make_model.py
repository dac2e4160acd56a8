"""Makes the shipped model from nothing but this folder: writes text, learns a tokenizer, trains, exports a GGUF.

    python -m models.make_model            # about six minutes on two cores; writes models/didyma-tiny.{gguf,json}

Seeds are fixed. Another torch build or processor may still round differently and give other bits; the file that counts
is the committed one, whose digest stands in the JSON beside it.
"""

import argparse
import hashlib
import json
import random
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import gguf
import torch
from torch import Tensor
from torch.nn import functional

from models.evaluate import accuracies
from models.language import Item, Writer
from models.network import Network, Shape
from models.tokenizer import ASSISTANT, BEGIN, DONE, END, PRE_TOKENIZER, SPECIALS, USER, Tokenizer, learn

FOLDER = Path(__file__).parent
NAME = "didyma-tiny"
SEED = 20_240
TRAINING_ITEMS = 70_000
TOKENIZER_ITEMS = 20_000
BATCH_TOKENS = 3072
PROMPT_LOSS = 0.1  # weight of predicting the prompt, against 1 for the answer: it teaches spelling and copying
PEAK_RATE = 4e-3
PREFIX, SUFFIX, STOP = [BEGIN, USER], [DONE, ASSISTANT], [DONE, END]
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|begin|><|user|>{{ m['content'] }}<|done|><|assistant|>"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}<|done|>{% endif %}{% endfor %}"
)


def training_items() -> Iterator[Item]:
    return islice(Writer(SEED).items(), TRAINING_ITEMS)


def batches(examples: list[tuple[list[int], int]], rng: random.Random) -> list[list[tuple[list[int], int]]]:
    """Examples in random order, grouped with others of their length, at most BATCH_TOKENS a batch with padding."""
    rng.shuffle(examples)
    groups = []
    for start in range(0, len(examples), 4096):
        group: list[tuple[list[int], int]] = []
        for example in sorted(examples[start : start + 4096], key=lambda e: len(e[0])):
            if (len(group) + 1) * len(example[0]) > BATCH_TOKENS and group:
                groups.append(group)
                group = []
            group.append(example)
        groups.append(group)
    rng.shuffle(groups)
    return groups


def loss_of(network: Network, group: list[tuple[list[int], int]]) -> Tensor:
    """Mean loss over the batch, answers at weight 1 and prompts at PROMPT_LOSS."""
    length = max(len(ids) for ids, _ in group)
    ids = torch.full((len(group), length), END)
    weight = torch.zeros(len(group), length - 1)
    for row, (tokens, answer_at) in enumerate(group):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weight[row, 1 : answer_at - 1] = PROMPT_LOSS
        weight[row, answer_at - 1 : len(tokens) - 1] = 1
    counted = weight > 0
    logits = network.logits(network(ids[:, :-1])[counted])  # (counted, vocabulary)
    losses = functional.cross_entropy(logits, ids[:, 1:][counted], reduction="none")
    return (losses * weight[counted]).sum() / weight.sum()


def train(tokenizer: Tokenizer, epochs: int = 1) -> Network:
    torch.manual_seed(SEED)
    network = Network(Shape(vocabulary=len(tokenizer.vocabulary)))
    examples = []
    for item in training_items():
        head = [*PREFIX, *tokenizer.encode(item.prompt), *SUFFIX]
        ids = [*head, *tokenizer.encode(item.answer), DONE, END]
        if len(ids) <= network.shape.context:
            examples.append((ids, len(head)))
    matrices = [p for name, p in network.named_parameters() if p.ndim == 2 and name.startswith("blk.")]
    others = [p for name, p in network.named_parameters() if not (p.ndim == 2 and name.startswith("blk."))]
    optimizers = (
        torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=PEAK_RATE, weight_decay=0.01, betas=(0.9, 0.98)),
    )
    rng = random.Random(SEED)
    steps = [group for _ in range(epochs) for group in batches(examples, rng)]
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(examples):,} examples, "
          f"{sum(len(ids) for ids, _ in examples):,} tokens, {len(steps)} steps", flush=True)  # fmt: skip
    started = time.monotonic()
    average = 0.0
    for step, group in enumerate(steps):
        rate = PEAK_RATE * min((step + 1) / 50, max(0.01, 1 - step / len(steps)))
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
        loss = loss_of(network, group)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        average = loss.item() if step == 0 else 0.98 * average + 0.02 * loss.item()
        if step % 100 == 99 or step + 1 == len(steps):
            print(f"step {step + 1}/{len(steps)} loss {average:.4f} {time.monotonic() - started:.0f} s", flush=True)
    return network


def export(network: Network, tokenizer: Tokenizer, path: Path) -> None:
    """Write the GGUF: matrices as Q8_0 by gguf's own quantizer, norms as float32, the output tied to the embedding."""
    shape = network.shape
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name(NAME)
    out.add_license("mit")
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.hidden)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_key_length(shape.head_dim)
    out.add_value_length(shape.head_dim)
    out.add_rope_dimension_count(shape.head_dim)
    out.add_rope_freq_base(shape.rope_base)
    out.add_layer_norm_rms_eps(shape.norm_epsilon)
    out.add_vocab_size(shape.vocabulary)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(PRE_TOKENIZER)
    out.add_token_list(tokenizer.vocabulary)
    normal = len(tokenizer.vocabulary) - len(SPECIALS)
    out.add_token_types([gguf.TokenType.CONTROL] * len(SPECIALS) + [gguf.TokenType.NORMAL] * normal)
    out.add_token_merges([f"{a} {b}" for a, b in tokenizer.merges])
    out.add_bos_token_id(BEGIN)
    out.add_eos_token_id(END)
    out.add_eot_token_id(DONE)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(False)
    out.add_chat_template(CHAT_TEMPLATE)
    for name, parameter in network.named_parameters():
        data = parameter.detach().numpy()
        if data.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            out.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            out.add_tensor(name, data)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def describe(path: Path) -> None:
    """Write the JSON beside the GGUF: its digest, its wrapper, and a card with what it can do."""
    data = path.read_bytes()
    description = {
        "name": NAME,
        "file": path.name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "contextLength": Shape().context,
        "prefixTokens": PREFIX,
        "suffixTokens": SUFFIX,
        "stopTokens": STOP,
        "card": {
            "does": "The sentiment of a short English review (`positive` or `negative`); yes/no questions about facts stated in "
            "the prompt (`yes` or `no`); who, what, where, when and how much, copied from those facts; after `Reply:`, one "
            "line of thanks or regret that names the topic of a review.",
            "limits": "It knows no facts of the world, only what the prompt states, and what the prompt does not state it "
            "answers with `no`. It knows a few hundred English sentiment words and guesses at others. Irony, mixed reviews "
            "without a conclusion, long chains of reasoning and other languages are beyond it. Prompts of up to about 400 "
            "tokens were trained; longer ones fit the context but were not.",
            "data": f"{TRAINING_ITEMS:,} items written by models/language.py from frames and word lists, seed {SEED}; nothing "
            "downloaded.",
            "heldOut": "words: names, places, things and topics never seen in training; frames: sentence patterns never seen; "
            "pairs: known words never seen together (a sentiment word under negation, a subject with a value asked about).",
            "accuracy": accuracies(path, PREFIX, SUFFIX, STOP),
            "license": "MIT",
        },
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER / f"{NAME}.gguf")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    texts = (text for item in islice(training_items(), TOKENIZER_ITEMS) for text in (item.prompt, item.answer))
    tokenizer = learn(texts, Shape().vocabulary)
    export(train(tokenizer), tokenizer, arguments.out)
    describe(arguments.out)
    print(arguments.out.with_suffix(".json").read_text())


if __name__ == "__main__":
    main()
