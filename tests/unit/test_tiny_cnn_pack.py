"""The fused kernels train and evaluate as torch does with one candidate alone."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from engine.errors import UsageError
from engine.work.tiny_cnn import FusedPack, available, supports, warm_up

TRAIN, TEST = 150, 37
# (conv1, conv2, conv3, dense outputs): both ends of each width, the paper's nets, depths, LeNet5
SPECS = [
    (5, 10, 10, (10, 10)),
    (10, 4, 7, (10, 10)),
    (1, 1, 1, (10, 10)),
    (7, 9, 2, (10, 10, 10)),
    (20, 10, 10, (10, 10, 10, 10, 10)),
    (40, 3, 10, (10, 10)),
    (6, 16, 120, (84, 10)),
    (3, 5, 4, (16,)),
]


def network(spec, seed):
    """A randomly initialised state dict with torch's names."""
    conv1, conv2, conv3, dense = spec
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "conv1": (conv1, 1, 5, 5),
        "conv2": (conv2, conv1, 5, 5),
        "conv3": (conv3, conv2, 5, 5),
    }
    widths = (conv3, *dense)
    for i in range(len(dense)):
        shapes[f"fc{i + 1}"] = (widths[i + 1], widths[i])
    state = {}
    for name, shape in shapes.items():
        bound = float(np.prod(shape[1:])) ** -0.5
        for part, size in (("weight", shape), ("bias", shape[:1])):
            values = (torch.rand(size, generator=generator) * 2 - 1) * bound
            state[f"{name}.{part}"] = values.numpy()
    return state


def images(classes=10, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=(TRAIN + TEST, 32, 32)).astype(np.float32)
    labels = rng.integers(0, classes, TRAIN + TEST)
    return pixels[:TRAIN], labels[:TRAIN], pixels[TRAIN:], labels[TRAIN:]


def logits(parameters, pixels):
    x = pixels[:, None]
    for name in ("conv1", "conv2"):
        x = functional.conv2d(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"])
        x = functional.max_pool2d(functional.relu(x), 2)
    x = functional.conv2d(x, parameters["conv3.weight"], parameters["conv3.bias"])
    x = functional.relu(x).flatten(1)
    last = sum(name.startswith("fc") for name in parameters) // 2
    for i in range(1, last + 1):
        x = functional.linear(x, parameters[f"fc{i}.weight"], parameters[f"fc{i}.bias"])
        x = functional.relu(x) if i < last else x
    return x


def train_in_torch(state, pixels, labels, order, batch_size, lr, decay, dtype):
    torch.set_num_threads(1)
    parameters = {
        name: torch.tensor(value, dtype=dtype).requires_grad_() for name, value in state.items()
    }
    optimiser = torch.optim.SGD(parameters.values(), lr, momentum=0.9, weight_decay=decay)
    x, y = torch.tensor(pixels, dtype=dtype), torch.tensor(labels)
    for start in range(0, len(order), batch_size):
        batch = torch.tensor(order[start : start + batch_size])
        optimiser.zero_grad()
        functional.cross_entropy(logits(parameters, x[batch]), y[batch]).backward()
        optimiser.step()
    return {name: value.detach().numpy() for name, value in parameters.items()}


def evaluate_in_torch(state, pixels, labels):
    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()}
    out = logits(parameters, torch.tensor(pixels, dtype=torch.float64))
    target = torch.tensor(labels)
    hits = (out.argmax(1) == target).double().mean()
    return float(functional.cross_entropy(out, target)), float(hits)


def pack_of(states, batch_size=32, threads=1, data=None, decay=1e-3):
    return FusedPack(
        states,
        *(data or images()),
        batch_size=batch_size,
        momentum=0.9,
        weight_decay=decay,
        threads=threads,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_twenty_steps_agree_with_torch(spec, dtype):
    data = images(spec[3][-1])
    states = [network(spec, seed) for seed in range(3)]
    batch_size = 29
    order = np.random.default_rng(1).integers(0, TRAIN, 20 * batch_size - 11)
    pack = pack_of(states, batch_size, threads=2, data=data)
    pack.train(order, 0.002)
    trained = pack.state_dicts()
    for state, ours in zip(states, trained, strict=True):
        reference = train_in_torch(state, data[0], data[1], order, batch_size, 0.002, 1e-3, dtype)
        assert max(np.abs(reference[name] - state[name]).max() for name in state) > 1e-3
        for name, value in reference.items():
            assert np.abs(ours[name] - value).max() < 1e-5, name


def test_twenty_steps_agree_with_torch_where_responses_are_equal():
    """Around a drawing, all four responses of a window are one number, but for their rounding."""
    data = images()
    for pixels in (data[0], data[2]):
        pixels[:, :9], pixels[:, 23:] = -0.8, -0.8
        pixels[:, :, :9], pixels[:, :, 23:] = -0.8, -0.8
    states = [network((5, 10, 10, (10, 10)), seed) for seed in range(4)]
    order = np.random.default_rng(1).integers(0, TRAIN, 20 * 29)
    pack = pack_of(states, 29, data=data)
    pack.train(order, 0.002)
    for state, ours in zip(states, pack.state_dicts(), strict=True):
        reference = train_in_torch(state, *data[:2], order, 29, 0.002, 1e-3, torch.float64)
        for name, value in reference.items():
            assert np.abs(ours[name] - value).max() < 1e-5, name


@pytest.mark.parametrize("conv1", [1, 5, 20])
def test_losses_round_about_as_torchs_do(conv1):
    spec = (conv1, 10, 10, (10, 10))
    data = images()
    # large weights, so that losses are far from those of a guess
    states = [{n: 4 * v for n, v in network(spec, seed).items()} for seed in range(12)]
    loss, _ = pack_of(states, data=data).evaluate("train")
    ours, torchs = [], []
    for k, state in enumerate(states):
        exact, _ = evaluate_in_torch(state, *data[:2])
        single = {name: torch.tensor(value) for name, value in state.items()}
        out = logits(single, torch.tensor(data[0])).double()
        ours.append(loss[k] - exact)
        torchs.append(float(functional.cross_entropy(out, torch.tensor(data[1]))) - exact)
    assert np.linalg.norm(ours) < 3 * np.linalg.norm(torchs)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_evaluation_agrees_with_torch_in_float64(spec):
    data = images(spec[3][-1])
    states = [network(spec, seed) for seed in range(3)]
    pack = pack_of(states, data=data)
    for split, pixels, labels in (("train", *data[:2]), ("test", *data[2:])):
        loss, accuracy = pack.evaluate(split)
        for k, state in enumerate(states):
            expected = evaluate_in_torch(state, pixels, labels)
            assert loss[k] == pytest.approx(expected[0], abs=1e-6)
            assert accuracy[k] == pytest.approx(expected[1], abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 5, 16, 33, 150, 1000])
def test_any_batch_size(batch_size):
    data = images()
    state = network((5, 10, 10, (10, 10)), 3)
    order = np.random.default_rng(2).permutation(TRAIN)[: 4 * batch_size]
    pack = pack_of([state], batch_size)
    pack.train(order, 0.001)
    reference = train_in_torch(
        state, data[0], data[1], order, batch_size, 0.001, 1e-3, torch.float64
    )
    for name, value in pack.state_dicts()[0].items():
        assert np.abs(value - reference[name]).max() < 1e-5, name


def test_a_candidate_depends_on_nothing_around_it():
    """The same bits alone, in packs of any size, at any place, on any number of threads."""
    states = [network((5, 10, 10, (10, 10)), seed) for seed in range(7)]
    order = np.random.default_rng(3).permutation(TRAIN)

    def run(selection, threads):
        pack = pack_of([states[i] for i in selection], threads=threads)
        pack.train(order, 0.05)
        pack.train(order[::-1], 0.01)
        results = [*pack.evaluate("train"), *pack.evaluate("test")]
        return pack.state_dicts(), np.stack(results, axis=1)

    together, measured = run(range(7), 1)
    for selection, threads in ((range(7), 3), ([4], 1), ([6, 4, 0], 2), ([2, 2], 5)):
        trained, values = run(selection, threads)
        for place, i in enumerate(selection):
            assert np.array_equal(values[place], measured[i])
            for name, value in together[i].items():
                assert np.array_equal(trained[place][name], value), name


def test_an_epoch_may_be_cut_at_batch_boundaries():
    state = network((3, 4, 5, (10, 10)), 0)
    order = np.random.default_rng(4).permutation(TRAIN)
    whole, cut = pack_of([state]), pack_of([state])
    whole.train(order, 0.02)
    for part in np.split(order, [32, 96, 128]):
        cut.train(part, 0.02)
    assert np.array_equal(whole.state()["parameters"], cut.state()["parameters"])


def test_resume_gives_the_same_bits():
    states = [network((5, 10, 10, (10, 10)), seed) for seed in range(2)]
    order = np.random.default_rng(5).permutation(TRAIN)
    straight = pack_of(states)
    straight.train(order, 0.05)
    saved = straight.state()
    straight.train(order, 0.05)
    resumed = pack_of([network((5, 10, 10, (10, 10)), 9)] * 2)
    resumed.load_state(saved)
    resumed.train(order, 0.05)
    for name, value in straight.state().items():
        assert np.array_equal(resumed.state()[name], value)
    assert not np.array_equal(saved["parameters"], straight.state()["parameters"])


def test_a_saved_pack_of_another_shape_is_refused():
    small, large = (pack_of([network((c, 2, 2, (10, 10)), 0)]) for c in (1, 9))
    with pytest.raises(UsageError, match="do not fit"):
        large.load_state(small.state())


def test_a_diverged_candidate_stays_nan_and_harms_no_other():
    sound = [network((5, 10, 10, (10, 10)), seed) for seed in (0, 1)]
    broken = network((5, 10, 10, (10, 10)), 2)
    broken["fc2.bias"][3] = np.nan
    order = np.random.default_rng(6).permutation(TRAIN)
    mixed, alone = pack_of([sound[0], broken, sound[1]]), pack_of(sound)
    for pack in (mixed, alone):
        pack.train(order, 0.01)
        pack.train(order, 0.01)
    assert np.isnan(mixed.evaluate("test")[0]).tolist() == [False, True, False]
    expected = evaluate_in_torch(mixed.state_dicts()[1], *images()[2:])
    assert mixed.evaluate("test")[1][1] == expected[1]
    for ours, theirs in zip(mixed.evaluate("train"), alone.evaluate("train"), strict=True):
        assert np.array_equal(ours[[0, 2]], theirs)
    for name, value in alone.state_dicts()[1].items():
        assert np.array_equal(mixed.state_dicts()[2][name], value)


def test_divergence_by_a_huge_learning_rate_ends_in_nan():
    pack = pack_of([network((5, 10, 10, (10, 10)), 0)])
    order = np.random.default_rng(7).permutation(TRAIN)
    for _ in range(4):
        pack.train(order, 1e6)
    assert np.isnan(pack.evaluate("train")[0][0])


def test_ties_go_to_the_first_class():
    state = network((2, 2, 2, (10, 10)), 0)
    state["fc2.weight"][:] = 0
    state["fc2.bias"][:] = 0.25
    loss, accuracy = pack_of([state]).evaluate("train")
    assert accuracy[0] == np.mean(images()[1] == 0)
    assert loss[0] == pytest.approx(np.log(10), abs=1e-7)


def test_what_is_supported():
    state = network((5, 10, 10, (10, 10)), 0)
    assert supports(state)
    assert supports({name: torch.tensor(value) for name, value in state.items()})
    assert not supports({**state, "bn1.weight": np.ones(5, np.float32)})
    assert not supports({name: v for name, v in state.items() if name != "conv2.bias"})
    assert not supports({**state, "conv2.weight": np.zeros((10, 4, 5, 5), np.float32)})
    assert not supports({})
    assert available() == (True, "")


def test_bad_input_is_named():
    state = network((2, 2, 2, (10, 10)), 0)
    data = images()
    with pytest.raises(UsageError, match="same shapes"):
        pack_of([state, network((3, 2, 2, (10, 10)), 0)])
    with pytest.raises(UsageError, match="32, 32"):
        pack_of([state], data=(data[0][:, 2:30, 2:30], *data[1:]))
    with pytest.raises(UsageError, match=r"0\.\.9"):
        pack_of([state], data=(data[0], data[1] + 1, *data[2:]))
    with pytest.raises(UsageError, match=r"0\.\.149"):
        pack_of([state]).train(np.array([150]), 0.1)
    with pytest.raises(UsageError, match="at least one"):
        pack_of([])


def test_warm_up_reports_its_progress():
    steps = []
    seconds = warm_up(network((5, 10, 10, (10, 10)), 0), lambda *step: steps.append(step))
    assert seconds >= 0
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1]
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_without_numba_there_is_a_reason_and_no_crash():
    code = (
        "import sys\n"
        "sys.modules['numba'] = None\n"
        "from engine.errors import RunFailure\n"
        "from engine.work import tiny_cnn\n"
        "print(tiny_cnn.available()[0])\n"
        "try:\n"
        "    tiny_cnn.FusedPack\n"
        "except RunFailure as failure:\n"
        "    print(failure)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    usable, reason = done.stdout.splitlines()
    assert usable == "False"
    assert "install numba" in reason


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0 and not Path("/usr/bin/setpriv").exists(), reason="root")
def test_works_from_a_read_only_installation(tmp_path):
    """Numba falls back to the user's cache folder; any change of the package compiles anew."""
    source = Path(__file__).parents[2] / "engine"
    site, home = tmp_path / "site", tmp_path / "home"
    home.mkdir()
    target = site / "engine"
    files = [*source.glob("*.py"), *source.glob("work/*.py"), *source.rglob("tiny_cnn/**/*.py")]
    for file in files:
        copy = target / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    folders = [site, *(folder for folder in site.rglob("*") if folder.is_dir())]
    code = (
        "from engine.work.tiny_cnn.kernels.backward import update\n"
        "kernel = update()\n"
        "print(kernel.compiled._cache.cache_path, kernel.compiled.cache_hits)\n"
    )
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": str(site)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-c", code]
    if os.geteuid() == 0:  # root may write anywhere: give that power up
        command = ["/usr/bin/setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]

    def hits():
        for folder in folders:
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        for folder in folders:
            folder.chmod(stat.S_IRWXU)
        assert done.returncode == 0, done.stderr
        cache, count = done.stdout.split()
        assert Path(cache).is_relative_to(home)
        return int(count)

    assert [hits(), hits()] == [0, 1]
    other = target / "work" / "tiny_cnn" / "kernels" / "layout.py"
    other.write_text(other.read_text() + "# changed\n")
    assert [hits(), hits()] == [0, 1]


@pytest.mark.slow
def test_eight_lanes_agree_with_torch_too():
    """What processors without AVX-512 get, compiled for one of them."""
    if "avx512f" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has eight lanes anyway")
    features = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+ssse3,+sse4.1,+sse4.2,+popcnt"
    environment = os.environ | {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features}
    chosen = "twenty_steps or evaluation or any_batch or depends or nan or scores"
    files = [__file__, str(Path(__file__).with_name("test_tiny_cnn_scoring.py"))]
    command = [sys.executable, "-m", "pytest", "-q", "-k", chosen, *files]
    done = subprocess.run(
        command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout.decode()[-3000:]
