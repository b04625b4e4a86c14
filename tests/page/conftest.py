"""Runs of each kind of data that a page shows, trained once."""

import shutil

import numpy as np
import pytest

import ffedge
from ffedge.page.demo import Demo
from tests.page.chromium import Browser

HOSTILE = ('<script>document.title="pwned"</script>', '"><img src=http://127.0.0.1:9/x onerror=alert(1)>', "a & b")


def bars(rows, seed, shape=(12, 12)):
    """Draw pictures with a bright row that tells one of three classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    pictures = rng.integers(0, 120, (rows, *shape))
    pictures[np.arange(rows), 4 + 2 * labels] += rng.integers(40, 130, (rows, *shape[1:]))
    return pictures.astype(np.uint8), labels


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium, started once."""
    started = Browser(tmp_path_factory.mktemp("chromium") / "profile")
    yield started
    started.close()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A run on pictures whose classes have a stranger's names, and its data."""
    folder = tmp_path_factory.mktemp("pictures")
    (x, y), (x_test, y_test) = bars(360, 0), bars(120, 1)
    names = np.array(HOSTILE)
    np.savez(folder / "bars.npz", x_train=x, y_train=names[y], x_test=x_test, y_test=names[y_test])
    spec = ffedge.Spec.make(widths=(20, 12), epochs=3, batch_size=32, holdout=0.2)
    return ffedge.train(spec, folder / "bars.npz", folder / "run", progress=False).path, folder / "bars.npz"


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A run of a convolution on pictures in colour."""
    folder = tmp_path_factory.mktemp("colours")
    x, y = bars(240, 0, (12, 12, 3))
    np.savez(folder / "rgb.npz", x=x, y=y)
    spec = ffedge.Spec.make(widths=("6c3p2", 12), epochs=2, batch_size=32, holdout=0.2)
    return ffedge.train(spec, folder / "rgb.npz", folder / "run", progress=False).path


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A run on a table with a category and gaps."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(0)
    lines = ["temp,site,<b>odd</b>,state"]
    for i in range(300):
        temperature, site = 20 + 8 * (i % 2) + rng.normal(), rng.choice(["north", "south"])
        lines.append(f"{temperature:.2f},{site},,{'hot' if i % 2 else 'mild'}")
    lines[5] = "21.0,north,1.5,mild"
    lines[6] = "29.0,south,2.5,hot"
    (folder / "t.csv").write_text("\n".join(lines) + "\n")
    spec = ffedge.Spec.make(widths=(16,), epochs=3, batch_size=32, holdout=0.2)
    return ffedge.train(spec, folder / "t.csv", folder / "run", progress=False).path


@pytest.fixture(scope="session")
def signals(tmp_path_factory):
    """A run on rows of floats of no known meaning, without held-out rows."""
    folder, rng = tmp_path_factory.mktemp("signals"), np.random.default_rng(0)
    y = np.arange(200) % 2
    np.savez(folder / "s.npz", x=rng.normal(y[:, None], 0.7, (200, 30)).astype(np.float32), y=y)
    spec = ffedge.Spec.make(widths=(16,), epochs=2, batch_size=32, holdout=0.0)
    return ffedge.train(spec, folder / "s.npz", folder / "run", progress=False).path


@pytest.fixture
def copied(tmp_path):
    """Return a function that copies a run, and returns its model."""

    def copy(run):
        shutil.copytree(run, tmp_path / "run")
        return tmp_path / "run" / "model.onnx"

    return copy


@pytest.fixture
def served(copied):
    """Return a function that serves the model of a run until the test ends; it returns the model's path and the URL."""
    sites = []

    def serve(run, **options):
        model = copied(run)
        sites.append(Demo(model, threads=1, **options).site(0))
        sites[-1].__enter__()
        return model, sites[-1].url

    yield serve
    for site in sites:
        site.__exit__()
