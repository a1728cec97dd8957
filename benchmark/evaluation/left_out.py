"""Which gallery images never count for which query, pair by pair: for what looks at few pairs, or draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .protocol import Labels, Protocol


def is_left_out(protocol: Protocol, query_labels: Labels, gallery_labels: Labels) -> NDArray[np.bool_]:
    """(Q, G): which gallery images a protocol leaves out of the ranking for which query.

    Those of a junk identity, those of the query's own identity by its own camera where that is junk, and those of a
    camera that is hidden from the query's. Takes Q x G bytes: `rank` gets there without them.
    """
    camera, other = query_labels.cameras[:, None], gallery_labels.cameras
    junk = np.isin(gallery_labels.identities, sorted(protocol.junk_identities))
    left_out: NDArray[np.bool_] = np.broadcast_to(junk, (len(query_labels), len(gallery_labels))).copy()
    if protocol.same_camera_is_junk:
        left_out |= (query_labels.identities[:, None] == gallery_labels.identities) & (camera == other)
    for own, hidden in protocol.hidden_cameras:
        left_out |= (camera == own) & (other == hidden)
    return left_out
