"""What the bands of a frame share: how rows are divided, and corrections as the compiled loop takes them."""

import numpy as np
import pytest

from livecomp.composite.prepare import prepare_curves, share_rows
from livecomp.correction import Correction, F32Array
from livecomp.frame import flat

NODES = 32


@pytest.mark.parametrize("size", [(720, 1280), (40, 30)], ids=str)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_bands_share_the_work_and_leave_out_no_row(count: int, size: tuple[int, int]) -> None:
    height, width = size
    alpha = np.zeros(size, np.uint8)
    alpha[height * 7 // 10 :, width // 4 : width * 3 // 4] = 255  # somebody in the lower part
    edges = np.empty(count + 1, np.int64)
    share_rows(flat(alpha), width, height, edges)
    assert edges[0] == 0
    assert edges[-1] == height
    assert (np.diff(edges) > 0).all()
    if count == 2:
        assert 0.55 * height < edges[1] < 0.86 * height


def prepared(correction: Correction) -> tuple[tuple[bool, bool], F32Array, F32Array]:
    """What `prepare_curves` returns and writes."""
    parts = [correction.matrix, correction.curves, correction.log_gain]
    matrix, tables = np.full(9, np.nan, np.float32), np.full(6 * 64, np.nan, np.float32)
    numbers = np.concatenate([part.reshape(-1) for part in parts])
    return prepare_curves(numbers, correction.curves.shape[1], matrix, tables), matrix, tables.reshape(3, 2, 64)


def test_curves_become_tables_of_nodes_and_ways() -> None:
    rng = np.random.default_rng(1)
    curves = np.sort(rng.uniform(0, 1, (3, NODES)), axis=1).astype(np.float32)
    matrix = rng.normal(0, 1, (3, 3)).astype(np.float32)
    changes, positions, tables = prepared(Correction(matrix, curves, np.zeros((16, 16), np.float32)))
    assert changes == (True, False)
    np.testing.assert_allclose(positions, matrix.reshape(-1) * 31 / 255, rtol=1e-6)
    np.testing.assert_allclose(tables[:, 0, :NODES], curves * 255, rtol=1e-6)
    np.testing.assert_allclose(tables[:, 1, : NODES - 1], np.diff(curves * 255), atol=1e-4)
    assert not tables[:, 0, NODES:].any()
    assert not tables[:, 1, NODES - 1 :].any()


def test_only_what_changes_something_is_applied() -> None:
    identity = Correction.identity()
    assert prepared(identity)[0] == (False, False)
    lit = np.zeros((16, 16), np.float32)
    lit[15, 15] = -0.01
    assert prepared(Correction(identity.matrix, identity.curves, lit))[0] == (False, True)
    bent = identity.curves.copy()
    bent[2, -1] = 0.999
    assert prepared(Correction(identity.matrix, bent, identity.log_gain))[0] == (True, False)
    mixed = identity.matrix.copy()
    mixed[2, 1] = 1e-4
    assert prepared(Correction(mixed, identity.curves, identity.log_gain))[0] == (True, False)
