import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import RunFileError
from engine.store.listing import list_runs
from engine.store.reader import RunReader
from tests.store_harness.cases import wrong_rows
from tests.store_harness.hostile import SPOILS, good_file, spoiled_file, unseal

# Opens one file with little memory and little time: neither a bomb nor a FIFO may use them up.
OPENER = """
import resource, signal, sys
from pathlib import Path
from engine.errors import RunFileError
from engine.store.reader import RunReader
signal.alarm(20)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (600 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for name in sys.argv[1:]:
    try:
        RunReader(Path(name)).curves()
    except RunFileError as error:
        print(error)
    else:
        print("READ", name)
"""


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the reader says of each spoiled file, by the name of the spoil."""
    folder = tmp_path_factory.mktemp("hostile")
    files = {}
    for name, spoil in SPOILS.items():
        place = folder / name.replace(" ", "-")
        place.mkdir()
        files[name] = place / "case.h5"
        spoiled_file(files[name], spoil)
    opened = subprocess.run(
        [sys.executable, "-c", OPENER, *map(str, files.values())],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert opened.returncode == 0, opened.stderr
    return dict(zip(files, opened.stdout.splitlines(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by /proc")
@pytest.mark.parametrize("name", SPOILS)
def test_spoiled_file_is_refused_with_one_printable_sentence(
    verdicts: dict[str, str], name: str
) -> None:
    said = verdicts[name]
    assert "READ" not in said
    assert "case.h5" in said
    assert said.endswith(".")
    assert said.isprintable()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("external link", "link to somewhere else"),
        ("external raw storage", "from another file"),
        ("virtual data set", "from another file"),
        ("virtual data set of a fifo", "from another file"),
        ("newer schema", "newer version"),
        ("2^40 rows", "more data than it holds"),
        ("compression bomb", "chunks that are too large"),
        ("unknown filter", "filters"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by /proc")
def test_the_sentence_names_the_reason(verdicts: dict[str, str], name: str, words: str) -> None:
    assert words in verdicts[name]


def test_the_unspoiled_file_is_read(tmp_path: Path) -> None:
    for compress in (False, True):
        good_file(tmp_path / "case.h5", compress=compress)
        with RunReader(tmp_path / "case.h5") as reader:
            assert len(reader.rows) == 30
            assert wrong_rows(reader) == 0


@pytest.mark.parametrize("inside", [True, False])
def test_fifo_cannot_make_anyone_wait(tmp_path: Path, inside: bool) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    fifo = folder / "run.h5" if inside else tmp_path / "fifo.h5"
    os.mkfifo(fifo)
    with pytest.raises(RunFileError, match="not a regular file"):
        RunReader(folder if inside else fifo)
    (listing,) = [row for row in list_runs(tmp_path) if row.error]
    assert "not a regular file" in str(listing.error)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not an HDF5 file"),
        (b"hello\n" * 100, "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "seal"),
        (b"\x89HDF\r\n\x1a\n" + bytes(4000), "seal"),
    ],
)
def test_other_content_is_refused_by_reader_and_listing(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "odd.h5"
    path.write_bytes(content)
    with pytest.raises(RunFileError, match=words):
        RunReader(path)
    (listing,) = list_runs(tmp_path)
    assert words in str(listing.error)


def test_symbolic_link_inside_a_run_folder_is_not_followed(tmp_path: Path) -> None:
    good_file(tmp_path / "elsewhere.bin")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.h5").symlink_to(tmp_path / "elsewhere.bin")
    with pytest.raises(RunFileError, match="cannot be opened"):
        RunReader(tmp_path / "run")


def test_file_cut_short_or_without_its_seal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.h5"
    data = good_file(path)
    body, _ = unseal(data, path)
    for cut in (len(data) - 1, len(body), len(data) // 2, len(data) - 40):
        path.write_bytes(data[:cut])
        with pytest.raises(RunFileError, match="seal"):
            RunReader(path)
        (listing,) = list_runs(tmp_path)
        assert listing.error


def test_hostile_text_is_printable_everywhere(tmp_path: Path) -> None:
    name = "\x1b]0;owned\x07\u202e.h5"
    path = tmp_path / name
    path.write_bytes(b"no")
    with pytest.raises(RunFileError) as caught:
        RunReader(path)
    assert str(caught.value).isprintable()
    (listing,) = list_runs(tmp_path)
    assert listing.id.isprintable()
    assert str(listing.error).isprintable()
