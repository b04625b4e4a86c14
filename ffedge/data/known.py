"""The data sets that ffedge knows by name, pinned by the sha256 of their unpacked files."""

from dataclasses import dataclass

from ffedge.data.files import IDX_FILES

_DIGITS = tuple("0123456789")
_CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class KnownDataset:
    """What is known of a data set before it is opened.

    Attributes
    ----------
    description : one line.
    train_rows, test_rows : how many there are.
    licence : SPDX identifier.
    classes : class names, in the order of the labels.
    url : where its ``.gz`` files are, with the final slash; None if it is in the package.
    sha256 : from each file's name without ``.gz`` to the sha256 of its unpacked bytes.
    """

    name: str
    description: str
    train_rows: int
    test_rows: int
    licence: str
    classes: tuple[str, ...]
    url: str | None
    sha256: dict[str, str]


def _pinned(*digests: str) -> dict[str, str]:
    return dict(zip(IDX_FILES, digests, strict=True))


_ALL = (
    KnownDataset(
        name="mnist-mini",
        description="Handwritten digits, 28x28 grey: the first images of MNIST, in the package",
        train_rows=6_000,
        test_rows=1_000,
        licence="CC-BY-SA-3.0",
        classes=_DIGITS,
        url=None,
        sha256=_pinned(
            "2782ff6f3467f3487a520503c34fe99b761aa97623af029969e59716ac3585c3",
            "0d830540a6191e75a9f5cd63cd5b4bde38960b893784bbf456d560179296d7cd",
            "de7c252b04f05e1f8309634180ccdf286dc6dbac8c579b74e76e02ae0331ca52",
            "832c0d20f0dc42e575488c75a83a970787d4c8d4d05831b2ef03701b4a478a90",
        ),
    ),
    KnownDataset(
        name="mnist",
        description="Handwritten digits, 28x28 grey",
        train_rows=60_000,
        test_rows=10_000,
        licence="CC-BY-SA-3.0",
        classes=_DIGITS,
        url="https://ossci-datasets.s3.amazonaws.com/mnist/",
        sha256=_pinned(
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    KnownDataset(
        name="fashion-mnist",
        description="Pictures of clothes, 28x28 grey",
        train_rows=60_000,
        test_rows=10_000,
        licence="MIT",
        classes=_CLOTHES,
        url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        sha256=_pinned(
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
    ),
)

NAMES = {known.name: known for known in _ALL}
