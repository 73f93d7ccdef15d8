"""Domains outside of the package: each is one folder, takes public names alone, and its costs and data are right."""

import ast
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import headwater as hw

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
FOLDERS = ("fields", "plans")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The folder of examples on the path, as when one is started there."""
    monkeypatch.syspath_prepend(str(EXAMPLES))


def take(name):
    return importlib.import_module(name)


# One folder, public names


def public_names():
    """The full names that the reference lists, and the modules that it takes them from."""
    names, module = set(), ""
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        for line in page.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = found[1]
            elif found := re.fullmatch(r"   ~?([A-Za-z_][\w.]*)", line):
                names.add(f"{module}.{found[1]}")
            elif found := re.match(r"\.\. py:data:: (\S+)", line):
                names |= {found[1], f"{module}.{found[1]}"}
    return names


def taken_names(tree):
    """What a module takes of headwater: imported names, and attributes of `hw`, each as its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "headwater":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "headwater":
                    assert (alias.name, alias.asname) == ("headwater", "hw")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "hw":
            yield f"headwater.{node.attr}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_domain_takes_public_names_and_nothing_of_another_domain(folder):
    files = sorted((EXAMPLES / folder).glob("*.py"))
    assert len(files) >= 6
    for file in files:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        private = set(taken_names(tree)) - public_names()
        assert not private, (file, private)
        others = {
            node.module.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level == 0
        }
        assert not others & (set(FOLDERS) | {"common", "digits"}), file


def test_a_name_that_is_not_public_is_found():
    tree = ast.parse("import headwater as hw\nfrom headwater.dflow.record import Record\nhw.no_such_name")
    assert set(taken_names(tree)) - public_names() == {
        "headwater.dflow.record.Record",
        "headwater.no_such_name",
    }


def test_the_page_counts_lines_as_they_are():
    page = (ROOT / "docs" / "new-domain.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*`\w+\.py`.*?) \| (\d+)(?: lines)? \| (\d+)(?: lines)? \|$", page, re.MULTILINE)
    assert len(rows) == 6
    for names, *said in rows:
        for folder, lines in zip(FOLDERS, said, strict=True):
            files = [EXAMPLES / folder / name for name in re.findall(r"`(\w+\.py)`", names)]
            found = [len(file.read_text(encoding="utf-8").splitlines()) for file in files if file.is_file()]
            assert sum(found) == int(lines), (folder, names)


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_weights_are_small_and_were_trained_in_less_than_five_minutes(folder):
    file = take(f"{folder}.model").WEIGHTS
    assert file.stat().st_size < 1_100_000
    with safe_open(file, "pt") as weights:
        log = json.loads(weights.metadata()["log"])
    assert log[-1]["minutes"] < 5 and log[-1]["held_out"] < 0.6 * log[0]["held_out"]


@pytest.mark.parametrize(("folder", "steps"), [("fields", 8), ("plans", 15)])
def test_some_steps_of_training_reduce_the_loss(folder, steps):
    from headwater.nn.training import Run

    train, model, data = (take(f"{folder}.{name}") for name in ("train", "model", "data"))
    network = {"fields": "FieldNetwork", "plans": "PlanNetwork"}[folder]
    samples = {"fields": lambda: data.simulate(8, 0), "plans": lambda: data.draw_paths(32, 0)}[folder]()
    torch.manual_seed(0)
    run = Run(getattr(model, network), {}, torch.device("cpu"))
    before = train.held_out_loss(run.net, samples)["held_out"]
    batches = train.batches_of(samples, 8)
    for _ in range(steps):
        run.update(next(batches), train.matching_loss, 2e-3)
    assert train.held_out_loss(run.net, samples)["held_out"] < 0.9 * before


# Fields


def exact_fields(count):
    """Fields in double precision, as the simulator has them before they are rounded."""
    data = take("fields.data")
    z = data.draw_rock(count, torch.Generator().manual_seed(0)).double()
    u = np.stack([data.solve_darcy(a) for a in data.to_coefficient(z).numpy()])
    return data.to_state(z, torch.from_numpy(u))


def test_the_residual_of_what_was_simulated_is_that_of_rounding():
    costs, data = take("fields.costs"), take("fields.data")
    x = exact_fields(2)
    a, u = data.to_fields(x)
    assert (costs.apply_darcy(a, u) - 1).abs().max() < 1e-10
    assert costs.find_residual(x).abs().max() < 1e-11
    x[:, 0] *= 0.9
    assert costs.find_residual(x).abs().max() > 1e-2
    for number in range(8):
        assert costs.find_residual(data.turn(exact_fields(1), number)).abs().max() < 1e-11


def test_for_a_constant_coefficient_the_residual_is_the_error_of_the_solution():
    costs, data = take("fields.costs"), take("fields.data")
    u = torch.from_numpy(data.solve_darcy(np.full((32, 32), 6.0)))[None]
    error = torch.randn(1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = data.to_state(torch.zeros(1, 32, 32, dtype=torch.float64), u + data.SCALE * error)
    torch.testing.assert_close(costs.find_residual(x), error, atol=1e-9, rtol=0)


def test_the_solution_is_that_of_the_series_where_the_coefficient_is_constant():
    """-laplacian u = 1: u(1/2, 1/2) = 0.0736713 (Timoshenko & Goodier, section 109)."""
    data = take("fields.data")
    u = data.solve_darcy(np.ones((32, 32)))
    between = u[15:17, 15:17].mean()  # the centre lies between four nodes
    assert abs(between - 0.0736713) < 2e-4
    assert np.allclose(u, u.T) and np.allclose(u, u[::-1])


def check_gradient(cost, x, seed=0):
    """The gradient of a cost along a random direction against the central difference."""
    d = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(seed))
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(cost(x).sum(), x)
    h = 1e-6
    difference = (cost(x.detach() + h * d) - cost(x.detach() - h * d)).sum() / (2 * h)
    torch.testing.assert_close((slope * d).sum(), difference, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_the_misfit_of_fields_is_that_of_finite_differences():
    costs, data = take("fields.costs"), take("fields.data")
    x = exact_fields(2)
    x = x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    sensors = data.choose_sensors(2, 31, 0)
    assert sensors.flatten(2).sum(2).unique().tolist() == [31]
    for tolerance in (0.05, None):
        check_gradient(costs.pose(torch.zeros_like(x), sensors, 0.02, tolerance), x)


def test_the_misfit_counts_measured_points_and_the_equation_alone():
    costs, data = take("fields.costs"), take("fields.data")
    x = exact_fields(1)
    sensors = data.choose_sensors(1, 31, 0)
    misfit = costs.pose(x, sensors, 0.02, None)
    off = torch.where(sensors, x + 0.02, x + 5.0)
    torch.testing.assert_close(misfit.square(off), torch.tensor([62.0], dtype=torch.float64))
    assert costs.pose(x, sensors, 0.02, 0.05)(x) < 1e-12


def test_interpolation_of_a_gaussian_field_is_that_of_control_with_its_exact_flow():
    """For a Gaussian law and points of it the most likely source makes the mean of the Gaussian process."""
    rivals = take("fields.rivals")
    place = torch.linspace(0, 1, 12, dtype=torch.float64)
    covariance = torch.exp(-0.5 * ((place[:, None] - place) / 0.2) ** 2) + 1e-3 * torch.eye(12).double()
    mean, at = torch.sin(place), torch.zeros(12, dtype=torch.bool)
    at[[1, 5, 10]] = True
    y = torch.tensor([[0.5, -0.3, 1.2]], dtype=torch.float64)
    exact = rivals.condition(mean, covariance, y[0], at, 0.1)
    flow = hw.Gaussian(mean, covariance).flow
    misfit = hw.Misfit(lambda x: x[:, at], y, 0.1)
    options = {"prior": hw.GaussianPrior(), "steps": 16, "method": hw.RK4, "gradients": 25}
    found = hw.control(flow, misfit, flow.noise([0], dtype=torch.float64), **options)
    torch.testing.assert_close(found.x1[0], exact, atol=2e-3, rtol=0)


def test_draws_of_the_gaussian_process_have_its_posterior_and_a_seed_for_each_problem(monkeypatch):
    """For a field of independent points the posterior is known: measured points alone are told of."""
    rivals = take("fields.rivals")
    mean = torch.linspace(-1, 1, 2048, dtype=torch.float64)
    variance = torch.linspace(0.5, 2, 2048, dtype=torch.float64)
    monkeypatch.setattr(rivals, "find_moments", lambda: (mean, variance.diag()))
    y = torch.full((2, 2, 32, 32), 3.0)
    sensors = torch.zeros(2, 2, 32, 32, dtype=torch.bool)
    sensors[:, :, ::8] = True
    process = rivals.GaussianProcess(True, 0.8)
    x = process.draw(y, sensors, range(4, 6), 100).double().flatten(2)
    at = sensors[0].flatten()
    left = torch.where(at, 1 / (1 / variance + 1 / 0.64), variance)
    exact = torch.where(at, left * (mean / variance + 3 / 0.64), mean)
    torch.testing.assert_close(process(y, sensors)[0].double().flatten(), exact, atol=1e-5, rtol=0)
    score = (x.mean(1) - exact) / (left / 100).sqrt()
    assert (
        abs(float(score.square().mean()) - 1) < 0.1
    )  # the mean of 4,096 squares: four standard errors are 0.09
    assert abs(float((x.var(1) / left).mean()) - 1) < 0.01
    alone = process.draw(y[1:], sensors[1:], range(5, 6), 100).double().flatten(2)
    torch.testing.assert_close(alone[0], x[1])
    correlation = ((x[0] - exact) * (x[1] - exact) / left).mean()
    assert abs(float(correlation)) < 0.01  # problems with seeds of their own share nothing


def test_guidance_pulls_to_what_was_measured_and_control_further_with_the_shipped_flow():
    recover, rivals = take("fields.recover"), take("fields.rivals")
    truth, y, sensors = recover.measure_fields(1, recover.POINTS, seed=7)
    flow = take("fields.model").load_flow()

    def missed(x):
        return float(torch.where(sensors, x - y, 0.0).square().sum())

    free, guided = (rivals.Guidance(8, z, 0.0)(flow, y, sensors, range(1)) for z in (0.0, 1.0))
    controlled = recover.Control(steps=3, gradients=10)(flow, y, sensors, range(1))
    assert missed(guided) < missed(free) and missed(controlled) < 0.5 * missed(free)
    assert recover.judge(truth, truth)["error of a %"] == 0


# Plans


@pytest.fixture
def posed():
    return take("plans.costs").pose_problems(4, seed=0)


def test_paths_stay_out_of_walls_and_keep_their_ends():
    data, costs = take("plans.data"), take("plans.costs")
    paths = data.draw_paths(40, 0)
    assert paths.shape == (40, 64, 2)
    assert costs.measure_walls(costs.refine(paths, 8)).min() > 0.05 * data.CELL
    ends = (np.array([-0.9, -0.9]), np.array([0.8, 0.85]))
    path = data.draw_path(np.random.default_rng(0), ends)
    assert np.allclose(path[0], ends[0]) and np.allclose(path[-1], ends[1])


def test_the_answers_keep_everything_and_cost_nothing_but_what_obstacles_near_by_do(posed):
    constraints, answers = posed
    assert (constraints.find_worst(answers) <= 0).all()
    torch.testing.assert_close(constraints.pose()(answers), torch.zeros(4))


def test_each_breach_is_found(posed):
    constraints, answers = posed
    data = take("plans.data")

    def broken(x):
        return {k for k, v in constraints.find_breaches(x).items() if v[0] > 0}

    late = answers.clone()
    late[:, -1] += 0.2 * data.CELL
    assert "ends" in broken(late) and constraints.pose()(late)[0] > 1
    assert "obstacles" in broken(constraints.obstacles[:, 0])
    hasty = answers[:, ::2].repeat_interleave(2, 1)
    hasty[:, -1] = answers[:, -1]
    assert "speed" in broken(hasty)
    straight = torch.lerp(answers[:, :1], answers[:, -1:], torch.linspace(0, 1, 64)[:, None])
    straight[:, 20:40] = torch.tensor(data.centre_of((1, 1))).float()
    assert "walls" in broken(straight)


def test_the_distance_to_walls_is_that_of_boxes():
    costs, data = take("plans.costs"), take("plans.data")
    corridor, wall = (torch.tensor(data.centre_of(cell)) for cell in ((0, 1), (1, 1)))
    torch.testing.assert_close(
        costs.measure_walls(torch.stack([corridor, wall])),
        torch.tensor([0.5, -0.5], dtype=torch.float64) * data.CELL,
        atol=1e-5,
        rtol=0,
    )


def test_the_gradient_of_the_misfit_of_plans_is_that_of_finite_differences(posed):
    constraints, answers = posed
    noise = torch.randn(answers.shape, generator=torch.Generator().manual_seed(0))
    check_gradient(constraints.pose(), (answers + 0.1 * noise).double())


def test_constraints_follow_their_problems(posed):
    constraints, answers = posed
    x = answers + 0.1
    some = torch.tensor([2, 0])
    torch.testing.assert_close(constraints.pose().select(some)(x[some]), constraints.pose()(x)[some])


def test_settled_paths_keep_obstacles_walls_ends_and_the_speed(posed):
    rivals, costs = take("plans.rivals"), take("plans.costs")
    constraints, answers = posed
    noise = torch.randn(answers.shape, generator=torch.Generator().manual_seed(0))
    c = constraints
    x = rivals.settle(answers + 0.02 * noise, c, c.radius, c.limit[:, None], 0.0, 200)
    assert (costs.find_steps(x) <= 1.05 * c.limit[:, None]).all()
    assert (c.find_distances(x, 1).amin((1, 2)) > 0.95 * c.radius).all()
    assert torch.equal(x[:, 0], c.start) and torch.equal(x[:, -1], c.goal)


def test_the_best_of_some_plans_is_kept_for_one_problem_and_for_several(posed):
    planner = take("plans.planner")
    constraints, answers = posed
    for some in (constraints, constraints.select(torch.tensor([1]))):
        every = planner.repeat(some, 3)
        right = answers[1:2] if len(some.start) == 1 else answers
        drawn = every.obstacles[:, 0].clone()
        drawn[1::3] = right
        assert torch.equal(planner.choose(drawn, every, 3), right)


@pytest.mark.parametrize(
    ("name", "rounds"), [("Guidance", {}), ("Barriers", {"rounds": 2}), ("Projection", {"rounds": 2})]
)
def test_a_plan_does_not_depend_on_the_others(name, rounds, posed):
    rivals, flow = take("plans.rivals"), take("plans.model").load_flow()
    method = getattr(rivals, name)(steps=5, draws=1, **rounds)
    constraints, _ = posed
    together = method(flow, constraints, 0)
    alone = method(flow, constraints.select(torch.tensor([0])), 0)
    assert together.isfinite().all()
    torch.testing.assert_close(together[:1], alone, atol=1e-3, rtol=0)


def test_control_costs_less_at_its_end_and_stops_when_everything_is_kept(posed):
    constraints, _ = posed
    plan, flow = take("plans.plan"), take("plans.model").load_flow()
    result = plan.Control(steps=4, gradients=12, draws=1).solve(flow, constraints, 0)
    assert (result.trace[0, 0] > 2 * result.cost).all()
    kept = constraints.find_worst(result.x1) <= 0
    assert [s.name == "REACHED" for s in result.status] == kept.tolist()
    nowhere = torch.full((4, 64, 2), torch.nan)
    assert plan.judge(nowhere, constraints)["keeps everything %"] == 0
