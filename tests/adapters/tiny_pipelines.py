"""Tiny random pipelines of diffusers, made in memory, one entry per family; a new family must join `FAMILIES`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import diffusers as df
import torch
import transformers as tf
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from headwater.adapters.diffusers import load

df.utils.logging.set_verbosity_error()
tf.utils.logging.set_verbosity_error()


@dataclass(frozen=True)
class Family:
    """A tiny pipeline, its embeddings for a batch, and how its own call is compared.

    `tolerance` is that of the largest latent, in float32; `reach` what the largest latent is at least.
    """

    name: str
    build: Callable[[], Any]
    embed: Callable[[Any, int], Mapping[str, torch.Tensor]]
    guidance: float | None = 3.0
    steps: int = 4
    tolerance: float = 2e-6
    call: Mapping[str, Any] = field(default_factory=dict)
    unpack: Callable[[Any, torch.Tensor], torch.Tensor] = lambda pipeline, z: z
    size: int | None = 16
    difference: float = 1e-6
    seeds: bool = False
    labels: bool = False

    def load(self, pipeline, batch=2, **options):
        """The model of a batch, asked with the arguments of the family."""
        asked = {
            "embeddings": self.embed(pipeline, batch) or None,
            "guidance": self.guidance,
            "steps": self.steps,
            "height": self.size,
            "width": self.size,
            "labels": LABELS[:batch] if self.labels else None,
            "seeds": SEEDS[:batch] if self.seeds else None,
        }
        return load(pipeline, **{**asked, **options})

    def run(self, pipeline, batch=2, **options):
        """The last latents of the pipeline's own call, in the layout of the flow, and its pixels or samples."""
        kept = []
        step = pipeline.scheduler.step

        @functools.wraps(step)
        def recorded(*given, **more):
            out = step(*given, **more)
            kept.append(out[0])
            return out

        sizes = {} if self.size is None else {"height": self.size, "width": self.size}
        asked = {**self.embed(pipeline, batch), **sizes, **self.call, "num_inference_steps": self.steps}
        asked["generator"] = [torch.Generator("cpu").manual_seed(s) for s in SEEDS[:batch]]
        asked["output_type"] = "pt"
        if self.guidance is not None:
            asked["guidance_scale"] = self.guidance
        if self.labels:
            asked["class_labels"] = LABELS[:batch]
        takes = inspect.signature(type(pipeline).__call__).parameters
        if "batch_size" in takes:
            asked["batch_size"] = batch
        pipeline.scheduler.step = recorded
        try:
            out = pipeline(**{k: v for k, v in {**asked, **options}.items() if k in takes})
        finally:
            del pipeline.scheduler.step
        shown = out.images if hasattr(out, "images") else out.audios
        return self.unpack(pipeline, kept[-1])[:batch], torch.as_tensor(shown)


LABELS, SEEDS = [1, 3, 4], [5, 7, 11]


def seeded(build):
    def made():
        state = torch.get_rng_state()
        torch.manual_seed(0)
        try:
            pipeline = build()
        finally:
            torch.set_rng_state(state)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return made


def randn(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def vae_kl(channels=4, **options):
    return df.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=16,
        **options,
    ).eval()


LETTERS = {piece: i for i, piece in enumerate(letter + end for letter in "acdegort!" for end in ("", "</w>"))}


def clip_tokenizer(length=16):
    """A tokenizer of letters: without merges every letter is a token."""
    vocab = {**LETTERS, "<|startoftext|>": len(LETTERS), "<|endoftext|>": len(LETTERS) + 1}
    return tf.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=length)


def clip_text(projection=False, size=16):
    config = tf.CLIPTextConfig(
        vocab_size=len(LETTERS) + 2,
        hidden_size=size,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=size,
        bos_token_id=len(LETTERS),
        eos_token_id=len(LETTERS) + 1,
        pad_token_id=len(LETTERS) + 1,
    )
    return (tf.CLIPTextModelWithProjection if projection else tf.CLIPTextModel)(config).eval()


def word_tokenizer(length=12, side="right"):
    """A tokenizer of whole words, with a pad token 0, unknown words 1 and an end token 2."""
    vocab = {
        "<pad>": 0,
        "<unk>": 1,
        "</s>": 2,
        **{word: i + 3 for i, word in enumerate(["a", "cat", "red", "dog", "!"])},
    }
    words = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        model_max_length=length,
        padding_side=side,
    )


def t5_text(size=16, kind="T5"):
    config = getattr(tf, kind + "Config")(
        vocab_size=10, d_model=size, d_kv=4, d_ff=8, num_layers=1, num_heads=2
    )
    return getattr(tf, kind + "EncoderModel")(config).eval()


def gemma_text(size=16):
    config = tf.Gemma2Config(
        vocab_size=10,
        hidden_size=size,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=1,
    )
    return tf.Gemma2Model(config).eval()


# Flow matching


def build_sd3():
    transformer = df.SD3Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=16,
    )
    return df.StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=df.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae_kl(scaling_factor=1.5, shift_factor=0.06),
        text_encoder=clip_text(True),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip_text(True),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=None,
        tokenizer_3=None,
    )


def both(names, shapes):
    """Embeddings of the names, and negative ones, for a batch."""

    def embed(pipeline, batch):
        out = {}
        for k, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            for sign, seed in (("", k), ("negative_", 10 + k)):
                ones = torch.ones(batch, *shape, dtype=torch.long)
                out[sign + name] = ones if "mask" in name else randn(batch, *shape, seed=seed)
        return out

    return embed


def build_flux():
    transformer = df.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    return df.FluxPipeline(
        transformer=transformer.eval(),
        scheduler=df.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=vae_kl(scaling_factor=0.36, shift_factor=0.11),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5_text(),
        tokenizer_2=word_tokenizer(),
    )


def positive(names, shapes):
    every = both(names, shapes)
    return lambda pipeline, batch: {
        k: v for k, v in every(pipeline, batch).items() if not k.startswith("negative")
    }


def build_flux2():
    transformer = df.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
    )
    vae = df.AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=16,
    ).eval()
    vae.bn.running_mean.copy_(randn(16, seed=3) / 4)
    vae.bn.running_var.copy_(1 + randn(16, seed=4).abs())
    return df.Flux2Pipeline(
        transformer=transformer.eval(),
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        scheduler=df.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
    )


def build_lumina2():
    transformer = df.Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=24,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=3,
        num_kv_heads=1,
        multiple_of=4,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(300, 16, 16),
        cap_feat_dim=16,
    )
    return df.Lumina2Pipeline(
        transformer=transformer.eval(),
        vae=vae_kl(scaling_factor=0.36, shift_factor=0.11),
        text_encoder=gemma_text(),
        tokenizer=word_tokenizer(),
        scheduler=df.FlowMatchEulerDiscreteScheduler(shift=6.0),
    )


def build_auraflow():
    transformer = df.AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pos_embed_max_size=64,
        out_channels=4,
    )
    return df.AuraFlowPipeline(
        transformer=transformer.eval(),
        vae=vae_kl(scaling_factor=0.13),
        text_encoder=t5_text(kind="UMT5"),
        tokenizer=word_tokenizer(),
        scheduler=df.FlowMatchEulerDiscreteScheduler(shift=1.73),
    )


def build_sana():
    transformer = df.SanaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=8,
    )
    vae = df.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "ResBlock"),
        decoder_block_types=("ResBlock", "ResBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), ()),
        decoder_qkv_multiscales=((), ()),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.41407,
    ).eval()
    return df.SanaPipeline(
        transformer=transformer.eval(),
        vae=vae,
        text_encoder=gemma_text(),
        tokenizer=word_tokenizer(),
        scheduler=df.DPMSolverMultistepScheduler(
            solver_order=1, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )


MASKED = both(["prompt_embeds", "prompt_attention_mask"], [(5, 16), (5,)])
FLOW_MATCHING = [
    Family(
        "Stable Diffusion 3",
        seeded(build_sd3),
        both(["prompt_embeds", "pooled_prompt_embeds"], [(5, 32), (32,)]),
        tolerance=0,
    ),
    Family(
        "Flux",
        seeded(build_flux),
        positive(["prompt_embeds", "pooled_prompt_embeds"], [(5, 16), (16,)]),
        tolerance=0,
        unpack=lambda pipeline, z: df.FluxPipeline._unpack_latents(z, 16, 16, pipeline.vae_scale_factor),
    ),
    Family(
        "Flux 2",
        seeded(build_flux2),
        positive(["prompt_embeds"], [(5, 16)]),
        tolerance=0,
        unpack=lambda pipeline, z: z.transpose(1, 2).reshape(len(z), -1, 4, 4),
    ),
    Family("Lumina 2", seeded(build_lumina2), MASKED, tolerance=0, size=64, difference=1e-3),
    Family("AuraFlow", seeded(build_auraflow), MASKED, tolerance=0),
    Family(
        "Sana",
        seeded(build_sana),
        MASKED,
        call={"use_resolution_binning": False, "negative_prompt": None},
        size=32,
        difference=1e-3,
    ),
]


# Diffusion


def unet_2d_condition(**options):
    return df.UNet2DConditionModel(
        **{
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "layers_per_block": 1,
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "norm_num_groups": 4,
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 4,
            **options,
        }
    ).eval()


LDM_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def ddim(**options):
    """Stable Diffusion's scheduler; with another `steps_offset` its pipeline warns, and sets it to 1."""
    own = {"clip_sample": False, "timestep_spacing": "trailing", "steps_offset": 1, **options}
    return df.DDIMScheduler(**LDM_BETAS, **own)


def build_sd(scheduler=ddim, **options):
    return df.StableDiffusionPipeline(
        unet=unet_2d_condition(**options),
        vae=vae_kl(scaling_factor=0.18215),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def zero_snr():
    return ddim(rescale_betas_zero_snr=True, prediction_type="v_prediction")


def euler(kind=df.EulerDiscreteScheduler, **options):
    return kind(**LDM_BETAS, **{"timestep_spacing": "trailing", **options})


def build_sdxl(scheduler=euler):
    unet = unet_2d_condition(
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=24 + 16,
    )
    return df.StableDiffusionXLPipeline(
        unet=unet,
        vae=vae_kl(scaling_factor=0.13025),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=clip_text(True),
        tokenizer_2=clip_tokenizer(),
        scheduler=scheduler(),
    )


def build_dit():
    transformer = df.DiTTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_embeds_ada_norm=1000,
    )
    return df.DiTPipeline(
        transformer=transformer.eval(),
        vae=vae_kl(scaling_factor=0.18215),
        scheduler=df.DDIMScheduler(clip_sample=False, timestep_spacing="trailing"),
    )


def unet_2d(**options):
    return df.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        attention_head_dim=4,
        **options,
    ).eval()


def build_ddim():
    return df.DDIMPipeline(
        unet=unet_2d(), scheduler=df.DDIMScheduler(clip_sample=False, timestep_spacing="trailing")
    )


def build_ddpm():
    return df.DDPMPipeline(unet=unet_2d(), scheduler=df.DDPMScheduler(clip_sample=False))


PROMPT = both(["prompt_embeds"], [(5, 16)])


def no_embeddings(pipeline, batch):
    return {}


# Few steps


def build_lcm():
    return df.LatentConsistencyModelPipeline(
        unet=unet_2d_condition(time_cond_proj_dim=8),
        vae=vae_kl(scaling_factor=0.18215),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        scheduler=df.LCMScheduler(**LDM_BETAS),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def build_consistency():
    return df.ConsistencyModelPipeline(
        unet=unet_2d(num_class_embeds=5), scheduler=df.CMStochasticIterativeScheduler(clip_denoised=False)
    )


def ancestral():
    return euler(df.EulerAncestralDiscreteScheduler)


# Sound


def build_stable_audio():
    transformer = df.StableAudioDiTModel(
        sample_size=8,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        num_key_value_attention_heads=1,
        out_channels=4,
        cross_attention_dim=8,
        time_proj_dim=8,
        global_states_input_dim=16,
        cross_attention_input_dim=8,
    )
    vae = df.AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=[2, 2],
        channel_multiples=[1, 2],
        decoder_channels=4,
        decoder_input_channels=4,
        audio_channels=2,
        sampling_rate=16,
    )
    projection = df.StableAudioProjectionModel(
        text_encoder_dim=8, conditioning_dim=8, min_value=0, max_value=32
    )
    return df.StableAudioPipeline(
        vae=vae.eval(),
        transformer=transformer.eval(),
        projection_model=projection.eval(),
        text_encoder=t5_text(8),
        tokenizer=word_tokenizer(),
        scheduler=df.EDMDPMSolverMultistepScheduler(
            sigma_min=0.3,
            sigma_max=500,
            sigma_data=1.0,
            sigma_schedule="exponential",
            solver_order=1,
            prediction_type="v_prediction",
        ),
    )


def build_audioldm2():
    unet = df.AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=((None, 16, 8),) * 2,
        attention_head_dim=4,
    )
    t5 = tf.T5EncoderModel(tf.T5Config(vocab_size=10, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2))
    gpt2 = tf.GPT2LMHeadModel(
        tf.GPT2Config(vocab_size=10, n_embd=16, n_layer=1, n_head=2, n_positions=16, n_ctx=16)
    )
    vocoder = tf.SpeechT5HifiGan(
        tf.SpeechT5HifiGanConfig(
            model_in_dim=8,
            sampling_rate=16000,
            upsample_initial_channel=8,
            upsample_rates=[2, 2],
            upsample_kernel_sizes=[4, 4],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )
    return df.AudioLDM2Pipeline(
        vae=vae_kl(scaling_factor=0.3, in_channels=1, out_channels=1),
        text_encoder=None,
        text_encoder_2=t5.eval(),
        projection_model=None,
        language_model=gpt2.eval(),
        tokenizer=None,
        tokenizer_2=None,
        feature_extractor=None,
        unet=unet.eval(),
        scheduler=ddim(),
        vocoder=vocoder.eval(),
    )


def embed_audioldm2(pipeline, batch):
    named = both(["prompt_embeds", "attention_mask", "generated_prompt_embeds"], [(5, 8), (5,), (4, 16)])(
        pipeline, batch
    )
    named["attention_mask"][0, 3:] = 0
    return named


FAMILIES = [
    *FLOW_MATCHING,
    Family("Stable Diffusion 1 and 2", seeded(build_sd), PROMPT),
    Family(
        "Stable Diffusion XL",
        seeded(build_sdxl),
        both(["prompt_embeds", "pooled_prompt_embeds"], [(5, 16), (16,)]),
    ),
    Family("DiT", seeded(build_dit), no_embeddings, labels=True, size=None),
    Family("DDPM and DDIM", seeded(build_ddim), no_embeddings, guidance=None, size=None),
    Family("Latent Consistency", seeded(build_lcm), positive(["prompt_embeds"], [(5, 16)]), seeds=True),
    Family(
        "Consistency models",
        seeded(build_consistency),
        no_embeddings,
        seeds=True,
        labels=True,
        guidance=None,
        size=None,
    ),
    Family("Stable Audio", seeded(build_stable_audio), both(["prompt_embeds"], [(5, 8)]), size=None),
    Family("AudioLDM 2", seeded(build_audioldm2), embed_audioldm2, size=None),
]
