"""What a study did differently from its plan while it ran, in words."""

from collections.abc import Iterator

from study.persistence import ledger
from study.schedule.state import StudyState


def deviations(state: StudyState) -> Iterator[str]:
    """Yield a phrase for each phase that ended early, for several kinds of device, and for what may not repeat."""
    for cut in state.cuts.values():
        dropped = f"{len(cut.dropped)} of its {cut.planned} planned trials" if cut.dropped else "trials it had left"
        yield f"the {cut.phase} ended early, without {dropped}, to keep --hours"
    kinds = sorted(ledger.devices(state.out))
    if len(kinds) > 1:
        yield f"trials ran on {len(kinds)} kinds of device ({', '.join(kinds)}), which may round differently"
    unstable = ledger.read_nondeterministic(state.out)
    if unstable:
        names = sorted({name for operations in unstable.values() for name in operations})
        yield (
            f"trials used operations that are not deterministic on their device ({', '.join(names)}), so a repeat may "
            "give slightly different rows"
        )
