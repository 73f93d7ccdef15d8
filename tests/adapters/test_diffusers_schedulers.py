"""The schedulers of diffusers: which are flows, on which levels, and that nothing of them is changed."""

import copy
import functools

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers as df
from test_diffusers import largest
from tiny_pipelines import (
    FAMILIES,
    LDM_BETAS,
    SEEDS,
    ancestral,
    ddim,
    euler,
    zero_snr,
)

import headwater as hw
from headwater.adapters.diffusers import Line
from headwater.adapters.diffusers.few_steps import FEW_STEP_READERS
from headwater.adapters.diffusers.schedulers import READERS
from headwater.flows.path import BetaTable

solve = functools.partial(hw.solve, method=hw.EULER)
NAMED = {family.name: family for family in FAMILIES}
SD, SD3 = NAMED["Stable Diffusion 1 and 2"], NAMED["Stable Diffusion 3"]
SDXL = NAMED["Stable Diffusion XL"]
V = {"prediction_type": "v_prediction"}
LEADING = {"timestep_spacing": "leading", "steps_offset": 1}


def first_order(kind, **options):
    return lambda: kind(**LDM_BETAS, **{"solver_order": 1, "timestep_spacing": "trailing", **options})


def straight(**options):
    return lambda: df.FlowMatchEulerDiscreteScheduler(**options)


def late_sample():
    return df.DDIMScheduler(8, 2.5e-7, 0.9, clip_sample=False, prediction_type="sample")


EXACT = [
    ("DDIM as in Stable Diffusion 1", SD, lambda: ddim(set_alpha_to_one=False, **LEADING), 20),
    ("DDIM without an offset", SD, lambda: ddim(timestep_spacing="leading", steps_offset=0), 20),
    ("DDIM of v", SD, lambda: ddim(**V), 5),
    ("DDIM of the data", SD, lambda: ddim(prediction_type="sample"), 5),
    ("DDIM of the data at a very late level", SD, late_sample, 8),
    ("DDIM with zero terminal SNR", SD, zero_snr, 5),
    ("DDIM of every level", SD, lambda: df.DDIMScheduler(8, 0.01, 0.9, clip_sample=False), 8),
    ("Euler as in Stable Diffusion XL", SDXL, lambda: euler(**LEADING), 20),
    ("Euler between levels", SD, lambda: euler(timestep_spacing="linspace"), 7),
    ("Euler of v", SD, lambda: euler(**V), 7),
    ("Euler of Karras", SD, lambda: euler(use_karras_sigmas=True), 7),
    ("Euler to the last level", SD, lambda: euler(final_sigmas_type="sigma_min"), 7),
    ("Euler with zero terminal SNR", SD, lambda: euler(rescale_betas_zero_snr=True, **V), 5),
    ("DPM-Solver++ of first order", SD, first_order(df.DPMSolverMultistepScheduler), 7),
    (
        "DPM-Solver++ of Karras",
        SD,
        first_order(df.DPMSolverMultistepScheduler, use_karras_sigmas=True, **V),
        7,
    ),
    ("DEIS of first order", SD, first_order(df.DEISMultistepScheduler), 7),
    ("straight, dynamic shift", SD3, straight(use_dynamic_shifting=True), 5),
    ("straight, Karras", SD3, straight(use_karras_sigmas=True), 5),
    ("straight, terminal", SD3, straight(shift_terminal=0.1), 5),
    ("turbo in one step", SD, ancestral, 1),
    ("turbo in three steps", SD, ancestral, 3),
    ("turbo of v", SDXL, lambda: euler(df.EulerAncestralDiscreteScheduler, **V), 2),
    ("LCM in SDXL", SDXL, lambda: df.LCMScheduler(**LDM_BETAS), 4),
    ("LCM of v", SD, lambda: df.LCMScheduler(**LDM_BETAS, **V), 2),
]


@pytest.fixture(scope="module")
def pipelines():
    return {family.name: family.build() for family in (SD, SD3, SDXL)}


@pytest.mark.parametrize("name, family, scheduler, steps", EXACT, ids=[row[0] for row in EXACT])
def test_euler_steps_are_those_of_the_scheduler(pipelines, name, family, scheduler, steps):
    pipeline = pipelines[family.name]
    pipeline.scheduler = scheduler()
    model = family.load(pipeline, steps=steps, seeds=SEEDS[:2])
    latents, _ = family.run(pipeline, num_inference_steps=steps)
    x0 = model.flow.noise(SEEDS[:2])
    x1 = solve(model.flow, x0, steps=model.steps)
    assert model.exact and len(model.steps) == steps + 1
    # Latents of 4096 sigma, with which this sampler starts, have three digits less in float32.
    steep = {"Euler with zero terminal SNR": 2e-4, "DDIM of the data at a very late level": 2e-5}
    assert largest(x1, latents) <= steep.get(name, 5e-6)


INEXACT = [
    (SD, lambda: df.PNDMScheduler(**LDM_BETAS, skip_prk_steps=True, **LEADING), 20),
    (SD, lambda: df.HeunDiscreteScheduler(**LDM_BETAS, timestep_spacing="trailing"), 7),
    (SD, lambda: df.LMSDiscreteScheduler(**LDM_BETAS, timestep_spacing="trailing"), 7),
    (SD, lambda: df.KDPM2DiscreteScheduler(**LDM_BETAS, timestep_spacing="trailing"), 7),
    (SD, lambda: df.DPMSolverMultistepScheduler(**LDM_BETAS, timestep_spacing="trailing"), 7),
    (SD, lambda: df.DPMSolverSinglestepScheduler(**LDM_BETAS, solver_order=2), 8),
    (SD, lambda: df.UniPCMultistepScheduler(**LDM_BETAS, timestep_spacing="trailing"), 7),
    (SD, lambda: df.DDPMScheduler(**LDM_BETAS, clip_sample=False, timestep_spacing="trailing"), 5),
    (SD3, lambda: df.FlowMatchHeunDiscreteScheduler(shift=3.0), 5),
]


@pytest.mark.parametrize(
    "family, scheduler, steps", INEXACT, ids=[type(row[1]()).__name__ for row in INEXACT]
)
def test_schedulers_of_higher_order_share_the_flow(pipelines, family, scheduler, steps):
    """The velocity is that of Euler's scheduler, at any time; and the model says that its steps are other ones."""
    pipeline = pipelines[family.name]
    pipeline.scheduler = scheduler()
    model = family.load(pipeline, steps=steps)
    assert not model.exact and "takes other steps" in model.notes[-1] and len(model.steps) == steps + 1
    pipeline.scheduler = ddim(**LEADING) if family is SD else straight(shift=3.0)()
    other = family.load(pipeline, steps=20)
    x, t = model.flow.noise(SEEDS[:2]), torch.tensor(0.31)
    if family is SD:  # the paths differ in their ends: compare the noise at one ratio of data and noise
        path = other.flow.path
        a, b = (f(t.double()) for f in (model.flow.path.alpha, model.flow.path.sigma))
        s = path.time_of(a, b)
        y = x * (path.alpha(s) / a).float()
        eps = model.flow.path.eps_from_v(x, model.flow(x, t), t)
        assert largest(path.eps_from_v(y, other.flow(y, s), s), eps) < 1e-3
    else:
        torch.testing.assert_close(other.flow(x, t), model.flow(x, t))


def test_cosine_schedule_of_stable_audio_is_the_one_flow_with_its_own_clock():
    """Its own sampler draws noise and needs torchsde; Euler's steps on its levels are those of a hand-made DDIM."""
    pytest.importorskip("torchsde")
    family = NAMED["Stable Audio"]
    pipeline = family.build()
    pipeline.scheduler = scheduler = df.CosineDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500)
    model = family.load(pipeline, guidance=1.0, steps=6)
    assert not model.exact
    x0 = model.flow.noise(SEEDS[:2])
    scheduler.set_timesteps(6)
    y, network, condition = (
        x0 * scheduler.init_noise_sigma,
        pipeline.transformer,
        model.flow.velocity.output.condition,
    )
    from headwater.adapters.diffusers.sound import call_stable_audio

    with torch.no_grad():
        for k, t in enumerate(scheduler.timesteps):
            now, after = scheduler.sigmas[k], scheduler.sigmas[k + 1]
            out = call_stable_audio(network, scheduler.precondition_inputs(y, now), t.expand(2), **condition)
            data = scheduler.precondition_outputs(y, out, now)
            y = data + (y - data) * after / now
    assert largest(solve(model.flow, x0, steps=model.steps), y) < 5e-6
    t = torch.tensor(0.4)
    sigma = (model.flow.path.sigma(t.double()) / model.flow.path.alpha(t.double())).float()
    told = model.flow.velocity.schedule.timestep(t.double())
    torch.testing.assert_close(told.float(), scheduler.precondition_noise(sigma))


def test_the_clock_between_levels_is_that_of_the_table():
    """At the noise level of an index the network is told this index, on any grid."""
    pipeline = SD.build()
    model = SD.load(pipeline, steps=4)
    schedule, table = model.flow.velocity.schedule, BetaTable(pipeline.scheduler.betas)
    for index in (0, 1, 500, 998, 999):
        t = table.time(torch.tensor(index, dtype=torch.float64))
        own = schedule.path.time_of(table.alpha(t), table.sigma(t))
        assert abs(float(schedule.timestep(own)) - index) < 1e-3


def test_line_is_condot_with_its_default_ends_and_euler_on_it_is_ddim():
    line, t = Line(), torch.tensor([0.0, 0.3, 1.0])
    for name in ("alpha", "sigma", "dalpha", "dsigma"):
        assert torch.equal(getattr(line, name)(t), getattr(hw.CondOT(), name)(t))
    oracle = hw.Gaussian(torch.zeros(2), torch.tensor([0.5, 2.0]), Line((0.1, 0.9), (0.99, 0.05))).flow
    x0 = oracle.noise([0], dtype=torch.float64)
    ways = [hw.solve(oracle, x0, method=method, steps=[0.0, 0.2, 0.5, 1.0]) for method in (hw.EULER, hw.DDIM)]
    torch.testing.assert_close(*ways)


def test_the_flow_of_zero_terminal_snr_starts_from_noise_alone(pipelines):
    pipeline = pipelines[SD.name]
    pipeline.scheduler = zero_snr()
    model = SD.load(pipeline, steps=5)
    assert model.flow.path.start == (0.0, 1.0)
    assert torch.isfinite(model.flow(model.flow.noise(SEEDS[:2]), torch.tensor(0.0))).all()


def test_loading_leaves_the_scheduler_and_the_pipeline_alone(pipelines):
    """The scheduler is copied, so that the pipeline gives afterwards what it gave before."""
    pipeline = pipelines[SD.name]
    pipeline.scheduler = euler()
    before, _ = SD.run(pipeline)
    state = copy.deepcopy(vars(pipeline.scheduler))
    model = SD.load(pipeline, steps=9)
    solve(model.flow, model.flow.noise(SEEDS[:2]), steps=model.steps)
    after = vars(pipeline.scheduler)
    assert all(
        torch.equal(v, after[k]) if isinstance(v, torch.Tensor) else v == after[k] for k, v in state.items()
    )
    assert torch.equal(SD.run(pipeline)[0], before)


REFUSED = [
    (lambda: ddim(clip_sample=True), 4, "clip_sample=True"),
    (lambda: df.DDPMScheduler(**LDM_BETAS), 4, "clip_sample=True"),
    (lambda: ddim(thresholding=True), 4, "thresholding=True"),
    (lambda: ddim(timestep_spacing="linspace"), 20, "ends at another noise level"),
    (lambda: ddim(timestep_spacing="trailing"), 7, "ends at another noise level"),
    (lambda: ddim(**LEADING), 5, r"starts at timestep 801, .* holds 0.19 of the data"),
    (
        lambda: df.DDIMScheduler(beta_end=0.002, clip_sample=False, timestep_spacing="trailing"),
        5,
        r"starts at timestep 999, .* of the data",
    ),
    (lambda: euler(**LEADING), 5, r"starts at timestep 801"),
    (lambda: ddim(rescale_betas_zero_snr=True), 5, "zero terminal SNR"),
    (lambda: ddim(prediction_type="score"), 4, "prediction type 'score'"),
    (
        lambda: df.DPMSolverSDEScheduler.__new__(df.DPMSolverSDEScheduler),
        4,
        "DPMSolverSDEScheduler is unknown",
    ),
    (lambda: df.KDPM2AncestralDiscreteScheduler(**LDM_BETAS), 4, "is unknown, or draws noise"),
    (
        first_order(df.DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++"),
        4,
        "draws noise in every step",
    ),
    (straight(stochastic_sampling=True), 4, "draws noise in every step"),
    (straight(invert_sigmas=True), 4, "invert_sigmas"),
    (lambda: df.EDMEulerScheduler(), 4, "scalings of EDM"),
    (ancestral, 3, "draws noise between its 3 steps"),
    (lambda: df.LCMScheduler(**LDM_BETAS), 4, "draws noise between its 4 steps"),
    (lambda: df.LCMScheduler(**LDM_BETAS, clip_sample=True), 4, "clip_sample=True"),
    (lambda: df.LCMScheduler(**LDM_BETAS), 60, "cannot take 60 steps"),
    (lambda: ddim(), 1001, "cannot take 1001 steps"),
]


@pytest.mark.parametrize("scheduler, steps, words", REFUSED, ids=[row[2] + str(row[1]) for row in REFUSED])
def test_what_is_no_flow_is_refused(pipelines, scheduler, steps, words):
    pipeline = pipelines[SD.name]
    pipeline.scheduler = scheduler()
    with pytest.raises(hw.Misuse, match=words) as refusal:
        SD.load(pipeline, steps=steps)
    assert refusal.value.what.endswith(".") and refusal.value.cure.endswith((".", "?"))


def test_every_reader_is_tested():
    tested = {type(row[2]()).__name__ for row in EXACT} | {type(row[1]()).__name__ for row in INEXACT}
    tested |= {
        type(f.build().scheduler).__name__
        for f in FAMILIES
        if f.name in ("Consistency models", "Stable Audio")
    }
    assert {*READERS, *FEW_STEP_READERS} - tested <= {
        "CosineDPMSolverMultistepScheduler",
        "EDMEulerScheduler",
    }


def test_later_noise_belongs_to_its_seed(pipelines):
    """A few-step map: the same for the same seeds, other for others, and it follows its problems."""
    pipeline = pipelines[SD.name]
    pipeline.scheduler = ancestral()
    model = SD.load(pipeline, steps=3, seeds=SEEDS[:2])
    x0 = model.flow.noise(SEEDS[:2])
    x1 = solve(model.flow, x0, steps=model.steps)
    swapped = SD.load(pipeline, steps=3, seeds=[SEEDS[0], 99])
    other = solve(swapped.flow, x0, steps=model.steps)
    assert torch.equal(solve(model.flow, x0, steps=model.steps), x1)
    assert torch.equal(other[0], x1[0]) and largest(other[1], x1[1]) > 1e-2
    alone = solve(model.flow.select(torch.tensor([1])), x0[1:], steps=model.steps)
    assert largest(alone, x1[1:]) < 1e-5
    with pytest.raises(hw.Misuse, match="'seeds' has 2 rows for 3 problems"):
        SD.load(pipeline, batch=3, steps=3, seeds=SEEDS[:2]).flow(model.flow.noise(SEEDS), torch.tensor(0.0))
