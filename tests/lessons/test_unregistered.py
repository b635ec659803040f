"""find_unregistered names what is hidden, and not what torch itself keeps beside the registry."""

from __future__ import annotations

import copy
import logging
import threading
import warnings
from collections import OrderedDict, UserDict, deque, namedtuple
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from darknet_builder import build_network, explain_unregistered, find_unregistered
from tests.helpers.unit_networks import UNIT_CFGS

Pair = namedtuple("Pair", "left right")


@dataclass
class Stage:
    """A plain dataclass that holds parts of a network."""

    conv: nn.Module
    scale: Tensor | None = None
    rest: list[Any] = field(default_factory=list)


@dataclass
class Slotted:
    """One without ``__dict__``."""

    __slots__ = ("conv",)
    conv: nn.Module


def conv() -> nn.Module:
    return nn.Conv2d(1, 1, 1)


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(2))


def holding(**attributes: object) -> nn.Module:
    """A module with one registered layer and these attributes."""
    module = nn.Module()
    module.registered = nn.Linear(2, 2)
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def follow(module: nn.Module, path: str) -> object:
    """What Python finds at ``path``."""
    return eval(f"module.{path}", {"module": module})


# ---- what is found -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ([conv(), conv()], ["x[0]", "x[1]"]),
        ((conv(),), ["x[0]"]),
        (deque([1, conv()]), ["x[1]"]),
        ({"k": conv()}, ["x['k']"]),
        ({3: weight()}, ["x[3]"]),
        (OrderedDict(a=[conv(), {"b": weight()}]), ["x['a'][0]", "x['a'][1]['b']"]),
        (UserDict(k=conv()), ["x['k']"]),
        (MappingProxyType({"k": conv()}), ["x['k']"]),
        (Pair(1, conv()), ["x.right"]),
        (SimpleNamespace(conv=conv()), ["x.conv"]),
        (Stage(conv(), torch.ones(1), [weight()]), ["x.conv", "x.scale", "x.rest[0]"]),
        (Slotted(conv()), ["x.conv"]),
        ([[Stage(conv())]], ["x[0][0].conv"]),
        ([weight(), None, "text", 3, torch.ones(2)], ["x[0]", "x[4]"]),
        (torch.ones(3), ["x"]),
        (torch.tensor(0.5), ["x"]),
        (torch.arange(3), ["x"]),
        (torch.ones(3, device="meta"), ["x"]),
        (weight().double(), ["x"]),
        (torch.ones(3).to_sparse(), ["x"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else None,
)
def test_finds_what_is_hidden_and_its_path_is_python(value: object, paths: list[str]) -> None:
    module = holding(x=value)
    assert find_unregistered(module) == paths
    assert all(isinstance(follow(module, path), (nn.Module, Tensor)) for path in paths)


class Bag:
    """An object that is not a module."""

    def __init__(self, held: object) -> None:
        self.held = held


class Slots:
    """An object without ``__dict__``, one of whose slots is not set."""

    __slots__ = ("held", "missing")

    def __init__(self, held: object) -> None:
        self.held = held


def closing_over(layer: object) -> Any:
    """A function with a closure, as a decorator returns."""

    def call(x: Tensor) -> Tensor:
        return layer(x)  # type: ignore[operator,no-any-return]

    return call


def with_default(x: Tensor, scale: Tensor = torch.ones(2), *, layer: nn.Module = conv()) -> Tensor:  # noqa: B008
    """A function whose default values are made once."""
    return layer(x) * scale


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (Bag(conv()), ["x.held"]),
        (Bag([Bag(weight())]), ["x.held[0].held"]),
        (Slots(conv()), ["x.held"]),
        (closing_over(conv()), ["x.__closure__[0].cell_contents"]),
        (closing_over(closing_over(conv())), [f"x{2 * '.__closure__[0].cell_contents'}"]),
        (with_default, ["x.__defaults__[0]", "x.__kwdefaults__['layer']"]),
        (partial(torch.mul, torch.ones(2)), ["x.args[0]"]),
        (partial(F.conv2d, weight=weight()), ["x.keywords['weight']"]),
        (partial(conv()), ["x.func"]),
        (conv().forward, ["x.__self__"]),
        (Bag(conv()).held.forward, ["x.__self__"]),
        (torch.distributions.Normal(torch.zeros(1), torch.ones(1)), ["x.loc", "x.scale"]),
    ],
    ids=range(12),
)
def test_finds_what_objects_and_functions_hold(value: object, paths: list[str]) -> None:
    module = holding(x=value)
    assert find_unregistered(module) == paths
    assert all(isinstance(follow(module, path), (nn.Module, Tensor)) for path in paths)


def test_finds_what_a_method_of_the_class_closes_over() -> None:
    hidden = conv()

    class Calls(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return hidden(x)

    module = Calls()
    (path,) = find_unregistered(module)
    assert path == "forward.__closure__[0].cell_contents"
    assert follow(module, path) is hidden


@pytest.mark.parametrize(
    ("value", "kind", "advice"),
    [
        ([conv()], "module", "use an nn.ModuleList"),
        ({conv()}, "module", "use an nn.ModuleList"),
        ({"a": conv()}, "module", "use an nn.ModuleDict"),
        ([{"a": conv()}], "module", "use an nn.ModuleDict in an nn.ModuleList"),
        ([weight()], "parameter", "use an nn.ParameterList"),
        ({"a": [weight()]}, "parameter", "use an nn.ParameterList in an nn.ModuleDict"),
        (Bag(conv()), "module", "use an nn.Module in place of Bag"),
        (Pair(1, conv()), "module", "use an nn.Module in place of Pair"),
        (closing_over(conv()), "module", "assign it to an attribute of the module"),
        (partial(conv()), "module", "assign it to an attribute of the module"),
        (
            torch.ones(1),
            "tensor",
            "use register_buffer, or an nn.Parameter if it is to be trained",
        ),
        (
            [torch.ones(1)],
            "tensor",
            "use register_buffer, or an nn.ParameterList if it is to be trained",
        ),
    ],
    ids=range(12),
)
def test_says_which_container_registers_it(value: object, kind: str, advice: str) -> None:
    (found,) = explain_unregistered(holding(x=value))
    assert (found.kind, found.advice) == (kind, advice)
    assert str(found) == f"{found.path} is a {kind} that is not registered: {advice}"


@pytest.mark.parametrize("value", [{conv(), 1}, frozenset([weight()])])
def test_elements_of_a_set_are_counted(value: object) -> None:
    assert find_unregistered(holding(x=value)) in (["x{0}"], ["x{1}"])


def test_keys_of_a_dict_are_looked_at() -> None:
    assert find_unregistered(holding(names={conv(): "first"})) == ["names.keys(){0}"]


def test_looks_into_registered_children_by_the_way_python_reaches_them() -> None:
    module = nn.Module()
    module.stem = nn.Sequential(conv(), holding(x=[conv()]))
    module.named = nn.Sequential(OrderedDict(first=holding(x=[conv()])))
    module.layers = nn.ModuleList([conv(), holding(x={"k": weight()})])
    module.table = nn.ModuleDict({"a b": holding(x=torch.ones(1))})
    module.add_module("7", holding(x=[conv()]))
    paths = [
        "stem[1].x[0]",
        "named.first.x[0]",
        "layers[1].x['k']",
        "table['a b'].x",
        "_modules['7'].x[0]",
    ]
    assert find_unregistered(module) == paths
    assert all(isinstance(follow(module, path), (nn.Module, Tensor)) for path in paths)


def test_names_a_hidden_module_once_and_not_the_parameters_inside_it() -> None:
    hidden = nn.Sequential(conv(), conv())
    module = holding(
        weights=[hidden[0].weight, weight()], first=[hidden], again={"k": hidden}, part=[hidden[1]]
    )
    assert find_unregistered(module) == ["weights[1]", "first[0]"]


def test_looks_into_hidden_modules_for_what_registering_them_would_not_mend() -> None:
    assert find_unregistered(holding(x=[holding(y=[conv()])])) == ["x[0]", "x[0].y[0]"]


def test_finds_modules_set_past_setattr() -> None:
    module = holding()
    object.__setattr__(module, "teacher", conv())
    module.__dict__["a b"] = weight()
    assert find_unregistered(module) == ["teacher", "__dict__['a b']"]


def test_finds_what_the_class_holds_unless_the_instance_hides_it() -> None:
    class Shared(nn.Module):
        layers = [conv()]
        scale = torch.ones(1)
        hidden = torch.ones(1)

        def __init__(self) -> None:
            super().__init__()
            self.hidden = None

    class Derived(Shared):
        scale = None  # type: ignore[assignment]

    assert find_unregistered(Shared()) == ["layers[0]", "scale"]
    assert find_unregistered(Derived()) == ["layers[0]"]


def test_a_module_list_as_root_gives_paths_that_begin_with_an_index() -> None:
    assert find_unregistered(nn.ModuleList([holding(x=[conv()])])) == ["[0].x[0]"]


def test_a_lazy_parameter_in_a_list_is_found() -> None:
    assert find_unregistered(holding(x=[nn.UninitializedParameter()])) == ["x[0]"]


def test_nothing_is_changed() -> None:
    module = holding(x=[conv()], scale=torch.ones(2))
    before = {name: id(value) for name, value in vars(module).items()}
    find_unregistered(module)
    assert {name: id(value) for name, value in vars(module).items()} == before
    assert module.x[0].training


# ---- what is not an alarm ------------------------------------------------------------------------


def test_shared_modules_registered_elsewhere_are_fine() -> None:
    module = holding()
    module.layers = nn.ModuleList([conv(), conv()])
    module.by_name = {"first": module.layers[0], "deep": [(module.layers[1],)]}
    module.weights = [layer.weight for layer in module.layers]
    module.child = nn.Module()
    module.child.siblings = list(module.layers)
    assert find_unregistered(module) == []


def test_a_buffer_that_is_not_saved_is_registered() -> None:
    module = holding()
    module.register_buffer("grid", torch.ones(2), persistent=False)
    module.grids = [module.grid, module.grid[:1]]
    assert find_unregistered(module) == []


def test_cycles_end() -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    table: dict[str, Any] = {"ring": ring}
    table["self"] = table
    namespace = SimpleNamespace()
    namespace.again = namespace
    module = holding(x=ring, y=table, z=namespace)
    module.me = [module]
    assert find_unregistered(module) == []
    ring.append(conv())
    assert find_unregistered(module) == ["x[2]"]


def test_a_way_back_to_the_parent_is_fine_from_both_ends() -> None:
    parent, child = holding(), holding()
    parent.child = child
    child.parent = [parent]
    assert find_unregistered(parent) == []
    assert find_unregistered(child) == []


def test_views_gradients_and_what_is_computed_from_registered_tensors_are_fine() -> None:
    module = holding()
    linear = module.registered
    linear(torch.ones(1, 2)).sum().backward()
    module.views = [linear.weight.data, linear.weight[0], linear.weight.detach()]
    module.gradients = [parameter.grad for parameter in module.parameters()]
    module.output = linear(torch.ones(1, 2)).relu()
    assert find_unregistered(module) == []


def test_what_is_computed_from_a_hidden_parameter_is_found() -> None:
    module = holding()
    module.scaled = module.registered.weight * weight()
    assert find_unregistered(module) == ["scaled"]


class Parts:
    """An object that keeps parts of a model, and the model itself."""

    def __init__(self, *parts: object) -> None:
        self.parts = parts


def test_objects_and_functions_that_hold_registered_things_are_fine() -> None:
    module = holding()
    linear = module.registered
    module.by_name = Parts(module, linear, linear.weight, linear.weight.detach())
    module.call = closing_over(linear)
    module.bound = linear.forward
    module.own = module.requires_grad_
    module.partial = partial(linear, torch.empty(0))
    module.forward = module.call
    assert find_unregistered(module) == []


def test_objects_beside_a_model_are_fine() -> None:
    module = holding()
    optimizer = torch.optim.Adam(module.parameters())
    module.schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    data = torch.utils.data.TensorDataset(torch.ones(3, 2))
    module.loader = torch.utils.data.DataLoader(data)
    module.log = logging.getLogger("any")
    module.path = Path("any")
    module.kind = Parts
    module.package = torch
    module.act = torch.nn.functional.silu
    module.lock = threading.Lock()
    module.numbers = Parts(np.ones(3), 1, "text")
    assert find_unregistered(module) == []


def test_weights_shared_by_two_layers_are_fine() -> None:
    module = nn.ModuleDict({"in": nn.Embedding(5, 3), "out": nn.Linear(3, 5, bias=False)})
    module["out"].weight = module["in"].weight
    module.tied = [module["in"].weight, (module, "out.weight")]
    assert find_unregistered(module) == []


def test_a_parametrisation_with_a_closure_is_found_but_its_weight_is_not() -> None:
    class Masked(nn.Module):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.mask = mask

        def forward(self, x: Tensor) -> Tensor:
            return x * self.mask

    module = holding()
    parametrize.register_parametrization(module.registered, "weight", Masked(torch.ones(2, 2)))
    assert find_unregistered(module) == ["registered.parametrizations['weight'][0].mask"]


def test_a_cache_is_found_when_it_is_filled() -> None:
    """A tensor that is made in ``forward`` is no part of the state, but ``to`` leaves it behind."""
    module = holding(cache=Parts())
    assert find_unregistered(module) == []
    module.cache.parts = {(2, 2): torch.ones(2, 2)}
    assert find_unregistered(module) == ["cache.parts[(2, 2)]"]


def test_a_function_that_is_being_made_and_a_property_are_not_run() -> None:
    class Careful(nn.Module):
        @property
        def broken(self) -> Tensor:
            raise AssertionError("it was run")

    def unfinished() -> object:
        return later  # its cell is empty until the next statement but one

    module = Careful()
    module.call = unfinished
    found = find_unregistered(module)
    later = conv()
    assert (found, find_unregistered(module)) == ([], ["call.__closure__[0].cell_contents"])
    assert unfinished() is later


def test_an_empty_tensor_and_other_values_are_fine() -> None:
    assert (
        find_unregistered(
            holding(x=torch.empty(0), y=[1, "text", None], z=range(3), f=torch.relu, c=Stage)
        )
        == []
    )


_ARGUMENTS: list[tuple[Any, ...]] = [
    (),
    (4,),
    (4, 4),
    (4, 4, 1),
    (4, 4, 2),
    ((4,),),
    (4, 2, 4, 8),
    (4, 20, [5]),
    (1, (2, 2)),
    ([2],),
    (nn.TransformerEncoderLayer(4, 2, 8), 1),
    (nn.TransformerDecoderLayer(4, 2, 8), 1),
]


def _first_built(module_class: type[nn.Module]) -> nn.Module | None:
    for arguments in _ARGUMENTS:
        try:
            return module_class(*arguments)
        except (TypeError, ValueError, RuntimeError, AssertionError, AttributeError):
            continue
    return None


def test_no_alarm_on_any_module_of_torch_nn() -> None:
    classes = {
        name: value
        for name, value in vars(nn).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated, but still torch's own
        built = {
            name: module
            for name, value in classes.items()
            if (module := _first_built(value)) is not None
        }
    assert set(classes) - set(built) <= {"RNNBase"}
    assert len(built) > 140
    assert {
        name: paths for name, module in built.items() if (paths := find_unregistered(module))
    } == {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Transformer(8, 2, 1, 1, 8),
        lambda: nn.LSTM(3, 4, 2, bidirectional=True).double(),
        lambda: copy.deepcopy(nn.GRU(3, 4)),
        lambda: nn.ParameterDict({"a": weight(), "b": torch.ones(2)}),
        lambda: nn.DataParallel(nn.LSTM(3, 4)),
        lambda: torch.optim.swa_utils.AveragedModel(
            nn.Sequential(nn.LSTM(3, 3), nn.BatchNorm1d(3))
        ),
        lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 3), nn.ReLU())),
        lambda: torch.compile(nn.Linear(3, 3)),
    ],
    ids=range(8),
)
def test_no_alarm_on_torchs_larger_things(make: Any) -> None:
    assert find_unregistered(make()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("compiled", ["script", "trace"])
def test_no_alarm_on_compiled_modules(compiled: str) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    result = (
        torch.jit.script(model)
        if compiled == "script"
        else torch.jit.trace(model, torch.rand(2, 3))
    )
    assert find_unregistered(result) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "rule",
    [
        weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        lambda module, name: prune.l1_unstructured(module, name, amount=0.5),
    ],
)
@pytest.mark.parametrize("kind", ["linear", "lstm"])
def test_no_alarm_on_reparametrised_weights_at_any_time(rule: Any, kind: str) -> None:
    module, name, x = (
        (nn.Linear(4, 4), "weight", torch.rand(2, 4))
        if kind == "linear"
        else (nn.LSTM(4, 4), "weight_hh_l0", torch.rand(2, 1, 4))
    )
    module = rule(module, name=name)
    assert find_unregistered(module) == []
    module.to(torch.float64)
    assert find_unregistered(module) == []
    module(x.double())
    assert find_unregistered(module) == []
    with torch.no_grad():
        module.eval()(x.double())
    assert find_unregistered(module) == []


def test_no_alarm_on_hooks_and_optimisers() -> None:
    module = holding()
    module.register_forward_hook(lambda *_: None)
    module.register_full_backward_hook(lambda *_: None)
    module.registered.weight.register_hook(lambda gradient: gradient)
    module.optimiser = torch.optim.Adam(module.parameters())
    module.registered(torch.ones(1, 2)).sum().backward()
    module.optimiser.step()
    assert find_unregistered(module) == []


# ---- the package's own networks ------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::darknet_builder.errors.CfgWarning")
def test_no_network_of_the_project_hides_anything() -> None:
    cfgs = sorted((Path(__file__).parents[2] / "cfg").glob("*.cfg"))
    assert cfgs
    assert {
        cfg.name: paths
        for cfg in cfgs
        if (paths := find_unregistered(build_network(cfg, initialize=False)))
    } == {}


@pytest.mark.parametrize("name", UNIT_CFGS)
def test_no_section_hides_anything(name: str) -> None:
    network = build_network(UNIT_CFGS[name]).eval()
    assert find_unregistered(network) == []
    with torch.no_grad():
        network(torch.rand(network.input_shape.batched(1)))
    assert find_unregistered(network) == []
