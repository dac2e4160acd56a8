"""llama.cpp through its C interface: a model, its vocabulary, and one sequence of tokens with their logits.

The only file that loads models through `llama_cpp`, all of them by `load`. Of that package only the bindings are used:
never its chat formats, which run templates found in model files, nor its `Llama`, which cannot be told what `load`
says. Every file passes the strict reader first; this code still belongs in a worker process, because a bad file may
abort it all the same. Results are float32 and depend in their last bits on batch size, threads and device.
"""

import ctypes
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import llama_cpp.llama_cpp as api
import numpy as np
import numpy.typing as npt

from oracle.engines.exact.tokenizer import Tokenizer, token_pieces
from oracle.engines.prompts import USER_DEFINED, check_length, cut_markers, readable
from oracle.errors import BadModelFile
from oracle.models import gguf

T = TypeVar("T")

STACK_BYTES, STACK_BYTES_A_BYTE = 8 << 20, 1024
"""For tokenizing: `std::regex`, by which llama.cpp cuts the texts of some vocabularies, goes as deep as a run of like
characters is long, 450 bytes for each; on a usual stack 30,000 exclamation marks are a segmentation fault."""

OnFraction = Callable[[float], None]
"""Called with 0.0 to 1.0."""

# fmt: off
ARCHITECTURES = frozenset({
    "llama", "mistral3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "phi2", "phi3", "olmo2", "granite", "smollm3",
    "starcoder2", "stablelm", "internlm2", "gpt2", "falcon", "command-r", "cohere2", "exaone",
})
# fmt: on
"""Decoders of text whose loaders have long been in wide use."""
TOKENIZERS = ("llama", "gpt2")
"""SentencePiece and byte pairs. Of others llama.cpp asks tokens for bytes that they may not have, and then it aborts:
with "bert" and without a vocabulary while it loads."""

_messages: deque[str] = deque(maxlen=8)
GGML_LOG_LEVEL_WARN, GGML_LOG_LEVEL_ERROR = 3, 4


def _keep_message(level: int, text: bytes, _: Any) -> None:
    if level in (GGML_LOG_LEVEL_WARN, GGML_LOG_LEVEL_ERROR):
        _messages.append(text.decode(errors="replace").strip())


_log_callback = api.llama_log_callback(_keep_message)  # referenced here for as long as C may call it
api.llama_log_set(_log_callback, ctypes.c_void_p(0))
api.llama_backend_init()


def load(path: Path, gpu_layers: int, on_fraction: OnFraction, *, vocabulary_only: bool) -> Any:
    """llama.cpp's handle of a model. Raises BadModelFile, in llama.cpp's own words."""

    def report(done: float, _: Any) -> bool:
        on_fraction(done)
        return True

    params = api.llama_model_default_params()
    params.n_gpu_layers = gpu_layers
    params.vocab_only = vocabulary_only
    params.check_tensors = True
    # Extra buffer types repack weights, on CPUs with AMX for its tiles: there GCC 12 drops the stores of the tile
    # configuration, `ldtilecfg` loads what lies on the stack, and the first product is a segmentation fault
    # (https://github.com/ggml-org/llama.cpp/issues/20824, cause and mend in its pull request 26954).
    params.use_extra_bufts = False
    params.progress_callback = api.llama_progress_callback(report)
    _messages.clear()
    model = api.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        raise BadModelFile(f"llama.cpp does not load {path.name}: {'; '.join(_messages)[-500:]}")
    return model


def _on_a_stack(size: int, work: Callable[[], T]) -> T:
    """What `work` returns, in a thread with a stack of at least so many bytes."""
    with ThreadPoolExecutor(1) as pool:
        usual = threading.stack_size(-(-size // 4096) * 4096)
        try:
            done = pool.submit(work)  # starts the thread
        finally:
            threading.stack_size(usual)
        return done.result()


class NativeModel:
    """A loaded model file, or its vocabulary alone."""

    def __init__(
        self,
        path: Path,
        gpu_layers: int = 0,
        on_fraction: OnFraction = lambda done: None,
        vocabulary_only: bool = False,
    ) -> None:
        """gpu_layers: how many layers to keep in the GPU's memory; negative for all.

        Raises BadModelFile, from the strict reader or in llama.cpp's own words.
        """
        header = gguf.read(path)
        if header.architecture not in ARCHITECTURES:
            raise BadModelFile(f"models of architecture {header.architecture!r} are not served")
        kind = header.metadata.get("tokenizer.ggml.model")
        if kind not in TOKENIZERS:
            raise BadModelFile(f"tokenizers of kind {kind!r} are not served ({' and '.join(TOKENIZERS)} are)")
        token_pieces(header)  # llama.cpp makes the same while it loads, of any length
        self.trained_context = header.number("context_length")
        defined = USER_DEFINED in header.metadata.get("tokenizer.ggml.token_type", [])
        sentence_pieces = defined and kind == "llama"
        self._sentence_pieces = Tokenizer(header, of_any_family=True) if sentence_pieces else None

        self._model = load(path, gpu_layers, on_fraction, vocabulary_only=vocabulary_only)
        if not vocabulary_only and not _is_plain_decoder(self._model):
            raise BadModelFile("only decoders with an attention cache are served, no encoders, no recurrent models")
        self._vocab = api.llama_model_get_vocab(self._model)
        self.vocabulary: int = api.llama_vocab_n_tokens(self._vocab)
        self.pieces = [self._piece(token) for token in range(self.vocabulary)]
        """What each token spells; special tokens spell nothing."""

    def tokenize(self, text: bytes, special: bool, marked: Sequence[bytes] = ()) -> list[int]:
        """Of any bytes, as `readable` has them. special: whether the text of special tokens stands for them.
        marked: `prompts.markers`, whose text stays text. Raises PromptTooLong before native code sees the text."""
        check_length(text)
        pieces = cut_markers(readable(text), marked)
        if len(pieces) > 1 and self._sentence_pieces is not None:
            # Each of llama.cpp's texts begins with a space here, so a text in pieces would have several.
            return self._sentence_pieces.encode(text, marked)
        longest = max(map(len, pieces))
        work = partial(self._tokenized_all, pieces, special)
        return _on_a_stack(STACK_BYTES + longest * STACK_BYTES_A_BYTE, work)

    def _tokenized_all(self, pieces: Sequence[bytes], special: bool) -> list[int]:
        return [token for piece in pieces for token in self._tokenized(piece, special)]

    def _tokenized(self, text: bytes, special: bool) -> list[int]:
        room = len(text) + 16
        while True:
            tokens = (api.llama_token * room)()
            count = api.llama_tokenize(self._vocab, text, len(text), tokens, room, False, special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def start_token(self) -> int | None:
        """The beginning-of-text token, if this model wants one."""
        token = int(api.llama_vocab_bos(self._vocab))
        return token if token >= 0 and api.llama_vocab_get_add_bos(self._vocab) else None

    def end_tokens(self) -> list[int]:
        """The tokens that end a text or a turn."""
        found = (int(api.llama_vocab_eos(self._vocab)), int(api.llama_vocab_eot(self._vocab)))
        return sorted({token for token in found if token >= 0})

    def sequence(self, context: int, batch: int, threads: int) -> "NativeSequence":
        return NativeSequence(self._model, self.vocabulary, context, batch, threads)

    def close(self) -> None:
        """Gives the memory back. Nothing of this model or its sequences may be used any more."""
        api.llama_model_free(self._model)

    def _piece(self, token: int) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            count = api.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
            if count >= 0:
                return buffer.raw[:count]
            room = -count


class NativeSequence:
    """One sequence in a context of its own. `length` tokens have been evaluated."""

    def __init__(self, model: Any, vocabulary: int, context: int, batch: int, threads: int) -> None:
        params = api.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = min(batch, context)
        params.n_threads = params.n_threads_batch = threads
        params.swa_full = True  # else a sliding window forgets what `truncate` goes back to
        params.no_perf = True
        _messages.clear()
        self._context = api.llama_init_from_model(model, params)
        if not self._context:
            raise MemoryError(f"no room for a context of {context} tokens: {'; '.join(_messages)[-500:]}")
        self._memory = api.llama_get_memory(self._context)
        self._vocabulary = vocabulary
        self._batch_size = int(params.n_batch)
        self._batch = api.llama_batch_init(self._batch_size, 0, 1)
        self.length = 0

    def close(self) -> None:
        """Gives the memory back; before the model does."""
        api.llama_batch_free(self._batch)
        api.llama_free(self._context)

    def truncate(self, length: int) -> None:
        """Forgets all but the first `length` tokens."""
        if length == 0:
            api.llama_memory_clear(self._memory, True)
        elif not api.llama_memory_seq_rm(self._memory, 0, length, -1):
            raise RuntimeError("llama.cpp cannot shorten this model's sequence")
        self.length = length

    def extend(
        self, tokens: Sequence[int], rows_from: int, on_row: Callable[[int, npt.NDArray[np.float32]], None]
    ) -> None:
        """Evaluates `tokens` in batches; calls `on_row(i, logits)` for each index i >= rows_from of `tokens`.

        logits: (V,) float32, valid during the call only.
        """
        for start in range(0, len(tokens), self._batch_size):
            part = tokens[start : start + self._batch_size]
            wanted = [i for i in range(len(part)) if start + i >= rows_from]
            self._batch.n_tokens = len(part)
            for i, token in enumerate(part):
                self._batch.token[i] = token
                self._batch.pos[i] = self.length + i
                self._batch.n_seq_id[i] = 1
                self._batch.seq_id[i][0] = 0
                self._batch.logits[i] = start + i >= rows_from
            status = api.llama_decode(self._context, self._batch)
            if status != 0:
                raise RuntimeError(f"llama_decode returned {status}: {'; '.join(_messages)[-500:]}")
            self.length += len(part)
            for i in wanted:
                row = api.llama_get_logits_ith(self._context, i)
                on_row(start + i, np.ctypeslib.as_array(row, (self._vocabulary,)))


def _is_plain_decoder(model: Any) -> bool:
    unfit = (api.llama_model_is_recurrent, api.llama_model_is_hybrid, api.llama_model_is_diffusion)
    has_encoder = api.llama_model_has_encoder(model)
    return not has_encoder and api.llama_model_has_decoder(model) and not any(test(model) for test in unfit)
