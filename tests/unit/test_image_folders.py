"""Folders of images: what they are taken for, what is refused, and what a batch holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.catalog import DatasetInfo, find_dataset
from engine.data_sources.describe import describe_data
from engine.data_sources.folder import list_folder
from engine.data_sources.names import is_outside, parse
from engine.entries import problems_in, read_entries
from engine.errors import UsageError
from engine.spec import StudySpec
from engine.work.augment import batch_draws, train_batches
from engine.work.datasets import ImageData, load_dataset
from engine.work.datasets import folder as folders
from engine.work.datasets.decoding import crop_box, cropped, evaluated
from engine.work.datasets.stored import SharedBatches, StoredImages
from engine.work.vision_ops import declare_vision_ops
from tests.image_folders import WNIDS, imagenet_like, write_image

torch.set_num_threads(1)
declare_vision_ops()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that no test changes."""
    return imagenet_like(tmp_path_factory.mktemp("images"))


def _says(name: str, *words: str) -> None:
    with pytest.raises(UsageError) as caught:
        describe_data(name)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_a_folder_is_described_without_decoding(shared: Path) -> None:
    info = describe_data(f"folder:{shared}")
    assert (info.classes, info.channels) == (3, 3)
    assert (info.train_images, info.test_images) == (36, 12)
    assert info.crops
    assert info.name == f"folder:{shared}"
    assert DatasetInfo.from_json(info.to_json()) == info


@pytest.mark.parametrize(
    "name", ["folder:/a", "imagenet:/a", "imagenet@classes=3", "x.npz", "a.py:B"]
)
def test_names_outside_the_catalog(name: str) -> None:
    assert is_outside(name)


@pytest.mark.parametrize("name", ["imagenet", "cifar10", "", "folder", "mnist-5k"])
def test_names_of_the_catalog(name: str) -> None:
    assert not is_outside(name)


def test_a_name_is_put_in_one_form() -> None:
    assert str(parse("folder:/a/b@seed=3,classes=2,augment=none")) == (
        "folder:/a/b@classes=2,seed=3,augment=none"
    )
    assert str(parse("imagenet@seed=0,images=5")) == "imagenet@images=5"
    # An @ in a path is a part of it.
    assert parse("folder:/me@home/pictures").path == Path("/me@home/pictures")


def test_classes_and_images_are_drawn_by_the_seed(shared: Path) -> None:
    def drawn(seed: int) -> tuple[tuple[str, ...], list[str]]:
        listing = list_folder(parse(f"folder:{shared}@classes=2,images=5,seed={seed}"))
        assert len(listing.train) == 10
        assert len(listing.test) == 8
        return listing.classes, [path for path, _ in listing.train]

    assert drawn(1) == drawn(1)
    assert len({drawn(seed)[0] for seed in range(8)}) > 1
    assert describe_data(f"folder:{shared}@images=100").train_images == 36


def test_a_folder_of_classes_is_split_by_a_share_that_the_name_says(tmp_path: Path) -> None:
    shutil.copytree(imagenet_like(tmp_path / "all") / "train", tmp_path / "flowers")
    info = describe_data(f"folder:{tmp_path}/flowers")
    assert info.name.endswith("flowers@test=0.2")
    assert (info.train_images, info.test_images) == (30, 6)
    listing = list_folder(parse(f"folder:{tmp_path}/flowers@test=0.5,seed=4"))
    assert len(listing.train) == len(listing.test) == 18
    assert not {path for path, _ in listing.train} & {path for path, _ in listing.test}
    _says(f"folder:{tmp_path}/flowers@test=2", "between 0 and 1", "'2'")
    _says(f"folder:{tmp_path}/all@test=0.2", "test set of its own")


def test_what_is_no_data_set_is_refused_in_a_sentence(tmp_path: Path) -> None:
    root = imagenet_like(tmp_path / "x", train=2, test=1)
    name = f"folder:{root}"
    _says("folder:/nothing/here", "/nothing/here", "not there")
    _says("folder:", "folder:/data/flowers")
    _says(f"{name}@size=3", "takes classes=", "no size=")
    _says(f"{name}@classes=9", "more than the 3 there are")
    _says(f"{name}@augment=much", "crop or none")
    _says(f"imagenet:{root}", "3 class folders", "1,000", f"folder:{root}")
    (root / "train" / "n09999999").mkdir()
    _says(name, "classes that", "n09999999")
    (root / "val" / "n09999999").mkdir()
    _says(name, "n09999999 holds no image")
    for split in ("train", "val"):
        (root / split / "n09999999").rmdir()
    (root / "train" / "n09999999.tar").write_bytes(b"x")
    _says(name, "n09999999.tar", "unpack")
    (root / "train" / "n09999999.tar").unlink()
    shutil.move(root / "val", root / "sorted")
    _says(name, "neither val/ nor test/")
    (root / "val").mkdir()
    write_image(root / "val" / "ILSVRC2012_val_00000001.JPEG", 0, 0)
    _says(name, "no folder for each class", "ILSVRC2012_validation_ground_truth.txt")


def test_imagenet_is_looked_for_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="ORACLE_TUI_IMAGENET"):
        load_dataset(find_dataset("imagenet"), size=8)
    monkeypatch.setenv("ORACLE_TUI_IMAGENET", str(imagenet_like(tmp_path)))
    info = describe_data("imagenet@classes=2")
    assert (info.title, info.classes, info.train_images) == ("ImageNet-1K, 2 classes", 2, 24)
    with pytest.raises(UsageError, match="3 class folders"):
        load_dataset(find_dataset("imagenet"), size=8)


def _loaded(name: str, size: int = 28, channels: int = 3) -> ImageData:
    return load_dataset(describe_data(name), size=size, channels=channels)


def test_evaluation_is_torchvisions_resize_256_and_crop_224(shared: Path) -> None:
    from torchvision.transforms import v2

    data = _loaded(f"folder:{shared}")
    theirs = v2.Compose(
        [
            v2.Resize(32),
            v2.CenterCrop(28),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    paths = sorted((shared / "val").glob("*/*"))
    expected = torch.stack([theirs(Image.open(path).convert("RGB")) for path in paths])
    assert data.test_images.shape == (12, 3, 28, 28)
    torch.testing.assert_close(data.test_images, expected, rtol=0, atol=1e-6)
    assert data.test_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_images_read_each_time_are_those_in_memory(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[tuple[int, int]] = []
    name = f"folder:{shared}"
    whole = load_dataset(
        describe_data(name), size=28, channels=3, count=lambda *done: counted.append(done)
    )
    assert counted == [(48, 48)]
    monkeypatch.setattr("engine.work.datasets.FOLDER_BYTES", 0)
    mapped = _loaded(name)
    monkeypatch.setattr(folders, "_LEFT_FREE", 1.0)
    for path in (Path(folders.cache_folder()) / "datasets" / "decoded").iterdir():
        path.unlink()
    decoded = _loaded(name)
    assert not list((Path(folders.cache_folder()) / "datasets" / "decoded").iterdir())
    index = torch.tensor([5, 0, 35])
    for stored in (mapped, decoded):
        assert isinstance(stored.train_images, StoredImages)
        assert stored.digest == whole.digest
        assert stored.train_images.shape == whole.train_images.shape
        assert torch.equal(stored.train_images[3:9], whole.train_images[3:9])
        assert torch.equal(stored.train_images[index], whole.train_images[index])
        assert torch.equal(stored.test_images[:100], whole.test_images)


def test_crops_are_those_of_the_draws_however_they_are_made(shared: Path) -> None:
    from torchvision.transforms.v2 import functional

    name = f"folder:{shared}"
    data, again = _loaded(name), _loaded(name)
    order = np.random.default_rng(0).permutation(36)
    draws = batch_draws(1, 0, 0, 36)
    batches = list(train_batches(data, order, 8, draws))
    assert [len(labels) for _, labels in batches] == [8, 8, 8, 8, 4]
    # Cut into calls, asked for a second time, or made by another loader: the same bits.
    later = list(train_batches(again, order[16:], 8, draws.part(16, 36)))
    for (images, labels), (others, same) in zip(batches[2:], later, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, same)
    assert torch.equal(next(train_batches(data, order, 8, draws))[0], batches[0][0])
    paths = sorted((shared / "train").glob("*/*"), key=lambda path: str(path))
    assert draws.parts is not None
    path = shared / list_folder(parse(name)).train[order[0]][0]
    assert path in paths
    image = Image.open(path).convert("RGB")
    box = crop_box(image.height, image.width, int(draws.parts[0]))
    part = functional.resized_crop(image, *box, [28, 28], antialias=True)
    part = functional.horizontal_flip(part) if draws.mirrored[0] else part
    values = functional.to_dtype(functional.to_image(part), torch.float32, scale=True)
    expected = functional.normalize(values, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(batches[0][0][0], expected, rtol=0, atol=1e-6)


def test_crop_boxes_are_drawn_as_torchvision_draws_them() -> None:
    """Areas and shapes of many boxes against torchvision's own."""
    from torchvision.transforms import RandomResizedCrop

    ours = np.array([crop_box(60, 90, seed) for seed in range(4_000)])
    torch.manual_seed(0)
    blank = torch.zeros(3, 60, 90)
    theirs = np.array(
        [RandomResizedCrop.get_params(blank, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(4_000)]
    )
    assert (ours[:, 0] + ours[:, 2] <= 60).all()
    assert (ours[:, 1] + ours[:, 3] <= 90).all()
    assert (ours >= 0).all()
    # Means of 4,000 draws with deviations up to 25 pixels: a standard error of 0.4.
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 2
    assert np.abs(ours.std(0) - theirs.std(0)).max() < 2
    assert crop_box(10, 400, 7) == (0, 193, 10, 13)


def test_grey_folders_and_no_augmentation(shared: Path) -> None:
    data = _loaded(f"folder:{shared}@channels=1,augment=none", channels=1)
    assert data.train_images.shape == (36, 1, 28, 28)
    assert not data.augmented
    assert data.in_memory
    repeated = _loaded(f"folder:{shared}@channels=1,augment=none", channels=3)
    assert torch.equal(repeated.train_images[:, 2], data.train_images[:, 0])


def test_broken_images_are_named(tmp_path: Path) -> None:
    root = imagenet_like(tmp_path, train=3, test=2)
    first = root / "train" / WNIDS[0] / f"{WNIDS[0]}_1.JPEG"
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UsageError, match="replace it or remove it") as caught:
        _loaded(f"folder:{root}")
    assert str(first) in str(caught.value)
    second = root / "val" / WNIDS[1] / f"{WNIDS[1]}_0.JPEG"
    second.write_bytes(b"no image")
    with pytest.raises(UsageError, match="and 1 more") as caught:
        _loaded(f"folder:{root}")
    assert str(first) in str(caught.value)
    decoded = Path(folders.cache_folder()) / "datasets" / "decoded"
    (told,) = decoded.iterdir()
    assert str(second) in told.read_text()
    # A changed image is read anew, though no name changed.
    first.write_bytes(whole)
    write_image(second, 1, 9)
    assert len(_loaded(f"folder:{root}").train_labels) == 9
    with pytest.raises(UsageError, match="cannot be read"):
        evaluated(tmp_path / "gone.png", 8, 3)
    with pytest.raises(UsageError, match="cannot be read"):
        cropped(told, 8, 3, 0, False)


def test_a_folder_that_changed_is_no_longer_the_studys(tmp_path: Path) -> None:
    root = imagenet_like(tmp_path, train=3, test=2)
    info = describe_data(f"folder:{root}")
    next((root / "train" / WNIDS[0]).iterdir()).unlink()
    with pytest.raises(UsageError, match="not those this study was made with"):
        load_dataset(info, size=8, channels=3)


def test_breaking_off_leaves_no_half_file(shared: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(describe_data(f"folder:{shared}"), size=28, channels=3, count=stop)
    assert list((Path(folders.cache_folder()) / "datasets" / "decoded").iterdir()) == []


def test_a_spec_holds_the_facts_of_its_data(shared: Path) -> None:
    entries = {"model": "resnet20@8", "dataset": f"folder:{shared}", "candidates": "2"}
    spec = read_entries(entries)
    assert spec.dataset_info.train_images == 36
    read = StudySpec.from_json(spec.to_json())
    assert (read, read.hash) == (spec, spec.hash)
    other = read_entries({**entries, "dataset": f"folder:{shared}@seed=1,images=3"})
    assert other.hash != spec.hash
    assert set(problems_in({**entries, "dataset": "folder:/nothing"})) == {"dataset"}
    forged = {**spec.to_json(), "data_facts": {**spec.dataset_info.to_json(), "classes": -1}}
    with pytest.raises(UsageError, match="facts of a data set"):
        StudySpec.from_json(forged)
    # Reading a stranger's spec looks at no disk.
    stranger = {**spec.to_json(), "dataset": "folder:/etc"}
    with pytest.raises(UsageError, match="are not those of"):
        StudySpec.from_json(stranger)
    del stranger["data_facts"]
    with pytest.raises(UsageError, match="has not been looked at"):
        StudySpec.from_json(stranger)


def test_shared_batches_are_made_once_and_the_oldest_forgotten() -> None:
    made: list[int] = []

    def make(number: int) -> np.ndarray:
        made.append(number)
        return np.full(10, number, np.uint8)

    batches = SharedBatches(25)
    for number in (0, 1, 0, 1, 2, 2, 1):
        assert batches.get(number, lambda number=number: make(number))[0] == number
    assert made == [0, 1, 2]
    assert batches.get(0, lambda: make(0))[0] == 0
    assert made == [0, 1, 2, 0]
    with pytest.raises(ZeroDivisionError):
        batches.get(9, lambda: np.zeros(1 // 0))
    assert batches.get(9, lambda: make(9))[0] == 9
