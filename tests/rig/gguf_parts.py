"""What every writer of a GGUF file does: the numbers of its architecture, and the end."""

import gguf


def add_architecture(
    out: gguf.GGUFWriter,
    name: str,
    *,
    context: int,
    width: int,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    rope_width: int,
    vocabulary: int,
    head_width: int | None = None,
    rope_base: float | None = None,
) -> None:
    """head_width, rope_base: None leaves them out of the header, and readers take their defaults."""
    out.add_name(name)
    out.add_context_length(context)
    out.add_embedding_length(width)
    out.add_block_count(layers)
    out.add_feed_forward_length(hidden)
    out.add_head_count(heads)
    out.add_head_count_kv(kv_heads)
    if head_width is not None:
        out.add_key_length(head_width)
        out.add_value_length(head_width)
    out.add_rope_dimension_count(rope_width)
    if rope_base is not None:
        out.add_rope_freq_base(rope_base)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_vocab_size(vocabulary)


def finish(out: gguf.GGUFWriter) -> None:
    """Writes everything that was added, and closes the file."""
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
