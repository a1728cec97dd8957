"""Data sets by format, and the one way to open one."""

from __future__ import annotations

from pathlib import Path

from ... import UserError
from ...models.registry import Registry
from .retrieval import RetrievalSet

FORMATS = Registry(
    kind="data set format",
    table={"market1501": ".market:read_market1501", "folder": ".market:read_folder"},
    package=__package__,
    group="robustreid.datasets",
)

#: What `robustreid ls datasets` says of each format.
ABOUT = {
    "market1501": {
        "summary": "the whole Market-1501, its counts verified",
        "layout": "query/, bounding_box_test/, optional bounding_box_train/; 0002_c1s1_000451_03.jpg",
        "protocol": "market",
        "terms": "research use",
        "source": "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    },
    "folder": {
        "summary": "any folder in Market-1501's layout",
        "layout": "query/, bounding_box_test/, optional bounding_box_train/; 0002_c1s1_000451_03.jpg",
        "protocol": "market",
        "terms": "your own",
        "source": "",
    },
}


def open_dataset(label: str, layout: str | None, root: Path | None) -> RetrievalSet:
    """The retrieval set in `root`; the format defaults to the label where that is a known set.

    Raises:
        UserError: an unknown format, or no root.
    """
    if layout is None:
        if label not in FORMATS:
            raise UserError(
                f"Data set {label!r} needs a `format`, because its name is not a known set; "
                f"expected one of {', '.join(FORMATS.names())}."
            )
        layout = label
    reader = FORMATS.load(layout)
    if root is None:
        raise UserError(f"Data set {label!r} needs a `root`: the folder that holds its images.")
    found: RetrievalSet = reader(label, root)
    return found
