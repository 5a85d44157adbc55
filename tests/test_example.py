"""examples/lecture.py on the real data: it runs, and its own assertion of the metrics by hand holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "lecture.py"


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.usefixtures("data_dir")
def test_the_lecture_runs_and_answers_its_last_question() -> None:
    done = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    # The lecture's own figures: positives of ratings, users, films, and the rows of the three parts.
    assert "48,580 positives of 100,836 ratings\n610 users, 9,742 films" in done.stdout
    assert "38,864 to train on, 4,858 to choose by, 4,858 to judge by" in done.stdout
    # Popularity has nothing to choose: .1018 was measured on this split without neucf.
    popularity = re.search(r"^popularity +([.\d]+)", done.stdout, re.MULTILINE)
    assert popularity is not None
    assert float(popularity[1]) == pytest.approx(0.1018, abs=0.0005)
    assert len(re.findall(r"(?:GMF|MLP|BPR-MF)\? +(?:yes|no)", done.stdout)) == 6
