"""A complete Wan folder of a few hundred kilobytes, with random weights, and files of view-synchronisation weights."""

from pathlib import Path

import torch
from torch import Tensor, nn

from syncnerf.generate.adapter import ViewSyncAdapter

WORDS = ("a", "ball", "rolls", "over", "the", "street", "blurred")
WIDTH, LATENT_CHANNELS = 24, 16


def tiny_transformer(seed: int = 0, layers: int = 2, channels: int = LATENT_CHANNELS) -> nn.Module:
    """Wan with two heads of 12 and no trained weight."""
    from diffusers import WanTransformer3DModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=channels,
            out_channels=channels, text_dim=16, freq_dim=32, ffn_dim=32, num_layers=layers, cross_attn_norm=True,
            qk_norm="rms_norm_across_heads", rope_max_seq_len=64,
        )  # fmt: skip
    return model.eval()


def shake(adapter: ViewSyncAdapter, seed: int = 0, size: float = 0.3) -> None:
    """Random values in the place of the zeros that modules start with, and of everything else in them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in adapter.modules:
            for parameter in module.parameters():
                parameter.add_(size * torch.randn(parameter.shape, generator=generator).to(parameter.dtype))


def write_wan(folder: Path) -> Path:
    """A folder as ``Wan2.1-T2V-1.3B-Diffusers``; returns it."""
    from diffusers import AutoencoderKLWan, FlowMatchEulerDiscreteScheduler, WanPipeline
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        autoencoder = AutoencoderKLWan(
            base_dim=3, z_dim=LATENT_CHANNELS, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True],
        )  # fmt: skip
        vocabulary = {word: number for number, word in enumerate(("<pad>", "</s>", "<unk>", *WORDS))}
        config = UMT5Config(
            vocab_size=len(vocabulary), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            feed_forward_proj="gated-gelu", is_encoder_decoder=False,
        )  # fmt: skip
        text_encoder = UMT5EncoderModel(config)
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=5.0)
    WanPipeline(tokenizer, text_encoder.eval(), autoencoder.eval(), scheduler, tiny_transformer()).save_pretrained(
        folder
    )
    return folder


def released_name(name: str) -> str:
    """What the released checkpoint calls a tensor of ours, written down without looking at the table under test."""
    if not name.startswith("blocks."):
        for ours, theirs in (
            ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
            ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
            ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
            ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
            ("condition_embedder.time_proj", "time_projection.1"),
            ("proj_out", "head.head"),
            ("scale_shift_table", "head.modulation"),
            ("patch_embedding", "patch_embedding"),
        ):
            if name == ours or name.startswith(ours + "."):
                return theirs + name[len(ours) :]
        raise KeyError(name)
    _, number, rest = name.split(".", 2)
    for ours, theirs in (
        ("view_sync.attention", "mvs_attn"), ("view_sync.modulation", "modulation_mvs"),
        ("view_sync.camera", "cam_encoder"), ("view_sync.out", "projector"), ("attn1", "self_attn"),
        ("attn2", "cross_attn"), ("norm2", "norm3"), ("ffn.net.0.proj", "ffn.0"), ("ffn.net.2", "ffn.2"),
        ("scale_shift_table", "modulation"),
    ):  # fmt: skip
        if rest == ours or rest.startswith(ours + "."):
            rest = theirs + rest[len(ours) :]
            break
    else:
        raise KeyError(name)
    for ours, theirs in ((".to_q.", ".q."), (".to_k.", ".k."), (".to_v.", ".v."), (".to_out.0.", ".o.")):
        rest = rest.replace(ours, theirs)
    return f"blocks.{number}.{rest}"


def released_checkpoint(transformer: nn.Module) -> dict[str, Tensor]:
    """A complete checkpoint as it was released: base model and module, a flat table under its own names."""
    return {released_name(name): value.detach().clone() for name, value in transformer.state_dict().items()}
