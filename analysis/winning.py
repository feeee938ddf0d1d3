"""The report's section on the winner: what it is, and how well it does on pictures nobody chose by."""

from analysis import tables
from analysis.page import Section, table
from analysis.sentences import state_sentences, winner_sentences
from analysis.settings import Setting, winner
from analysis.text import percent_interval
from study.results import Results


def winner_section(results: Results, found: list[Setting], overlap: str) -> Section:
    best = winner(found)
    state = state_sentences(results, found)
    if best is None:
        return Section("The winner", state)
    shown = table(
        "winner",
        f"Accuracy on the test pictures.{overlap}" if overlap else "Accuracy on the test pictures",
        tables.winner_table(results, found),
        {
            "": lambda row: row.model,
            "accuracy (95 % interval)": lambda row: percent_interval(row.accuracy, row.low, row.high),
        },
    )
    return Section("The winner", winner_sentences(results, best) + state, tables=[shown] if best.tested else [])
