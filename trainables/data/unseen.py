"""Classes set aside for zero-shot retrieval: the winner never sees any of their images."""

import numpy as np
import pandas as pd

from trainables.errors import InputError


def set_aside(manifest: pd.DataFrame, share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the manifest without the last `share` of its classes in label order, and the kept images of those classes.

    Song et al. 2016 divide Stanford Cars this way, 98 to 98. An image of an unseen class that shares a duplicate group
    with the other classes is in neither part.

    Raises:
        InputError: One part would have fewer than two classes.
    """
    classes = int(manifest["label"].max()) + 1
    aside = int(share * classes)
    if share and min(aside, classes - aside) < 2:
        raise InputError(
            f"`unseen` must leave at least 2 of the {classes} classes in each part, but {share:g} sets {aside} aside: "
            "change the share."
        )
    is_seen = manifest["label"].to_numpy() < classes - aside
    is_copy = manifest["group"].isin(manifest.loc[is_seen, "group"]).to_numpy()
    return manifest[is_seen].reset_index(drop=True), manifest[np.logical_not(is_seen | is_copy) & manifest["keep"]]
