"""What can be said of data sets by their format, without opening one: whoever makes pages needs no torch for it."""

from __future__ import annotations

from collections.abc import Mapping

_MARKET = "query/, bounding_box_test/, optional bounding_box_train/; 0002_c1s1_000451_03.jpg"
_DUKE = _MARKET.replace("0002_c1s1_000451_03", "0001_c2_f0046182")
#: The status of a set that its authors took back; pages and the command line say it with every score.
WITHDRAWN = "withdrawn by its authors in 2019"

#: What `robustreid ls datasets` says of each format.
ABOUT: Mapping[str, Mapping[str, str]] = {
    "market1501": {
        "summary": "the whole Market-1501, its counts verified; with_500k adds images/ as distractors",
        "layout": _MARKET,
        "protocol": "market",
        "options": "with_500k, verify",
        "terms": "research use",
        "status": "available",
        "source": "https://zheng-lab.cecs.anu.edu.au/Project/project_reid.html",
    },
    "dukemtmc": {
        "summary": "DukeMTMC-reID, its counts verified",
        "layout": _DUKE,
        "protocol": "market",
        "options": "verify",
        "terms": "research use",
        "status": WITHDRAWN,
        "source": "https://github.com/layumi/DukeMTMC-reID_evaluation",
    },
    "occluded-duke": {
        "summary": "Occluded-Duke, made of DukeMTMC-reID, its counts verified",
        "layout": _DUKE,
        "protocol": "market",
        "options": "verify",
        "terms": "research use",
        "status": WITHDRAWN,
        "source": "https://github.com/lightas/Occluded-DukeMTMC-Dataset",
    },
    "cuhk03": {
        "summary": "CUHK03 under the new protocol; boxes: detected or labeled",
        "layout": "detected/ and labeled/ with bounding_box_train/, bounding_box_test/, query/; or the .mat of the "
        "protocol beside the extracted images; 1_001_1_01.png",
        "protocol": "cuhk03-np",
        "options": "boxes, verify",
        "terms": "research use",
        "status": "on request",
        "source": "https://github.com/zhunzhong07/person-re-ranking/tree/master/CUHK03-NP",
    },
    "cuhk01": {
        "summary": "CUHK01: 971 people, ten random splits of 485 and 486",
        "layout": "campus/; 0001001.png",
        "protocol": "cuhk01",
        "options": "verify",
        "terms": "academic use; respect the privacy of the people on it",
        "status": "on request",
        "source": "http://www.ee.cuhk.edu.hk/~xgwang/CUHK_identification.html",
    },
    "msmt17": {
        "summary": "MSMT17, V1 or V2, its counts verified",
        "layout": "list_query.txt, list_gallery.txt, list_train.txt, train/ and test/ (V2: mask_train_v2/ and "
        "mask_test_v2/); 0000/0000_001_03_0303morning_0028_1.jpg",
        "protocol": "market",
        "options": "verify",
        "terms": "research use, by agreement",
        "status": "on request",
        "source": "https://www.pkuvmc.com/dataset.html",
    },
    "viper": {
        "summary": "VIPeR: 632 people, ten random halves",
        "layout": "cam_a/, cam_b/; 000_45.bmp",
        "protocol": "single-shot",
        "options": "verify",
        "terms": "research use",
        "status": "available",
        "source": "https://vision.soe.ucsc.edu/node/178",
    },
    "sysu": {
        "summary": "SYSU-MM01: infrared queries, visible gallery",
        "layout": "cam1/ to cam6/ with a folder a person (0001/), exp/train_id.txt, val_id.txt, test_id.txt",
        "protocol": "sysu-all",
        "protocols": "sysu-all, sysu-indoor, sysu-all-multi-shot, sysu-indoor-multi-shot",
        "options": "protocol, verify",
        "terms": "research use, by agreement",
        "status": "on request",
        "source": "https://github.com/wuancong/SYSU-MM01",
    },
    "regdb": {
        "summary": "RegDB: visible and thermal, ten splits",
        "layout": "idx/{train,test}_{visible,thermal}_{1..10}.txt, Visible/, Thermal/",
        "protocol": "regdb-v2t",
        "protocols": "regdb-v2t, regdb-t2v",
        "options": "protocol, verify",
        "terms": "research use, by agreement",
        "status": "on request",
        "source": "http://dm.dongguk.edu/link.html",
    },
    "llcm": {
        "summary": "LLCM: visible and near-infrared at night",
        "layout": "idx/{train_vis,train_nir,test_id}.txt, test_vis/cam{1..9}/0003/, test_nir/cam{1,2,4..9}/0003/",
        "protocol": "llcm-v2i",
        "protocols": "llcm-v2i, llcm-i2v, llcm-v2i-published",
        "options": "protocol, verify",
        "terms": "research use, by agreement",
        "status": "on request",
        "source": "https://github.com/ZYK100/LLCM",
    },
    "table": {
        "summary": "any images that a .csv or .parquet lists",
        "layout": "columns path, identity (or person_id, pid), camera (or camera_id, camid), split (train, query, "
        "gallery), optional modality (visible, infrared)",
        "protocol": "market",
        "options": "protocol",
        "terms": "your own",
        "status": "available",
        "source": "",
    },
    "folder": {
        "summary": "any folder in Market-1501's layout",
        "layout": _MARKET,
        "protocol": "market",
        "terms": "your own",
        "status": "available",
        "source": "",
    },
    "held-out": {
        "summary": "some people of a training split, to choose recipes and epochs by; options: identities, seed",
        "layout": "bounding_box_train/ in Market-1501's layout; queries are each person's first image by each camera",
        "protocol": "market",
        "terms": "as the split's",
        "status": "available",
        "source": "",
    },
    "synthetic": {
        "summary": "people drawn by this package, for any protocol: needs no download, and no root",
        "layout": "made on demand",
        "options": "seed, identities, cameras, shots, distractors, protocol",
        "protocol": "market",
        "terms": "MIT, as this package",
        "status": "available",
        "source": "",
    },
}


def status(layout: str) -> str:
    """`available`, `on request` or `withdrawn by ...`; empty for a format that nothing is known of."""
    return ABOUT.get(layout, {}).get("status", "")


def notice(layout: str) -> str | None:
    """What whoever opens a set is told, in one sentence; None where there is nothing to say."""
    if not status(layout).startswith("withdrawn"):
        return None
    return f"{_title(layout)} was {status(layout)}: say so wherever a score on it is reported, and prefer another set."


def page_notice(layout: str) -> str | None:
    """What whoever reads scores on a set is told, in one sentence; None where there is nothing to say."""
    if not status(layout).startswith("withdrawn"):
        return None
    made_of = " is made of DukeMTMC-reID, which" if layout == "occluded-duke" else ""
    return (
        f"{_title(layout)}{made_of} was {status(layout)}; its people never agreed to be on it, and nobody can get it "
        f"from its authors to check a score, so prefer another set."
    )


def _title(layout: str) -> str:
    return {"dukemtmc": "DukeMTMC-reID", "occluded-duke": "Occluded-Duke"}.get(layout, layout)
