"""What the docs and the project's files promise about each other. Their code blocks are run by `make docs`."""

from __future__ import annotations

import csv
import os
import re
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import neucf

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    loader = SourceFileLoader("docs_script", str(ROOT / "scripts" / "docs"))
    spec = spec_from_loader("docs_script", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["docs_script"] = module
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    local = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_version_is_one() -> None:
    assert neucf.__version__ == PROJECT["version"]


def test_constraints_pin_every_direct_dependency_within_its_range() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all("==" in line for line in lines)
    pins = dict(line.split("==") for line in lines)
    assert list(pins) == [canonicalize_name(name) for name in pins]
    wanted = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    for requirement in map(Requirement, wanted):
        if requirement.name != "neucf":
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_ledger_has_its_columns() -> None:
    with (ROOT / "docs" / "test-ledger.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["date", "commit", "recipe", "data", "split", "seed", "model", "metrics"]
    assert [row for row in rows if len(row) != len(header)] == []


PAGE = """# Title

```python
x = 2
```

<!-- not run: downloads -->
```bash
exit 9
```

```bash
echo hello > written.txt
```

```python
from pathlib import Path
assert x == 2 and Path("written.txt").read_text() == "hello\\n" and Path("pyproject.toml").exists()
```

```text
not run at all
```
"""


def test_blocks_run_in_order_outside_the_clone(docs: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert docs.run_file(page) == (3, 1)
    assert not (ROOT / "written.txt").exists()


def test_failing_bash_block_fails(docs: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nfalse | true\n```\n")
    with pytest.raises(ValueError, match="exit code 1"):
        docs.run_file(page)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```sh\nls\n```\n", "got 'sh'"),
        ("```\nls\n```\n", "got ''"),
        ("<!-- not run: -->\n```bash\nls\n```\n", "reason"),
    ],
)
def test_block_of_no_known_kind_or_without_reason_is_refused(
    docs: ModuleType, tmp_path: Path, text: str, message: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match=message):
        docs.blocks(page)


@pytest.mark.parametrize("script", ["check", "docs", "setup", "test"])
def test_script_is_executable(script: str) -> None:
    assert os.access(ROOT / "scripts" / script, os.X_OK)
