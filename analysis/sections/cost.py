"""The report's section on cost: trials, epochs and time of each phase, and errors of failed trials."""

import math
from functools import partial
from typing import Any, TypeGuard

from analysis.confirmed import tables
from analysis.layout import figures
from analysis.layout.page import Cell, Figure, Section, Table, table
from analysis.layout.text import duration
from study.price import Price, cost, money
from study.results import Results, level_text
from study.writing import count


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
    all_tables = [_phases(results)]
    if len(search):
        all_tables.append(_pareto(results))
    failures = tables.failures(results)
    if len(failures):
        shown = {"error": "error", "trials": "trials"}
        all_tables.append(table("failures", "Errors of failed trials", failures, shown))
    return Section("Cost", [_sentence(results)], figures=plots, tables=all_tables)


def _phases(results: Results) -> Table:
    """Return the table of trials by phase. The money that the study has cost is divided in proportion to their time."""
    frame = tables.overview(results)
    shown: dict[str, Cell] = {column: column for column in ("phase", "status", "trials", "epochs")}
    shown["time"] = "seconds"
    spent = _spent(results)
    if spent is None:
        return table("trials", "Trials by phase", frame, shown)
    frame["cost"] = spent * (frame["seconds"] / frame["seconds"].sum()).fillna(0.0)
    shown["cost"] = lambda row: money(row.cost)
    return table("trials", "Trials by phase (cost: of the whole study, in proportion to time)", frame, shown)


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
        f"{duration(compute)}{control}.{interrupted}{_price_sentence(results)}"
    )


def _price_sentence(results: Results) -> str:
    spent, price = _spent(results), _price(results)
    if spent is None or price is None:
        return ""
    return (
        f" The study cost {money(spent)}: its wall time on {count(price.nodes, 'node')} at "
        f"{money(price.per_hour or 0)} per node and hour."
    )


def _price(results: Results) -> Price | None:
    """Return the price that was given with --price; None if there was none."""
    per_hour, nodes = results.study.get("price"), results.study.get("nodes", 1)
    return Price(per_hour, int(nodes)) if _is_amount(per_hour) and _is_amount(nodes) else None


def _spent(results: Results) -> float | None:
    price, wall = _price(results), results.study.get("wall_seconds")
    return cost(wall, price) if price is not None and _is_amount(wall) else None


def _is_amount(value: Any) -> TypeGuard[float]:
    """Return whether a value of study.json, which another program may have written, is a number of at least 0."""
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0
