from __future__ import annotations

from pathlib import Path

import pytest

from livecomp.errors import ContractError, OutputError
from livecomp.media.image import read_image
from livecomp.output.still import StillSink
from tests.livecomp.clips import composite


def test_the_picture_is_written_on_close_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    sink = StillSink(path)
    sink.open()
    sink.write(composite(7))
    assert not path.exists()
    sink.close()
    assert (read_image(path) == composite(7).rgb).all()


def test_a_second_picture_is_refused(tmp_path: Path) -> None:
    sink = StillSink(tmp_path / "out.png")
    sink.open()
    sink.write(composite(1))
    with pytest.raises(ContractError, match="received a second"):
        sink.write(composite(2))
    sink.abort()
    assert list(tmp_path.iterdir()) == []


def test_no_picture_is_an_error_and_no_file(tmp_path: Path) -> None:
    sink = StillSink(tmp_path / "out.png")
    sink.open()
    with pytest.raises(OutputError, match="no picture"):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_unknown_suffix_and_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="expected a picture's suffix"):
        StillSink(tmp_path / "out.mp4").open()
    with pytest.raises(OutputError, match="no folder"):
        StillSink(tmp_path / "none" / "out.png").open()


def test_a_sink_can_be_used_again(tmp_path: Path) -> None:
    sink = StillSink(tmp_path / "out.png")
    for index in (3, 9):
        sink.open()
        sink.write(composite(index))
        sink.close()
        assert (read_image(tmp_path / "out.png") == composite(index).rgb).all()
