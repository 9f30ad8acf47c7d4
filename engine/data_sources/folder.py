"""Folders of images: classes and files, chosen and split by seeded hashes. Decodes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.data_sources.info import DatasetInfo
from engine.data_sources.names import DataName
from engine.data_sources.places import IMAGENET, IMAGENET_VARIABLE, places
from engine.errors import UsageError
from engine.model_info import listed

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The same constants of grey values: the mean of the three, and the deviation usual with it.
_GREY_MEAN, _GREY_STD = (0.449,), (0.226,)
IMAGENET_CLASSES = 1_000
SUFFIXES = (".jpeg", ".jpg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff", ".gif")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
_TEST_FOLDERS = ("val", "test", "valid", "validation")
_DEFAULT_TEST = "0.2"
_FLAT = (
    "{folder} holds images and no folder for each class; move each image into the folder of its "
    "class (for ILSVRC2012, the synset that the devkit's meta.mat gives for its number in "
    "ILSVRC2012_validation_ground_truth.txt)."
)

_known: dict[str, tuple[tuple[int, ...], Listing]] = {}


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of a folder.

    Attributes:
        root: The folder.
        classes: Names of the classes, sorted; a label is a place in it.
        train: Train images as paths relative to the folder, and their labels.
        test: Test images likewise.
    """

    root: Path
    classes: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]

    @property
    def digest(self) -> str:
        """Names the list of files; not what is in them."""
        digest = hashlib.blake2b(digest_size=12)
        for split in (self.train, self.test):
            for path, label in split:
                digest.update(f"{path}\0{label}\n".encode(errors="surrogateescape"))
            digest.update(b"\0\0")
        return digest.hexdigest()


def describe_folder(name: DataName) -> DatasetInfo:
    """Returns the facts of a folder of images, or of ImageNet with choices of its own.

    Raises:
        UsageError: There is no such folder, or it is not sorted into classes.
    """
    name = completed(name)
    listing = list_folder(name)
    augment = name.options.get("augment", "crop")
    if augment not in ("crop", "none"):
        raise UsageError(f"augment= of a folder is crop or none, not {augment!r}.")
    channels = name.integer("channels", 1) or 3
    if channels not in (1, 3):
        raise UsageError(f"channels= of a folder is 3, or 1 for grey images, not {channels}.")
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (_GREY_MEAN, _GREY_STD)
    title = "ImageNet-1K" if name.kind == "imagenet" else listing.root.name[:60] or "folder"
    if name.kind == "imagenet" and name.options:
        title += f", {len(listing.classes):,} classes"
    return DatasetInfo(
        str(name),
        title,
        len(listing.classes),
        channels,
        len(listing.train),
        len(listing.test),
        mean,
        std,
        f"the folder {listing.root}",
        crops=augment == "crop",
        digest=listing.digest,
    )


def completed(name: DataName) -> DataName:
    """Returns the name with the share of test images where the folder has no split of its own."""
    if name.kind != "folder":
        return name
    root = _root(name)
    split = (root / "train").is_dir() or any((root / each).is_dir() for each in _TEST_FOLDERS)
    if split and "test" in name.options:
        raise UsageError(f"{root} has a test set of its own; leave test= out.")
    return name if split or "test" in name.options else name.with_option("test", _DEFAULT_TEST)


def list_folder(name: DataName) -> Listing:
    """Returns the images of a folder; a folder that has not changed is not read again.

    Raises:
        UsageError: The folder is not there, not sorted into classes, or a class holds no image.
    """
    name = completed(name)
    root = _root(name)
    stamp = _stamp(root)
    known = _known.get(f"{root}|{name}")
    if known is not None and known[0] == stamp:
        return known[1]
    listing = _listed(name, root)
    if name.kind == "imagenet" and "classes" not in name.options:
        _require_imagenet(listing, root)
    _known[f"{root}|{name}"] = stamp, listing
    return listing


def _root(name: DataName) -> Path:
    root = name.path or places(IMAGENET)[0]
    if root.is_dir():
        return root
    if name.path is None:
        raise UsageError(
            f"ImageNet-1K is not in {root}; set {IMAGENET_VARIABLE} to the folder that holds its "
            "train/ and val/."
        )
    raise UsageError(f"The folder {root} is not there; name one that holds train/ and val/.")


def _listed(name: DataName, root: Path) -> Listing:
    if "test" in name.options:
        return _split_by_share(name, root)
    train_folder = root / "train"
    test_folder = next((root / each for each in _TEST_FOLDERS if (root / each).is_dir()), None)
    if not train_folder.is_dir():
        raise UsageError(f"{root} has no folder train/; put the train images there, by class.")
    if test_folder is None:
        raise UsageError(f"{root} has train/ but neither val/ nor test/; put test images there.")
    classes = _class_folders(train_folder)
    _require_same(classes, _class_folders(test_folder), train_folder, test_folder)
    classes = _drawn(name, classes)
    train = {each: _images_in(train_folder / each, root) for each in classes}
    test = {each: _images_in(test_folder / each, root) for each in classes}
    return Listing(root, tuple(classes), _flat(_fewer(name, train)), _flat(test))


def _split_by_share(name: DataName, root: Path) -> Listing:
    text = name.options["test"]
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise UsageError(f"test= takes the share of test images, between 0 and 1, not {text!r}.")
    classes = _drawn(name, _class_folders(root))
    train: dict[str, list[str]] = {}
    test: dict[str, list[str]] = {}
    for each in classes:
        images = _images_in(root / each, root)
        if len(images) < 2:
            raise UsageError(
                f"{root / each} holds one image; a class needs one to train and one to test."
            )
        count = min(len(images) - 1, max(1, round(share * len(images))))
        chosen = set(_first_by_hash(images, count, name.seed, "split"))
        test[each] = [image for image in images if image in chosen]
        train[each] = [image for image in images if image not in chosen]
    return Listing(root, tuple(classes), _flat(_fewer(name, train)), _flat(test))


def _class_folders(folder: Path) -> list[str]:
    """Returns the names of the class folders, sorted."""
    names, images, archives = [], 0, list[str]()
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            names.append(entry.name)
        elif entry.name.lower().endswith(SUFFIXES):
            images += 1
        elif entry.name.lower().endswith(_ARCHIVES):
            archives.append(entry.name)
    if archives:
        raise UsageError(
            f"{folder} holds archives that are not unpacked, {sorted(archives)[0]} among them; "
            "unpack each into a folder of its name, and move the archives away."
        )
    if images and not names:
        raise UsageError(_FLAT.format(folder=folder))
    if len(names) < 2:
        raise UsageError(f"{folder} holds fewer than two folders of images; make one a class.")
    for name in names:
        if not name.isprintable():
            raise UsageError(f"The class folder {name!r} in {folder} cannot be shown; rename it.")
    return sorted(names)


def _images_in(folder: Path, root: Path) -> list[str]:
    """Returns the images in and below a class folder, relative to the root, sorted."""
    found = []
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += [
            os.path.relpath(os.path.join(parent, file), root)
            for file in files
            if file.lower().endswith(SUFFIXES) and not file.startswith(".")
        ]
    if not found:
        raise UsageError(f"The class folder {folder} holds no image; fill it or remove it.")
    return sorted(found)


def _require_same(
    train: Iterable[str], test: Iterable[str], train_folder: Path, test_folder: Path
) -> None:
    only_train, only_test = sorted(set(train) - set(test)), sorted(set(test) - set(train))
    if only_train or only_test:
        there, lacking = (train_folder, test_folder) if only_train else (test_folder, train_folder)
        raise UsageError(
            f"{there} has classes that {lacking} lacks: {listed(only_train or only_test, 3)}; "
            "give both the same class folders."
        )


def _require_imagenet(listing: Listing, root: Path) -> None:
    if len(listing.classes) != IMAGENET_CLASSES:
        raise UsageError(
            f"{root} has {len(listing.classes):,} class folders and ImageNet-1K 1,000; unpack what "
            f"is missing, or study it as folder:{root}."
        )


def _drawn(name: DataName, classes: list[str]) -> list[str]:
    """Returns as many of the classes as were asked for, sorted."""
    count = name.integer("classes", 2)
    if count is None:
        return classes
    if count > len(classes):
        raise UsageError(f"classes={count} asks for more than the {len(classes):,} there are.")
    return sorted(_first_by_hash(classes, count, name.seed, "classes"))


def _fewer(name: DataName, images: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Returns at most as many train images of each class as were asked for."""
    count = name.integer("images", 1)
    if count is None:
        return dict(images)
    return {
        each: sorted(_first_by_hash(paths, count, name.seed, "images"))
        for each, paths in images.items()
    }


def _first_by_hash(names: list[str], count: int, seed: int, purpose: str) -> list[str]:
    """Draws without replacement: by hashes of the names, so that no order of a disk matters."""

    def rank(name: str) -> bytes:
        text = f"{seed}/{purpose}/{name}".encode(errors="surrogateescape")
        return hashlib.blake2b(text, digest_size=16).digest()

    return sorted(names, key=rank)[:count]


def _flat(images: Mapping[str, list[str]]) -> tuple[tuple[str, int], ...]:
    return tuple((path, label) for label, paths in enumerate(images.values()) for path in paths)


def _stamp(root: Path) -> tuple[int, ...]:
    """Returns when the folders that name classes and images last changed."""
    changed = [root.stat().st_mtime_ns]
    for entry in sorted(_entries(root), key=lambda entry: entry.name):
        if entry.is_dir():
            changed.append(entry.stat().st_mtime_ns)
            changed += sorted(each.stat().st_mtime_ns for each in _entries(Path(entry.path)) if
                              each.is_dir())  # fmt: skip
    return tuple(changed)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        _refuse(error)
        raise


def _refuse(error: OSError) -> None:
    raise UsageError(
        f"The folder {error.filename} cannot be read ({error.strerror}); make it readable."
    ) from error
