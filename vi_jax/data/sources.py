"""The files of each data set: names, readers, addresses and checksums.

Where the checksums come from. Of the data: copies at hand, that of Fashion-MNIST from Debian's package; both MNISTs
agree with the SHA-256 that others publish of the uncompressed files. Of the downloads: for both MNISTs as published, in
many places; the three static texts rebuilt from the data, which gives the SHA-1 that others publish; the credit table
rebuilt likewise, which gives its published SHA-256.
"""

from pathlib import Path

import numpy as np

from vi_jax.data.download import Remote
from vi_jax.data.find import Container, Source
from vi_jax.data.formats import Arrays, read_amat, read_idx, read_integers, read_json, read_mat, read_npz

NUM_PIXELS = 784
NUM_CREDIT_COLUMNS = 25
STATIC_PARTS = ("train", "valid", "test")


def _idx_pair(train: Path, test: Path) -> Arrays:
    return {"train": read_idx(train), "test": read_idx(test)}


def _keras(archive: Path) -> Arrays:
    arrays = read_npz(archive, ("x_train", "x_test"))
    return {"train": arrays["x_train"], "test": arrays["x_test"]}


def _amats(*files: Path) -> Arrays:
    return {part: read_amat(file, NUM_PIXELS) for part, file in zip(STATIC_PARTS, files, strict=True)}


def _packed_bits(archive: Path) -> Arrays:
    packed = read_npz(archive, STATIC_PARTS)
    return {part: np.unpackbits(array, axis=-1, count=NUM_PIXELS) for part, array in packed.items()}


def _lake(archive: Path) -> Arrays:
    arrays = read_npz(archive, ("x_background", "x_evaluation"))
    return {"train": arrays["x_background"], "test": arrays["x_evaluation"]}


def _chardata(file: Path) -> Arrays:
    arrays = read_mat(file, ("data", "testdata"))
    return {"train": arrays["data"].T, "test": arrays["testdata"].T}


def _credit_csv(file: Path) -> Arrays:
    return {"table": read_integers(file, NUM_CREDIT_COLUMNS, num_headers=1)}


def _credit_text(file: Path) -> Arrays:
    return {"table": read_integers(file, NUM_CREDIT_COLUMNS, num_headers=0)}


def _credit_reference(file: Path) -> Arrays:
    content = read_json(file)
    try:
        (found,) = content["targets"].values()
        keys = dict(mean="mean", sd="standard_deviation", mcse="mean_standard_error")
        return {part: np.array(found[f"identity_{key}"], float) for part, key in keys.items()}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} has no moments of one target: {error!r}. Replace it.") from error


def _remotes(folders: tuple[str, ...], checksums: dict[str, str]) -> tuple[Remote, ...]:
    return tuple(Remote(file, sha256, tuple(url + file for url in folders)) for file, sha256 in checksums.items())


TRAIN_IMAGES, TEST_IMAGES = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"
IDX = tuple(Container((TRAIN_IMAGES + suffix, TEST_IMAGES + suffix), _idx_pair) for suffix in (".gz", ""))

MNIST = Source(
    name="MNIST",
    folders=("mnist", "MNIST/raw", ""),
    containers=(*IDX, Container(("mnist.npz",), _keras), Container(("mnist_full.npz",), _keras)),
    sha256={
        "train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
        "test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    },
    home="https://ossci-datasets.s3.amazonaws.com/mnist/",
    downloads=_remotes(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            f"{TRAIN_IMAGES}.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            f"{TEST_IMAGES}.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        },
    ),
)

# Files of the same names as MNIST's: a folder that may hold those is none of its folders.
FASHION_MNIST = Source(
    name="Fashion-MNIST",
    folders=("fashion-mnist", "FashionMNIST/raw"),
    containers=IDX,
    sha256={
        "train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    },
    home="https://github.com/zalandoresearch/fashion-mnist",
    system=("/usr/share/datasets/fashion-mnist",),
    downloads=_remotes(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            f"{TRAIN_IMAGES}.gz": "08dc20ab1689590a0bcd66e874647b6ee8464e2d501b5a3f1f78831db19a3fdc",
            f"{TEST_IMAGES}.gz": "78dcbbfb5a27efaf1b6c1d616caca68560be8766c5bffcb2791df9273a534229",
        },
    ),
)

STATIC_AMATS = tuple(f"binarized_mnist_{part}.amat" for part in STATIC_PARTS)
STATIC_MNIST = Source(
    name="static MNIST",
    folders=("static-mnist", "BinaryMNIST", ""),
    containers=(Container(STATIC_AMATS, _amats), Container(("binarized_mnist_static.npz",), _packed_bits)),
    sha256={
        "train": "43490d4d6ac9002727af4426d8748609fdb7e4094fa65ad8d681ea60082a7a5a",
        "valid": "069b4f0beb389b776478c3e872b4df71c95ac4be64d7cbe6d32e24ebac8e6d5e",
        "test": "ca0294c3b8d984c7a1dc891015a8eea6f37bae59a34e35ea0fc8c47110a8dd86",
    },
    home="http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    downloads=_remotes(
        ("http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",),
        dict(
            zip(
                STATIC_AMATS,
                (
                    "ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
                    "1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
                    "e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
                ),
                strict=True,
            )
        ),
    ),
)

OMNIGLOT = Source(
    name="OMNIGLOT (Lake's split)",
    folders=("omniglot", ""),
    containers=(Container(("omniglot_28x28.npz",), _lake),),
    sha256={
        "train": "eb101fd03e328c2546cdaf2d2c9bf9e55488d842cd5f8db7c85a94aa2653f708",
        "test": "7c8968bdf646b58b08ca85aa5534a5df25d33d77208c539218eeb121088da3c0",
    },
    home="a box filter over the images of https://github.com/brendenlake/omniglot, 105x105 to 28x28",
)

OMNIGLOT_IWAE = Source(
    name="OMNIGLOT (IWAE paper's split)",
    folders=("omniglot-iwae", "OMNIGLOT", ""),
    containers=(Container(("chardata.mat",), _chardata),),
    sha256={},
    home="https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
)

GERMAN_CREDIT = Source(
    name="German credit",
    folders=("german-credit", "tabular", ""),
    containers=(
        Container(("german.data-numeric",), _credit_text),
        Container(("german_credit_numeric.csv",), _credit_csv),
    ),
    sha256={"table": "557e65eaa2edca15bf687a47b1f5fdfe45bb01f35797936b378ecb2cba4e8e09"},
    home="https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/",
    downloads=_remotes(
        ("https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/",),
        {"german.data-numeric": "2752b044394958ab6dd193a0b56ca0f0b3a2d8bc7cb8c008e35a5e84bbec02f8"},
    ),
)

GERMAN_CREDIT_REFERENCE = Source(
    name="German credit's reference moments",
    folders=("german-credit", "tabular", ""),
    containers=(Container(("german_credit_truth.json",), _credit_reference),),
    sha256={
        "mean": "6eff40c056d7596c753818f4d296a30a882cc1f688f89d99e328ffdc5665e78c",
        "sd": "2184710da92df9dd7b376a6042426a9c8f6857e5fb4ab1de7bcbac239a09805f",
        "mcse": "f63bca890597d52d90f0af9cc5799c61e0256ee465ed0a4de6c1d3c08d9480ee",
    },
    home="the ground truth of german_credit_numeric_logistic_regression in https://pypi.org/project/inference-gym",
)
