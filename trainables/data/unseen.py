"""Classes that a study sets aside whole, for its winner to be searched among: a net that never saw one of them."""

import numpy as np
import pandas as pd

from trainables.errors import InputError


def set_aside(manifest: pd.DataFrame, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The manifest without the last `share` of its classes in label order, and the kept images of those.

    So Cars are divided, 98 to 98, since Song et al. 2016. An image that is in one group with one of the first part
    belongs to neither.

    Raises:
        InputError: fewer than two classes would be left on one side.
    """
    classes = int(manifest["label"].max()) + 1
    aside = int(share * classes)
    if share and min(aside, classes - aside) < 2:
        raise InputError(
            f"`unseen` must leave 2 of the {classes} classes at least on both sides, but {share:g} takes {aside}: "
            "change it."
        )
    seen = manifest["label"].to_numpy() < classes - aside
    astray = manifest["group"].isin(manifest.loc[seen, "group"]).to_numpy()
    return manifest[seen].reset_index(drop=True), manifest[np.logical_not(seen | astray) & manifest["keep"]]
