"""The report's section on cost: trials, epochs and time of each phase, and errors of failed trials."""

from functools import partial

from analysis.confirmed import tables
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import count, duration
from study.results import Results, level_text


def trials_section(results: Results) -> Section | None:
    if results.trials.empty:
        return None
    search = results.trials[results.trials["phase"] == "search"]
    curves_shown = results.epochs[results.epochs["trial"].isin(search["trial"])]
    stopped = set(search[search["status"] == "stopped"]["trial"])
    plots: list[Figure] = []
    if len(curves_shown):
        overview = figures.svg(2.6, partial(figures.draw_search, epochs=curves_shown, stopped=stopped))
        front = tables.pareto(results)
        cost = figures.svg(2.6, partial(figures.draw_cost, trials=search, front=front))
        trials = count(len(search), "search trial")
        alt = f"Validation accuracy by epoch of {trials}, {len(stopped)} stopped early"
        plots = [Figure("search", "Validation accuracy by epoch (gray: stopped early)", alt, overview)]
        spoken = f"Best validation accuracy of {trials} by training time; Pareto front: {count(len(front), 'trial')}"
        plots.append(Figure("cost", "Best validation accuracy by training time (orange: Pareto front)", spoken, cost))
    shown = {"phase": "phase", "status": "status", "trials": "trials", "epochs": "epochs", "time": "seconds"}
    all_tables = [table("trials", "Trials by phase", tables.overview(results), shown)]
    if len(search):
        all_tables.append(_pareto(results))
    failures = tables.failures(results)
    if len(failures):
        shown = {"error": "error", "trials": "trials"}
        all_tables.append(table("failures", "Errors of failed trials", failures, shown))
    return Section("Cost", [_sentence(results)], figures=plots, tables=all_tables)


def _pareto(results: Results) -> Table:
    """Return the table of the search's Pareto front: accuracy by training time."""
    shown: dict[str, Cell] = {
        factor: lambda row, i=i: level_text(row[i + 2]) or "none" for i, factor in enumerate(results.factors)
    }
    shown |= {"validation accuracy": "val_accuracy", "epochs": "epochs_run", "time": "seconds"}
    caption = (
        "Pareto front of the search: no other trial was more accurate in less time. Frozen features are computed once "
        "and shared; their time counts for the trial that computed them."
    )
    return table("pareto", caption, tables.pareto(results), shown)


def _sentence(results: Results) -> str:
    wall, compute = (results.study.get(key) for key in ("wall_seconds", "compute_seconds"))
    epochs, again = int(results.trials["epochs_run"].sum()), results.study.get("repeated_epochs") or 0
    interrupted = f" {count(again, 'epoch')} ran twice because of interruptions." if again else ""
    control = ", including the negative control, whose trials are not counted here" if len(results.control) else ""
    return (
        f"{count(len(results.trials), 'trial')}, {count(epochs, 'epoch')}. Wall time {duration(wall)}, compute time "
        f"{duration(compute)}{control}.{interrupted}"
    )
