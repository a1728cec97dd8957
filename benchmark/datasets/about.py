"""What can be said of data sets by their format, without opening one: whoever makes pages needs no torch for it."""

from __future__ import annotations

from collections.abc import Mapping

#: What `robustreid ls datasets` says of each format.
ABOUT: Mapping[str, Mapping[str, str]] = {
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
    "held-out": {
        "summary": "some people of a training split, to choose recipes and epochs by; options: identities, seed",
        "layout": "bounding_box_train/ in Market-1501's layout; queries are each person's first image by each camera",
        "protocol": "market",
        "terms": "as the split's",
        "source": "",
    },
    "synthetic": {
        "summary": "people drawn by this package: needs no download, and no root",
        "layout": "made on demand; options: seed, identities, cameras, shots, distractors",
        "protocol": "market",
        "terms": "MIT, as this package",
        "source": "",
    },
}
