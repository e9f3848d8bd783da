"""Where a teacher is cut."""

import pytest

from supernets.errors import TrainingError
from supernets.teacher import cut_points


def test_a_teacher_is_cut_by_the_sizes_of_its_maps():
    """Stages 3 and 4 share the blocks at 4 px evenly, 5 and 6 those at 2 px; in front stands the stem's last map."""
    have = [28, 14, 14, 7, 7, 4, 4, 4, 4, 2, 2, 2, 0]
    assert cut_points(have, (28, 14, 7, 4, 4, 2, 2)) == [0, 2, 4, 6, 8, 10, 11]
    with pytest.raises(TrainingError, match="8 px"):
        cut_points(have, (28, 14, 8))
    with pytest.raises(TrainingError, match="has 1 blocks"):
        cut_points([8, 4], (8, 4, 4))
