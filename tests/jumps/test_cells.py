"""One clock jumps, stays wrong while a deadline passes, and comes back: nothing is charged late or refused early."""

import pytest

from tests.jumps.cells import CELLS, Cell, wrongs
from tests.jumps.conftest import Lanes

pytestmark = [pytest.mark.jumps, pytest.mark.timeout(3000)]  # A cell waits for those before it.


@pytest.mark.parametrize(
    "cell", [pytest.param(cell, id=str(cell), marks=[] if cell.is_in_third else [pytest.mark.long]) for cell in CELLS]
)
def test_nothing_is_charged_late_or_refused_early(lanes: Lanes, cell: Cell) -> None:
    assert list(wrongs(cell, lanes.result(cell))) == []
