"""Published re-identification models: files, addresses and digests as their publishers or users state them.

Open Model Zoo: `models/intel/NAME/model.yml` of the release named (newest: 2024.6.0; 0265 was in 2020.4 alone, 0031
last in 2020.3). torchreid publishes pickles without digests: those here were read in public projects that fetch and
check the very file, at least two for each; where none was found there is none, and the entry is not used by name.
"""

from __future__ import annotations

from .entry import ZooEntry, ZooFile

_OPEN_MODEL_ZOO = "https://github.com/openvinotoolkit/open_model_zoo"
_STORAGE = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1"
_ARCHIVE = "https://download.01.org/opencv/2020/openvinotoolkit"
_MODEL_ZOO = "https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO"
#: The publisher's copy, at the revision that the digests were read for.
_HUGGING_FACE = "https://huggingface.co/kaiyangzhou/osnet/resolve/a5c5cc037c24235cda3b21085b93ad77c9616224"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_SHARED = "msmt17_combineall_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax_labelsmooth_flip_jitter.pth"


def _intel(
    number: str,
    *,
    files: tuple[tuple[int, str], tuple[int, str]],
    note: str,
    release: str = "2024.6.0",
    folder: str = _STORAGE,
    algorithm: str = "sha384",
    trained_on: tuple[str, ...] = (),
    stand_in: str = "",
) -> ZooEntry:
    """An FP32 IR of Open Model Zoo; `files` is (bytes, digest) of XML and .bin, `stand_in` the sha256 of an ONNX."""
    name = f"person-reidentification-retail-{number}"

    def entry(architecture: str, files: tuple[ZooFile, ...], note: str, stand_in: ZooEntry | None = None) -> ZooEntry:
        return ZooEntry(
            name=name,
            architecture=architecture,
            files=files,
            licence="Apache-2.0",
            source=f"{_OPEN_MODEL_ZOO}/tree/{release}/models/intel/{name}",
            trained_on=trained_on,
            normalise="none",
            metric="cosine",
            note=note,
            stand_in=stand_in,
        )

    converted = ZooFile(name=f"{name}.onnx", digest=stand_in)
    other = entry("onnx", (converted,), f"converted from the published FP32 IR; {note}") if stand_in else None
    published = (
        ZooFile(
            name=f"{name}{ending}",
            digest=digest,
            algorithm=algorithm,
            size=size,
            url=f"{folder}/{name}/FP32/{name}{ending}",
        )
        for ending, (size, digest) in zip((".xml", ".bin"), files, strict=True)
    )
    return entry("ir-bgr255", tuple(published), note, other)


def _torchreid(
    name: str, width: str, *, url: str, digest: str = "", size: int | None = None, trained_on: str, note: str
) -> ZooEntry:
    """A checkpoint of torchreid's model zoo: a pickle, made safetensors when it is fetched."""
    return ZooEntry(
        name=name,
        architecture=f"osnet_{width}",
        files=(ZooFile(name=f"{name}.pth", digest=digest, size=size, url=url),),
        converted=f"{name}.safetensors",
        licence="code MIT (torchreid), weights for research",
        source=_MODEL_ZOO,
        trained_on=(trained_on,),
        normalise="imagenet",
        metric="euclidean",
        note=f"{note}; 256x128, 512 numbers a feature",
    )


PUBLISHED: tuple[ZooEntry, ...] = (
    ZooEntry(
        name="osnet_x0_25_msmt17",
        architecture="onnx",
        files=(
            ZooFile(
                name="osnet_x0_25_msmt17.onnx",
                digest="61b2604171ef9d58d21758626f83b35a253c3d7123976523a6e03068c3c95d7b",
            ),
        ),
        licence="code MIT (torchreid), weights for research",
        source=_MODEL_ZOO,
        trained_on=("msmt17",),
        normalise="imagenet",
        metric="cosine",
        note="OSNet x0.25 as a program, batch norm folded; 256x128, 512 numbers a feature",
    ),
    _torchreid(
        "torchreid_osnet_x1_0_market1501",
        "x1_0",
        url=f"{_DRIVE}1vduhq5DpN2q1g4fYEZfPI17MJeh9qyrA",
        digest="2809d3227f7d078f6045f7feb874a34d0684f0e0057b264b99adccf7d4519154",
        size=10_399_605,
        trained_on="market1501",
        note="published Rank-1 / mAP 94.2 / 82.6 on Market-1501",
    ),
    _torchreid(
        "torchreid_osnet_x1_0_msmt17",
        "x1_0",
        url=f"{_DRIVE}112EMUfBPYeYg70w-syK6V6Mx8-Qb9Q1M",
        digest="b7d73dc67c016fd044e4027ff856019496392a7aca8fa0ed56d862a1632c1cf2",
        trained_on="msmt17",
        note="published Rank-1 / mAP 74.9 / 43.8 on MSMT17",
    ),
    _torchreid(
        "torchreid_osnet_x0_25_msmt17",
        "x0_25",
        url=f"{_DRIVE}1sSwXSUlj4_tHZequ_iZ8w_Jh0VaRQMqF",
        digest="6f57607fed9f502b9efed546108132ee715df5a5b6e6932c6269bacb47f59f99",
        size=3_057_863,
        trained_on="msmt17",
        note="published Rank-1 / mAP 61.4 / 29.5 on MSMT17",
    ),
    _torchreid(
        "torchreid_osnet_x1_0_msmt17_all",
        "x1_0",
        url=f"{_HUGGING_FACE}/osnet_x1_0_{_SHARED}",
        digest="48df972f72887b95cf3b43b3a07c3a7d2398381aea0f9cae64a7ef11d512b727",
        trained_on="msmt17",
        note="trained on all images of MSMT17; published Rank-1 / mAP 66.6 / 37.5 on Market-1501",
    ),
    _torchreid(
        "torchreid_osnet_x0_75_msmt17_all",
        "x0_75",
        url=f"{_HUGGING_FACE}/osnet_x0_75_{_SHARED}",
        trained_on="msmt17",
        note="trained on all images of MSMT17; published Rank-1 / mAP 63.6 / 35.5 on Market-1501; no digest is known",
    ),
    _torchreid(
        "torchreid_osnet_x0_5_msmt17_all",
        "x0_5",
        url=f"{_HUGGING_FACE}/osnet_x0_5_{_SHARED}",
        trained_on="msmt17",
        note="trained on all images of MSMT17; published Rank-1 / mAP 64.3 / 34.9 on Market-1501; no digest is known",
    ),
    _torchreid(
        "torchreid_osnet_x0_25_msmt17_all",
        "x0_25",
        url=f"{_HUGGING_FACE}/osnet_x0_25_{_SHARED}",
        digest="cf55163d78fc44c62c82f85ab62d39f10438679b5abe8c698ae08cfa84aa6e18",
        size=9_336_983,
        trained_on="msmt17",
        note="trained on all images of MSMT17; published Rank-1 / mAP 59.9 / 31.0 on Market-1501",
    ),
    _intel(
        "0277",
        files=(
            (
                451_948,
                "8b9bd45ee44c67f08b88c82c33cff1bb0f9e7e687c52741461577badbdb7cde146e49fffedb1f813230cd47420af3470",
            ),
            (
                8_357_492,
                "adf16b7292f3c3858bd642eed8e471072499872592e242ca2be75fd50100179f72a875b05c1907f56d3d970d751dcba0",
            ),
        ),
        note="OSNet with LCT blocks; published Rank-1 / mAP 96.2 / 87.7 on Market-1501, training data not stated; "
        "256x128, 256 numbers a feature",
    ),
    _intel(
        "0286",
        files=(
            (
                451_256,
                "8c8cc966c330c577ca7bc3a851dd68341f671a6b0345c75e8df8d9928e4545899577d52b879723103e12fc5ca8478f6b",
            ),
            (
                4_904_984,
                "ec55f77798e289b4f29d719608f0cd4aaba2f0cc1e75d575613f3968784cf99ffe95fdef0c4e82b1eace4c089131530e",
            ),
        ),
        note="OSNet with LCT blocks; published Rank-1 / mAP 94.8 / 83.7 on Market-1501, training data not stated; "
        "256x128, 256 numbers a feature",
    ),
    _intel(
        "0287",
        files=(
            (
                451_147,
                "a8a6956dec193dfa0095319c5f0bfccd5b9eaaac4d30ddc12a79aa7a99f0dcf953aae7b76764239d383ff39f8f8a1477",
            ),
            (
                2_362_128,
                "7e962ed07992edeff11eac8f6280ea5761d8ddfb699bcd3c79cfeac10773c5f4d4577ca4c048a7fa50977cdfc14a74ba",
            ),
        ),
        note="OSNet with LCT blocks; published Rank-1 / mAP 92.9 / 76.6 on Market-1501, training data not stated; "
        "256x128, 256 numbers a feature",
    ),
    _intel(
        "0288",
        files=(
            (
                450_664,
                "25082c8e783ad358396039d6c3969f9d862512de0cd3dd87b23c2e5790fabc64e288336e5d42369fcc4c347be15c19f2",
            ),
            (
                728_052,
                "ffc5956253b60f9fac52189976a2ceba2b69288715b35caeff05238840b6e87dcc314d777b612c54d55d976988d6b9d9",
            ),
        ),
        trained_on=("market1501", "msmt17"),
        note="the smallest; published Rank-1 / mAP 86.1 / 58.9 on Market-1501; 256x128, 256 numbers a feature",
        stand_in="1640c907fb9cc4af3dc37bc4f4aeca5799e9a3ba4db8e37203692ee979dd1688",
    ),
    _intel(
        "0265",
        files=(
            (434_572, "506011e6956448b66d559db4f34f54a51ca89e1622588703de77a1e3272a8b61"),
            (8_357_596, "76d28f4a95fc53d0f7859b7d8312d20c473573cd42b41722d136961a0c6254e9"),
        ),
        release="2020.4",
        folder=f"{_ARCHIVE}/2020.4/open_model_zoo/models_bin/3",
        algorithm="sha256",
        note="0277's predecessor, withdrawn; published Rank-1 / mAP 95.9 / 87.7 on Market-1501, "
        "training data not stated; 256x128, 256 numbers a feature",
    ),
    _intel(
        "0031",
        files=(
            (136_115, "791473e146c3178c4d2d4efefd0f0686c114222e75a05d8080c018b5604fa8fc"),
            (1_120_216, "8343531e60f2e36da8311bb768de42b9b03b51d848510da74cb5bf7cbb790823"),
        ),
        release="2020.3",
        folder=f"{_ARCHIVE}/2020.3/open_model_zoo/models_bin/1",
        algorithm="sha256",
        note="small, fast and weak: for smoke tests; withdrawn; training data not stated; 96x48, 256 numbers a feature",
        stand_in="30367f2a9f64dbbd4c93caf92dd2acc62561b4655f7f6a1863f79d76d8df7bf3",
    ),
)
