"""CLIP as two maps into one space: a tiny random model, against its own processor, offline."""

import copy
import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import transformers as tf
from tiny_pipelines import LETTERS, clip_tokenizer

import headwater as hw
from headwater.adapters import clip
from headwater.image.rewards import TextPictureModel, read_reward


@pytest.fixture(scope="module")
def model():
    text = {"vocab_size": len(LETTERS) + 2, "max_position_embeddings": 16, "eos_token_id": len(LETTERS) + 1}
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    vision = {**size, "image_size": 16, "patch_size": 8}
    return tf.CLIPModel(
        tf.CLIPConfig(text_config={**size, **text}, vision_config=vision, projection_dim=6)
    ).eval()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip")
    model.save_pretrained(path)
    clip_tokenizer().save_pretrained(path)
    return path


def pictures(side=16, count=2):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_cosine_is_that_of_the_model_and_its_own_processor(model):
    """`CLIPModel` itself, whose `logits_per_image` is the cosine times a scale."""
    x, texts = pictures(), ["a cat", "a red dog"]
    pair = TextPictureModel(*clip.load(model, clip_tokenizer()))
    tokens = clip_tokenizer()(texts, padding=True, return_tensors="pt")
    processor = tf.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16)
    eight = ((x + 1) * 127.5).round()
    pixels = processor(
        images=[np.asarray(p, np.uint8) for p in eight],
        return_tensors="pt",
        input_data_format="channels_first",
    )
    with torch.no_grad():
        own = model(**tokens, pixel_values=pixels["pixel_values"]).logits_per_image / model.logit_scale.exp()
        found = torch.stack([pair.reward(text)(eight / 127.5 - 1) for text in texts], 1)
    assert_close(found, own, rtol=1e-4, atol=1e-5)


def test_each_problem_has_its_text_and_the_gradient_is_that_of_differences(model):
    pair = TextPictureModel(*clip.load(model.double(), clip_tokenizer()))
    try:
        reward, x = pair.reward(["a cat", "a red dog"]), pictures(20).double().requires_grad_()
        value = reward(x)
        assert_close(reward.select(torch.tensor([1]))(x[1:]), value[1:])
        assert_close(pair.reward("a cat")(x)[:1], value[:1])
        assert reward.select(torch.tensor([1])).words == ("a red dog",)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        e = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        with torch.no_grad():
            slope = (reward(x + 1e-5 * e) - reward(x - 1e-5 * e)) / 2e-5
        assert_close((gradient * e).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-7)
    finally:
        model.float()
    assert all(p.requires_grad for p in model.parameters())


def test_a_folder_gives_the_same_and_its_processor_the_statistics(model, folder, tmp_path):
    given, read = TextPictureModel(*clip.load(model, clip_tokenizer())), read_reward(f"clip: {folder}: a cat")
    assert_close(read(pictures()), given.reward("a cat")(pictures()))
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    other = read_reward(f"clip: {tmp_path}: a cat")
    assert other.embed_pictures.mean == [0.5] * 3
    assert float((other(pictures()) - read(pictures())).abs().max()) > 1e-5


def test_the_file_of_a_whole_processor_gives_the_statistics_too(folder, tmp_path):
    images = tf.CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16, image_mean=[0.4, 0.5, 0.6])
    tf.CLIPProcessor(images, clip_tokenizer()).save_pretrained(tmp_path)
    mean, std = clip.read_statistics(tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
    assert (list(mean), list(std)) == ([0.4, 0.5, 0.6], pytest.approx(clip.STD))


def test_the_model_goes_where_the_pictures_are(model):
    encoder, _ = clip.load(copy.deepcopy(model), clip_tokenizer())
    assert encoder(pictures().to("meta")).device.type == "meta"  # any device but the CPU


def test_siglip_reads_texts_at_the_length_that_it_was_trained_on():
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**size, "vocab_size": len(LETTERS) + 2, "max_position_embeddings": 16}
    torch.manual_seed(0)
    config = tf.SiglipConfig(text_config=text, vision_config={**size, "image_size": 16, "patch_size": 8})
    net = tf.SiglipModel(config).eval()
    _, embed = clip.load(net, clip_tokenizer())
    tokens = clip_tokenizer()(["a cat"], padding="max_length", max_length=16, return_tensors="pt")
    with torch.no_grad():
        assert_close(embed(["a cat"]), net.get_text_features(**tokens).pooler_output)
    assert_close(embed(["a cat", "a red dog"])[:1], embed(["a cat"]))


def remove(folder, name):
    (folder / name).unlink()


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: remove(f, "model.safetensors"), "cannot be read"),
        (pickled, "cannot be read"),
        (lambda f: remove(f, "config.json"), "cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "preprocessor_config.json").write_text("{"), "cannot be read"),
        (lambda f: (f / "preprocessor_config.json").write_text("[1]"), "is no processor's file"),
        (
            lambda f: (f / "processor_config.json").write_text('{"image_processor": 1}'),
            "is no processor's file",
        ),
        (lambda f: (f / "processor_config.json").write_text('{"image_mean": [0.5]}'), "of three colours"),
        (
            lambda f: (f / "processor_config.json").write_text('{"image_std": ["a", 1, 1]}'),
            "of three colours",
        ),
        (lambda f: (f / "model.safetensors").write_bytes(b"no"), "cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused_in_two_sentences(folder, tmp_path, damage, words):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    damage(tmp_path)
    with pytest.raises(hw.Misuse, match=words) as refusal:
        clip.load(tmp_path)
    assert refusal.value.cure.endswith(".")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda m: clip.load(m), "came without its tokenizer"),
        (lambda m: clip.load(torch.nn.Linear(1, 1)), "A Linear does not put pictures and texts"),
        (lambda m: clip.load("no/such/folder"), "There is no folder"),
        (
            lambda m: TextPictureModel(*clip.load(m, clip_tokenizer())).reward("a cat and a dog or a cat"),
            "reads at most 16",
        ),
        (
            lambda m: TextPictureModel(*clip.load(m, clip_tokenizer())).reward("a")(torch.ones(1, 1, 4, 4)),
            "colour pictures",
        ),
        (
            lambda m: TextPictureModel(lambda x: x.mean((2, 3)), lambda t: torch.ones(1, 2)).reward("a")(
                pictures()
            ),
            "one space",
        ),
        (
            lambda m: TextPictureModel(lambda x: x.mean((2, 3)), lambda t: torch.ones(3, 3)).reward("a")(
                pictures()
            ),
            "3 texts for 2",
        ),
        (lambda m: read_reward("clip: folder"), "of what model and what text"),
        (lambda m: read_reward("text"), "does not say of what"),
    ],
)
def test_refusals_are_two_sentences(model, make, words):
    with pytest.raises(hw.Misuse, match=words) as refusal:
        make(model)
    assert refusal.value.what.endswith(".") and refusal.value.cure.endswith(".")
