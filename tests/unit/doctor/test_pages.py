from pathlib import Path

from ogpu_provider.doctor.pages import page

ROOT = Path(__file__).parents[3]


def test_the_page_is_up_to_date() -> None:
    shown = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert shown == page(), "run `python -m ogpu_provider.doctor.pages`"
