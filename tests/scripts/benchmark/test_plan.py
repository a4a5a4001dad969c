"""Which cases are measured."""

from scripts.benchmark.__main__ import not_yet
from scripts.benchmark.cases import facts_of
from scripts.benchmark.plan import CASES, FULL, QUICK, evaluations_of, make_plan
from scripts.benchmark.problem import Spec, sweep_settings
from scripts.benchmark.results import key_of


def test_both_plans_have_every_case():
    for plan in (FULL, QUICK):
        assert {case for case, _ in plan} == set(CASES)
    names = [key_of(facts_of(*one)) for one in make_plan()]
    assert len(names) == len(set(names))


def test_a_plan_of_what_is_asked_for():
    only = make_plan(only=["lbfgs"], sizes=[64], networks=["vgg19"], precision="tf32")
    assert only == [("lbfgs", Spec("lbfgs", "vgg19", 64, precision="tf32"))]
    for gpu, longest in ((False, 1024), (True, 2048)):
        assert max(spec.size for _, spec in make_plan(gpu=gpu)) == longest


def test_what_is_missing_is_measured(results):
    plan = [("evaluation", Spec("evaluation", size=size)) for size in (256, 1024)]
    plan.append(("lbfgs", Spec("lbfgs", size=256, history=10)))  # which failed
    assert not_yet(plan, results) == plan[1:]


def test_evaluations_of_a_run():
    assert evaluations_of(500) == [100, 250, 500]


def test_settings_of_a_sweep():
    settings = sweep_settings(Spec("sweep", size=32))
    assert len(set(settings)) == 20
    assert settings[0].style_layer_weights == (1, 0, 0, 0, 0)
    assert settings[-1].style_layer_weights == (0.2,) * 5
