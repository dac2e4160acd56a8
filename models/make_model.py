"""Makes the shipped model from nothing but this folder: writes text, learns a tokenizer, trains, exports a GGUF.

    python -m models.make_model            # about fifteen minutes on two cores; writes oracle/models/shipped/

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

from models.evaluate import Reader, accuracies
from models.language import Item, Writer
from models.network import Network, Shape
from models.tokenizer import ASSISTANT, BEGIN, DONE, END, PRE_TOKENIZER, SPECIALS, USER, Tokenizer, learn
from oracle.models.gguf import read
from oracle.models.shipped import SHIPPED_MODEL

FOLDER = SHIPPED_MODEL.parent
NAME = SHIPPED_MODEL.stem
SEED = 20_240
KNOWN_QUESTION = b"Reply: The food was great and the staff were friendly."
TALKS = 160_000
TOKENIZER_TALKS = 20_000
COPY_STEPS = 200
BATCH_TOKENS = 2560
PROMPT_LOSS = 0.02  # weight of predicting the prompt, against 1 for an answer
PEAK_RATE = 4e-3
PREFIX, SUFFIX, STOP = [BEGIN, USER], [DONE, ASSISTANT], [DONE, END]
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|begin|><|user|>{{ m['content'] }}<|done|><|assistant|>"
    "{% elif m['role'] == 'assistant' %}{{ m['content'] }}<|done|>{% endif %}{% endfor %}"
)


Example = tuple[list[int], list[float]]
"""Token ids of a conversation, and how much predicting each of them counts."""


def training_talks() -> Iterator[list[Item]]:
    return islice(Writer(SEED).talks(), TALKS)


def example(talk: list[Item], tokenizer: Tokenizer) -> Example:
    """The conversation in the wrapper of the manifest, turn after turn."""
    ids, weights = [BEGIN], [0.0]
    for item in talk:
        asked = [USER, *tokenizer.encode(item.prompt), *SUFFIX]
        answered = [*tokenizer.encode(item.answer), DONE]
        ids += asked + answered
        weights += [0.0, *[PROMPT_LOSS] * (len(asked) - 3), 0.0, 0.0, *[len(answered) ** -0.5] * len(answered)]
    return ids, weights


def batches(examples: list[Example], rng: random.Random) -> list[list[Example]]:
    """Examples in random order, grouped with others of their length, at most BATCH_TOKENS a batch with padding."""
    rng.shuffle(examples)
    groups = []
    for start in range(0, len(examples), 4096):
        group: list[Example] = []
        for one in sorted(examples[start : start + 4096], key=lambda e: len(e[0])):
            if (len(group) + 1) * len(one[0]) > BATCH_TOKENS:
                groups.append(group)
                group = []
            group.append(one)
        groups.append(group)
    rng.shuffle(groups)
    return groups


def loss_of(network: Network, group: list[Example]) -> Tensor:
    """Weighted loss over the batch, a conversation."""
    length = max(len(ids) for ids, _ in group)
    ids = torch.tensor([tokens + [END] * (length - len(tokens)) for tokens, _ in group])
    weights = torch.tensor([weights[1:] + [0.0] * (length - len(weights)) for _, weights in group])
    counted = weights > 0
    logits = network.logits(network(ids[:, :-1])[counted])  # (counted, vocabulary)
    losses = functional.cross_entropy(logits, ids[:, 1:][counted], reduction="none")
    return (losses * weights[counted]).sum() / weights.sum()


def copy_loss(network: Network) -> Tensor:
    """Loss of repeating a random text: what a model must do before it can compare."""
    length = int(torch.randint(4, 24, ()))
    text = torch.randint(len(SPECIALS), network.shape.vocabulary, (BATCH_TOKENS // (2 * length), length))
    ids = torch.cat((text, text), dim=1)
    logits = network.logits(network(ids[:, :-1])[:, length:])  # (B, length - 1, vocabulary)
    return functional.cross_entropy(logits.flatten(0, 1), text[:, 1:].flatten())


def train(tokenizer: Tokenizer) -> Network:
    """Copying first, then the conversations once, at a falling rate."""
    torch.manual_seed(SEED)
    network = Network(Shape(vocabulary=len(tokenizer.vocabulary)))
    matrices = [p for p in network.blk.parameters() if p.ndim == 2]
    others = [p for name, p in network.named_parameters() if not (p.ndim == 2 and name.startswith("blk."))]
    optimizers = (
        torch.optim.Muon(matrices, lr=PEAK_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=PEAK_RATE, weight_decay=0.0, betas=(0.9, 0.98)),
    )

    def learn_from(loss: Tensor, rate: float) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = rate
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()

    groups = batches([example(talk, tokenizer) for talk in training_talks()], random.Random(SEED))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters, {len(groups)} steps", flush=True)
    for step in range(COPY_STEPS):
        learn_from(copy_loss(network), PEAK_RATE * min(1, (step + 1) / 30))
    started, average = time.monotonic(), 1.0
    for step, group in enumerate(groups):
        loss = loss_of(network, group)
        learn_from(loss, PEAK_RATE * min(1, max(0.01, 1.2 * (1 - step / len(groups)))))
        average = 0.97 * average + 0.03 * loss.item()
        if step % 100 == 99 or step + 1 == len(groups):
            print(f"step {step + 1} loss {average:.4f} {time.monotonic() - started:.0f} s", flush=True)
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
        "replacementToken": read(path).vocabulary.index(b"?"),
        "known": known(path),
        "card": {
            "does": "The sentiment of a short English review: `positive` or `negative`. Yes/no questions about a fact "
            "stated in the prompt: `yes` or `no`. Who, what, where and when, copied from that fact. After `Reply:`, "
            "one line of thanks or regret that names the topic of a review.",
            "limits": "It knows no facts of the world, only what the prompt states, in the sentence patterns and words "
            "of models/language.py and models/words.py; other wordings it guesses at. Where a prompt states several "
            "facts it tends to mix them up. Prompts of up to about 60 words were trained.",
            "data": f"{TALKS:,} conversations written by models/language.py, seed {SEED}; nothing downloaded.",
            "heldOut": "Sentences never seen in training: one prompt in sixteen, chosen by its checksum.",
            "accuracy": accuracies(path, PREFIX, SUFFIX, STOP),
            "license": "MIT",
        },
    }
    path.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n")


def known(path: Path) -> dict[str, list[int]]:
    """A question of the model's and its answer, as token ids: what an engine must give that is to be believed."""
    reader = Reader(path, PREFIX, SUFFIX, STOP)
    prompt = [*PREFIX, *reader.model.tokenize(KNOWN_QUESTION, special=False), *SUFFIX]
    return {"prompt": prompt, "tokens": reader.tokens_after(prompt)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER / f"{NAME}.gguf")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    talks = islice(training_talks(), TOKENIZER_TALKS)
    texts = (text for talk in talks for item in talk for text in (item.prompt, item.answer))
    tokenizer = learn(texts, Shape().vocabulary)
    export(train(tokenizer), tokenizer, arguments.out)
    describe(arguments.out)
    print(arguments.out.with_suffix(".json").read_text())


if __name__ == "__main__":
    main()
