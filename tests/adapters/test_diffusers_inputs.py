"""What is given to a pipeline of diffusers: prompts, labels, sizes, precisions, folders; and what is refused."""

import dataclasses
import functools
import json
import re
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers as df
from test_diffusers import largest
from tiny_pipelines import FAMILIES, SEEDS, build_sd, seeded

import headwater as hw
from headwater.adapters.diffusers import load

solve = functools.partial(hw.solve, method=hw.EULER)
NAMED = {family.name: family for family in FAMILIES}
SD, SD3, DIT = NAMED["Stable Diffusion 1 and 2"], NAMED["Stable Diffusion 3"], NAMED["DiT"]
PROMPTS, NEGATIVE = ["a cat", "a red dog !"], ["dog", "!"]
READERS = [f for f in FAMILIES if not f.labels and f.guidance and f.name not in ("Flux 2", "AudioLDM 2")]
"""Families whose text encoders can be made tiny in memory."""


@pytest.fixture
def pipeline():
    return SD.build()


def two_sentences(refusal):
    assert refusal.value.what.endswith(".") and refusal.value.cure.endswith((".", "?", "]"))


# Prompts


@pytest.mark.parametrize("family", READERS, ids=lambda family: family.name)
def test_prompts_are_read_as_the_pipeline_reads_them(family):
    """One for each problem, with negative prompts where there are any, with all defaults of the pipeline's call."""
    pipeline = family.build()
    negative = None if family.name in ("Flux", "Latent Consistency") else NEGATIVE
    model = family.load(pipeline, embeddings=None, prompt=PROMPTS, negative_prompt=negative)
    call = {name: value for name, value in family.call.items() if name != "negative_prompt"}
    alike = dataclasses.replace(family, embed=lambda pipeline, batch: {}, call=call)
    texts = {"prompt": PROMPTS} if negative is None else {"prompt": PROMPTS, "negative_prompt": NEGATIVE}
    latents, _ = alike.run(pipeline, **texts)
    x0 = model.flow.noise(SEEDS[:2])
    x1 = solve(model.flow, x0, steps=model.steps)
    assert largest(x1, latents) <= max(family.tolerance, 1e-6)
    swapped = solve(model.flow.select(torch.tensor([1, 0])), x0, steps=model.steps)
    assert largest(swapped, x1) > 1e-5


def test_one_prompt_serves_all_problems_and_the_default_guidance_is_the_pipelines(pipeline):
    one = load(pipeline, "a cat", steps=4, height=16, width=16)
    many = load(pipeline, ["a cat"] * 3, steps=4, height=16, width=16)
    x = one.flow.noise(SEEDS)
    torch.testing.assert_close(one.flow(x, torch.tensor(0.5)), many.flow(x, torch.tensor(0.5)))
    assert one.flow.velocity.output.guidance == 7.5


def test_a_prompt_that_is_cut_off_is_refused_or_told(pipeline):
    with pytest.raises(hw.Misuse, match="has 20 tokens, and the pipeline reads at most 16") as refusal:
        load(pipeline, "a red cat and a red dog !", steps=4)
    two_sentences(refusal)
    flux = NAMED["Flux"].build()  # its T5 reads on where CLIP stops
    model = load(flux, "a red cat and a red dog !", steps=4, height=16, width=16)
    assert model.notes == (
        "One text encoder reads only the first 16 of the 20 tokens of 'a red cat and a red dog !'.",
    )


def test_rows_for_other_problems_are_refused(pipeline):
    model = load(pipeline, PROMPTS, steps=4, height=16, width=16)
    with pytest.raises(hw.Misuse, match="has 2 rows for 3 problems"):
        model.flow(model.flow.noise(SEEDS), torch.tensor(0.5))


def test_rescaled_guidance_is_that_of_the_pipeline(pipeline):
    model = SD.load(pipeline, rescale=0.7)
    latents, _ = SD.run(pipeline, guidance_rescale=0.7)
    assert largest(solve(model.flow, model.flow.noise(SEEDS[:2]), steps=model.steps), latents) < 5e-5
    plain = SD.load(pipeline)
    assert largest(solve(plain.flow, plain.flow.noise(SEEDS[:2]), steps=model.steps), latents) > 1e-3


# What is not taken


EMBEDDED = SD.embed(None, 2)
REFUSED = [
    (SD, {}, "needs prompt_embeds"),
    (SD, {"prompt": PROMPTS, "embeddings": EMBEDDED}, "Both a prompt and embeddings"),
    (SD, {"negative_prompt": "dog", "embeddings": EMBEDDED}, "a negative prompt but no prompt"),
    (SD, {"prompt": PROMPTS, "negative_prompt": ["a"] * 3}, "2 prompts but 3 negative prompts"),
    (SD, {"prompt": PROMPTS, "negative_prompt": "a", "guidance": 1.0}, "does not read a negative prompt"),
    (SD, {"embeddings": {"prompt_embeds": EMBEDDED["prompt_embeds"]}}, "needs negative_prompt_embeds"),
    (SD, {"prompt": []}, r"The prompt \[\] is no text"),
    (SD, {"prompt": ["a", 3]}, "is no text"),
    (SD, {"embeddings": {"promt_embeds": EMBEDDED["prompt_embeds"]}}, "no embedding 'promt_embeds'"),
    (SD, {"embeddings": {"prompt_embeds": [[1.0]]}}, "'prompt_embeds' is a list"),
    (SD, {"prompt": "a", "steps": 2.5}, "steps is 2.5, which is no whole number"),
    (SD, {"prompt": "a", "height": 16.0}, "height is 16.0, which is no whole number"),
    (SD, {"prompt": "a", "rescale": 2.0}, "rescale=2.0 is not within"),
    (SD3, {"prompt": "a", "rescale": 0.5}, "has no guidance_rescale"),
    (SD, {"prompt": "a", "labels": [1]}, "takes no labels"),
    (SD, {"prompt": "a", "seconds": 2.0}, "takes no seconds"),
    (SD, {"prompt": "a", "guidance": float("nan")}, "guidance of nan is not finite"),
    (SD, {"prompt": "a", "steps": 0}, "0 steps does nothing"),
    (SD, {"prompt": "a", "height": 15}, "no picture of 15 x 16 pixels"),
    (SD3, {"prompt": "a", "width": 18}, "no picture of 16 x 18 pixels"),
    (NAMED["Flux"], {"prompt": "a", "negative_prompt": "a"}, "does not read a negative prompt"),
    (NAMED["Flux"], {"prompt": "a", "height": 18}, "no picture of 18 x 256"),
    (NAMED["DDPM and DDIM"], {"guidance": 3.0}, "has no guidance"),
    (NAMED["DDPM and DDIM"], {"prompt": "a"}, "takes no prompt"),
    (NAMED["DDPM and DDIM"], {"height": 9}, "no picture of 9 x 8"),
    (DIT, {}, "wants class labels from 0 to 999, and was given None"),
    (DIT, {"labels": [1000]}, r"was given \[1000\]"),
    (DIT, {"labels": [1], "height": 32}, "has one size only"),
    (NAMED["Stable Audio"], {"prompt": "a", "seconds": 3.0}, "makes no sound of 3 s"),
    (NAMED["Stable Audio"], {"prompt": "a", "height": 16}, "has one size only"),
    (NAMED["AudioLDM 2"], {"embeddings": {}, "seconds": -1.0}, "needs generated_prompt_embeds"),
    (SD, {"prompt": "a", "tiling": True, "slicing": True, "labels": None, "height": -8}, "no picture of -8"),
]


@pytest.fixture(scope="module")
def built():
    made = {}

    def build(family):
        if family.name not in made:
            made[family.name] = family.build()
        return made[family.name]

    return build


@pytest.mark.parametrize("family, options, words", REFUSED, ids=[row[2] for row in REFUSED])
def test_what_cannot_be_served_is_refused_in_two_sentences(built, family, options, words):
    with pytest.raises(hw.Misuse, match=words) as refusal:
        load(built(family), **{"steps": 4, **options})
    two_sentences(refusal)


def test_a_pipeline_of_another_class_is_refused(pipeline):
    other = df.StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    with pytest.raises(hw.Misuse, match="StableDiffusionImg2ImgPipeline are unknown") as refusal:
        load(other, "a cat")
    two_sentences(refusal)


def test_a_pipeline_without_a_component_is_refused(pipeline):
    pipeline.vae = None
    with pytest.raises(hw.Misuse, match="The StableDiffusionPipeline has no vae") as refusal:
        load(pipeline, "a cat")
    two_sentences(refusal)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(
        hw.Misuse, match=r"needs the package diffusers. Run: pip install headwater\[diffusers\]"
    ):
        load("owner/model", "a cat")


EMBEDDINGS = [family for family in FAMILIES if family.embed(None, 1)]


@pytest.mark.parametrize("family", EMBEDDINGS, ids=lambda family: family.name)
def test_embeddings_of_another_width_are_refused_in_two_sentences(built, family):
    """Each of them, and those of no prompt; torch would speak of matrices that cannot be multiplied."""
    pipeline, given = built(family), family.embed(None, 2)
    for name, value in given.items():
        if value.is_floating_point():
            wrong = {**given, name: torch.cat([value, value], -1)}
            with pytest.raises(hw.Misuse, match=f"The embedding '{name}' has the shape") as refusal:
                family.load(pipeline, embeddings=wrong)
            two_sentences(refusal)
            assert f"..., {value.shape[-1]}]" in refusal.value.cure


# Folders


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline")
    seeded(build_sd)().save_pretrained(path)
    return path


@pytest.fixture
def damaged(folder, tmp_path):
    """A copy of the folder to be changed, made of links."""
    copy = tmp_path / "copy"
    for file in folder.rglob("*"):
        if file.is_file():
            place = copy / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.read_bytes())
    return copy


def write_index(folder, **changes):
    file = folder / "model_index.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def write_scheduler(folder, **changes):
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def empty(folder, part):
    for file in (folder / part).iterdir():
        file.unlink()


def pickled(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(
        folder / "unet" / "diffusion_pytorch_model.bin"
    )


DAMAGES = [
    (lambda f: (f / "model_index.json").unlink(), "has no model_index.json"),
    (lambda f: (f / "model_index.json").write_text("{"), "cannot be read"),
    (lambda f: (f / "model_index.json").write_text("[1]"), "does not name the class"),
    (lambda f: write_index(f, _class_name="KandinskyPipeline"), "class KandinskyPipeline are unknown"),
    (lambda f: empty(f, "vae"), "lacks its component vae"),
    (lambda f: (f / "vae" / "config.json").unlink(), "cannot be read"),
    (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").unlink(), "cannot be read"),
    (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no"), "cannot be read"),
    (pickled, "weights of unet are pickled"),
    (lambda f: (f / "unet" / "code.py").write_text("1/0"), "brings Python code of its own"),
    (lambda f: write_index(f, unet=["diffusers", "NoSuchModel"]), "cannot be read"),
    (lambda f: write_index(f, scheduler=["diffusers", "NoSuchScheduler"]), "cannot be read"),
    (
        lambda f: write_scheduler(f, _class_name="NoSuchScheduler", prediction_type="noise"),
        "prediction type 'noise'",
    ),
    (lambda f: (f / "scheduler" / "scheduler_config.json").write_text("{"), "cannot be read"),
    (lambda f: (f / "tokenizer" / "tokenizer_config.json").write_text("["), "cannot be read"),
    (lambda f: write_index(f, unet=["os", "system"]), "is a class of os, which is not imported"),
]


@pytest.mark.parametrize("damage, words", DAMAGES, ids=[f"{k} {row[1]}" for k, row in enumerate(DAMAGES)])
def test_a_damaged_folder_is_refused_in_two_sentences(damaged, damage, words):
    damage(damaged)
    with pytest.raises(hw.Misuse, match=words) as refusal:
        load(damaged, "a cat")
    two_sentences(refusal)


def test_the_safety_checker_is_not_loaded(damaged):
    """It is not used, so that neither its memory is needed nor its pickled weights are read."""
    write_index(damaged, safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"])
    (damaged / "safety_checker").mkdir()
    (damaged / "safety_checker" / "pytorch_model.bin").write_bytes(b"never read")
    assert load(damaged, "a cat", steps=4).family == "Stable Diffusion 1 and 2"


def test_a_folder_of_half_precision_weights_alone_is_read(damaged):
    """As the hub has them: `diffusion_pytorch_model.fp16.safetensors`, and no other."""
    for file in [*damaged.rglob("*.safetensors")]:
        file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))
    assert load(damaged, "a cat", steps=4).family == "Stable Diffusion 1 and 2"


@pytest.mark.parametrize("name", ["weights.ckpt", "weights.bin", "weights.pt", "weights.safetensors"])
def test_single_files_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        hw.Misuse, match="single file" if name.endswith("safetensors") else "is pickled"
    ) as refusal:
        load(tmp_path / name, "a cat")
    two_sentences(refusal)


@pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "../up/there", "a/b/c"])
def test_what_is_neither_a_folder_nor_a_name_is_refused(name):
    with pytest.raises(hw.Misuse, match="There is no folder") as refusal:
        load(name, "a cat")
    two_sentences(refusal)


def test_a_name_that_was_not_downloaded_is_refused_without_asking_the_network(monkeypatch):
    import socket

    def refuse(*given, **more):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(hw.Misuse, match="no downloaded pipeline has the name 'nobody/nothing'") as refusal:
        load("nobody/nothing", "a cat")
    assert "download=True" in refusal.value.cure
    two_sentences(refusal)


# Precision, modes, gradients


def test_float16_on_a_cpu_is_cast_and_told():
    pipeline = SD3.build().to(torch.float16)
    model = load(pipeline, "a cat", steps=4)
    assert model.notes == (
        "The weights are float16, in which a CPU computes badly: they were cast to float32.",
    )
    assert pipeline.transformer.dtype is pipeline.vae.dtype is pipeline.text_encoder.dtype is torch.float32
    assert torch.isfinite(solve(model.flow, model.flow.noise([0]), steps=model.steps)).all()


def test_bfloat16_networks_keep_a_float32_state():
    """Within the precision of bfloat16 of the same weights in float32, and all sums over states in float32."""
    pipeline = SD3.build().to(torch.bfloat16)
    model = SD3.load(pipeline)
    x = model.flow.noise(SEEDS[:2])
    low = solve(model.flow, x, steps=model.steps)
    pixels = model.decode(low)
    assert low.dtype is pixels.dtype is torch.float32 and pipeline.transformer.dtype is torch.bfloat16
    exact = SD3.load(pipeline.to(torch.float32))
    assert 1e-5 < largest(low, solve(exact.flow, x, steps=exact.steps)) < 3e-2


def test_networks_are_put_into_evaluation_mode():
    pipeline = DIT.build()
    pipeline.transformer.train()  # it drops labels at random
    model = DIT.load(pipeline)
    x = model.flow.noise(SEEDS[:2])
    assert torch.equal(model.flow(x, torch.tensor(0.2)), model.flow(x, torch.tensor(0.2)))


def test_the_switch_of_gradients_is_left_alone(pipeline, monkeypatch):
    """A module of diffusers turns gradients off for good when it is imported."""
    called = type(pipeline).encode_prompt

    @functools.wraps(called)
    def careless(self, *given, **more):
        torch.set_grad_enabled(False)
        return called(self, *given, **more)

    monkeypatch.setattr(type(pipeline), "encode_prompt", careless)
    model = load(pipeline, "a cat", steps=4, height=16, width=16)
    assert torch.is_grad_enabled()
    z = model.flow.noise([0]).requires_grad_()
    assert torch.autograd.grad(model.flow(z, torch.tensor(0.5)).sum(), z)[0].abs().sum() > 0


def test_weights_are_not_differentiated_and_stay_trainable(pipeline):
    model = load(pipeline, "a cat", steps=4, height=16, width=16)
    z = model.flow.noise([0]).requires_grad_()
    model.decode(solve(model.flow, z, steps=model.steps)).sum().backward()
    parts = [*pipeline.unet.parameters(), *pipeline.vae.parameters()]
    assert all(p.grad is None and p.requires_grad for p in parts) and z.grad is not None


def test_the_page_names_every_family_pipeline_and_scheduler():
    from headwater.adapters.diffusers.families import CONVENTIONS
    from headwater.adapters.diffusers.few_steps import FEW_STEP_READERS
    from headwater.adapters.diffusers.schedulers import READERS

    page = (Path(__file__).parents[2] / "docs" / "diffusers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| (`\w+Pipeline`[^|]*) \| ([^|]+) \|", page, re.MULTILINE)
    allowed = {
        f.name: "equal" if f.tolerance == 0 else f"{f.tolerance:.0e}".replace("e-0", "e-") for f in FAMILIES
    }
    assert {name: (classes, bound) for name, classes, bound in rows} == {
        c.name: (", ".join(f"`{p}`" for p in c.pipelines), allowed[c.name]) for c in CONVENTIONS
    }
    table = page.partition("## Schedulers")[2].partition("## Traps")[0]
    assert set(re.findall(r"`(\w+Scheduler)`", table)) == {*READERS, *FEW_STEP_READERS}
