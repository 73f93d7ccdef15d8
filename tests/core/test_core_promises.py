"""What `control` checks at its start, and what it does with functions that keep or break their promises."""

import pytest
import torch
from core_laws import F64, Counted, gaussian, normal
from problems import EXACT, Target, quadratic, same, several
from torch.testing import assert_close

from headwater import (
    Checkpoint,
    Direct,
    Each,
    Flow,
    GradientDescent,
    Misfit,
    Misuse,
    Status,
    Stop,
    WeightedSum,
    WholeBatch,
    compose,
    control,
    discrepancy,
    solve,
)
from headwater.problem.batch import spread_sample


def uneven(k=3):
    """Problems that end at different times: the first starts at its optimum."""
    target = torch.tensor([[1.0, 2.0], [3.0, -1.0], [-2.0, 0.5]], dtype=F64)[:k]
    weight = torch.tensor([[1.0, 1.0], [1.0, 9.0], [3.0, 40.0]], dtype=F64)[:k]
    x0 = target.clone()
    x0[1:] += 1
    return Target(target, weight), x0


RATE = torch.tensor([0.0, 0.5, -1.0], dtype=F64)


def scaled(x, t, rate):
    return rate[:, None] * x


# ---- per-problem data is declared


def test_labels_cut_to_the_batch_are_refused_not_answered_wrongly():
    """rate[:len(x)] gives the running problems the labels of the first ones."""
    cost, x0 = uneven()
    with pytest.raises(Misuse, match=r"velocity of problem . has another value.*Each\(f"):
        control(Flow(lambda x, t: RATE[: len(x), None] * x, (2,)), cost, x0, steps=20)


def test_declared_labels_give_the_truth():
    """x1 is the sample of x0 and the cost is that of x1, for problems that end at different times."""
    cost, x0 = uneven()
    flow = Flow(Each(scaled, rate=RATE), (2,))
    result = control(flow, cost, x0, steps=20, gradients=200)
    assert len(set(result.gradients.tolist())) > 1
    assert_close(result.x1, solve(flow, result.x0, steps=20), **EXACT)
    assert_close(result.cost, cost(result.x1), **EXACT)
    assert float(result.cost.max()) < 1e-10


@pytest.mark.parametrize("part", ["cost", "prior", "stop", "constraint"])
def test_every_part_with_undeclared_data_is_refused(part):
    flow, _, x0 = several()
    data = normal(5, 3, seed=9)
    options = {"cost": quadratic(0.0)}
    options[part] = {
        "cost": lambda x: (x - data[: len(x)]).square().sum(1),
        "prior": lambda x: (x - data[: len(x)]).square().sum(1),
        "stop": Stop(lambda x: (x - data[: len(x)]).square().sum(1), 1e-9),
        "constraint": lambda z: z + data[: len(z)],
    }[part]
    cost = options.pop("cost")
    with pytest.raises(Misuse, match=f"The {part} of problem"):
        control(flow, cost, x0, **options)


def test_data_of_the_full_batch_that_cannot_be_broadcast_is_refused_too():
    flow, _, x0 = several()
    data = normal(5, 3, seed=9)
    with pytest.raises(Misuse, match=r"cost of problem . has another value"):
        control(flow, lambda x: torch.stack([(x[i] - data[i]).square().sum() for i in range(5)]), x0)


def test_a_wrong_select_is_found():
    class Shifted(Target):
        def select(self, index):
            return Target(self.target[(index + 1) % 5], self.weight[index])

    flow, cost, x0 = several()
    with pytest.raises(Misuse, match="cost of problem"):
        control(flow, Shifted(cost.target, cost.weight), x0)


def test_not_only_the_first_problem_is_tried():
    """A velocity that is right for the first problem alone is found, in any size of batch."""
    for k in (2, 3, 5, 9, 50):
        assert k - 1 in spread_sample(k) and len(spread_sample(k)) == min(k, 4)
        rate = torch.linspace(0, 1, k, dtype=F64)
        with pytest.raises(Misuse, match="velocity"):
            control(Flow(lambda x, t, r=rate: r[: len(x), None] * x, (2,)), quadratic(0.0), normal(k, 2))


@pytest.mark.parametrize("how", ["each", "select", "whole"])
def test_three_ways_to_declare_give_one_result(how):
    flow, cost, x0 = several()

    def distance(x1, target, weight):
        return 0.5 * (weight * (x1 - target)).square().sum(1)

    declared = {
        "each": Each(distance, target=cost.target, weight=cost.weight),
        "select": cost,
        "whole": WholeBatch(lambda x1: distance(x1, cost.target, cost.weight)),
    }[how]
    expected = control(flow, cost, x0, gradients=30)
    result = control(flow, declared, x0, gradients=30)
    assert len(set(result.gradients.tolist())) > 1
    for i in range(5):
        same(expected, i, result, i, rtol=1e-9, atol=1e-9)


def test_whole_batch_parts_see_ended_problems_at_their_last_point():
    """A cost over the whole batch stays true when problems end: the others are pulled to where those stand."""
    x0 = torch.tensor([[0.0], [4.0]], dtype=F64)
    flow = Flow(lambda x, t: 0 * x, (1,))

    def to_the_first(x1):  # problem 0 has cost 0 from the start and ends at once
        return (x1 - x1[:1].detach()).square().sum(1)

    counted = Counted(flow.velocity)
    result = control(Flow(counted, (1,)), WholeBatch(to_the_first), x0, gradient=Direct())
    assert set(counted.sizes) == {2}
    assert result.gradients[0] == 1 and result.gradients[1] > 1
    assert_close(result.x1, torch.zeros(2, 1, dtype=F64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("inside", ["sum", "composition", "misfit", "velocity", "stop"])
def test_whole_batch_is_honoured_wherever_it_is(inside):
    flow, _, x0 = several()
    y = normal(5, 3, seed=3)
    whole = WholeBatch(lambda x: x - y)
    square = Misfit(lambda x: x, torch.zeros(1, 3, dtype=F64), 1.0)
    options = {}
    cost = {
        "sum": WeightedSum(((1.0, WholeBatch(lambda x: (x - y).square().sum(1))),)),
        "composition": compose(lambda r: r.square().sum(1), whole),
        "misfit": Misfit(whole, torch.zeros(1, 3, dtype=F64), 1.0),
    }.get(inside, square)
    if inside == "velocity":
        flow = Flow(WholeBatch(lambda x, t: -y * x), (3,))
    if inside == "stop":
        options["stop"] = Stop(WholeBatch(lambda x: (x - y).square().sum(1)), 1e-9)
    result = control(flow, cost, x0, gradients=12, **options)
    x1 = solve(flow, result.x0)
    assert_close(result.x1, x1, rtol=1e-12, atol=1e-12)
    assert_close(result.cost, cost(x1), rtol=1e-12, atol=1e-12)


def test_each_refuses_data_of_another_length():
    with pytest.raises(Misuse, match=r"'rate' of scaled has 3 rows for 2 problems"):
        Flow(Each(scaled, rate=RATE), (2,))(normal(2, 2), torch.tensor(0.5))


def test_each_takes_lists_numbers_and_shared_rows():
    def cost(x, word, number, shared):
        return x.sum(1) * torch.tensor([float(len(w)) for w in word], dtype=F64) + number * shared[:, 0]

    each = Each(cost, word=["a", "bb", "ccc"], number=2.0, shared=torch.ones(1, 1, dtype=F64))
    x, index = normal(3, 2), torch.tensor([2, 0])
    assert_close(each.select(index)(x[index]), each(x)[index])


def test_a_cost_that_amplifies_rounding_is_no_broken_promise():
    """Alone the same sum is rounded otherwise; a steep function makes a thousandth of it. The promise is kept."""
    target = torch.linspace(0, 1, 4000)

    def steep(x1):  # about 1e4 roundings of the sum
        return torch.sin(20.0 * (x1 - target).square().sum(1))

    def rounded_by_batch(x1):  # what other kernels do, made visible: alone the sum runs the other way round
        return steep(x1) if len(x1) > 1 else steep(x1 * (1 + 3e-7))

    flow = Flow(lambda x, t: 0.5 * x, (4000,))
    x0 = flow.noise(range(3))
    alone = torch.cat([rounded_by_batch(1.5 * x0[i : i + 1]) for i in range(3)])
    assert float(((alone - rounded_by_batch(1.5 * x0)) / alone).abs().max()) > 1e-3
    control(flow, rounded_by_batch, x0, gradients=1)
    labels = torch.tensor([0.0, 1e-2, 2e-2])
    with pytest.raises(
        Misuse, match=r"cost of problem . has another value"
    ):  # a real difference is still found
        control(flow, lambda x1: (x1 * (1 + labels[: len(x1), None])).square().sum(1), x0, gradients=1)


# ---- the velocity is a function


class Network(torch.nn.Module):
    def __init__(self, extra):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.Tanh(), extra, torch.nn.Linear(8, 4)
        )

    def forward(self, x, t):
        return self.layers(x)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_velocity_with_two_answers_is_refused(batch):
    calls = []

    def drifting(x, t):
        calls.append(1)
        return -x * (1 + 0.1 * len(calls))

    with pytest.raises(Misuse, match="two answers"):
        control(Flow(drifting, (2,)), quadratic(0.0), normal(batch, 2))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("run", ["control", "solve"])
@pytest.mark.parametrize(
    "layer", [torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(8)], ids=["dropout", "batch norm"]
)
def test_training_mode_is_refused_and_changes_nothing(layer, run, batch):
    net = Network(layer).train()
    flow, x0 = Flow(net, (4,)), torch.randn(batch, 4)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(Misuse, match=r"net\.eval\(\)"):
        control(flow, quadratic(0.0), x0) if run == "control" else solve(flow, x0)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    net.eval()
    assert solve(flow, x0).shape == x0.shape


def test_own_batch_statistics_are_refused_and_put_back():
    """A home-made running mean is found by asking twice, and is as it was afterwards."""

    class Running(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", torch.zeros(4))

        def forward(self, x, t):
            if self.training:
                self.mean.lerp_(x.mean(0), 0.1)
            return -x

    net = Running().train()
    with pytest.raises(Misuse, match="changes its own buffers"):
        control(Flow(net, (4,)), quadratic(0.0), torch.randn(2, 4))
    assert bool((net.mean == 0).all())


def test_a_cache_in_a_buffer_is_no_misuse():
    class Cached(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x, t):
            self.last.fill_(float(t))
            return -x

    assert control(Flow(Cached().eval(), (2,)), quadratic(0.0), normal(1, 2)).status[0].ok


def test_hidden_dropout_gives_no_false_gradient():
    """Recomputation with another mask is noticed where the module itself cannot be seen."""
    net = Network(torch.nn.Dropout(0.5)).train()
    flow = Flow(lambda x, t: net(x, t), (4,))
    x1 = solve(flow, torch.randn(2, 4).requires_grad_(), steps=3, gradient=Checkpoint())
    with pytest.raises(Misuse, match="two answers"):
        x1.sum().backward()


# ---- exceptions of user code pass through


def test_a_bug_in_select_is_raised_with_a_note():
    class Bug(Target):
        def select(self, index):
            raise KeyError("typo")

    flow, cost, x0 = several()
    with pytest.raises(KeyError, match="typo") as caught:
        control(flow, Bug(cost.target, cost.weight), x0)
    assert caught.value.__notes__ == ["Raised in the select, evaluated for the problems [0]."]


def test_an_error_in_the_middle_names_its_part_and_problems():
    """It comes once, from the problems that still ran: nothing is tried again with others."""
    cost, x0 = uneven()
    sizes = []

    def velocity(x, t):
        sizes.append(len(x))
        if len(sizes) > 30:
            raise ZeroDivisionError("in user code")
        return -0.1 * x

    with pytest.raises(ZeroDivisionError) as caught:
        control(Flow(velocity, (2,)), cost, x0 / 2, gradient=Direct())
    assert len(sizes) == 31
    assert any("velocity" in note for note in caught.value.__notes__)


def test_out_of_memory_is_not_answered_by_a_larger_batch():
    _, cost, x0 = several()
    sizes = []

    def velocity(x, t):
        sizes.append(len(x))
        if len(x) < 5 and len(sizes) > 7:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return torch.sin(x) - t * x

    with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
        control(Flow(velocity, (3,)), cost, x0, gradients=60)
    assert sizes[-1] < 5 and any("problems" in note for note in caught.value.__notes__)


# ---- the record


def test_reached_is_of_one_evaluation_though_the_cost_rose():
    """With a prior that grows while the misfit falls the stop decides: x1 has the measure that is told."""
    flow = Flow(lambda x, t: 0 * x, (2,))
    misfit = Misfit(lambda x: x, torch.tensor([[4.0, 0.0]], dtype=F64), 1.0)
    result = control(
        flow,
        misfit,
        torch.zeros(1, 2, dtype=F64),
        prior=lambda x: 100 * x.detach()[:, 0] + 0 * x[:, 0],
        stop=discrepancy(misfit, 2.2),
        optimizer=GradientDescent(lr=0.2),
        gradients=50,
    )
    assert result.status == (Status.REACHED,)
    assert_close(result.x1, solve(flow, result.x0), **EXACT)
    assert_close(result.measure, misfit.rms(result.x1), **EXACT)
    assert float(result.measure) <= 2.2
    assert float(result.cost) > float(result.trace[0, 0, 0])  # the start had the lower cost


def test_the_check_costs_three_evaluations_and_one_for_each_of_four_problems():
    law, _, _ = gaussian(2)
    for k, sizes in ((1, [1, 1]), (2, [2, 2, 2, 1, 1]), (9, [9, 9, 9, 1, 1, 1, 1])):
        counted = Counted(law.velocity)
        control(Flow(counted, (2,)), quadratic(0.0), normal(k, 2), gradients=1, steps=1, gradient=Direct())
        assert counted.sizes == [*sizes, k, k]
