"""Results as the benchmark writes them, by hand."""

SETUP = {
    "machine": {"cpu": "Abacus", "cores": 2, "memory_gb": 4, "system": "Linux", "gpu": None},
    "device": "cpu",
    "threads": 2,
    "allocator": "default",
    "versions": {"python": "3.11.7", "jax": "0.10.2", "torch": "2.13.0"},
}
CURVES = {
    "pytorch": {"seconds": [1.0, 2.0, 3.0, 4.0, 5.0], "losses": [9.0, 5.0, 6.0, 4.0, 3.0]},
    "nst_jax": {"seconds": [0.5, 1.0, 1.5, 2.0], "losses": [9.0, 8.0, 5.0, 3.5]},
}


def case(name, sides, size=256, **more):
    facts = {"case": name, "network": "vgg16", "size": size, "precision": "float32"}
    facts |= {"weights": "vgg16-imagenet", "height": size // 2, "width": size}
    facts |= {"date": "2026-11-24T10:00:00+00:00", "commit": "abcdef0123", "wall_seconds": 1.0}
    return facts | more | {"sides": sides}


def timed(ours, theirs):
    return {"nst_jax": {"seconds": ours}, "pytorch": {"seconds": theirs}}


def memory(before, peak, peak_of_steps):
    facts = {"before": before, "peak": peak, "peak_of_steps": peak_of_steps}
    return facts | {"device_peak": None}


CASES = [
    case("evaluation", timed([0.1, 0.3, 0.2, 0.4, 0.5], [0.4] * 5), 128),
    case("evaluation", timed([1.2], [1.6]), 256),
    case("evaluation", timed([4.8], [6.4]), 512),
    case("lbfgs", {"nst_jax": {"seconds": [0.0121]}}, history=1),
    case("lbfgs", timed([2.0], [0.0]) | {"pytorch": {"error": "no memory"}}, history=10),
    case("lbfgs", timed([3.0], [2.0]), history=10, ours={"low_memory": True}),
    case("reach", CURVES, history=100, steps=5),
    case(
        "files",
        {
            "nst_jax": {"seconds": 12.5, "peak": 5e8},
            "pytorch": {"seconds": 50.0, "peak": 6e8},
            "peer": {"seconds": 100.0, "peak": 7e8},
        },
        history=100,
        steps=500,
    ),
    case(
        "memory",
        {"nst_jax": memory(1e8, 3e8, 2e8), "pytorch": memory(2e8, 6e8, None)},
        task="lbfgs",
        history=100,
    ),
]
