"""What pages say of each protocol: who is looked for among whom, and over how many trials scores are means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .results import Result

_SYSU = (
    "Infrared images are looked for among {shots} of each person by each of the visible cameras {cameras}, which "
    "every trial draws anew. A query of camera 3 never meets an image of camera 2, since both see the same place; "
    "Rank-k counts people, each only at their nearest image, while mAP counts images."
)
_REGDB = (
    "{asked} images are looked for among {answers} ones of the same people, with no rule about cameras. Each of the "
    "ten trials is one of the data set's own splits into training and test people, so a model that is scored on it may "
    "have learnt from that split's training people only."
)
_LLCM = (
    "All {asked} images are looked for among one {answers} image of each person by each camera, which every trial "
    "draws anew. Images of the query's person by the camera of the same number are left out; Rank-k counts people, "
    "mAP counts images."
)
#: Of each protocol a few sentences; docs/datasets.md has the table of them.
ABOUT: Mapping[str, str] = {
    "market": (
        "All queries are looked for among all gallery images. Left out are images of the query's person by the query's "
        "camera, and bad detections (identity -1); distractors (identity 0) are wrong answers to everybody."
    ),
    "cuhk03-np": (
        "All queries are looked for among all gallery images. Left out are images of the query's person by the query's "
        "camera."
    ),
    "sysu-all": _SYSU.format(shots="one image", cameras="1, 2, 4 and 5"),
    "sysu-all-multi-shot": _SYSU.format(shots="ten images", cameras="1, 2, 4 and 5"),
    "sysu-indoor": _SYSU.format(shots="one image", cameras="1 and 2"),
    "sysu-indoor-multi-shot": _SYSU.format(shots="ten images", cameras="1 and 2"),
    "regdb-v2t": _REGDB.format(asked="Visible", answers="thermal"),
    "regdb-t2v": _REGDB.format(asked="Thermal", answers="visible"),
    "llcm-v2i": _LLCM.format(asked="visible", answers="infrared"),
    "llcm-i2v": _LLCM.format(asked="infrared", answers="visible"),
    "llcm-v2i-published": (
        "What the public evaluation code scores under the name visible to infrared: it evaluates the transposed "
        "matrix, so that one infrared image of each person by each camera, drawn anew in every trial, is looked for "
        "among all visible images. That is a search from infrared to visible with many right answers, not the one that "
        "the name promises; llcm-v2i is."
    ),
    "single-shot": (
        "One image of each person by camera a is looked for among one image of each by camera b. Each of the ten "
        "trials is a random half of the people, and the other half is for training."
    ),
    "cuhk01": (
        "Both images of each person by camera 1 are looked for among both by camera 2. Each of the ten trials is a "
        "random split of the people, and those outside of it are for training."
    ),
}


@dataclass(frozen=True, kw_only=True)
class ProtocolFacts:
    """One protocol of a page."""

    #: With its version, as rows have it: `sysu-all-v1`.
    name: str
    #: Empty for a protocol of somebody's own.
    text: str
    #: The most that a row says.
    n_trials: int


def protocol_facts(results: Iterable[Result]) -> tuple[ProtocolFacts, ...]:
    """The protocols of some results, in order of appearance; of those without a row nothing is said."""
    trials: dict[str, int] = {}
    for result in results:
        if result.row.get("protocol"):
            name = str(result.row["protocol"])
            trials[name] = max(trials.get(name, 1), result.trials)
    return tuple(
        ProtocolFacts(name=name, text=ABOUT.get(base_name(name), ""), n_trials=count) for name, count in trials.items()
    )


def base_name(name: str) -> str:
    """A protocol without its version.

    >>> base_name("sysu-all-v1"), base_name("llcm-v2i")
    ('sysu-all', 'llcm-v2i')
    """
    base, mark, version = name.rpartition("-v")
    return base if mark and version.isdigit() else name
